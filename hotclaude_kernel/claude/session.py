"""One live conversation with one process: prompts in, events out, control requests both ways."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import time
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from ..errors import ClaudeUnusable, ControlError
from . import frames
from .events import Event, Result, StateChanged
from .frames import Frame
from .parsing import parse, user_uuids
from .shapes import Misshapen, made, read, read_or

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from .transport import Transport

log = logging.getLogger(__name__)

INITIALIZE_S = 30.0
CONTROL_S = 10.0
IDLE_S = 2.0  # how long after its result a turn may take to report idle
# Older binaries lack the state events that end a turn, or the control requests we rely on.
OLDEST_VERSION = (2, 1, 0)


class PermissionRequest(Struct, frozen=True, kw_only=True):
    """The process asks whether it may use a tool.

    `reason_type` is the kind of its reason, `unruled` that it wants to be asked each time.
    """

    tool_name: str
    tool_input: Frame
    tool_use_id: str = ""
    description: str = ""
    reason: str = ""
    blocked_path: str = ""
    suggestions: tuple[Frame, ...] = ()
    needs_user: bool = False
    reason_type: str = ""
    unruled: bool = False


class Greeting(Struct, frozen=True, kw_only=True):
    """The process's answer to `initialize`: its version, models, commands and account."""

    version: str
    models: tuple[Frame, ...] = ()
    commands: tuple[Frame, ...] = ()
    api_key_source: str | None = None
    api_provider: str = ""
    token_source: str = ""


async def deny(request: PermissionRequest) -> Frame:
    """Deny a permission request, because no user can be asked."""
    return {"behavior": "deny", "message": f"{request.tool_name} is not permitted here."}


