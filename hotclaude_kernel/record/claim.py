"""What a kernel may move of a notebook in the record: its place, and branches.

The kernel that opens a notebook first is its host: it moves the notebook's place, which is the
current branch, and holds the branch that it is on. Any other kernel is a guest. So is, in the same
kernel, a run of a client without a page. A guest moves nothing but branches of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from . import notebooks

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..turns.tree import Branches, Node
    from .database import Database
    from .notebooks import Notebook

GUEST = "Another kernel has this notebook's branch {} open: this one goes on as branch {}"


class Claim:
    """What one kernel may move of one notebook; `say` takes notices to the user."""

    def __init__(
        self, store: Database, notebook: Notebook, kernel: str, say: Callable[[str], None]
    ) -> None:
        self._store, self._notebook, self._kernel, self._say = store, notebook, kernel, say
        self._ends = dict(notebook.branches.branches)  # as recorded
        self._marks = dict(notebook.branches.checkpoints)  # the checkpoints, as recorded
        # What `begin_run` has left: the branch, the turn, whether as a guest, and what was held.
        self._home: tuple[str, Node | None, bool, str | None] | None = None
        self._held: str | None = None  # the branch that this kernel holds
        here = self.tree.current
        self.guest = not self._hold(here)
        self._held = None if self.guest else here
        self._greeting = ""  # what a guest is told, once
        if self.guest:
            self.tree.fork(self.tree.free_name(_stem(here)))
            self._greeting = GUEST.format(here, self.tree.current)

    @property
    def tree(self) -> Branches:
        """The notebook's tree, as this kernel has it."""
        return self._notebook.branches

    @property
    def new_guest(self) -> bool:
        """Whether the kernel is a guest that has no branch in the record yet."""
        return self.guest and self._held is None

    def take_greeting(self) -> list[str]:
        """Return what a guest is told, once."""
        greeting, self._greeting = self._greeting, ""
        return [greeting] if greeting else []

    def copy_of(self, tree: Branches) -> None:
        """Take the tree of the notebook that this one is a copy of; nothing of it is written."""
        self._notebook = replace(self._notebook, branches=tree)

    # --- moving branches -------------------------------------------------------------------------

    def settle(self) -> None:
        """Hold the current branch; leave it for a new one if it is another's or has moved."""
        tree, here = self.tree, self.tree.current
        if here == self._held:
            return
        if not self._hold(here):
            tree.fork(next(name for name in tree.free_names(_stem(here)) if self._hold(name)))
            if here in self._ends:
                tree.branches[here] = self._ends[here]
            else:
                del tree.branches[here]
            if self._home is None:
                self._say(GUEST.format(here, tree.current))
        self._held = tree.current

    def _hold(self, branch: str) -> bool:
        return notebooks.hold(self._store, self._notebook.id, branch, self._kernel, self._ends)

    def ended(self, branch: str, node: str) -> None:
        """Note that a branch is recorded to end at a turn."""
        self._ends[branch] = node

    def write(self, tree: Branches, deleted: str = "") -> None:
        """Record what was moved of `tree`, the notebook's without its private turns.

        The branch `deleted` is deleted.
        """
        self._ends.pop(deleted, None)
        ends = dict(tree.branches.items() - self._ends.items())
        marks = dict(tree.checkpoints.items() - self._marks.items())
        current = None if self.guest else tree.current
        notebooks.write_branches(
            self._store, self._notebook.id, ends, marks, current=current, deleted=deleted
        )
        self._ends |= ends
        self._marks |= marks

    def rename_taken(self) -> None:
        """Give new branches other names if another kernel has taken theirs meanwhile."""
        tree = self.tree
        if new := tree.branches.keys() - self._ends.keys():
            taken = notebooks.branches_of(self._store, self._notebook.id)
            for name in sorted(new & taken):
                other = next(n for n in tree.free_names(_stem(name)) if n not in taken)
                tree.branches[other] = tree.branches.pop(name)
                self._say(f"Another kernel has a branch {name}: it is {other} here")

    # --- a run of a client without a page --------------------------------------------------------

    def begin_run(self) -> None:
        """Move to the start, as a guest, until `end_run`."""
        tree = self.tree
        self._home = (tree.current, tree.head, self.guest, self._held)
        self.guest, self._held = True, None
        self._greeting = ""  # a run's outputs are the same wherever it runs
        tree.fork(tree.free_name(_stem(tree.current)))
        tree.stand(None)

    def end_run(self) -> None:
        """Return to where `begin_run` was. A branch of the run that is not recorded is removed."""
        assert self._home is not None
        run = self.tree.current
        here, head, self.guest, held = self._home
        self.tree.checkout(here)
        self.tree.step_back(head)  # turns that were ahead are ahead again
        self._held = None if run in self._ends else held
        if run not in self._ends:
            del self.tree.branches[run]
        self._home = None


def _stem(branch: str) -> str:
    """Return the name whose free variants are tried in place of a branch: `main` for `main-1`."""
    stem, _, number = branch.rpartition("-")
    return stem if number.isdecimal() else branch
