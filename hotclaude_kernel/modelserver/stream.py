"""A reply as bytes: server-sent events for a stream, one JSON object otherwise.

`events` is a pure generator. Between the bytes of the events it yields steps for `server` to play:
the time of the next bytes, a wait, the break of the stream. `Clock` does the waiting.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from .replies import (
    Block,
    Disconnect,
    EndOfStream,
    Malformed,
    Pause,
    Reply,
    Stall,
    StreamError,
    Text,
    Thinking,
    ToolUse,
    Usage,
    Wait,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .request import Request

CHARS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Due:
    """The next bytes are due `after_s` seconds after the last `Due(0)`."""

    after_s: float


Step: TypeAlias = bytes | Due | Pause | Wait | Stall | Disconnect | EndOfStream


def events(reply: Reply, request: Request) -> Iterator[Step]:
    """Yield the stream of a reply, from `message_start` to `message_stop` or to its fault."""
    message = _message(reply, request)
    start = message | {"content": [], "stop_reason": None}
    start["usage"] = message["usage"] | {"output_tokens": 1}
    yield event({"type": "message_start", "message": start})
    for step in _content(reply, message["id"]):
        yield step
        if isinstance(step, (Disconnect, EndOfStream)):
            return
    yield event(
        {
            "type": "message_delta",
            "delta": {"stop_reason": reply.stop_reason, "stop_sequence": None},
            "usage": {"output_tokens": message["usage"]["output_tokens"]},
        }
    )
    yield event({"type": "message_stop"})


def plain(reply: Reply, request: Request) -> dict[str, Any]:
    """Return the JSON of a reply to a request that asks for no stream."""
    message = _message(reply, request)
    blocks = [block for block in reply.blocks if isinstance(block, (Text, Thinking, ToolUse))]
    content: list[dict[str, Any]] = []
    for index, block in enumerate(blocks):
        new = _finished(block, f"{message['id']}{index}")
        if new["type"] == "text" and content and content[-1]["type"] == "text":
            content[-1]["text"] += new["text"]
        else:
            content.append(new)
    return message | {"content": content}


class Clock:
    """The waits of one stream. Chunks are paced from the start of their text, so nothing drifts."""

    def __init__(self) -> None:
        self.base_s = 0.0

    def left_s(self, due: Due) -> float:
        """Return the seconds until the next bytes are due; `Due(0)` starts the clock."""
        now_s = time.monotonic()
        if due.after_s == 0:
            self.base_s = now_s
        return self.base_s + due.after_s - now_s

    async def rest(self, step: Step) -> None:
        """Wait as long as the step says."""
        match step:
            case Due():
                await asyncio.sleep(self.left_s(step))
            case Pause():
                await asyncio.sleep(step.seconds)
            case Wait():
                await step.gate.passed()
            case Stall():
                await forever()


async def forever() -> None:
    """Wait until cancelled."""
    await asyncio.Event().wait()


def usage_of(reply: Reply, request: Request) -> dict[str, int]:
    """Return the token counts of a reply: those given in `reply.usage`, the others from sizes.

    Messages before the last user message count as read from the cache, later ones as written to
    it. In the first turn all of the request counts as written. The numbers depend only on the
    request and the reply.
    """
    prefix, news = _sizes(request)
    first = len([m for m in request.messages if m.get("role") == "assistant"]) == 0
    computed = {
        "input_tokens": 3,
        "output_tokens": max(1, _output_size(reply) // CHARS_PER_TOKEN),
        "cache_read_input_tokens": 0 if first else prefix // CHARS_PER_TOKEN,
        "cache_creation_input_tokens": (prefix + news if first else news) // CHARS_PER_TOKEN,
    }
    return {name: _given(reply.usage, name, value) for name, value in computed.items()}


def event(value: dict[str, Any]) -> bytes:
    """Return the bytes of one server-sent event."""
    return b"event: %b\ndata: %b\n\n" % (value["type"].encode(), encode(value))


def encode(value: Any) -> bytes:
    """Return a value as JSON bytes, by `json` if orjson refuses it (lone surrogates)."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value).encode()


def decode(body: bytes) -> Any:
    """Return the value of JSON bytes, lone surrogates included. Raises `ValueError`."""
    try:
        return orjson.loads(body)
    except ValueError:
        return json.loads(body)


