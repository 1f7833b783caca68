"""What one kernel changes in the record, and what becomes of it.

Changes go to the writer, which does them in order. So none of them waits for SQLite; whoever needs
to know that they are recorded waits for `last`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ...errors import StoreError
from .. import notebooks
from ..database import MEMORY
from .jobs import Add, Branch, Join, Seat, Spend, Stand
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
        self._branch = ("", Branch(""))  # the current one, as jobs name it
        # The branch that was current when the record could not be written at the opening.
        self._late: tuple[str, Branch] | None = None
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
        for path in journals:
            self._writer.put(partial(drain, path)).add_done_callback(self._say_drained)

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
    ) -> Notebook:
        """Take a notebook and its current branch; a new branch if another kernel holds that.

        The writer finds the notebook by `find` and takes the branch, both in one transaction: so no
        two kernels take one branch. If the writer can't do that soon, return the notebook that
        `read` returns; the writer follows. A notebook without a path runs in `folder`. `scope` is
        the path of the notebook whose answers replay, if it is another one.
        """
        store = self._store
        seat = elsewhere = Seat(self._seat.number + 2, path, folder=folder)
        if scope is not None:
            elsewhere = Seat(seat.number + 1, scope)

        def claim(_: Store) -> tuple[Notebook, str]:
            with store.write():
                notebook = find()
                held = notebooks.claim(store, notebook, self._kernel)
                if scope is not None:
                    elsewhere.row = notebooks.notebook_at(store, scope).id
            seat.row = notebook.id
            return notebook, held

        claimed: futures.Future[tuple[Notebook, str]] = self._writer.put(claim)
        try:
            notebook, held = claimed.result(CLAIM_S)
        except TimeoutError:
            notebook, held = read(), ""
            seat.row = notebook.id
            if scope is not None:
                elsewhere.row = notebooks.read_at(store, scope).id
            self._take_late(claimed, notebook.branches.current)
        if held:
            self._say(_elsewhere(held, notebook.branches.current))
        self._seat, self._scope = seat, elsewhere
        return notebook

    def _take_late(self, claimed: futures.Future[tuple[Notebook, str]], current: str) -> None:
        """Have the changes to the current branch go to the one that will be taken."""
        branch = Branch(current)
        self._branch = self._late = (current, branch)

        def rename(claimed: futures.Future[tuple[Notebook, str]]) -> None:
            if claimed.exception() is None:
                branch.name = claimed.result()[0].branches.current

        claimed.add_done_callback(rename)

    # --- changing it -----------------------------------------------------------------------------

    def add(self, turn: Recorded, current: str) -> None:
        """Record a turn, and end the current branch at it."""
        branch = self._named(current)
        job = Add(seat=self._seat, turn=turn, branch=branch, scope=self._scope)
        self._added[turn.node.id] = self.put(job, f"{UNRECORDED}. ")

    def join(self, node: Node, current: str | None, origin: int | None = None) -> None:
        """Make a recorded turn a member of the notebook, and end a branch at it if one is given.

        It has the conditions that it has in the notebook with the row `origin`.
        """
        join = Join(
            seat=self._seat,
            node=node.id,
            cell_id=node.cell_id,
            branch=None if current is None else self._named(current),
            scope=self._scope,
            origin=origin,
        )
        self.put(join)

    def stand(self, tree: Branches, deleted: str = "") -> None:
        """Record all branches and checkpoints of a tree, and delete a branch."""
        stand = Stand(
            seat=self._seat,
            current=self._named(tree.current),
            end=tree.branches[tree.current],
            others={name: end for name, end in tree.branches.items() if name != tree.current},
            checkpoints=dict(tree.checkpoints),
            deleted=deleted,
            kernel=self._kernel,
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

    def _named(self, current: str) -> Branch:
        if self._branch[0] != current:
            self._branch = (current, Branch(current))
        return self._branch[1]

    # --- what became of it -----------------------------------------------------------------------

    @property
    def last(self) -> futures.Future[Any] | None:
        """The future of the newest change that is not recorded, `None` if all are."""
        return self._writer.last

    @property
    def unrecorded(self) -> dict[str, Recorded]:
        """The turns that are not recorded yet, by their nodes, the oldest first."""
        return {job.turn.node.id: job.turn for job in self._writer.jobs if isinstance(job, Add)}

    @property
    def unspent(self) -> list[Usage]:
        """The usage of this kernel's turns that is not recorded yet."""
        return [job.usage for job in self._writer.jobs if isinstance(job, Spend)]

    def collect(self, tree: Branches) -> None:
        """Give turns and branches the names under which they were recorded."""
        for node, added in [pair for pair in self._added.items() if pair[1].done()]:
            del self._added[node]
            if added.exception() is None:
                tree.set_uuid(node, added.result())
        if self._late is not None and (name := self._late[1].name) != self._late[0]:
            held, branch = self._late
            tree.rename(held, name)
            self._branch, self._late = (name, branch), None
            self._say(_elsewhere(held, name))
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


def _elsewhere(held: str, current: str) -> str:
    return (
        f"Another kernel has this notebook's branch {held} open: this one goes on as branch "
        f"{current}"
    )
