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

from ..claude.events import Block, Notice
from ..claude.processes import this_kernel
from ..errors import StoreError
from ..turns import identity
from ..turns.budget import Cost
from ..turns.prompt import Prompt
from ..turns.tree import SNIPPET, Branches, Node
from . import notebooks, transcripts
from .database import MEMORY
from .resume import store_path
from .store import Finished, Recording, Store, settings_id

if TYPE_CHECKING:
    from ..claude.events import Usage
    from ..claude.frames import Frame
    from ..turns.settings import Settings
    from ..turns.turn import Turn
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
        self._pending: list[Finished] = []
        self._private: dict[int, Finished] = {}  # turns that are kept out of the record
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

    def add(self, turn: Finished, *, keep: bool = True) -> Node:
        """Record a turn behind the head, and stand on it; return its node.

        What can't be written now is kept, said, and written with the next turn that can be. What
        is not to be kept, and what follows such a turn, stays in this kernel's memory.
        """
        node = turn.node
        self._settings[node.settings] = turn.settings
        if not keep or node.parent in self._private:
            self._private[node.id] = turn
            self.branches.grow(node)
            return node
        known = self._the_same(node)
        if known is not None:
            self.join(replace(known, cell_id=node.cell_id or known.cell_id))
            return known
        self._pending.append(turn)
        try:
            at = self._write_pending()
            if at != node.id:  # another kernel was a moment faster with the very same
                node = self.store.node(at, node.cell_id)
        except StoreError as error:
            self._notices.append(f"{UNRECORDED}. {error.message}. {error.hint}")
        self.branches.grow(node)
        return node

    def _the_same(self, node: Node) -> Node | None:
        """Return the very same turn, from here or another notebook, `None` where it is a new one.

        It goes by the id and the prompt's uuid that it is, or will be, recorded with: under
        others, what follows it could not be recorded, nor be rewound once it was resumed.
        """
        nodes = self.branches.nodes.values()
        same = (n for n in nodes if n.digest == node.digest and n.id not in self._private)
        if (known := next(same, None)) is not None:
            return known
        with contextlib.suppress(StoreError):
            at = self.store.turn_of(node.digest)
            return None if at is None else self.store.node(at, node.cell_id)
        return None

    def _write_pending(self) -> int:
        at = 0
        while self._pending:
            at = self.store.save(self.notebook, self._pending[0], branch=self.branches.current)
            self._pending.pop(0)
        return at

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
            (node.uuid, self._prompt(node.id), self.frames(node.id)) for node in path
        )

    @property
    def _waiting(self) -> dict[int, Finished]:
        """The turns that are in memory only: not written yet, or not to be."""
        return {turn.node.id: turn for turn in self._pending} | self._private

    def _prompt(self, turn: int) -> Prompt:
        finished = self._waiting.get(turn)
        if finished is None:
            return self.store.prompt(turn)
        return Prompt(text=finished.prompt, attachments=finished.attachments)

    def find(self, key: str) -> int | None:
        """Return the recorded turn that replays for a key, `None` where none was recorded.

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

    def recording(self, turn: int, cell_id: str | None) -> tuple[Node, Recording]:
        """Return a turn as a node of this notebook, and what it is replayed from."""
        known = self.branches.nodes.get(turn) or self.store.node(turn, cell_id)
        return replace(known, cell_id=cell_id or known.cell_id), self.store.recording(turn)

    def frames(self, turn: int) -> bytes:
        """Return the frames of a finished turn."""
        finished = self._waiting.get(turn)
        return finished.frames if finished else self.store.recording(turn).frames

    def settings_of(self, node: Node) -> Settings:
        """Return the settings that a turn was asked under. Raises `StoreError`."""
        if node.settings not in self._settings:
            self._settings[node.settings] = self.store.settings(node.settings)
        return self._settings[node.settings]

    def version_of(self, node: Node) -> str:
        """Return the version of claude that a turn was asked of; empty where it is not known."""
        with contextlib.suppress(StoreError):
            return self.store.recording(node.id).cli
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


def finish(turn: Turn, head: Node | None, entries: bytes, *, cli: str) -> Finished:
    """Return an ended turn as it is recorded, behind `head`."""
    key = identity.turn_key(
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
        digest=identity.node_digest(key, identity.canonical_response(turn.events)),
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
        frames=turn.tape.frames if turn.tape else b"",
        deltas=turn.tape.deltas if turn.tape else b"",
        attachments=turn.prompt.attachments,
        priced=turn.priced,
        pure=not any(isinstance(e, Block) and e.kind == "tool_use" for e in turn.events),
    )


def about(node: Node, before: Node | None, settings: Settings, *, model: str, cli: str) -> Frame:
    """Return what identifies a turn in a saved notebook: the same live and replayed."""
    usage = node.usage
    return {
        "v": 1,
        "key": node.key,
        "node": node.digest,
        "parent": before.digest if before else None,
        "settings": identity.settings_digest(settings),
        "model": model,
        "cli": cli,
        "tokens": {
            "input": usage.input_tokens,
            "cache_read": usage.cache_read_tokens,
            "cache_write": usage.cache_write_tokens,
            "output": usage.output_tokens,
        },
        "cost_usd": round(usage.cost_usd, 6),
    }
