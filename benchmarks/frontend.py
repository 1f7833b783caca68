"""The contender with a kernel: the tests' front end, in a home of the arena's."""

from __future__ import annotations

import json
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.frontend import Cell, Notebook, end_kernel, is_idle, shows, start_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .arena import Arena

__all__ = [
    "DEADLINE_S",
    "Cell",
    "File",
    "Frontend",
    "is_idle",
    "new_notebook",
    "open_frontend",
    "shows",
]

DEADLINE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A notebook on disk, and the ids of its cells, which no other notebook has."""

    path: Path
    cells: tuple[str, ...]

    @property
    def env(self) -> dict[str, str]:
        """What tells a kernel, in its environment, which notebook it serves."""
        return {"JPY_SESSION_NAME": str(self.path)}


def new_notebook(arena: Arena, cells: int) -> File:
    """Write a notebook of so many cells."""
    name = uuid.uuid4().hex
    ids = tuple(f"{name}-{number}" for number in range(1, cells + 1))
    path = arena.folder / f"{name}.ipynb"
    path.write_text(json.dumps({"cells": [{"id": cell_id} for cell_id in ids]}))
    return File(path=path, cells=ids)


class Frontend(Notebook):
    """A page whose kernel may not be ready yet. `began` is when its start was asked for."""

    deadline_s = DEADLINE_S

    def __init__(
        self,
        arena: Arena,
        name: str,
        kernel_name: str,
        *arguments: str,
        notebook: File | None = None,
    ) -> None:
        env = arena.env(name) | (notebook.env if notebook else {})
        self.began = time.monotonic()
        super().__init__(start_kernel(env, *arguments, name=kernel_name), wait=False)

    @staticmethod
    def now() -> float:
        """Return the clock that messages are stamped with."""
        return time.monotonic()

    def ready(self) -> float:
        """Wait for the kernel's info and for iopub, as a front end does; return when."""
        return self.wait_until_ready()

    def ask(self, code: str, cell_id: str | None = None) -> str:
        """Send a cell; return the id of the request."""
        return self.send(code, cell_id=cell_id)

    def told(self, code: str, cell_id: str | None = None) -> Cell:
        """Run a cell to its end; it must not fail."""
        cell = self.run(code, cell_id=cell_id)
        assert cell.status == "ok", cell.reply["content"]
        return cell

    def close(self) -> None:
        """Shut the kernel down as a front end does."""
        super().close()
        end_kernel(self.manager)


@contextmanager
def open_frontend(
    arena: Arena,
    name: str,
    kernel_name: str = "hotclaude",
    *arguments: str,
    notebook: File | None = None,
) -> Iterator[Frontend]:
    """Run a kernel with a client; it is shut down at the end, whatever happens."""
    frontend = Frontend(arena, name, kernel_name, *arguments, notebook=notebook)
    try:
        yield frontend
    finally:
        frontend.close()
