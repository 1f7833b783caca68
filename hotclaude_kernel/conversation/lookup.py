"""Look a question up in the record, and note what its answer depends on beside it.

Files and the record are read in threads: neither may hold up the loop.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from ..turns.conditions import NONE, Conditions

if TYPE_CHECKING:
    from ..pool.withholding import Withholding
    from ..record.notebook import Record
    from ..turns.prompt import Prompt
    from ..turns.settings import Settings
    from ..turns.turn import Recorded, Turn
    from .position import Asking
    from .replay import Decision
    from .surroundings import Files

# `replay`, `surroundings` and `misses` are imported where they are used: only a cell needs them.


class Found(NamedTuple):
    """What is decided about a question, and where it is asked.

    It has the turn to replay, or the conditions to ask it under.
    """

    decision: Decision
    asking: Asking
    turn: Recorded | None = None
    conditions: Conditions = NONE


class Lookup:
    """Looks questions up in the record of one notebook."""

    def __init__(self, record: Record, withholding: Withholding) -> None:
        self._record = record
        self._withholding = withholding
        self._files: Files | None = None  # made at the first live turn

    async def decide(
        self, prompt: Prompt, askings: list[Asking], *, mode: str, again: bool
    ) -> Found:
        """Decide whether a prompt is answered from the record (see `replay.decide`).

        `askings` are the questions whose answers it may replay, the one to ask first. For each, the
        notebook's own record is looked at first, then the rest of its scope. Raises `ReplayMiss` if
        no recorded turn holds and the mode forbids asking.
        """
        found = await asyncio.to_thread(self._decide, prompt, askings, mode=mode, again=again)
        decision = found.decision
        if decision.refused:
            from . import misses

            why = decision.because
            raise await asyncio.to_thread(
                misses.explained, self._record, found.asking, prompt, mode=mode, because=why
            )
        return found

    def _decide(self, prompt: Prompt, askings: list[Asking], *, mode: str, again: bool) -> Found:
        """Decide, and read the files that the decision needs; blocks.

        All is done in one call, because each wait for a thread delays the prompt.
        """
        from .replay import ASK

        asks_anyway = mode in ("off", "all") or (again and mode != "none")
        found = Found(ASK, askings[0])
        if not asks_anyway:
            found = self._find(askings, prompt.cell_id, mode=mode, again=again)
        if found.turn is None and not found.decision.refused:
            found = found._replace(conditions=self.pulled_in(prompt, askings[0].settings))
        return found

    def _find(self, askings: list[Asking], cell_id: str | None, *, mode: str, again: bool) -> Found:
        """Return the first answer that holds, else the decision about the question to ask."""
        found = []
        for asking in askings:
            found.append(self._answer(asking, cell_id, mode=mode, again=again))
            if found[-1].turn is not None:
                return found[-1]
        return found[0]

    def _answer(self, asking: Asking, cell_id: str | None, *, mode: str, again: bool) -> Found:
        """Look in the notebook's own record, then in the rest of its scope."""
        from . import surroundings
        from .replay import ASK, decide

        decision = ASK
        for widely in (False, True):
            found = self._record.candidates(asking.key.turn, widely=widely)
            paths = {path for candidate in found for path in candidate.conditions.files}
            now = surroundings.present(paths, asking.settings) if found else NONE
            kept = self._record.kept
            decision = decide(found, now, mode=mode, again=again, kept=kept)
            if decision.replay is not None:
                turn = self._record.recorded(decision.replay.node, cell_id)
                return Found(decision, asking, turn)
        return Found(decision, asking)

    def pulled_in(self, prompt: Prompt, settings: Settings) -> Conditions:
        """Return the conditions of a prompt that is asked now, and begin to watch its files.

        It looks at the folder too: what is left out of the process is not pulled in. It blocks.
        """
        from .surroundings import Files

        self._withholding.look(settings)

        if self._files is None:
            self._files = Files(self._record.watched())
        return self._files.asked(prompt, self._withholding.effective(settings))

    async def note_changes(self, turn: Turn) -> None:
        """Add to a turn's conditions the files that changed while it ran."""
        assert self._files is not None
        after = await asyncio.to_thread(self._files.changed)
        turn.conditions = replace(turn.conditions, after=after)
