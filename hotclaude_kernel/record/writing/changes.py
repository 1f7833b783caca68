"""What one kernel changes in the record, and what becomes of it.

Changes go to the writer, which does them in order. So none of them waits for SQLite; whoever needs
to know that they are recorded waits for `last`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ...errors import StoreError
from ...turns.budget import Cost
from .. import notebooks
from ..database import MEMORY
from .jobs import Add, Branch, Copy, Hold, Join, Leave, Move, Seat, Spend, Stand
from .journal import Journal, drain
from .writer import BUSY_S, Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent import futures
    from pathlib import Path
    from typing import Any

    from ...claude.events import Usage
    from ...turns.tree import Branches, Node
    from ...turns.turn import Recorded
    from ..notebooks import Notebook
    from ..store import Process, Store

UNRECORDED = "This turn is not recorded"
CLAIM_S = 0.9  # how long a notebook is waited for that the writer is to find
CLOSE_S = 1.0  # how long closing waits for what is not recorded yet


class Taken(NamedTuple):
    """A notebook that a kernel has taken.

    `held` says whether it holds the current branch now. It is a `guest` if another kernel does.
    """

    notebook: Notebook
    guest: bool
    held: bool


class Changes:
    """The changes of a kernel to the notebook that it has taken, through one writer.

    `say` is called with each notice to the user, on any thread. `behind` says whether a change had
    to be written down, as it could not be recorded.
    """

    def __init__(self, store: Store, kernel: str, say: Callable[[str], None]) -> None:
        self.behind = False
        self._kernel = kernel
        self._say = say
        self._store = store
        self._seat = self._scope = Seat(0, None)
        self._drains: list[futures.Future[str]] = []
        self._added: dict[str, futures.Future[str]] = {}  # the prompt uuids of turns, as recorded
        store.set_patience(BUSY_S)
        if store.path == MEMORY:
            self._writer = Writer(store)
        else:
            self._writer = Writer(store, Journal(store.path, kernel))

    @property
    def row(self) -> int:
        """The row of the notebook in the store, 0 while the writer could not find it yet."""
        return self._seat.row

    @property
    def scope(self) -> int:
        """The row of the notebook whose answers replay, 0 while the writer could not find it."""
        return self._scope.row

    # --- taking a notebook -----------------------------------------------------------------------

    def drain(self, journals: Sequence[Path]) -> None:
        """Record what kernels that are no more had written down."""
        self._drains = [self._writer.put(partial(drain, path)) for path in journals]
        for drained in self._drains:
            drained.add_done_callback(self._say_drained)

    @property
    def drained(self) -> bool:
        """Whether nothing is left to do of what `drain` was given."""
        return all(drained.done() for drained in self._drains)

    def _say_drained(self, done: futures.Future[str]) -> None:
        if text := str(done.exception() or done.result()):
            self._say(text)

    def take(
        self,
        path: str | None,
        find: Callable[[], Notebook],
        read: Callable[[], Notebook],
        *,
        folder: str | None = None,
        scope: str | None = None,
        copies: int | None = None,
    ) -> Taken:
        """Take a notebook, and its current branch if no other kernel holds that.

        The writer finds the notebook by `find` and takes the branch, both in one transaction: so no
        two kernels take one branch. If the writer can't do that soon, take the notebook that `read`
        returns; the writer follows. A notebook without a path runs in `folder`. `scope` is the path
        of the notebook whose answers replay, if it is another one.

        If `find` copies a notebook, `copies` is that one's row. A journal has to tell of it, and
        of another notebook at the path of the one before.
        """
        store = self._store
        seat = elsewhere = Seat(self._seat.number + 2, path, folder=folder)
        if scope is not None:
            elsewhere = Seat(seat.number + 1, scope)

        def claim(_: Store) -> Taken:
            with store.write():
                notebook = find()
                tree = notebook.branches
                held = notebooks.hold(store, notebook.id, tree.current, self._kernel, tree.branches)
                if scope is not None:
                    elsewhere.row = notebooks.notebook_at(store, scope).id
            seat.row = notebook.id
            return Taken(notebook, guest=not held, held=held)

        claimed: futures.Future[Taken] = self._writer.put(claim)
        try:
            taken = claimed.result(CLAIM_S)
        except TimeoutError:
            taken = Taken(read(), guest=False, held=False)
            seat.row = taken.notebook.id
            if scope is not None:
                elsewhere.row = notebooks.read_at(store, scope).id
            if path == self._seat.path and self._seat.row not in (0, seat.row):
                self.put(Leave(seat=self._seat))
            if copies is not None:
                self._copy(seat, copies, taken.notebook.branches)
        self._seat, self._scope = seat, elsewhere
        return taken

    def _copy(self, seat: Seat, origin: int, tree: Branches) -> None:
        self.put(Copy(seat=seat, origin=origin))
        moves = [Move(branch=Branch(name), end=end) for name, end in tree.branches.items()]
        current = Branch(tree.current)
        self.put(Stand(seat=seat, moves=moves, checkpoints=tree.checkpoints, current=current))

    # --- changing it -----------------------------------------------------------------------------

    def add(self, turn: Recorded, branch: Branch) -> None:
        """Record a turn, and end a branch at it."""
        job = Add(seat=self._seat, turn=turn, branch=branch, scope=self._scope)
        self._added[turn.node.id] = self.put(job, f"{UNRECORDED}. ")

    def join(self, node: Node, branch: Branch | None, origin: int | None = None) -> None:
        """Make a recorded turn a member of the notebook, and end a branch at it if one is given.

        It has the conditions that it has in the notebook with the row `origin`.
        """
        join = Join(
            seat=self._seat,
            node=node.id,
            cell_id=node.cell_id,
            branch=branch,
            scope=self._scope,
            origin=origin,
        )
        self.put(join)

    def hold(self, branch: Branch, ends: dict[str, str | None], names: list[str]) -> None:
        """Hold a branch in place of the one that this kernel holds; see `Hold`."""
        self.put(Hold(seat=self._seat, branch=branch, ends=ends, names=names, kernel=self._kernel))

    def stand(
        self,
        moves: list[Move],
        checkpoints: dict[str, str],
        *,
        current: Branch | None,
        deleted: str = "",
    ) -> None:
        """Record what was moved; see `Stand`."""
        stand = Stand(
            seat=self._seat,
            moves=moves,
            checkpoints=checkpoints,
            current=current,
            deleted=deleted,
        )
        self.put(stand)

    def spend(self, usage: Usage) -> None:
        """Record the usage of a turn."""
        self.put(Spend(seat=self._seat, usage=usage))

    def note_process(self, process: Process) -> None:
        """Record a process that this kernel started."""
        self.put(lambda store: store.note_process(process))

    def forget_process(self, token: str) -> None:
        """Delete the record of a process that ended."""
        self.put(lambda store: store.forget_process(token))

    def put(self, job: Callable[[Store], Any], otherwise: str = "") -> futures.Future[Any]:
        """Have the writer do a job; if it can't ever be done, a notice says so."""
        done = self._writer.put(job)

        def say(done: futures.Future[Any]) -> None:
            if isinstance(error := done.exception(), StoreError):
                self._say(f"{otherwise}{error.message}. {error.hint}")

        done.add_done_callback(say)
        return done

    def do(self, job: Callable[[Store], Any]) -> None:
        """Have the writer do a job, and wait for it; blocks.

        Raises `StoreError` if it fails, or can't be done soon; then the writer goes on trying.
        """
        try:
            self._writer.put(job).result(CLAIM_S)
        except TimeoutError as error:
            raise self._writer.failure or StoreError("The record is slow") from error

    # --- what became of it -----------------------------------------------------------------------

    @property
    def last(self) -> futures.Future[Any] | None:
        """The future of the newest change that is not recorded, `None` if all are."""
        return self._writer.last

    @property
    def unrecorded(self) -> dict[str, Recorded]:
        """The turns that are not recorded yet, by their nodes, the oldest first."""
        return {job.turn.node.id: job.turn for job in self._writer.jobs if isinstance(job, Add)}

    def spent(self) -> Cost:
        """Return what the notebook's turns have used, recorded or not; blocks."""
        waiting = [job.usage for job in self._writer.jobs if isinstance(job, Spend)]
        tokens, usd = notebooks.spent(self._store, self.row)
        tokens += sum(usage.prompt_tokens + usage.output_tokens for usage in waiting)
        return Cost(tokens=tokens, usd=usd + sum(usage.cost_usd for usage in waiting))

    def collect(self, tree: Branches) -> None:
        """Give turns the prompt uuids under which they were recorded."""
        for node, added in [pair for pair in self._added.items() if pair[1].done()]:
            del self._added[node]
            if added.exception() is None:
                tree.set_uuid(node, added.result())
        if self.behind and self.last is None:
            self.behind = False
            self._say("What was written down is recorded now")

    def write_down(self) -> None:
        """Write what is not recorded to the journal, and say so; blocks for one append."""
        failure = self._writer.failure
        why = failure.message if failure else "the record is slow"
        try:
            if self._writer.write_down():
                self.behind = True
                self._say(
                    f"Written down, not yet recorded: {why}. It is recorded as soon as that is "
                    "possible"
                )
        except OSError as error:
            self._say(
                f"Neither recorded nor written down: {why}, and {error}. It is kept in this "
                "kernel's memory, and is recorded as soon as that is possible"
            )

    def close(self) -> None:
        """Record what waits, or write it down, and release the branch; blocks."""
        self.put(lambda store: notebooks.release(store, self._kernel))
        self._writer.close(CLOSE_S)
