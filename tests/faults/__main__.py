"""The command: `python -m tests.faults [--seeds N] [--first SEED] [--kinds ...] [--story]`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from .ledger import INVARIANTS
from .trials import KINDS, Trial, run

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .trials import Verdict


def main() -> int:
    """Run trials and print their table; return 1 if an invariant broke."""
    options = _options()
    verdicts: list[Verdict] = []
    for kind in options.kinds:
        for seed in range(options.first, options.first + options.seeds):
            verdict = run(Trial(kind=kind, seed=seed))
            verdicts.append(verdict)
            if verdict.broken or options.story:
                print(_telling(verdict, story=options.story), file=sys.stderr, flush=True)
    print(table(verdicts))
    failed = [verdict for verdict in verdicts if verdict.broken]
    for kind in options.kinds:
        if seeds := [str(v.trial.seed) for v in failed if v.trial.kind == kind]:
            print(f"\n{kind} failed with the seeds {', '.join(seeds)}")
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seeds", type=int, default=50, help="trials of each kind (default: 50)")
    parser.add_argument("--first", type=int, default=1, help="the first seed (default: 1)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND")
    parser.add_argument("--story", action="store_true", help="tell what happened in each trial")
    return parser.parse_args()


def _telling(verdict: Verdict, *, story: bool) -> str:
    head = f"{verdict.trial.kind} {verdict.trial.seed}: {verdict.total_s:.1f} s"
    broken = [f"{name}: {why}" for name, why in verdict.broken.items()]
    return "\n  ".join([head, *(verdict.story if story else broken)])


def table(verdicts: Sequence[Verdict]) -> str:
    """Return trials by kind and what broke in them, as Markdown."""
    kinds = dict.fromkeys(verdict.trial.kind for verdict in verdicts)
    groups = {kind: [v for v in verdicts if v.trial.kind == kind] for kind in kinds}
    rows = [_row(kind.replace("_", " "), group) for kind, group in groups.items()]
    head = ("fault", "trials", *INVARIANTS, "s a trial")
    rule = ("---", *["--:"] * (len(head) - 1))
    return "\n".join(map(_line, [head, rule, *rows, _row("all", verdicts)]))


def _row(name: str, verdicts: Sequence[Verdict]) -> list[str]:
    counts = [sum(invariant in v.broken for v in verdicts) for invariant in INVARIANTS]
    mean_s = sum(verdict.total_s for verdict in verdicts) / max(1, len(verdicts))
    return [name, *map(str, (len(verdicts), *counts)), f"{mean_s:.1f}"]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
