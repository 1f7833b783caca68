"""What a kernel may move of a notebook in the record: its place, and branches.

The kernel that opens a notebook first is its host: it moves the notebook's place, which is the
current branch, and holds the branch that it is on. Any other kernel is a guest. So is, in the same
kernel, a run of a client without a page. A guest moves nothing but branches of its own.

All of this is in memory, on the event loop; what it comes to goes to the record's writer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .writing.jobs import Branch, Move, free_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..turns.tree import Branches, Node
    from ..turns.turn import Recorded
    from .writing.changes import Changes, Taken

GUEST = "Another kernel has this notebook's branch {} open: this one goes on as branch {}"
TAKEN = "Another kernel has a branch {}: it is {} here"


class Claim:
    """What one kernel may move of one notebook; `say` takes notices to the user."""

    def __init__(self, changes: Changes, taken: Taken, say: Callable[[str], None]) -> None:
        self.tree: Branches = taken.notebook.branches
        self.guest = taken.guest
        self._changes, self._say = changes, say
        self._ends = dict(self.tree.branches)  # as recorded, once the writer has done what waits
        self._marks = dict(self.tree.checkpoints)  # the checkpoints, likewise
        self._names: dict[str, Branch] = {}  # the branches of the tree, as the writer names them
        self._replaced: dict[str, str | None] = {}  # the ends of branches that were to be held
        self._joins: list[tuple[Node, bool, int | None]] = []  # of a guest without a turn so far
        # What `begin_run` has left: the branch, the turn, whether as a guest, and what was held.
        self._home: tuple[str, Node | None, bool, str | None] | None = None
        here = self.tree.current
        self._held = here if taken.held else None  # the branch that this kernel holds
        self._greeting = ""  # what a guest is told, once
        if self.guest:
            self.tree.fork(next(free_names(here, self._taken)))
            self._greeting = GUEST.format(here, self.tree.current)
        elif not taken.held:  # the record can't be written now: the writer will hold the branch
            self._settle()

    @property
    def waits(self) -> bool:
        """Whether a guest has no turn of its own yet: until then nothing of it is recorded."""
        return self.guest and self._held is None

    @property
    def _taken(self) -> set[str]:
        """The names that no new branch can have."""
        return {*self.tree.branches, *self.tree.checkpoints}

    def take_greeting(self) -> list[str]:
        """Return what a guest is told, once."""
        greeting, self._greeting = self._greeting, ""
        return [greeting] if greeting else []

    # --- changing it -----------------------------------------------------------------------------

    def add(self, turn: Recorded) -> None:
        """Record a turn that is the head now, and end the current branch at it."""
        self._settle()
        joins, self._joins = self._joins, []
        for joined in joins:
            self._join(*joined)
        self._changes.add(turn, self._named(self.tree.current))
        self._ends[self.tree.current] = turn.node.id

    def join(self, node: Node, origin: int | None = None) -> None:
        """Record that a recorded turn, which is the head now, is a member of the notebook.

        It has the conditions that it has in the notebook with the row `origin`.
        """
        # Replays that go along the branch leave its end where it is.
        ends = self.tree.branches[self.tree.current] == node.id
        if self.waits:
            self._joins.append((node, ends, origin))
        else:
            self._settle()
            self._join(node, ends, origin)

    def _join(self, node: Node, ends: bool, origin: int | None) -> None:
        here = self.tree.current
        self._changes.join(node, self._named(here) if ends else None, origin)
        if ends:
            self._ends[here] = node.id

    def write(self, tree: Branches, deleted: str = "") -> None:
        """Record what was moved of `tree`, the notebook's without its private turns.

        The branch `deleted` is deleted.
        """
        if self.waits:
            return
        self._settle()
        gone = self._names.pop(deleted, Branch(deleted)).name
        self._ends.pop(deleted, None)
        ends = dict(tree.branches.items() - self._ends.items())
        marks = dict(tree.checkpoints.items() - self._marks.items())
        moves = [
            Move(branch=self._named(name), end=end, new=name not in self._ends)
            for name, end in ends.items()
        ]
        current = None if self.guest else self._named(tree.current)
        self._changes.stand(moves, marks, current=current, deleted=gone)
        self._ends |= ends
        self._marks |= marks

    def _settle(self) -> None:
        """Hold the current branch; the writer takes a new one if it is another's or has moved."""
        here = self.tree.current
        if here != self._held:
            self._changes.hold(self._named(here), dict(self._ends), sorted(self._taken - {here}))
            self._replaced[here] = self._ends.get(here)
            self._held = here

    def _named(self, name: str) -> Branch:
        return self._names.setdefault(name, Branch(name))

    def collect(self) -> None:
        """Take over the names under which branches were recorded."""
        for name, branch in list(self._names.items()):
            if branch.name != name:
                self._rename(name, branch)

    def _rename(self, name: str, branch: Branch) -> None:
        tree, new = self.tree, branch.name
        tree.rename(name, new)
        self._names[new] = self._names.pop(name)
        if name in self._ends:
            self._ends[new] = self._ends.pop(name)
        held = self._held == name
        if not held:
            self._say(TAKEN.format(name, new))
            return
        self._held = new
        if (end := self._replaced.pop(name, None)) is not None:
            tree.branches[name] = self._ends[name] = end  # the other kernel's, which stays
        if self._home is None:
            self._say(GUEST.format(name, new))

    # --- a run of a client without a page --------------------------------------------------------

    def begin_run(self) -> None:
        """Move to the start, as a guest, until `end_run`."""
        tree = self.tree
        self._home = (tree.current, tree.head, self.guest, self._held)
        self.guest, self._held = True, None
        self._greeting = ""  # a run's outputs are the same wherever it runs
        tree.fork(next(free_names(tree.current, self._taken)))
        tree.stand(None)

    def end_run(self) -> None:
        """Return to where `begin_run` was. A branch of the run that is not recorded is removed."""
        assert self._home is not None
        run = self.tree.current
        here, head, self.guest, held = self._home
        self._joins = []  # the run only replayed: nothing of it is kept
        self.tree.checkout(here)
        self.tree.step_back(head)  # turns that were ahead are ahead again
        self._held = None if run in self._ends else held
        if run not in self._ends:
            del self.tree.branches[run]
        self._home = None
