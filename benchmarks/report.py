"""What was measured, as Markdown for people and as JSON for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .numbers import Samples
    from .soak import Stretch
    from .volume import Volume

Row = tuple[str, ...]


def table(head: Row, rows: Iterable[Row]) -> str:
    """Return a Markdown table; all columns but the first are numbers."""
    ruler = ("---", *["---:"] * (len(head) - 1))
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ruler, *rows)) + "\n"


def samples_table(samples: Samples, *, unit: str, against: Mapping[str, Sequence[str]]) -> str:
    """Return medians and upper tenths; `against` names, by contender, whom it is compared to."""
    factor = 1000 if unit == "ms" else 1
    rows = []
    for label, values in samples.values.items():
        ratios = ", ".join(_ratios(samples, label, against))
        median, p90 = samples.median(label) * factor, samples.p90(label) * factor
        rows.append((label, f"{median:.1f}", f"{p90:.1f}", str(len(values)), ratios))
    return table(("", f"median {unit}", f"p90 {unit}", "n", "ratio"), rows)


def _ratios(samples: Samples, label: str, against: Mapping[str, Sequence[str]]) -> Iterator[str]:
    name, _, what = label.partition(": ")
    for other in against.get(name, ()):
        to = f"{other}: {what}"
        if len(samples.values.get(to, ())) == len(samples.values[label]):
            yield f"{samples.ratio(label, to):.2f} × {other}"  # noqa: RUF001


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


def soak_table(stretches: Sequence[Stretch]) -> str:
    """Return what each stretch of turns cost, and what everything weighed at its end."""
    head = (
        "turns", "processes", "replaced", "kernel RSS MB", "kernel PSS MB", "claude RSS MB",
        "raw RSS MB", "store KB", "kernel CPU ms/turn", "first text ms", "p90 ms", "raw ms",
        "ratio",
    )  # fmt: skip
    return table(head, map(_stretch_row, stretches))


def _stretch_row(stretch: Stretch) -> Row:
    return (
        f"{stretch.first}–{stretch.last}",  # noqa: RUF001
        str(stretch.processes),
        str(stretch.replaced),
        f"{stretch.kernel_rss_mb:.1f}",
        f"{stretch.kernel_pss_mb:.1f}",
        f"{stretch.claude_rss_mb:.0f}",
        f"{stretch.raw_rss_mb:.0f}",
        f"{stretch.store_bytes / 1000:.0f}",
        f"{stretch.cpu_s * 1000:.1f}",
        f"{stretch.first_text_s * 1000:.1f}",
        f"{stretch.p90_s * 1000:.1f}",
        f"{stretch.raw_s * 1000:.1f}",
        f"{stretch.ratio:.2f}",
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
