"""The conversation of a notebook: each prompt is asked at a place in its tree, or replayed there.

If a cell that has a turn is run again, the conversation is rewound to before that turn, and the old
turns stay as a branch (see `position`). Processes are started and ended meanwhile (see `pool`). A
turn that did not finish does not stay in the history. If the conversation is resumed in a new
process or rewound, a notice says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from typing import TYPE_CHECKING

from ..claude.events import Block, ModeChanged, Notice, TurnStarted, Usage
from ..errors import UsageError
from ..pool import orphans
from ..pool.pool import Pool
from ..record.notebook import Record
from ..turns import budget
from ..turns.settings import PERMISSION_MODES
from ..turns.turn import Turn
from . import settings
from .consent import Consent
from .live import Live, dollars
from .lookup import Lookup
from .position import Position

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import Any

    from ..claude.events import Event
    from ..claude.folders import Folders
    from ..claude.launch import Prespawned
    from ..claude.session import Greeting, Session
    from ..pool.warm import Limits, Place, Warm
    from ..turns.prompt import Prompt
    from ..turns.settings import Settings
    from ..turns.tree import Branches
    from .live import Permit
    from .lookup import Found
    from .position import Asking
    from .replay import Replay
    from .settling import Settling

KEPT_TURNS = 30  # how many turns keep their events in memory; the record has those of all


class Conversation:
    """The turns of one notebook, asked one at a time.

    `turns` are those that this kernel asked or replayed. `mode` (one of `MODES`) says when a turn
    is replayed and when it is recorded. `pace` (one of `PACES`) says how fast a replay is shown.
    `permit` answers the permission requests of the running turn. `stall_timeout_s` is how many
    seconds the API may be silent while it owes an answer.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        binary: str = "",
        stall_timeout_s: float = 60.0,
        prespawned: Prespawned | None = None,
        notebook: str | None = None,
        store: str = "",
        limits: Limits | None = None,
        rerun: str = "fork",
        mode: str = "new_episodes",
        scope: str | None = None,
        folders: Folders | None = None,
    ) -> None:
        self.record = Record(notebook, store=store, scope=scope)
        self.position = Position(self.record, settings, rerun=rerun)
        self.pool = Pool(
            self.record, binary=binary, limits=limits, prespawned=prespawned, folders=folders
        )
        self.consent = Consent(self.pool, self.position.notice)
        self.turns: list[Turn] = []
        self.mode = mode
        self.pace = "instant"
        self.permit: Permit | None = None
        self.stall_timeout_s = stall_timeout_s
        self.budget = budget.Budget()
        self.parameters: dict[str, Any] = {}  # what prompts are rendered with
        self.greeting: Greeting | None = None
        self.model = ""
        self.tools: tuple[str, ...] = ()
        self._asking: Live | Replay | Settling | None = None
        self._met: Warm | None = None  # the process that was leased last
        self._lost: Turn | None = None  # a turn whose process ended during it, still to be told
        self._lookup = Lookup(self.record, self.pool.withholding)

    @property
    def branches(self) -> Branches:
        """The tree, and the conversation's position in it."""
        return self.record.branches

    @property
    def settings(self) -> Settings:
        """The settings of the next turn."""
        return self.position.settings

    @property
    def place(self) -> Place:
        """The place at which the next turn needs a process."""
        return self.position.place

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

        A recorded turn is replayed, unless `again` is set. `placed` is called once the turn's
        position is known, with whether the turn is live; by then `take_notices` has the notices of
        a rewind.

        Raises a `TurnError` if the turn did not finish; the events shown until then stay. Raises
        `ReplayMiss`, `BudgetReached`, `TransportError` or `ConversationLost` if nothing was sent.
        """
        await self.recognise(prompt.cell_id)
        askings = self.position.askings(prompt)
        asking = askings[0]
        found = await self._lookup.decide(prompt, askings, mode=self.mode, again=again)
        if found.turn is not None:
            self.position.rewind(asking, found.turn.node.id)
            placed(False)
            return await self._replay(prompt, asking, found, show)
        for reason in found.decision.because:
            self.position.notice(f"Asked again: {reason}")
        usage = asking.before.usage if asking.before else None
        budget.check_window(prompt.text, usage)
        await self.check_budget(prompt.text, usage)
        conditions = found.conditions
        if await self.consent.settle(prompt.text, asking.settings, self.place):
            conditions = await asyncio.to_thread(self._lookup.pulled_in, prompt, asking.settings)
        self.position.rewind(asking)
        self.position.say_goes_on()
        self.position.say_mode(asking)
        placed(True)
        turn = self._new_turn(prompt, asking)
        turn.conditions = conditions
        return await self._ask_live(turn, show)

    async def _ask_live(self, turn: Turn, show: Callable[[Event], None]) -> Turn:
        self.pool.home = self.place
        live = self._asking = Live(
            self.pool,
            self.place,
            turn,
            self._noting(show),
            permit=self.permit,
            met=self._meet,
            ended=self._lookup.note_changes,
            stall_timeout_s=self.stall_timeout_s,
        )
        try:
            await live.ask()
        finally:
            self._asking = None
            self._follow(turn)
        if turn.error is not None:
            raise turn.error
        return turn

    def _new_turn(self, prompt: Prompt, asking: Asking, *, replayed: bool = False) -> Turn:
        turn = Turn(
            prompt=prompt,
            uuid=str(uuid.uuid4()),
            number=asking.number,
            key=asking.key,
            settings=asking.settings,
            replayed=replayed,
        )
        self.turns.append(turn)
        for old in self.turns[-KEPT_TURNS - 1 : -KEPT_TURNS]:
            old.shed()
        return turn

    def _follow(self, turn: Turn) -> None:
        """Record a live turn and move to it; if its process ended, start one without the turn."""
        if turn.status == "running":
            self.turns.remove(turn)  # nothing was sent
            self.position.settle(None)
            return
        if turn.usage != Usage():
            self.record.changes.spend(turn.usage)
        if turn.recorded is not None:
            self.record.add(turn.recorded, keep=self.mode != "off")
            self.position.new = False
        self.position.settle(turn.node)
        self.pool.home = self.place
        if turn.lost:
            self._lost = turn
            self.warm()

    def _noting(self, show: Callable[[Event], None]) -> Callable[[Event], None]:
        def take(event: Event) -> None:
            self._note(event)
            if isinstance(event, ModeChanged) and "permission_mode" not in self.position.locked:
                # The process says so: the user has approved a plan, say. A replay only shows it.
                self.position.settings = self.settings.changed(permission_mode=event.mode)
            show(event)

        return take

    def _note(self, event: Event) -> None:
        if isinstance(event, TurnStarted):
            self.model, self.tools = event.model, event.tools

    # --- replaying -------------------------------------------------------------------------------

    async def _replay(
        self, prompt: Prompt, asking: Asking, found: Found, show: Callable[[Event], None]
    ) -> Turn:
        """Show a recorded turn as a live one is shown, and make it the head."""
        from .replay import Replay  # imported here because only a replayed turn needs it

        decision, of = found.decision, found.turn
        assert decision.replay is not None
        assert of is not None
        turn = self._new_turn(prompt, found.asking, replayed=True)
        turn.priced, turn.absent = of.priced, decision.absent
        turn.source = f"{decision.replay.source} {decision.replay.name}".rstrip()
        replay = self._asking = Replay(turn, of, show, paced=self.pace == "recorded")
        try:
            await replay.play()
        finally:
            self._asking = None
        for event in turn.events:
            self._note(event)
        modes = [e.mode for e in turn.events if isinstance(e, ModeChanged)]
        known = [mode for mode in modes if mode in PERMISSION_MODES]  # any text may be recorded
        mode = [found.asking.settings.permission_mode, *known][-1]
        self.position.follow(asking, of.node, origin=decision.replay.origin, mode=mode)
        return turn

    async def events_of(self, turn: Turn) -> list[Event]:
        """Return the events of a finished turn, from the record if they are not in memory."""
        if turn.events or turn.node is None:
            return turn.events
        return (await asyncio.to_thread(self.record.turn, turn.node)).shown

    # --- before it is asked ----------------------------------------------------------------------

    async def open(self, *, whole: bool = True) -> None:
        """Open the record in a thread, for 2 s at most if another process locks it.

        Without `whole`, only as far as a process needs it to start.
        """
        if not (self.record.whole if whole else self.record.opened):
            await asyncio.to_thread(self.record.open, whole=whole)

    async def recognise(self, cell_id: str | None) -> None:
        """Find the notebook in the record by its first cell, and go on where it ended."""
        await self.open()
        if cell_id is not None and not self.record.recognised:
            await asyncio.to_thread(self.record.recognise, cell_id)
        self.record.collect()
        self.position.go_on()

    async def enter(self, cell_id: str | None, client: str, *, stdin: bool, asks: bool) -> None:
        """Go to where a client's cell belongs, before it runs; see `Position.enter`."""
        await self.open()
        await self.position.enter(cell_id, client, stdin=stdin, asks=asks, recognise=self.recognise)

    async def settle(self) -> None:
        """Wait until what the cell has changed is recorded, or at least written down.

        Of the latter a notice tells. It takes 2 s at most; an interrupt ends the waiting.
        """
        if self.record.opened and self.record.changes.last is not None:
            from .settling import Settling

            settling = self._asking = Settling(self.record)
            try:
                await settling.wait()
            finally:
                self._asking = None
        self.record.collect()

    async def check_budget(self, text: str, before: Usage | None = None) -> None:
        """Raise `BudgetReached` if asking `text` after a turn of that usage exceeds the budget."""
        if self.budget.limited:
            spent = await asyncio.to_thread(self.record.spent)
            budget.check(self.budget, spent, budget.expected(before, text))

    # --- moving, and settings --------------------------------------------------------------------

    async def go(self, move: Callable[[], Any]) -> Any:
        """Call `move`, which moves in the tree, record the move, and begin to start a process.

        Return what `move` returns. Raises `UsageError` while a turn is running.
        """
        self._check_idle()
        found = self.position.go(move)
        self.warm()
        return found

    async def renew(self) -> str:
        """Begin a new conversation; return the branch that keeps the old one.

        Raises `UsageError` while a turn is running.
        """
        self._check_idle()
        old = self.pool.standing(self.place)
        name = self.position.renew()
        self._lost = None
        if old is not None and old.held:
            self.pool.retire(old)
        self.warm()
        return name

    async def change(self, **changes: Any) -> None:
        """Apply settings: to the running process if it can take them, else to a resumed one.

        Raises `UsageError` if a setting is locked or the process refuses it; then no setting of the
        conversation is changed.
        """
        new = self.settings.changed(**changes)
        differing = new.differing(self.settings)
        settings.check_locked(differing, self.position.locked)
        self.position.touched = True
        self.position.changes |= changes
        if not differing:
            return
        if self.mode != "none" and settings.live(new, differing):
            async with self._lease() as warm:
                await settings.tell(warm, new, differing)
        elif (old := self.pool.standing(self.place)) is not None:
            self.pool.retire(old)
        self.position.settings = new
        self.warm()

    def _check_idle(self) -> None:
        if self.running:
            raise UsageError("A turn is running", hint="Interrupt it, or wait for its end.")

    # --- the process -------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether a turn is being answered, replayed or recorded."""
        return self._asking is not None and self._asking.running

    @property
    def session_id(self) -> str:
        """The session id of the process that was leased last, empty if none was."""
        return self._met.tail.session_id if self._met else ""

    @property
    def pid(self) -> int | None:
        """The id of the process that serves the conversation now, `None` if none does."""
        warm = self._met if self.running else self.pool.standing(self.place)
        return warm.session.pid if warm else None

    @property
    def dollars(self) -> bool:
        """Whether the user pays the list price."""
        return dollars(self.greeting)

    @property
    def ready(self) -> bool:
        """Whether a turn can be asked without waiting for a process."""
        return self.pool.standing(self.place) is not None

    @property
    def resumes(self) -> int:
        """How many processes were started from a transcript."""
        return self.pool.tally.resumed

    def take_notices(self) -> list[str]:
        """Return the notices to the user, and forget them: moves, and events between turns."""
        stray = self._met.session.take_stray() if self._met is not None else []
        said = [text for event in stray if (text := _stray_text(event))]
        return [*self.position.take_notices(), *said]

    def warm(self) -> None:
        """Begin to start a process for the next turn, unless one is ready."""
        if self.record.resumed:
            self.position.resume_settings()
        if self.mode != "none":
            self.pool.prepare(self.place)

    def _meet(self, warm: Warm) -> None:
        """Remember the leased process; notify the user if it is of another version or resumed."""
        self._met = warm
        self.greeting = warm.session.greeting
        self.position.compare_version(self.greeting.version if self.greeting else "")
        if lost := self._lost:
            self._lost = None
            self.position.notice(
                f"Resumed in a new process (pid {warm.session.pid}), without the unfinished turn "
                f"{lost.number}"
            )

    @contextlib.asynccontextmanager
    async def _lease(self) -> AsyncIterator[Warm]:
        """Lend the block the process that serves the conversation, for control requests."""
        self.pool.home = self.place
        async with self.pool.lease(self.place) as warm:
            self._meet(warm)
            yield warm

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """Lend the block the session that serves the conversation; start or resume one if needed.

        Raises `UsageError` in mode `none`.
        """
        if self.mode == "none":
            raise UsageError(
                "Turns are only replayed here: no process is started",
                hint="`%record new_episodes` asks what is not recorded.",
            )
        async with self._lease() as warm:
            yield warm.session

    async def interrupt(self) -> None:
        """Stop the running turn, if one is running. The text shown so far stays."""
        if self._asking is not None:
            await self._asking.interrupt()

    async def sweep(self) -> None:
        """End the processes, and remove the files, that kernels left when they died."""
        self.pool.tally.swept = await asyncio.to_thread(orphans.clear, self.record)

    async def close(self) -> None:
        """End all processes, in bounded time, and close the record."""
        await self.pool.close()
        await asyncio.to_thread(self.record.close)


def _stray_text(event: Event) -> str:
    """Return an event that came between two turns as a notice, empty if it needs none."""
    match event:
        case Block(kind="text"):
            return f"Said in the background, after an earlier cell: {event.text}"
        case Notice():
            return f"After an earlier cell: {event.text}"
    return ""
