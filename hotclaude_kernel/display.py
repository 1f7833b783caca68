"""Events onto the page: a document of outputs for notebooks, a plain stream for consoles.

A page sends the first word at once and then at most 20 updates a second, fewer as the live segment
grows. Every message names its cell explicitly: the reader of the process runs in whatever context
it was started in, which is not the cell's.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any, Protocol

from . import markdown, protocol
from .document import Document, Mark, Piece
from .parts import (
    Data,
    bundle,
    first_line,
    fold,
    literal,
    report_bundle,
    retry_text,
    small,
    tool_piece,
    tool_title,
    whole,
)

UPDATE_S = 0.05
# The live segment's size at which updates begin to slow down.
SLOW_CHARACTERS = 4000


class Output(Protocol):
    """Where a page writes: one cell's outputs in whatever front end there is."""

    def show(self, data: Data, display_id: str, *, update: bool = False) -> None:
        """Display a bundle, or change the one that was displayed under this id."""

    def stream(self, text: str, name: str = "stdout") -> None:
        """Write text."""

    def clear(self) -> None:
        """Take away what the cell has shown, once something new comes."""


class Throttle:
    """Calls `flush` at once, then at most once an interval, never losing the last call."""

    def __init__(self, flush: Any) -> None:
        self._flush = flush
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def poke(self, interval_s: float) -> None:
        """Something changed."""
        now = time.monotonic()
        if now >= self._due:
            self.fire(interval_s)
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._due - now, self.fire, interval_s)

    def fire(self, interval_s: float) -> None:
        """Flush now."""
        self.cancel()
        self._flush()
        self._due = time.monotonic() + interval_s

    def cancel(self) -> None:
        """Forget what is due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Page:
    """What a turn is shown on: turns events into calls that write an answer.

    Deltas are a preview. A content block that arrives whole replaces its preview where the two
    differ, and a retried message takes back what it had streamed.
    """

    def __init__(self) -> None:
        self._preview: list[str] = []
        self._joiner = SurrogateJoiner()

    def take(self, event: protocol.Event) -> None:
        """Read one event."""
        match event:
            case protocol.Delta(kind="text"):
                self._delta(event.text)
            case protocol.BlockStarted():
                self._started(event)
            case protocol.Block(parent=None):
                self._block(event)
            case protocol.ToolResult(parent=None):
                self.tool_ended(event)
            case protocol.MessageStarted():
                self._void()
            case protocol.Retry():
                self._void()
                self.status(retry_text(event))
            case protocol.Notice(kind="stall"):
                self.status(event.text)
            case protocol.Notice():
                self.notice(event.text)

    def _delta(self, text: str) -> None:
        text = self._joiner.feed(text)
        if text:
            self._preview.append(text)
            self.text(text)

    def _started(self, event: protocol.BlockStarted) -> None:
        if event.kind == "thinking":
            self.status("Thinking…")
        elif event.kind == "tool_use":
            self.status(f"{event.tool_name}…")

    def _block(self, block: protocol.Block) -> None:
        if block.error:
            self._void()
        elif block.kind == "text":
            if "".join(self._preview) != (text := whole(block.text)):
                self._void()
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
        self._joiner = SurrogateJoiner()

    def text(self, text: str) -> None:
        """Continue the answer."""

    def text_ended(self) -> None:
        """The text block is complete."""

    def retract(self) -> None:
        """What was written since the last complete block is void."""

    def status(self, text: str) -> None:
        """Say what is going on, until something comes."""

    def notice(self, text: str) -> None:
        """Say something that stays."""

    def thought(self, block: protocol.Block) -> None:
        """Show thinking."""

    def tool_started(self, block: protocol.Block) -> None:
        """Show a tool use."""

    def tool_ended(self, result: protocol.ToolResult) -> None:
        """Show what it returned."""

    def note(self, text: str) -> None:
        """Show a line of ours."""

    def report(self, source: str) -> None:
        """Show Markdown of ours."""

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


class NotebookPage(Page):
    """The answer as a document of Markdown and HTML outputs."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output
        self._document = Document()
        self._mark: Mark = self._document.mark()
        self._ids: list[str] = []
        self._sent: list[int] = []  # the version of each frozen segment that was sent
        self._status = ""
        self._tools: dict[str, tuple[protocol.Block, Piece]] = {}
        self._held: list[Piece] = []  # notices that came in the middle of a run of text
        self._own: list[tuple[Data, str]] = []  # outputs of ours, to be shown again after a clear
        self._throttle = Throttle(self._flush)
        self._wrote = self._closed = False

    # --- what the reader calls ---------------------------------------------------------------

    def text(self, text: str) -> None:
        """Continue the answer; its first word goes out at once."""
        self._document.append(text)
        self._status = ""
        if not self._wrote:
            self._wrote = True
            self._throttle.fire(UPDATE_S)
        else:
            self._changed()

    def text_ended(self) -> None:
        """End the run of text and make it part of the answer."""
        self._document.end_text()
        self._commit()
        self._add_held()

    def retract(self) -> None:
        """Take back what was streamed since the last complete block."""
        self._document.rewind(self._mark)
        self._clear_void()
        self._add_held()
        self._changed()

    def status(self, text: str) -> None:
        """Show a line below the answer until something else comes."""
        if text != self._status:
            self._status = text
            self._changed()

    def notice(self, text: str) -> None:
        """Put a line into the answer."""
        line = markdown.visible(text)
        self._held.append(Piece(f"*{literal(line)}*\n\n", html=small(line)))
        if not self._preview:  # else it would cut a run of text that may yet be taken back
            self._add_held()

    def thought(self, block: protocol.Block) -> None:
        """Fold the thinking."""
        if not block.text.strip():
            return
        seconds = f" for {block.thinking_ms / 1000:.0f} s" if block.thinking_ms else ""
        text = whole(block.text)
        quoted = "".join(f"> {line}\n" for line in text.splitlines())
        html = fold(f"Thought{seconds}", markdown.render(text))
        self._add(Piece(f"> *Thought{seconds}*\n>\n{quoted}\n", html=html))

    def tool_started(self, block: protocol.Block) -> None:
        """Show the call; it is completed when its result comes."""
        piece = self._add(tool_piece(block))
        self._tools[block.content.get("id", "")] = (block, piece)
        self.status(f"{tool_title(block.content)}…")

    def tool_ended(self, result: protocol.ToolResult) -> None:
        """Complete the call's fold, wherever it stands."""
        if call := self._tools.pop(result.tool_use_id, None):
            block, piece = call
            self._document.replace(piece, tool_piece(block, result, size=piece.size))
        running = [tool_title(block.content) for block, _ in self._tools.values()]
        self._status = f"{running[-1]}…" if running else ""
        self._changed()

    def note(self, text: str) -> None:
        """Show a line of ours, as an output of its own."""
        line = markdown.visible(text)
        self._show_own(bundle(small(line), line))

    def report(self, source: str) -> None:
        """Show Markdown of ours, as an output of its own."""
        self._show_own(bundle(markdown.render(source), source) | {"text/markdown": source})

    def close(self) -> None:
        """Freeze the document and send it whole."""
        if self._closed:
            return
        self._closed = True
        self._status = ""
        self._throttle.cancel()
        self._document.end_text()
        for piece in self._held:
            self._document.add(piece)
        self._document.finish()
        self._clear_void()
        self._flush()

    # --- sending -----------------------------------------------------------------------------

    def _add(self, piece: Piece) -> Piece:
        self._document.add(piece)
        self._commit()
        self._changed()
        return piece

    def _add_held(self) -> None:
        held, self._held = self._held, []
        for piece in held:
            self._add(piece)

    def _show_own(self, data: Data) -> None:
        self._own.append((data, uuid.uuid4().hex))
        self._output.show(*self._own[-1])

    def _clear_void(self) -> None:
        """Clear the cell where some outputs stand for nothing now, and show the rest again.

        Displays can be changed, but not taken away one by one.
        """
        if len(self._document.segments) >= len(self._ids):
            return
        self._output.clear()
        self._ids.clear()
        self._sent.clear()
        for data, display_id in self._own:
            self._output.show(data, display_id)

    def _commit(self) -> None:
        self._mark = self._document.mark()

    def _changed(self) -> None:
        document = self._document
        size = document.live.size + document.tail_size
        self._throttle.poke(UPDATE_S * max(1.0, size / SLOW_CHARACTERS))

    def _flush(self) -> None:
        """Send frozen segments that changed, and the live one, in one go.

        The new live output follows in the same tick as the freezing: any later and the page jumps.
        """
        for at, segment in enumerate(self._document.segments):
            if not segment.frozen:
                self._send_live(at)
            elif at >= len(self._sent) or self._sent[at] != segment.version:
                html = segment.html(self._document.references)
                data = bundle(html, segment.source) | {"text/markdown": segment.source}
                self._send(at, data)
                self._sent[at : at + 1] = [segment.version]

    def _send_live(self, at: int) -> None:
        document = self._document
        html = document.live.html(document.references)
        if document.tail:
            html += markdown.render(document.tail, references=document.references)
        if self._status:
            html += small(markdown.visible(self._status))
        if html or at < len(self._ids):
            self._send(at, {"text/html": markdown.wrap(html)})

    def _send(self, at: int, data: Data) -> None:
        update = at < len(self._ids)
        if not update:
            self._ids.append(uuid.uuid4().hex)
        self._output.show(data, self._ids[at], update=update)


