"""A notebook's place in the record: what it knows of its turns, and what is still to be written.

A notebook is known by its path, and its cells by their ids: so one that was moved is found again,
one that was copied goes on by itself, and another one at an old path is not taken for the old one.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from . import keys
from .budget import Cost
from .errors import StoreError
from .protocol import Notice
from .resuming import store_path, this_kernel
from .store import MEMORY, Finished, Store, settings_id
from .tree import SNIPPET, Branches, Node

if TYPE_CHECKING:
    from .protocol import Usage
    from .store import Notebook
    from .turn import Settings, Turn

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
        self.resumed: Node | None = None  # where an earlier kernel's conversation goes on
        self._notices: list[str] = []
        self._pending: list[Finished] = []
        self._known = False  # whether the first cell has told which notebook this is
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
                self._take(store, store.notebook(self.path))
            except StoreError as error:
                self._notices.append(f"{error.message}. {error.hint}")
                store = Store(MEMORY)
                self._take(store, store.notebook(self.path))
        assert self._opened is not None
        return self._opened

    def _take(self, store: Store, notebook: Notebook) -> None:
        """Go on with a notebook; on a branch of its own where another kernel has this one."""
        self._opened = (store, notebook)
        branches = notebook.branches
        self.resumed = branches.head
        if not store.hold(notebook.id, branches.current, self.kernel):
            held = branches.current
            branches.fork(branches.free_name(held))
            self._notices.append(
                f"Another kernel has this notebook's branch {held} open: this one goes on as "
                f"branch {branches.current}"
            )
            self.write()

    def recognise(self, cell_id: str | None) -> bool:
        """Find out from the first cell which notebook this is; return whether that was news."""
        if self._known:
            return False
        self._known = True
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
        known = store.notebook_with(cells | {cell_id}) if cell_id is not None else None
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
        store.release(self.kernel)
        if path:
            store.move(self.notebook, None)  # what lay here before keeps its turns
            self._notices.append(
                "Another notebook lay here before: this one begins a conversation of its own"
            )
        self._take(store, store.notebook(path or None))

    def _go_on_with(self, store: Store, ours: Notebook, known: Notebook) -> None:
        """Take over a notebook that was moved here, or begin with what one was copied from."""
        moved = known.path is None or not Path(known.path).exists()
        if moved or self.path is None:
            if self.path is not None:
                store.move(known.id, self.path)
            self._take(store, known)
            return
        branches = known.branches
        self._opened = (store, replace(ours, branches=branches))
        self.resumed = branches.head
        self.write()
        name = os.path.basename(known.path or "")  # noqa: PTH119 - a name, not a file
        self._notices.append(f"Copied from {name}: goes on from there by itself")

    # --- writing -----------------------------------------------------------------------------

    def add(self, turn: Finished) -> Node:
        """Record a turn behind the head, and stand on it; return its node.

        What can't be written now is kept, said, and written with the next turn that can be.
        """
        self._pending.append(turn)
        self._settings[turn.node.settings] = turn.settings
        node = turn.node
        try:
            at = self._write_pending()
        except StoreError as error:
            self._notices.append(f"{UNRECORDED}. {error.message}. {error.hint}")
        else:
            if at in self.branches.nodes:
                node = self.branches.nodes[at]
            elif at != node.id:
                node = replace(node, id=at)
        self.branches.grow(node)
        return node

    def _write_pending(self) -> int:
        at = 0
        while self._pending:
            at = self.store.save(self.notebook, self._pending[0], branch=self.branches.current)
            self._pending.pop(0)
        return at

    def write(self) -> None:
        """Record where the branches stand; what can't be written is said."""
        try:
            if self._pending:
                self._write_pending()
            self.store.write_branches(self.notebook, self.branches, self.kernel)
        except StoreError as error:
            self._notices.append(f"{error.message}. {error.hint}")

    def spend(self, usage: Usage) -> None:
        """Note what a turn used."""
        with contextlib.suppress(StoreError):  # it is said when the turn can't be recorded
            self.store.spend(self.notebook, usage)

    # --- reading -----------------------------------------------------------------------------

    def entries(self, path: list[Node]) -> list[bytes]:
        """Return the transcript of a path, a turn each."""
        waiting = {turn.node.id: turn.entries for turn in self._pending}
        stored = [node for node in path if node.id not in waiting]
        read = self.store.entries(stored[-1].id) if stored else []
        return read + [waiting[node.id] for node in path if node.id in waiting]

    def settings_of(self, node: Node) -> Settings:
        """Return the settings that a turn was asked under. Raises `StoreError`."""
        if node.settings not in self._settings:
            self._settings[node.settings] = self.store.settings(node.settings)
        return self._settings[node.settings]

    def spent(self) -> Cost:
        """Return what the notebook's turns have used, in every kernel's life."""
        tokens, usd = self.store.spent(self.notebook)
        return Cost(tokens=tokens, usd=usd)

    def close(self) -> None:
        """Let go of the notebook."""
        if self._opened is None:
            return
        store = self._opened[0]
        try:
            if self._pending:
                self._write_pending()
            store.release(self.kernel)
        except StoreError:
            pass
        store.close()


def finish(turn: Turn, head: Node | None, entries: bytes, *, cli: str) -> Finished:
    """Return an ended turn as it is recorded, behind `head`."""
    key = keys.turn_key(
        parent=head.digest if head else None, prompt=turn.prompt, settings=turn.settings
    )
    node = Node(
        id=time.time_ns(),
        parent=head.id if head else None,
        number=head.number + 1 if head else 1,
        prompt=turn.prompt.text[:SNIPPET],
        status=turn.status,
        cell_id=turn.prompt.cell_id,
        key=key,
        digest=keys.node_digest(key, keys.canonical_response(turn.events)),
        settings=settings_id(turn.settings),
        uuid=turn.uuid,
        compacted=any(isinstance(e, Notice) and e.kind == "compacted" for e in turn.events),
        usage=turn.usage,
        ended=time.time(),
    )
    return Finished(
        node=node,
        prompt=turn.prompt.text,
        settings=turn.settings,
        answer=turn.text,
        model=turn.model,
        cli=cli,
        first_text_s=turn.clock.first_text_s,
        total_s=turn.clock.total_s,
        entries=entries,
        frames=turn.tape.lines if turn.tape else b"",
    )