class Session:
    """A conversation on a transport. One turn at a time; control requests at any time.

    `permit` answers the process's permission requests; it may be replaced between turns.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        permit: Callable[[PermissionRequest], Awaitable[Frame]] = deny,
    ) -> None:
        self.permit = permit
        self.greeting: Greeting | None = None
        self.session_id = ""
        self.last_frame = time.monotonic()
        self.stray: list[Event] = []  # events that came while no turn was running
        # Called with each frame of the turn and the events in it.
        self.tape: Callable[[Frame, list[Event]], None] | None = None
        self._transport = transport
        self._numbers = itertools.count(1)
        self._answers: dict[str, asyncio.Future[Frame]] = {}
        self._asked: dict[str, asyncio.Task[None]] = {}
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._reading: asyncio.Task[None] | None = None
        self._turn_uuid: str | None = None
        self._missed = False  # whether the turn's own result may be among the frames not read
        self._alive = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def pid(self) -> int | None:
        """The process id."""
        return self._transport.pid

    @property
    def alive(self) -> bool:
        """Whether the process is running, so that prompts can be sent."""
        return self._alive

    @property
    def busy(self) -> bool:
        """Whether a turn is running."""
        return self._turn_uuid is not None

    async def start(self) -> Greeting:
        """Open the transport and greet the process.

        Raises `ProcessDied` if the process ends at once, and `ClaudeUnusable` if it is too old,
        refuses `initialize`, or answers nonsense.
        """
        await self._transport.open()
        self._alive = True
        self._reading = asyncio.create_task(self._read(), name="claude-reader")
        try:
            answer = await self.control("initialize", timeout_s=INITIALIZE_S, hooks=None)
            self.greeting = _greeting(answer)
        except (ControlError, Misshapen) as error:
            raise ClaudeUnusable(
                f"The claude binary does not answer as expected: {error}",
                hint="Install Claude Code 2.1 or newer, or point HOTCLAUDE_CLI to one.",
            ) from error
        _check_version(self.greeting.version)
        return self.greeting

    async def send(self, content: str | list[Frame], uuid: str) -> AsyncIterator[Event]:
        """Ask `content` and yield the turn's events; the last one is its `Result`.

        The turn is over when the process is idle again. If its `result` can't be read, the `Result`
        is an error. Raises `ProcessDied` if the process ends before that.
        """
        if not self._alive:
            raise self._transport.death()
        self._turn_uuid, self._missed = uuid, False
        self._idle.clear()
        self._events = asyncio.Queue()  # drops the events that an abandoned turn left
        try:
            self._transport.write(frames.user_frame(content, uuid))
            async for event in self._turn_events(uuid):
                yield event
        finally:
            self._turn_uuid = None
            self._idle.set()

    async def idle(self) -> None:
        """Wait until no turn is running."""
        await self._idle.wait()

    def take_stray(self) -> list[Event]:
        """Return the events that came while no turn was running, and forget them."""
        stray, self.stray = self.stray, []
        return stray

    async def _turn_events(self, uuid: str) -> AsyncIterator[Event]:
        running = False
        while True:
            event = await self._events.get()
            if event is None:
                raise self._transport.death()
            if _ends(uuid, event):
                await self._until_idle()
                yield event
                return
            yield event
            if isinstance(event, StateChanged):
                if running and self._missed and event.state == "idle":
                    [end] = self._record(frames.unread_result([uuid]))
                    yield end
                    return
                running = running or event.state == "running"
            elif isinstance(event, Result):
                self._missed = True  # it is another prompt's, or its uuid is damaged

    async def _until_idle(self) -> None:
        """Wait for the `idle` state that ends the turn. Other events until then are stray."""
        try:
            async with asyncio.timeout(IDLE_S):
                while (event := await self._events.get()) is not None:
                    if isinstance(event, StateChanged) and event.state == "idle":
                        return
                    self.stray.append(event)
                self._events.put_nowait(None)  # the process died: tell the next reader too
        except TimeoutError:
            log.debug("no idle after the result")

    async def interrupt(self) -> None:
        """Stop the running turn. Its `Result` then says that it was aborted."""
        await self.control("interrupt", cancel_queued=True)

    async def rewind(self, target_uuid: str, last_uuid: str, *, absent_too: bool = False) -> bool:
        """Remove the prompt `target_uuid` and all that follows it from the process's history.

        `last_uuid` is the newest prompt in the history. Return whether the prompt was removed; an
        older binary does not know the request. With `absent_too`, a prompt that never entered the
        history also counts as removed.
        """
        try:
            answer = await self.control(
                "rewind_conversation",
                target_message_uuid=target_uuid,
                last_seen_user_message_uuid=last_uuid,
                interrupt_if_running=False,
            )
        except ControlError as error:
            log.debug("rewind refused: %s", error)
            return False
        if answer.get("rewound"):
            return True
        if absent_too and answer.get("reason") == "target_not_found":
            return True
        log.debug("rewind refused: %s", answer.get("reason"))
        return False

    async def control(self, subtype: str, *, timeout_s: float = CONTROL_S, **fields: Any) -> Frame:
        """Send a control request and return its answer.

        Raises `ControlError` if the process refuses it or does not answer within `timeout_s`
        seconds, `ProcessDied` if the process has ended.
        """
        if not self._alive:
            raise self._transport.death()
        request_id = f"hotclaude-{next(self._numbers)}"
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._answers[request_id] = answer
        self._transport.write(frames.request_frame(request_id, subtype, fields))
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            raise ControlError(f"no answer to {subtype} within {timeout_s:g} s") from None
        finally:
            self._answers.pop(request_id, None)

    def kill(self) -> None:
        """End the process before it does anything more; `close` is needed all the same."""
        self._transport.kill()
        self._alive = False

    async def close(self, *, now: bool = False) -> None:
        """End the process, in bounded time; a second call is harmless. A running turn is cut."""
        await self._transport.close(now=now or self.busy)
        if self._reading:
            self._reading.cancel()
            await asyncio.gather(self._reading, *self._asked.values(), return_exceptions=True)
        self._alive = False

    async def _read(self) -> None:
        try:
            while batch := await self._transport.read():
                self.last_frame = time.monotonic()
                for frame in batch:
                    self._dispatch(frame)
                del batch, frame  # a long line is not kept until the next one comes
        finally:
            self._end()

    def _end(self) -> None:
        """Tell all waiting requests and the running turn that the process has ended."""
        self._alive = False
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(self._transport.death())
        for task in self._asked.values():
            task.cancel()
        self._events.put_nowait(None)

    def _dispatch(self, frame: Frame) -> None:
        """Read one frame. A frame of a wrong shape is skipped, and the next one is read."""
        try:
            self._route(frame)
        except Exception as error:  # whatever a frame holds, the reader must not end
            level = logging.DEBUG if self._missed else logging.WARNING  # warn once in a turn
            log.log(level, "skipped: %s, of a wrong shape: %.200s", frames.name(frame), error)
            self._missed = True
            if frame.get("type") == "result":
                self._take(frames.unread_result(_user_uuids(frame)))

    def _route(self, frame: Frame) -> None:
        match read(frame.get("type"), str):
            case "control_response":
                self._settle(read(frame.get("response"), Frame))
            case "control_request":
                request_id = read(frame.get("request_id"), str)
                self._serve(request_id, read_or(frame.get("request"), Frame, {}))
            case "control_cancel_request":
                if task := self._asked.pop(read(frame.get("request_id"), str), None):
                    task.cancel()
            case "result":
                read(frame.get("is_error"), bool)  # a turn that may have failed is not finished
                self._take(frame)
            case frames.UNREADABLE:
                raise Misshapen(f"a line of {frame['bytes']:,} bytes is no JSON")
            case frames.DECIDED:
                raise Misshapen("the process does not decide for the user")
            case _:
                self._take(frame)

    def _take(self, frame: Frame) -> None:
        for event in self._record(frame):
            if self._turn_uuid is None:
                self.stray.append(event)
            else:
                self._events.put_nowait(event)

    def _record(self, frame: Frame) -> list[Event]:
        """Return the events in a frame; the tape records it if there are any."""
        frame = frames.without_copies(frame)
        events = parse(frame)
        if not events:
            log.debug("skipped: %s", frames.name(frame))
        elif self.tape is not None:
            self.tape(frame, events)
            if self._turn_uuid and any(_ends(self._turn_uuid, event) for event in events):
                self.tape = None  # what comes behind the result is not the turn's
        return events

    def _settle(self, response: Frame) -> None:
        answer = self._answers.get(read(response.get("request_id"), str))
        if answer is None or answer.done():
            return
        if response.get("subtype") != "success":
            error = read_or(response.get("error") or None, str, "refused")
            answer.set_exception(ControlError(error))
            return
        try:
            answer.set_result(read(response.get("response") or {}, Frame))
        except Misshapen as error:
            answer.set_exception(ControlError(f"the answer is of a wrong shape: {error}"))

    def _serve(self, request_id: str, request: Frame) -> None:
        task = asyncio.create_task(self._answer(request_id, request))
        self._asked[request_id] = task
        task.add_done_callback(lambda _: self._asked.pop(request_id, None))

    async def _answer(self, request_id: str, request: Frame) -> None:
        """Answer a control request of the process; without an answer the turn waits for ever."""
        subtype = request.get("subtype")
        if subtype != "can_use_tool":
            error = f"hotclaude does not serve {subtype}"
            self._transport.write(frames.refusal_frame(request_id, error))
            return
        try:
            decision = await self.permit(_permission_request(request))
        except Exception as error:  # whatever `permit` raised, the process needs an answer
            log.exception("the permission question failed")
            self._transport.write(frames.refusal_frame(request_id, str(error)))
            return
        self._transport.write(frames.response_frame(request_id, decision))


def _ends(uuid: str, event: Event) -> bool:
    """Return whether an event is the result of this prompt; some results name no prompt."""
    return isinstance(event, Result) and uuid in (event.user_uuids or (uuid,))


def _permission_request(request: Frame) -> PermissionRequest:
    """Return the request; raises `Misshapen` if it has a wrong type, or can't be shown whole."""
    asked = made(
        PermissionRequest,
        tool_name=request.get("tool_name"),
        tool_input=request.get("input") or {},
        tool_use_id=request.get("tool_use_id") or "",
        description=request.get("description") or "",
        reason=request.get("decision_reason") or "",
        blocked_path=request.get("blocked_path") or "",
        suggestions=request.get("permission_suggestions") or (),
        needs_user=bool(request.get("requires_user_interaction")),
        reason_type=str(request.get("decision_reason_type") or ""),
        unruled=bool(request.get("suppress_always_allow_rule")),
    )
    if frames.deeper(asked.tool_input, frames.DEEPEST_INPUT):
        levels = frames.DEEPEST_INPUT
        raise Misshapen(f"The input is nested more than {levels} levels deep: it can't be shown")
    return asked


def _user_uuids(result: Frame) -> tuple[str, ...]:
    try:
        return user_uuids(result)
    except Misshapen:
        return ()


def _greeting(answer: Frame) -> Greeting:
    account = read_or(answer.get("account"), Frame, {})
    return made(
        Greeting,
        version=answer.get("claude_code_version") or "",
        models=read_or(answer.get("models"), tuple[Frame, ...], ()),
        commands=read_or(answer.get("commands"), tuple[Frame, ...], ()),
        api_key_source=read_or(account.get("apiKeySource"), str, None),
        api_provider=read_or(account.get("apiProvider"), str, ""),
        token_source=read_or(account.get("tokenSource"), str, ""),
    )


def _check_version(version: str) -> None:
    parts = version.split(".")[:3]
    numbers = tuple(int(part) for part in parts if re.fullmatch(r"[0-9]{1,9}", part))
    if numbers < OLDEST_VERSION:
        wanted = ".".join(map(str, OLDEST_VERSION))
        raise ClaudeUnusable(
            f"claude {version or '(of unknown version)'} is too old: {wanted} or newer is needed",
            hint="Update Claude Code, or point HOTCLAUDE_CLI to a newer binary.",
        )
