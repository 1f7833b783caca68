"""The `%` lines that set something: model, effort, tools, where Claude works."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...conversation.modes import MODES
from ...errors import UsageError
from ...page.words import code, counted, listed, table
from ...turns.settings import EFFORTS, PERMISSION_MODES
from .. import parameters
from ..attachments import named_image
from .answer import DEFAULT, Answer, takes_nothing, wrong

if TYPE_CHECKING:
    from ...conversation.conversation import Conversation

# The tools of today's binary. After the first turn, `conversation.tools` lists the process's own.
BUILTIN_TOOLS = (
    "Agent", "Bash", "Edit", "Glob", "Grep", "NotebookEdit", "Read", "Task", "TodoWrite",
    "WebFetch", "WebSearch", "Write",
)  # fmt: skip


MOST_SHOWN = 200  # characters of a system prompt that a note repeats


async def model(conversation: Conversation, argument: str) -> Answer:
    """`%model opus`: answer with this model from here on. `%model` alone says which it is.

    Takes a name that the process lists (default, opus, sonnet, haiku, …) or a full model id
    (claude-…). With an endpoint of your own (ANTHROPIC_BASE_URL) any name goes, with a warning.
    `%model default` goes back to the account's default. Changes the running process at once.
    """
    if not argument:
        return Answer(value=conversation.settings.model or DEFAULT)
    warning = ""
    known = await _known_models(conversation)
    if conversation.mode != "none" and argument not in (*known, *_resolved(conversation)):
        if not (argument.startswith("claude-") or os.environ.get("ANTHROPIC_BASE_URL")):
            raise wrong("model", argument, known, also="or a full id that begins with claude-")
        warning = (
            f"claude does not list a model {argument}: it checks the name by a request of one "
            "token, which is charged"
        )
    await conversation.change(model=None if argument == DEFAULT else argument)
    return Answer(note=f"model: {argument}", warning=warning)


async def effort(conversation: Conversation, argument: str) -> Answer:
    """`%effort high`: how hard the model thinks: low, medium, high, xhigh or max.

    `%effort` alone says which it is; `%effort default` leaves it to the model again. Changes the
    running process at once (back to default takes a new process on the same conversation).
    """
    if not argument:
        return Answer(value=conversation.settings.effort or DEFAULT)
    if argument not in (DEFAULT, *EFFORTS):
        raise wrong("effort", argument, (DEFAULT, *EFFORTS))
    await conversation.change(effort=None if argument == DEFAULT else argument)
    return Answer(note=f"effort: {argument}")


async def system(conversation: Conversation, argument: str) -> Answer:
    """`%system You are terse.`: replace the system prompt. `%system` alone shows it.

    `%system default` goes back to Claude Code's own. The conversation is kept; it goes on in a new
    process, since a running one can't change its system prompt.
    """
    if not argument:
        return Answer(value=conversation.settings.system or DEFAULT)
    await conversation.change(system=None if argument == DEFAULT else argument)
    return Answer(note=f"system prompt: {_shortened(argument)}")


async def system_cell(conversation: Conversation, argument: str, body: str) -> Answer:
    """`%%system`: replace the system prompt by the rest of the cell, of any number of lines.

    `%system` alone shows it; `%system default` goes back to Claude Code's own.
    """
    takes_nothing("%system", argument)
    text = body.strip("\n")
    if not text.strip():
        raise UsageError("%%system has no text below it", hint="`%system default` goes back.")
    await conversation.change(system=text)
    return Answer(note=f"system prompt: {_shortened(text)}")


async def cwd(conversation: Conversation, argument: str) -> Answer:
    """`%cwd folder`: where Claude works, from the kernel's folder. `%cwd` alone says where.

    The conversation is kept; it goes on in a new process in that folder.
    """
    here = Path(conversation.settings.cwd or Path.cwd())
    if not argument:
        return Answer(value=str(here))
    if (folder := _folder(here, argument)) is None:
        beside = _folders(here)
        raise UsageError(
            f"%cwd: there is no folder {argument}",
            hint=f"In {here} there are {listed(beside)}." if beside else f"{here} has no folders.",
        )
    await conversation.change(cwd=str(folder))
    return Answer(note=f"working directory: {folder}")


async def tools(conversation: Conversation, argument: str) -> Answer:
    """`%tools Read Grep`: offer Claude these tools only. `%tools` alone says which.

    Also `%tools none` (text only: the smallest requests) and `%tools all`. Offering a tool does not
    allow its use: what changes something is still asked. Goes on in a new process.
    """
    chosen = conversation.settings.tools
    if not argument:
        return Answer(value="all" if chosen is None else " ".join(chosen) or "none")
    names = tuple(dict.fromkeys(argument.replace(",", " ").split()))
    if names in (("all",), (DEFAULT,), ("none",)):
        await conversation.change(tools=() if names == ("none",) else None)
        return Answer(note=f"tools: {argument}")
    known = tool_names(conversation)
    for name in names:
        if name not in known and not name.startswith("mcp__"):
            raise wrong("tools", name, ("all", "none", *known))
    await conversation.change(tools=names)
    return Answer(note=f"tools: {' '.join(names)}")


async def permission_mode(conversation: Conversation, argument: str) -> Answer:
    """`%permission-mode plan`: what Claude may do unasked. Alone it says which mode is on.

    default asks before anything that changes something; acceptEdits edits files unasked; plan reads
    and plans but changes nothing; dontAsk denies what would be asked; auto lets a classifier
    decide; bypassPermissions asks nothing (only where the kernel was started for it, never as
    root). Changes the running process at once.
    """
    if not argument:
        return Answer(value=conversation.settings.permission_mode)
    if argument not in PERMISSION_MODES:
        raise wrong("permission-mode", argument, PERMISSION_MODES)
    await conversation.change(permission_mode=argument)
    return Answer(note=f"permission mode: {argument}")


async def attach(conversation: Conversation, argument: str) -> Answer:
    """`%attach plot.png`: send an image with this cell's prompt. `@plot.png` in the text does too.

    PNG, JPEG, GIF or WebP, 3.7 MB at most, the path from the working directory. A pasted
    `![](data:image/png;base64,…)` in the prompt is sent as an image as well.
    """
    if not argument:
        raise UsageError("%attach names no image", hint="Write `%attach plot.png`.")
    return Answer(attach=named_image(argument))


async def params(conversation: Conversation, argument: str) -> Answer:
    r"""`%params topic=cats n=3`: have `{{topic}}` in prompts stand for cats. Alone it lists them.

    Values are JSON where they can be read as such, else text; one with blanks or quotes is quoted
    whole, as in a shell: `%params 'topic=cats and dogs' 'tags=["a", "b"]'`. Later values replace
    earlier ones, name by name, until the kernel ends. From the first value on, a prompt with an
    unknown name is refused, and `{{` of your own is written `\{{`. `%` lines are not rendered.
    """
    if argument:
        return _set(conversation, parameters.of_line(argument))
    if not conversation.parameters:
        return Answer(note="no parameters are set: prompts are sent as they are written")
    values = conversation.parameters.items()
    rows = [(name, code(parameters.spelled(value))) for name, value in values]
    return Answer(report=table(("parameter", "value"), rows))


async def params_cell(conversation: Conversation, argument: str, body: str) -> Answer:
    """`%%params json`: set the parameters that the rest of the cell lists, as one JSON object.

    papermill and `hotclaude run` write such a cell below the one that is tagged `parameters`.
    """
    return _set(conversation, parameters.of_cell(argument, body))


def _set(conversation: Conversation, values: dict[str, Any]) -> Answer:
    conversation.parameters = conversation.parameters | values
    return Answer(note=f"parameters: {listed(values)}" if values else "")


async def refresh_cell(conversation: Conversation, argument: str, body: str) -> Answer:
    """`%%refresh`: ask the rest of the cell again, though its answer is in the record."""
    takes_nothing("%refresh", argument)
    return Answer(refresh=True)


async def record(conversation: Conversation, argument: str) -> Answer:
    """`%record none`: when a turn is replayed from the record, and when it is asked and recorded.

    `new_episodes` replays what is recorded and asks the rest (the default); `none` never asks;
    `once` asks only in a notebook that has no recorded turn yet; `all` always asks, and records;
    `off` always asks, and records nothing. `%record` alone says which. `%%refresh` at the top of a
    cell asks that one again.
    """
    if not argument:
        return Answer(value=conversation.mode)
    if argument not in MODES:
        raise wrong("record", argument, MODES)
    conversation.mode = argument
    return Answer(note=f"record: {argument}")


async def clear(conversation: Conversation, argument: str) -> Answer:
    """`%clear`: take away what this cell has shown so far. Changes nothing else."""
    takes_nothing("clear", argument)
    return Answer(clear=True)


def _shortened(text: str) -> str:
    """Return the beginning of a text, and how long it is if that is not all of it."""
    lines = text.splitlines()
    if len(lines) == 1 and len(text) <= MOST_SHOWN:
        return text
    size = f"{counted(len(lines), 'line')}, {counted(len(text), 'character')}"
    return f"{lines[0][:MOST_SHOWN]}… ({size})"


def _folder(here: Path, name: str) -> Path | None:
    try:
        folder = (here / Path(name).expanduser()).resolve()
        return folder if folder.is_dir() else None
    except (OSError, RuntimeError, ValueError):  # no such user, not a path at all
        return None


def _folders(here: Path) -> list[str]:
    if not here.is_dir():
        return []
    return sorted(p.name for p in here.iterdir() if p.is_dir() and not p.name.startswith("."))[:20]


async def _known_models(conversation: Conversation) -> tuple[str, ...]:
    if conversation.mode != "none":
        async with conversation.session():
            pass  # its greeting lists the models
    return (DEFAULT, *model_names(conversation))


def model_names(conversation: Conversation) -> tuple[str, ...]:
    """Return the names of the models that the process lists, without `default`."""
    greeting = conversation.greeting
    listed = greeting.models if greeting else ()
    names = [str(model.get("value")) for model in listed]
    return tuple(name for name in dict.fromkeys(names) if name != DEFAULT)


def _resolved(conversation: Conversation) -> tuple[str, ...]:
    """Return the full ids of the models that the process lists."""
    greeting = conversation.greeting
    return tuple(str(model.get("resolvedModel")) for model in (greeting.models if greeting else ()))


def tool_names(conversation: Conversation) -> tuple[str, ...]:
    """Return the names of the built-in tools and of those that the process has listed."""
    return tuple(sorted({*BUILTIN_TOOLS, *conversation.tools}))
