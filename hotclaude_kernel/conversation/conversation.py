"""The conversation of a notebook: where in the tree a cell is asked, and what its turn became.

A cell that has a turn already is asked again in its place: the conversation is rewound to just
before it, and what followed stays as a branch. Processes come and go under it (see `pool`); a turn
that did not finish is in no history, and nothing is started afresh without a word.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from typing import TYPE_CHECKING, Any

from ..claude.events import Decided, ModeChanged, Result, TurnStarted, Usage
from ..claude.session import Session
from ..errors import (
    ApiError,
    Crashed,
    Interrupted,
    ProcessDied,
    PromptTooLong,
    StoreError,
    TransportError,
    TurnError,
)
from ..pool import orphans
from ..pool.warm import Held
from ..record.notebook import about, finish
from ..turns import budget, identity
from ..turns.outcome import failure
from ..turns.tape import Tape, events
from ..turns.turn import Clock, Turn
from . import stall
from .position import Standing

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..claude.events import Event
    from ..pool.warm import Warm
    from ..turns.prompt import Prompt
    from ..turns.settings import Settings

INTERRUPT_S = 2.0  # an interrupt takes 10 ms; a process that does not stop by then is ended
KEPT_TURNS = 30  # of which the events stay in memory; the record has those of all


class Conversation(Standing):
    """Turns of one notebook's conversation, asked of one process at a time.

    `turns` are those of this kernel's life. `stall_timeout_s` bounds how long the API may be silent
    while it owes an answer.
    """

    def __init__(self, settings: Settings, *, stall_timeout_s: float = 60.0, **where: Any) -> None:
        super().__init__(settings, **where)
        self.turns: list[Turn] = []
        self.stall_timeout_s = stall_timeout_s
        self.pace = "instant"  # at which a recorded turn is played
        self._interrupting = False
        self._replaying: Session | None = None

    @property
    def running(self) -> bool:
        """Whether a turn is being answered, or replayed."""
        return self._replaying is not None or super().running

    # --- asking ------------------------------------------------------------------------------

    async def ask(
        self,
        prompt: Prompt,
        show: Callable[[Event], None],
        *,
        again: bool = False,
        placed: Callable[[bool], None] = lambda live: None,
    ) -> Turn:
        """Ask `prompt`, hand each event of its turn to `show`, and return the finished turn.

        A turn that is in the record is replayed, unless it is to be asked `again`. `placed` is
        called with whether it is live once it is known where it stands; `take_notices` then has
        what that left.

        Raises a `TurnError` where the turn did not finish; what was shown until then stays.
        Raises `ReplayMiss`, `BudgetReached`, `TransportError` or `ConversationLost` where nothing
        was sent.
        """
        self.recognise(prompt.cell_id)
        self._interrupting = False
        recorded = self._recorded(prompt, again=again)
        if recorded is not None:
            placed(False)
            return await self._replay(prompt, recorded, show)
        self._guard(prompt)
        self.rewind(prompt.cell_id)
        self._say_goes_on()
        placed(True)
        warm, turn = await self._begin(prompt)
        while True:
            try:
                result = await self._run(warm, turn, show)
            except ProcessDied as death:
                if turn.events or turn.session_pid != warm.session.pid:
                    raise self._crashed(warm, turn, death) from death
                # It was dead before and never took the prompt; once, a new process is asked.
                warm = await self._replace(warm, turn)
            else:
                return await self._end(warm, turn, result)

    # --- replaying -------------------------------------------------------------------------------

    def _recorded(self, prompt: Prompt, *, again: bool) -> int | None:
        """Return the recorded turn that answers a prompt, `None` if it is to be asked.

        Raises `ReplayMiss` where there is none and none may be asked.
        """
        if self.mode in ("off", "all") or (again and self.mode != "none"):
            return None
        before = self.before(prompt.cell_id)
        settings = self._settings_after(before)
        key = identity.turn_key(
            parent=before.digest if before else None, prompt=prompt, settings=settings
        )
        found = self.record.find(key)
        if found is None and (self.mode == "none" or (self.mode == "once" and self.record.kept)):
            from . import misses

            raise misses.explained(self.record, before, prompt, settings, mode=self.mode)
        return found

    async def _replay(self, prompt: Prompt, at: int, show: Callable[[Event], None]) -> Turn:
        """Play a recorded turn by the code that reads a live one, and stand on it."""
        from .replay import RecordedTransport

        before = self.before(prompt.cell_id)
        node, recording = self.record.recording(at, prompt.cell_id)
        turn = Turn(
            prompt=prompt,
            settings=self._settings_after(before),
            uuid=str(uuid.uuid4()),
            clock=Clock(hot=False),
            number=node.number,
            priced=recording.priced,
            replayed=True,
        )
        self._add(turn)
        transport = RecordedTransport(
            recording.frames, recording.deltas, paced=self.pace == "recorded"
        )
        session = Session(transport)
        self._replaying = session
        try:
            await session.start()
            async for event in session.send(prompt.content, turn.uuid):
                turn.take(event)
                show(event)
                if isinstance(event, Result) and (error := failure(event, turn)):
                    turn.end("interrupted", error)
                    raise error
        finally:
            self._replaying = None
            await session.close()
        self.settings = turn.settings
        for event in turn.events:
            self._note(event)
        turn.usage, turn.node = node.usage, node.id
        turn.end("ok")
        turn.clock = Clock(
            hot=False, sent=0.0, first_text=recording.first_text_s, ended=recording.total_s
        )
        turn.about = about(node, before, turn.settings, model=recording.model, cli=recording.cli)
        self.branches.stand(before.id if before else None)
        self.record.join(node)
        self._new = False
        return turn

    # --- before it, and while it runs ------------------------------------------------------------

    def _guard(self, prompt: Prompt) -> None:
        """Refuse what can't fit (the process would compact the conversation away to try), and what
        costs too much.
        """
        before = self.before(prompt.cell_id)
        usage = before.usage if before else None
        tokens = len(prompt.text) // budget.CHARACTERS_PER_TOKEN
        if usage and usage.context_window and tokens > usage.context_window:
            raise PromptTooLong(
                f"The prompt is too long: about {tokens:,} tokens, and the window holds "
                f"{usage.context_window:,}",
                hint="Shorten it, or let Claude read the text from a file in parts.",
            )
        self.check_budget(prompt.text, usage)

    def check_budget(self, text: str, before: Usage | None = None) -> None:
        """Raise `BudgetReached` if asking `text` after that turn would go over the budget."""
        if self.budget.limited:
            budget.check(self.budget, self.record.spent(), budget.expected(before, text))

    def decided(self, decided: Decided) -> None:
        """Note what the user decided in the running turn."""
        turn = self.turns[-1]
        turn.events.append(decided)
        if turn.tape is not None:
            turn.tape.decided(decided)

    async def sweep(self) -> None:
        """End what kernels that are no more have left running."""
        with contextlib.suppress(StoreError):
            self.pool.tally.swept = await asyncio.to_thread(orphans.sweep, self.record.store)

    async def _begin(self, prompt: Prompt) -> tuple[Warm, Turn]:
        asked = time.monotonic()
        ready = self.pool.standing(self.place) is not None
        warm = await self._lease()
        waited = time.monotonic() - asked
        turn = Turn(
            prompt=prompt,
            settings=self.settings,
            uuid=str(uuid.uuid4()),
            clock=Clock(hot=warm.turns > 0),
            number=len(self.branches.path) + 1,
            session_id=warm.tail.session_id,
            session_pid=warm.session.pid,
            saved_s=max(0.0, warm.start_s - waited),
            priced=self.dollars,
        )
        self.pool.tally.turns += 1
        self.pool.tally.hits += ready
        self.pool.tally.saved_s += turn.saved_s
        self._add(turn)
        return warm, turn

    def _add(self, turn: Turn) -> None:
        self.turns.append(turn)
        for old in self.turns[-KEPT_TURNS - 1 : -KEPT_TURNS]:
            old.events = []

    async def _run(self, warm: Warm, turn: Turn, show: Callable[[Event], None]) -> Result:
        result = None
        session = warm.session
        turn.tape = session.tape = Tape()
        watch = asyncio.create_task(
            stall.watch(session, turn, show, timeout_s=self.stall_timeout_s, stop=self._stop)
        )
        try:
            async for event in session.send(turn.prompt.content, turn.uuid):
                self._note(event)
                warm.settings = self.settings  # what a cell decides may change the mode
                turn.take(event)
                show(event)
                if isinstance(event, Result):
                    result = event
        except asyncio.CancelledError:
            self._abandon(warm, turn)
            raise
        finally:
            session.tape = None
            watch.cancel()
        assert result is not None  # `send` ends with a result or raises
        return result

    async def _replace(self, dead: Warm, turn: Turn) -> Warm:
        """Return a new process for a turn whose process was found dead."""
        self.pool.retire(dead)
        try:
            warm = await self._lease()
        except BaseException:
            self.turns.remove(turn)  # nothing was sent
            raise
        turn.clock = Clock(hot=False)
        turn.session_id, turn.saved_s = warm.tail.session_id, 0.0
        return warm

    def _note(self, event: Event) -> None:
        match event:
            case TurnStarted():
                self.model, self.tools = event.model, event.tools
            case ModeChanged():
                self.settings = self.settings.changed(permission_mode=event.mode)

    # --- what became of it -----------------------------------------------------------------------

    async def _end(self, warm: Warm, turn: Turn, result: Result) -> Turn:
        turn.usage = result.usage
        turn.session_id = result.session_id or turn.session_id
        warm.turns += 1
        self.record.spend(turn.usage)
        error = failure(result, turn, stalled_s=self.stall_timeout_s if turn.stalled else None)
        if error is None:
            turn.end("ok")
        else:
            turn.end("interrupted" if isinstance(error, Interrupted) else "error", error)
        if isinstance(error, ApiError | PromptTooLong) and not turn.last_uuid:
            # Unanswered, the prompt would stay in the history and be joined to the next one.
            await self._cut(warm, turn)
        else:
            self._keep(warm, turn)
        turn.tape = None  # the record has it
        if warm in self.pool.leased:
            self.pool.park(warm, self.place)
        if error is not None:
            raise error
        return turn

    def _keep(self, warm: Warm, turn: Turn) -> None:
        """Make the turn a node of the tree, and record it."""
        before = self.branches.head
        finished = finish(turn, before, warm.tail.take(), cli=self._version)
        turn.about = about(
            finished.node, before, turn.settings, model=turn.model, cli=self._version
        )
        node = self.record.add(finished, keep=self.mode != "off")
        self._new = False
        turn.node = node.id
        warm.held.append(Held(node.id, turn.uuid, finished.node.compacted))

    @property
    def _version(self) -> str:
        return self.greeting.version if self.greeting else ""

    def _crashed(self, warm: Warm, turn: Turn, death: ProcessDied) -> TurnError:
        """Close a turn whose process died; the conversation is resumed in the background."""
        error: TurnError
        if self._interrupting:
            error = Interrupted("Interrupted", hint="The process did not stop and was ended.")
            turn.end("interrupted", error)
        else:
            error = Crashed(
                f"{death.message}, in the middle of the turn",
                hint="The conversation is being resumed without this turn; run the cell again.",
            )
            turn.end("crashed", error)
        self._give_up(warm, turn)
        return error

    def _abandon(self, warm: Warm, turn: Turn) -> None:
        """Give up a turn at once: end its process, and resume without it."""
        turn.end("interrupted", Interrupted("Interrupted"))
        self._give_up(warm, turn, now=True)

    def _give_up(self, warm: Warm, turn: Turn, *, now: bool = False) -> None:
        turn.cut, turn.tape = True, None
        self._half = turn
        self.pool.retire(warm, now=now)
        self.warm()

    async def _cut(self, warm: Warm, turn: Turn) -> None:
        """Take an unfinished turn out of the history; where that fails, end the process."""
        with contextlib.suppress(TransportError):
            turn.cut = await warm.session.rewind(turn.uuid, turn.uuid, absent_too=True)
        warm.tail.take()
        if not turn.cut:
            turn.cut = True
            self.pool.retire(warm)

    def events_of(self, turn: Turn) -> list[Event]:
        """Return the events of a finished turn, from the record if they are not in memory."""
        if not turn.events and turn.node is not None:
            return events(self.record.frames(turn.node))
        return turn.events

    # --- stopping ----------------------------------------------------------------------------

    async def interrupt(self) -> None:
        """Stop the running turn, if there is one; the process and what was said so far stay."""
        if self._replaying is not None:
            await self._replaying.interrupt()
        elif self._warm is not None and self._warm.session.busy:
            self._interrupting = True
            await self._stop(self._warm.session)

    async def _stop(self, session: Session) -> None:
        try:
            await session.interrupt()
            async with asyncio.timeout(INTERRUPT_S):
                await session.idle()
        except (TimeoutError, TransportError):
            await session.close(now=True)

    async def close(self) -> None:
        """End the processes and let go of the record. Bounded; nothing is left running."""
        await self.pool.close()
        self.record.close()
