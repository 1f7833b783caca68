"""What a model may answer: blocks, failures of the API, and faults in the middle of a stream.

A `Reply` is a list of blocks played in order. Texts that follow each other, with nothing between
them but a `Pause`, `Wait` or `Stall`, share one content block, so a gate may stand in mid-sentence.
A fault ends the reply where it stands. When the client did not ask for a stream, the same reply is
played as plain JSON: pauses and gates hold it back, a fault turns into its counterpart there.
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
# English prose, with the space; only used to pace chunks that are counted in characters.
CHARS_PER_WORD = 6


class Gate:
    """A one-way gate between a test and a reply: the reply waits, the test opens.

    Safe from any thread. `wait_reached` blocks the *test* until a reply stands at the gate, so
    neither side has to sleep.
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
        """Let everything that waits pass, now and later."""
        with self._lock:
            self._open = True
            waiting = list(self._waiting)
        for loop, event in waiting:
            # The loop of a closed server has nobody left to wake.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(event.set)

    def wait_reached(self, timeout_s: float = 10.0) -> bool:
        """Block until a reply has arrived at the gate; false when none did in time."""
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
    """Answer text, in chunks of one word or of `chunk` characters, paced if asked.

    `words_per_s` and `delay_s` (between chunks) are held against absolute deadlines: a late chunk
    does not delay the ones after it.
    """

    text: str
    _: KW_ONLY
    chunk: int | Literal["words"] = "words"
    words_per_s: float | None = None
    delay_s: float = 0.0

    def pieces(self) -> list[str]:
        """The text cut into chunks; joined they give it back."""
        if self.chunk == "words":
            return WORD.findall(self.text)
        size = self.chunk
        return [self.text[at : at + size] for at in range(0, len(self.text), size)]

    @property
    def interval_s(self) -> float:
        """Seconds from one chunk to the next; 0 sends as fast as the client reads."""
        if self.words_per_s is None:
            return self.delay_s
        words = 1.0 if self.chunk == "words" else self.chunk / CHARS_PER_WORD
        return words / self.words_per_s


@dataclass(frozen=True, slots=True)
class Thinking:
    """A thinking block, in chunks like a text's, followed by its signature."""

    text: str
    _: KW_ONLY
    signature: str = "c2lnbmF0dXJl"
    chunk: int | Literal["words"] = "words"

    def pieces(self) -> list[str]:
        """The text cut into chunks; joined they give it back."""
        return Text(self.text, chunk=self.chunk).pieces()


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A tool call. `raw_input` replaces the JSON of `input` on the stream, to send broken JSON."""

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
    """The token counts of one reply; `None` is computed from sizes, about 4 characters a token."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


@dataclass(frozen=True, slots=True, init=False)
class Reply:
    """A message of the assistant: `Reply(Thinking("hm"), Text("yes"))`.

    The stop reason is `tool_use` if there is a tool call, else `end_turn`, unless given. `model`
    is who answers; by default whoever was asked.
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
        """The JSON that the API sends."""
        kind = self.error_type or ERROR_TYPES.get(self.status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": self.message}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """Any body under any status, as a proxy in the way would send it."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/event-stream"


EMPTY = Raw()
HTML = Raw(
    body=b"<html><body>Please log in to the network.</body></html>", content_type="text/html"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """No status line before `gate` opens (never, without one); then `answer`."""

    gate: Gate | None = None
    answer: Reply | Failure | Raw = field(default_factory=lambda: Reply(Text("Late, but here.")))


Answer: TypeAlias = Reply | Failure | Raw | Hold
