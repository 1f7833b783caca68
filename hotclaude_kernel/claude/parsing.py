"""Parse frames into events. Unknown frames are skipped: they must not stop a turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

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
from .shapes import Amount, Count, Misshapen, made, read, read_or

if TYPE_CHECKING:
    from .events import Event
    from .frames import Frame


def parse(frame: Frame) -> list[Event]:
    """Return the events in `frame`, an empty list for a frame of an unknown or unused type.

    Raises `Misshapen`, a `ValueError`, for a frame of a known type and an unknown shape.
    """
    try:
        return _parse(frame)
    except (LookupError, TypeError, AttributeError) as error:
        # A part of the frame that holds the fields is missing, or is no object or list.
        raise Misshapen(f"{type(error).__name__}: {error}") from error


def _parse(frame: Frame) -> list[Event]:
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
            return [made(Decided, tool_use_id=frame["id"], decision=frame["decision"])]
    return []


def _rate_limit(info: Frame) -> list[Event]:
    """Return a notice if a subscription's limit is near or reached; each turn reports the limit."""
    status = info.get("status")
    if status in (None, "allowed"):
        return []
    near = "near" if status == "allowed_warning" else "reached"
    kind = read(info.get("rateLimitType") or "usage", str).replace("_", " ")
    return [Notice(kind="rate_limit", text=f"The {kind} limit of your account is {near}.")]


def _stream_events(frame: Frame) -> list[Event]:
    event = frame["event"]
    match event["type"]:
        case "content_block_delta":
            return _deltas(event)
        case "content_block_start":
            block = event["content_block"]
            started = made(
                BlockStarted,
                index=event["index"],
                kind=block["type"],
                tool_name=block.get("name") or "",
            )
            return [started]
        case "message_start":
            return [made(MessageStarted, message_id=event["message"]["id"])]
        case "message_stop":
            return [MessageStopped()]
    return []


DELTAS = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "input_json_delta": ("tool_use", "partial_json"),
}


def _deltas(event: Frame) -> list[Event]:
    delta = event["delta"]
    if delta["type"] not in DELTAS:
        return []
    kind, name = DELTAS[delta["type"]]
    return [made(Delta, index=event["index"], kind=kind, text=delta[name])]


class _Content(Struct):
    """The fields of a content block that the program reads, whatever the block's kind."""

    type: str
    id: str | None
    tool_use_id: str | None
    name: str | None
    text: str | None
    thinking: str | None


def _blocks(frame: Frame) -> list[Event]:
    message = frame["message"]
    return [
        made(
            Block,
            uuid=frame.get("uuid") or "",
            message_id=message.get("id") or "",
            kind=_content(block).type,
            content=block,
            model=message.get("model") or "",
            parent=frame.get("parent_tool_use_id"),
            error=_block_error(frame),
            aborted=bool(frame.get("aborted")),
            thinking_ms=read_or(frame.get("thinking_duration_ms"), Amount, None),
        )
        for block in read(message["content"], list[frames.Frame])
    ]


def _content(block: Frame) -> _Content:
    return made(_Content, **{field: block.get(field) for field in _Content.__struct_fields__})


def _block_error(frame: Frame) -> Any:
    if frame.get("is_api_error_message"):
        return read_or(frame.get("error") or None, str, "unknown")
    return None


