"""What a page is tested with: a clock that stands still, an output that records, events."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from hotclaude_kernel.claude.events import (
    Block,
    BlockStarted,
    Delta,
    Event,
    MessageStarted,
    Retry,
    ToolResult,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hotclaude_kernel.page.base import Page
    from hotclaude_kernel.page.parts import Data


class Timer:
    """What `call_later` gives back."""

    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at, self.call, self.cancelled = at, call, False

    def cancel(self) -> None:
        self.cancelled = True


class FakeTime:
    """A clock and a loop that stand still until they are moved."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._timers: list[Timer] = []

    def monotonic(self) -> float:
        return self.now

    def get_running_loop(self) -> FakeTime:
        return self

    def call_later(self, delay_s: float, call: Any, *args: Any) -> Timer:
        timer = Timer(self.now + delay_s, lambda: call(*args))
        self._timers.append(timer)
        return timer

    def pass_by(self, seconds: float) -> None:
        """Let time pass, and call what falls due on the way."""
        until = self.now + seconds
        while due := [t for t in self._timers if t.at <= until and not t.cancelled]:
            timer = min(due, key=lambda t: t.at)
            self._timers.remove(timer)
            self.now = max(self.now, timer.at)
            timer.call()
        self.now = until


class Shown:
    """An output that records each message, and what a front end would show after it."""

    def __init__(self, time: FakeTime | None = None) -> None:
        self.messages: list[tuple[str, Any, float]] = []
        self.outputs: dict[str, Data] = {}
        self.streamed = ""
        self.sent_to: list[str] = []
        self._time = time
        self._clear_next = False

    def show(self, data: Data, display_id: str, *, update: bool = False, about: Any = None) -> None:
        assert update == (display_id in self.outputs and not self._clear_next)
        self._record("update" if update else "show", data)
        self.sent_to.append(display_id)
        if self._clear_next:
            self.outputs.clear()
            self._clear_next = False
        self.outputs[display_id] = data

    def stream(self, text: str, name: str = "stdout") -> None:
        self._record("stream", text)
        self.streamed += text

    def result(self, text: str) -> None:
        self._record("result", text)

    def clear(self) -> None:
        self._record("clear", None)
        self._clear_next = True

    def _record(self, kind: str, content: Any) -> None:
        self.messages.append((kind, content, self._time.now if self._time else 0.0))

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _, _ in self.messages]

    @property
    def size_bytes(self) -> int:
        return sum(len(json.dumps(content)) for _, content, _ in self.messages)

    @property
    def first(self) -> str:
        """The name of the first output."""
        return next(iter(self.outputs))

    def words_of(self, at: int) -> str:
        """The words of one output."""
        html = list(self.outputs.values())[at].get("text/html", "")
        return " ".join(re.sub(r"<[^>]+>", " ", html).split())

    def end(self) -> None:
        """The kernel's line below the answer has come, and with it what a clearing waits for."""
        if self._clear_next:
            self.outputs.clear()

    @property
    def html(self) -> str:
        """The page, without what is the same around each output."""
        return "\n".join(data.get("text/html", "") for data in self.outputs.values())

    @property
    def words(self) -> str:
        """The words on the page."""
        return " ".join(re.sub(r"<[^>]+>", " ", self.html).split())

    @property
    def blank(self) -> list[str]:
        """The outputs that show nothing."""
        return [
            name
            for name, data in self.outputs.items()
            if not re.sub(r"<(?!img|input|hr)[^>]+>|\s", "", data.get("text/html", "x"))
            and not data.get("text/markdown", "").strip()  # a definition shows nothing, but is kept
        ]

    @property
    def markdown(self) -> str:
        return "".join(data.get("text/markdown", "") for data in self.outputs.values())


def delta(text: str) -> Delta:
    return Delta(index=0, kind="text", text=text)


def block(text: str, **fields: Any) -> Block:
    content = {"type": "text", "text": text}
    return Block(uuid="u", message_id="m", kind="text", content=content, **fields)


def thought(text: str, **fields: Any) -> Block:
    content = {"type": "thinking", "thinking": text}
    return Block(uuid="u", message_id="m", kind="thinking", content=content, **fields)


def call(command: str, tool_use_id: str = "t1", name: str = "Bash") -> Block:
    content = {
        "type": "tool_use",
        "id": tool_use_id,
        "name": name,
        "input": {"command": command},
    }
    return Block(uuid="u", message_id="m", kind="tool_use", content=content)


def answered(text: str, tool_use_id: str = "t1", **fields: Any) -> ToolResult:
    return ToolResult(
        uuid="u",
        tool_use_id=tool_use_id,
        text=text,
        is_error=fields.pop("is_error", False),
        **fields,
    )


def retry(attempt: int = 1) -> Retry:
    return Retry(attempt=attempt, max_retries=4, delay_s=0.5, status=529, error="overloaded")


def title(name: str, about: str, state: str) -> str:
    """What the summary of a card holds."""
    return (
        f"<summary>❖ <b>{name}</b> <code>{about}</code>"
        f' <span style="opacity:.65">· {state}</span></summary>'
    )


MESSAGE = MessageStarted(message_id="m")


LONG = "word " * 400 + "\n\n"  # enough to freeze a segment


WIDGET: Data = {"text/plain": "Waiting for your decision.", "application/x-widget": "1"}


# --- the same answer, live and again ----------------------------------------------------------


def take(page: Page, *events: Event) -> None:
    for event in events:
        page.take(event)


def text_events(text: str, size: int = 20) -> Iterator[Event]:
    """A text block as it is streamed."""
    yield BlockStarted(index=0, kind="text")
    for at in range(0, len(text), size):
        yield delta(text[at : at + size])
    yield block(text)


def units(text: str) -> list[str]:
    """The text in UTF-16 code units, as a stream may cut it."""
    data = text.encode("utf-16-le")
    return [data[at : at + 2].decode("utf-16-le", "surrogatepass") for at in range(0, len(data), 2)]


def nested_call(command: str, tool_use_id: str, parent: str) -> Block:
    content = {"type": "tool_use", "id": tool_use_id, "name": "Bash", "input": {"command": command}}
    return Block(uuid="u", message_id="m", kind="tool_use", content=content, parent=parent)
