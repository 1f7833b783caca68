"""What a `%` line answers, and the errors of its value."""

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


class Answer(Struct, frozen=True):
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


def wrong(name: str, value: str, known: Iterable[str], *, also: str = "") -> UsageError:
    """Return the error for an unknown value."""
    also = f", {also}" if also else ""
    return UsageError(f"%{name}: there is no {value}", hint=f"There are {listed(known)}{also}.")


def takes_nothing(name: str, argument: str) -> None:
    """Raise `UsageError` if a line has a value."""
    if argument:
        raise UsageError(f"%{name} takes no value", hint=f"Write `%{name}` alone.")
