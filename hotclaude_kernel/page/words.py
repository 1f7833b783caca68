"""Lists, counts, tables and sources of turns, for the kernel's own messages."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from .text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable


def listed(names: Iterable[str]) -> str:
    """Return names joined by commas."""
    return ", ".join(names)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table of plain text."""
    head = list(head)
    lines = [head, [":--"] * len(head), *([_cell(text) for text in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def code(text: str) -> str:
    """Return text from outside as a Markdown code span, "" if it is blank."""
    return f"`{visible(text).replace('`', chr(39))}`" if text.strip() else ""


def counted(number: int, what: str, plural: str = "") -> str:
    """Return a number and its noun, like `1 turn` or `1,200 turns`."""
    return f"{number:,} {what if number == 1 else plural or f'{what}s'}"


def sourced(source: str) -> str:
    """Return in words where a turn is replayed from; `source` is as in `Turn`."""
    kind, _, name = source.partition(" ")
    name = visible(name)
    match kind:
        case "cassette":
            return f"the cassette {name}"
        case "outputs":
            return "the notebook's saved outputs"
        case "folder":
            return f"the notebook {name} of this folder" if name else "another notebook here"
    return "the record"


def told(sources: Iterable[str]) -> str:
    """Return how many turns were replayed, from where, and how many were asked."""
    found = Counter(sources)
    asked = found.pop("", 0)
    kinds = [f"{number:,} replayed from {sourced(source)}" for source, number in found.items()]
    return listed([*kinds, f"{asked:,} asked"] if asked else kinds)


def uncompared(paths: Iterable[str]) -> str:
    """Return in words which files of replayed prompts are not here to be compared, or nothing."""
    names = [visible(path) for path in dict.fromkeys(paths)]
    return f"not compared, since not here: {listed(names)}" if names else ""


def _cell(text: str) -> str:
    if not text.startswith("`"):  # a code span shows a backslash as it is
        text = text.replace("\\", "\\\\")
    return text.replace("|", "\\|").replace("\n", " ")
