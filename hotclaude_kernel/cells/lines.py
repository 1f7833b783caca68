"""The `%` lines at the top of a cell: what they are, and what they answer."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..page.markdown.render import visible

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from ..conversation.conversation import Conversation
    from ..page.parts import Data

    Magic = Callable[[Conversation, str], Awaitable["Answer"]]
    CellMagic = Callable[[Conversation, str, str], Awaitable["Answer"]]

DEFAULT = "default"
# The cell magics, and whether the rest of the cell is theirs; if not, it is a cell like any other.
TAKES_REST = {"params": True, "refresh": False}


@dataclass(frozen=True, slots=True)
class Line:
    """One `%name argument` line. `ask` is set for `%name?`, which asks for its help.

    A line that begins with `%%` has a `body`: the rest of the cell, or nothing if it leaves that.
    """

    name: str
    argument: str = ""
    ask: bool = False
    body: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a magic says: a `note` on a change, a `value` that was asked for, a Markdown `report`.

    `warning` goes to stderr; `page` is help for the pager; `attach` names an image that goes with
    the cell's prompt; `clear` empties the cell's output; `prompt` is sent as the cell's own;
    `display` is a bundle of safe HTML and the like; `refresh` has the cell's prompt asked again.
    """

    note: str = ""
    value: str = ""
    report: str = ""
    warning: str = ""
    page: str = ""
    attach: str = ""
    clear: bool = False
    prompt: str = ""
    display: Data = field(default_factory=dict)
    refresh: bool = False


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


def wrong(name: str, value: str, known: Iterable[str], *, also: str = "") -> UsageError:
    """Return the error for a value that there is not."""
    also = f", {also}" if also else ""
    return UsageError(f"%{name}: there is no {value}", hint=f"There are {listed(known)}{also}.")


def takes_nothing(name: str, argument: str) -> None:
    """Raise `UsageError` if a line has a value."""
    if argument:
        raise UsageError(f"%{name} takes no value", hint=f"Write `%{name}` alone.")


def listed(names: Iterable[str]) -> str:
    """Return names in a row."""
    return ", ".join(names)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table of plain text."""
    head = list(head)
    lines = [head, [":--"] * len(head), *([_cell(text) for text in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def code(text: str) -> str:
    """Return text that somebody else wrote as a code span: nothing in it is Markdown."""
    return f"`{visible(text).replace('`', chr(39))}`" if text.strip() else ""


def counted(number: int, what: str, plural: str = "") -> str:
    """Return a number of things in words."""
    return f"{number:,} {what if number == 1 else plural or f'{what}s'}"


def _cell(text: str) -> str:
    if not text.startswith("`"):  # in code a backslash stands for itself
        text = text.replace("\\", "\\\\")
    return text.replace("|", "\\|").replace("\n", " ")
