"""Frames into events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotclaude_kernel.claude.events import (
    Block,
    BlockStarted,
    Delta,
    MessageStarted,
    MessageStopped,
    ModeChanged,
    Notice,
    Requesting,
    Result,
    Retry,
    StateChanged,
    ToolResult,
    TurnStarted,
    Usage,
)
from hotclaude_kernel.claude.parsing import parse
from hotclaude_kernel.claude.shapes import Misshapen

from ..support.examples import json_objects

if TYPE_CHECKING:
    from hotclaude_kernel.claude.frames import (
        Frame,
    )


def stream(event: Frame) -> Frame:
    """A `stream_event` frame as the binary wraps it."""
    return {
        "type": "stream_event",
        "event": event,
        "session_id": "893541a6",
        "parent_tool_use_id": None,
        "uuid": "224e7c07",
        "api_message_id": "msg_179",
    }


def delta(index: int, **fields: Any) -> Frame:
    return stream({"type": "content_block_delta", "index": index, "delta": fields})


def assistant(*content: Frame, **fields: Any) -> Frame:
    frame = {
        "type": "assistant",
        "message": {
            "id": "msg_179",
            "type": "message",
            "role": "assistant",
            "model": "claude-opus-5-5",
            "content": list(content),
            "stop_reason": None,
            "usage": {"input_tokens": 10, "output_tokens": 1},
        },
        "parent_tool_use_id": None,
        "session_id": "893541a6",
        "uuid": "c9a1443e",
        "timestamp": "2026-11-23T09:17:28.669Z",
        "request_id": "req_stub0",
        "user_message_uuid": "119a6873",
        "user_message_uuids": ["119a6873"],
    }
    return frame | fields


def tool_result(content: Any, **fields: Any) -> Frame:
    block = {"tool_use_id": "toolu_24f", "type": "tool_result", "content": content}
    return {
        "type": "user",
        "message": {"role": "user", "content": [block | fields]},
        "parent_tool_use_id": None,
        "session_id": "893541a6",
        "uuid": "7d5d81c8",
    }


class TestStreamEvents:
    def test_a_message_starts_and_stops(self) -> None:
        message = {"id": "msg_179", "role": "assistant", "content": [], "usage": {}}
        assert parse(stream({"type": "message_start", "message": message})) == [
            MessageStarted(message_id="msg_179")
        ]
        assert parse(stream({"type": "message_stop"})) == [MessageStopped()]

    @pytest.mark.parametrize(
        ("block", "name"),
        [
            ({"type": "text", "text": ""}, ""),
            ({"type": "thinking", "thinking": "", "signature": ""}, ""),
            ({"type": "tool_use", "id": "toolu_24f", "name": "Bash", "input": {}}, "Bash"),
        ],
    )
    def test_a_block_starts_with_its_kind(self, block: Frame, name: str) -> None:
        frame = stream({"type": "content_block_start", "index": 1, "content_block": block})
        assert parse(frame) == [BlockStarted(index=1, kind=block["type"], tool_name=name)]

    def test_text_comes_in_deltas(self) -> None:
        frame = delta(0, type="text_delta", text="Hello ")
        assert parse(frame) == [Delta(index=0, kind="text", text="Hello ")]

    def test_thinking_comes_in_deltas(self) -> None:
        frame = delta(0, type="thinking_delta", thinking="Let me think")
        assert parse(frame) == [Delta(index=0, kind="thinking", text="Let me think")]

    def test_a_tool_input_comes_in_deltas(self) -> None:
        frame = delta(2, type="input_json_delta", partial_json='{"comm')
        assert parse(frame) == [Delta(index=2, kind="tool_use", text='{"comm')]

    @pytest.mark.parametrize(
        "frame",
        [
            delta(0, type="signature_delta", signature="sig_AAA"),
            delta(0, type="citations_delta", citation={}),
            stream({"type": "content_block_stop", "index": 0}),
            stream({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
            stream({"type": "ping"}),
        ],
    )
    def test_the_rest_of_the_stream_says_nothing(self, frame: Frame) -> None:
        assert parse(frame) == []


class TestBlocks:
    def test_text_is_whole(self) -> None:
        content = {"type": "text", "text": "Hello world. This is it."}
        [block] = parse(assistant(content))
        assert block == Block(
            uuid="c9a1443e",
            message_id="msg_179",
            kind="text",
            content=content,
            model="claude-opus-5-5",
            parent=None,
        )
        assert isinstance(block, Block)
        assert block.text == "Hello world. This is it."

    def test_thinking_knows_how_long_it_took(self) -> None:
        content = {"type": "thinking", "thinking": "It is simple.", "signature": "sig_AAA"}
        [block] = parse(assistant(content, thinking_duration_ms=1250, thinking_display="updates"))
        assert isinstance(block, Block)
        assert (block.kind, block.text, block.thinking_ms) == ("thinking", "It is simple.", 1250)

    def test_a_tool_use_has_no_text(self) -> None:
        content = {"type": "tool_use", "id": "toolu_24f", "name": "Bash", "input": {}}
        [block] = parse(assistant(content))
        assert isinstance(block, Block)
        assert (block.kind, block.text, block.content) == ("tool_use", "", content)

    def test_a_frame_may_hold_several(self) -> None:
        blocks = parse(
            assistant({"type": "text", "text": "calling"}, {"type": "tool_use", "name": "Bash"})
        )
        assert [type(block) for block in blocks] == [Block, Block]

    def test_a_subagents_block_names_its_parent(self) -> None:
        frame = assistant({"type": "text", "text": "done"}, parent_tool_use_id="toolu_task")
        [block] = parse(frame)
        assert isinstance(block, Block)
        assert block.parent == "toolu_task"

    def test_what_an_interrupt_left_is_marked(self) -> None:
        [block] = parse(assistant({"type": "text", "text": "word wo"}, aborted=True))
        assert isinstance(block, Block)
        assert block.aborted

    @pytest.mark.parametrize(
        ("fields", "error"),
        [
            (
                {"error": "authentication_failed", "is_api_error_message": True},
                "authentication_failed",
            ),
            ({"is_api_error_message": True}, "unknown"),
            ({"error": None}, None),
            ({}, None),
        ],
    )
    def test_the_binarys_own_error_messages_are_told_apart(
        self, fields: Frame, error: str | None
    ) -> None:
        [block] = parse(assistant({"type": "text", "text": "API Error: 400 bad"}, **fields))
        assert isinstance(block, Block)
        assert block.error == error

    def test_an_echo_of_history_has_no_message_id(self) -> None:
        # As the binary repeats what was put into a conversation on its input.
        message = {"role": "assistant", "content": [{"type": "text", "text": "I said this"}]}
        [block] = parse({"type": "assistant", "message": message, "session_id": ""})
        assert isinstance(block, Block)
        assert (block.text, block.message_id, block.uuid) == ("I said this", "", "")
        assert block.model == ""


class TestToolResults:
    def test_it_names_its_tool_use(self) -> None:
        detail = {"stdout": "hello-from-bash\nerr", "stderr": "", "interrupted": False}
        frame = tool_result("hello-from-bash\nerr", is_error=False) | {"tool_use_result": detail}
        assert parse(frame) == [
            ToolResult(
                uuid="7d5d81c8",
                tool_use_id="toolu_24f",
                text="hello-from-bash\nerr",
                is_error=False,
                detail=detail,
            )
        ]

    def test_a_failed_one_says_so(self) -> None:
        [result] = parse(tool_result("Exit code 1", is_error=True))
        assert isinstance(result, ToolResult)
        assert result.is_error

    @pytest.mark.parametrize(
        ("content", "text"),
        [
            (None, ""),
            ([], ""),
            ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "a\nb"),
            ([{"type": "image", "source": {"data": "iVBOR"}}], "[image]"),
            (
                [{"type": "text", "text": "see"}, {"type": "tool_reference"}],
                "see\n[tool_reference]",
            ),
        ],
    )
    def test_its_blocks_become_text_and_an_image_its_name(self, content: Any, text: str) -> None:
        [result] = parse(tool_result(content))
        assert isinstance(result, ToolResult)
        assert result.text == text

    @pytest.mark.parametrize(
        ("content", "pictures"),
        [
            ("text", ()),
            (None, ()),
            ([{"type": "text", "text": "a"}], ()),
            (
                [
                    {"type": "text", "text": "a"},
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"},
                    },
                ],
                (("image/png", "AAAA"),),
            ),
            ([{"type": "image"}], (("None", "None"),)),
        ],
    )
    def test_its_images_are_kept(self, content: Any, pictures: Any) -> None:
        [event] = parse(tool_result(content, is_error=False))
        assert isinstance(event, ToolResult)
        assert event.pictures == pictures

    def test_our_own_prompt_said_back_is_none(self) -> None:
        message = {"role": "user", "content": "Run BASH please"}
        assert parse({"type": "user", "message": message, "isReplay": True}) == []
        assert parse(tool_result("x") | {"isReplay": True}) == []

    def test_a_marker_of_the_binarys_is_none(self) -> None:
        text = [{"type": "text", "text": "[Request interrupted by user]"}]
        assert parse({"type": "user", "message": {"role": "user", "content": text}}) == []


class TestSystemEvents:
    def test_init_says_who_answers(self) -> None:
        frame = {
            "type": "system",
            "subtype": "init",
            "cwd": "/home/user/project",
            "session_id": "893541a6",
            "tools": ["Task", "Bash"],
            "mcp_servers": [],
            "model": "claude-opus-5-5",
            "permissionMode": "default",
        }
        assert parse(frame) == [
            TurnStarted(
                session_id="893541a6",
                model="claude-opus-5-5",
                permission_mode="default",
                tools=("Task", "Bash"),
            )
        ]

    def test_the_status_requesting_is_an_event_and_others_are_not(self) -> None:
        frame = {"type": "system", "subtype": "status", "status": "requesting"}
        assert parse(frame) == [Requesting()]
        assert parse(frame | {"status": None}) == []
        assert parse(frame | {"status": "compacting"}) == []

    def test_the_state_changes(self) -> None:
        frame = {"type": "system", "subtype": "session_state_changed", "state": "idle"}
        assert parse(frame) == [StateChanged(state="idle")]

    @pytest.mark.parametrize(
        ("status", "error", "said"),
        [(401, "authentication_failed", "authentication_failed"), (None, None, "unknown")],
    )
    def test_a_retry_says_when_and_why(
        self, status: int | None, error: str | None, said: str
    ) -> None:
        frame = {
            "type": "system",
            "subtype": "api_retry",
            "attempt": 1,
            "max_retries": 10,
            "retry_delay_ms": 511,
            "error_status": status,
            "error": error,
        }
        assert parse(frame) == [
            Retry(attempt=1, max_retries=10, delay_s=0.511, status=status, error=said)
        ]

    @pytest.mark.parametrize(
        ("subtype", "fields", "text"),
        [
            ("model_fallback", {"content": "Switched to Sonnet 5.5"}, "Switched to Sonnet 5.5"),
            ("informational", {"content": "No such folder", "level": "warning"}, "No such folder"),
            (
                "permission_denied",
                {"tool_name": "Bash", "message": "needs approval"},
                "needs approval",
            ),
            ("permission_denied", {"tool_name": "Bash"}, "Bash"),
        ],
    )
    def test_what_the_user_should_know_is_a_notice(
        self, subtype: str, fields: Frame, text: str
    ) -> None:
        frame = {"type": "system", "subtype": subtype} | fields
        assert parse(frame) == [Notice(kind=subtype, text=text)]

    def test_another_permission_mode_is_an_event(self) -> None:
        frame = {"type": "system", "subtype": "status", "status": None, "permissionMode": "plan"}
        assert parse(frame) == [ModeChanged(mode="plan")]

    def test_a_background_tasks_end_is_a_notice(self) -> None:
        frame = {"type": "system", "subtype": "task_notification"}
        assert parse(frame | {"status": "failed", "summary": "tests"}) == [
            Notice(kind="task", text="Background task failed: tests")
        ]
        assert parse(frame) == [Notice(kind="task", text="Background task ended: ")]

    @pytest.mark.parametrize(
        ("info", "text"),
        [
            (
                {"status": "allowed_warning", "rateLimitType": "five_hour"},
                "The five hour limit of your account is near.",
            ),
            (
                {"status": "rejected", "rateLimitType": "seven_day"},
                "The seven day limit of your account is reached.",
            ),
            ({"status": "rejected"}, "The usage limit of your account is reached."),
        ],
    )
    def test_a_limit_that_is_near_or_reached_is_a_notice(self, info: Frame, text: str) -> None:
        frame = {"type": "rate_limit_event", "rate_limit_info": info}
        assert parse(frame) == [Notice(kind="rate_limit", text=text)]

    @pytest.mark.parametrize(
        "info", [None, {}, {"status": "allowed", "rateLimitType": "five_hour"}]
    )
    def test_a_limit_that_is_far_says_nothing(self, info: Frame | None) -> None:
        assert parse({"type": "rate_limit_event", "rate_limit_info": info}) == []

    def test_a_compaction_is_a_notice(self) -> None:
        frame = {"type": "system", "subtype": "compact_boundary", "compact_metadata": {}}
        [notice] = parse(frame)
        assert isinstance(notice, Notice)
        assert notice.kind == "compacted"


RESULT: Frame = {
    "duration_api_ms": 23,
    "stop_reason": "end_turn",
    "session_id": "893541a6",
    "total_cost_usd": 0.5,
    "modelUsage": {"claude-opus-5-5": {"inputTokens": 9999}},
    "terminal_reason": "completed",
    "is_error": False,
    "num_turns": 1,
    "subtype": "success",
    "api_error_status": None,
    "result": "Hello world. This is it.",
    "type": "result",  # in the middle of the line: a frame can't be told by its first characters
    "user_message_uuid": "119a6873",
    "user_message_uuids": ["119a6873"],
    "model_usage_since_last_result": {
        "claude-opus-5-5": {
            "inputTokens": 10,
            "outputTokens": 4,
            "cacheReadInputTokens": 100,
            "cacheCreationInputTokens": 20,
            "costUSD": 0.25,
            "contextWindow": 1_000_000,
        },
        "claude-haiku-5-5": {"inputTokens": 1, "outputTokens": 2, "costUSD": 0.5},
    },
}


def result(**fields: Any) -> Result:
    [event] = parse(RESULT | fields)
    assert isinstance(event, Result)
    return event


class TestResults:
    def test_it_says_what_came_of_the_turn(self) -> None:
        event = result()
        assert event.text == "Hello world. This is it."
        assert (event.subtype, event.is_error, event.terminal_reason) == (
            "success",
            False,
            "completed",
        )
        assert event.user_uuids == ("119a6873",)

    def test_usage_is_the_turns_own_all_models_together(self) -> None:
        assert result().usage == Usage(
            input_tokens=11,
            cache_read_tokens=100,
            cache_write_tokens=20,
            output_tokens=6,
            cost_usd=0.75,
            context_window=1_000_000,
        )
        assert result().usage.prompt_tokens == 131

    def test_without_usage_everything_is_zero(self) -> None:
        assert result(model_usage_since_last_result=None).usage == Usage()
        assert result(model_usage_since_last_result={}).usage == Usage()

    def test_an_interrupted_one_carries_its_reason(self) -> None:
        event = result(
            subtype="error_during_execution",
            is_error=True,
            result=None,
            terminal_reason="aborted_streaming",
            errors=["[ede_diagnostic] result_type=user"],
        )
        assert event.terminal_reason == "aborted_streaming"
        assert event.errors == ("[ede_diagnostic] result_type=user",)
        assert event.text == ""

    def test_a_refused_api_request_carries_its_status(self) -> None:
        assert result(is_error=True, api_error_status=529).api_status == 529

    def test_a_merged_turn_names_all_its_prompts(self) -> None:
        assert result(user_message_uuids=["a", "b"]).user_uuids == ("a", "b")

    def test_an_older_binary_names_one_prompt_or_none(self) -> None:
        assert result(user_message_uuids=None).user_uuids == ("119a6873",)
        assert result(user_message_uuids=None, user_message_uuid=None).user_uuids == ()

    def test_structured_output_is_kept(self) -> None:
        assert result(structured_output={"answer": 42}).structured_output == {"answer": 42}

    def test_one_with_nothing_in_it_is_a_result_all_the_same(self) -> None:
        assert isinstance(parse({"type": "result"})[0], Result)

    @pytest.mark.parametrize(
        "told",
        [{"is_error": "no"}, {"is_error": 1}, {"subtype": 5}, {"result": ["text"]}],
    )
    def test_one_of_a_wrong_shape_is_none(self, told: Frame) -> None:
        with pytest.raises(Misshapen):
            parse({"type": "result", **told})


class TestUnknownFrames:
    @pytest.mark.parametrize(
        "frame",
        [
            {},
            {"type": None},
            {"type": "command_lifecycle", "command_uuid": "119a6873", "state": "queued"},
            {"type": "control_response", "response": {"subtype": "success", "request_id": "r1"}},
            {"type": "control_request", "request_id": "r1", "request": {}},
            {"type": "control_cancel_request", "request_id": "r1"},
            {"type": "transcript_mirror", "filePath": "x.jsonl", "entries": []},
            {"type": "prompt_suggestion", "suggestion": "and now?"},
            {"type": "conversation_reset", "trigger": "clear"},
            {"type": "keep_alive"},
            {"type": "system", "subtype": "thinking_tokens", "estimated_tokens": 7},
            {"type": "system", "subtype": "task_started", "task_type": "local_bash"},
            {"type": "system", "subtype": "background_tasks_changed", "tasks": []},
            {"type": "system", "subtype": "hook_started"},
            {"type": "system"},
        ],
        ids=lambda frame: f"{frame.get('type')}-{frame.get('subtype', '')}",
    )
    def test_a_frame_that_is_not_known_says_nothing(self, frame: Frame) -> None:
        assert parse(frame) == []

    @given(st.text(max_size=12), st.text(max_size=12), json_objects)
    def test_a_type_of_a_later_release_says_nothing(
        self, kind: str, subtype: str, rest: Frame
    ) -> None:
        assert parse({**rest, "type": f"new_{kind}", "subtype": subtype}) == []
        assert parse({**rest, "type": "system", "subtype": f"new_{subtype}"}) == []