class ConsolePage(Page):
    """The answer as plain text, for front ends that show nothing else and change nothing."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output
        self._due: list[str] = []
        self._throttle = Throttle(self._flush)
        self._open_line = False

    def text(self, text: str) -> None:
        """Continue the answer."""
        self._write(text)

    def text_ended(self) -> None:
        """End the line."""
        self._line("")

    def retract(self) -> None:
        """What stands on a console stays; say that it is void."""
        self._line("[the answer above broke off and is void; it begins again]")

    def status(self, text: str) -> None:
        """Say only what a reader must know of a wait; the rest would be noise in a scroll."""
        if text.startswith(("The API", "No data")):
            self._line(f"[{text}]")

    def notice(self, text: str) -> None:
        """Write a line."""
        self._line(f"[{text}]")

    def tool_started(self, block: protocol.Block) -> None:
        """Write the call as a line."""
        self._line(f"[{tool_title(block.content)}]")

    def tool_ended(self, result: protocol.ToolResult) -> None:
        """Write how a failed call failed."""
        if result.is_error:
            self._line(f"[failed: {first_line(result.text)}]")

    def note(self, text: str) -> None:
        """Write a line of ours."""
        self._line(f"[{text}]")
        self._throttle.fire(UPDATE_S)

    def report(self, source: str) -> None:
        """Display Markdown of ours: consoles print it as it stands, which is readable."""
        self._throttle.fire(UPDATE_S)
        self._output.show(report_bundle(source), uuid.uuid4().hex)

    def close(self) -> None:
        """Write what is due."""
        self._throttle.cancel()
        self._flush()

    def _line(self, text: str) -> None:
        start = "\n" if self._open_line else ""
        self._write(f"{start}{text}\n" if text else start)

    def _write(self, text: str) -> None:
        if text:
            self._due.append(markdown.without_ansi(text))
            self._open_line = not text.endswith("\n")
            self._throttle.poke(UPDATE_S)

    def _flush(self) -> None:
        if self._due:
            self._output.stream("".join(self._due))
            self._due.clear()
