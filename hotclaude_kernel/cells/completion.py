"""Answers to Jupyter's other requests: completion, inspection, is_complete and history."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from ..errors import UsageError
from .lines import split
from .magics import registry
from .magics.names import CELL_MAGICS, MAGICS, TAKES_REST

if TYPE_CHECKING:
    from ..conversation.conversation import Conversation
    from .lines import Line

MOST_FILES = 200

# A cell of the history: session, execution count, code, answer as text.
Ran = tuple[int, int, str, str]
_WORD = re.compile(r"\S*$")


class Completion(Struct, frozen=True):
    """Texts that can replace the word at `start`, a position in the code."""

    matches: list[str]
    start: int


def complete(code: str, at: int, conversation: Conversation) -> Completion:
    """Return the completions of the word before position `at`.

    Completed are `%` lines and their values, `/commands` that begin a prompt, and `@files`.
    """
    line = code[:at].rsplit("\n", 1)[-1]
    found = _WORD.search(line)
    word = found.group() if found else ""
    start = at - len(word)
    if line.lstrip().startswith("%"):
        return Completion(_complete_line(line.lstrip(), word, conversation), start)
    if word.startswith("/") and _begins_prompt(code[:start]):
        names = (f"/{command}" for command in _commands(conversation))
        return Completion(sorted(name for name in names if name.startswith(word)), start)
    if word.startswith("@"):
        return Completion([f"@{path}" for path in _files(word[1:], conversation)], start)
    return Completion([], start)


def _begins_prompt(before: str) -> bool:
    try:
        return split(before)[1].strip() == ""
    except UsageError:
        return False


def _complete_line(line: str, word: str, conversation: Conversation) -> list[str]:
    name, _, argument = line.partition(" ")
    if line.startswith("%%"):
        return sorted(f"%%{known}" for known in CELL_MAGICS if f"%%{known}".startswith(line))
    if name == line:
        return sorted(f"%{known}" for known in MAGICS if f"%{known}".startswith(word))
    if name == "%cwd":
        typed = argument.lstrip()
        before = len(typed) - len(word)  # if a folder's name has spaces, `word` is its last part
        folders = _files(typed, conversation)
        return [folder[before:] for folder in folders if folder.endswith("/")]
    values = registry.values_of(name[1:], conversation)
    return [value for value in values if value.startswith(word)]


def _commands(conversation: Conversation) -> dict[str, str]:
    greeting = conversation.greeting
    listed = greeting.commands if greeting else ()
    return {str(c.get("name")): str(c.get("description") or "") for c in listed}


def _files(typed: str, conversation: Conversation) -> list[str]:
    """Return at most 200 paths that begin as typed, with a slash after a folder's.

    Hidden files are left out unless the typed name begins with a dot.
    """
    here = Path(conversation.settings.cwd or Path.cwd())
    folder, _, name = typed.rpartition("/")
    prefix = typed[: len(typed) - len(name)]
    try:
        base = here / (Path(folder).expanduser() if folder else "/" if prefix else "")
        entries = sorted(base.iterdir())
        shown = [p for p in entries if p.name.startswith(name) and (name or p.name[0] != ".")]
        return [f"{prefix}{p.name}{'/' if p.is_dir() else ''}" for p in shown[:MOST_FILES]]
    except (OSError, RuntimeError, ValueError):  # no such folder, no such user, not a path at all
        return []


def describe(code: str, at: int, conversation: Conversation) -> str:
    """Return the help of the `%` line or `/command` at position `at`, "" if it is neither."""
    start = code.rfind("\n", 0, at) + 1
    word = code[start:].split("\n", 1)[0].split(maxsplit=1)[:1]
    if not word:
        return ""
    if word[0].startswith("%"):
        try:
            name = word[0].lstrip("%").rstrip("?")
            cell = word[0].startswith("%%") and name in CELL_MAGICS
            return registry.help_text(name, cell=cell)
        except UsageError:
            return ""
    if word[0].startswith("/"):
        return _commands(conversation).get(word[0][1:], "")
    return ""


def completeness(code: str) -> Literal["complete", "incomplete", "invalid"]:
    """Return whether a console may send the code.

    Code with an open fence, or with a backslash at its end, is incomplete. So is a `%%params` cell
    without a blank line at its end. An unknown `%` line is invalid.
    """
    try:
        lines, prompt = split(code)
        for line in lines:
            if line.body is None:
                registry.find(line.name)
    except UsageError:
        return "invalid"
    if _awaits_rest(lines) and not code.endswith("\n"):
        return "incomplete"  # such a cell ends with a blank line
    fences = [line for line in prompt.split("\n") if line.lstrip().startswith("```")]
    if len(fences) % 2 or prompt.endswith("\\"):
        return "incomplete"
    return "complete"


def _awaits_rest(lines: list[Line]) -> bool:
    last = lines[-1] if lines else None
    return last is not None and last.body is not None and not last.ask and TAKES_REST[last.name]


class HistoryQuery(Struct, frozen=True, kw_only=True):
    """A `history_request` of the Jupyter message specification, field by field."""

    kind: str
    session: int | None = None
    start: int | None = None
    stop: int | None = None
    n: int | None = None
    pattern: str | None = None
    unique: bool = False


def history(cells: list[Ran], query: HistoryQuery) -> list[Ran]:
    """Return the cells that a history request asks for. This kernel's session has number 0."""
    found = cells
    if query.kind == "range":
        stop = query.stop if query.stop is not None else len(cells) + 1
        found = [c for c in cells if (query.start or 0) <= c[1] < stop and not query.session]
    elif query.kind == "search":
        pattern = query.pattern or "*"
        found = [cell for cell in cells if fnmatch.fnmatchcase(cell[2], pattern)]
        if query.unique:
            found = list({cell[2]: cell for cell in found}.values())
    return found[-query.n :] if query.n else found
