"""The session on a scripted transport: what the real binary does rarely, or not yet."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from hotclaude_kernel.claude.events import Block, Event, Result
from hotclaude_kernel.claude.session import Session
from hotclaude_kernel.errors import ClaudeUnusable, ControlError, ProcessDied

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hotclaude_kernel.claude.frames import Frame

UUID = "11111111-1111-4111-8111-111111111111"


class ScriptedTransport:
    """A far side that says what the test makes it say. It greets by itself."""

    pid = 4242

    def __init__(self, version: str = "2.1.330") -> None:
        self.written: list[Frame] = []
        self.closed: list[bool] = []
        self.greeting: Any = {"claude_code_version": version}
        self._frames: asyncio.Queue[list[Frame]] = asyncio.Queue()
        self._wrote = asyncio.Event()

    async def open(self) -> None:
        return

    async def read(self) -> list[Frame]:
        return await self._frames.get()

    def write(self, frame: Mapping[str, Any]) -> None:
        self.written.append(dict(frame))
        self._wrote.set()
        request = frame.get("request") or {}
        if request.get("subtype") == "initialize":
            self.answer(frame["request_id"], self.greeting)

    def death(self) -> ProcessDied:
        return ProcessDied("The claude process was killed by SIGKILL", returncode=-9)

    def kill(self) -> None:
        self.end()

    async def close(self, *, now: bool = False) -> None:
        self.closed.append(now)
        self.end()

    def say(self, *frames: Frame) -> None:
        self._frames.put_nowait(list(frames))

    def end(self) -> None:
        self._frames.put_nowait([])

    def answer(self, request_id: str, response: Frame, subtype: str = "success") -> None:
        body = {"subtype": subtype, "request_id": request_id, "response": response}
        self.say({"type": "control_response", "response": body})

    async def until_written(self, kind: str) -> Frame:
        """Return the first frame of this type that the session wrote, once it has."""
        async with asyncio.timeout(10):
            while True:
                for frame in self.written:
                    if frame["type"] == kind:
                        self.written.remove(frame)
                        return frame
                self._wrote.clear()
                await self._wrote.wait()


@pytest.fixture
def transport() -> ScriptedTransport:
    return ScriptedTransport()


@pytest.fixture
async def session(transport: ScriptedTransport) -> Any:
    session = Session(transport)
    await session.start()
    transport.written.clear()
    yield session
    await session.close()


def text_block(text: str) -> Frame:
    message = {"id": "msg_1", "model": "m", "content": [{"type": "text", "text": text}]}
    return {"type": "assistant", "message": message, "uuid": "u1"}


def result(uuid: str = UUID, **fields: Any) -> Frame:
    base = {"subtype": "success", "is_error": False, "terminal_reason": "completed"}
    return {"type": "result", "user_message_uuids": [uuid], **base, **fields}


IDLE: Frame = {"type": "system", "subtype": "session_state_changed", "state": "idle"}


async def turn(session: Session) -> list[Event]:
    return [event async for event in session.send("hello", UUID)]


class TestTurn:
    async def test_it_ends_at_its_result_and_idle(
        self, session: Session, transport: ScriptedTransport
    ) -> None:
        asking = asyncio.create_task(turn(session))
        await transport.until_written("user")
        transport.say(text_block("hi"), result())
        transport.say(IDLE)
        events = await asking
        assert [type(event) for event in events] == [Block, Result]
        assert not session.busy

    async def test_the_result_of_another_prompt_does_not_end_it(
        self, session: Session, transport: ScriptedTransport
    ) -> None:
        asking = asyncio.create_task(turn(session))
        await transport.until_written("user")
        transport.say(result("another"), text_block("mine"), result(), IDLE)
        assert isinstance((await asking)[-2], Block)

    async def test_what_an_abandoned_turn_left_is_not_the_next_ones(
        self, session: Session, transport: ScriptedTransport
    ) -> None:
        asking = asyncio.create_task(turn(session))
        await transport.until_written("user")
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        transport.say(text_block("late"))
        asking = asyncio.create_task(turn(session))
        await transport.until_written("user")
        transport.say(text_block("mine"), result(), IDLE)
        events = await asking
        assert [e.text for e in events if isinstance(e, Block)] == ["mine"]

    async def test_what_comes_between_turns_is_kept(
        self, session: Session, transport: ScriptedTransport
    ) -> None:
        transport.say(text_block("from the background"))
        transport.say({"type": "control_request", "request_id": "r", "request": {"subtype": "x"}})
        await transport.until_written("control_response")
        assert [e.text for e in session.stray if isinstance(e, Block)] == ["from the background"]

    async def test_the_end_of_the_process_ends_it(
        self, session: Session, transport: ScriptedTransport
    ) -> None:
        asking = asyncio.create_task(turn(session))
        await transport.until_written("user")
        transport.end()
        with pytest.raises(ProcessDied, match="SIGKILL"):
            await asking
        assert not session.alive
        with pytest.raises(ProcessDied):
            await turn(session)


class TestFramesNobodyKnows:
    @pytest.mark.parametrize(
        "frame",
        [
            {"type": "from_the_future", "what": 1},
            {"type": "system", "subtype": "from_the_future"},
            {"type": "stream_event", "event": {"type": "from_the_future"}},
            {"type": "assistant", "message": "of another shape"},
            {"type": "keep_alive"},
            {},
            {"type": 5},
        ],
    )
    async def test_they_are_skipped_with_a_debug_line(
        self,
        session: Session,
        transport: ScriptedTransport,
        caplog: pytest.LogCaptureFixture,
        frame: Frame,
    ) -> None:
        caplog.set_level(logging.DEBUG, "hotclaude_kernel.claude.session")
        asking = asyncio.create_task(turn(session))
        await transport.until_written("user")
        transport.say(frame, text_block("hi"), result(), IDLE)
        assert len(await asking) == 2
        assert caplog.records


class TestControlRequestsOfOurs:
    async def test_a_refusal_is_an_error_and_no_more(
        self, session: Session, transport: ScriptedTransport
    ) -> None:
        asking = asyncio.create_task(session.control("from_the_past"))
        request = await transport.until_written("control_request")
        body = {"subtype": "error", "request_id": request["request_id"], "error": "unsupported"}
        transport.say({"type": "control_response", "response": body})
        with pytest.raises(ControlError, match="unsupported"):
            await asking

    async def test_silence_is_an_error_after_a_while(self, session: Session) -> None:
        with pytest.raises(ControlError, match="no answer to anything"):
            await session.control("anything", timeout_s=0.01)

    async def test_the_end_of_the_process_is_one_at_once(
        self, session: Session, transport: ScriptedTransport
    ) -> None:
        asking = asyncio.create_task(session.control("anything"))
        await transport.until_written("control_request")
        transport.end()
        with pytest.raises(ProcessDied):
            await asking

    async def test_an_answer_to_nothing_is_ignored(
        self, session: Session, transport: ScriptedTransport
    ) -> None:
        transport.answer("never-asked", {})
        asking = asyncio.create_task(session.control("anything"))
        request = await transport.until_written("control_request")
        transport.answer(request["request_id"], {"fine": True})
        assert await asking == {"fine": True}

    @pytest.mark.parametrize(
        ("answer", "out"),
        [
            ({"rewound": True}, True),
            ({"rewound": False, "reason": "target_not_found"}, True),
            ({"rewound": False, "reason": "stale_target"}, False),
        ],
    )
    async def test_a_rewind_tells_whether_the_prompt_is_out(
        self, session: Session, transport: ScriptedTransport, answer: Frame, out: bool
    ) -> None:
        asking = asyncio.create_task(session.rewind(UUID, UUID, absent_too=True))
        request = await transport.until_written("control_request")
        transport.answer(request["request_id"], answer)
        assert await asking is out


class TestControlRequestsOfTheirs:
    async def ask(self, transport: ScriptedTransport, **request: Any) -> Frame:
        transport.say({"type": "control_request", "request_id": "r1", "request": request})
        answer = await transport.until_written("control_response")
        response: Frame = answer["response"]
        return response

    async def test_an_unknown_one_is_answered_with_an_error(
        self, session: Session, transport: ScriptedTransport
    ) -> None:
        response = await self.ask(transport, subtype="hook_callback", callback_id="h1")
        assert response["subtype"] == "error"
        assert "hook_callback" in response["error"]

    async def test_without_anyone_to_ask_a_tool_is_denied(
        self, session: Session, transport: ScriptedTransport
    ) -> None:
        response = await self.ask(transport, subtype="can_use_tool", tool_name="Bash", input={})
        assert response["response"]["behavior"] == "deny"

    async def test_a_question_that_fails_is_answered_with_an_error(
        self, session: Session, transport: ScriptedTransport
    ) -> None:
        async def broken(_: Any) -> Frame:
            raise RuntimeError("no front end")

        session.permit = broken
        response = await self.ask(transport, subtype="can_use_tool", tool_name="Bash", input={})
        assert response == {"subtype": "error", "request_id": "r1", "error": "no front end"}

    async def test_a_withdrawn_question_is_not_answered(
        self, session: Session, transport: ScriptedTransport
    ) -> None:
        asked, withdrawn = asyncio.Event(), asyncio.Event()

        async def wait(_: Any) -> Frame:
            asked.set()
            try:
                await asyncio.Event().wait()
            finally:
                withdrawn.set()
            return {}

        session.permit = wait
        request = {"subtype": "can_use_tool", "tool_name": "Bash", "input": {}}
        transport.say({"type": "control_request", "request_id": "r1", "request": request})
        await asked.wait()
        transport.say({"type": "control_cancel_request", "request_id": "r1"})
        await withdrawn.wait()
        assert not [f for f in transport.written if f["type"] == "control_response"]


class TestStart:
    @pytest.mark.parametrize("version", ["1.0.128", "", "0.9"])
    async def test_an_old_binary_is_refused(self, version: str) -> None:
        session = Session(ScriptedTransport(version))
        with pytest.raises(ClaudeUnusable, match="too old"):
            await session.start()
        await session.close()

    async def test_a_newer_one_is_not(self) -> None:
        session = Session(ScriptedTransport("3.0.0-beta.1"))
        assert (await session.start()).version == "3.0.0-beta.1"
        await session.close()

    async def test_closing_in_a_turn_does_not_wait_for_it(
        self, session: Session, transport: ScriptedTransport
    ) -> None:
        asking = asyncio.create_task(turn(session))
        await transport.until_written("user")
        await session.close()
        assert transport.closed == [True]
        with pytest.raises(ProcessDied):
            await asking
