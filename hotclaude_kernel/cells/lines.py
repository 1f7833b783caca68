"""The `%` lines at the top of a cell, cut from the prompt below them."""

from __future__ import annotations

import re

from msgspec import Struct

from ..errors import UsageError
from ..page.words import listed

# The cell magics, and whether the rest of the cell is theirs; if not, it is a cell like any other.
TAKES_REST = {"params": True, "refresh": False}


class Line(Struct, frozen=True):
    """One `%name argument` line. `ask` is set for `%name?`, which asks for its help.

    A line that begins with `%%` has a `body`: the rest of the cell, or nothing if it leaves that.
    """

    name: str
    argument: str = ""
    ask: bool = False
    body: str | None = None


_LINE = re.compile(r"%%?([a-zA-Z][\w-]*)(\?)?(?:[ \t]+(.*))?$")


def split(code: str) -> tuple[list[Line], str]:
    """Return the `%` lines at the top of a cell and the prompt below them.

    The prompt is the rest as it stands, without the blank lines around it. A prompt that must begin
    with `%` is written `\\%`.
    """
    lines: list[Line] = []
    rest = code.replace("\r\n", "\n").split("\n")
    while rest:
        text = rest[0].strip()
        match = _LINE.match(text)
        if text.startswith("%%") and (match is None or match[1] not in TAKES_REST):
            raise UsageError(
                f"There is no cell magic {text.split()[0]}",
                hint=f"There are {listed(f'%%{name}' for name in TAKES_REST)}. "
                "Settings are lines with one %; `%help` lists them.",
            )
        if text and not match:
            break
        rest.pop(0)
        if match:
            name, ask, argument = match.groups()
            body = None
            if text.startswith("%%"):
                body, rest = ("\n".join(rest), []) if TAKES_REST[name] else ("", rest)
            lines.append(Line(name, (argument or "").strip(), bool(ask), body))
    prompt = "\n".join(rest).strip("\n")
    return lines, prompt.removeprefix("\\") if prompt.startswith("\\%") else prompt
