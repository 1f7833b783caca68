"""The conversation tree: turns as nodes, the path that the notebook stands on, names.

A node is a turn that stays in the history: one that was answered, or was stopped after some of its
answer. What follows on what is all a node knows; what was said lies in the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from ..claude.events import Usage
from ..errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

MAIN = "main"
SNIPPET = 200  # characters of a prompt that a node keeps


class Node(Struct, frozen=True, kw_only=True):
    """One turn in the tree.

    `id` is the digest of what happened, which holds what it followed: `parent`. `number` is its
    place in its conversation, from 1. `prompt` is the beginning of what was asked, `key` the digest
    of all of it, `settings` that of all settings it was asked under. `uuid` names the prompt in a
    transcript. `compacted` says whether it summed up what was before it, `model` who answered.
    `ended` is in seconds since the epoch.
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
    """The tree as it is at a moment, for showing: nodes in the order they were asked."""

    nodes: tuple[Node, ...]
    head: str | None
    current: str
    branches: Mapping[str, str | None]
    checkpoints: Mapping[str, str]


def _ended(node: Node) -> float:
    return node.ended


class Branches:
    """The tree of one notebook as it grows, and where in it the notebook stands."""

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

    @property
    def head(self) -> Node | None:
        """The turn that the next one follows."""
        return self.path[-1] if self.path else None

    def view(self) -> Tree:
        """Return the tree for showing."""
        return Tree(
            nodes=tuple(sorted(self.nodes.values(), key=_ended)),
            head=self.head.id if self.head else None,
            current=self.current,
            branches=dict(self.branches),
            checkpoints=dict(self.checkpoints),
        )

    def path_to(self, at: str | None) -> list[Node]:
        """Return the turns from the first one to this one."""
        path = []
        while at is not None:
            node = self.nodes[at]
            path.append(node)
            at = node.parent
        return path[::-1]

    def only(self, kept: Container[str]) -> Branches:
        """Return the tree without the turns that are not kept; names go up to one that is."""

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
        """Return the newest turn of a cell on the path, `None` where it has none there."""
        if cell_id is None:
            return None
        return next((node for node in reversed(self.path) if node.cell_id == cell_id), None)

    def grow(self, node: Node) -> None:
        """Add a turn behind the head, which it becomes; one that is known takes this one's cell."""
        self.nodes[node.id] = node
        self.path.append(node)
        self.branches[self.current] = node.id

    def stand(self, at: str | None) -> None:
        """Go to a turn; the branch that is on comes along."""
        self.path = self.path_to(at)
        self.branches[self.current] = at

    def rewind(self, before: Node) -> str:
        """Go to just before a turn of the path; return the branch that what is left stays on."""
        name = self.keep()
        self.stand(before.parent)
        return name

    def keep(self) -> str:
        """Make sure that another branch than the current one ends at the head; return its name."""
        head = self.head.id if self.head else None
        if head is None:
            return ""
        return self._named(head) or self.name(head)

    def _named(self, at: str) -> str:
        others = (name for name, end in self.branches.items() if end == at)
        return next((name for name in others if name != self.current), "")

    def name(self, at: str | None, name: str = "") -> str:
        """Give a turn a branch, under a free name where none is given; return the name."""
        name = name or self.free_name("branch")
        self.branches[name] = at
        return name

    def free_name(self, stem: str) -> str:
        """Return `stem-1`, or the next that no branch or checkpoint has."""
        number = 1
        while (name := f"{stem}-{number}") in self.branches or name in self.checkpoints:
            number += 1
        return name

    def loose_ends(self) -> list[str]:
        """Return the last turns that no branch, and no path to a branch's end, holds."""
        held: set[str] = set()
        for end in self.branches.values():
            held.update(node.id for node in self._new_to(end, held))
        parents = {node.parent for node in self.nodes.values()}
        return [node.id for node in self.view().nodes if node.id not in held | parents]

    def _new_to(self, at: str | None, held: set[str]) -> Iterable[Node]:
        while at is not None and at not in held:
            node = self.nodes[at]
            yield node
            at = node.parent

    def checkout(self, name: str) -> None:
        """Go to another branch. Raises `UsageError` if there is none of that name."""
        if name not in self.branches:
            raise UsageError(f"There is no branch {name}", hint=self._known())
        self.current = name
        self.path = self.path_to(self.branches[name])

    def fork(self, name: str) -> None:
        """Begin a branch at the head and go on there. Raises `UsageError` if the name is taken."""
        self._check_free(name)
        self.branches[name] = self.head.id if self.head else None
        self.current = name

    def mark(self, name: str) -> Node:
        """Give the head a name that stays. Raises `UsageError` before the first turn."""
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
        """Return the turn that words name: a number on the path, `start`, a branch, a checkpoint,
        or `branch:number`. Raises `UsageError` if there is none.
        """
        name, _, number = where.rpartition(":")
        path: Sequence[Node] = self.path
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
        turns = f"the turns 1 to {len(self.path)}, " if self.path else ""
        marks = f"; checkpoints: {', '.join(self.checkpoints)}" if self.checkpoints else ""
        return f"There are {turns}start, and the branches {', '.join(self.branches)}{marks}."


def span(turns: Sequence[Node]) -> str:
    """Return the turns of a stretch in words, with their verb."""
    first, last = turns[0].number, turns[-1].number
    return f"turn {first} is" if first == last else f"turns {first}–{last} are"  # noqa: RUF001
