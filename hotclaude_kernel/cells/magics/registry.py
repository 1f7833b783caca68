"""The names of the `%` lines, and carrying one out.

`split` cuts a cell into `%` lines and the prompt below them. A magic is an async function of the
conversation and the line's argument. Its docstring is its help: `%help` lists the first line, and
`%help name` shows all of it.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import TYPE_CHECKING, cast

from ...conversation.modes import MODES, RERUNS
from ...errors import UsageError
from ...turns.settings import EFFORTS, PERMISSION_MODES
from ..lines import Line, split
from .answer import DEFAULT, Answer, meant
from .names import CELL_MAGICS, MAGICS

if TYPE_CHECKING:
    from ...conversation.conversation import Conversation
    from .answer import CellMagic, Magic

__all__ = ["MAGICS", "Answer", "Line", "find", "help_text", "run", "split", "values_of"]


async def run(line: Line, conversation: Conversation) -> Answer:
    """Carry out one line. Raises `UsageError` for an unknown name or a wrong value."""
    if line.ask:
        return Answer(page=help_text(line.name, cell=line.body is not None))
    if line.body is not None:
        run_cell = cast("CellMagic", _function(CELL_MAGICS[line.name]))
        return await run_cell(conversation, line.argument, line.body)
    return await find(line.name)(conversation, line.argument)


def find(name: str) -> Magic:
    """Return the magic of this name. Raises `UsageError`, with the nearest name, if unknown."""
    if where := MAGICS.get(name.replace("_", "-")):
        return cast("Magic", _function(where))
    near = meant(name, MAGICS)
    raise UsageError(
        f"There is no %{name}",
        hint=f"{f'Did you mean %{near}? ' if near else ''}`%help` lists what there is. "
        "To send a prompt that begins with %, write \\%.",
    )


def _function(where: str) -> object:
    """Import and return a function that `MAGICS` or `CELL_MAGICS` names.

    Its module is imported now, since few cells have a `%` line and a module takes a millisecond.
    """
    module, _, name = where.partition(".")
    return getattr(import_module(f".{module}", __package__), name)


def help_text(name: str, *, cell: bool = False) -> str:
    """Return the help of a magic, or with `cell` of a cell magic. Raises `UsageError`."""
    return inspect.getdoc(_function(CELL_MAGICS[name]) if cell else find(name)) or ""


def values_of(name: str, conversation: Conversation) -> tuple[str, ...]:
    """Return the values that a magic takes, for completion; empty if it takes any text."""
    from . import settings  # only completion needs it

    match name.replace("_", "-"):
        case "model":
            return (DEFAULT, *settings.model_names(conversation))
        case "effort":
            return (DEFAULT, *EFFORTS)
        case "permission-mode":
            return PERMISSION_MODES
        case "params":
            return tuple(f"{known}=" for known in conversation.parameters)
        case "checkout" | "goto" if not conversation.record.opened:
            return ()  # the record is still being opened, and a completion must not wait
        case "checkout":
            return tuple(conversation.branches.branches)
        case "goto":
            tree = conversation.branches
            return ("start", *tree.checkpoints, *tree.branches)
        case "rerun":
            return RERUNS
        case "record":
            return MODES
        case "revoke":
            rules = conversation.position.rules.holding
            return tuple(str(number) for number in range(1, len(rules) + 1))
        case "tools":
            return ("all", "none", *settings.tool_names(conversation))
    return ()


async def help_(conversation: Conversation, argument: str) -> Answer:
    """`%help`: this list. `%help model` or `%model?` tells more of one."""
    if argument:
        name = argument.lstrip("%")
        cell = argument.startswith("%%") and name in CELL_MAGICS
        return Answer(report=help_text(name, cell=cell))
    texts = [help_text(name) for name in MAGICS]
    texts += [help_text(name, cell=True) for name in CELL_MAGICS]
    rows = "".join(f"- {text.splitlines()[0]}\n" for text in texts)
    return Answer(
        report="A cell is a message to Claude. Lines that begin with % at its top set things:\n\n"
        f"{rows}\n`/command` and `@file` work as they do in Claude Code."
    )
