"""Images that a cell sends: `@plot.png` in its text, a pasted data URI, or `%attach`.

In the prompt, `[name]` takes the place of each image in the text.
"""

from __future__ import annotations

import base64
import binascii
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..claude.frames import whole
from ..errors import UsageError
from ..turns.prompt import Attachment

if TYPE_CHECKING:
    from collections.abc import Iterable

# The API takes 5 MB of base64 for an image, and base64 makes an image a third larger.
MOST_BYTES = 3_750_000
MOST_IMAGES = 20
_SIGNATURES = (
    ("image/png", b"\x89PNG\r\n\x1a\n"),
    ("image/jpeg", b"\xff\xd8\xff"),
    ("image/gif", b"GIF8"),
)
_SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".webp")


@cache  # compiled late, as `_image` is: few prompts need either pattern
def _mention() -> re.Pattern[str]:
    return re.compile(
        r"(?<![\w@/])@(\"[^\"\n]+\"|(?:[^\s\"@]|(?<=\w)@)+\.(?:png|jpe?g|gif|webp)(?![\w/-]|\.\w))",
        re.IGNORECASE,
    )


@cache
def _image() -> re.Pattern[str]:
    # From the end of the name on: a search for its beginning would go on from every `[`.
    return re.compile(r"\]\(data:(image/[\w+.-]+);base64,([A-Za-z0-9+/=\s]+)\)")


def collect(
    text: str, folder: Path, named: Iterable[str] = ()
) -> tuple[str, tuple[Attachment, ...]]:
    """Return the text with `[name]` in place of each image, and the images.

    `named` images come first (paths are taken from `folder`), then pasted ones, then those that
    the text mentions. A mention of any other file stays: `claude` itself reads `@file`. Raises
    `UsageError` for an image that can't be sent, and for more than 20.
    """
    found = [read_image(name, folder) for name in named]

    def mentioned(match: re.Match[str]) -> str:
        name = match[1].strip('"')
        if not name.lower().endswith(_SUFFIXES):
            return match[0]
        found.append(read_image(name, folder))
        return f"[{name}]"

    if ";base64," in text:
        text = _without_pasted(text, found)
    if "@" in text:
        text = _mention().sub(mentioned, text)
    if len(found) > MOST_IMAGES:
        raise UsageError(f"{len(found)} images are too many", hint=f"Send at most {MOST_IMAGES}.")
    return text, tuple(found)


def _without_pasted(text: str, found: list[Attachment]) -> str:
    """Return the text with `[name]` in place of each pasted image, which is added to `found`."""
    kept: list[str] = []
    done = read = 0
    for match in _image().finditer(text):
        # The name begins at the first bracket after the last name or line that ended before it.
        ended = max(text.rfind(sign, read, match.start()) for sign in "]\n")
        begin = text.find("[", max(read, ended + 1), match.start())
        read = match.start() + 1
        if begin < 0:
            continue
        name = text[begin + 1 : match.start()] or f"pasted image {len(found) + 1}"
        found.append(_pasted_image(name, match[2]))
        sign = begin > done and text[begin - 1] == "!"
        kept += [text[done : begin - sign], f"[{name}]"]
        done = read = match.end()
    return "".join([*kept, text[done:]])


def read_image(name: str, folder: Path) -> Attachment:
    """Return the image in a file. Raises `UsageError` if it can't be read or sent."""
    try:
        path = folder / Path(name).expanduser()
        data = path.read_bytes()
    except (OSError, RuntimeError, ValueError) as error:  # no such file, no such user, not a path
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(
            f"The image {name} can't be read: {why}",
            hint=f"Paths are taken from {folder}.",
        ) from error
    return Attachment(name=whole(path.name), media_type=_media_type(name, data), data=data)


def _pasted_image(name: str, encoded: str) -> Attachment:
    try:
        data = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UsageError(
            f"The pasted image {name} is damaged", hint="Paste it again, or use `%attach file`."
        ) from error
    return Attachment(name=name, media_type=_media_type(name, data), data=data)


def _media_type(name: str, data: bytes) -> str:
    """Return an image's MIME type, by its first bytes: a file's suffix may be wrong."""
    if len(data) > MOST_BYTES:
        raise UsageError(
            f"The image {name} is too large: {len(data) / 1e6:.1f} MB",
            hint=f"Send at most {MOST_BYTES / 1e6:.1f} MB.",
        )
    for media_type, signature in _SIGNATURES:
        if data.startswith(signature):
            return media_type
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    raise UsageError(
        f"{name} is no image that can be sent", hint="Send PNG, JPEG, GIF or WebP images."
    )


def named_image(argument: str) -> str:
    """Return the path that the argument of an `%attach` line names; it may be quoted."""
    return argument.strip("\"'")
