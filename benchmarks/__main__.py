"""The command: `python -m benchmarks [names...] [--runs N] [--json FILE]`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import latency, machine, memory, report, startup, volume
from .arena import open_arena
from .numbers import Samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from .arena import Arena

    Sampling = Callable[[Arena, Samples, int], None]

AGAINST_RAW = {"cold": "raw", "ours": "raw", "ours, patient client": "raw"}
AGAINST_IPYKERNEL = {"ours": "ipykernel"}
SAMPLED: dict[str, tuple[Sampling, str, dict[str, str]]] = {
    "start": (latency.start, "ms", AGAINST_RAW),
    "hot": (latency.hot, "ms", AGAINST_RAW),
    "interrupt": (latency.interrupt, "ms", AGAINST_RAW),
    "crash": (latency.crash, "ms", AGAINST_RAW),
    "memory": (memory.memory, "MB", AGAINST_IPYKERNEL),
    "startup": (startup.startup, "ms", AGAINST_IPYKERNEL),
}
NAMES = (*SAMPLED, "volume")


def main() -> None:
    """Run what was asked for, print a table for each, and write all of it as JSON."""
    options = _options()
    with open_arena() as arena:
        found: dict[str, Any] = {"machine": machine.facts(arena.binary)}
        print(", ".join(f"{name} {value}" for name, value in found["machine"].items()))
        for name in options.names or NAMES:
            print(f"\n## {name}\n", flush=True)
            found[name] = _run(name, arena, options.runs)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=latency.__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(NAMES)}; all")
    parser.add_argument("--runs", type=int, default=5, help="rounds of each (default: 5)")
    parser.add_argument("--json", type=Path, help="a file for every sample")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return options


def _run(name: str, arena: Arena, runs: int) -> Any:
    if name == "volume":
        return _run_volume(arena)
    measure, unit, against = SAMPLED[name]
    samples = Samples()
    measure(arena, samples, runs)
    print(report.samples_table(samples, unit=unit, against=against))
    if name == "startup":
        _print_heaviest()
    return report.samples_json(samples)


def _print_heaviest() -> None:
    for name, module in startup.IMPORTS.items():
        listed = (f"{package} {s * 1000:.0f}" for package, s in startup.heaviest(module))
        print(f"{name} ({module}), ms by package: {', '.join(listed)}\n")


def _run_volume(arena: Arena) -> Any:
    volumes = volume.volumes(arena)
    exponents = volume.exponents(volumes)
    print(report.volume_table(volumes))
    rows = [(name, f"{value:.2f}") for name, value in exponents.items()]
    print(report.table(("growth with the answer's length", "exponent"), rows))
    return {"answers": report.volumes_json(volumes), "exponents": exponents}


if __name__ == "__main__":
    main()
