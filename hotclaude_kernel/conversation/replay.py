"""Replay one recorded turn: its events at once, or at the pace at which its text came."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING

from ..claude.events import Delta, Result
from ..claude.parsing import parse
from ..turns.outcome import outcome
from ..turns.tape import lines
from ..turns.turn import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from ..claude.events import Event
    from ..claude.frames import Frame
    from ..turns.turn import Recorded, Turn

log = logging.getLogger(__name__)

ABORTED = Result(
    session_id="",
    subtype="error_during_execution",
    is_error=True,
    terminal_reason="aborted_streaming",
    text="",
)


class Replay:
    """The replay of a recorded turn; nothing is sent. It can be interrupted.

    `turn` is the turn that is shown, `of` the recorded one. `paced` keeps the recorded pace.
    """

    def __init__(
        self, turn: Turn, of: Recorded, show: Callable[[Event], None], *, paced: bool
    ) -> None:
        self._turn = turn
        self._of = of
        self._show = show
        self._paced = paced
        self._stopped = asyncio.Event()

    async def play(self) -> Turn:
        """Show the events as a live turn would; return the turn.

        Raises `Interrupted` if it was stopped, or the recorded turn was: then `turn.recorded` is
        not set. Raises another `TurnError` if the recorded turn had failed.
        """
        turn, of = self._turn, self._of
        async for event in self._events():
            turn.take(event)
            self._show(event)
            if isinstance(event, Result):
                became = outcome(turn, event, stalled_s=0.0)
                if became.error is not None:
                    turn.end(became.status, became.error)
                    raise became.error
                break
        turn.recorded, turn.usage, turn.model = of, of.node.usage, of.node.model
        turn.end("ok")
        return turn

    @property
    def running(self) -> bool:
        """Whether the replay can be stopped; it always can."""
        return True

    async def interrupt(self) -> None:
        """Stop the replay."""
        self._stopped.set()

    async def _events(self) -> AsyncIterator[Event]:
        tracks = json.loads(self._of.deltas) if self._paced and self._of.deltas else {}
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number, frame in enumerate(lines(self._of.frames)):
            text, at = _text_of(frame), 0
            for ms, length in tracks.get(str(number), ()):
                if await self._stopped_before(began + ms / 1000 - loop.time()):
                    yield ABORTED
                    return
                yield Delta(index=0, kind="text", text=text[at : at + length])
                at += length
            for event in _parsed(frame):
                yield event

    async def _stopped_before(self, seconds: float) -> bool:
        """Wait for that many seconds; return whether the replay was stopped meanwhile."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._stopped.wait()
        except TimeoutError:
            return False
        return True


def _parsed(frame: Frame) -> list[Event]:
    try:
        return parse(frame)
    except UNREADABLE:
        log.debug("a recorded frame of unknown shape: %.200r", frame, exc_info=True)
        return []


def _text_of(frame: Frame) -> str:
    content = (frame.get("message") or {}).get("content")
    blocks = content if isinstance(content, list) else []
    return "".join(block.get("text", "") for block in blocks if block.get("type") == "text")
