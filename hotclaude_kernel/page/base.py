"""The base of all pages: `Page` turns the events of a turn into calls that write an answer."""

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
    from collections.abc import Callable

    from ..claude.frames import Frame
    from .cards import Card


class Output(Protocol):
    """The outputs of one cell, which a page writes to."""

    def show(
        self, data: Data, display_id: str, *, update: bool = False, about: Frame | None = None
    ) -> None:
        """Display a MIME bundle, or change the one that was displayed under this id.

        The front end saves `about` in the notebook, as the output's metadata.
        """

    def stream(self, text: str, name: str = "stdout") -> None:
        """Write text."""

    def result(self, text: str) -> None:
        """Show a value as the result of the cell."""

    def clear(self) -> None:
        """Clear the cell's outputs as soon as the next one comes (`clear_output(wait=True)`)."""


class Page:
    """Shows one cell: each event of its turn becomes a call of a method that writes the answer.

    Subclasses override those methods. Deltas are a preview: if a whole content block differs from
    its preview, it replaces it, and if a message is retried, its preview is taken back.
    """

    def __init__(self) -> None:
        self._preview: list[str] = []
        self._begun = False  # whether a text block has begun; the preview may still be empty
        self._joiner = SurrogateJoiner()

    @property
    def in_text(self) -> bool:
        """Whether a text block is open; until it is complete, it may be taken back."""
        return self._begun or bool(self._preview)

    def take(self, event: Event) -> None:
        """Show one event."""
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
                self.status(retry_text(event), kind="retry")
            case Notice(kind="stall"):
                self.status(event.text, kind="stall")
            case Decided():
                self.decided(event.tool_use_id, event.decision)
            case Notice(kind="task") if self.card(event.tool_use_id):
                pass  # the card of the tool use shows it
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
            self.status(f"{event.tool_name}…")  # a long input takes a while to arrive

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
        """End the text block."""

    def retract(self) -> None:
        """Take back the text that was written since the last complete block."""

    def settled(self) -> None:
        """Show what has waited for the end of the text block."""

    def status(self, text: str, *, kind: str = "") -> None:
        """Show a line about the turn's progress, until the answer goes on.

        `kind` is retry or stall where the API fails or is silent.
        """

    def notice(self, text: str) -> None:
        """Show a line that stays in the answer."""

    def thought(self, block: Block) -> None:
        """Show thinking."""

    def tool_started(self, block: Block) -> None:
        """Show a tool use."""

    def nested(self, block: Block) -> None:
        """Show a block of a subagent: its text, or its tool use."""

    def asking(self, tool_use_id: str, call: str = "") -> None:
        """Show that the user is about to be asked about a tool use; `call` is all of it, as text.

        Only a page whose questions have no room for it shows it.
        """

    def decided(self, tool_use_id: str, decision: str) -> None:
        """Show the decision on a tool use."""

    def card(self, tool_use_id: str) -> Card | None:
        """Return the card of a tool use, `None` if the page has none."""
        return None

    def ask(self, data: Data) -> None:
        """Show a question's widgets below the answer so far.

        Nothing else is shown there until `asked` is called.
        """

    def asked(self) -> None:
        """Remove the question."""

    def show_again(self) -> None:
        """Show everything again: the output has moved to a client that has none of it."""

    def tool_ended(self, result: ToolResult) -> None:
        """Show the result of a tool use."""

    def note(self, text: str) -> None:
        """Show a line of the kernel's own."""

    def withdraw(self, text: str, because: str) -> None:
        """Remove a line of the kernel's own, or say below it why it does not hold."""

    def warn(self, text: str) -> None:
        """Write a line of the kernel's own to stderr."""

    def footer(self, text: str, about: Frame) -> None:
        """Show a turn's numbers (none if `text` is empty); `about` identifies the turn."""
        if text:
            self.note(text)

    def said(self, source: str) -> None:
        """Show an answer of Claude's that is of no turn, in an output of its own."""

    def report(self, source: str) -> None:
        """Show Markdown of the kernel's own."""

    def display(self, data: Data) -> None:
        """Show a MIME bundle of the kernel's own."""

    def panel(self, data: Data) -> Callable[[Data], None]:
        """Show a MIME bundle of the kernel's own; the returned function replaces it."""
        return lambda data: None

    def value(self, text: str) -> None:
        """Show the value that a `%` line was asked for."""

    def clear(self) -> None:
        """Clear the cell's outputs."""

    def close(self) -> None:
        """Show the rest of the answer; after it, only notes and reports may follow."""


class SurrogateJoiner:
    """Joins an emoji that the stream cut in two: a high surrogate waits for its low one."""

    def __init__(self) -> None:
        self._high = ""

    def feed(self, text: str) -> str:
        """Return the text that can be shown; a high surrogate at its end waits for the next."""
        text, self._high = self._high + text, ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._high = text[:-1], text[-1]
        return whole(text)
