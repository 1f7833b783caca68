"""What any page does: read a turn's events as calls that write an answer, at a bounded rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ..claude.events import (
    Block,
    BlockStarted,
    Decided,
    Delta,
    Event,
    MessageStarted,
    Notice,
    Retry,
    ToolResult,
)
from ..claude.frames import whole
from .parts import Data, retry_text

if TYPE_CHECKING:
    from ..claude.frames import Frame
    from .cards import Card


class Output(Protocol):
    """Where a page writes: one cell's outputs in whatever front end there is."""

    def show(
        self, data: Data, display_id: str, *, update: bool = False, about: Frame | None = None
    ) -> None:
        """Display a bundle, or change the one that was displayed under this id.

        `about` is metadata for the saved notebook.
        """

    def stream(self, text: str, name: str = "stdout") -> None:
        """Write text."""

    def result(self, text: str) -> None:
        """Show a value as the result of the cell."""

    def clear(self) -> None:
        """Take away what the cell has shown, once something new comes."""


class Page:
    """What a turn is shown on: turns events into calls that write an answer.

    Deltas are a preview. A content block that arrives whole replaces its preview where the two
    differ, and a retried message takes back what it had streamed.
    """

    def __init__(self) -> None:
        self._preview: list[str] = []
        self._begun = False  # a block of text, which the preview may not show yet
        self._joiner = SurrogateJoiner()

    @property
    def in_text(self) -> bool:
        """Whether a block of text has begun, and may yet be taken back."""
        return self._begun or bool(self._preview)

    def take(self, event: Event) -> None:
        """Read one event."""
        match event:
            case Delta(kind="text"):
                self._delta(event.text)
            case BlockStarted():
                self._started(event)
            case Block(parent=None):
                self._block(event)
            case Block():
                self.nested(event)
            case ToolResult():
                self.tool_ended(event)
            case MessageStarted():
                self._void()
            case Retry():
                self._void()
                self.status(retry_text(event))
            case Notice(kind="stall"):
                self.status(event.text)
            case Decided():
                self.decided(event.tool_use_id, event.decision)
            case Notice(kind="task") if self.card(event.tool_use_id):
                pass  # its card says so
            case Notice():
                self.notice(event.text)

    def _delta(self, text: str) -> None:
        text = self._joiner.feed(text)
        if text:
            self._preview.append(text)
            self.text(text)

    def _started(self, event: BlockStarted) -> None:
        if event.kind == "text":
            self._begun = True
        elif event.kind == "thinking":
            self.status("Thinking…")
        elif event.kind == "tool_use":
            self.status(f"{event.tool_name}…")  # its input may be a whole file, and take a while

    def _block(self, block: Block) -> None:
        if block.error:
            self._void()
        elif block.kind == "text":
            if "".join(self._preview) != (text := whole(block.text)):
                if self._preview:
                    self.retract()
                self.text(text)
            self.text_ended()
            self._forget()
        elif block.kind == "thinking":
            self.thought(block)
        elif block.kind == "tool_use":
            self.tool_started(block)

    def _void(self) -> None:
        if self._preview:
            self.retract()
        self._forget()

    def _forget(self) -> None:
        self._preview.clear()
        self._begun = False
        self._joiner = SurrogateJoiner()
        self.settled()

    def text(self, text: str) -> None:
        """Continue the answer."""

    def text_ended(self) -> None:
        """The text block is complete."""

    def retract(self) -> None:
        """What was written since the last complete block is void."""

    def settled(self) -> None:
        """No block of text is open: nothing of it may be taken back any more."""

    def status(self, text: str) -> None:
        """Say what is going on, until something comes."""

    def notice(self, text: str) -> None:
        """Say something that stays."""

    def thought(self, block: Block) -> None:
        """Show thinking."""

    def tool_started(self, block: Block) -> None:
        """Show a tool use."""

    def nested(self, block: Block) -> None:
        """Show what a subagent says or does."""

    def asking(self, tool_use_id: str) -> None:
        """Show in full what the user is about to be asked."""

    def decided(self, tool_use_id: str, decision: str) -> None:
        """Show what was decided on a tool use that was asked about."""

    def card(self, tool_use_id: str) -> Card | None:
        """Return the card of a tool use that is shown."""
        return None

    def ask(self, data: Data) -> None:
        """Show a question's widgets where the answer goes on.

        Nothing else is shown there until `asked`.
        """

    def asked(self) -> None:
        """Take the question away."""

    def show_again(self) -> None:
        """Show all of it anew: the output has moved to a page that has nothing of it."""

    def tool_ended(self, result: ToolResult) -> None:
        """Show what it returned."""

    def note(self, text: str) -> None:
        """Show a line of ours."""

    def warn(self, text: str) -> None:
        """Write a line of ours to stderr."""

    def footer(self, text: str, about: Frame) -> None:
        """Show a turn's numbers, which may be none, with what identifies the turn."""
        if text:
            self.note(text)

    def report(self, source: str) -> None:
        """Show Markdown of ours."""

    def display(self, data: Data) -> None:
        """Show a bundle of ours."""

    def value(self, text: str) -> None:
        """Show a value that was asked for."""

    def clear(self) -> None:
        """Take away what the cell has shown."""

    def close(self) -> None:
        """Show what is still due; only notes and reports may follow."""


class SurrogateJoiner:
    """Joins an emoji that the stream cut in two: a high surrogate waits for its low one."""

    def __init__(self) -> None:
        self._high = ""

    def feed(self, text: str) -> str:
        """Return what can be shown of the text so far."""
        text, self._high = self._high + text, ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._high = text[:-1], text[-1]
        return whole(text)
