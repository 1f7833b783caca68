"""The page of a console (`jupyter console`): plain text as it arrives."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from .base import Output, Page
from .parts import Data, first_line, own, report_bundle
from .text import marked, tame, visible, without_ansi
from .throttle import UPDATE_S, Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..claude.events import Block, ToolResult
    from .cards import Card


class ConsolePage(Page):
    """The answer as a plain text stream, for front ends that can't update an output."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output
        self._due: list[str] = []
        self._throttle = Throttle(self._flush)
        self._open_line = False
        self._said = ""
        self._cards: dict[str, Card] = {}

    def text(self, text: str) -> None:
        """Continue the answer."""
        self._write(without_ansi(text))

    def text_ended(self) -> None:
        """End the line."""
        self._line("")

    def retract(self) -> None:
        """Say that the answer above is void: a console can't remove it."""
        self._tell("[the answer above broke off and is void; it begins again]")

    def status(self, text: str, *, kind: str = "") -> None:
        """Write a retry or a stall, but not twice in a row; other statuses would be noise."""
        if kind and kind != self._said:
            self._tell(f"[{text}]")
        self._said = kind

    def notice(self, text: str) -> None:
        """Write a line."""
        self._tell(f"[{text}]")

    def tool_started(self, block: Block) -> None:
        """Write the call as a line."""
        from .cards import Card  # few answers use a tool

        card = Card(block)
        self._cards[str(block.content.get("id", ""))] = card
        self._tell(f"[{card.line}]")

    def tool_ended(self, result: ToolResult) -> None:
        """Write the first line of a failed call's error."""
        if result.is_error:
            self._tell(f"[failed: {first_line(result.text)}]")

    def nested(self, block: Block) -> None:
        """Write a subagent's calls as lines."""
        if block.kind == "tool_use":
            from .cards import Card

            self._tell(f"[  {Card(block).line}]")

    def asking(self, tool_use_id: str, call: str = "") -> None:
        """Write the call that the question is about in full."""
        if call:
            self._line(call)
        self._throttle.fire(UPDATE_S)

    def decided(self, tool_use_id: str, decision: str) -> None:
        """Write the decision."""
        self._tell(f"[{decision}]")

    def card(self, tool_use_id: str) -> Card | None:
        """Return the card of a tool use that was written; a plan is read from it."""
        return self._cards.get(tool_use_id)

    def note(self, text: str) -> None:
        """Write a line of the kernel's own."""
        self._tell(f"[{text}]")
        self._throttle.fire(UPDATE_S)

    def withdraw(self, text: str, because: str) -> None:
        """Say below the line why it does not hold: a console can't remove it."""
        self.note(because)

    def warn(self, text: str) -> None:
        """Write a line of the kernel's own to stderr."""
        self._output.stream(f"{visible(text)}\n", "stderr")

    def said(self, source: str) -> None:
        """Write an answer of Claude's that is of no turn."""
        self._line(tame(source))

    def report(self, source: str) -> None:
        """Display Markdown of the kernel's own; consoles print its source, which is readable."""
        self._throttle.fire(UPDATE_S)
        self._output.show(report_bundle(source), uuid.uuid4().hex)

    def display(self, data: Data) -> None:
        """Display a MIME bundle of the kernel's own; consoles print its plain text."""
        self._throttle.fire(UPDATE_S)
        self._output.show(own(data), uuid.uuid4().hex)

    def panel(self, data: Data) -> Callable[[Data], None]:
        """Write the plain text of a MIME bundle, and later that of the one that replaces it."""

        def write(data: Data) -> None:
            for line in data.get("text/plain", "").splitlines():
                self.note(line)

        write(data)
        return write

    def value(self, text: str) -> None:
        """Show the value that a `%` line was asked for."""
        self._throttle.fire(UPDATE_S)
        self._output.result(text)

    def clear(self) -> None:
        """Clear the cell's output, if the console can."""
        self._output.clear()

    def close(self) -> None:
        """Write the text that is still held back."""
        self._throttle.cancel()
        self._flush()

    def _tell(self, text: str) -> None:
        """Write a line of the kernel's own."""
        self._line(marked(without_ansi(text)))

    def _line(self, text: str) -> None:
        """Write tamed text as lines of its own."""
        start = "\n" if self._open_line else ""
        self._write(f"{start}{text}\n" if text else start)

    def _write(self, text: str) -> None:
        if text:
            self._due.append(text)
            self._open_line = not text.endswith("\n")
            self._throttle.poke(UPDATE_S)

    def _flush(self) -> None:
        if self._due:
            self._output.stream("".join(self._due))
            self._due.clear()
