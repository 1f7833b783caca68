"""A warm process as a value: the history it holds, how many may wait, and what they have saved."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec import Struct, field

if TYPE_CHECKING:
    from ..claude.session import Session
    from ..record.transcripts import Tail
    from ..turns.settings import Settings
    from ..turns.tree import Node


class Limits(Struct, frozen=True, kw_only=True):
    """How many processes may wait, and for how long. 0 means no limit, but for `spares`."""

    spares: int = 1
    processes: int = 3
    memory_mb: int = 1500
    idle_timeout_s: float = 1800.0
    turns: int = 500
    age_s: float = 86_400.0


class Place(Struct, frozen=True):
    """Where a process is wanted: after which turns, under which settings.

    `new` asks for one that has never been used, with nothing allowed in it for its session.
    """

    settings: Settings
    path: tuple[Node, ...] = ()
    new: bool = False

    @property
    def ids(self) -> tuple[str, ...]:
        """The turns."""
        return tuple(node.id for node in self.path)


class Warm(Struct, kw_only=True, eq=False):
    """A process, and the turns that its history `held` when it was last asked.

    Each turn there has the uuid that its prompt has in this process. A turn that compacted what
    was before it can't be cut off in place: its prompt stands behind the summary.
    """

    session: Session
    settings: Settings
    tail: Tail
    held: list[Node]
    token: str
    file: str = ""
    start_s: float = 0.0
    turns: int = 0
    born: float = field(default_factory=time.monotonic)
    used: float = field(default_factory=time.monotonic)

    @property
    def ids(self) -> tuple[str, ...]:
        """The turns of its history."""
        return tuple(node.id for node in self.held)

    def stands_at(self, place: Place) -> bool:
        """Whether it stands there, or further on, from where it can be rewound."""
        if place.new and (self.ids or self.turns):
            return False
        ids = place.ids
        return self.settings == place.settings and self.ids[: len(ids)] == ids


class Tally(Struct):
    """What the pool has done so far."""

    turns: int = 0
    hits: int = 0
    spawned: int = 0
    resumed: int = 0
    hibernated: int = 0
    recycled: int = 0
    evicted: int = 0
    swept: int = 0
    saved_s: float = 0.0
