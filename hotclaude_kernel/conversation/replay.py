"""Decide whether a question is answered from the record, and replay the recorded turn.

A turn is replayed with its events at once, or at the pace at which its text came.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING

from msgspec import Struct

from ..claude.events import Delta, Result
from ..claude.parsing import parse
from ..turns.outcome import outcome
from ..turns.tape import lines
from ..turns.turn import UNREADABLE, as_recorded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from ..claude.events import Event
    from ..claude.frames import Frame
    from ..turns.conditions import Candidate, Conditions
    from ..turns.turn import Recorded, Turn

log = logging.getLogger(__name__)

ABORTED = Result(
    session_id="",
    subtype="error_during_execution",
    is_error=True,
    terminal_reason="aborted_streaming",
    text="",
)


# --- whether -----------------------------------------------------------------------------------


class Decision(Struct, frozen=True, kw_only=True):
    """What to do with a question: replay a turn, ask, or neither.

    `replay` is the turn to replay, `None` if there is none. `refused` says that nothing may be
    asked either. `because` tells why the recorded turns don't answer, one sentence each. `absent`
    are files of the replayed turn's prompt that don't exist here, so they could not be compared.
    """

    replay: Candidate | None = None
    refused: bool = False
    because: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


ASK = Decision()


def decide(
    candidates: Iterable[Candidate], now: Conditions, *, mode: str, again: bool, kept: bool
) -> Decision:
    """Decide about a question whose recorded answers are `candidates`, the best first.

    `now` has the present content of all files of the candidates, and the present endpoint. `again`
    says that the user wants another answer. `kept` says that the notebook has a record already.
    """
    if mode in ("off", "all") or (again and mode != "none"):
        return ASK
    because = []
    for candidate in candidates:
        differing = _differing(candidate, now)
        if not differing:
            return Decision(replay=candidate, absent=_absent(candidate, now))
        because += differing
    refused = mode == "none" or (mode == "once" and kept)
    return Decision(refused=refused, because=tuple(dict.fromkeys(because)))


def _differing(candidate: Candidate, now: Conditions) -> list[str]:
    """Return the reasons why a recorded turn is no answer to the present question."""
    then = candidate.conditions
    said = [
        f"{path} has changed since"
        for path, content in then.files.items()
        if _changed(content, now.files.get(path), candidate.later.get(path, frozenset()))
    ]
    if candidate.source != "cassette" and _elsewhere(then.endpoint, now.endpoint):
        said.append(f"it was answered by {then.endpoint}, and this kernel asks {now.endpoint}")
    return said


def _changed(then: str | None, now: str | None, later: frozenset[str | None]) -> bool:
    """Return whether a file has content that neither the question nor the notebook gave it."""
    return now is not None and now != then and now not in later


def _elsewhere(then: str | None, now: str | None) -> bool:
    return then is not None and now is not None and then != now


def _absent(candidate: Candidate, now: Conditions) -> tuple[str, ...]:
    return tuple(
        path
        for path, then in candidate.conditions.files.items()
        if then is not None
        and now.files.get(path) is None
        and None not in candidate.later.get(path, frozenset())
    )


# --- how ---------------------------------------------------------------------------------------


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
                yield as_recorded(event) if self._of.elsewhere else event

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
