"""The pool's values: a warm process with its history, a place, the limits, and the counts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec import Struct, field

from .written import Written

if TYPE_CHECKING:
    import asyncio

    from ..claude.session import Session
    from ..record.transcripts import Tail
    from ..turns.settings import Settings
    from ..turns.tree import Node


class Limits(Struct, frozen=True, kw_only=True):
    """How many processes may run, and for how long; 0 means no limit, except for `spares`.

    `processes` and `memory_mb` (MiB, resident) bound all processes of the pool. `turns` and `age_s`
    bound one process.
    """

    spares: int = 1
    processes: int = 3
    memory_mb: int = 1500
    idle_timeout_s: float = 1800.0
    turns: int = 500
    age_s: float = 86_400.0


class Place(Struct, frozen=True):
    """Where a process is wanted: after the turns of `path`, under `settings`.

    `new` asks for a process that was never used: it has read no file, and its shell is in the
    folder that it was started in.
    """

    settings: Settings
    path: tuple[Node, ...] = ()
    new: bool = False

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the turns."""
        return tuple(node.id for node in self.path)


class Starting(Struct, eq=False):
    """A process that is being started. `held_back` is `None` until its folder was looked at."""

    place: Place
    task: asyncio.Task[Warm]
    held_back: bool | None = None


class Warm(Struct, kw_only=True, eq=False):
    """A process, and `held`: the turns of its history.

    Each turn in `held` has the uuid that its prompt has in this process. A process can't be rewound
    before a turn that compacted the conversation: the summary has replaced the turns before it.

    `held_back` says that it was started without its folder, which was not trusted (see
    `claude.trust`). `start_s` is how long its start took. `born` and `used` (last) are times of the
    monotonic clock.
    """

    session: Session
    settings: Settings
    tail: Tail
    held: list[Node]
    token: str
    written: Written = field(default_factory=Written)
    held_back: bool = False
    start_s: float = 0.0
    turns: int = 0
    born: float = field(default_factory=time.monotonic)
    used: float = field(default_factory=time.monotonic)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the turns of its history."""
        return tuple(node.id for node in self.held)

    def stands_at(self, place: Place, *, held_back: bool = False) -> bool:
        """Return whether its history ends at the place, or later, so that it can be rewound.

        A process that was started with its folder is no other without it.
        """
        if self.held_back != held_back:
            return False
        if place.new and (self.ids or self.turns):
            return False
        ids = place.ids
        return self.settings == place.settings and self.ids[: len(ids)] == ids


class Tally(Struct):
    """What the pool has done so far, in counts; `saved_s` is the waiting that it saved.

    A hit is a turn whose process was ready. Processes are hibernated (ended when idle), recycled
    (old or worn), evicted (one too many) or swept (left by a kernel that died).
    """

    turns: int = 0
    hits: int = 0
    spawned: int = 0
    resumed: int = 0
    hibernated: int = 0
    recycled: int = 0
    evicted: int = 0
    swept: int = 0
    saved_s: float = 0.0
