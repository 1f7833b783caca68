"""Reading and writing notebook files.

`load` reads a notebook as JSON. `runnable` makes nbformat's notebook of it, to be run.
`read_notebook` makes a `Notebook` of it: its code cells, and the turns that their outputs name.
`write` replaces a file atomically.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..claude import files
from ..errors import UsageError
from ..turns.identity import digest
from ..turns.turn import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ..claude.frames import Frame
    from ..page.parts import Data


KERNEL = "hotclaude"
# Folders of links to the streams of a process. Only the system can put a link there.
STREAMS = ("/dev", "/dev/fd", "/proc/self/fd")


def load(path: Path) -> dict[str, Any]:
    """Return a notebook's JSON. Raises `UsageError` if the file is no notebook of format 4."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not a notebook: {error}") from error
    if not (isinstance(content, dict) and isinstance(content.get("cells"), list)):
        raise _other_format(path)
    return content


def _other_format(path: Path) -> UsageError:
    return UsageError(
        f"{path} is not a notebook of format 4",
        hint="`jupyter nbconvert --to notebook` converts older ones.",
    )


def write(path: Path, text: str, *, follow: bool = False) -> None:
    """Write a file atomically: a reader finds the old text or the new one, and never a part.

    An existing file keeps its mode. A symbolic link is replaced by the file, since somebody else
    may have put it there; with `follow` it keeps pointing to its file, which is written. Raises
    `UsageError` if the file can't be written, and leaves it unchanged. (A pipe or a device is
    written directly.)
    """
    data = text.encode("utf-8")
    try:
        if _is_device(path):
            with path.open("wb") as device:
                device.write(data)
        else:
            files.replace(os.path.realpath(path) if follow else str(path), data)
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror}") from error


def _is_device(path: Path) -> bool:
    """Return whether a path is no file that could be replaced, as `/dev/stdout` is none."""
    if str(path.parent) in STREAMS:
        return path.exists()
    try:
        mode = path.lstat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


# --- a notebook to be run --------------------------------------------------------------------


def runnable(path: Path) -> Any:
    """Return a notebook as nbformat's. Raises `UsageError` if it is not one of this kernel."""
    content = load(path)
    if content.get("nbformat_minor", 0) >= 5:
        _name_cells(content["cells"])
    nb = import_module("nbformat").reads(json.dumps(content), as_version=4)
    spec = nb.metadata.get("kernelspec", {})
    if spec and spec.get("name") != KERNEL and spec.get("language") != "markdown":
        raise UsageError(
            f"{path} is a notebook of the kernel {spec.get('name')}",
            hint="Choose Hot Claude for it, in JupyterLab.",
        )
    return nb


def _name_cells(cells: Iterable[dict[str, Any]]) -> None:
    """Give an id to each cell without a unique one; nbformat would make a random one."""
    taken: set[str] = set()
    for number, cell in enumerate(cells):
        if cell.get("id", "") in {"", *taken}:
            cell["id"] = digest("cell.v1", [number, cell.get("source")])[:12]
        taken.add(cell["id"])


# --- a notebook and the turns of its answers ---------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeCell:
    """A code cell.

    `number` counts the code cells from 1. `outputs` are their MIME bundles. `about` is the
    metadata that names the turn of the answer; it is empty without one.
    """

    number: int
    source: str
    outputs: list[Data]
    about: Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Notebook:
    """A notebook file: its path, its JSON, and its code cells."""

    path: Path
    content: dict[str, Any]
    cells: list[CodeCell]

    @property
    def answered(self) -> list[CodeCell]:
        """The cells whose outputs name a turn."""
        return [cell for cell in self.cells if cell.about]

    @property
    def stamp(self) -> Frame:
        """The metadata that `hotclaude export --stamp` wrote, empty if there are none."""
        stamp = self.content.get("metadata", {}).get("hotclaude")
        return stamp if isinstance(stamp, dict) else {}


def read_notebook(path: Path) -> Notebook:
    """Return a notebook. Raises `UsageError` if the file is no notebook of format 4."""
    content = load(path)
    try:
        code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
        cells = [_cell(number, cell) for number, cell in enumerate(code, 1)]
    except UNREADABLE as error:
        raise _other_format(path) from error
    return Notebook(path=path, content=content, cells=cells)


def write_notebook(notebook: Notebook) -> None:
    """Write a notebook's JSON to the file it was read from, in nbformat's layout.

    If that is a symbolic link, it keeps pointing there. Raises `UsageError`.
    """
    text = json.dumps(notebook.content, indent=1, ensure_ascii=False) + "\n"
    write(notebook.path, text, follow=True)


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
    """Return a text; notebook files may hold it as a list of lines."""
    return "".join(text) if isinstance(text, list) else text
