"""Samples to numbers: medians, upper tenths, growth."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(slots=True)
class Samples:
    """What was measured under each label, in the order it was first seen."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, label: str, value: float) -> None:
        """Note one measurement."""
        self.values.setdefault(label, []).append(value)

    def add_all(self, prefix: str, values: Mapping[str, float]) -> None:
        """Note measurements of one contender, each under its own label."""
        for name, value in values.items():
            self.add(f"{prefix}: {name}", value)

    def median(self, label: str) -> float:
        """Return the middle one."""
        return statistics.median(self.values[label])

    def p90(self, label: str) -> float:
        """Return the value that nine of ten do not exceed."""
        ordered = sorted(self.values[label])
        return ordered[math.ceil(0.9 * len(ordered)) - 1]

    def ratio(self, label: str, to: str) -> float:
        """Return the median of the ratios within each round: drift hits both sides alike."""
        pairs = zip(self.values[label], self.values[to], strict=True)
        return statistics.median(one / other for one, other in pairs)


def growth(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Return the exponent of a power law fitted to costs over sizes; 1 is linear."""
    slope, _ = statistics.linear_regression([*map(math.log, sizes)], [*map(math.log, costs)])
    return slope
