"""Where the cassettes of a notebook lie. Looked for at its first prompt, and mostly not there."""

from __future__ import annotations

from pathlib import Path

SUFFIX = ".hotclaude.jsonl"


def beside(notebook: Path) -> Path:
    """Return where the cassette of a notebook lies."""
    return notebook.with_name(f"{notebook.stem}{SUFFIX}")


def found(notebook: str | None) -> list[Path]:
    """Return the cassettes of a notebook: the one beside it, or all here if it is not known."""
    if notebook is None:
        return sorted(Path.cwd().glob(f"*{SUFFIX}"))
    path = beside(Path(notebook))
    return [path] if path.is_file() else []
