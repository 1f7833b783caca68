"""A long conversation: whether turn 1000 costs what turn 10 costs, and whose it is if not.

The request grows with the history, so `claude` itself takes longer: a raw pipe is asked the same
beside it, turn by turn.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import machine
from .frontend import new_notebook, open_frontend
from .latency import open_pipe
from .numbers import Samples, growth
from .tree import HELD, SPARE, ask, ask_raw, wait_for_pool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .arena import Arena
    from .frontend import Frontend
    from .pipe import Pipe

EARLY = 10  # turns of the first stretch, beside which the others are held
STRETCHES = 10
NAME = "soak"
WORN = re.compile(r"(\d+) worn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Medians of some turns in a row, and what was there at their end.

    `replaced` counts the processes that have had their turns by then; `ratio` is that of first
    texts, ours to raw; `cpu_s` the kernel's own processor time a turn.
    """

    first: int
    last: int
    processes: int
    replaced: int
    kernel_rss_mb: float
    kernel_pss_mb: float
    claude_rss_mb: float
    raw_rss_mb: float
    store_bytes: int
    cpu_s: float
    first_text_s: float
    p90_s: float
    raw_s: float
    ratio: float

    @property
    def middle(self) -> float:
        """The turn that the medians stand for."""
        return (self.first + self.last) / 2


def soak(arena: Arena, turns: int, process_turns: int | None = None) -> list[Stretch]:
    """Ask both contenders so many turns; `process_turns` is the kernel's own limit, if given."""
    ends = sorted({EARLY, *(turns * part // STRETCHES for part in range(1, STRETCHES + 1))})
    limit = [] if process_turns is None else [f"--HotClaudeKernel.process_turns={process_turns}"]
    notebook = new_notebook(arena, 1)
    found: list[Stretch] = []
    with (
        open_pipe(arena) as pipe,
        open_frontend(arena, NAME, "hotclaude", *limit, notebook=notebook) as front,
    ):
        front.ready()
        ask_raw(pipe)  # the first turn of a process is slower
        ask(front, notebook.cells[0])
        wait_for_pool(front, SPARE)
        for begin, end in zip([1, *ends], ends, strict=False):
            found.append(_stretch(arena, front, pipe, begin + 1, end))
    return found


def _stretch(arena: Arena, front: Frontend, pipe: Pipe, first: int, last: int) -> Stretch:
    samples, cpu = Samples(), machine.cpu_s(front.pid)
    for _ in range(first, last + 1):
        samples.add_all("raw", ask_raw(pipe))
        samples.add_all("ours", ask(front, uuid.uuid4().hex))
    cpu = machine.cpu_s(front.pid) - cpu
    wait_for_pool(front, HELD)  # the last turn may have been its process's last, too
    children = machine.children(front.pid)
    kernel = machine.memory_mb(front.pid)
    return Stretch(
        first=first,
        last=last,
        processes=len(children),
        replaced=int(WORN.findall(front.told("%pool").plain)[0]),
        kernel_rss_mb=kernel["rss"],
        kernel_pss_mb=kernel["pss"],
        claude_rss_mb=max(map(_rss_mb, children)),
        raw_rss_mb=machine.memory_mb(pipe.process.pid)["rss"],
        store_bytes=_store_bytes(arena),
        cpu_s=cpu / (last + 1 - first),
        first_text_s=samples.median("ours: first text"),
        p90_s=samples.p90("ours: first text"),
        raw_s=samples.median("raw: first text"),
        ratio=samples.ratio("ours: first text", "raw: first text"),
    )


def _rss_mb(pid: int) -> float:
    try:
        return machine.memory_mb(pid)["rss"]
    except (FileNotFoundError, ProcessLookupError):
        return 0.0  # it has just ended


def _store_bytes(arena: Arena) -> int:
    folder = Path(arena.env(NAME)["HOME"], ".local", "share", "hotclaude")
    return sum(file.stat().st_size for file in folder.glob("store.db*"))


def exponents(stretches: Sequence[Stretch]) -> dict[str, float]:
    """Return how what a turn costs grows with the turns before it; 0 is flat, 1 linear.

    The first stretch is too short for a processor time, which is counted in hundredths of seconds.
    """
    turns = [stretch.middle for stretch in stretches]
    later = stretches[1:]
    last = [stretch.last for stretch in later]
    return {
        "first text, ours": growth(turns, [stretch.first_text_s for stretch in stretches]),
        "first text, raw": growth(turns, [stretch.raw_s for stretch in stretches]),
        "first text, ours to raw": growth(turns, [stretch.ratio for stretch in stretches]),
        "kernel CPU a turn": growth(turns[1:], [max(stretch.cpu_s, 1e-4) for stretch in later]),
        "kernel RSS": growth(last, [stretch.kernel_rss_mb for stretch in later]),
        "store": growth(last, [stretch.store_bytes for stretch in later]),
    }


def differences(stretches: Sequence[Stretch]) -> dict[str, float]:
    """Return what the last stretch has over the first."""
    first, last = stretches[0], stretches[-1]
    turns = last.last - first.last
    return {
        "first text, ours, ms": (last.first_text_s - first.first_text_s) * 1000,
        "first text, raw, ms": (last.raw_s - first.raw_s) * 1000,
        "kernel PSS, MB": last.kernel_pss_mb - first.kernel_pss_mb,
        "claude RSS, MB": last.claude_rss_mb - first.claude_rss_mb,
        "raw RSS, MB": last.raw_rss_mb - first.raw_rss_mb,
        "store, KB a turn": (last.store_bytes - first.store_bytes) / turns / 1000,
    }
