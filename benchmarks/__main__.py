"""The command: `python -m benchmarks [names...] [--runs N] [--turns N] [--json FILE]`."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import latency, lives, machine, memory, record, report, soak, startup, tree, volume
from .arena import open_arena
from .numbers import Samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from .arena import Arena

    Sampling = Callable[[Arena, Samples, int], None]

Against = dict[str, tuple[str, ...]]

AGAINST_RAW: Against = {"cold": ("raw",), "ours": ("raw",), "ours, patient client": ("raw",)}
AGAINST_IPYKERNEL: Against = {"ours": ("ipykernel",)}
REWOUND: Against = {
    "raw rewound": ("raw hot",),
    "ours rewound": ("ours hot", "raw rewound"),
    "ours hot": ("raw hot",),
}
SWITCHED: Against = {
    "ours, switched": ("raw resumed",),
    "ours, switched back": ("ours hot",),
    "ours, made ready": ("ours hot", "raw ready"),
}
NEW: Against = {"ours new": ("ours hot", "raw ready", "raw cold")}
SAMPLED: dict[str, tuple[Sampling, str, Against]] = {
    "start": (latency.start, "ms", AGAINST_RAW),
    "hot": (latency.hot, "ms", AGAINST_RAW),
    "interrupt": (latency.interrupt, "ms", AGAINST_RAW),
    "crash": (latency.crash, "ms", AGAINST_RAW),
    "rewind": (tree.rewind, "ms", REWOUND),
    "branch": (tree.branch, "ms", SWITCHED),
    "new": (tree.new, "ms", NEW),
    "wake": (lives.wake, "ms", AGAINST_RAW),
    "restart": (lives.restart, "ms", AGAINST_RAW),
    "replay": (record.replay, "ms", {"ours replayed": ("ours nothing",)}),
    "store": (record.store, "", {}),
    "memory": (memory.memory, "MB", AGAINST_IPYKERNEL),
    "startup": (startup.startup, "ms", AGAINST_IPYKERNEL),
}
USUAL = (*SAMPLED, "volume")
NAMES = (*USUAL, "soak")


def main() -> None:
    """Run what was asked for, print a table for each, and write all of it as JSON."""
    options = _options()
    with open_arena() as arena:
        found: dict[str, Any] = {"machine": machine.facts(arena.binary)}
        print(", ".join(f"{name} {value}" for name, value in found["machine"].items()))
        for name in options.names or USUAL:
            print(f"\n## {name}\n", flush=True)
            found[name] = _run(name, arena, options)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=latency.__doc__)
    listed = ", ".join(NAMES)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {listed}; all but soak")
    parser.add_argument("--runs", type=int, default=5, help="rounds of each (default: 5)")
    parser.add_argument("--turns", type=int, default=1000, help="of soak (default: 1000)")
    parser.add_argument(
        "--process-turns", type=int, help="turns after which soak's process is replaced"
    )
    parser.add_argument("--json", type=Path, help="a file for every sample")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return options


def _run(name: str, arena: Arena, options: argparse.Namespace) -> Any:
    if name == "volume":
        return _run_volume(arena)
    if name == "soak":
        return _run_soak(arena, options.turns, options.process_turns)
    measure, unit, against = SAMPLED[name]
    samples = Samples()
    measure(arena, samples, options.runs)
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


def _run_soak(arena: Arena, turns: int, process_turns: int | None) -> Any:
    stretches = soak.soak(arena, turns, process_turns)
    exponents, differences = soak.exponents(stretches), soak.differences(stretches)
    print(report.soak_table(stretches))
    rows = [(name, f"{value:.2f}") for name, value in exponents.items()]
    print(report.table(("growth with the turns before", "exponent"), rows))
    rows = [(name, f"{value:.1f}") for name, value in differences.items()]
    print(report.table(("the last turns over the first", "more"), rows))
    return {
        "stretches": [asdict(stretch) for stretch in stretches],
        "exponents": exponents,
        "differences": differences,
    }


if __name__ == "__main__":
    main()
