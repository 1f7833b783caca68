"""Where a conversation stands: in the tree, under which settings, and with which process.

Processes come and go (see `pool`); the tree and the settings are what stays. Every move is
recorded as it is made, says what it leaves behind, and loses nothing.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from ..claude.events import Block, Notice
from ..claude.session import PermissionRequest, deny
from ..errors import ControlError, StoreError, UsageError
from ..pool.pool import Pool
from ..pool.warm import Limits, Place
from ..record.notebook import Record
from ..turns import budget
from ..turns.settings import LIVE_SETTINGS, Settings
from ..turns.tree import Node, span

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..claude import frames
    from ..claude.events import Event
    from ..claude.launch import Prespawned
    from ..claude.session import Greeting, Session
    from ..pool.warm import Warm
    from ..turns.tree import Branches
    from ..turns.turn import Turn

# The settings that hold for the turns that follow, in a later kernel too.
RESUMED = ("model", "effort", "system", "append_system", "tools", "cwd")


class Standing:
    """The place that the next turn is asked at.

    `permit` answers permission requests of the turn that is running. `rerun` says what a cell does
    that has a turn already: fork the conversation before that turn, or append another.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        binary: str = "",
        prespawned: Prespawned | None = None,
        notebook: str | None = None,
        store: str = "",
        limits: Limits | None = None,
        rerun: str = "fork",
        mode: str = "new_episodes",
    ) -> None:
        self.settings = self._configured = settings
        self.rerun = rerun
        self.mode = mode  # when a turn is replayed, and when it is recorded
        self.budget = budget.Budget()
        self.parameters: dict[str, Any] = {}  # what prompts are rendered with
        self.locked: frozenset[str] = frozenset()  # settings that no cell may change
        self.permit: Callable[[PermissionRequest], Awaitable[frames.Frame]] = deny
        self.greeting: Greeting | None = None
        self.model = ""
        self.tools: tuple[str, ...] = ()
        self.record = Record(notebook, store=store)
        self.pool = Pool(self.record, binary=binary, limits=limits, prespawned=prespawned)
        self.rewound: Node | None = None  # the turn that the last rewind took out
        self._new = True  # whether the next turn begins a conversation
        self._touched = False  # whether a cell of this kernel's life has set anything
        self._notices: list[str] = []
        self._warm: Warm | None = None  # the process of the running turn, or of the last one
        self._session_id = ""
        self._half: Turn | None = None
        self._goes_on: Node | None = None  # the last turn of an earlier kernel
        self._recorded_by = ""  # the version of claude that the record goes on from

    # --- where a cell is asked -------------------------------------------------------------------

    @property
    def branches(self) -> Branches:
        """The tree, and where in it the conversation stands."""
        return self.record.branches

    @property
    def place(self) -> Place:
        """Where a process is wanted for the next turn."""
        return Place(self.settings, tuple(self.branches.path), self._new and not self.branches.path)

    def recognise(self, cell_id: str | None) -> None:
        """Learn from the first cell which notebook this is, and where it goes on."""
        self.record.recognise(cell_id)
        if resumed := self.record.resumed:
            self.record.resumed = None
            self._resume_settings()
            self._goes_on = resumed

    def _say_goes_on(self) -> None:
        """Say, at the first live turn, that it follows those of an earlier kernel."""
        resumed, self._goes_on = self._goes_on, None
        if resumed is not None and self.branches.head is resumed:
            self._notices.append(f"Goes on after turn {resumed.number}, from the record")
            self._recorded_by = self.record.version_of(resumed)

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
        self._new = False
        self._resume_settings()
        self.record.write()
        self.rewound = turn
        self._notices.append(f"Rewound before turn {turn.number}; {span(left)} branch {name}")

    def _resume_settings(self) -> None:
        self.settings = self._settings_after(self.branches.head)

    def _settings_after(self, node: Node | None) -> Settings:
        """Return the settings that hold after a turn, if no cell of this kernel has set any.

        What Claude may do is not among them, nor what was configured for this kernel.
        """
        if self._touched:
            return self.settings
        settings = self._configured
        if node is not None:
            with contextlib.suppress(StoreError):
                asked = self.record.settings_of(node)
                unset = [name for name in RESUMED if getattr(settings, name) is None]
                kept = {name: getattr(asked, name) for name in unset if name not in self.locked}
                settings = settings.changed(**kept)
        return settings

    async def go(self, move: Callable[[], Any]) -> Any:
        """Make a move in the tree, record it, and begin to start a process where it leads."""
        self._check_idle()
        found = move()
        self._new = False
        self._resume_settings()
        self.record.resumed = None
        self.record.write()
        self.warm()
        return found

    @property
    def running(self) -> bool:
        """Whether a turn is being answered."""
        return self._warm is not None and self._warm.session.busy

    def _check_idle(self) -> None:
        if self.running:
            raise UsageError("A turn is running", hint="Interrupt it, or wait for its end.")

    # --- the process -------------------------------------------------------------------------

    @property
    def session_id(self) -> str:
        """The session that answered last."""
        return self._session_id

    @property
    def pid(self) -> int | None:
        """The process that serves the conversation now."""
        warm = self._warm if self.running else self.pool.standing(self.place)
        return warm.session.pid if warm else None

    @property
    def dollars(self) -> bool:
        """Whether the list price is what the user pays: their own key, Anthropic's endpoint."""
        greeting = self.greeting
        own_key = greeting is not None and greeting.api_key_source == "ANTHROPIC_API_KEY"
        return own_key and not os.environ.get("ANTHROPIC_BASE_URL")

    @property
    def ready(self) -> bool:
        """Whether a turn can be asked without waiting for a process."""
        return self.pool.standing(self.place) is not None

    @property
    def resumes(self) -> int:
        """How many processes were started on what was said before."""
        return self.pool.tally.resumed

    def take_notices(self) -> list[str]:
        """Return, once, what the user should know of what happened beside the turns."""
        notices, self._notices = self._notices, []
        stray = self._warm.session.take_stray() if self._warm is not None else []
        said = [text for event in stray if (text := _stray_text(event))]
        return [*self.record.take_notices(), *notices, *said]

    def warm(self) -> None:
        """Begin to start the process, so that it is ready when the next turn comes."""
        if self.record.resumed:
            self._resume_settings()
        if self.mode != "none":
            self.pool.prepare(self.place)

    async def _lease(self) -> Warm:
        self._warm = warm = await self.pool.lease(self.place)
        warm.session.permit = self.permit
        self.greeting = warm.session.greeting
        self._session_id = warm.tail.session_id
        self._compare_versions()
        if half := self._half:
            self._half = None
            self._notices.append(
                f"Resumed in a new process (pid {warm.session.pid}), without the unfinished turn "
                f"{half.number}"
            )
        return warm

    def _compare_versions(self) -> None:
        """Say, once, where an earlier kernel's conversation is gone on with by another claude."""
        then, self._recorded_by = self._recorded_by, ""
        now = self.greeting.version if self.greeting else ""
        if then and now and then != now:
            self._notices.append(f"The turns so far are of claude {then}; it goes on with {now}")

    def expect_branch(self) -> None:
        """Begin to start a process at the end of the branch that was left last."""
        here = self.branches.head
        ends = [at for at in self.branches.branches.values() if at and (not here or at != here.id)]
        if ends and self.mode != "none":
            self.pool.prepare(Place(self.settings, tuple(self.branches.path_to(max(ends)))))

    async def session(self) -> Session:
        """Return the live session, starting or resuming it where needed."""
        if self.mode == "none":
            raise UsageError(
                "Turns are only replayed here: no process is started",
                hint="`%record new_episodes` asks what is not recorded.",
            )
        warm = await self._lease()
        self.pool.park(warm, self.place)
        return warm.session

    # --- settings ----------------------------------------------------------------------------

    async def change(self, **changes: Any) -> None:
        """Apply settings: in the running process where it can, else in a resumed one.

        Raises `UsageError` if the process refuses the value; nothing is changed then.
        """
        new = self.settings.changed(**changes)
        differing = new.differing(self.settings)
        if locked := differing & self.locked:
            names = ", ".join(sorted(locked)).replace("_", " ")
            raise UsageError(
                f"This kernel is restricted: its {names} can't be changed",
                hint="Whoever configured it can: see `restricted` in README.",
            )
        self._touched = True
        if not differing:
            return
        live = (
            self.mode != "none"
            and differing <= LIVE_SETTINGS
            and not ("effort" in differing and new.effort is None)
        )
        if live:
            await self._change_live(await self._lease(), new, differing)
        else:
            old = self.pool.standing(self.place)
            if old is not None:
                self.pool.retire(old)
        self.settings = new
        self.warm()

    async def _change_live(self, warm: Warm, new: Settings, differing: set[str]) -> None:
        session = warm.session
        try:
            if "model" in differing:
                await session.control("set_model", model=new.model or "default")
            if "permission_mode" in differing:
                await session.control("set_permission_mode", mode=new.permission_mode)
            if "effort" in differing:
                level = {"effortLevel": new.effort}
                await session.control("apply_flag_settings", settings=level)
        except ControlError as error:
            raise UsageError(f"claude refuses this: {error.message}") from error
        else:
            warm.settings = new
        finally:
            self.pool.park(warm, self.place)

    async def renew(self) -> str:
        """Begin a new conversation; return the branch that the old one stays on."""
        self._check_idle()
        old = self.pool.standing(self.place)
        name = self.branches.keep()
        self.branches.stand(None)
        self.record.resumed, self._half, self._new = None, None, True
        self.record.write()
        if old is not None and old.held:
            self.pool.retire(old)
        self.warm()
        return name


def _stray_text(event: Event) -> str:
    """Return what came between two turns as one labelled line, empty if it says nothing."""
    match event:
        case Block(kind="text"):
            return f"Said in the background, after an earlier cell: {event.text}"
        case Notice():
            return f"After an earlier cell: {event.text}"
    return ""
