"""The position of a conversation: the turn of the tree that is its head, and the settings.

Processes are started and ended; the position stays. Every move is recorded when it is made. A move
that leaves turns behind keeps them on a branch, and a notice names it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from ..errors import StoreError
from ..pool.warm import Place
from ..record.resume import RESUMED
from ..turns import cellids
from ..turns.identity import key_of, servers_digest
from ..turns.tree import span

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Any

    from ..record.notebook import Record
    from ..turns.identity import Key
    from ..turns.prompt import Prompt
    from ..turns.settings import Settings
    from ..turns.tree import Branches, Node
    from .rules import Rules


class Asking(NamedTuple):
    """A prompt's position: the turn `before` it, its settings, and the key of its turn."""

    before: Node | None
    settings: Settings
    key: Key

    @property
    def number(self) -> int:
        """The number of its turn in the conversation, from 1."""
        return self.before.number + 1 if self.before else 1


class Left(NamedTuple):
    """The `turns` that a rewind has left, the `line` that says so, and the branch made for them.

    The name is empty if a branch held them already.
    """

    turns: Sequence[Node]
    line: str
    made: str


class Position:
    """The position of one notebook in its tree.

    `rerun` says what happens when a cell that has a turn is run again: `fork` the conversation
    before that turn, or `append` another turn. `settings` are those of the next turn, at first the
    kernel's configured ones. Settings in `locked` can't be changed.
    """

    def __init__(self, record: Record, settings: Settings, *, rerun: str = "fork") -> None:
        self.record = record
        self.settings = settings
        self.rerun = rerun
        self.locked: frozenset[str] = frozenset()
        self.touched = False  # whether a cell has changed a setting since the kernel started
        self.new = True  # whether the next turn, if it has no path, begins a conversation
        self.rewound: Node | None = None  # the turn that the last rewind removed from the path
        self._configured = settings
        self._goes_on = False  # whether the next live turn follows one of an earlier kernel
        self._recorded_by = ""  # the version of claude that answered that turn
        self._notices: list[str] = []
        self._passing = cellids.Passing(self._full_prompt)
        self.changes: dict[str, Any] = {}  # the settings that cells have set
        self._attended: set[str] = set()  # the clients that have a page or a console
        self._visitor = ""  # the client without a page that sent the last cell
        self._in_run = False  # whether it is in a run of its own
        # The notebook's settings, `touched`, `new` and `_goes_on`, while a visitor is there.
        self._meanwhile = (settings, self.touched, self.new, self._goes_on)
        self._withdrawn: list[str] = []  # notices that turned out to be wrong
        self._left: Left | None = None  # what the running turn has left, unless it comes out equal
        # Of the turns that this kernel has replayed, by node: the settings of the user that they
        # were looked up under, and the permission mode that they ended in where they were recorded.
        self._replayed: dict[str, tuple[Settings, str]] = {}
        self._rules: Rules | None = None

    @property
    def branches(self) -> Branches:
        """The tree, and the conversation's position in it."""
        return self.record.branches

    @property
    def place(self) -> Place:
        """The place at which the next turn needs a process."""
        path = tuple(self.branches.path)
        return Place(self.settings, path, self.new and not path)

    @property
    def rules(self) -> Rules:
        """What the user has allowed for this session. Loaded by the first permission question."""
        if self._rules is None:
            from .rules import Rules

            self._rules = Rules(lambda: self.branches.path, lambda: self.settings.cwd)
        return self._rules

    def notice(self, text: str) -> None:
        """Add a notice to the user."""
        self._notices.append(text)

    def take_notices(self) -> list[str]:
        """Return the notices of the record, of moves and of rules, and forget them."""
        notices, self._notices = self._notices, []
        rules = self._rules.take_notices() if self._rules and not self._visitor else []
        return [*self.record.take_notices(), *notices, *rules]

    def take_withdrawn(self) -> list[str]:
        """Return the notices that no longer hold, and forget them."""
        withdrawn, self._withdrawn = self._withdrawn, []
        return withdrawn

    # --- where a cell is asked -------------------------------------------------------------------

    async def enter(
        self,
        cell_id: str | None,
        client: str,
        *,
        stdin: bool,
        asks: bool,
        recognise: Callable[[str | None], Awaitable[None]],
    ) -> None:
        """Go to where a client's cell belongs, before it runs; `asks` is whether it has a prompt.

        `recognise` finds the notebook by the cell.

        A client without cell ids and without `stdin` (MyST, Jupyter Book) has neither a page nor a
        console. It begins at the start with its first prompt, as `hotclaude run` does, though it
        has the notebook's path. So an unchanged notebook replays, and it keeps its place.
        """
        if cell_id is not None or stdin:
            self._attended.add(client)
        if client in self._attended or self.record.path is None:
            self._see_off()
            await recognise(cell_id)
            return
        if client != self._visitor:
            self._see_off()
            await recognise(None)
            self._visitor = client
            self._meanwhile = (self.settings, self.touched, self.new, self._goes_on)
            self.touched, self.changes = False, {}
        if asks and not self._in_run:
            self._in_run = True
            self.record.begin_run()
            self._goes_on, self.new = False, True
            self.settings = self._configured.changed(**self.changes)

    def _see_off(self) -> None:
        """Return to the notebook's place from that of a client without a page."""
        if self._in_run:
            self.record.end_run()
        if self._visitor:
            self.settings, self.touched, self.new, self._goes_on = self._meanwhile
        self._visitor, self._in_run = "", False

    def cell_of(self, cell_id: str | None, client: str, prompt: str) -> str | None:
        """Return the cell that a client sends a prompt from.

        It has another name than its id if that does not last; see `cellids`.
        """
        if cell_id is None or (self.record.ids_last and cellids.lasting(cell_id)):
            return cell_id
        cell, notice = self._passing.name(cell_id, client, prompt, self.branches)
        if notice and self.rerun == "fork":
            self._notices.append(notice)
        return cell

    def _full_prompt(self, node: Node) -> str:
        with contextlib.suppress(StoreError):
            return self.record.turn(node.id).prompt.text
        return ""

    def recognise(self, cell_id: str | None) -> None:
        """Find the notebook in the record by its first cell, and go on where it ended."""
        self.record.recognise(cell_id)
        self.go_on()

    def go_on(self) -> None:
        """Go on where the notebook ended in an earlier kernel, if it was just found."""
        if self.record.resumed:
            self.record.resumed = None
            self.resume_settings()
            self._goes_on = True

    def asked(self, prompt: Prompt) -> Asking:
        """Return the position at which a prompt would be asked."""
        return self.askings(prompt)[0]

    def askings(self, prompt: Prompt) -> list[Asking]:
        """Return the questions whose answers a prompt may replay; the first is the one to ask.

        There is a second one where a replayed turn ended in another permission mode, as when a plan
        was approved in it: the turns recorded behind it were asked under that mode. The replay does
        not change the user's mode, so these turns have another key than the prompt would have. Only
        here keys are computed.
        """
        before = self.before(prompt.cell_id)
        rewinds = self._turn_of(prompt.cell_id) is not None
        settings = self.settings_after(before) if rewinds else self.settings
        parent = before.id if before else None
        modes = [settings.permission_mode]
        if before is not None and "permission_mode" not in self.locked:
            modes.append(self._replayed.get(before.id, (settings, modes[0]))[1])
        found = []
        for mode in dict.fromkeys(modes):
            under = settings.changed(permission_mode=mode)
            key = key_of(parent=parent, prompt=prompt, settings=under)
            found.append(Asking(before, under, key))
        return found

    def before(self, cell_id: str | None) -> Node | None:
        """Return the turn that a cell's turn would follow."""
        turn = self._turn_of(cell_id)
        if turn is None:
            return self.branches.head
        return None if turn.parent is None else self.branches.nodes[turn.parent]

    def _turn_of(self, cell_id: str | None) -> Node | None:
        return self.branches.turn_of(cell_id) if self.rerun == "fork" else None

    def rewind(self, asking: Asking, replayed: str | None = None) -> None:
        """Leave the turns of the branch that a prompt's turn will not follow.

        Another branch keeps them, and a notice names it. A replay leaves nothing if its node
        `replayed` is the very next of these turns.
        """
        left = self.branches.beyond(asking.before)
        if not left or left[0].id == replayed:
            return
        known = set(self.branches.branches)
        name = self.branches.rewind(asking.before)
        line = f"Rewound before turn {left[0].number}; {span(left)} branch {name}"
        self._left = None if replayed else Left(left, line, "" if name in known else name)
        self._notices.append(line)
        self.rewound, self._goes_on = left[0], False
        self.settings, self.new = asking.settings, False
        self.record.write()

    def settle(self, node: str | None) -> None:
        """End a live turn. If it came out as the very turn that was rewound, nothing was left.

        Then the turns behind that one are ahead again, and the branch and the notice are withdrawn.
        """
        if self._rules:
            self._rules.settle(node)
        left, self._left = self._left, None
        if left is None or left.turns[0].id != node:
            return
        self.branches.rejoin(left.turns[1:], left.made)
        self.record.write(deleted=left.made)
        self._withdrawn.append(left.line)

    def follow(
        self, asking: Asking, node: Node, *, origin: int | None = None, mode: str = ""
    ) -> None:
        """Move to a replayed turn, a recorded one of the notebook `origin`.

        `rewind` has left what it does not follow. `mode` is the permission mode in which the turn
        ended where it was recorded, by default the user's. The settings stay the user's, those of
        `asking`: a replay changes nothing that Claude may do.
        """
        self.settings = asking.settings
        self._replayed[node.id] = (asking.settings, mode or asking.settings.permission_mode)
        if self._rules:
            self._rules.forget(node.id)  # a replayed turn allows nothing
        self.branches.step_back(asking.before)
        self.record.join(node, origin=origin)
        self.new = self._goes_on = False

    def say_mode(self, asking: Asking) -> None:
        """Notify the user, at a live turn behind a replay, if that turn ended in another mode."""
        node = asking.before.id if asking.before else ""
        now = asking.settings.permission_mode
        _, then = self._replayed.get(node, (asking.settings, now))
        if then != now:
            self._notices.append(
                f"Goes on in the permission mode {now}: the turn before ended in {then}, and its "
                "replay changes no mode"
            )

    def say_goes_on(self) -> None:
        """Notify the user, at the first live turn, that it follows an earlier kernel's turn."""
        goes_on, self._goes_on = self._goes_on, False
        if goes_on and (head := self.branches.head):
            self._notices.append(f"Goes on after turn {head.number}, from the record")
            self._notices += self._without_servers(head)
            self._recorded_by = self.record.version_of(head)

    def _without_servers(self, head: Node) -> list[str]:
        """Return a notice if this kernel has not the MCP servers that a turn was asked with.

        Only their digest is recorded, so they can't be resumed.
        """
        with contextlib.suppress(StoreError):
            then = servers_digest(self.record.settings_of(head))
            now = servers_digest(self.settings)
            if then is not None and then != now:
                how = "with others" if now else "without them"
                return [
                    f"Turn {head.number} was asked with MCP servers that this kernel's "
                    f"configuration (`mcp_config`) does not have; it goes on {how}"
                ]
        return []

    def compare_version(self, now: str) -> None:
        """Notify the user, once, if another version of claude answered an earlier kernel's turn."""
        then, self._recorded_by = self._recorded_by, ""
        if then and now and then != now:
            self._notices.append(f"The turns so far are of claude {then}; it goes on with {now}")

    # --- moving ----------------------------------------------------------------------------------

    def go(self, move: Callable[[], Any]) -> Any:
        """Call `move`, which moves in the tree, and record the move; return what it returns."""
        found = move()
        self.new = False
        self.resume_settings()
        if self.record.resumed:
            self.record.resumed, self._goes_on = None, True
        self.record.write()
        return found

    def renew(self) -> str:
        """Move to before the first turn; return the branch that keeps the conversation so far."""
        name = self.branches.keep()
        self.branches.stand(None)
        self.record.resumed, self._goes_on, self.new = None, False, True
        self.record.write()
        return name

    # --- settings --------------------------------------------------------------------------------

    def resume_settings(self) -> None:
        """Set the settings to those that apply after the head."""
        self.settings = self.settings_after(self.branches.head)

    def settings_after(self, node: Node | None) -> Settings:
        """Return the settings that apply after a turn.

        If a cell of this kernel has set any, they are the current ones. Else they are those of the
        kernel's configuration, and the turn's own for unset ones of `RESUMED`. Permissions are
        never taken from the turn. Of a turn that this kernel replayed, the settings are those that
        it was looked up under: the recorded ones may have the folder of another notebook.
        """
        if self.touched:
            return self.settings
        settings = self._configured
        if node is not None:
            with contextlib.suppress(StoreError):
                replayed = self._replayed.get(node.id)
                asked = replayed[0] if replayed else self.record.settings_of(node)
                unset = [name for name in RESUMED if getattr(settings, name) is None]
                kept = {name: getattr(asked, name) for name in unset if name not in self.locked}
                settings = settings.changed(**kept)
        return settings
