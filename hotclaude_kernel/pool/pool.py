"""The pool: warm claude processes, ready for the next turn or for another place in the tree.

The history of each process ends at a turn of the tree. A cell *leases* a process whose history ends
where the cell asks, or that can be rewound to there; if none can, one is started. After the turn
the process is *parked*. A parked process ends when it has been idle for long, is old, or is one too
many; the next lease at its place starts a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from ..claude.launch import BASE_ARGV, find_claude, new_token
from ..claude.processes import started
from ..claude.session import Session
from ..claude.transport import ProcessTransport, kill_unadopted, spawn
from ..errors import ConversationLost, HotClaudeError, ProcessDied, TransportError
from ..record.store import Process
from ..record.transcripts import Tail
from . import orphans
from .tending import HIBERNATED, LOOK_S, RECYCLED, idle_left, memory_mb, to_end
from .warm import Limits, Place, Starting, Tally, Warm
from .withholding import Withholding
from .written import LOST, Written, write

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncIterator, Collection

    from ..claude.folders import Folders
    from ..claude.frames import Frame
    from ..claude.launch import Prespawned
    from ..record.notebook import Record
    from ..turns.settings import Settings

log = logging.getLogger(__name__)

GONE_BAD_S = 0.5  # how long an end may wait for a look at the folder
SPARE_AFTER_S = 2.0  # a spare starts when the user reads the answer, not while they wait for it


class Pool:
    """The claude processes of one kernel. All methods run on the loop of the main thread."""

    def __init__(
        self,
        record: Record,
        *,
        binary: str = "",
        limits: Limits | None = None,
        prespawned: Prespawned | None = None,
        folders: Folders | None = None,
    ) -> None:
        self.withholding = Withholding(folders)
        self.limits = limits or Limits()
        self.tally = Tally()
        self.parked: list[Warm] = []
        self.leased: list[Warm] = []
        self.asleep = False  # whether the serving process was ended because it was idle
        self.home: Place | None = None  # the place where the next cell will ask
        self._record = record
        record.told = _told
        self._binary = binary
        self._early = prespawned
        self._starting: list[Starting] = []
        self._awaited: set[asyncio.Task[Warm]] = set()  # starts that a lease waits for
        self._ending: set[asyncio.Future[None]] = set()
        self._poked = asyncio.Event()
        self._tending: asyncio.Task[None] | None = None
        self._closed = False

    # --- leasing -----------------------------------------------------------------------------

    def prepare(self, place: Place) -> None:
        """Begin to start a process at a place, unless one is there or is starting."""
        if not (self._closed or self.standing(place) or self._find_starting(place)):
            self._begin(place)

    def _begin(self, place: Place) -> asyncio.Task[Warm]:
        task = asyncio.create_task(self._start_and_park(place), name="claude-start")
        self._starting.append(Starting(place, task))
        task.add_done_callback(_retrieve)
        return task

    @contextlib.asynccontextmanager
    async def lease(self, place: Place) -> AsyncIterator[Warm]:
        """Lend the block a process whose history ends at `place`. Leases may overlap.

        Afterwards the process is parked, unless it was retired. If the block raises anything but a
        `HotClaudeError`, the state of the process is unknown and it is ended. Raises
        `ConversationLost`, `StoreError` or `TransportError` if no process can be started.
        """
        warm = await self._take(place)
        try:
            yield warm
        except HotClaudeError:
            raise
        except BaseException:
            self.retire(warm, now=True)
            raise
        finally:
            self._park(warm)

    async def _take(self, place: Place) -> Warm:
        self.asleep = False
        while True:
            warm = self.standing(place) or await self._wait_for(place)
            if warm not in self.parked or warm.held_back != self._held_back(place):
                continue  # it died, another lease took it first, or the folder's trust has changed
            self.parked.remove(warm)
            self.leased.append(warm)
            try:
                if await _rewound(warm, place):
                    break
            except TransportError:
                log.debug("the process died before it could be rewound")
            except BaseException:
                self.retire(warm)
                raise
            # The process died, its binary is too old, or its history differs: start a new one.
            log.debug("the process does not rewind")
            self.retire(warm)
        return warm

    async def _wait_for(self, place: Place) -> Warm:
        """Wait for a process that is being started there, for no other lease."""
        task = self._find_starting(place, but=self._awaited) or self._begin(place)
        self._awaited.add(task)
        try:
            # Shielded: an interrupt gives up the waiting, not the process.
            return await asyncio.shield(task)
        finally:
            self._awaited.discard(task)
            self._poke()

    def _park(self, warm: Warm) -> None:
        """Take a process back, unless it was retired meanwhile."""
        if warm not in self.leased:
            return
        self.leased.remove(warm)
        warm.used = time.monotonic()
        if self._closed or not warm.session.alive:
            self._end(warm)
            return
        self.parked.append(warm)
        self._poke()

    def retire(self, warm: Warm, *, now: bool = False) -> None:
        """Begin to end a process, and forget it; a successor may already be starting."""
        for held in (self.parked, self.leased):
            if warm in held:
                held.remove(warm)
                self._end(warm, now=now)

    async def close(self) -> None:
        """End all processes, in bounded time."""
        self._closed = True
        if self._tending:
            self._tending.cancel()
        if self._early:
            self._drop(self._early)
            self._early = None
        starting = [start.task for start in self._starting]
        for task in starting:
            task.cancel()
        await asyncio.gather(*starting, return_exceptions=True)
        for warm in [*self.parked, *self.leased]:
            self.retire(warm)
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def ended(self) -> None:
        """Wait for the processes that are being ended."""
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _held_back(self, place: Place) -> bool:
        return self.withholding.held_back(place.settings)

    def fit_trust(self) -> None:
        """End the parked processes that the trust of their folder fits no more."""
        for warm in list(self.parked):
            if warm.held_back != self.withholding.held_back(warm.settings):
                self.retire(warm)

    def standing(self, place: Place) -> Warm | None:
        """Return the best parked process for a place, `None` if none is there or can be rewound.

        A used process is better than a spare, one whose history ends there better than one to be
        rewound. Parked processes that died are retired.
        """
        for warm in [warm for warm in self.parked if not warm.session.alive]:
            self.retire(warm)
        held = self._held_back(place)
        able = [warm for warm in self.parked if warm.stands_at(place, held_back=held)]
        length = len(place.path)

        def rank(warm: Warm) -> tuple[bool, bool, float]:
            return bool(warm.turns or warm.held), len(warm.held) == length, warm.used

        return max(able, key=rank, default=None)

    def _find_starting(
        self, place: Place, *, but: Collection[asyncio.Task[Warm]] = ()
    ) -> asyncio.Task[Warm] | None:
        wanted, held = place.ids, self._held_back(place)
        for start in self._starting:
            other, task = start.place, start.task
            if task in but or start.held_back not in (None, held):
                continue
            begins = other.ids[: len(wanted)] == wanted and not (place.new and other.ids)
            if other.settings == place.settings and begins:
                return task
        return None

    # --- starting and ending ---------------------------------------------------------------------

    async def _start(self, place: Place) -> Warm:
        asked = time.monotonic()
        await asyncio.to_thread(self.withholding.look, place.settings)
        for starting in self._starting:
            if starting.task is asyncio.current_task():
                starting.held_back = self._held_back(place)
        early = self._take_early(place)
        warm = self._adopt(early, place) if early else await self._spawn(place)
        self.tally.spawned += 1
        self.tally.resumed += bool(place.path)
        try:
            await warm.session.start()
        except BaseException as error:
            await self._close(warm, now=True)
            if isinstance(error, ProcessDied):
                raise _refused(error, resuming=bool(place.path)) from error
            raise
        warm.start_s = time.monotonic() - asked
        return warm

    async def _start_and_park(self, place: Place) -> Warm:
        """Start a process and park it before the task ends, so that a waiting lease finds it."""
        this = asyncio.current_task()
        try:
            warm = await self._start(place)
        finally:
            self._starting = [start for start in self._starting if start.task is not this]
        warm.used = time.monotonic()
        self.parked.append(warm)
        self._poke()
        return warm

    def _take_early(self, place: Place) -> Prespawned | None:
        """Return the prespawned process if it fits the place, else kill it."""
        early, self._early = self._early, None
        if early is None:
            return None
        node = place.path[-1].id if place.path else None
        settings, held = place.settings, self.withholding.arguments(place.settings)
        wanted = (tuple(settings.argv()), self.withholding.folder(settings), node, held)
        if (early.flags, early.cwd, early.node, early.held) == wanted:
            return early
        self._drop(early)
        return None

    def _drop(self, early: Prespawned) -> None:
        kill_unadopted(early.process)
        Written(transcript=early.file, folder=early.folder).remove()

    def _adopt(self, early: Prespawned, place: Place) -> Warm:
        written = Written(transcript=early.file, folder=early.folder)
        held = bool(early.held)
        return self._warm(early.process, place, early.session_id, early.token, written, held)

    async def _spawn(self, place: Place) -> Warm:
        session_id, token = str(uuid.uuid4()), new_token()
        binary = find_claude(self._binary)
        written = await write(self._record, place.path, place.settings.argv(), session_id)
        without = self.withholding.arguments(place.settings)
        try:
            where = ["--session-id", session_id]
            if place.path:
                # A resumed conversation keeps its recorded system prompt, unless it was set anew.
                ours = _prompted(place.settings)
                old = any(_prompted(self._record.settings_of(node)) != ours for node in place.path)
                snapshot = ("--system-prompt-snapshot", "off") if old else ()
                where = ["--resume", written.transcript, *snapshot]
            argv = (binary, *BASE_ARGV, *written.flags, *where, *without)
            process = spawn(argv, self.withholding.folder(place.settings), token)
        except BaseException:
            written.remove()
            raise
        return self._warm(process, place, session_id, token, written, bool(without))

    def _warm(
        self,
        process: subprocess.Popen[bytes],
        place: Place,
        session_id: str,
        token: str,
        written: Written,
        held_back: bool,
    ) -> Warm:
        noted = Process(
            token=token,
            pid=process.pid,
            started=started(process.pid),
            kernel=self._record.kernel,
            file=written.transcript,
        )
        self._record.changes.note_process(noted)
        transcript = Path(written.transcript) if written.transcript else None
        return Warm(
            session=Session(ProcessTransport(process, place.settings.argv())),
            settings=place.settings,
            tail=Tail(session_id, transcript),
            held=list(place.path),
            token=token,
            written=written,
            held_back=held_back,
        )

    def _end(self, warm: Warm, *, now: bool = False) -> None:
        task = asyncio.ensure_future(self._close(warm, now=now))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _close(self, warm: Warm, *, now: bool) -> None:
        if await self._gone_bad(warm):
            warm.session.kill()
        killed = not warm.session.alive
        await warm.session.close(now=now)
        if killed:  # then its commands run on, each in a session of its own
            await asyncio.to_thread(orphans.end_all, warm.token)
        warm.written.remove()
        self._record.changes.forget_process(warm.token)

    async def _gone_bad(self, warm: Warm) -> bool:
        """Whether a process must not be told to end: its folder is not trusted any more.

        `claude` reads the folder's settings anew whenever they change. It would run the hooks that
        they now have for its end.
        """
        if warm.held_back or not warm.session.alive:
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GONE_BAD_S):
                await asyncio.to_thread(self.withholding.look, warm.settings)
        return self._held_back(Place(warm.settings))

    # --- tending ---------------------------------------------------------------------------------

    def _poke(self) -> None:
        self._poked.set()
        if self._tending is None and not self._closed:
            self._tending = asyncio.create_task(self._tend(), name="pool")

    async def _tend(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settle()):
                    await self._poked.wait()
            self._poked.clear()

    def _settle(self) -> float:
        """End what must end and start what is due; return the seconds until there may be more."""
        now = time.monotonic()

        def wanted(warm: Warm) -> bool:
            # While a lease waits, a parked process may be the one just started for it.
            return bool(self._awaited) or self._serves(warm)

        for warm, why in to_end(self.parked, self.leased, self.limits, wanted, now):
            serves = self._serves(warm)
            setattr(self.tally, why, getattr(self.tally, why) + 1)
            self.asleep |= serves and why == HIBERNATED
            self.retire(warm)
            if serves and why == RECYCLED and self.home:
                self.prepare(self.home)
        return max(min(idle_left(self.parked, self.limits, now), self._top_up(now)), 0.01)

    def _serves(self, warm: Warm) -> bool:
        """Whether the next cell will want this process."""
        return self.home is not None and warm is self.standing(self.home)

    def _top_up(self, now: float) -> float:
        """Start a spare for the next new conversation, once no turn runs and no process starts.

        Return the seconds until the next look.
        """
        if self.home is None or self.leased or self._starting or self.asleep or self._full():
            return LOOK_S
        place = Place(self.home.settings, new=True)
        spares = [warm for warm in self.parked if not warm.held and not warm.turns]
        for warm in spares:
            if warm.settings != place.settings:
                self.retire(warm)
        if sum(warm.settings == place.settings for warm in spares) >= self.limits.spares:
            return LOOK_S
        wait = max((warm.used for warm in self.parked), default=now) + SPARE_AFTER_S - now
        if wait > 0:
            return wait
        self._begin(place)
        return LOOK_S

    def _full(self) -> bool:
        count = len(self.parked) + len(self.leased)
        return bool(self.limits.processes) and count >= self.limits.processes

    def memory_mb(self) -> dict[int, float]:
        """Return the resident memory of each process by pid, in MiB; empty without `/proc`."""
        return memory_mb([*self.parked, *self.leased])


async def _rewound(warm: Warm, place: Place) -> bool:
    """Rewind a process to a place; return whether its history now ends there."""
    cut = warm.held[len(place.path) :]
    if not cut:
        return True
    if cut[0].compacted or not await warm.session.rewind(cut[0].uuid, cut[-1].uuid):
        return False
    del warm.held[len(place.path) :]
    return True


def _told(frames: bytes) -> list[Frame]:
    """Return the messages of a recorded answer that the page showed."""
    from ..page.told import told  # imported here because few transcripts are rebuilt

    return told(frames)


def _prompted(settings: Settings) -> tuple[str | None, str | None]:
    return settings.system, settings.append_system


def _refused(death: ProcessDied, *, resuming: bool) -> HotClaudeError:
    if resuming:
        return ConversationLost(f"The conversation can't be resumed: {death.message}", hint=LOST)
    death.hint = death.hint or "Run `claude --version` in a terminal to see whether it works."
    return death


def _retrieve(task: asyncio.Task[Warm]) -> None:
    """Mark the error of a start as seen. A waiting lease raises it; nobody waits for a spare."""
    if not task.cancelled():
        task.exception()
