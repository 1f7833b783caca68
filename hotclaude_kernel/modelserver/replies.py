"""The answers of a model: replies, failures of the API, and faults in the middle of a stream.

A `Reply` is a list of blocks that are played in order. Texts share one content block if there is
nothing but a `Pause`, `Wait` or `Stall` between them, so a gate can be in the middle of a sentence.
A fault ends the reply. If the client asks for no stream, the reply is played as one JSON object:
pauses and gates delay it, and each fault has a counterpart (`break_off` in `server`).
"""

from __future__ import annotations

import asyncio
import re
import threading
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

WORD = re.compile(r"\S+\s*|\s+")
# Of English prose, with the space. It paces chunks that are counted in characters.
CHARS_PER_WORD = 6


class Gate:
    """A gate that a reply waits at until the test opens it; it can't be closed again.

    It can be used from any thread. `wait_reached` blocks the *test* until a reply waits at the
    gate, so neither side has to sleep.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = False
        self._reached = threading.Event()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    @property
    def is_open(self) -> bool:
        """Whether replies pass without waiting."""
        return self._open

    def open(self) -> None:
        """Let all replies pass, now and later."""
        with self._lock:
            self._open = True
            waiting = list(self._waiting)
        for loop, event in waiting:
            # The loop is closed if its server is; no reply waits there.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(event.set)

    def wait_reached(self, timeout_s: float = 10.0) -> bool:
        """Block until a reply has arrived at the gate; return whether one came in time."""
        return self._reached.wait(timeout_s)

    async def passed(self) -> None:
        """Wait, on the server's side, until the gate is open."""
        entry = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._reached.set()
            if self._open:
                return
            self._waiting.add(entry)
        try:
            await entry[1].wait()
        finally:
            with self._lock:
                self._waiting.discard(entry)


@dataclass(frozen=True, slots=True)
class Text:
    """Answer text, sent in chunks of one word or of `chunk` characters.

    `words_per_s`, or `delay_s` between chunks, paces them. Each chunk has its own deadline from the
    start of the text, so a late chunk does not delay the next ones.
    """

    text: str
    _: KW_ONLY
    chunk: int | Literal["words"] = "words"
    words_per_s: float | None = None
    delay_s: float = 0.0

    def pieces(self) -> list[str]:
        """Return the text cut into chunks."""
        if self.chunk == "words":
            return WORD.findall(self.text)
        size = self.chunk
        return [self.text[at : at + size] for at in range(0, len(self.text), size)]

    @property
    def interval_s(self) -> float:
        """The seconds between two chunks; 0 sends as fast as the client reads."""
        if self.words_per_s is None:
            return self.delay_s
        words = 1.0 if self.chunk == "words" else self.chunk / CHARS_PER_WORD
        return words / self.words_per_s


@dataclass(frozen=True, slots=True)
class Thinking:
    """A thinking block, sent in chunks like a text, and its signature after them."""

    text: str
    _: KW_ONLY
    signature: str = "c2lnbmF0dXJl"
    chunk: int | Literal["words"] = "words"

    def pieces(self) -> list[str]:
        """Return the text cut into chunks."""
        return Text(self.text, chunk=self.chunk).pieces()


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A tool call. `raw_input` is streamed in place of the JSON of `input`, to send broken JSON."""

    name: str
    input: Mapping[str, Any] = field(default_factory=dict)
    _: KW_ONLY
    id: str | None = None
    raw_input: str | None = None
    chunk: int = 40


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing for some seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing until the gate opens."""

    gate: Gate


@dataclass(frozen=True, slots=True)
class Stall:
    """Nothing until the client or the server closes."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The connection drops in the middle of the body."""


@dataclass(frozen=True, slots=True)
class EndOfStream:
    """The body ends in good order, but without `message_stop`."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """A `data:` line that is not JSON, then the end of the body."""

    line: str = '{"type": "content_block_delta", "index": 0, "delta": {"type'


@dataclass(frozen=True, slots=True)
class StreamError:
    """An `error` event in the stream, then the end of the body."""

    error_type: str = "overloaded_error"
    message: str = "Overloaded"


Fault: TypeAlias = Disconnect | EndOfStream | Malformed | StreamError
Block: TypeAlias = Text | Thinking | ToolUse | Pause | Wait | Stall | Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The token counts of a reply. `None` is computed from sizes, at 4 characters a token."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


@dataclass(frozen=True, slots=True, init=False)
class Reply:
    """A message of the assistant: `Reply(Thinking("hm"), Text("yes"))`.

    By default the stop reason is `tool_use` if a block is a tool call, else `end_turn`, and the
    model is the one that the request names.
    """

    blocks: tuple[Block, ...]
    usage: Usage
    stop_reason: str
    model: str

    def __init__(
        self,
        *blocks: Block | str,
        usage: Usage | None = None,
        stop_reason: str | None = None,
        model: str = "",
    ) -> None:
        content = tuple(Text(block) if isinstance(block, str) else block for block in blocks)
        calls = any(isinstance(block, ToolUse) for block in content)
        object.__setattr__(self, "blocks", content)
        object.__setattr__(self, "usage", usage or Usage())
        object.__setattr__(self, "model", model)
        object.__setattr__(
            self, "stop_reason", stop_reason or ("tool_use" if calls else "end_turn")
        )


# The error type that the API gives with each status.
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """An HTTP error in the API's own shape: `Failure(429, headers={"retry-after": "2"})`."""

    status: int
    error_type: str | None = None
    message: str = "the model server was told to fail"
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """Return the JSON that the API sends for it."""
        kind = self.error_type or ERROR_TYPES.get(self.status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": self.message}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """Any body under any status, like one from a proxy between the client and the API."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/event-stream"


EMPTY = Raw()
HTML = Raw(
    body=b"<html><body>Please log in to the network.</body></html>", content_type="text/html"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """`answer`, sent once `gate` is open; without a gate nothing is sent, no status line either."""

    gate: Gate | None = None
    answer: Reply | Failure | Raw = field(default_factory=lambda: Reply(Text("Late, but here.")))


Answer: TypeAlias = Reply | Failure | Raw | Hold
