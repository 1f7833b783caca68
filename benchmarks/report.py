"""What was measured, as Markdown for people and as JSON for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .numbers import Samples
    from .volume import Volume

Row = tuple[str, ...]


def table(head: Row, rows: Iterable[Row]) -> str:
    """Return a Markdown table; all columns but the first are numbers."""
    ruler = ("---", *["---:"] * (len(head) - 1))
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ruler, *rows)) + "\n"


def samples_table(samples: Samples, *, unit: str, against: Mapping[str, str]) -> str:
    """Return medians and upper tenths; `against` names, by contender, whom it is compared to."""
    factor = 1000 if unit == "ms" else 1
    rows = []
    for label, values in samples.values.items():
        name, _, what = label.partition(": ")
        other = f"{against.get(name, '')}: {what}"
        ratio = f"{samples.ratio(label, other):.2f}" if _pairs(samples, label, other) else ""
        median, p90 = samples.median(label) * factor, samples.p90(label) * factor
        rows.append((label, f"{median:.1f}", f"{p90:.1f}", str(len(values)), ratio))
    return table(("", f"median {unit}", f"p90 {unit}", "n", "ratio"), rows)


def _pairs(samples: Samples, label: str, other: str) -> bool:
    return len(samples.values.get(other, ())) == len(samples.values[label])


def volume_table(volumes: Sequence[Volume]) -> str:
    """Return what each answer cost."""
    head = ("answer", "messages", "KB", "outputs", "kernel CPU s", "s", "raw s")
    return table(head, map(_volume_row, volumes))


def _volume_row(volume: Volume) -> Row:
    return (
        volume.answer,
        str(volume.messages),
        f"{volume.size_bytes / 1000:.0f}",
        str(volume.outputs),
        f"{volume.cpu_s:.2f}",
        f"{volume.seconds:.2f}",
        f"{volume.raw_seconds:.2f}" if volume.raw_seconds else "",
    )


def samples_json(samples: Samples) -> dict[str, Any]:
    """Return every sample with its median."""
    return {
        label: {"median": samples.median(label), "p90": samples.p90(label), "samples": values}
        for label, values in samples.values.items()
    }


def volumes_json(volumes: Sequence[Volume]) -> list[dict[str, Any]]:
    """Return every answer's cost."""
    return [asdict(volume) for volume in volumes]