def _tool_results(frame: Frame) -> list[Event]:
    content = frame["message"]["content"]
    if frame.get("isReplay") or isinstance(content, str):
        return []
    return [
        made(
            ToolResult,
            uuid=frame.get("uuid") or "",
            tool_use_id=block["tool_use_id"],
            text=_result_text(block.get("content")),
            is_error=bool(block.get("is_error")),
            parent=frame.get("parent_tool_use_id"),
            detail=frame.get("tool_use_result"),
            pictures=_pictures(block.get("content")),
        )
        for block in read(content, list[frames.Frame])
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
                made(
                    TurnStarted,
                    session_id=frame.get("session_id") or "",
                    model=frame.get("model") or "",
                    permission_mode=frame.get("permissionMode") or "",
                    tools=read_or(frame.get("tools"), tuple[str, ...], ()),
                )
            ]
        case "status" if frame.get("status") == "requesting":
            return [Requesting()]
        case "status" if frame.get("permissionMode"):
            return [made(ModeChanged, mode=frame["permissionMode"])]
        case "session_state_changed":
            return [made(StateChanged, state=frame["state"])]
        case "api_retry":
            return [_retry(frame)]
        case "model_fallback" | "informational" | "permission_denied" as kind:
            return [made(Notice, kind=kind, text=_notice_text(frame))]
        case "task_notification":
            said = read(frame.get("status") or "ended", str), read(frame.get("summary") or "", str)
            text = "Background task {}: {}".format(*said)
            return [
                made(Notice, kind="task", text=text, tool_use_id=frame.get("tool_use_id") or "")
            ]
        case "compact_boundary":
            return [Notice(kind="compacted", text="The conversation was compacted.")]
    return []


def _notice_text(frame: Frame) -> Any:
    return frame.get("content") or frame.get("message") or frame.get("tool_name") or ""


def _retry(frame: Frame) -> Retry:
    return made(
        Retry,
        attempt=frame["attempt"],
        max_retries=frame["max_retries"],
        delay_s=read(frame["retry_delay_ms"], Amount) / 1000,
        status=read_or(frame.get("error_status"), int | None, None),
        error=read_or(frame.get("error") or None, str, "unknown"),
    )


def user_uuids(result: Frame) -> tuple[str, ...]:
    """Return the prompts that a `result` frame answers; empty if it does not name them."""
    uuids = result.get("user_message_uuids") or [result.get("user_message_uuid")]
    return tuple(uuid for uuid in read(uuids, tuple[str | None, ...]) if uuid)


def _result(frame: Frame) -> Result:
    """Return the end of a turn. How it ended must be told; its numbers may be missing."""
    return made(
        Result,
        session_id=frame.get("session_id") or "",
        subtype=frame.get("subtype") or "",
        is_error=frame.get("is_error") or False,
        terminal_reason=frame.get("terminal_reason") or "",
        text=frame.get("result") or "",
        api_status=read_or(frame.get("api_error_status"), int | None, None),
        stop_reason=frame.get("stop_reason"),
        errors=read_or(frame.get("errors") or (), tuple[str, ...], ()),
        user_uuids=user_uuids(frame),
        usage=_usage(frame.get("model_usage_since_last_result") or {}),
        structured_output=frame.get("structured_output"),
    )


USED = {
    "input_tokens": "inputTokens",
    "cache_read_tokens": "cacheReadInputTokens",
    "cache_write_tokens": "cacheCreationInputTokens",
    "output_tokens": "outputTokens",
    "cost_usd": "costUSD",
    "context_window": "contextWindow",
}


class _ModelUsage(Struct, rename=USED):
    """What a turn used of one model, as a `result` tells it."""

    input_tokens: Count | None = None
    cache_read_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    output_tokens: Count | None = None
    cost_usd: Amount | None = None
    context_window: Count | None = None


def _usage(models: Any) -> Usage:
    """Sum the models' usage in this turn. The context window is the largest: the main loop's."""
    used = read_or(models, dict[str, _ModelUsage], {}).values()
    return Usage(
        input_tokens=sum(model.input_tokens or 0 for model in used),
        cache_read_tokens=sum(model.cache_read_tokens or 0 for model in used),
        cache_write_tokens=sum(model.cache_write_tokens or 0 for model in used),
        output_tokens=sum(model.output_tokens or 0 for model in used),
        cost_usd=sum(model.cost_usd or 0 for model in used),
        context_window=max((model.context_window or 0 for model in used), default=0) or None,
    )
