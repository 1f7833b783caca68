"""The record of one notebook: its tree, its turns, and the turns that are still to be written.

A notebook is known by its path and by the ids of its cells. So a moved notebook is found again, a
copied one goes on separately, and a new one at an old path is not taken for the old one.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..claude.processes import this_kernel
from ..errors import StoreError
from ..turns import cellids
from ..turns.budget import Cost
from ..turns.turn import Recorded
from . import notebooks, transcripts
from .database import MEMORY
from .resume import store_path
from .store import Store

if TYPE_CHECKING:
    from ..claude.events import Usage
    from ..turns.settings import Settings
    from ..turns.tree import Branches, Node
    from .notebooks import Notebook

UNRECORDED = "This turn is not recorded"
GUEST = "Another kernel has this notebook's branch {} open: this one goes on as branch {}"


class Record:
    """The record of one notebook, opened at the first use.

    `path` is the notebook's, `None` if unknown. `store` is the record's file, by default the
    user's. If the file can't be used, all turns are kept in memory, and a notice says so once.
    """

    def __init__(self, path: str | None = None, *, store: str = "") -> None:
        self.path = path
        self.file = store or store_path()
        self.kernel = this_kernel()
        self.kept = False  # whether the notebook had turns in the record, or a cassette, already
        self.resumed: Node | None = None  # the last turn of an earlier kernel, to go on after
        self._notices: list[str] = []
        # What is still to be written, by its branch: turns, and recorded ones that joined.
        self._pending: list[tuple[str, Recorded | Node]] = []
        self._private: dict[str, Recorded] = {}  # turns that must not be written
        self._sought = False  # whether the cassettes were looked for
        self._recognised = False  # whether the first cell's id was compared with the record
        self.ids_last = True  # whether the notebook file keeps the ids of its cells
        # A guest leaves the notebook's place, its current branch, to another kernel or client.
        self._guest = False
        self._held: str | None = None  # the branch that this kernel holds
        # The branch that `begin_run` has left; whether as a guest, and what was held.
        self._home: tuple[str, bool, str | None] | None = None
        self._ends: dict[str, str | None] = {}  # the ends of branches, as recorded
        self._marks: dict[str, str] = {}  # the checkpoints, as recorded
        self._opened: tuple[Store, Notebook] | None = None
        self._settings: dict[str, Settings] = {}

    # --- opening -----------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        """The store, opened at the first use."""
        return self._open()[0]

    @property
    def notebook(self) -> int:
        """The row of the notebook in the store."""
        return self._open()[1].id

    @property
    def branches(self) -> Branches:
        """The notebook's tree."""
        return self._open()[1].branches

    def take_notices(self) -> list[str]:
        """Return the record's notices to the user, and forget them."""
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
        """Go on with a notebook; as a guest if another kernel holds its current branch."""
        self._opened = (store, notebook)
        branches = notebook.branches
        self.resumed = branches.head
        self.kept = bool(branches.nodes)
        self._ends, self._marks = dict(branches.branches), dict(branches.checkpoints)
        here = branches.current
        self._guest = not notebooks.hold(store, notebook.id, here, self.kernel, self._ends)
        self._held = None if self._guest else here
        if self._guest:
            branches.fork(branches.free_name(_stem(here)))
            self._notices.append(GUEST.format(here, branches.current))

    def recognise(self, cell_id: str | None) -> bool:
        """Find the notebook by the id of its first cell; return whether the path was misleading.

        The notebook may have been moved or copied, or it may be a new one at an old path. Then this
        record goes on with the right one. Only the first call with an id looks: a request without
        one (of a console) tells nothing of the notebook.
        """
        store, notebook = self._open()
        if self._recognised or cell_id is None:
            return False
        self._recognised = True
        if cellids.lasting(cell_id) is None:
            self.ids_last = False
            return self._take_path(store, cellids.path_of(cell_id))
        ids = {node.cell_id for node in notebook.branches.nodes.values()} - {None}
        if cell_id in ids:
            return False
        cells = cellids.ids_in(self.path) if self.path else set()
        if cells is None:
            self.ids_last = False
            return False
        if ids:
            # If the file's cells can't be read (on another machine), trust the path.
            if self.path is None or not cells or ids & cells:
                return False
            self._begin_anew(store, self.path)
            return True
        known = notebooks.notebook_with(store, cells | {cell_id})
        if known is None or known.id == notebook.id:
            # Without a path, a later cell may still be known, until this kernel has a turn.
            self._recognised = self.path is not None or bool(notebook.branches.nodes)
            return False
        self._go_on_with(store, notebook, known)
        return True

    def _take_path(self, store: Store, path: str | None) -> bool:
        """Go on with the notebook at a path that a cell's id tells, if no path was known."""
        known = self.path is not None and cellids.is_file(self.path)
        if path is None or known or self.branches.nodes or not cellids.is_file(path):
            return False
        self.path = path
        self._take(store, notebooks.notebook_at(store, path))
        return True

    def _begin_anew(self, store: Store, path: str) -> None:
        notebooks.release(store, self.kernel)
        notebooks.move(store, self.notebook, None)  # the old notebook keeps its turns
        self._notices.append(
            "Another notebook lay here before: this one begins a conversation of its own"
        )
        self._take(store, notebooks.notebook_at(store, path))

    def _go_on_with(self, store: Store, ours: Notebook, known: Notebook) -> None:
        """Take over a notebook that was moved here, or begin with the turns of the one copied."""
        moved = known.path is None or not Path(known.path).exists()
        if moved or self.path is None:
            if self.path is not None:
                notebooks.move(store, known.id, self.path)
            self._take(store, known)
            return
        branches = known.branches
        self._opened = (store, replace(ours, branches=branches))
        self._ends, self._marks = dict(ours.branches.branches), dict(ours.branches.checkpoints)
        self.resumed = branches.head
        notebooks.copy_members(store, ours.id, branches)
        self.write()
        name = os.path.basename(known.path or "")  # noqa: PTH119 - a name, not a file
        self._notices.append(f"Copied from {name}: goes on from there by itself")

    # --- a run without a page, in a notebook's kernel ----------------------------------------

    def begin_run(self) -> None:
        """Go on at the start, as a guest: the notebook keeps its place for `end_run`."""
        self.end_run()
        branches = self.branches
        self._home = (branches.current, self._guest, self._held)
        self._guest, self._held, self.resumed = True, None, None
        branches.fork(branches.free_name(_stem(branches.current)))
        branches.stand(None)
        # A run shows no notice of its place: it would differ from the same run elsewhere.
        guest = GUEST.partition("{}")[0]
        self._notices = [notice for notice in self._notices if not notice.startswith(guest)]

    def end_run(self) -> None:
        """Return to the notebook's place, if `begin_run` has left it."""
        if self._home is None:
            return
        run, (here, guest, held) = self.branches.current, self._home
        if self._waits:  # the run only replayed: nothing of it is kept
            self._pending = [(name, turn) for name, turn in self._pending if name != run]
        self.write()
        self.branches.checkout(here)
        if run not in self._ends:
            del self.branches.branches[run]
        self._home, self._guest = None, guest
        self._held = None if run in self._ends else held

    # --- writing -----------------------------------------------------------------------------

    def add(self, turn: Recorded, *, keep: bool = True) -> None:
        """Record a turn that follows the head, and make it the head.

        A turn that can't be written stays in memory, and is written with the next turn that can; a
        notice says so. With `keep` false, the turn and all that follow it stay in memory only.
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
        self._pending.append((self.branches.current, turn))
        try:
            node = replace(node, uuid=self._write_pending())
        except StoreError as error:
            self._notices.append(f"{UNRECORDED}. {error.message}. {error.hint}")
        self.branches.grow(node)

    def _the_same(self, node: Node) -> Node | None:
        """Return the node of an identical turn that is recorded, or will be; `None` if it is new.

        The returned node keeps the prompt uuid it is (or will be) recorded under. With any other, a
        resumed process could not be rewound to the turn.
        """
        if node.id not in self._private and (known := self.branches.nodes.get(node.id)):
            return known
        with contextlib.suppress(StoreError):
            return self.store.node(node.id, node.cell_id)
        return None

    def _write_pending(self) -> str:
        """Write what is pending; return the prompt uuid under which the last turn is recorded."""
        uuid = ""
        if self._waits:
            return uuid
        self._settle()
        while self._pending:
            branch, turn = self._pending[0]
            if isinstance(turn, Recorded):
                uuid = self.store.save(self.notebook, turn, branch=branch)
                self._ends[branch] = turn.node.id
            else:
                self.store.join(self.notebook, turn.id, turn.cell_id, branch=branch)
                self._ends[branch] = turn.id
            self._pending.pop(0)
        return uuid

    @property
    def _waits(self) -> bool:
        """Whether a guest has no turn of its own yet: until then nothing of it is written."""
        own = any(isinstance(turn, Recorded) for _, turn in self._pending)
        return self._guest and self._held is None and not own

    def _settle(self) -> None:
        """Hold the current branch, or a new one if it is another kernel's or has moved."""
        tree = self.branches
        here = tree.current
        if here == self._held:
            return
        if not self._hold(here):
            tree.fork(next(name for name in tree.free_names(_stem(here)) if self._hold(name)))
            if here in self._ends:
                tree.branches[here] = self._ends[here]
            else:
                del tree.branches[here]
            self._pending = [(tree.current if b == here else b, turn) for b, turn in self._pending]
            if self._home is None:
                self._notices.append(GUEST.format(here, tree.current))
        self._held = tree.current

    def _hold(self, branch: str) -> bool:
        return notebooks.hold(self.store, self.notebook, branch, self.kernel, self._ends)

    def join(self, node: Node) -> None:
        """Make a recorded turn the head, and a member of this notebook."""
        self.branches.grow(node)
        if self._private:
            for known in self.branches.path:  # what a recorded turn follows is recorded too
                self._private.pop(known.id, None)
        self._pending.append((self.branches.current, node))
        try:
            self._write_pending()
        except StoreError as error:
            self._notices.append(f"{error.message}. {error.hint}")

    def write(self) -> None:
        """Write the branches and checkpoints that were moved. If that fails, a notice says so."""
        if self._waits:
            return
        try:
            self._write_pending()
            self._rename_taken()
            kept = self.branches.nodes.keys() - self._private.keys()
            tree = self.branches.only(kept) if self._private else self.branches
            ends = dict(tree.branches.items() - self._ends.items())
            marks = dict(tree.checkpoints.items() - self._marks.items())
            current = None if self._guest else tree.current
            notebooks.write_branches(self.store, self.notebook, ends, marks, current=current)
            self._ends |= ends
            self._marks |= marks
        except StoreError as error:
            self._notices.append(f"{error.message}. {error.hint}")

    def _rename_taken(self) -> None:
        """Give the new branches whose names another kernel has taken meanwhile other names."""
        tree = self.branches
        if new := tree.branches.keys() - self._ends.keys():
            taken = notebooks.branches_of(self.store, self.notebook)
            for name in sorted(new & taken):
                other = next(n for n in tree.free_names(_stem(name)) if n not in taken)
                tree.branches[other] = tree.branches.pop(name)
                self._notices.append(f"Another kernel has a branch {name}: it is {other} here")

    def spend(self, usage: Usage) -> None:
        """Record the usage of a turn."""
        with contextlib.suppress(StoreError):  # `add` says so when it fails too
            notebooks.spend(self.store, self.notebook, usage)

    # --- reading -----------------------------------------------------------------------------

    def entries(self, path: list[Node]) -> list[bytes]:
        """Return the transcript of a path, as the entries of each turn.

        If the transcript of a turn is missing, all of it is rebuilt from the recordings, and a
        notice says so. Raises `StoreError` if a turn is not recorded.
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
        """The turns that are in memory only, by node: not written yet, or never to be."""
        unwritten = [turn for _, turn in self._pending if isinstance(turn, Recorded)]
        return {turn.node.id: turn for turn in unwritten} | self._private

    def turn(self, node: str) -> Recorded:
        """Return a finished turn of any notebook. Raises `StoreError` if it is not recorded."""
        waiting = self._waiting.get(node)
        return waiting if waiting else self.store.turn(node)

    def recorded(self, node: str, cell_id: str | None) -> Recorded:
        """Return a finished turn with this notebook's node, of the cell that shows it."""
        turn = self.turn(node)
        known = self.branches.nodes.get(node) or turn.node
        return replace(turn, node=replace(known, cell_id=cell_id or known.cell_id))

    def find(self, key: str) -> str | None:
        """Return the node that replays for a key, `None` if none is recorded.

        The first key that is not in the record makes it load the notebook's cassette.
        """
        found = self.store.find(key)
        if found is None and not self._sought:
            self._sought = True
            self._load_cassettes()
            found = self.store.find(key)
        return found

    def _load_cassettes(self) -> None:
        from .cassettes import places

        paths = places.found(self.path)
        # Without a path, `found` returns all cassettes here: they may be of other notebooks.
        self.kept |= bool(paths) and self.path is not None
        for path in paths:
            from .cassettes import cassette  # takes 4 ms, and most notebooks have none

            try:
                cassette.load(self.store, cassette.text_of(path))
            except StoreError as error:
                hint = f". {error.hint}" if error.hint else ""
                self._notices.append(f"{path.name} was not loaded: {error.message}{hint}")

    def settings_of(self, node: Node) -> Settings:
        """Return the settings of a turn. Raises `StoreError` if they are not recorded."""
        if node.settings not in self._settings:
            self._settings[node.settings] = self.store.settings(node.settings)
        return self._settings[node.settings]

    def version_of(self, node: Node) -> str:
        """Return the version of claude that answered a turn, empty if unknown."""
        with contextlib.suppress(StoreError):
            return self.turn(node.id).cli
        return ""

    def spent(self) -> Cost:
        """Return what the notebook's turns have used, in this kernel and earlier ones."""
        tokens, usd = notebooks.spent(self.store, self.notebook)
        return Cost(tokens=tokens, usd=usd)

    def close(self) -> None:
        """Write what is pending, release the notebook's branch, and close the store."""
        if self._opened is None:
            return
        store = self._opened[0]
        try:
            if self._pending:
                self.write()  # the branches too: the current one may not end at the last turn
            notebooks.release(store, self.kernel)
        except StoreError:
            pass
        store.close()


def _stem(branch: str) -> str:
    """Return the name whose free variants are tried in place of a branch: `main` for `main-1`."""
    stem, _, number = branch.rpartition("-")
    return stem if number.isdecimal() else branch
