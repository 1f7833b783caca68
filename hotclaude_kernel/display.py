"""Events onto the page: a document of outputs for notebooks, a plain stream for consoles.

A page sends the first word at once and then at most 20 updates a second, fewer as the live segment
grows. Every message names its cell explicitly: the reader of the process runs in whatever context
it was started in, which is not the cell's.
"""

from __future__ import annotations

import uuid
from functools import partial
from typing import TYPE_CHECKING

from . import markdown, protocol
from .document import Document, Mark, Piece
from .page import UPDATE_S, Output, Page, Throttle
from .parts import (
    Data,
    bundle,
    first_line,
    fold,
    literal,
    report_bundle,
    small,
    tool_piece,
    tool_title,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Callable

# The live segment's size at which updates begin to slow down.
SLOW_CHARACTERS = 4000


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
        self._own: list[Callable[[], None]] = []  # what shows outputs of ours, also after a clear
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
        self._show_own(partial(self._output.show, bundle(small(line), line), uuid.uuid4().hex))

    def report(self, source: str) -> None:
        """Show Markdown of ours, as an output of its own."""
        self._show_own(partial(self._output.show, report_bundle(source), uuid.uuid4().hex))

    def value(self, text: str) -> None:
        """Show a value that was asked for."""
        self._show_own(partial(self._output.result, text))

    def clear(self) -> None:
        """Take away what the cell has shown."""
        self._own.clear()
        self._output.clear()

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

    def _show_own(self, show: Callable[[], None]) -> None:
        self._own.append(show)
        show()

    def _clear_void(self) -> None:
        """Clear the cell where some outputs stand for nothing now, and show the rest again.

        Displays can be changed, but not taken away one by one.
        """
        if len(self._document.segments) >= len(self._ids):
            return
        self._output.clear()
        self._ids.clear()
        self._sent.clear()
        for show in self._own:
            show()

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
        self._said = ""

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
        kind = text.split()[0] if text else ""
        if kind in ("The", "No") and kind != self._said:
            self._line(f"[{text}]")
        self._said = kind

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

    def value(self, text: str) -> None:
        """Show a value that was asked for."""
        self._throttle.fire(UPDATE_S)
        self._output.result(text)

    def clear(self) -> None:
        """Take away what the cell has shown, where the console can."""
        self._output.clear()

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
