"""What long answers cost: messages, bytes, outputs, processor time, and how they grow."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import machine
from .frontend import Cell, Frontend, open_frontend
from .latency import open_pipe
from .numbers import growth
from .pipe import is_idle

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .arena import Arena

PACED = ("write 500 words", "write 1000 words", "write 2000 words")
AT_ONCE = ("write 100000 characters", "write 500000 characters")


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """What one answer cost."""

    answer: str
    characters: int
    messages: int
    size_bytes: int
    outputs: int
    cpu_s: float
    seconds: float
    raw_seconds: float


def volumes(arena: Arena) -> list[Volume]:
    """Ask for answers of growing length, paced and at once, in one conversation each."""
    with open_frontend(arena, "ours") as front:
        front.ready()
        _count(arena, front, "say hello")
        return [_count(arena, front, prompt) for prompt in (*PACED, *AT_ONCE)]


def exponents(measured: Iterable[Volume]) -> dict[str, float]:
    """Return how messages, bytes and processor time grow with the characters of the answer."""
    measured = list(measured)
    groups = {"paced": measured[: len(PACED)], "at once": measured[len(PACED) :]}
    return {
        f"{name}, {what}": growth(
            [volume.characters for volume in group],
            [max(getattr(volume, what), 0.01) for volume in group],
        )
        for name, group in groups.items()
        for what in ("messages", "size_bytes", "cpu_s")
    }


def _count(arena: Arena, front: Frontend, prompt: str) -> Volume:
    cell, cpu, began = Cell(), machine.cpu_s(front.pid), time.monotonic()
    front.finish(front.ask(prompt), cell)
    seconds = time.monotonic() - began
    return Volume(
        answer=prompt.removeprefix("write "),
        characters=_characters(cell),
        messages=len(cell.messages),
        size_bytes=cell.size_bytes,
        outputs=len(cell.saved),
        cpu_s=machine.cpu_s(front.pid) - cpu,
        seconds=seconds,
        raw_seconds=_raw_seconds(arena, prompt) if prompt in AT_ONCE else 0.0,
    )


def _characters(cell: Cell) -> int:
    """Return the length of the answer's source, as the notebook would save it."""
    sources: dict[str, str] = {}
    for message in cell.messages:
        display_id = (message.content.get("transient") or {}).get("display_id")
        if display_id:
            sources[display_id] = message.content["data"].get("text/markdown", "")
    return sum(map(len, sources.values()))


def _raw_seconds(arena: Arena, prompt: str) -> float:
    """Return how long the bare pipe takes for the same answer, the process being hot."""
    with open_pipe(arena) as pipe:
        pipe.ask("say hello")
        pipe.wait(is_idle)
        sent = pipe.ask(prompt)
        return pipe.wait(is_idle) - sent
