"""Explain why a turn is not in the record: find the nearest recorded turn, and compare the two."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from ..errors import ReplayMiss
from ..turns.identity import settings_values

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..record.notebook import Record
    from ..turns.prompt import Prompt
    from ..turns.settings import Settings
    from ..turns.tree import Node
    from .position import Asking

FIX = (
    "To ask it, write `%record new_episodes` above the prompt, "
    "or run `hotclaude run --record new_episodes NOTEBOOK`."
)
MOST_LINES = 40


def explained(
    record: Record, asking: Asking, prompt: Prompt, *, mode: str, because: Sequence[str] = ()
) -> ReplayMiss:
    """Return the error for a prompt that is not recorded; its details show the differences.

    `because` tells why turns that are recorded for it don't hold.
    """
    why, details = "; ".join(because), list[str]()
    if not because:
        why, details = _why(record, asking.before, prompt, asking.settings)
    return ReplayMiss(
        f"This turn is not in the record ({why}), and with `{mode}` nothing is asked",
        hint=FIX,
        details=tuple(details[:MOST_LINES]),
    )


def _why(
    record: Record, before: Node | None, prompt: Prompt, settings: Settings
) -> tuple[str, list[str]]:
    searched = record.searched
    beside = record.store.asked_after(before.id if before else None, searched)
    if beside:
        then, under = max(beside, key=lambda asked: _likeness(asked[0], asked[1], prompt, settings))
        return _differing(then, under, prompt, settings)
    same = record.store.asked(prompt.text, searched)
    if same:
        mine = [node.prompt for node in record.branches.path_to(before.id)] if before else []
        return _earlier(mine, record.store.prompts_before(same[-1]))
    return "nothing like it was recorded", []


def _likeness(
    then: Prompt, under: Settings, prompt: Prompt, settings: Settings
) -> tuple[float, bool]:
    words = difflib.SequenceMatcher(None, then.text.split(), prompt.text.split())
    return words.ratio(), under == settings


def _differing(
    then: Prompt, under: Settings, prompt: Prompt, settings: Settings
) -> tuple[str, list[str]]:
    """Compare a question with a recorded one after the same turn: in words, and as lines."""
    old, new = settings_values(under), settings_values(settings)
    rows = [
        f"{name}: recorded {old.get(name)!r}, now {new.get(name)!r}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    diff = _diff(then.text, prompt.text)
    if diff and rows:
        return "its prompt and its settings differ from the nearest recording", [*diff, *rows]
    if diff:
        return "its prompt differs from the nearest recording", diff
    if rows:
        return "its settings differ from the recording", rows
    return "its attachments differ from the recording", []


def _diff(old: str, new: str) -> list[str]:
    lines = difflib.unified_diff(
        old.splitlines(), new.splitlines(), "recorded", "this cell", lineterm=""
    )
    return list(lines)


def _earlier(mine: Sequence[str], theirs: Sequence[str]) -> tuple[str, list[str]]:
    """Tell where the way to a prompt parts from the recording's: in words, and as a diff."""
    at = next(_parting(mine, theirs), None)
    if at is None:
        return "an earlier turn was answered otherwise than when it was recorded", []
    if at == len(theirs):
        why = f"it was recorded {_after(theirs)}, and is asked {_after(mine)}"
        return why, _diff("", mine[at])
    now = mine[at] if at < len(mine) else "(none)"
    why = f"an earlier cell changed: turn {at + 1} is another one than when it was recorded"
    return why, _diff(theirs[at], now)


def _after(path: Sequence[str]) -> str:
    return f"after turn {len(path)}" if path else "as the first turn"


def _parting(mine: Sequence[str], theirs: Sequence[str]) -> Iterator[int]:
    for at in range(max(len(mine), len(theirs))):
        if mine[at : at + 1] != theirs[at : at + 1]:
            yield at
