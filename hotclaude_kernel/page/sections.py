"""The sections of a card, each as safe HTML and as Markdown: code, terminal text, prose, pictures.

A section shows at most 20,000 characters. Code and terminal text of 30 lines or more show 20 and
fold the rest.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
from typing import Protocol

from msgspec import Struct

from .markdown import render as markdown
from .parts import literal
from .text import escape, visible, without_ansi

SHOWN_LINES = 20
FOLD_FROM_LINES = 30
MOST_CHARACTERS = 20_000
PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
MOST_PICTURE_BYTES = 5_000_000

PRE = '<pre style="white-space:pre-wrap;margin:.3em 0">'


class Section(Protocol):
    """A part of a card's body."""

    def html(self) -> str:
        """Return safe HTML."""

    def source(self) -> str:
        """Return Markdown, ending in a blank line."""


class Code(Struct, frozen=True):
    """Source text in a language that pygments may know."""

    text: str
    language: str = ""

    def html(self) -> str:
        """Return the code coloured; the rest of a long one is folded."""
        head, rest = _parted(self.text)
        shown = markdown.render(fenced(head, self.language))
        return shown + _more(rest, markdown.render(fenced(rest, self.language)) if rest else "")

    def source(self) -> str:
        """Return the code as a fence."""
        return fenced(markdown.tame(shortened(self.text)), self.language)


class Console(Struct, frozen=True):
    """The output of a command, terminal colours included."""

    text: str

    def html(self) -> str:
        """Return the text with its colours; the rest of a long one is folded."""
        head, rest = _parted(self.text)
        return f"{PRE}{coloured(head)}</pre>" + _more(rest, f"{PRE}{coloured(rest)}</pre>")

    def source(self) -> str:
        """Return the text as a fence, without colours."""
        return fenced(without_ansi(shortened(self.text)))


class Prose(Struct, frozen=True):
    """Markdown that is not the answer: a plan, a report, a web page."""

    text: str

    def html(self) -> str:
        """Return the Markdown rendered."""
        return markdown.render(shortened(self.text))

    def source(self) -> str:
        """Return the Markdown as a quotation."""
        lines = markdown.tame(shortened(self.text)).strip().splitlines()
        return "".join(f"> {line}".rstrip() + "\n" for line in lines) + "\n"


class Picture(Struct, frozen=True):
    """An image that a tool returned, in base64."""

    media_type: str
    data: str

    def html(self) -> str:
        """Return the image as a data URI; only its type if it is damaged, too large or unknown."""
        if not self._sound():
            return f"<p>[{escape(visible(self.media_type))}, not shown]</p>"
        uri = f"data:{self.media_type};base64,{self.data}"
        return f'<img src="{uri}" alt="" style="max-width:100%">'

    def source(self) -> str:
        """Return the type's name: megabytes of base64 would swell the Markdown."""
        return f"{literal(f'[{visible(self.media_type)}]')}\n\n"

    def _sound(self) -> bool:
        if self.media_type not in PICTURES or len(self.data) > MOST_PICTURE_BYTES:
            return False
        try:
            return bool(base64.b64decode(self.data, validate=True))
        except (binascii.Error, ValueError):
            return False


def fenced(text: str, language: str = "") -> str:
    """Return a code fence with more backticks than any run in its text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    name = re.sub(r"[^\w+#-]", "", language)
    return f"{fence}{name}\n{text.rstrip(chr(10))}\n{fence}\n\n"


def shortened(text: str) -> str:
    """Return at most 20,000 characters, and how many were left out."""
    if len(text) <= MOST_CHARACTERS:
        return text
    return f"{text[:MOST_CHARACTERS]}\n… {len(text) - MOST_CHARACTERS:,} more characters"


def _parted(text: str) -> tuple[str, str]:
    """Return the text to show and the text to fold; the latter is empty for a short text."""
    lines = shortened(text).rstrip("\n").split("\n")
    if len(lines) < FOLD_FROM_LINES:
        return "\n".join(lines), ""
    return "\n".join(lines[:SHOWN_LINES]), "\n".join(lines[SHOWN_LINES:])


def _more(rest: str, body: str) -> str:
    if not rest:
        return ""
    count = rest.count("\n") + 1
    return f"<details><summary>{count} more lines</summary>{body}</details>"


# --- terminal colours ------------------------------------------------------------------------

# Legible on light and dark pages; Jupyter's own colour classes apply to text outputs only.
_COLOURS = ("#7f7f7f", "#d6443e", "#00933f", "#a87600", "#2b7fd9", "#b04fc0", "#16909b", "#7f7f7f")
_SGR = re.compile(r"\x1b\[([0-9;]{0,64})m")


def coloured(text: str) -> str:
    """Return terminal text as safe HTML: SGR colours and weight stay, other escapes are removed.

    Of a line with carriage returns, the text after the last one is shown, as on a terminal.
    """
    lines = (line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n"))
    parts: list[str] = []
    style = ""
    pieces = _SGR.split("\n".join(lines))
    for at, piece in enumerate(pieces):
        if at % 2:
            style = _style(piece, style)
            continue
        shown = html.escape(without_ansi(piece))
        parts.append(f'<span style="{style}">{shown}</span>' if style and shown else shown)
    return "".join(parts)


def _style(codes: str, style: str) -> str:
    """Return the CSS style after a run of SGR codes; unknown codes change nothing."""
    now = dict(part.split(":") for part in style.split(";") if part)
    for code in codes.split(";"):
        number = int(code or 0)
        if number == 0:
            now.clear()
        elif number == 1:
            now["font-weight"] = "bold"
        elif number == 22:
            now.pop("font-weight", None)
        elif number == 39:
            now.pop("color", None)
        elif 30 <= number <= 37 or 90 <= number <= 97:
            now["color"] = _COLOURS[number % 10]
        elif number in (38, 48):
            break  # 256 and 24-bit colours: their arguments would read as other codes
    return ";".join(f"{name}:{value}" for name, value in now.items())
