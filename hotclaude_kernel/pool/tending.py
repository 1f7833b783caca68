"""Which waiting processes must end, and when to look again. Nothing is ended here."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .warm import Limits, Warm

LOOK_S = 30.0
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)
# Why a process ends, by the name under which the pool counts it.
HIBERNATED, RECYCLED, EVICTED = "hibernated", "recycled", "evicted"


def to_end(
    parked: Sequence[Warm],
    leased: Sequence[Warm],
    limits: Limits,
    wanted: Callable[[Warm], bool],
    now: float,
) -> Iterator[tuple[Warm, str]]:
    """Yield each waiting process that must end, with the reason, the longest unused first.

    A process is hibernated when it was idle for too long, recycled when it is worn or old, and
    evicted when there are too many and it is not `wanted`. `now` is in seconds
    of the monotonic clock.
    """
    left = [*parked, *leased]
    for warm in sorted(parked, key=lambda warm: warm.used):
        why = _why(warm, limits, now)
        if not why and _too_many(left, limits) and not wanted(warm):
            why = EVICTED
        if why:
            left.remove(warm)
            yield warm, why


def _why(warm: Warm, limits: Limits, now: float) -> str:
    if limits.idle_timeout_s and warm.used + limits.idle_timeout_s <= now:
        return HIBERNATED
    worn = bool(limits.turns) and warm.turns >= limits.turns
    old = bool(limits.age_s) and warm.born + limits.age_s < now
    return RECYCLED if worn or old else ""


def _too_many(left: Sequence[Warm], limits: Limits) -> bool:
    if limits.processes and len(left) > limits.processes:
        return True
    return bool(limits.memory_mb) and sum(memory_mb(left).values()) > limits.memory_mb


def idle_left(parked: Sequence[Warm], limits: Limits, now: float) -> float:
    """Return the seconds until the next waiting process has been idle for too long."""
    if not limits.idle_timeout_s:
        return LOOK_S
    ends = [warm.used + limits.idle_timeout_s - now for warm in parked]
    return min([LOOK_S, *ends])


def memory_mb(processes: Sequence[Warm]) -> dict[int, float]:
    """Return the resident memory of each process by pid; nothing where that can't be told."""
    found = {}
    for warm in processes:
        with contextlib.suppress(OSError, ValueError):
            pages = Path(f"/proc/{warm.session.pid}/statm").read_text().split()[1]
            found[warm.session.pid or 0] = int(pages) * PAGE_MB
    return found
