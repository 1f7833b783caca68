"""The record of one notebook: its tree, its turns, and what is still to be written.

A notebook is known by its path and by the ids of its cells. So a moved notebook is found again, a
copied one goes on separately, and a new one at an old path is not taken for the old one.

A change is made in memory at once, and the record's writer is told of it (see `writer`): no change
waits for SQLite. Opening, recognising and reading wait, and belong on another thread than the event
loop's. Everything else belongs on the loop's.
"""

from __future__ import annotations

import os
import threading
from concurrent import futures
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..claude.processes import this_kernel
from ..errors import StoreError
from ..turns import cellids
from ..turns.tree import Branches
from . import answers, notebooks, transcripts
from .answers import Scope
from .claim import Claim
from .database import MEMORY
from .notebooks import Notebook, notebook_at, read_at
from .resume import named, store_path
from .store import Store
from .writing import journal
from .writing.changes import Changes

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..turns.budget import Cost
    from ..turns.conditions import Candidate
    from ..turns.settings import Settings
    from ..turns.tree import Node
    from ..turns.turn import Recorded

OPEN_S = 0.9  # how long opening waits for a lock of another process


class Record:
    """The record of one notebook, opened at the first use.

    `path` is the notebook's, `None` if unknown. `scope` is the path of the notebook whose answers
    replay, by default this one: a headless run has its notebook's answers, but not its place.
    `store` is the record's file, by default the user's. If the file can't be used, all turns are
    kept in memory, and a notice says so once.
    """

    def __init__(
        self, path: str | None = None, *, store: str = "", scope: str | None = None
    ) -> None:
        self.path, self._scope_path = path and named(path), named(scope or path or "") or None
        self.file = store or store_path()
        self.kernel = this_kernel()
        self.kept = False  # whether the notebook had turns in the record, or a cassette, already
        self.resumed: Node | None = None  # the last turn of an earlier kernel, to go on after
        self.told = transcripts.texts  # what a model may be told of a recorded answer
        self._notices: list[str] = []
        self._private: dict[str, Recorded] = {}  # turns that must not be written
        self._left: dict[str, Recorded] = {}  # turns in journals that other kernels left
        self._scope: Scope | None = None  # where answers come from, once it was looked for
        self._recognised = False  # whether the first cell's id was compared with the record
        self._opening = threading.RLock()
        self.ids_last = True  # whether the notebook file keeps the ids of its cells
        self._in_run = False  # whether `begin_run` has left the notebook's place
        self._opened: tuple[Store, Changes] | None = None
        self._claim: Claim  # made when the notebook is taken
        self._folder: str | None = None  # where a notebook without a path runs
        self._whole = True  # whether all of its turns are read, and not those of its path only
        self._settings: dict[str, Settings] = {}
        self._versions: dict[str, str] = {}  # of claude, by the nodes of earlier kernels' turns

    # --- opening -----------------------------------------------------------------------------

    @property
    def opened(self) -> bool:
        """Whether the record is open; if not, most of what follows opens it, and may wait."""
        return self._opened is not None

    @property
    def store(self) -> Store:
        """The store."""
        return (self._opened or self.open())[0]

    @property
    def changes(self) -> Changes:
        """What this kernel changes in the store."""
        return (self._opened or self.open())[1]

    @property
    def notebook(self) -> int:
        """The row of the notebook in the store, 0 while the writer could not find it yet."""
        return self.changes.row

    @property
    def scope(self) -> int:
        """The row of the notebook whose answers replay, 0 while the writer could not find it."""
        return self.changes.scope

    @property
    def branches(self) -> Branches:
        """The notebook's tree."""
        if self._opened is None:
            self.open()
        return self._claim.tree

    def take_notices(self) -> list[str]:
        """Return the record's notices to the user, and forget them."""
        self.collect()
        greeting = self._claim.take_greeting() if self.opened else []
        notices, self._notices = [*greeting, *self._notices], []
        return notices

    def _say(self, notice: str) -> None:
        self._notices.append(notice)

    def open(self, *, whole: bool = True) -> tuple[Store, Changes]:
        """Open the store and find the notebook, unless that was done; blocks for 2 s at most.

        Without `whole` only the turns of the notebook's path are read: enough to start a process.
        """
        with self._opening:
            if self._opened is None:
                try:
                    self._opened = self._open(Store(self.file, busy_s=OPEN_S))
                except StoreError as error:
                    self._notices.append(f"{error.message}. {error.hint}")
                    self._opened = self._open(Store(MEMORY))
            if whole and not self._whole:
                self._complete(self._opened[0])
            return self._opened

    def _complete(self, store: Store) -> None:
        """Read the turns that are not on the path; if they can't be read, go on without them."""
        self._whole = True
        try:
            rest = notebooks.whole_notebook(store, self._opened[1].row if self._opened else 0)
        except StoreError as error:
            self._notices.append(f"Other branches can't be shown. {error.message}")
            self._claim.tree.forget_unknown()
            return
        self._claim.tree.complete(rest.branches.nodes.values())
        self._versions = rest.versions

    @property
    def whole(self) -> bool:
        """Whether the record is open, and all of the notebook's turns are read."""
        return self._opened is not None and self._whole

    def _open(self, store: Store) -> tuple[Store, Changes]:
        if self.path is None:
            from .scope import working_folder

            self._folder = working_folder()
        changes = Changes(store, self.kernel, self._say)
        journals = journal.left(store.path)
        changes.drain(journals)

        def find() -> Notebook:
            return notebook_at(store, self.path, folder=self._folder, whole=False)

        def read() -> Notebook:
            found = read_at(store, self.path)
            return journal.applied(store, found, journals, self._left)

        try:
            self._take(store, find, read, changes)
        except BaseException:
            changes.close()
            store.close()
            raise
        return store, changes

    def _take(
        self,
        store: Store,
        find: Callable[[], Notebook],
        read: Callable[[], Notebook],
        changes: Changes | None = None,
        copies: int | None = None,
    ) -> None:
        """Go on with a notebook, as a guest if another kernel has it; see `Changes.take`."""
        changes = changes or self.changes
        elsewhere = self._scope_path if self._scope_path != self.path else None
        taken = changes.take(
            self.path, find, read, folder=self._folder, scope=elsewhere, copies=copies
        )
        notebook = taken.notebook
        self._scope = None
        self._claim = Claim(changes, taken, self._say)
        self.resumed = notebook.branches.head
        self.kept = bool(notebook.branches.nodes)
        self._settings |= store.settings_in(notebook.id)
        self._versions, self._whole = notebook.versions, notebook.whole

    def recognise(self, cell_id: str | None) -> bool:
        """Find the notebook by the id of its first cell; return whether the path was misleading.

        The notebook may have been moved or copied, or it may be a new one at an old path. Then this
        record goes on with the right one. Only the first call with an id looks: a request without
        one (of a console) tells nothing of the notebook.
        """
        store, _ = self.open()
        if self._recognised or cell_id is None:
            return False
        self._recognised = True
        if cellids.lasting(cell_id) is None:
            self.ids_last = False
            return self._take_path(store, cellids.path_of(cell_id))
        ids = {node.cell_id for node in self.branches.nodes.values()} - {None}
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
        if known is None or known.id == self.notebook:
            # Without a path, a later cell may still be known, until this kernel has a turn.
            self._recognised = self.path is not None or bool(self.branches.nodes)
            return False
        self._go_on_with(store, known)
        return True

    @property
    def recognised(self) -> bool:
        """Whether the first cell was there, so that `recognise` does nothing any more."""
        return self._recognised

    def _take_path(self, store: Store, path: str | None) -> bool:
        """Go on with the notebook at a path that a cell's id tells, if no path was known."""
        known = self.path is not None and cellids.is_file(self.path)
        if path is None or known or self.branches.nodes or not cellids.is_file(path):
            return False
        if self._scope_path == self.path:
            self._scope_path = path
        self.path, self._folder = path, None
        self._take(store, lambda: notebook_at(store, path), lambda: read_at(store, path))
        return True

    def _begin_anew(self, store: Store, path: str) -> None:
        old = self.notebook

        def find() -> Notebook:
            notebooks.release(store, self.kernel)
            notebooks.move(store, old, None)  # the old notebook keeps its turns
            return notebook_at(store, path)

        self._notices.append(
            "Another notebook lay here before: this one begins a conversation of its own"
        )
        new = Notebook(id=0, path=path, branches=Branches())
        self._take(store, find, lambda: new)

    def _go_on_with(self, store: Store, known: Notebook) -> None:
        """Take over a notebook that was moved here, or begin with the turns of the one copied."""
        moved = known.path is None or cellids.is_gone(known.path)
        kept, path = self.kept, self.path

        def move() -> Notebook:
            if self.path is not None:
                notebooks.move(store, known.id, self.path)
            return known

        if moved or path is None:
            self._take(store, move, lambda: known)
            return
        copied = replace(known, id=self.notebook, path=path)
        copy = partial(notebooks.copy, store, path, known, known.branches.view())
        self._take(store, copy, lambda: copied, copies=known.id)
        self.kept = kept
        name = os.path.basename(known.path or "")  # noqa: PTH119 - a name, not a file
        self._notices.append(f"Copied from {name}: goes on from there by itself")

    # --- a run without a page, in a notebook's kernel ----------------------------------------

    def begin_run(self) -> None:
        """Go on at the start, as a guest: the notebook keeps its place for `end_run`."""
        self.end_run()
        self.open()
        self._claim.begin_run()
        self._in_run, self.resumed = True, None

    def end_run(self) -> None:
        """Return to the notebook's place, if `begin_run` has left it."""
        if self._in_run:
            self.write()
            self._claim.end_run()
            self._in_run = False

    # --- changing ----------------------------------------------------------------------------

    def add(self, turn: Recorded, *, keep: bool = True) -> None:
        """Record a turn that follows the head, and make it the head.

        With `keep` false, the turn and all that follow it stay in memory only.
        """
        node = turn.node
        self._settings[node.settings] = turn.settings
        known = self.branches.nodes.get(node.id)
        if not keep or node.parent in self._private:
            if known is None:
                self._private[node.id] = turn
            self.branches.grow(replace(known or node, cell_id=node.cell_id))
        else:
            self._private.pop(node.id, None)
            # It keeps the prompt uuid that it is recorded under. With another one, a resumed
            # process could not be rewound to it.
            cell_id = node.cell_id or (known.cell_id if known else None)
            self.branches.grow(replace(known or node, cell_id=cell_id))
            self._claim.add(turn)

    def join(self, node: Node, *, origin: int | None = None) -> None:
        """Make a recorded turn the head, and a member of this notebook.

        It keeps the conditions that it has in the notebook `origin`.
        """
        self.branches.grow(node)
        if self._private:
            for known in self.branches.path:  # what a recorded turn follows is recorded too
                self._private.pop(known.id, None)
        self._claim.join(node, origin)

    def write(self, *, deleted: str = "") -> None:
        """Record the branches and checkpoints that were moved, and delete the branch `deleted`."""
        kept = self.branches.nodes.keys() - self._private.keys()
        self._claim.write(self.branches.only(kept) if self._private else self.branches, deleted)

    def settle(self, patience_s: float) -> None:
        """Wait until all changes are recorded; after so many seconds, write them down; blocks."""
        if (last := self.changes.last) is not None:
            futures.wait([last], patience_s)
        if self.changes.last is not None:
            self.changes.write_down()
        self.collect()

    def collect(self) -> None:
        """Take over under which names turns and branches were recorded."""
        if self._opened is not None:
            self._opened[1].collect(self._claim.tree)
            self._claim.collect()

    # --- reading -----------------------------------------------------------------------------

    def entries(self, path: list[Node]) -> list[bytes]:
        """Return the transcript of a path, as the entries of each turn.

        Missing ones are rebuilt by `told`; a notice says so. Raises `StoreError` if a turn is gone.
        """
        waiting = self._waiting
        stored = len(path)
        while stored and path[stored - 1].id in waiting:
            stored -= 1
        read = self.store.entries(path[stored - 1].id) if stored else []
        read = read if len(read) == stored else [b""] * stored
        entries = read + [waiting[node.id].entries for node in path[stored:]]
        if all(entries):
            return entries
        self._notices.append(
            "The transcript of these turns is not on this machine: it was rebuilt from their "
            "recordings, and the prompt cache begins anew"
        )
        return [
            there or transcripts.rebuilt(node.uuid, self.turn(node.id), self.told, first=not at)
            for at, (node, there) in enumerate(zip(path, entries, strict=True))
        ]

    @property
    def _waiting(self) -> dict[str, Recorded]:
        """The turns that are in memory only, by node: not written yet, or never to be."""
        return self._left | self.changes.unrecorded | self._private

    def turn(self, node: str) -> Recorded:
        """Return a finished turn of any notebook. Raises `StoreError` if it is not recorded."""
        return self._waiting.get(node) or self.store.turn(node)

    def recorded(self, node: str, cell_id: str | None) -> Recorded:
        """Return a finished turn with this notebook's node, of the cell that shows it."""
        turn = self.turn(node)
        known = self.branches.nodes.get(node) or turn.node
        return replace(turn, node=replace(known, cell_id=cell_id or known.cell_id))

    def candidates(self, key: str, *, widely: bool = False) -> list[Candidate]:
        """Return the turns that answer a key, the preferred first.

        They are the notebook's own; with `widely`, also those of the rest of its scope. Then its
        cassettes and its file are read, once.
        """
        scope = self._whole_scope() if widely else self._scope or Scope(notebook=self.scope)
        # Once recorded, a turn is no newer than what was recorded after it.
        left = {} if self.changes.drained else self._left
        waiting = [*left.values(), *self.changes.unrecorded.values()]
        found = answers.candidates(self.store, key, scope)
        return answers.with_waiting(found, waiting, key, scope.notebook)

    def _whole_scope(self) -> Scope:
        if self._scope is None:
            from .scope import widened  # imported here because the start of a kernel needs it not

            scope, final = widened(self.store, self.scope, self._scope_path, self._say)
            known = self._scope_path is not None  # else the cassettes may be other notebooks'
            self.kept |= known and bool(scope.cassettes)
            self.kept |= answers.has_answers(self.store, [self.scope])
            if not (final and self.scope):
                return scope
            self._scope = scope
        return self._scope

    @property
    def searched(self) -> list[int]:
        """The rows of the notebooks and cassettes that `candidates` looks in."""
        return self._whole_scope().notebooks

    def watched(self) -> list[str]:
        """Return the paths of the files that the notebook's prompts have pulled in."""
        return answers.watched(self.store, self.scope, self._waiting.values())

    def settings_of(self, node: Node) -> Settings:
        """Return the settings of a turn. Raises `StoreError` if they are not recorded."""
        if node.settings not in self._settings:
            self._settings[node.settings] = self.store.settings(node.settings)
        return self._settings[node.settings]

    def version_of(self, node: Node) -> str:
        """Return the version of claude that answered a turn of an earlier kernel, or nothing."""
        return self._versions.get(node.id, "")

    def spent(self) -> Cost:
        """Return what the notebook's turns have used, in this kernel and earlier ones."""
        return self.changes.spent()

    def close(self) -> None:
        """Record what waits, or write it down, release the branch, and close the store; blocks."""
        if self._opened is not None:
            store, changes = self._opened
            changes.close()
            store.close()
