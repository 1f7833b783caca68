"""Where the time of a kernel's start goes: to its answer, and into its imports."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from typing import TYPE_CHECKING

from .frontend import open_frontend

if TYPE_CHECKING:
    from .arena import Arena
    from .numbers import Samples

IMPORTS = {
    "ours, before the spawn": "hotclaude_kernel.kernel.startup",
    "ours": "hotclaude_kernel.kernel.kernel",
    "ipykernel": "ipykernel.kernelapp",
}
LINE = re.compile(r"import time:\s+(?P<self>\d+) \|\s+(?P<total>\d+) \|(?P<depth> +)(?P<name>\S+)")
LISTED = 12


def startup(arena: Arena, samples: Samples, runs: int) -> None:
    """Time both kernels from `Popen` to the kernel_info reply, and their imports."""
    for _ in range(runs):
        for name, kernel_name in (("ours", "hotclaude"), ("ipykernel", "python3")):
            with open_frontend(arena, name, kernel_name) as front:
                samples.add(f"{name}: Popen to ready", front.ready() - front.manager.launched)
        for name, module in IMPORTS.items():
            samples.add(f"{name}: imports", sum(self_times(module).values()))


def self_times(module: str) -> dict[str, float]:
    """Return the seconds that each top-level package costs by itself where `module` is imported."""
    command = [sys.executable, "-X", "importtime", "-c", f"import {module}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    times: dict[str, float] = defaultdict(float)
    for match in LINE.finditer(done.stderr):
        times[match["name"].partition(".")[0]] += int(match["self"]) / 1e6
    return times


def heaviest(module: str) -> list[tuple[str, float]]:
    """Return the packages that cost most, summed over their modules."""
    times = self_times(module)
    return sorted(times.items(), key=lambda item: -item[1])[:LISTED]
