"""The answer of a `%` line, and the errors about its argument."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from ...errors import UsageError
from ...page.words import listed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from ...conversation.conversation import Conversation
    from ...page.parts import Data

    Magic = Callable[[Conversation, str], Awaitable["Answer"]]
    CellMagic = Callable[[Conversation, str, str], Awaitable["Answer"]]

DEFAULT = "default"
MOST_NAMED = 12  # how many values an error lists


class Answer(Struct, frozen=True):
    """The answer of a magic; `Cells` shows it or acts on it, field by field.

    Shown: `note` on a change, `value` that was asked for, `report` in Markdown, `said` as Claude's
    answer, `warning` on stderr, `page` in the front end's pager, `display` as a MIME bundle of safe
    HTML. About the cell: `attach` adds an image to its prompt, `prompt` takes the place of a blank
    one, `clear` empties its outputs, and `refresh` asks its prompt even if an answer is recorded.
    """

    note: str = ""
    value: str = ""
    report: str = ""
    said: str = ""
    warning: str = ""
    page: str = ""
    attach: str = ""
    clear: bool = False
    prompt: str = ""
    display: Data = field(default_factory=dict)
    refresh: bool = False


def wrong(name: str, value: str, known: Iterable[str], *, also: str = "") -> UsageError:
    """Return the error for an unknown value of `%name`; `known` are the values that it takes."""
    known = tuple(known)
    near = meant(value, known) if any(map(str.isalpha, value)) else ""
    also = f", {also}" if also else ""
    rest = f" and {len(known) - MOST_NAMED} more" if len(known) > MOST_NAMED else ""
    return UsageError(
        f"%{name}: there is no {value}",
        hint=f"{f'Did you mean {near}? ' if near else ''}"
        f"There are {listed(known[:MOST_NAMED])}{rest}{also}.",
    )


def meant(name: str, known: Iterable[str]) -> str:
    """Return the known name that is nearest to a wrong one, empty if none is near."""
    import difflib  # only a mistake needs it

    return next(iter(difflib.get_close_matches(name, tuple(known), n=1)), "")


def takes_nothing(name: str, argument: str) -> None:
    """Raise `UsageError` if the line of a magic without values has one."""
    if argument:
        raise UsageError(f"%{name} takes no value", hint=f"Write `%{name}` alone.")


def where(conversation: Conversation) -> str:
    """Return the branch that the conversation is on, and its last turn there, in words."""
    tree = conversation.branches
    after = f"after turn {tree.head.number}" if tree.head else "before the first turn"
    of = f" of {tree.end.number}" if tree.ahead and tree.end else ""
    return f"on branch {tree.current}, {after}{of}"
