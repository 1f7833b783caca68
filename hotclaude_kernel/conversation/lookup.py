"""Look a question up in the record, and note what its answer depends on beside it.

Files and the record are read in threads: neither may hold up the loop.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec.structs import replace

if TYPE_CHECKING:
    from ..record.notebook import Record
    from ..turns.conditions import Candidate, Conditions
    from ..turns.prompt import Prompt
    from ..turns.settings import Settings
    from ..turns.turn import Turn
    from .position import Asking
    from .replay import Decision
    from .surroundings import Files

# `replay`, `surroundings` and `misses` are imported where they are used: only a cell needs them.


class Lookup:
    """Looks questions up in the record of one notebook."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._files: Files | None = None  # made at the first live turn

    async def decide(self, prompt: Prompt, asking: Asking, *, mode: str, again: bool) -> Decision:
        """Decide whether a prompt is answered from the record (see `replay.decide`).

        The notebook's own record is looked at first, then the rest of its scope. Raises
        `ReplayMiss` if no recorded turn holds and the mode forbids asking.
        """
        from .replay import ASK, decide

        if mode in ("off", "all") or (again and mode != "none"):
            return ASK
        decision = ASK
        for widely in (False, True):
            found = await asyncio.to_thread(self._record.candidates, asking.key.turn, widely=widely)
            now = await self._now(found, asking.settings)
            kept = self._record.kept
            decision = decide(found, now, mode=mode, again=again, kept=kept)
            if decision.replay is not None:
                return decision
        if decision.refused:
            from . import misses

            why = decision.because
            raise misses.explained(self._record, asking, prompt, mode=mode, because=why)
        return decision

    async def _now(self, found: list[Candidate], settings: Settings) -> Conditions:
        """Return the present state of all that recorded turns depended on."""
        from . import surroundings

        paths = {path for candidate in found for path in candidate.conditions.files}
        return await asyncio.to_thread(surroundings.present, paths, settings)

    async def pulled_in(self, turn: Turn) -> Conditions:
        """Return the conditions of a turn that is asked now, and begin to watch its files."""
        from .surroundings import Files

        if self._files is None:
            self._files = Files(await asyncio.to_thread(self._record.watched))
        return await asyncio.to_thread(self._files.asked, turn.prompt, turn.settings)

    async def note_changes(self, turn: Turn) -> None:
        """Add to a turn's conditions the files that changed while it ran."""
        assert self._files is not None
        after = await asyncio.to_thread(self._files.changed)
        turn.conditions = replace(turn.conditions, after=after)
