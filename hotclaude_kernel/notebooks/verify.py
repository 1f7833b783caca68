"""Verifying a notebook against the recorded turns of its answers.

Keys and node ids are derived again from the turns' content. The outputs of a cell are compared
with those that its recording makes when a page replays it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import StoreError
from ..page.notebook import NotebookPage
from ..record.answers import Scope, candidates
from ..record.cassettes import cassette
from ..record.database import MEMORY
from ..record.store import Store
from ..turns.identity import settings_digest
from ..turns.tape import events
from ..turns.turn import UNREADABLE, as_recorded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..claude.frames import Frame
    from ..page.parts import Data
    from ..turns.turn import Recorded
    from .file import CodeCell, Notebook


# --- where turns are looked up ---------------------------------------------------------------


@dataclass(slots=True)
class Sources:
    """The record and the cassettes of a notebook: `taped` has the cassettes' turns by node id.

    `scope` is where the notebook's answers may come from in the record.
    """

    store: Store
    taped: dict[str, Recorded] = field(default_factory=dict)
    scope: Scope = field(default_factory=lambda: Scope(notebook=0))

    def turn(self, node: str) -> Recorded | None:
        """Return the turn of a node id, from the record if it is there, else from a cassette."""
        known = self.store.node(node)
        return self.taped.get(node) if known is None else self.store.turn(node)

    def replayed(self, key: str) -> str | None:
        """Return the id of the node that replays for a key, `None` if the key is not recorded."""
        if found := candidates(self.store, key, self.scope):
            return found[0].node
        taped = (turn.node for turn in self.taped.values() if turn.replays)
        return next((n.id for n in taped if n.key == key and n.status == "ok"), None)


def existing(file: str) -> Store:
    """Return the record in a file, or an empty one in memory if the file doesn't exist."""
    return Store(file if Path(file).exists() else MEMORY)


# --- verifying -------------------------------------------------------------------------------


def notebook_faults(notebook: Notebook, sources: Sources) -> Iterator[str]:
    """Yield each difference of a notebook from its recorded turns and from its stamped cassette."""
    yield from _stamp_faults(notebook)
    for cell in notebook.answered:
        try:
            yield from (f"cell {cell.number}: {fault}" for fault in _cell_faults(cell, sources))
        except UNREADABLE as error:
            yield f"cell {cell.number}: it can't be verified ({type(error).__name__}: {error})"


def _stamp_faults(notebook: Notebook) -> Iterator[str]:
    named = notebook.stamp.get("cassette")
    if not isinstance(named, dict):
        return
    path = notebook.path.parent / str(named.get("path"))
    try:
        if cassette.digest(cassette.text_of(path)) != named.get("digest"):
            yield f"{path.name} is another one than the notebook names"
    except StoreError as error:
        yield error.message


def _cell_faults(cell: CodeCell, sources: Sources) -> Iterator[str]:
    node = str(cell.about.get("node"))
    turn = sources.turn(node)
    if turn is None:
        yield f"its turn {node[:12]} is not recorded"
        return
    if fault := turn.fault():
        yield fault
    if cell.about != turn.about(settings_digest(turn.settings)):
        yield "its metadata are not those of its turn"
    # A notebook is saved with what was live, or with what a cassette was shown as.
    ways = (shown(turn.frames, elsewhere=elsewhere) for elsewhere in (False, True))
    if not any(_shows(cell, way) for way in ways):
        yield "its outputs are not what its recording is shown as"


def _shows(cell: CodeCell, outputs: list[Data]) -> bool:
    """Return whether the outputs of a cell's answer are these."""
    expected = [data for data in outputs if "text/markdown" in data]
    there = [data for data in cell.outputs if "text/markdown" in data]
    kinds = ("text/markdown", "text/html")
    # The outputs above the answer come from the cell's `%` lines.
    answer = there[len(there) - len(expected) :] if expected else []
    return [[d.get(k) for k in kinds] for d in answer] == [
        [d.get(k) for k in kinds] for d in expected
    ]


class _Outputs:
    """Keeps the outputs that a notebook would save, by their display id."""

    def __init__(self) -> None:
        self.held: dict[str, Data] = {}

    def show(
        self, data: Data, display_id: str, *, update: bool = False, about: Frame | None = None
    ) -> None:
        self.held[display_id] = data

    def stream(self, text: str, name: str = "stdout") -> None:
        pass

    def result(self, text: str) -> None:
        pass

    def clear(self) -> None:
        self.held.clear()


def shown(frames: bytes, *, elsewhere: bool = False) -> list[Data]:
    """Return the outputs, as MIME bundles, that a page makes of a turn's recorded frames.

    `elsewhere` is as in `Recorded`.
    """

    async def play() -> list[Data]:
        outputs = _Outputs()
        page = NotebookPage(outputs)
        for event in events(frames):
            page.take(as_recorded(event) if elsewhere else event)
        page.close()
        return list(outputs.held.values())

    return asyncio.run(play())


def taped(texts: Iterable[str]) -> dict[str, Recorded]:
    """Return the turns of cassettes by node id. Raises `StoreError` for a damaged cassette."""
    return {turn.node.id: turn for text in texts for turn in cassette.read(text)}
