"""One live turn on one leased process: ask it, watch it, and settle the turn and the process.

This module knows no notebook and moves nothing in its tree: `(place, prompt) → turn`. Several turns
can be asked at once, each on a process of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import TYPE_CHECKING

from ..claude.events import Decided, ModeChanged, Result
from ..errors import ApiError, Interrupted, ProcessDied, PromptTooLong, TransportError
from ..turns.outcome import outcome
from ..turns.tape import Tape
from ..turns.turn import Clock, recorded
from . import stall

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..claude.events import Event
    from ..claude.frames import Frame
    from ..claude.session import Greeting, PermissionRequest, Session
    from ..pool.pool import Pool
    from ..pool.warm import Place, Warm
    from ..turns.turn import Turn

    # Returns the answer to the process, and the decision in words for the page.
    Permit = Callable[[PermissionRequest], Awaitable[tuple[Frame, str]]]

INTERRUPT_S = 2.0  # an interrupt takes 10 ms; a process that does not stop in time is ended


class Live:
    """One turn that is asked at a place; `show` is called with each of its events.

    `permit` answers permission requests; without it all are denied. `met` is called with the leased
    process before the prompt is sent. `ended` is awaited when the turn has ended, before its
    recorded form is made and the process is free again. `stall_timeout_s` is how many seconds the
    API may be silent while it owes an answer.
    """

    def __init__(
        self,
        pool: Pool,
        place: Place,
        turn: Turn,
        show: Callable[[Event], None],
        *,
        permit: Permit | None = None,
        met: Callable[[Warm], None] = lambda warm: None,
        ended: Callable[[Turn], Awaitable[None]] | None = None,
        stall_timeout_s: float = 60.0,
    ) -> None:
        self.turn = turn
        self._pool = pool
        self._place = place
        self._show = show
        self._permit = permit
        self._met = met
        self._ended = ended
        self._stall_timeout_s = stall_timeout_s
        self._warm: Warm | None = None
        self._asked_to_stop = False

    async def ask(self) -> Turn:
        """Ask the prompt and return the ended turn; `turn.error` says whether it failed.

        Raises what `Pool.lease` raises: then nothing was sent, and `turn.status` is still running.
        """
        if (end := await self._try()) is None:
            # The process had died before it took the prompt: try once more, on a new one.
            end = await self._try(last=True)
        assert end is not None
        return end

    async def _try(self, *, last: bool = False) -> Turn | None:
        """Ask on one process; return `None` if it had died before and another may be tried."""
        ready, began = self._pool.standing(self._place) is not None, time.monotonic()
        async with self._pool.lease(self._place) as warm:
            self._begin(warm, ready=ready, waited_s=time.monotonic() - began)
            try:
                end = await self._run(warm)
                if self._ended is not None:
                    await self._ended(self.turn)
            except asyncio.CancelledError:
                self._settle(warm, None)
                raise
            if isinstance(end, ProcessDied) and not (self.turn.events or last):
                return None
            if self._settle(warm, end):
                await self._cut(warm)
        return self.turn

    def _begin(self, warm: Warm, *, ready: bool, waited_s: float) -> None:
        turn, tally = self.turn, self._pool.tally
        again = turn.clock is not None
        turn.clock = Clock(hot=warm.turns > 0 and not again)
        turn.session_id, turn.session_pid = warm.tail.session_id, warm.session.pid
        turn.saved_s = 0.0 if again else max(0.0, warm.start_s - waited_s)
        turn.priced = dollars(warm.session.greeting)
        tally.turns += not again
        tally.hits += ready and not again
        tally.saved_s += turn.saved_s
        self._met(warm)

    # --- while it runs ---------------------------------------------------------------------------

    async def _run(self, warm: Warm) -> Result | ProcessDied:
        """Send the prompt and take the turn's events; return its result, or the process's death."""
        turn, session = self.turn, warm.session
        self._warm, session.permit = warm, self._decide
        turn.tape = session.tape = Tape(turn.uuid)
        watch = asyncio.create_task(
            stall.watch(session, turn, self._show, timeout_s=self._stall_timeout_s, stop=self._stop)
        )
        end: Result | ProcessDied | None = None
        try:
            async for event in session.send(turn.prompt.content, turn.uuid):
                if isinstance(event, ModeChanged):
                    warm.settings = warm.settings.changed(permission_mode=event.mode)
                self._take(event)
                if isinstance(event, Result):
                    end = event
        except ProcessDied as death:
            end = death
        finally:
            self._warm, session.tape = None, None
            watch.cancel()
        assert end is not None  # `send` ends with a result or raises
        return end

    def _take(self, event: Event) -> None:
        self.turn.take(event)
        self._show(event)

    async def _decide(self, request: PermissionRequest) -> Frame:
        """Answer a permission request by `permit`; the decision becomes an event of the turn."""
        if self._permit is None:
            return {"behavior": "deny", "message": f"{request.tool_name} is not permitted here."}
        decision, said = await self._permit(request)
        decided = Decided(tool_use_id=request.tool_use_id, decision=said)
        if self.turn.tape is not None:
            self.turn.tape.decided(decided)
        self._take(decided)
        return decision

    async def interrupt(self) -> None:
        """Stop the turn, if it is running. The events so far stay."""
        if self._warm is not None and self.running:
            self._asked_to_stop = True
            await self._stop(self._warm.session)

    @property
    def running(self) -> bool:
        """Whether the prompt was sent and is being answered."""
        return self._warm is not None and self._warm.session.busy

    async def _stop(self, session: Session) -> None:
        try:
            await session.interrupt()
            async with asyncio.timeout(INTERRUPT_S):
                await session.idle()
        except (TimeoutError, TransportError):
            await session.close(now=True)

    # --- what became of it -----------------------------------------------------------------------

    def _settle(self, warm: Warm, end: Result | ProcessDied | None) -> bool:
        """End the turn; return whether its prompt must be removed from the process's history."""
        turn = self.turn
        became = outcome(
            turn, end, asked_to_stop=self._asked_to_stop, stalled_s=self._stall_timeout_s
        )
        if isinstance(end, Result):
            turn.usage = end.usage
            turn.session_id = end.session_id or turn.session_id
            warm.turns += 1
        turn.end(became.status, became.error)
        if not isinstance(end, Result):
            turn.cut, turn.lost, turn.tape = True, True, None
            self._pool.retire(warm, now=end is None)
            return False
        if _unanswered(turn, end):
            return True
        self._keep(warm)
        return False

    def _keep(self, warm: Warm) -> None:
        """Add the turn to the process's history, and make its recorded form."""
        parent = self._place.path[-1].id if self._place.path else None
        greeting = warm.session.greeting
        version = greeting.version if greeting else ""
        entries = warm.tail.take()
        self.turn.recorded = recorded(self.turn, parent=parent, entries=entries, cli=version)
        self.turn.tape = None  # `recorded` has its frames
        warm.held.append(self.turn.recorded.node)

    async def _cut(self, warm: Warm) -> None:
        """Remove an unanswered prompt from the process's history; else end the process."""
        turn = self.turn
        turn.cut, turn.tape = True, None
        cut = False
        with contextlib.suppress(TransportError):
            cut = await warm.session.rewind(turn.uuid, turn.uuid, absent_too=True)
        warm.tail.take()
        if not cut:
            self._pool.retire(warm)


def _unanswered(turn: Turn, end: Result) -> bool:
    """Return whether a prompt got no answer; `claude` would join it to the next prompt."""
    if turn.last_uuid or end.terminal_reason.startswith("aborted"):
        return False
    return isinstance(turn.error, ApiError | PromptTooLong | Interrupted)


def dollars(greeting: Greeting | None) -> bool:
    """Return whether the user pays the list price: with their own key, at Anthropic's endpoint."""
    own_key = greeting is not None and greeting.api_key_source == "ANTHROPIC_API_KEY"
    return own_key and not os.environ.get("ANTHROPIC_BASE_URL")
