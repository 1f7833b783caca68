"""Where a conversation stands: after which turn of the tree, and under which settings.

Processes come and go; the tree and the settings stay. Every move is recorded as it is made, says
what it leaves behind, and loses nothing.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from ..errors import StoreError
from ..pool.warm import Place
from ..turns.identity import key_of
from ..turns.tree import span

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..record.notebook import Record
    from ..turns.identity import Key
    from ..turns.prompt import Prompt
    from ..turns.settings import Settings
    from ..turns.tree import Branches, Node

# The settings that hold for the turns that follow, in a later kernel too.
RESUMED = ("model", "effort", "system", "append_system", "tools", "cwd")


class Asking(NamedTuple):
    """Where a prompt is asked: after which turn, under which settings, and its key there."""

    before: Node | None
    settings: Settings
    key: Key

    @property
    def number(self) -> int:
        """Return the number that its turn will have in its conversation."""
        return self.before.number + 1 if self.before else 1


class Position:
    """The place of one notebook in its record.

    `rerun` says what a cell does that has a turn already: fork the conversation before that turn,
    or append another. `settings` are those of the next turn, `configured` those that the kernel
    was started with. Settings in `locked` can't be changed.
    """

    def __init__(self, record: Record, settings: Settings, *, rerun: str = "fork") -> None:
        self.record = record
        self.settings = settings
        self.rerun = rerun
        self.locked: frozenset[str] = frozenset()
        self.touched = False  # whether a cell of this kernel's life has set anything
        self.new = True  # whether the next turn begins a conversation
        self.rewound: Node | None = None  # the turn that the last rewind took out
        self._configured = settings
        self._goes_on: Node | None = None  # the last turn of an earlier kernel
        self._recorded_by = ""  # the version of claude that the record goes on from
        self._notices: list[str] = []

    @property
    def branches(self) -> Branches:
        """The tree, and where in it the conversation stands."""
        return self.record.branches

    @property
    def place(self) -> Place:
        """Where a process is wanted for the next turn."""
        path = tuple(self.branches.path)
        return Place(self.settings, path, self.new and not path)

    def notice(self, text: str) -> None:
        """Have something said with what was moved."""
        self._notices.append(text)

    def take_notices(self) -> list[str]:
        """Return, once, what the user should know of what was moved."""
        notices, self._notices = self._notices, []
        return [*self.record.take_notices(), *notices]

    # --- where a cell is asked -------------------------------------------------------------------

    def recognise(self, cell_id: str | None) -> None:
        """Learn from the first cell which notebook this is, and where it goes on."""
        self.record.recognise(cell_id)
        if resumed := self.record.resumed:
            self.record.resumed = None
            self.resume_settings()
            self._goes_on = resumed

    def asked(self, prompt: Prompt) -> Asking:
        """Return where a prompt would be asked. The key is derived here, and nowhere again."""
        before = self.before(prompt.cell_id)
        rewinds = self._turn_of(prompt.cell_id) is not None
        settings = self.settings_after(before) if rewinds else self.settings
        parent = before.id if before else None
        return Asking(before, settings, key_of(parent=parent, prompt=prompt, settings=settings))

    def before(self, cell_id: str | None) -> Node | None:
        """Return the turn that a cell's turn would follow."""
        turn = self._turn_of(cell_id)
        if turn is None:
            return self.branches.head
        return None if turn.parent is None else self.branches.nodes[turn.parent]

    def _turn_of(self, cell_id: str | None) -> Node | None:
        return self.branches.turn_of(cell_id) if self.rerun == "fork" else None

    def rewind(self, cell_id: str | None) -> None:
        """Stand before a cell's own turn, if it has one; what that leaves behind is a branch."""
        turn = self._turn_of(cell_id)
        if turn is None:
            return
        left = self.branches.path[turn.number - 1 :]
        name = self.branches.rewind(turn)
        self.new = False
        self.resume_settings()
        self.record.write()
        self.rewound = turn
        self._notices.append(f"Rewound before turn {turn.number}; {span(left)} branch {name}")

    def say_goes_on(self) -> None:
        """Say, at the first live turn, that it follows those of an earlier kernel."""
        resumed, self._goes_on = self._goes_on, None
        if resumed is not None and self.branches.head is resumed:
            self._notices.append(f"Goes on after turn {resumed.number}, from the record")
            self._recorded_by = self.record.version_of(resumed)

    def compare_version(self, now: str) -> None:
        """Say, once, where an earlier kernel's conversation is gone on with by another claude."""
        then, self._recorded_by = self._recorded_by, ""
        if then and now and then != now:
            self._notices.append(f"The turns so far are of claude {then}; it goes on with {now}")

    # --- moving ----------------------------------------------------------------------------------

    def go(self, move: Callable[[], Any]) -> Any:
        """Make a move in the tree, and record it."""
        found = move()
        self.new = False
        self.resume_settings()
        self.record.resumed = None
        self.record.write()
        return found

    def renew(self) -> str:
        """Stand before the first turn; return the branch that the conversation so far stays on."""
        name = self.branches.keep()
        self.branches.stand(None)
        self.record.resumed, self.new = None, True
        self.record.write()
        return name

    # --- settings --------------------------------------------------------------------------------

    def resume_settings(self) -> None:
        """Go on under the settings that hold where the conversation stands."""
        self.settings = self.settings_after(self.branches.head)

    def settings_after(self, node: Node | None) -> Settings:
        """Return the settings that hold after a turn, if no cell of this kernel has set any.

        What Claude may do is not among them, nor what was configured for this kernel.
        """
        if self.touched:
            return self.settings
        settings = self._configured
        if node is not None:
            with contextlib.suppress(StoreError):
                asked = self.record.settings_of(node)
                unset = [name for name in RESUMED if getattr(settings, name) is None]
                kept = {name: getattr(asked, name) for name in unset if name not in self.locked}
                settings = settings.changed(**kept)
        return settings
