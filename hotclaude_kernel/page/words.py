"""Words, counts and tables for what the kernel itself says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable


def listed(names: Iterable[str]) -> str:
    """Return names in a row."""
    return ", ".join(names)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table of plain text."""
    head = list(head)
    lines = [head, [":--"] * len(head), *([_cell(text) for text in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def code(text: str) -> str:
    """Return text that somebody else wrote as a code span: nothing in it is Markdown."""
    return f"`{visible(text).replace('`', chr(39))}`" if text.strip() else ""


def counted(number: int, what: str, plural: str = "") -> str:
    """Return a number of things in words."""
    return f"{number:,} {what if number == 1 else plural or f'{what}s'}"


def _cell(text: str) -> str:
    if not text.startswith("`"):  # in code a backslash stands for itself
        text = text.replace("\\", "\\\\")
    return text.replace("|", "\\|").replace("\n", " ")
