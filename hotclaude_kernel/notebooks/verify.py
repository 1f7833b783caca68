"""Whether what is recorded, and what a notebook shows, is what it says it is.

Keys and nodes are derived anew from the content of turns; an answer is compared with what its
recording is shown as, by the code that shows it live.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import decompress
from zlib import error as zlib_error

from ..cells import lines, parameters
from ..cells.attachments import collect
from ..errors import HotClaudeError, StoreError, UsageError
from ..page.notebook import NotebookPage
from ..record import archive, cassette
from ..record.archive import UNREADABLE
from ..record.database import MEMORY
from ..record.notebook import about
from ..record.store import Store
from ..turns.tape import events
from ..turns.tree import Node
from ..turns.turn import Prompt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..claude.frames import Frame
    from ..page.parts import Data
    from ..record.archive import Recorded

STALE = "Run the cells from here on once more, or all of them."
# The lines after which a cell need not follow the one above it.
MOVING = frozenset({"goto", "checkout"})


# --- a notebook ------------------------------------------------------------------------------


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


# --- where turns are looked up ---------------------------------------------------------------


@dataclass(slots=True)
class Sources:
    """The record and the cassette of a notebook; what is in either is recorded."""

    store: Store
    taped: dict[str, Recorded] = field(default_factory=dict)

    def turn(self, node: str) -> Recorded | None:
        """Return a turn by its node, `None` where it is nowhere recorded."""
        at = self.store.turn_of(node)
        return self.taped.get(node) if at is None else archive.turn_at(self.store, at)

    def replayed(self, key: str) -> str | None:
        """Return the node that replays for a key."""
        at = self.store.find(key)
        if at is not None:
            return archive.turn_at(self.store, at).node
        taped = (turn for turn in self.taped.values() if turn.key == key and turn.replays)
        return next((turn.node for turn in taped if turn.status == "ok"), None)


def existing(file: str) -> Store:
    """Return the record in a file; an empty one in memory where there is no file."""
    return Store(file if Path(file).exists() else MEMORY)


# --- verifying -------------------------------------------------------------------------------


def store_faults(store: Store) -> Iterator[str]:
    """Yield what is wrong in a record: in the file, in its blobs, in what names its turns."""
    with store.read() as db:
        for (said,) in db.execute("pragma integrity_check").fetchall():
            if said != "ok":
                yield f"the file: {said}"
        for table, *_ in db.execute("pragma foreign_key_check").fetchall():
            yield f"the table {table}: a row names another one that is not there"
        digests = [name for (name,) in db.execute("select digest from blob")]
    for name in digests:
        if fault := _blob_fault(store, name):
            yield f"blob {name[:12]}: {fault}"
    for at in archive.all_turns(store):
        yield from _turn_faults(store, at)


def _blob_fault(store: Store, name: str) -> str:
    with store.read() as db:
        (data,) = db.execute("select data from blob where digest = ?", (name,)).fetchone()
    try:
        content = decompress(data)
    except zlib_error as error:
        return f"it can't be read ({error})"
    return "" if blake2b(content, digest_size=16).hexdigest() == name else "it is another one"


def _turn_faults(store: Store, at: int) -> Iterator[str]:
    try:
        turn = archive.turn_at(store, at)
    except (StoreError, zlib_error, *UNREADABLE) as error:
        yield f"turn {at}: it can't be read ({error})"
        return
    if fault := turn.fault():
        config = turn.settings.mcp_config
        changed = " (or its MCP configuration has changed since)" if config else ""
        yield f"turn {turn.number} ({turn.node[:12]}): {fault}{changed}"


def notebook_faults(notebook: Notebook, sources: Sources) -> Iterator[str]:
    """Yield in what a notebook differs from its recordings, and in what its cassette does."""
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
    if cell.about != _about(turn):
        yield "its metadata are not those of its turn"
    expected = [data for data in shown(turn.frames) if "text/markdown" in data]
    there = [data for data in cell.outputs if "text/markdown" in data]
    kinds = ("text/markdown", "text/html")
    # What stands above the answer is what the cell's own lines have said.
    answer = there[len(there) - len(expected) :] if expected else []
    if [[d.get(k) for k in kinds] for d in answer] != [[d.get(k) for k in kinds] for d in expected]:
        yield "its outputs are not what its recording is shown as"


def _about(turn: Recorded) -> Frame:
    blank = Node(id=0, parent=None, number=0, prompt="", status="", digest=turn.parent or "")
    node = Node(
        id=1,
        parent=None,
        number=turn.number,
        prompt="",
        status=turn.status,
        key=turn.key,
        digest=turn.node,
        usage=turn.usage,
    )
    before = blank if turn.parent is not None else None
    return about(node, before, turn.settings, model=turn.model, cli=turn.cli)


class _Outputs:
    """What a notebook would hold of a page."""

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


def shown(frames: bytes) -> list[Data]:
    """Return the outputs that a recording is shown as."""

    async def play() -> list[Data]:
        outputs = _Outputs()
        page = NotebookPage(outputs)
        for event in events(frames):
            page.take(event)
        page.close()
        return list(outputs.held.values())

    return asyncio.run(play())


# --- whether it would come out the same ------------------------------------------------------


def unreproduced(notebook: Notebook, sources: Sources) -> Iterator[str]:
    """Yield why running all cells from the top would not reproduce the notebook."""
    walk = _Walk(notebook, sources)
    for cell in notebook.cells:
        try:
            said = list(walk.step(cell))
        except HotClaudeError as error:
            said = [error.message]
        yield from (f"cell {cell.number}: {why}" for why in said)


class _Walk:
    """Goes through the cells in their order, as a run of all of them would."""

    def __init__(self, notebook: Notebook, sources: Sources) -> None:
        self._folder = notebook.path.resolve().parent
        self._sources = sources
        self._values: dict[str, Any] = {}
        self._last: str | None = None  # the node that the next cell is expected to follow
        self._seen: set[str | None] = {None}
        self._moved = False

    def step(self, cell: CodeCell) -> Iterator[str]:
        """Yield what is wrong with a cell."""
        written, text = lines.split(cell.source)
        said = {line.name.replace("_", "-"): line.argument for line in written if not line.ask}
        self._values |= parameters.declared(cell.source)
        if "new" in said:
            self._last, self._moved = None, False
        self._moved |= bool(said.keys() & MOVING)
        if said.get("cwd"):
            self._folder = self._folder / Path(said["cwd"]).expanduser()
        if "compact" in said:
            yield from self._turn(cell, Prompt(text=f"/compact {said['compact']}".strip()))
        elif text.strip():
            text = parameters.render(text, self._values)
            named = [line.argument for line in written if line.name == "attach"]
            prompt, images = collect(text, self._folder, named)
            yield from self._turn(cell, Prompt(text=prompt, attachments=images))

    def _turn(self, cell: CodeCell, prompt: Prompt) -> Iterator[str]:
        if not cell.about:
            yield "it has no answer that is recorded"
            return
        node = str(cell.about.get("node"))
        turn = self._sources.turn(node)
        if turn is None:
            yield f"its turn {node[:12]} is not recorded"
        else:
            yield from self._differing(turn, prompt)
            if turn.parent not in (self._seen if self._moved else {self._last}):
                yield f"it does not follow the cell above. {STALE}"
        self._last, self._moved = node, False
        self._seen.add(node)

    def _differing(self, turn: Recorded, prompt: Prompt) -> Iterator[str]:
        if _plain(turn.prompt) != _plain(prompt.text):
            yield "it was edited since it was answered"
        if [i.data for i in turn.attachments] != [i.data for i in prompt.attachments]:
            yield "its images are others than when it was answered"
        if self._sources.replayed(turn.key) != turn.node:
            yield "another answer replays than the one that it shows"


def _plain(prompt: str) -> str:
    return prompt.replace("\r\n", "\n").removesuffix("\n")


def taped(texts: Iterable[str]) -> dict[str, Recorded]:
    """Return the turns of cassettes by their nodes. Raises what reading one raises."""
    return {turn.node: turn for text in texts for turn in cassette.read(text)}
