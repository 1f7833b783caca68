"""The scope of a notebook: where its answers may come from.

It is the notebook's own record, the cassettes beside it, and the turns that its saved outputs show.
If its path is unknown, it may be any notebook of the working directory: then all of these count.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct, field

from ..errors import StoreError, StoreUnavailable
from .answers import Scope, in_folder
from .cassettes import places
from .resume import named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .store import Store

MOST_FILES = 100  # how many notebooks of a folder are read for the turns that they show


def working_folder() -> str | None:
    """Return the real working directory, `None` if there is none that the user can write to.

    A gateway may run kernels of many people in `/`: they must not share answers.
    """
    try:
        folder = Path.cwd().resolve()
    except OSError:
        return None
    shared = folder == folder.parent or not os.access(folder, os.W_OK)
    return None if shared else named(str(folder))


def widened(
    store: Store, notebook: int, path: str | None, warn: Callable[[str], None]
) -> tuple[Scope, bool]:
    """Return the whole scope of a notebook at a path, `None` if that is unknown.

    Cassettes that are not in the record yet are loaded. `warn` is told of those that can't be. Also
    return whether the scope is final: a cassette that can't be loaded now may be loaded later.
    """
    folder = working_folder() if path is None else None
    if path is None and folder is None:
        return Scope(notebook=notebook), True
    neighbours = in_folder(store, folder) if folder else {}
    cassettes, final = _cassettes(store, places.found(path), warn)
    scope = Scope(
        notebook=notebook,
        cassettes=cassettes,
        folder={row: name for row, name in neighbours.items() if row != notebook},
        shown=saved_nodes([path] if path else _notebooks(folder)),
    )
    return scope, final


def _cassettes(
    store: Store, paths: list[Path], warn: Callable[[str], None]
) -> tuple[dict[int, str], bool]:
    found: dict[int, str] = {}
    final = True
    for path in paths:
        from .cassettes import archive, cassette  # 4 ms, and most notebooks have no cassette

        try:
            text = cassette.text_of(path)
            cassette.load(store, text)
            row = archive.cassette_at(store, cassette.digest(text))
        except StoreError as error:
            final &= not isinstance(error, StoreUnavailable)
            hint = f". {error.hint}" if error.hint else ""
            warn(f"{path.name} was not loaded: {error.message}{hint}")
            continue
        if row is not None:
            found[row] = path.name
    return found, final


# --- the turns that a notebook file shows ----------------------------------------------------


class _Output(Struct):
    metadata: dict[str, Any] = field(default_factory=dict)


class _Cell(Struct):
    outputs: list[_Output] = field(default_factory=list)


class _File(Struct):
    """As much of a notebook file as names its turns. The rest is skipped, so this is quick."""

    cells: list[_Cell] = field(default_factory=list)


def _notebooks(folder: str | None) -> list[str]:
    """Return the notebook files of a folder, at most `MOST_FILES`, the latest written first."""
    files = []
    for path in Path(folder or "").glob("*.ipynb"):
        with suppress(OSError):  # it may be deleted meanwhile
            if path.is_file():
                files.append((path.stat().st_mtime_ns, str(path)))
    return [path for _, path in sorted(files, reverse=True)[:MOST_FILES]]


def saved_nodes(paths: Iterable[str]) -> frozenset[str]:
    """Return the nodes of the turns in notebooks' saved outputs; none of one that can't be read."""
    return frozenset(node for path in paths for node in _nodes(path))


def _nodes(path: str) -> Iterator[str]:
    try:
        saved = msgspec.json.decode(Path(path).read_bytes(), type=_File)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return
    for output in (output for cell in saved.cells for output in cell.outputs):
        about = output.metadata.get("hotclaude")
        if isinstance(about, dict) and isinstance(about.get("node"), str):
            yield about["node"]
