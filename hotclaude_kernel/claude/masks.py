"""Private things in text: found by pattern, and masked where text of the process is shown.

The search is by pattern, so it misses a password that is a plain word. Names of no real person
(`/home/user`, `name@example.com`) are not private.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NOBODY = (
    "user|users|username|you|your-?name|me|name|someone|example|shared|public|default|runner|"
    "jovyan|root|admin|test|home|local|app|dev|node|ubuntu|debian|vscode|localhost"
)
# Where an absolute path may begin: not inside a URL, but after an option (`-I`) or `\n`.
BEGIN = r"(?:(?<![\w./~}-])|(?<=file://)|(?<=\\[nrt])|(?<=-[A-Za-z]))"
DOMAIN = r"(?:com|org|net|edu|gov|mil|int|info|biz|dev|app|cloud|email|academy|tech|[a-z]{2})"


class Kind(Struct, frozen=True):
    """A kind of private thing. A report shows the first `shown` characters of what was found."""

    name: str
    pattern: re.Pattern[str]
    shown: int


def _kind(name: str, pattern: str, shown: int = 4) -> Kind:
    return Kind(name, re.compile(pattern), shown)


KINDS = (
    _kind("an Anthropic key", r"\bsk-ant-[\w-]{8,}", 7),
    _kind("an API key", r"(?<![\w-])sk-(?:proj-|svcacct-)?(?=\w*\d)\w{20,}", 3),
    _kind("a Google key", r"\bAIza[\w-]{35}"),
    _kind("an AWS key", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    _kind("a GitHub token", r"\b(?:gh[pousr]_\w{20,}|github_pat_\w{20,})"),
    _kind("a GitLab token", r"\bglpat-[\w-]{20,}"),
    _kind("a Slack token", r"\bxox[abeprs]-[\w-]{10,}"),
    _kind("a Hugging Face token", r"\bhf_[A-Za-z]{30,}"),
    _kind("a signed token", r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    _kind("a bearer token", r"(?i:\bbearer)\s+(?=\S*\d)[\w.~+/-]{16,}=*", 7),
    _kind("a private key", r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----", 11),
    _kind(
        "a home folder",
        rf"{BEGIN}(?:/mnt/[a-z])?/(?:home|Users)/(?!(?i:{NOBODY})\b)\w[\w.-]*",
        7,
    ),
    _kind("a home folder", rf"{BEGIN}/roo[t]/[\w.]+", 6),
    _kind("a home folder", rf"\b[A-Za-z]:[\\/]+Users[\\/]+(?!(?i:{NOBODY})\b)\w[\w.-]*", 9),
    _kind(
        "an e-mail address",
        r"(?<![\w.+/-])(?!(?:git|no-?reply)@)[\w.+-]*\w@(?!example\.|[\w.-]+\.(?:py|md|rs|sh)\b)"
        rf"[A-Za-z0-9][\w-]*(?:\.[\w-]+)*\.{DOMAIN}\b",
        1,
    ),
)

# Of a private key, the masked text is all of it, and not the first line only.
KEY_BLOCK = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [^-]*-----|\Z)", re.DOTALL
)
SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|AUTH", re.IGNORECASE)
SHORTEST = 8  # shorter values are words of any text
MASK = "…"


def masked(text: str, secrets: Iterable[str] = ()) -> str:
    """Return text without private things: only the first characters of each are left.

    Also masked are the given secrets, and the values of this process's environment variables that
    are named like secrets. The user's home folder becomes `~`.
    """
    named = [value for name, value in os.environ.items() if SECRET_NAME.search(name)]
    for secret in sorted({*secrets, *named}, key=len, reverse=True):
        if len(secret) >= SHORTEST:
            text = text.replace(secret, MASK)
    with suppress(RuntimeError):  # a container may run under a uid without a home
        home = str(Path.home()).rstrip("/")
        text = re.sub(rf"{re.escape(home)}(?![\w.-])", "~", text) if home else text
    text = KEY_BLOCK.sub(f"-----BEGIN{MASK}", text)
    for kind in (*KINDS, *own_names()):
        text = kind.pattern.sub(partial(_begun, kind.shown), text)
    return text


def _begun(shown: int, found: re.Match[str]) -> str:
    return found[0][:shown] + MASK


def own_names() -> Iterator[Kind]:
    """Yield a pattern for the user's and one for the machine's name, as a part of a path."""
    for what, name in (("the user's name", _user()), ("the machine's name", _machine())):
        if len(name) > 2 and not re.fullmatch(NOBODY, name, re.IGNORECASE):
            part = rf"(?<=[/\\]){re.escape(name)}(?![\w-])"
            yield Kind(what, re.compile(part, re.IGNORECASE), 1)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container may run under a uid without a name
        return ""


def _machine() -> str:
    return socket.gethostname().partition(".")[0]
