"""Find private things in a cassette: API keys, home folders, user names, e-mail addresses.

The search is by pattern, so it misses a password that is a plain word. Names of no real person
(`/home/user`, `name@example.com`) are not reported.
"""

from __future__ import annotations

import getpass
import json
import re
import socket
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = (
    "user|users|username|you|your-?name|me|name|someone|example|shared|public|default|runner|"
    "jovyan|root|admin|test|home|local|app|dev|node|ubuntu|debian|vscode|localhost"
)
# Fields of encoded bytes, which may match a pattern by chance.
ENCODED = frozenset({"data", "signature"})
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


def lint(text: str) -> list[str]:
    """Return a line for each private thing in a cassette: its turn, its field and its kind.

    The thing itself is cut off after a few characters. The text may be any JSON lines; a line that
    is not JSON is searched as plain text.
    """
    kinds = (*KINDS, *_own_names())
    found: dict[str, None] = {}
    for number, row in enumerate(text.split("\n"), 1):
        loaded = _loaded(row)
        for field, value in _texts(loaded):
            for kind in kinds:
                for match in kind.pattern.finditer(value):
                    shown = match[0][: kind.shown]
                    found[f"{_place(loaded, number)}{field}: {kind.name} ({shown}…)"] = None
    return list(found)


def _loaded(row: str) -> Any:
    try:
        return json.loads(row)
    except (ValueError, RecursionError):
        return row


def _place(line: Any, number: int) -> str:
    turn = line.get("number") if isinstance(line, dict) else None
    return f"line {number}, " if turn is None else f"turn {turn} ({str(line.get('node'))[:8]}), "


def _texts(value: Any, field: str = "") -> Iterator[tuple[str, str]]:
    """Yield each string in a JSON value, names of fields too, as pairs of its place and itself."""
    match value:
        case str():
            yield field or "text", value
        case list():
            for at, inner in enumerate(value):
                yield from _texts(inner, f"{field}[{at}]")
        case dict():
            for name, inner in value.items():
                yield field or "a name", name
                if name not in ENCODED:
                    yield from _texts(inner, f"{field}.{name}" if field else name)


def _own_names() -> Iterator[Kind]:
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