def _message(reply: Reply, request: Request) -> dict[str, Any]:
    # The request's number makes the ids of two attempts with the same body different.
    digest = hashlib.sha256(b"%d:%b" % (request.number, request.body)).hexdigest()
    return {
        "id": f"msg_{digest[:24]}",
        "type": "message",
        "role": "assistant",
        "model": reply.model or request.model,
        "content": [],
        "stop_reason": reply.stop_reason,
        "stop_sequence": None,
        "usage": usage_of(reply, request),
    }


def _content(reply: Reply, message_id: str) -> Iterator[Step]:
    """Yield the events of the blocks; a text block stays open over a pause."""
    index, text_is_open = -1, False
    for block in reply.blocks:
        if isinstance(block, (Text, Thinking, ToolUse)):
            if not (text_is_open and isinstance(block, Text)):
                if text_is_open:
                    yield _stop(index)
                index += 1
                yield _start(index, block, f"{message_id}{index}")
            yield from _deltas(index, block)
            text_is_open = isinstance(block, Text)
            if not text_is_open:
                yield _stop(index)
        else:
            yield from _interlude(block)
    if text_is_open:
        yield _stop(index)


def _start(index: int, block: Text | Thinking | ToolUse, seed: str) -> bytes:
    return event(
        {"type": "content_block_start", "index": index, "content_block": _empty(block, seed)}
    )


def _stop(index: int) -> bytes:
    return event({"type": "content_block_stop", "index": index})


def _deltas(index: int, block: Text | Thinking | ToolUse) -> Iterator[Step]:
    match block:
        case Text():
            interval_s = block.interval_s
            for number, piece in enumerate(block.pieces()):
                if interval_s:
                    yield Due(number * interval_s)
                yield _delta(index, {"type": "text_delta", "text": piece})
        case Thinking():
            for piece in block.pieces():
                yield _delta(index, {"type": "thinking_delta", "thinking": piece})
            yield _delta(index, {"type": "signature_delta", "signature": block.signature})
        case ToolUse():
            raw = block.raw_input
            for piece in Text(
                _input_json(block) if raw is None else raw, chunk=block.chunk
            ).pieces():
                yield _delta(index, {"type": "input_json_delta", "partial_json": piece})


def _delta(index: int, delta: dict[str, str]) -> bytes:
    return event({"type": "content_block_delta", "index": index, "delta": delta})


def _interlude(block: Block) -> Iterator[Step]:
    match block:
        case Malformed():
            yield b"event: content_block_delta\ndata: %b\n\n" % block.line.encode()
            yield EndOfStream()
        case StreamError():
            error = {"type": block.error_type, "message": block.message}
            yield event({"type": "error", "error": error})
            yield EndOfStream()
        case Pause() | Wait() | Stall() | Disconnect() | EndOfStream():
            yield block


def _empty(block: Text | Thinking | ToolUse, seed: str) -> dict[str, Any]:
    match block:
        case Text():
            return {"type": "text", "text": ""}
        case Thinking():
            return {"type": "thinking", "thinking": "", "signature": ""}
        case ToolUse():
            return {
                "type": "tool_use",
                "id": _tool_id(block, seed),
                "name": block.name,
                "input": {},
            }


def _finished(block: Text | Thinking | ToolUse, seed: str) -> dict[str, Any]:
    value = _empty(block, seed)
    match block:
        case Text():
            value["text"] = block.text
        case Thinking():
            value |= {"thinking": block.text, "signature": block.signature}
        case ToolUse():
            value["input"] = dict(block.input)
    return value


def _tool_id(block: ToolUse, seed: str) -> str:
    return block.id or f"toolu_{hashlib.sha256(seed.encode()).hexdigest()[:24]}"


def _input_json(block: ToolUse) -> str:
    return encode(dict(block.input)).decode()


def _sizes(request: Request) -> tuple[int, int]:
    """Return the bytes of the request before the last user message, and from it on."""
    messages = request.messages
    users = [at for at, message in enumerate(messages) if message.get("role") == "user"]
    news = sum(len(encode(message)) for message in messages[users[-1] if users else 0 :])
    return max(0, len(request.body) - news), news


def _output_size(reply: Reply) -> int:
    texts = [block.text for block in reply.blocks if isinstance(block, (Text, Thinking))]
    calls = [_input_json(block) for block in reply.blocks if isinstance(block, ToolUse)]
    return sum(map(len, texts + calls))


def _given(usage: Usage, name: str, default: int) -> int:
    value: int | None = getattr(usage, name)
    return default if value is None else value
