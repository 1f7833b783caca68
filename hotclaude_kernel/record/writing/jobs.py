"""What a kernel has to write to the record, as values.

A job is done by the record's writer, or goes to the journal while the record can't be written. To
do a job twice is to do it once.
"""

from __future__ import annotations

import time
from itertools import count
from typing import TYPE_CHECKING

from msgspec import Struct, field

# Not only for type checking: the journal decodes jobs by these types.
from ...claude.events import Usage  # noqa: TC001
from ...turns.turn import Recorded  # noqa: TC001
from .. import notebooks

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from ..store import Store


class Seat(Struct):
    """A notebook, as jobs name it.

    `row` is its row in the record, 0 until the writer has found the notebook. `number` tells the
    notebooks of one kernel apart. A notebook without a path runs in `folder`.
    """

    number: int
    path: str | None
    row: int = 0
    folder: str | None = None


class Branch(Struct):
    """A branch, as jobs name it; the writer may find its name taken, and give it another."""

    name: str


class Add(Struct, frozen=True, kw_only=True, tag=True):
    """Record a turn, and end the branch at it. It replays in the notebook `scope`."""

    seat: Seat
    turn: Recorded
    branch: Branch
    scope: Seat

    def __call__(self, store: Store) -> str:
        """Return the prompt uuid that is recorded; see `Store.save`."""
        return store.save(self.seat.row, self.turn, branch=self.branch.name, scope=self.scope.row)


class Join(Struct, frozen=True, kw_only=True, tag=True):
    """Make a recorded turn a member of the notebook, and end a branch at it if one is given.

    It replays in the notebook `scope`, under its conditions in the notebook with the row `origin`.
    """

    seat: Seat
    node: str
    cell_id: str | None
    branch: Branch | None
    scope: Seat
    origin: int | None = None

    def __call__(self, store: Store) -> None:
        """See `Store.join`."""
        store.join(
            self.seat.row,
            self.node,
            self.cell_id,
            branch=self.branch.name if self.branch else None,
            scope=self.scope.row,
            origin=self.origin,
        )


class Move(Struct, frozen=True, kw_only=True):
    """The end of a branch, which is moved there; `new` says that this kernel has just made it."""

    branch: Branch
    end: str | None
    new: bool = False


class Stand(Struct, frozen=True, kw_only=True, tag=True):
    """Record the ends of some branches, some checkpoints, and the current branch if given.

    `deleted` is a branch that is no more.
    """

    seat: Seat
    moves: list[Move]
    checkpoints: dict[str, str]
    current: Branch | None = None
    deleted: str = ""

    def __call__(self, store: Store) -> None:
        """See `notebooks.write_branches`. New branches get other names if theirs are taken."""
        with store.write():
            taken = notebooks.branches_of(store, self.seat.row)
            names = {move.branch.name for move in self.moves} | taken.keys()
            for move in self.moves:
                branch = move.branch
                # One that ends there already is this one: the job is done a second time.
                if move.new and taken.get(branch.name, move.end) != move.end:
                    branch.name = next(free_names(branch.name, names))
                    names.add(branch.name)
            notebooks.write_branches(
                store,
                self.seat.row,
                {move.branch.name: move.end for move in self.moves},
                self.checkpoints,
                current=self.current.name if self.current else None,
                deleted=self.deleted,
            )


class Hold(Struct, frozen=True, kw_only=True):
    """Hold a branch for a kernel: a new one in its place if it is another kernel's, or has moved.

    It must end where it does in `ends`. `names` are taken. It is done by this kernel or never, so
    it is not for the journal.
    """

    seat: Seat
    branch: Branch
    ends: dict[str, str | None]
    names: list[str]
    kernel: str

    def __call__(self, store: Store) -> None:
        """See `notebooks.hold`."""
        with store.write():
            taken = {*self.names, *notebooks.branches_of(store, self.seat.row)}
            if not self._holds(store, self.branch.name):
                names = free_names(self.branch.name, taken)
                self.branch.name = next(name for name in names if self._holds(store, name))

    def _holds(self, store: Store, name: str) -> bool:
        return notebooks.hold(store, self.seat.row, name, self.kernel, self.ends)


class Copy(Struct, frozen=True, kw_only=True, tag=True):
    """Give the notebook all turns and answers of the one in the row `origin`: it is a copy."""

    seat: Seat
    origin: int

    def __call__(self, store: Store) -> None:
        """See `notebooks.copy_members`."""
        notebooks.copy_members(store, self.seat.row, self.origin)


class Leave(Struct, frozen=True, kw_only=True, tag=True):
    """Take its path from a notebook that lies there no more; it keeps its turns."""

    seat: Seat

    def __call__(self, store: Store) -> None:
        """See `notebooks.leave`."""
        if self.seat.path is not None:
            notebooks.leave(store, self.seat.row, self.seat.path)


class Spend(Struct, frozen=True, kw_only=True, tag=True):
    """Record the usage of a turn that ended `at`, in seconds since the epoch."""

    seat: Seat
    usage: Usage
    at: float = field(default_factory=time.time)

    def __call__(self, store: Store) -> None:
        """See `notebooks.spend`."""
        notebooks.spend(store, self.seat.row, self.usage, self.at)


Job = Add | Join | Stand | Spend | Copy | Leave


def free_names(branch: str, taken: Container[str]) -> Iterator[str]:
    """Yield the variants of a branch's name that are not taken: `main-1` for `main` or `main-3`."""
    stem, _, number = branch.rpartition("-")
    stem = stem if number.isdecimal() else branch
    names = (f"{stem}-{number}" for number in count(1))
    return (name for name in names if name not in taken)
