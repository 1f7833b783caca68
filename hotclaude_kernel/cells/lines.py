"""The `%` lines at the top of a cell, cut from the prompt below them."""

from __future__ import annotations

import re

from msgspec import Struct

from ..errors import UsageError
from ..page.words import listed

# For each cell magic, whether it takes the rest of the cell; if not, the rest is a usual cell.
TAKES_REST = {"params": True, "refresh": False}


class Line(Struct, frozen=True):
    """One `%name argument` line. `ask` is set for `%name?`, which asks for its help.

    `body` is `None` for a line with one `%`. For a cell magic it is the rest of the cell, or "" if
    the magic doesn't take the rest.
    """

    name: str
    argument: str = ""
    ask: bool = False
    body: str | None = None


_LINE = re.compile(r"%%?([a-zA-Z][\w-]*)(\?)?(?:[ \t]+(.*))?$")


def split(code: str) -> tuple[list[Line], str]:
    """Return the `%` lines at the top of a cell and the prompt below them.

    The prompt is the rest of the cell without the blank lines around it. A backslash before its
    first `%` is removed, so that a prompt can begin with `%`. Raises `UsageError` for an unknown
    cell magic; the names of `%` lines are not checked.
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
