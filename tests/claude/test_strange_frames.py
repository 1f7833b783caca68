"""Frames of a wrong shape: each is skipped, and what comes after it is read."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from hotclaude_kernel.claude import frames
from hotclaude_kernel.claude.events import Block, Event, Result
from hotclaude_kernel.claude.session import Session
from hotclaude_kernel.errors import ClaudeUnusable, ControlError

from ..support.mutations import STRANGE
from .test_session import IDLE, UUID, ScriptedTransport, result, text_block

if TYPE_CHECKING:
    from hotclaude_kernel.claude.frames import Frame

RUNNING: Frame = IDLE | {"state": "running"}


def delta(text: Any) -> Frame:
    inner = {"type": "text_delta", "text": text}
    event = {"type": "content_block_delta", "index": 0, "delta": inner}
    return {"type": "stream_event", "event": event}


def call(**fields: Any) -> Frame:
    block = {"type": "tool_use", "id": "t", "name": "Bash", "input": {}, **fields}
    return {"type": "assistant", "message": {"id": "m", "content": [block]}}


RETRY = {
    "type": "system",
    "subtype": "api_retry",
    "attempt": 1,
    "max_retries": 2,
    "retry_delay_ms": 1,
}
MISSHAPEN: tuple[Any, ...] = (
    delta(5),
    delta(None),
    call(id=["t"]),
    call(name=5),
    {**call(), "parent_tool_use_id": ["t"]},
    {"type": "user", "message": {"content": [{"type": "tool_result", "tool_use_id": ["t"]}]}},
    {"type": "user", "message": {"content": [5]}},
    {"type": "user", "message": None},
    RETRY | {"retry_delay_ms": 1e308},
    RETRY | {"retry_delay_ms": -1},
    RETRY | {"attempt": 10**30},
    {"type": "system", "subtype": "session_state_changed", "state": ["idle"]},
    {"type": "rate_limit_event", "rate_limit_info": ["rejected"]},
)


async def turn(transport: ScriptedTransport, *said: Frame) -> list[Event]:
    """Ask a prompt that is answered by these frames, and return the turn's events."""
    session = Session(transport)
    await session.start()

    async def asked() -> list[Event]:
        return [event async for event in session.send("hello", UUID)]

    asking = asyncio.create_task(asked())
    await transport.until_written("user")
    transport.say(*said)
    events = await asking
    await session.close()
    return events


@pytest.mark.parametrize("frame", [*STRANGE, *MISSHAPEN], ids=str)
async def test_the_turn_goes_on(frame: Frame, caplog: pytest.LogCaptureFixture) -> None:
    events = await turn(
        ScriptedTransport(), RUNNING, frame, text_block("hi"), result(), {**IDLE, "uuid": "u"}
    )
    assert [event.text for event in events if isinstance(event, Block | Result)] == ["hi", ""]
    end = events[-1]
    assert isinstance(end, Result)
    assert not end.is_error


async def test_the_log_names_the_frame_once_in_a_turn(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "hotclaude_kernel.claude.session")
    await turn(ScriptedTransport(), delta(5), delta("x" * 10**6), delta([]), result(), IDLE)
    [record] = caplog.records
    assert "stream_event" in record.message
    assert len(record.message) < 200


class TestNumbersThatAFrameIsUsefulWithout:
    @pytest.mark.parametrize("spent", ["abc", [], -1, 1e308])
    async def test_a_thought_stays(self, spent: Any) -> None:
        frame = {**text_block("hi"), "thinking_duration_ms": spent}
        [block, _] = await turn(ScriptedTransport(), frame, result(), IDLE)
        assert isinstance(block, Block)
        assert (block.text, block.thinking_ms) == ("hi", None)

    @pytest.mark.parametrize("used", ["abc", [1], {"m": 5}, {"m": {"costUSD": 1e308}}])
    async def test_a_finished_turn_stays(self, used: Any) -> None:
        frame = result(model_usage_since_last_result=used, errors=5, api_error_status="abc")
        [end] = await turn(ScriptedTransport(), frame, IDLE)
        assert isinstance(end, Result)
        assert not end.is_error
        assert (end.usage.cost_usd, end.errors, end.api_status) == (0, (), None)


