"""A notebook's place in the record: what it knows of its turns, and what is still to be written.

A notebook is known by its path, and its cells by their ids: so one that was moved is found again,
one that was copied goes on by itself, and another one at an old path is not taken for the old one.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..claude.processes import this_kernel
from ..errors import StoreError
from ..turns.budget import Cost
from . import notebooks, transcripts
from .database import MEMORY
from .resume import store_path
from .store import Store

if TYPE_CHECKING:
    from ..claude.events import Usage
    from ..turns.settings import Settings
    from ..turns.tree import Branches, Node
    from ..turns.turn import Recorded
    from .notebooks import Notebook

UNRECORDED = "This turn is not recorded"


class Record:
    """The record of one notebook, opened at the first use.

    `path` is the notebook's, `None` where it is not known; `store` is the file, the user's by
    default. Where the file can't be used, everything is kept in memory and said once.
    """

    def __init__(self, path: str | None = None, *, store: str = "") -> None:
        self.path = path
        self.file = store or store_path()
        self.kernel = this_kernel()
        self.kept = False  # whether there were turns in the record when it was opened
        self.resumed: Node | None = None  # where an earlier kernel's conversation goes on
        self._notices: list[str] = []
        self._pending: list[Recorded] = []
        self._private: dict[str, Recorded] = {}  # turns that are kept out of the record
        self._sought = False  # whether the cassettes were looked for
        self._recognised = False  # whether the first cell has told which notebook this is
        self._opened: tuple[Store, Notebook] | None = None
        self._settings: dict[str, Settings] = {}

    # --- opening -----------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        """The store."""
        return self._open()[0]

    @property
    def notebook(self) -> int:
        """The notebook's number in the store."""
        return self._open()[1].id

    @property
    def branches(self) -> Branches:
        """The notebook's tree."""
        return self._open()[1].branches

    def take_notices(self) -> list[str]:
        """Return, once, what the user should know of the record."""
        notices, self._notices = self._notices, []
        return notices

    def _open(self) -> tuple[Store, Notebook]:
        if self._opened is None:
            try:
                store = Store(self.file)
                self._take(store, notebooks.notebook_at(store, self.path))
            except StoreError as error:
                self._notices.append(f"{error.message}. {error.hint}")
                store = Store(MEMORY)
                self._take(store, notebooks.notebook_at(store, self.path))
        assert self._opened is not None
        return self._opened

    def _take(self, store: Store, notebook: Notebook) -> None:
        """Go on with a notebook; on a branch of its own where another kernel has this one."""
        self._opened = (store, notebook)
        branches = notebook.branches
        self.resumed = branches.head
        self.kept = bool(branches.nodes)
        if not notebooks.hold(store, notebook.id, branches.current, self.kernel):
            held = branches.current
            branches.fork(branches.free_name(held))
            self._notices.append(
                f"Another kernel has this notebook's branch {held} open: this one goes on as "
                f"branch {branches.current}"
            )
            self.write()

    def recognise(self, cell_id: str | None) -> bool:
        """Find out from the first cell which notebook this is; return whether that was news."""
        if self._recognised:
            return False
        self._recognised = True
        store, notebook = self._open()
        ids = {node.cell_id for node in notebook.branches.nodes.values()} - {None}
        if cell_id in ids:
            return False
        cells = self._cells()
        if ids:
            # Where the cells can't be read (no .ipynb, or elsewhere) the path is trusted.
            if cell_id is not None and (not cells or ids & cells):
                return False
            self._begin_anew(store, "" if cell_id is None else self.path or "")
            return True
        known = notebooks.notebook_with(store, cells | {cell_id}) if cell_id is not None else None
        if known is None or known.id == notebook.id:
            return False
        self._go_on_with(store, notebook, known)
        return True

    def _cells(self) -> set[str]:
        """Return the ids of the cells of the file at our path, nothing where it has none."""
        try:
            cells = json.loads(Path(self.path or "").read_bytes())["cells"]
            return {cell["id"] for cell in cells if isinstance(cell.get("id"), str)}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return set()

    def _begin_anew(self, store: Store, path: str) -> None:
        notebooks.release(store, self.kernel)
        if path:
            notebooks.move(store, self.notebook, None)  # what lay here before keeps its turns
            self._notices.append(
                "Another notebook lay here before: this one begins a conversation of its own"
            )
        self._take(store, notebooks.notebook_at(store, path or None))

    def _go_on_with(self, store: Store, ours: Notebook, known: Notebook) -> None:
        """Take over a notebook that was moved here, or begin with what one was copied from."""
        moved = known.path is None or not Path(known.path).exists()
        if moved or self.path is None:
            if self.path is not None:
                notebooks.move(store, known.id, self.path)
            self._take(store, known)
            return
        branches = known.branches
        self._opened = (store, replace(ours, branches=branches))
        self.resumed = branches.head
        notebooks.copy_members(store, ours.id, branches)
        self.write()
        name = os.path.basename(known.path or "")  # noqa: PTH119 - a name, not a file
        self._notices.append(f"Copied from {name}: goes on from there by itself")

    # --- writing -----------------------------------------------------------------------------

    def add(self, turn: Recorded, *, keep: bool = True) -> None:
        """Record a turn behind the head, and stand on it.

        What can't be written now is kept, said, and written with the next turn that can be. What
        is not to be kept, and what follows such a turn, stays in this kernel's memory.
        """
        node = turn.node
        self._settings[node.settings] = turn.settings
        if not keep or node.parent in self._private:
            known = self.branches.nodes.get(node.id)
            if known is None:
                self._private[node.id] = turn
            self.branches.grow(replace(known or node, cell_id=node.cell_id))
            return
        known = self._the_same(node)
        if known is not None:
            self.join(replace(known, cell_id=node.cell_id or known.cell_id))
            return
        self._private.pop(node.id, None)
        self._pending.append(turn)
        try:
            node = replace(node, uuid=self._write_pending())
        except StoreError as error:
            self._notices.append(f"{UNRECORDED}. {error.message}. {error.hint}")
        self.branches.grow(node)

    def _the_same(self, node: Node) -> Node | None:
        """Return the very same turn as it is recorded, or will be; `None` where it is a new one.

        Its prompt's uuid is the recorded one. With another, a resumed process could not be rewound
        to it.
        """
        if node.id not in self._private and (known := self.branches.nodes.get(node.id)):
            return known
        with contextlib.suppress(StoreError):
            return self.store.node(node.id, node.cell_id)
        return None

    def _write_pending(self) -> str:
        """Write what waits; return the last one's uuid in the record."""
        uuid = ""
        while self._pending:
            uuid = self.store.save(self.notebook, self._pending[0], branch=self.branches.current)
            self._pending.pop(0)
        return uuid

    def join(self, node: Node) -> None:
        """Stand on a recorded turn, which becomes one of this notebook's."""
        self.branches.grow(node)
        try:
            self._write_pending()
            current = self.branches.current
            self.store.join(self.notebook, node.id, node.cell_id, branch=current)
        except StoreError as error:
            self._notices.append(f"{error.message}. {error.hint}")

    def write(self) -> None:
        """Record where the branches stand; what can't be written is said."""
        try:
            self._write_pending()
            kept = self.branches.nodes.keys() - self._private.keys()
            branches = self.branches.only(kept) if self._private else self.branches
            notebooks.write_branches(self.store, self.notebook, branches, self.kernel)
        except StoreError as error:
            self._notices.append(f"{error.message}. {error.hint}")

    def spend(self, usage: Usage) -> None:
        """Note what a turn used."""
        with contextlib.suppress(StoreError):  # it is said when the turn can't be recorded
            notebooks.spend(self.store, self.notebook, usage)

    # --- reading -----------------------------------------------------------------------------

    def entries(self, path: list[Node]) -> list[bytes]:
        """Return the transcript of a path, a turn each; made from the recordings where it is lost.

        Raises `StoreError` where neither is there.
        """
        waiting = self._waiting
        stored = len(path)
        while stored and path[stored - 1].id in waiting:
            stored -= 1
        read = self.store.entries(path[stored - 1].id) if stored else []
        entries = read + [waiting[node.id].entries for node in path[stored:]]
        if len(entries) == len(path) and all(entries):
            return entries
        self._notices.append(
            "The transcript of these turns is not on this machine: it was rebuilt from their "
            "recordings, and the prompt cache begins anew"
        )
        return transcripts.transcript(
            (node.uuid, turn.prompt, turn.frames)
            for node, turn in ((node, self.turn(node.id)) for node in path)
        )

    @property
    def _waiting(self) -> dict[str, Recorded]:
        """The turns that are in memory only: not written yet, or not to be."""
        return {turn.node.id: turn for turn in self._pending} | self._private

    def turn(self, node: str) -> Recorded:
        """Return a finished turn of this notebook or another. Raises `StoreError`."""
        waiting = self._waiting.get(node)
        return waiting if waiting else self.store.turn(node)

    def recorded(self, node: str, cell_id: str | None) -> Recorded:
        """Return a turn as this notebook has it, in the cell that shows it."""
        turn = self.turn(node)
        known = self.branches.nodes.get(node) or turn.node
        return replace(turn, node=replace(known, cell_id=cell_id or known.cell_id))

    def find(self, key: str) -> str | None:
        """Return the node that replays for a key, `None` where none was recorded.

        The first that is not in the record is also looked for in the notebook's cassette.
        """
        found = self.store.find(key)
        if found is None and not self._sought:
            self._sought = True
            self._load_cassettes()
            found = self.store.find(key)
        return found

    def _load_cassettes(self) -> None:
        from . import places

        paths = places.found(self.path)
        self.kept |= bool(paths) and self.path is not None  # else they may be of other notebooks
        for path in paths:
            from . import cassette  # takes 4 ms, and most notebooks have none

            try:
                cassette.load(self.store, cassette.text_of(path))
            except StoreError as error:
                hint = f". {error.hint}" if error.hint else ""
                self._notices.append(f"{path.name} was not loaded: {error.message}{hint}")

    def settings_of(self, node: Node) -> Settings:
        """Return the settings that a turn was asked under. Raises `StoreError`."""
        if node.settings not in self._settings:
            self._settings[node.settings] = self.store.settings(node.settings)
        return self._settings[node.settings]

    def version_of(self, node: Node) -> str:
        """Return the version of claude that a turn was asked of; empty where it is not known."""
        with contextlib.suppress(StoreError):
            return self.turn(node.id).cli
        return ""

    def spent(self) -> Cost:
        """Return what the notebook's turns have used, in every kernel's life."""
        tokens, usd = notebooks.spent(self.store, self.notebook)
        return Cost(tokens=tokens, usd=usd)

    def close(self) -> None:
        """Let go of the notebook."""
        if self._opened is None:
            return
        store = self._opened[0]
        try:
            if self._pending:
                self.write()  # where the branches stand too: not always at what is written last
            notebooks.release(store, self.kernel)
        except StoreError:
            pass
        store.close()
