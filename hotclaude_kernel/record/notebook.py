"""The record of one notebook: its tree, its turns, and the turns that are still to be written.

A notebook is known by its path and by the ids of its cells. So a moved notebook is found again, a
copied one goes on separately, and a new one at an old path is not taken for the old one.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from ..claude.processes import this_kernel
from ..errors import StoreError
from ..turns import cellids
from ..turns.budget import Cost
from ..turns.turn import Recorded
from . import answers, notebooks, transcripts
from .answers import Scope
from .claim import Claim
from .database import MEMORY
from .resume import store_path
from .store import Store

if TYPE_CHECKING:
    from ..claude.events import Usage
    from ..turns.conditions import Candidate
    from ..turns.settings import Settings
    from ..turns.tree import Branches, Node
    from .notebooks import Notebook

UNRECORDED = "This turn is not recorded"


class _Joined(NamedTuple):
    """A recorded turn that joins the notebook, with the notebook whose conditions it has."""

    node: Node
    origin: int | None


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
        self.path = path
        self._scope_path = scope or path
        self.file = store or store_path()
        self.kernel = this_kernel()
        self.kept = False  # whether the notebook had turns in the record, or a cassette, already
        self.resumed: Node | None = None  # the last turn of an earlier kernel, to go on after
        self._notices: list[str] = []
        # What is still to be written, by its branch: turns, and recorded ones that joined.
        self._pending: list[tuple[str, Recorded | _Joined]] = []
        self._private: dict[str, Recorded] = {}  # turns that must not be written
        self._scope: Scope | None = None  # where answers come from, once it was looked for
        self._recognised = False  # whether the first cell's id was compared with the record
        self.ids_last = True  # whether the notebook file keeps the ids of its cells
        self._in_run = False  # whether `begin_run` has left the notebook's place
        self._opened: tuple[Store, Notebook] | None = None
        self._claim: Claim  # made when the notebook is opened
        self._settings: dict[str, Settings] = {}
        self._scope_row: int | None = None

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
    def scope(self) -> int:
        """The row of the notebook whose answers replay."""
        if self._scope_row is None:
            own = self._scope_path == self.path
            there = None if own else notebooks.notebook_at(self.store, self._scope_path)
            self._scope_row = there.id if there else self.notebook
        return self._scope_row

    @property
    def branches(self) -> Branches:
        """The notebook's tree."""
        return self._open()[1].branches

    def take_notices(self) -> list[str]:
        """Return the record's notices to the user, and forget them."""
        greeting = self._claim.take_greeting() if self._opened else []
        notices, self._notices = [*greeting, *self._notices], []
        return notices

    def _open(self) -> tuple[Store, Notebook]:
        if self._opened is None:
            try:
                store = Store(self.file)
                self._take(store, _at(store, self.path))
            except StoreError as error:
                self._notices.append(f"{error.message}. {error.hint}")
                store = Store(MEMORY)
                self._take(store, _at(store, self.path))
        assert self._opened is not None
        return self._opened

    def _take(self, store: Store, notebook: Notebook) -> None:
        """Go on with a notebook; as a guest if another kernel holds its current branch."""
        self._opened = (store, notebook)
        self._scope = self._scope_row = None
        branches = notebook.branches
        self.resumed = branches.head
        self.kept = bool(branches.nodes)
        self._claim = Claim(
            store, notebook, self.kernel, lambda notice: self._notices.append(notice)
        )

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
        if self._scope_path == self.path:
            self._scope_path = path
        self.path = path
        self._take(store, _at(store, path))
        return True

    def _begin_anew(self, store: Store, path: str) -> None:
        notebooks.release(store, self.kernel)
        notebooks.move(store, self.notebook, None)  # the old notebook keeps its turns
        self._notices.append(
            "Another notebook lay here before: this one begins a conversation of its own"
        )
        self._take(store, _at(store, path))

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
        self._claim.copy_of(branches)
        self.resumed = branches.head
        notebooks.copy_members(store, ours.id, known.id, branches)
        self.write()
        name = os.path.basename(known.path or "")  # noqa: PTH119 - a name, not a file
        self._notices.append(f"Copied from {name}: goes on from there by itself")

    # --- a run without a page, in a notebook's kernel ----------------------------------------

    def begin_run(self) -> None:
        """Go on at the start, as a guest: the notebook keeps its place for `end_run`."""
        self.end_run()
        self._open()
        self._claim.begin_run()
        self._in_run, self.resumed = True, None

    def end_run(self) -> None:
        """Return to the notebook's place, if `begin_run` has left it."""
        if not self._in_run:
            return
        run = self.branches.current
        if self._waits:  # the run only replayed: nothing of it is kept
            self._pending = [(name, turn) for name, turn in self._pending if name != run]
        self.write()
        self._claim.end_run()
        self._in_run = False

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
        if known := self._the_same(node):
            node = replace(known, cell_id=node.cell_id or known.cell_id)
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
        old = self.branches.current
        self._claim.settle()
        new = self.branches.current
        self._pending = [(new if name == old else name, turn) for name, turn in self._pending]
        while self._pending:
            branch, turn = self._pending[0]
            match turn:
                case Recorded(node=node):
                    uuid = self.store.save(self.notebook, turn, branch=branch, scope=self.scope)
                case _Joined(node, origin):
                    # Replays that go along the branch leave its end where it is.
                    ends = self.branches.branches.get(branch) == node.id
                    self.store.join(
                        self.notebook,
                        node.id,
                        node.cell_id,
                        branch=branch if ends else None,
                        scope=self.scope,
                        origin=origin,
                    )
            if self.branches.branches.get(branch) == node.id or isinstance(turn, Recorded):
                self._claim.ended(branch, node.id)
            self._pending.pop(0)
        return uuid

    @property
    def _waits(self) -> bool:
        """Whether a guest has no turn of its own yet: until then nothing of it is written."""
        own = any(isinstance(turn, Recorded) for _, turn in self._pending)
        return self._claim.new_guest and not own

    def join(self, node: Node, *, origin: int | None = None) -> None:
        """Make a recorded turn the head, and a member of this notebook.

        It keeps the conditions that it has in the notebook `origin`.
        """
        self.branches.grow(node)
        if self._private:
            for known in self.branches.path:  # what a recorded turn follows is recorded too
                self._private.pop(known.id, None)
        self._pending.append((self.branches.current, _Joined(node, origin)))
        try:
            self._write_pending()
        except StoreError as error:
            self._notices.append(f"{error.message}. {error.hint}")

    def write(self, *, deleted: str = "") -> None:
        """Write the branches and checkpoints that were moved, and delete a branch.

        If that fails, a notice says so.
        """
        if self._waits:
            return
        try:
            self._write_pending()
            self._claim.rename_taken()
            kept = self.branches.nodes.keys() - self._private.keys()
            self._claim.write(self.branches.only(kept) if self._private else self.branches, deleted)
        except StoreError as error:
            self._notices.append(f"{error.message}. {error.hint}")

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

    def candidates(self, key: str, *, widely: bool = False) -> list[Candidate]:
        """Return the turns that answer a key, the preferred first.

        They are the notebook's own; with `widely`, also those of the rest of its scope. Then its
        cassettes and its file are read, once.
        """
        return answers.candidates(self.store, key, self._whole_scope() if widely else self._own())

    def _own(self) -> Scope:
        return self._scope or Scope(notebook=self.scope)

    def _whole_scope(self) -> Scope:
        if self._scope is None:
            from .scope import widened  # imported here because the start of a kernel needs it not

            self._scope = widened(self.store, self.scope, self._scope_path, self._notices.append)
            known = self._scope_path is not None  # else the cassettes may be other notebooks'
            self.kept |= known and bool(self._scope.cassettes)
            self.kept |= answers.has_answers(self.store, [self.scope])
        return self._scope

    @property
    def searched(self) -> list[int]:
        """The rows of the notebooks and cassettes that `candidates` looks in."""
        return self._whole_scope().notebooks

    def watched(self) -> list[str]:
        """Return the paths of the files that the notebook's prompts have pulled in."""
        return answers.watched(self.store, self.scope)

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


def _at(store: Store, path: str | None) -> Notebook:
    """Return the notebook at a path; one without a path belongs to the working directory."""
    if path is not None:
        return notebooks.notebook_at(store, path)
    from .scope import working_folder

    return notebooks.notebook_at(store, None, folder=working_folder())
