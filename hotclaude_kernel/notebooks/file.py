"""Notebook files as they are: the one reader."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..turns.identity import digest
from ..turns.turn import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ..claude.frames import Frame
    from ..page.parts import Data


KERNEL = "hotclaude"


def read(path: Path) -> Any:
    """Return a notebook of this kernel. Raises `UsageError`."""
    nbformat = import_module("nbformat")
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path} is not a notebook: {error}") from error
    if not (isinstance(raw, dict) and isinstance(raw.get("cells"), list)):
        raise UsageError(
            f"{path} is not a notebook of format 4",
            hint="`jupyter nbconvert --to notebook` converts older ones.",
        )
    if raw.get("nbformat_minor", 0) >= 5:
        _name_cells(raw["cells"])
    nb = nbformat.reads(json.dumps(raw), as_version=4)
    spec = nb.metadata.get("kernelspec", {})
    if spec and spec.get("name") != KERNEL and spec.get("language") != "markdown":
        raise UsageError(
            f"{path} is a notebook of the kernel {spec.get('name')}",
            hint="Choose Hot Claude for it, in JupyterLab.",
        )
    return nb


def _name_cells(cells: Iterable[dict[str, Any]]) -> None:
    """Give an id to each cell that has none of its own; nbformat would draw one."""
    taken: set[str] = set()
    for number, cell in enumerate(cells):
        if cell.get("id", "") in {"", *taken}:
            cell["id"] = digest("cell.v1", [number, cell.get("source")])[:12]
        taken.add(cell["id"])


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeCell:
    """A cell that is run: `number` counts these, from 1. `about` names the turn of its answer."""

    number: int
    source: str
    outputs: list[Data]
    about: Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Notebook:
    """A notebook file as it is."""

    path: Path
    content: dict[str, Any]
    cells: list[CodeCell]

    @property
    def answered(self) -> list[CodeCell]:
        """The cells whose outputs name a turn."""
        return [cell for cell in self.cells if cell.about]

    @property
    def stamp(self) -> Frame:
        """What `hotclaude export --stamp` wrote, nothing where it has not."""
        stamp = self.content.get("metadata", {}).get("hotclaude")
        return stamp if isinstance(stamp, dict) else {}


def read_notebook(path: Path) -> Notebook:
    """Return a notebook. Raises `UsageError` where there is none, or it is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
        cells = [_cell(number, cell) for number, cell in enumerate(code, 1)]
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from error
    except UNREADABLE as error:
        raise UsageError(f"{path} is no notebook of format 4") from error
    return Notebook(path=path, content=content, cells=cells)


def _cell(number: int, cell: Frame) -> CodeCell:
    shown = [output for output in cell["outputs"] if "data" in output]
    named = [output.get("metadata", {}).get("hotclaude") for output in shown]
    return CodeCell(
        number=number,
        source=_joined(cell["source"]),
        outputs=[{n: _joined(text) for n, text in o["data"].items()} for o in shown],
        about=next((found for found in reversed(named) if isinstance(found, dict)), {}),
    )


def _joined(text: Any) -> Any:
    """Return a text that a file may hold as a list of lines."""
    return "".join(text) if isinstance(text, list) else text
