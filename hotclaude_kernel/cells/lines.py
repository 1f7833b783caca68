"""The `%` lines at the top of a cell, cut from the prompt below them.

What looks like a `%` line, but is none by a blank or by its place, can only be a mistake. It is
refused, because it would be sent to Claude, and charged.
"""

from __future__ import annotations

import re

from msgspec import Struct

from ..errors import UsageError
from ..page.words import listed
from .magics.names import CELL_MAGICS, MAGICS, TAKES_REST


class Line(Struct, frozen=True):
    """One `%name argument` line. `ask` is set for `%name?`, which asks for its help.

    `body` is `None` for a line with one `%`. For a cell magic it is the rest of the cell, or "" if
    the magic doesn't take the rest.
    """

    name: str
    argument: str = ""
    ask: bool = False
    body: str | None = None


# Signs that are not seen, from web pages and files: zero-width and soft hyphens, marks of
# direction and of byte order.
UNSEEN = "\u00ad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff"
WHITE = (
    "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006"
    "\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
_WITHOUT_UNSEEN = str.maketrans("", "", UNSEEN)
_LINE = re.compile(r"%%?([a-zA-Z][\w-]*)(\?)?(?:\s+(.*))?$", re.DOTALL)
_LIKE_LINE = re.compile(r"(\\?)%%?(\s*)([a-zA-Z][\w-]*)")
LEAVING = ("exit", "quit", "exit()", "quit()")


def split(code: str) -> tuple[list[Line], str]:
    """Return the `%` lines at the top of a cell and the prompt below them.

    The prompt is the rest of the cell without the blank lines around it. A backslash before its
    first `%` is removed, so that a prompt can begin with `%`; so is one before a `%` line in it.
    Raises `UsageError` for an unknown cell magic, and for a `%` line below text; the names of `%`
    lines are not checked.
    """
    lines: list[Line] = []
    rest = code.replace("\r\n", "\n").split("\n")
    while rest:
        text = _seen(rest[0])
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
    return lines, _as_sent("\n".join(rest).strip("\n"))


def refuse_leaving(prompt: str) -> None:
    """Raise `UsageError` if a prompt in a console is what ends other consoles."""
    if prompt.strip() in LEAVING:
        raise UsageError(
            f"{prompt.strip()} would be sent to Claude",
            hint=f"Ctrl-D leaves the console. To send it, write `\\{prompt.strip()}`.",
        )


def _seen(text: str) -> str:
    """Return a line without what is not seen around it and in its first word.

    The rest of a line stays as it is: joiners have a meaning in text.
    """
    text = text.strip(WHITE + UNSEEN)
    head = text.split(maxsplit=1)[0] if text else ""
    return head.translate(_WITHOUT_UNSEEN) + text[len(head) :]


def _as_sent(prompt: str) -> str:
    """Return a prompt without the backslashes that have a line sent as it is."""
    if prompt.strip() in (f"\\{word}" for word in LEAVING):
        return prompt.replace("\\", "", 1)
    if "%" not in prompt:
        return prompt
    lines, fenced = prompt.split("\n"), False
    for number, text in enumerate(lines):
        if text.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        elif not fenced:
            lines[number] = _line_as_sent(text, first=number == 0)
    return "\n".join(lines)


def _line_as_sent(text: str, *, first: bool) -> str:
    if first and text.startswith("\\%"):
        return text[1:]
    like = _LIKE_LINE.match(text)
    if like is None or not _known(like[3]) or (like[2] and not first):
        return text
    if like[1]:
        return text[1:]
    line = like[0]
    if first:
        raise UsageError(
            f"{line} has a blank after the %, so it would be sent to Claude",
            hint=f"Write `%{like[3]}`. To send it, write `\\{line}`.",
        )
    raise UsageError(
        f"{line} stands below text, so it would be sent to Claude",
        hint=f"Write it at the top of a cell. To send it, write `\\{line}`.",
    )


def _known(name: str) -> bool:
    name = name.replace("_", "-")
    return name in MAGICS or name in CELL_MAGICS
