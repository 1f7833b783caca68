"""What a kernel has to write to the record, as values.

A job is done by the record's writer, or goes to the journal while the record can't be written. To
do a job twice is to do it once.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec import Struct, field

# Not only for type checking: the journal decodes jobs by these types.
from ...claude.events import Usage  # noqa: TC001
from ...turns.turn import Recorded  # noqa: TC001
from .. import notebooks

if TYPE_CHECKING:
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


class Stand(Struct, frozen=True, kw_only=True, tag=True):
    """Record all branches and checkpoints, and the current branch, which `kernel` holds.

    `others` are the branches but the current one, which ends at `end`. `deleted` is no more.
    """

    seat: Seat
    current: Branch
    end: str | None
    others: dict[str, str | None]
    checkpoints: dict[str, str]
    deleted: str = ""
    kernel: str = ""

    def __call__(self, store: Store) -> None:
        """See `notebooks.write_branches`."""
        ends = self.others | {self.current.name: self.end}
        current = self.current.name
        notebooks.write_branches(
            store,
            self.seat.row,
            ends,
            self.checkpoints,
            current=current,
            deleted=self.deleted,
            kernel=self.kernel,
        )


class Spend(Struct, frozen=True, kw_only=True, tag=True):
    """Record the usage of a turn that ended `at`, in seconds since the epoch."""

    seat: Seat
    usage: Usage
    at: float = field(default_factory=time.time)

    def __call__(self, store: Store) -> None:
        """See `notebooks.spend`."""
        notebooks.spend(store, self.seat.row, self.usage, self.at)


Job = Add | Join | Stand | Spend
