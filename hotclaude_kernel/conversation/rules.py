"""The rules of a session: what the user has allowed, and where in the conversation it holds.

A rule belongs to the turn in which the user allowed it. It holds while that turn is on the path to
the conversation's position, in the folder it was allowed for, until it is revoked or the kernel
ends. It is recorded nowhere: neither a restart nor a replayed turn brings it back. Processes know
nothing of rules (`questions.rules`), so it does not matter which one answers.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from ..questions import rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..claude.session import PermissionRequest
    from ..questions.rules import Rule
    from ..turns.tree import Node


class Allowed(Struct, eq=False):
    """A rule, the `folder` that it holds in, and the node of its turn: `None` while it runs."""

    rule: Rule
    folder: str
    node: str | None = None


class Rules:
    """What the user has allowed in one notebook, in this kernel's life.

    `path` returns the turns up to the conversation's position, `cwd` the folder that is set for
    `claude`: `None` for the kernel's.
    """

    def __init__(self, path: Callable[[], Iterable[Node]], cwd: Callable[[], str | None]) -> None:
        self._path = path
        self._cwd = cwd
        self._all: list[Allowed] = []
        self._told: list[Allowed] = []  # those that held when the user was last told
        self._notices: list[str] = []

    @property
    def holding(self) -> list[Rule]:
        """The rules that hold at the conversation's position, in the order of their making."""
        return [allowed.rule for allowed in self._holding()]

    def _holding(self) -> list[Allowed]:
        if not self._all:
            return []
        on_path = {None, *(node.id for node in self._path())}
        here = self._folder
        return [a for a in self._all if a.node in on_path and a.folder == here]

    @property
    def _folder(self) -> str:
        return str(Path(self._cwd() or ".").absolute())

    # --- asking ----------------------------------------------------------------------------------

    def allowing(self, request: PermissionRequest) -> Rule | None:
        """Return the rule that allows a call, `None` if none does."""
        folder = self._folder
        return next((rule for rule in self.holding if rules.allows(rule, request, folder)), None)

    def offered(self, request: PermissionRequest) -> Rule | None:
        """Return the rule that the user may allow in answer to a request, `None` if none."""
        return rules.offered(request, self._folder)

    def allow(self, rule: Rule) -> None:
        """Add a rule that the user allowed in the running turn."""
        allowed = Allowed(rule, self._folder)
        self._all.append(allowed)
        self._told.append(allowed)

    def revoke(self, rule: Rule | None = None) -> None:
        """Withdraw a rule, or all of them, also those that hold at other positions."""
        self._keep([a for a in self._all if rule is not None and a.rule != rule])

    def _keep(self, kept: list[Allowed]) -> None:
        self._all = kept
        self._told = [allowed for allowed in self._told if allowed in kept]

    # --- moving ----------------------------------------------------------------------------------

    def settle(self, node: str | None) -> None:
        """Give the running turn's rules to its node; a turn that left none takes them with it."""
        if node is not None:
            self.forget(node)
        for allowed in [allowed for allowed in self._all if allowed.node is None]:
            allowed.node = node
            if node is None:
                self._all.remove(allowed)

    def forget(self, node: str) -> None:
        """Withdraw the rules of a turn that was asked or replayed anew."""
        self._all = [allowed for allowed in self._all if allowed.node != node]

    def take_notices(self) -> list[str]:
        """Return what the user must be told: which rules hold no longer, and which hold again."""
        now = self._holding()
        lost = [a.rule.text for a in self._told if a not in now]
        again = [a.rule.text for a in now if a not in self._told]
        self._told = now
        return [
            *(f"The rule of this session for {text} does not hold here" for text in lost),
            *(f"The rule of this session for {text} holds here again" for text in again),
        ]
