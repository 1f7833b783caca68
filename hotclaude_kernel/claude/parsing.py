"""Parse frames into events. Unknown frames are skipped: they must not stop a turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import frames
from .events import (
    Block,
    BlockStarted,
    Decided,
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

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .events import Event
    from .frames import Frame


def parse(frame: Frame) -> list[Event]:
    """Return the events in `frame`, an empty list for a frame of an unknown or unused type.

    A frame of a known type and unknown shape raises `KeyError`, `TypeError`, `ValueError` or
    `AttributeError`.
    """
    match frame.get("type"):
        case "stream_event":
            return _stream_events(frame)
        case "assistant":
            return _blocks(frame)
        case "user":
            return _tool_results(frame)
        case "system":
            return _system_events(frame)
        case "result":
            return [_result(frame)]
        case "rate_limit_event":
            return _rate_limit(frame.get("rate_limit_info") or {})
        case frames.DECIDED:
            return [Decided(tool_use_id=frame["id"], decision=frame["decision"])]
    return []


def _rate_limit(info: Frame) -> list[Event]:
    """Return a notice if a subscription's limit is near or reached; each turn reports the limit."""
    status = info.get("status")
    if status in (None, "allowed"):
        return []
    near = "near" if status == "allowed_warning" else "reached"
    kind = str(info.get("rateLimitType") or "usage").replace("_", " ")
    return [Notice(kind="rate_limit", text=f"The {kind} limit of your account is {near}.")]


def _stream_events(frame: Frame) -> list[Event]:
    event = frame["event"]
    match event["type"]:
        case "content_block_delta":
            return _deltas(event)
        case "content_block_start":
            block = event["content_block"]
            name = block.get("name", "")
            started = BlockStarted(index=event["index"], kind=block["type"], tool_name=name)
            return [started]
        case "message_start":
            return [MessageStarted(message_id=event["message"]["id"])]
        case "message_stop":
            return [MessageStopped()]
    return []


def _deltas(event: Frame) -> list[Event]:
    delta = event["delta"]
    match delta["type"]:
        case "text_delta":
            return [Delta(index=event["index"], kind="text", text=delta["text"])]
        case "thinking_delta":
            return [Delta(index=event["index"], kind="thinking", text=delta["thinking"])]
        case "input_json_delta":
            return [Delta(index=event["index"], kind="tool_use", text=delta["partial_json"])]
    return []


def _blocks(frame: Frame) -> list[Event]:
    message = frame["message"]
    return [
        Block(
            uuid=frame.get("uuid", ""),
            message_id=message.get("id", ""),
            kind=block["type"],
            content=block,
            model=message.get("model") or "",
            parent=frame.get("parent_tool_use_id"),
            error=_block_error(frame),
            aborted=bool(frame.get("aborted")),
            thinking_ms=frame.get("thinking_duration_ms"),
        )
        for block in message["content"]
    ]


def _block_error(frame: Frame) -> str | None:
    if frame.get("is_api_error_message"):
        return str(frame.get("error") or "unknown")
    return None


def _tool_results(frame: Frame) -> list[Event]:
    content = frame["message"]["content"]
    if frame.get("isReplay") or isinstance(content, str):
        return []
    return [
        ToolResult(
            uuid=frame.get("uuid", ""),
            tool_use_id=block["tool_use_id"],
            text=_result_text(block.get("content")),
            is_error=bool(block.get("is_error")),
            parent=frame.get("parent_tool_use_id"),
            detail=frame.get("tool_use_result"),
            pictures=_pictures(block.get("content")),
        )
        for block in content
        if block.get("type") == "tool_result"
    ]


def _pictures(content: Any) -> tuple[tuple[str, str], ...]:
    blocks = content if isinstance(content, list) else []
    sources = [block.get("source") or {} for block in blocks if block.get("type") == "image"]
    return tuple((str(s.get("media_type")), str(s.get("data"))) for s in sources)


def _result_text(content: Any) -> str:
    """Return the text of a tool result: a string, or a list of blocks; an image as `[image]`."""
    if isinstance(content, list):
        return "\n".join(block.get("text") or f"[{block.get('type')}]" for block in content)
    return content if isinstance(content, str) else ""


def _system_events(frame: Frame) -> list[Event]:
    match frame.get("subtype"):
        case "init":
            return [
                TurnStarted(
                    session_id=frame.get("session_id", ""),
                    model=frame.get("model", ""),
                    permission_mode=frame.get("permissionMode", ""),
                    tools=tuple(frame.get("tools", ())),
                )
            ]
        case "status" if frame.get("status") == "requesting":
            return [Requesting()]
        case "status" if frame.get("permissionMode"):
            return [ModeChanged(mode=frame["permissionMode"])]
        case "session_state_changed":
            return [StateChanged(state=frame["state"])]
        case "api_retry":
            return [_retry(frame)]
        case "model_fallback" | "informational" | "permission_denied" as kind:
            return [Notice(kind=kind, text=_notice_text(frame))]
        case "task_notification":
            text = f"Background task {frame.get('status', 'ended')}: {frame.get('summary', '')}"
            return [Notice(kind="task", text=text, tool_use_id=frame.get("tool_use_id") or "")]
        case "compact_boundary":
            return [Notice(kind="compacted", text="The conversation was compacted.")]
    return []


def _notice_text(frame: Frame) -> str:
    return str(frame.get("content") or frame.get("message") or frame.get("tool_name") or "")


def _retry(frame: Frame) -> Retry:
    return Retry(
        attempt=frame["attempt"],
        max_retries=frame["max_retries"],
        delay_s=frame["retry_delay_ms"] / 1000,
        status=frame.get("error_status"),
        error=frame.get("error") or "unknown",
    )


def _result(frame: Frame) -> Result:
    uuids = frame.get("user_message_uuids") or [frame.get("user_message_uuid")]
    return Result(
        session_id=frame.get("session_id", ""),
        subtype=frame.get("subtype", ""),
        is_error=bool(frame.get("is_error")),
        terminal_reason=frame.get("terminal_reason") or "",
        text=frame.get("result") or "",
        api_status=frame.get("api_error_status"),
        stop_reason=frame.get("stop_reason"),
        errors=tuple(frame.get("errors") or ()),
        user_uuids=tuple(uuid for uuid in uuids if uuid),
        usage=_usage(frame.get("model_usage_since_last_result") or {}),
        structured_output=frame.get("structured_output"),
    )


def _usage(models: Mapping[str, Frame]) -> Usage:
    """Sum the models' usage in this turn. The context window is the largest: the main loop's."""
    used = list(models.values())
    windows = [model["contextWindow"] for model in used if model.get("contextWindow")]
    return Usage(
        input_tokens=sum(model.get("inputTokens", 0) for model in used),
        cache_read_tokens=sum(model.get("cacheReadInputTokens", 0) for model in used),
        cache_write_tokens=sum(model.get("cacheCreationInputTokens", 0) for model in used),
        output_tokens=sum(model.get("outputTokens", 0) for model in used),
        cost_usd=sum(model.get("costUSD", 0.0) for model in used),
        context_window=max(windows, default=None),
    )