class TestTheResult:
    @pytest.mark.parametrize(
        "fields",
        [{"is_error": None}, {"is_error": "false"}, {"subtype": 5}, {"user_message_uuids": [[]]}],
    )
    async def test_of_a_wrong_shape_is_an_error(self, fields: Frame) -> None:
        events = await turn(ScriptedTransport(), text_block("hi"), result(**fields), IDLE)
        end = events[-1]
        assert isinstance(end, Result)
        assert end.is_error
        assert "can't be read" in end.errors[0]

    async def test_on_a_damaged_line_is_an_error_once_the_process_is_idle(self) -> None:
        line = frames.framed(b'{"type":"result","is_er')
        assert line is not None
        events = await turn(ScriptedTransport(), IDLE, RUNNING, text_block("hi"), line, IDLE)
        end = events[-1]
        assert isinstance(end, Result)
        assert end.is_error

    async def test_of_another_prompt_fails_only_that_one(self) -> None:
        damaged = {"type": "result", "user_message_uuids": ["another"]}
        events = await turn(ScriptedTransport(), damaged, text_block("hi"), result(), IDLE)
        end = events[-1]
        assert isinstance(end, Result)
        assert not end.is_error


class TestInitialize:
    @pytest.mark.parametrize("answer", [["nonsense"], "nonsense", 5, {"claude_code_version": [2]}])
    async def test_nonsense_is_a_binary_that_can_not_be_used(self, answer: Any) -> None:
        transport = ScriptedTransport()
        transport.greeting = answer
        session = Session(transport)
        with pytest.raises(ClaudeUnusable, match="does not answer as expected"):
            await session.start()
        await session.close()

    @pytest.mark.parametrize("version", ["²", "9" * 5000 + ".1", "x.y.z"])
    async def test_a_version_that_is_none_is_too_old(self, version: str) -> None:
        session = Session(ScriptedTransport(version))
        with pytest.raises(ClaudeUnusable, match="too old"):
            await session.start()
        await session.close()

    async def test_lists_of_a_wrong_shape_are_empty(self) -> None:
        transport = ScriptedTransport()
        lists = {"models": 5, "commands": ["a"], "account": [1]}
        transport.greeting = {"claude_code_version": "2.1.330", **lists}
        session = Session(transport)
        greeting = await session.start()
        assert (greeting.models, greeting.commands, greeting.api_key_source) == ((), (), None)
        await session.close()


class TestControl:
    async def test_an_answer_of_a_wrong_shape_is_an_error_at_once(self) -> None:
        transport = ScriptedTransport()
        session = Session(transport)
        await session.start()
        transport.written.clear()
        asking = asyncio.create_task(session.control("anything"))
        request = await transport.until_written("control_request")
        transport.answer(request["request_id"], [1])  # type: ignore[arg-type]
        with pytest.raises(ControlError, match="wrong shape"):
            await asking
        await session.close()

    @pytest.mark.parametrize(
        "request_", [None, 5, {}, {"subtype": "can_use_tool", "tool_name": 5, "input": {}}]
    )
    async def test_a_request_of_a_wrong_shape_is_refused(self, request_: Any) -> None:
        """Without an answer the process would wait for ever."""
        answer = await self.asked(request_)
        assert answer["subtype"] == "error"

    async def test_an_input_that_can_not_be_shown_whole_is_refused(self) -> None:
        deep = {"subtype": "can_use_tool", "tool_name": "Bash"}
        line = b'{"a":' * 1_000 + b"1" + b"}" * 1_000
        whole = json.dumps(
            {"type": "control_request", "request_id": "r1", "request": {**deep, "input": "@"}}
        )
        frame = frames.loads(whole.encode().replace(b'"@"', line))
        assert frame is not None
        answer = await self.asked(frame["request"])
        assert answer["subtype"] == "error"
        assert "levels deep" in answer["error"]

    async def asked(self, request: Any) -> Frame:
        transport = ScriptedTransport()
        session = Session(transport)
        await session.start()
        transport.written.clear()
        transport.say({"type": "control_request", "request_id": "r1", "request": request})
        answer = await transport.until_written("control_response")
        await session.close()
        response: Frame = answer["response"]
        return response
