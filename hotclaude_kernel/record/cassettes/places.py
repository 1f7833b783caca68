"""The paths of a notebook's cassettes.

Apart from `cassette`, because most notebooks have none and that module takes 4 ms to import.
"""

from __future__ import annotations

from pathlib import Path

SUFFIX = ".hotclaude.jsonl"


def beside(notebook: Path) -> Path:
    """Return the path of a notebook's cassette."""
    return notebook.with_name(f"{notebook.stem}{SUFFIX}")


def found(notebook: str | None) -> list[Path]:
    """Return the existing cassettes of a notebook: the one beside it.

    If the notebook's path is unknown, return all in the working directory.
    """
    if notebook is None:
        return sorted(path for path in Path.cwd().glob(f"*{SUFFIX}") if path.is_file())
    path = beside(Path(notebook))
    return [path] if path.is_file() else []
