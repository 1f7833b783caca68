"""What a kernel weighs, against ipykernel's own: after its start, and after some turns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import machine
from .frontend import Cell, Frontend, open_frontend

if TYPE_CHECKING:
    from .arena import Arena
    from .numbers import Samples

TURNS = 20


def memory(arena: Arena, samples: Samples, runs: int) -> None:
    """Weigh both kernels at the same moments of their lives."""
    for _ in range(runs):
        with (
            open_frontend(arena, "ours") as ours,
            open_frontend(arena, "ipykernel", "python3") as plain,
        ):
            ours.ready()
            plain.ready()
            _run(ours, "say hello")  # the process is up, so the kernel is
            _weigh(samples, "ours", ours, "at start")
            _weigh(samples, "ipykernel", plain, "at start")
            for turn in range(TURNS):
                _run(ours, f"say word{turn}")
                _run(plain, f"print({turn})")
            _weigh(samples, "ours", ours, f"after {TURNS} turns")
            _weigh(samples, "ipykernel", plain, f"after {TURNS} turns")
            claude = machine.memory_mb(machine.child(ours.pid, "claude"))
            samples.add("claude: PSS", claude["pss"])


def _run(front: Frontend, code: str) -> None:
    front.finish(front.ask(code), Cell())


def _weigh(samples: Samples, name: str, front: Frontend, when: str) -> None:
    found = machine.memory_mb(front.pid)
    samples.add_all(name, {f"{kind.upper()} {when}": mb for kind, mb in found.items()})
