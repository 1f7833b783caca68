"""The conversation tree: turns as nodes, branches, checkpoints, and the notebook's path.

A node is a turn that stays in the history: it was answered, or stopped after a part of its answer.
A node holds the turn's place in the tree; the store holds the full prompt and answer.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from ..claude.events import Usage
from ..errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

MAIN = "main"
SNIPPET = 200  # how many characters of its prompt a node keeps


class Node(Struct, frozen=True, kw_only=True):
    """One turn in the tree.

    `id` is the digest of the turn (see `identity.node_digest`), which covers `parent`, the id of
    the turn before. `number` counts the turns of the conversation, from 1. `prompt` is the first
    `SNIPPET` characters of the prompt. `key` is the digest of the whole question, `settings` that
    of all its settings. `uuid` names the prompt in a transcript. `compacted` says whether the
    conversation was compacted during the turn. `model` answered. `ended` is in seconds since the
    epoch.
    """

    id: str
    parent: str | None
    number: int
    prompt: str
    status: str
    cell_id: str | None = None
    key: str = ""
    settings: str = ""
    uuid: str = ""
    compacted: bool = False
    model: str = ""
    usage: Usage = field(default_factory=Usage)
    ended: float = 0.0


class Tree(Struct, frozen=True, kw_only=True):
    """A snapshot of the tree, for display; `nodes` are in the order in which they ended.

    `head` is the id of the turn that the next one follows, `None` before the first. `current` is
    the name of the current branch. `branches` and `checkpoints` map names to ids. `sources` maps
    the turns that this kernel replayed to where they come from, as in `Turn`.
    """

    nodes: tuple[Node, ...]
    head: str | None
    current: str
    branches: Mapping[str, str | None]
    checkpoints: Mapping[str, str]
    sources: Mapping[str, str] = {}


def _ended(node: Node) -> float:
    return node.ended


class Branches:
    """The growing tree of one notebook, with its current branch and the path to the head.

    `branches` maps a name to the id of its last turn, `None` before the first turn. `ahead` are the
    turns of the current branch after the head, the next one first. There are some while cells that
    are run again replay them one by one: nothing is left yet, so the branch ends where it did.
    """

    def __init__(
        self,
        nodes: Iterable[Node] = (),
        *,
        current: str = MAIN,
        branches: Mapping[str, str | None] | None = None,
        checkpoints: Mapping[str, str] | None = None,
    ) -> None:
        self.nodes = {node.id: node for node in nodes}
        self.current = current
        self.branches: dict[str, str | None] = {current: None, **(branches or {})}
        self.checkpoints = dict(checkpoints or {})
        self.path: list[Node] = self.path_to(self.branches[current])
        self.ahead: list[Node] = []

    def complete(self, nodes: Iterable[Node]) -> None:
        """Add turns that were not read with the path; those that are there stay as they are."""
        self.nodes = {node.id: node for node in nodes} | self.nodes

    def forget_unknown(self) -> None:
        """Forget the branches and checkpoints whose turns are not here."""
        known = {None, *self.nodes}
        self.branches = {name: end for name, end in self.branches.items() if end in known}
        self.checkpoints = {name: end for name, end in self.checkpoints.items() if end in known}

    @property
    def head(self) -> Node | None:
        """The turn that the next one follows, `None` before the first turn."""
        return self.path[-1] if self.path else None

    @property
    def end(self) -> Node | None:
        """The last turn of the current branch, `None` if it has none."""
        return self.ahead[-1] if self.ahead else self.head

    def beyond(self, turn: Node | None) -> list[Node]:
        """Return the turns of the current branch after a turn of the path, or after the start."""
        return [*self.path[turn.number if turn else 0 :], *self.ahead]

    def view(self) -> Tree:
        """Return a snapshot of the tree, for display."""
        return Tree(
            nodes=tuple(sorted(self.nodes.values(), key=_ended)),
            head=self.head.id if self.head else None,
            current=self.current,
            branches=dict(self.branches),
            checkpoints=dict(self.checkpoints),
        )

    def path_to(self, at: str | None) -> list[Node]:
        """Return the turns from the first one to the one with id `at`; none for `None`."""
        path = []
        while at is not None:
            node = self.nodes[at]
            path.append(node)
            at = node.parent
        return path[::-1]

    def only(self, kept: Container[str]) -> Branches:
        """Return a copy of the tree with only the turns whose ids are in `kept`.

        A branch whose last turn is left out moves up to the nearest kept turn; so does a
        checkpoint, which is left out if it finds none.
        """

        def up(at: str | None) -> str | None:
            while at is not None and at not in kept:
                at = self.nodes[at].parent
            return at

        marks = {name: at for name, end in self.checkpoints.items() if (at := up(end)) is not None}
        return Branches(
            (node for node in self.nodes.values() if node.id in kept),
            current=self.current,
            branches={name: up(end) for name, end in self.branches.items()},
            checkpoints=marks,
        )

    def turn_of(self, cell_id: str | None) -> Node | None:
        """Return the newest turn of a cell on the path, `None` if it has none there."""
        if cell_id is None:
            return None
        return next((node for node in reversed(self.path) if node.cell_id == cell_id), None)

    def named(self, node: Node, cell_id: str) -> str:
        """Make a turn of the path that of a cell; return the cell."""
        self.nodes[node.id] = self.path[node.number - 1] = replace(node, cell_id=cell_id)
        return cell_id

    def grow(self, node: Node) -> None:
        """Add a turn after the head and make it the head. It replaces a node of the same id.

        The current branch ends there, unless the turn is the next one ahead. If other turns are
        ahead, another branch keeps them.
        """
        if self.ahead and self.ahead[0].id == node.id:
            del self.ahead[0]
        else:
            if self.ahead:
                self.rewind(self.head)
            self.branches[self.current] = node.id
        self.nodes[node.id] = node
        self.path.append(node)

    def set_uuid(self, at: str, uuid: str) -> None:
        """Set the prompt uuid of a turn: the record has had the same turn under another one."""
        node = self.nodes.get(at)
        if node is None or node.uuid == uuid:
            return
        self.nodes[at] = replace(node, uuid=uuid)
        self.path = [self.nodes[other.id] for other in self.path]
        self.ahead = [self.nodes[other.id] for other in self.ahead]

    def rename(self, old: str, new: str) -> None:
        """Give a branch another name."""
        self.branches[new] = self.branches.pop(old)
        if self.current == old:
            self.current = new

    def stand(self, at: str | None) -> None:
        """Move the head, and with it the current branch, to the turn `at`; `None`: to the start."""
        self.path, self.ahead = self.path_to(at), []
        self.branches[self.current] = at

    def step_back(self, turn: Node | None) -> None:
        """Move the head back to a turn of the path, or to the start.

        The turns after it are ahead then: the current branch ends where it did.
        """
        self.ahead = self.beyond(turn)
        del self.path[turn.number if turn else 0 :]

    def rewind(self, turn: Node | None) -> str:
        """Move the head and the end of the current branch back to a turn of the path, or the start.

        Return the branch that keeps the old end.
        """
        name = self.keep()
        self.stand(turn.id if turn else None)
        return name

    def rejoin(self, ahead: Iterable[Node], name: str = "") -> None:
        """Undo a rewind: put the turns that it left ahead again, and delete the branch `name`."""
        self.ahead = [*ahead]
        self.branches[self.current] = self.end.id if self.end else None
        self.branches.pop(name, None)

    def keep(self) -> str:
        """Return a branch, other than the current one, that ends where that does; or make one.

        If the current branch has no turn, return an empty name.
        """
        return "" if self.end is None else self._named(self.end.id) or self.name(self.end.id)

    def _named(self, at: str) -> str:
        others = (name for name, end in self.branches.items() if end == at)
        return next((name for name in others if name != self.current), "")

    def name(self, at: str | None, name: str = "") -> str:
        """Make a branch that ends at a turn; return its name, a free one if none is given."""
        name = name or self.free_name("branch")
        self.branches[name] = at
        return name

    def free_name(self, stem: str) -> str:
        """Return the first of `stem-1`, `stem-2`… that names no branch and no checkpoint."""
        return next(self.free_names(stem))

    def free_names(self, stem: str) -> Iterator[str]:
        """Yield all of `stem-1`, `stem-2`… that name no branch and no checkpoint."""
        names = (f"{stem}-{number}" for number in count(1))
        return (
            name for name in names if name not in self.branches and name not in self.checkpoints
        )

    def loose_ends(self) -> list[str]:
        """Return the ids of the turns that no turn follows and that are on no branch."""
        held: set[str] = set()
        for end in self.branches.values():
            held.update(node.id for node in self._new_to(end, held))
        held.update(node.parent for node in self.nodes.values() if node.parent is not None)
        return [node.id for node in self.view().nodes if node.id not in held]

    def _new_to(self, at: str | None, held: set[str]) -> Iterable[Node]:
        """Yield the turns from `at` back to the first one that is in `held`, without that one."""
        while at is not None and at not in held:
            node = self.nodes[at]
            yield node
            at = node.parent

    def checkout(self, name: str) -> None:
        """Switch to another branch. Raises `UsageError` if no branch has that name."""
        if name not in self.branches:
            raise UsageError(f"There is no branch {name}", hint=self._known())
        self.current = name
        self.path, self.ahead = self.path_to(self.branches[name]), []

    def fork(self, name: str) -> None:
        """Make a branch at the head and switch to it. Raises `UsageError` if the name is taken."""
        self._check_free(name)
        self.branches[name] = self.head.id if self.head else None
        self.current, self.ahead = name, []

    def mark(self, name: str) -> Node:
        """Set a checkpoint at the head, or move it there; return the head.

        Raises `UsageError` before the first turn, or if a branch has that name.
        """
        if self.head is None:
            raise UsageError("There is no turn to mark yet", hint="Run a prompt first.")
        if name not in self.checkpoints:
            self._check_free(name)
        self.checkpoints[name] = self.head.id
        return self.head

    def _check_free(self, name: str) -> None:
        if not name or any(c.isspace() or c == ":" for c in name) or name.isdecimal():
            raise UsageError(
                f"{name or 'Nothing'} can't be a name", hint="Take a word; no spaces, no colon."
            )
        if name == "start" or name in self.branches or name in self.checkpoints:
            raise UsageError(f"{name} is taken", hint=self._known())

    def find(self, where: str) -> str | None:
        """Return the id of the turn that `where` names, `None` before the first turn.

        `where` is a number on the current branch, `start`, a branch, a checkpoint, or
        `branch:number`. Raises `UsageError` if it names no turn.
        """
        name, _, number = where.rpartition(":")
        path: Sequence[Node] = self.beyond(None)
        if where == "start":
            return None
        if where in self.checkpoints:
            return self.checkpoints[where]
        if where in self.branches:
            return self.branches[where]
        if name:
            if name not in self.branches:
                raise UsageError(f"There is no branch {name}", hint=self._known())
            path = self.path_to(self.branches[name])
        if number.isdecimal() and 1 <= int(number) <= len(path):
            return path[int(number) - 1].id
        raise UsageError(f"There is no turn {where}", hint=self._known())

    def _known(self) -> str:
        last = self.end.number if self.end else 0
        turns = f"the turns 1 to {last}, " if last > 1 else "turn 1, " * last
        marks = f"; checkpoints: {', '.join(self.checkpoints)}" if self.checkpoints else ""
        branches = "branch" if len(self.branches) == 1 else "branches"
        return f"There are {turns}start, and the {branches} {', '.join(self.branches)}{marks}."


def span(turns: Sequence[Node]) -> str:
    """Return the numbers of consecutive turns in words, with a verb: "turn 3 is"."""
    first, last = turns[0].number, turns[-1].number
    return f"turn {first} is" if first == last else f"turns {first}–{last} are"  # noqa: RUF001
