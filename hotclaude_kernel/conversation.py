"""The conversation of a notebook: which process serves it, and what each cell's turn became.

The process may be replaced at any time (a setting that only a new one takes, a crash); the
conversation is what stays. It is resumed from the process's own transcript, never started afresh
without a word, and a turn that did not finish is cut off before the next one is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import protocol, stall
from .errors import (
    ApiError,
    ControlError,
    ConversationLost,
    Crashed,
    HotClaudeError,
    Interrupted,
    ProcessDied,
    PromptTooLong,
    TransportError,
    TurnError,
    UsageError,
)
from .launching import BASE_ARGV, find_claude
from .outcome import failure
from .session import Greeting, PermissionRequest, Session, deny
from .transport import ProcessTransport, kill_unadopted, spawn
from .turn import LIVE_SETTINGS, Clock, Prompt, Settings, Turn, config_dir, transcript_path

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Awaitable, Callable

    from .launching import Prespawned
    from .protocol import Event

log = logging.getLogger(__name__)

INTERRUPT_S = 2.0  # an interrupt takes 10 ms; a process that does not stop by then is ended
CHARACTERS_PER_TOKEN = 4
# Settings that the transcript has recorded; a new value counts only if the record is ignored.
RECORDED_SETTINGS = {"system", "append_system"}


class Conversation:
    """Turns of one conversation, asked of one process at a time.

    `permit` answers permission requests of the turn that is running; `stall_timeout_s` bounds how
    long the API may be silent while it owes an answer.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        binary: str = "",
        stall_timeout_s: float = 60.0,
        prespawned: Prespawned | None = None,
    ) -> None:
        self.settings = settings
        self.turns: list[Turn] = []
        self.session_id = prespawned.session_id if prespawned else str(uuid.uuid4())
        self.stall_timeout_s = stall_timeout_s
        self.locked: frozenset[str] = frozenset()  # settings that no cell may change
        self.permit: Callable[[PermissionRequest], Awaitable[protocol.Frame]] = deny
        self.greeting: Greeting | None = None
        self.model = ""
        self.tools: tuple[str, ...] = ()
        self.resumes = 0
        self._notices: list[str] = []
        self._binary = binary
        self._prespawned = prespawned
        self._session: Session | None = None
        self._starting: asyncio.Task[Session] | None = None
        self._half: Turn | None = None
        self._ignore_recorded = False
        self._interrupting = False

    # --- asking ------------------------------------------------------------------------------

    async def ask(self, prompt: Prompt, show: Callable[[Event], None]) -> Turn:
        """Ask `prompt`, hand each event of its turn to `show`, and return the finished turn.

        Raises a `TurnError` where the turn did not finish; what was shown until then stays.
        Raises `TransportError` or `ConversationLost` where nothing was sent.
        """
        self._guard_size(prompt)
        self._interrupting = False
        session = await self.session()
        turn = self._begin(prompt, session)
        while True:
            try:
                result = await self._run(session, turn, show)
            except ProcessDied as death:
                if turn.events or turn.session_pid != session.pid:
                    raise self._crashed(session, turn, death) from death
                # It was dead before and never took the prompt; once, a new process is asked.
                session = await self._replace(session, turn)
            else:
                return await self._end(session, turn, result)

    def _begin(self, prompt: Prompt, session: Session) -> Turn:
        hot = any(turn.session_pid == session.pid for turn in self.turns)
        turn = Turn(
            prompt=prompt,
            uuid=str(uuid.uuid4()),
            clock=Clock(hot=hot),
            number=len(self.turns) + 1,
            session_id=self.session_id,
            session_pid=session.pid,
        )
        self.turns.append(turn)
        return turn

    async def _run(
        self, session: Session, turn: Turn, show: Callable[[Event], None]
    ) -> protocol.Result:
        result = None
        watch = asyncio.create_task(
            stall.watch(session, turn, show, timeout_s=self.stall_timeout_s, stop=self._stop)
        )
        try:
            async for event in session.send(turn.prompt.content, turn.uuid):
                self._note(turn, event)
                show(event)
                if isinstance(event, protocol.Result):
                    result = event
        except asyncio.CancelledError:
            self._abandon(session, turn)
            raise
        finally:
            watch.cancel()
        assert result is not None  # `send` ends with a result or raises
        return result

    async def _replace(self, dead: Session, turn: Turn) -> Session:
        """Return a new process for a turn whose process was found dead."""
        self._retire(dead)
        try:
            session = await self.session()
        except BaseException:
            self.turns.remove(turn)  # nothing was sent
            raise
        turn.clock = Clock(hot=False)
        return session

    def _note(self, turn: Turn, event: Event) -> None:
        """Keep of an event what the turn is made of; deltas are a preview and are not kept."""
        match event:
            case protocol.Delta():
                if turn.clock.first_text is None and event.kind == "text":
                    turn.clock.first_text = time.monotonic()
                return
            case protocol.TurnStarted():
                self.model, self.tools = event.model, event.tools
                turn.model = event.model
            case protocol.ModeChanged():
                self.settings = self.settings.changed(permission_mode=event.mode)
            case protocol.Requesting() | protocol.MessageStarted():
                turn.awaiting_api = True
            case protocol.MessageStopped():
                turn.awaiting_api = False
            case protocol.Retry():
                turn.patience_until = time.monotonic() + event.delay_s
            case protocol.Block(parent=None, error=None):
                turn.last_uuid, turn.model = event.uuid, event.model or turn.model
                turn.clock.first_text = turn.clock.first_text or time.monotonic()
            case protocol.ToolResult(parent=None):
                turn.last_uuid = event.uuid
        turn.events.append(event)

    async def _end(self, session: Session, turn: Turn, result: protocol.Result) -> Turn:
        turn.usage = result.usage
        self.session_id = turn.session_id = result.session_id or self.session_id
        error = failure(result, turn, stalled_s=self.stall_timeout_s if turn.stalled else None)
        if error is None:
            turn.end("ok")
            return turn
        turn.end("interrupted" if isinstance(error, Interrupted) else "error", error)
        if isinstance(error, ApiError | PromptTooLong) and not turn.last_uuid:
            # Unanswered, the prompt would stay in the history and be joined to the next one.
            await self._cut(session, turn)
        raise error

    def _crashed(self, session: Session, turn: Turn, death: ProcessDied) -> TurnError:
        """Close a turn whose process died; the conversation is resumed in the background."""
        error: TurnError
        if self._interrupting:
            error = Interrupted("Interrupted", hint="The process did not stop and was ended.")
            turn.end("interrupted", error)
        else:
            error = Crashed(
                f"{death.message}, in the middle of the turn",
                hint="The conversation is being resumed without this turn; run the cell again.",
            )
            turn.end("crashed", error)
        self._half = turn
        self._retire(session)
        self.warm()
        return error

    def _abandon(self, session: Session, turn: Turn) -> None:
        """Give up a turn at once: end its process, and resume without it."""
        turn.end("interrupted", Interrupted("Interrupted"))
        self._half = turn
        self._retire(session, now=True)
        self.warm()

    def _guard_size(self, prompt: Prompt) -> None:
        """Refuse what can't fit: the process would compact away the conversation to try."""
        window = next((t.usage.context_window for t in reversed(self.turns)), None)
        tokens = len(prompt.text) // CHARACTERS_PER_TOKEN
        if window and tokens > window:
            raise PromptTooLong(
                f"The prompt is too long: about {tokens:,} tokens, and the window holds {window:,}",
                hint="Shorten it, or let Claude read the text from a file in parts.",
            )

    # --- stopping ----------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether a turn is being answered."""
        return self._session is not None and self._session.busy

    async def interrupt(self) -> None:
        """Stop the running turn, if there is one; the process and what was said so far stay."""
        if self._session is not None and self._session.busy:
            self._interrupting = True
            await self._stop(self._session)

    async def _stop(self, session: Session) -> None:
        try:
            await session.interrupt()
            async with asyncio.timeout(INTERRUPT_S):
                await session.idle()
        except (TimeoutError, TransportError):
            log.debug("the process does not stop; ending it")
            await session.close(now=True)

    async def close(self) -> None:
        """End the process. Bounded; nothing is left running."""
        if self._prespawned:
            kill_unadopted(self._prespawned.process)
            self._prespawned = None
        if self._starting:
            self._starting.cancel()
            with contextlib.suppress(asyncio.CancelledError, HotClaudeError):
                self._session = await self._starting
        if self._session:
            await self._session.close()
        self._session = self._starting = None

    # --- the process -------------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """The process that serves the conversation now."""
        return self._session.pid if self._session and self._session.alive else None

    @property
    def ready(self) -> bool:
        """Whether a turn can be asked without waiting for a process."""
        if self._starting is not None:
            return self._starting.done()
        return self._session is not None and self._session.alive

    def take_notices(self) -> list[str]:
        """Return, once, what the user should know of what happened to the process."""
        notices, self._notices = self._notices, []
        stray = self._session.take_stray() if self._session is not None else []
        return notices + [text for event in stray if (text := _stray_text(event))]

    def warm(self) -> None:
        """Begin to start the process, so that it is ready when the next turn comes."""
        if self._starting is None and not (self._session and self._session.alive):
            self._starting = asyncio.create_task(self._start(), name="claude-start")
            self._starting.add_done_callback(_retrieve)

    async def session(self) -> Session:
        """Return the live session, starting or resuming it where needed."""
        self.warm()
        if self._starting is not None:
            starting = self._starting
            try:
                # Shielded: an interrupt gives up the waiting, not the process.
                self._session = await asyncio.shield(starting)
            finally:
                if starting.done() and self._starting is starting:
                    self._starting = None
        assert self._session is not None
        self._session.permit = self.permit
        return self._session

    async def _start(self) -> Session:
        where = self._where()
        argv = (find_claude(self._binary), *BASE_ARGV, *self.settings.argv(), *where)
        session = Session(ProcessTransport(self._process(argv)))
        try:
            self.greeting = await session.start()
        except ProcessDied as death:
            await session.close(now=True)
            raise self._refused(death, resuming="--resume" in where) from death
        except BaseException:
            await session.close(now=True)
            raise
        if "--resume" in where:
            self.resumes += 1
            await self._cut_half(session)
        return session

    def _process(self, argv: tuple[str, ...]) -> subprocess.Popen[bytes]:
        """Return the process that was started early, if it is the one wanted, else a new one."""
        cwd = self.settings.cwd or str(Path.cwd())
        early, self._prespawned = self._prespawned, None
        if early is not None:
            if (early.argv, early.cwd) == (argv, cwd):
                return early.process
            kill_unadopted(early.process)
        return spawn(argv, cwd)

    def _where(self) -> tuple[str, ...]:
        """Return the flags that say which conversation: a new one, or this one resumed."""
        path = transcript_path(config_dir(), self.session_id)
        if path is not None:
            # By path: an id is looked up only under the working directory it was begun in.
            snapshot = ("--system-prompt-snapshot", "off") if self._ignore_recorded else ()
            return ("--resume", str(path), *snapshot)
        if any(turn.status == "ok" for turn in self.turns):
            raise ConversationLost(
                "The conversation can't be resumed: its transcript is gone",
                hint="Nothing was sent. `%new` begins a new conversation.",
            )
        self._half = None
        return ("--session-id", self.session_id)

    def _refused(self, death: ProcessDied, *, resuming: bool) -> HotClaudeError:
        if resuming:
            return ConversationLost(
                f"The conversation can't be resumed: {death.message}",
                hint="Nothing was sent. `%new` begins a new conversation.",
            )
        death.hint = death.hint or "Run `claude --version` in a terminal to see whether it works."
        return death

    async def _cut_half(self, session: Session) -> None:
        half, self._half = self._half, None
        if half is None:
            return
        await self._cut(session, half)
        fate = "without" if half.cut else "but could not leave out"
        self._notices.append(
            f"Resumed in a new process (pid {session.pid}), {fate} the unfinished turn "
            f"{half.number}"
        )

    async def _cut(self, session: Session, turn: Turn) -> None:
        """Take an unfinished turn out of the history; note on it whether that worked."""
        with contextlib.suppress(TransportError):
            turn.cut = await session.rewind(turn.uuid, turn.uuid)

    def _retire(self, session: Session, *, now: bool = False) -> None:
        """Let a process end while its successor is already starting."""
        self._session = None
        task = asyncio.ensure_future(session.close(now=now))
        task.add_done_callback(_retrieve)
        self._retiring = task

    # --- settings ----------------------------------------------------------------------------

    async def change(self, **changes: Any) -> None:
        """Apply settings: in the running process where it can, else in a resumed one.

        Raises `UsageError` if the process refuses the value; nothing is changed then.
        """
        new = self.settings.changed(**changes)
        differing = new.differing(self.settings)
        if not differing:
            return
        if locked := differing & self.locked:
            names = ", ".join(sorted(locked)).replace("_", " ")
            raise UsageError(
                f"This kernel is restricted: its {names} can't be changed",
                hint="Whoever configured it can: see `restricted` in README.",
            )
        if self._starting is not None:
            await self.session()
        session = self._session
        if session is not None and session.alive:
            live = differing <= LIVE_SETTINGS and await self._change_live(session, new, differing)
            if not live:
                self._retire(session)
                await self._retiring
        self._ignore_recorded |= bool(differing & RECORDED_SETTINGS)
        self.settings = new
        self.warm()

    async def _change_live(self, session: Session, new: Settings, differing: set[str]) -> bool:
        """Return whether the running process took all of it."""
        if "effort" in differing and new.effort is None:
            return False  # a level can be set but not unset
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
        return True

    async def renew(self) -> None:
        """Begin a new conversation; the old one's transcript stays where it is."""
        if self._starting is not None:
            with contextlib.suppress(HotClaudeError):
                await self.session()
        if self._session is not None:
            self._retire(self._session)
        self.session_id = str(uuid.uuid4())
        self.turns = []
        self._half = None
        self._ignore_recorded = False
        self.warm()


def _stray_text(event: Event) -> str:
    """Return what came between two turns as one labelled line, empty if it says nothing."""
    match event:
        case protocol.Block(kind="text"):
            return f"Said in the background, after an earlier cell: {event.text}"
        case protocol.Notice():
            return f"After an earlier cell: {event.text}"
    return ""


def _retrieve(task: asyncio.Future[Any]) -> None:
    """Mark a background task's error as seen; who awaits the task gets it all the same."""
    if not task.cancelled():
        task.exception()
