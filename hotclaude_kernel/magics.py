"""The `%` lines at the top of a cell: settings and questions about the session.

`split` cuts a cell into such lines and the prompt below them. Each magic is one function of the
conversation and the line's argument; its docstring is its help.
"""

from __future__ import annotations

import difflib
import inspect
import os
import re
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ControlError, HotClaudeError, UsageError
from .turn import EFFORTS, PERMISSION_MODES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from .conversation import Conversation

# What the binary offers today; a running session knows better once it has answered a turn.
BUILTIN_TOOLS = (
    "Agent", "Bash", "Edit", "Glob", "Grep", "NotebookEdit", "Read", "Task", "TodoWrite",
    "WebFetch", "WebSearch", "Write",
)  # fmt: skip
DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Line:
    """One `%name argument` line. `ask` is set for `%name?`, which asks for its help."""

    name: str
    argument: str = ""
    ask: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What a magic says: a `note` on a change, a `value` that was asked for, a Markdown `report`.

    `warning` goes to stderr; `page` is help for the pager; `attach` names an image that goes with
    the cell's prompt; `clear` empties the cell's output.
    """

    note: str = ""
    value: str = ""
    report: str = ""
    warning: str = ""
    page: str = ""
    attach: str = ""
    clear: bool = False


_LINE = re.compile(r"%([a-zA-Z][\w-]*)(\?)?(?:[ \t]+(.*))?$")


def split(code: str) -> tuple[list[Line], str]:
    """Return the `%` lines at the top of a cell and the prompt below them.

    The prompt is the rest as it stands, without the blank lines around it. A prompt that must begin
    with `%` is written `\\%`.
    """
    lines: list[Line] = []
    rest = code.replace("\r\n", "\n").split("\n")
    while rest:
        text = rest[0].strip()
        if text.startswith("%%"):
            raise UsageError(
                f"There is no cell magic {text.split()[0]}",
                hint="Settings are lines with one %; `%help` lists them.",
            )
        match = _LINE.match(text)
        if text and not match:
            break
        if match:
            name, ask, argument = match.groups()
            lines.append(Line(name, (argument or "").strip(), bool(ask)))
        rest.pop(0)
    prompt = "\n".join(rest).strip("\n")
    return lines, prompt.removeprefix("\\") if prompt.startswith("\\%") else prompt


async def run(line: Line, conversation: Conversation) -> Answer:
    """Carry out one line. Raises `UsageError` for a name or a value that does not exist."""
    magic = find(line.name)
    if line.ask:
        return Answer(page=help_text(line.name))
    return await magic(conversation, line.argument)


def find(name: str) -> Callable[[Conversation, str], Awaitable[Answer]]:
    """Return the magic of this name; `UsageError` with the nearest ones if there is none."""
    if magic := MAGICS.get(name.replace("_", "-")):
        return magic
    near = difflib.get_close_matches(name, MAGICS, n=1)
    hint = f"Did you mean %{near[0]}? " if near else ""
    raise UsageError(
        f"There is no %{name}",
        hint=f"{hint}There are {_listed(f'%{known}' for known in MAGICS)}. "
        "To send a prompt that begins with %, write \\%.",
    )


def help_text(name: str) -> str:
    """Return what a magic does."""
    return inspect.getdoc(find(name)) or ""


def values_of(name: str, conversation: Conversation) -> tuple[str, ...]:
    """Return the values that a magic takes, for completion; none where any text will do."""
    match name.replace("_", "-"):
        case "model":
            return (DEFAULT, *_models(conversation))
        case "effort":
            return (DEFAULT, *EFFORTS)
        case "permission-mode":
            return PERMISSION_MODES
        case "tools":
            return ("all", "none", *_tools(conversation))
    return ()


# --- the magics ------------------------------------------------------------------------------


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
    if argument not in (*known, *_resolved(conversation)):
        if not (argument.startswith("claude-") or os.environ.get("ANTHROPIC_BASE_URL")):
            raise _wrong("model", argument, known, also="or a full id that begins with claude-")
        warning = f"claude does not list a model {argument}; it is sent as it stands"
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
        raise _wrong("effort", argument, (DEFAULT, *EFFORTS))
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
    return Answer(note=f"system prompt: {argument}")


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
            hint=f"In {here} there are {_listed(beside)}." if beside else f"{here} has no folders.",
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
    known = _tools(conversation)
    for name in names:
        if name not in known and not name.startswith("mcp__"):
            raise _wrong("tools", name, ("all", "none", *known))
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
        raise _wrong("permission-mode", argument, PERMISSION_MODES)
    await conversation.change(permission_mode=argument)
    return Answer(note=f"permission mode: {argument}")


async def attach(conversation: Conversation, argument: str) -> Answer:
    """`%attach plot.png`: send an image with this cell's prompt. `@plot.png` in the text does too.

    PNG, JPEG, GIF or WebP, 3.7 MB at most, the path from the working directory. A pasted
    `![](data:image/png;base64,…)` in the prompt is sent as an image as well.
    """
    if not argument:
        raise UsageError("%attach names no image", hint="Write `%attach plot.png`.")
    return Answer(attach=argument.strip("\"'"))


async def new(conversation: Conversation, argument: str) -> Answer:
    """`%new`: begin a new conversation, with the same settings. Claude forgets the cells so far.

    The old conversation's transcript stays where claude keeps it.
    """
    _takes_nothing("new", argument)
    await conversation.renew()
    return Answer(note="new conversation")


async def clear(conversation: Conversation, argument: str) -> Answer:
    """`%clear`: take away what this cell has shown so far. Changes nothing else."""
    _takes_nothing("clear", argument)
    return Answer(clear=True)


async def status(conversation: Conversation, argument: str) -> Answer:
    """`%status`: the session: model, process, context, tokens, and hot against cold latency."""
    _takes_nothing("status", argument)
    rows = [
        ("model", _model_row(conversation)),
        ("effort", conversation.settings.effort or DEFAULT),
        ("permission mode", conversation.settings.permission_mode),
        ("session id", conversation.session_id),
        ("process", await _process_row(conversation)),
        ("turns", _turns_row(conversation)),
        ("context", await _context_row(conversation)),
        ("tokens", _tokens_row(conversation)),
        ("first text, hot", _latency_row(conversation, hot=True)),
        ("first text, cold", _latency_row(conversation, hot=False)),
    ]
    body = "".join(f"| {name} | {_cell(value)} |\n" for name, value in rows)
    return Answer(report=f"| session | |\n|:--|:--|\n{body}")


async def help_(conversation: Conversation, argument: str) -> Answer:
    """`%help`: this list. `%help model` or `%model?` tells more of one."""
    if argument:
        return Answer(report=help_text(argument.lstrip("%")))
    firsts = (help_text(name).splitlines()[0] for name in MAGICS)
    rows = "".join(f"- {first}\n" for first in firsts)
    return Answer(
        report="A cell is a message to Claude. Lines that begin with % at its top set things:\n\n"
        f"{rows}\n`/command` and `@file` work as they do in Claude Code."
    )


MAGICS: dict[str, Callable[[Conversation, str], Awaitable[Answer]]] = {
    "model": model,
    "effort": effort,
    "system": system,
    "cwd": cwd,
    "tools": tools,
    "permission-mode": permission_mode,
    "attach": attach,
    "new": new,
    "clear": clear,
    "status": status,
    "help": help_,
}


# --- what they are made of -------------------------------------------------------------------


def _wrong(name: str, value: str, known: Iterable[str], *, also: str = "") -> UsageError:
    also = f", {also}" if also else ""
    return UsageError(f"%{name}: there is no {value}", hint=f"There are {_listed(known)}{also}.")


def _takes_nothing(name: str, argument: str) -> None:
    if argument:
        raise UsageError(f"%{name} takes no value", hint=f"Write `%{name}` alone.")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


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
    await conversation.session()
    return (DEFAULT, *_models(conversation))


def _models(conversation: Conversation) -> tuple[str, ...]:
    greeting = conversation.greeting
    listed = greeting.models if greeting else ()
    names = [str(model.get("value")) for model in listed]
    return tuple(name for name in dict.fromkeys(names) if name != DEFAULT)


def _resolved(conversation: Conversation) -> tuple[str, ...]:
    """Return the full ids of the models that the process lists."""
    greeting = conversation.greeting
    return tuple(str(model.get("resolvedModel")) for model in (greeting.models if greeting else ()))


def _tools(conversation: Conversation) -> tuple[str, ...]:
    return tuple(sorted({*BUILTIN_TOOLS, *conversation.tools}))


def _model_row(conversation: Conversation) -> str:
    row = conversation.settings.model or DEFAULT
    if conversation.model:
        row += f" ({conversation.model})"
    answered = next((turn.model for turn in reversed(conversation.turns) if turn.model), "")
    if answered not in ("", conversation.model):
        row += f", answered by {answered}"  # an endpoint of one's own may say who it really is
    return row


async def _process_row(conversation: Conversation) -> str:
    try:
        session = await conversation.session()
    except HotClaudeError as error:
        return error.message
    version = session.greeting.version if session.greeting else ""
    resumed = f", resumed {conversation.resumes} times" if conversation.resumes else ""
    return f"pid {session.pid}, claude {version}{resumed}"


def _turns_row(conversation: Conversation) -> str:
    counted = [turn.status for turn in conversation.turns]
    kinds = ", ".join(f"{counted.count(kind)} {kind}" for kind in dict.fromkeys(counted))
    return kinds or "none yet"


async def _context_row(conversation: Conversation) -> str:
    try:
        session = await conversation.session()
        use = await session.control("get_context_usage", detail="summary")
    except (ControlError, HotClaudeError):
        return "unknown"
    total, window = use.get("totalTokens"), use.get("maxTokens") or use.get("rawMaxTokens")
    if total is None:
        return "unknown"
    share = f" ({use['percentage']} %)" if use.get("percentage") is not None else ""
    return f"{total:,} tokens" + (f" of {window:,}" if window else "") + share


def _tokens_row(conversation: Conversation) -> str:
    used = [turn.usage for turn in conversation.turns]
    read, cached = sum(u.prompt_tokens for u in used), sum(u.cache_read_tokens for u in used)
    return f"{read:,} in ({cached:,} from the cache), {sum(u.output_tokens for u in used):,} out"


def _latency_row(conversation: Conversation, *, hot: bool) -> str:
    clocks = [turn.clock for turn in conversation.turns if turn.clock.hot is hot]
    seconds = [s for clock in clocks if (s := clock.first_text_s) is not None]
    if not seconds:
        return "none yet"
    return f"{statistics.median(seconds):.3f} s (median of {len(seconds)})"


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
