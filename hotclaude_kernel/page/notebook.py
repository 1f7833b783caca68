"""The page of a notebook cell: a document of Markdown and HTML outputs.

The page sends the first word at once and then at most 20 updates a second, fewer as the live
segment grows.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from ..claude.frames import whole
from .base import Output, Page
from .document import Aside, Document, Mark, Piece, Segment
from .markdown import render as markdown
from .parts import Data, bundle, fold, line_bundle, literal, own, report_bundle, said_bundle, small
from .text import marked, unmarked, visible
from .throttle import UPDATE_S, Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..claude import frames
    from ..claude.events import Block, ToolResult
    from .cards import Card

EMPTY: Data = {"text/html": ""}
# From this size of the live segment on, updates become slower.
SLOW_CHARACTERS = 4000


class NotebookPage(Page):
    """The answer as a document of Markdown and HTML outputs."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output
        self._document = Document()
        self._mark: Mark = self._document.mark()
        self._ids: list[str] = []
        # Frozen segments that were sent, by their index, each with the version that was sent.
        self._sent: dict[int, tuple[Segment, int]] = {}
        self._status = ""
        self._shown: list[Data] = []  # the bundle that each output holds
        self._asking: tuple[int, Data] | None = None  # a question: the output's index, the bundle
        self._cards: dict[str, Card] = {}
        # Notices, and by how much cards grew, wait for the end of a text block. Otherwise the cuts
        # would depend on when they came between two deltas.
        self._held: list[Piece] = []
        self._grown: list[tuple[Card, int]] = []
        self._own: list[Callable[[], None]] = []  # each shows an output of the kernel's own
        self._notes: dict[str, Callable[[], None]] = {}  # those of lines, by their text
        self._withdrawn = False
        self._throttle = Throttle(self._flush)
        self._wrote = self._closed = False

    # --- the answer --------------------------------------------------------------------------

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
        """End the text block; from here on it can't be taken back."""
        self._document.end_text()
        self._commit()

    def retract(self) -> None:
        """Take back the text that was streamed since the last complete block."""
        self._document.rewind(self._mark)
        self._changed()

    def settled(self) -> None:
        """Add the notices and the growth of cards that waited for the end of the text block."""
        if self._held or self._grown:
            self._add_waiting()
            self._changed()

    def status(self, text: str, *, kind: str = "") -> None:
        """Show a line below the answer until something else comes."""
        if text != self._status:
            self._status = text
            self._changed()

    def notice(self, text: str) -> None:
        """Put a line into the answer."""
        line = visible(text)
        self._held.append(Aside(marked(f"*{literal(line)}*\n\n"), html=small(line)))
        if not self.in_text:  # else it would cut a text block that may still be taken back
            self.settled()

    def thought(self, block: Block) -> None:
        """Show thinking in a fold."""
        if not block.text.strip():
            return
        spent = round((block.thinking_ms or 0) / 1000)
        seconds = f" for {spent} s" if spent else ""
        text = whole(block.text)
        quoted = "".join(f"> {line}\n" for line in unmarked(text).splitlines())
        html = fold(f"Thought{seconds}", markdown.render(text))
        self._status = ""
        self._add(Aside(f"> {marked(f'*Thought{seconds}*')}\n>\n{quoted}\n", html=html))

    def tool_started(self, block: Block) -> None:
        """Show the call as a card; its result completes the card."""
        from .cards import Card  # few answers use a tool

        card = Card(block)
        self._cards[str(block.content.get("id", ""))] = card
        self._status = ""
        self._add(card)

    def nested(self, block: Block) -> None:
        """Show a subagent's step on the card of the call that started the subagent."""
        parent = self._cards.get(block.parent or "")
        if parent is None or block.kind not in ("text", "tool_use"):
            return
        from .cards import Card
        from .sections import Prose

        child: Piece
        if block.kind == "tool_use":
            child = self._cards[str(block.content.get("id", ""))] = Card(block)
        else:
            said = Prose(whole(block.text))
            child = Aside(said.source(), html=said.html())
        parent.add(child)
        self._redraw(parent, child.size)

    def tool_ended(self, result: ToolResult) -> None:
        """Complete the call's card."""
        if card := self._cards.get(result.tool_use_id):
            from .sections import MOST_CHARACTERS

            card.end(result)
            self._redraw(card, min(len(result.text), MOST_CHARACTERS))

    def asking(self, tool_use_id: str, call: str = "") -> None:
        """Mark the card that the next question is about."""
        if card := self._cards.get(tool_use_id):
            card.wait()
            self._redraw(card, 0)
        self._throttle.fire(UPDATE_S)

    def decided(self, tool_use_id: str, decision: str) -> None:
        """Show the decision on its card."""
        if card := self._cards.get(tool_use_id):
            card.decide(decision)
            self._redraw(card, len(decision))
        else:
            self.notice(decision)

    def card(self, tool_use_id: str) -> Card | None:
        """Return the card of a tool use, `None` if there is none."""
        return self._cards.get(tool_use_id)

    def _redraw(self, card: Card, grown: int) -> None:
        if self.in_text:
            self._grown.append((card.root, grown))
            self._document.changed(card.root, 0)
        else:
            self._document.changed(card.root, grown)
            self._commit()
        self._changed()

    # --- questions ---------------------------------------------------------------------------

    def ask(self, data: Data) -> None:
        """Show a question's widgets in the output below the answer so far.

        After the user's answer the text goes on in that output, so questions add no outputs.
        """
        self._throttle.fire(UPDATE_S)
        segments = self._document.segments
        written = segments[-1].pieces or self._document.tail_size
        # A segment that shows nothing (a link definition) was not sent, and has no output yet.
        at = min(len(segments) if written else len(segments) - 1, len(self._ids))
        self._asking = (at, data)
        self._send(at, data)

    def asked(self) -> None:
        """Remove the question; the card shows the decision."""
        if self._asking is not None:
            at, _ = self._asking
            self._asking = None
            self._send(at, EMPTY)
            self._changed()

    def show_again(self) -> None:
        """Show everything again, as new outputs."""
        self._forget_outputs()
        for show in self._own:
            show()
        self._flush()
        if self._asking is not None:
            self._asking = (len(self._ids), self._asking[1])
            self._send(*self._asking)

    def note(self, text: str) -> None:
        """Show a line of the kernel's own, in an output of its own."""
        self._show_own(lambda: self._output.show(line_bundle(text), uuid.uuid4().hex))
        self._notes[text] = self._own[-1]

    def withdraw(self, text: str, because: str) -> None:
        """Remove a line of the kernel's own when the page is closed."""
        if (shown := self._notes.pop(text, None)) in self._own:
            self._own.remove(shown)
            self._withdrawn = True

    def warn(self, text: str) -> None:
        """Write a line of the kernel's own to stderr."""
        self._show_own(lambda: self._output.stream(f"{visible(text)}\n", "stderr"))

    def footer(self, text: str, about: frames.Frame) -> None:
        """Show a turn's numbers in an output of its own; its metadata (`about`) names the turn."""
        data = line_bundle(text) if text else EMPTY
        self._show_own(lambda: self._output.show(data, uuid.uuid4().hex, about=about))

    def said(self, source: str) -> None:
        """Show an answer of Claude's that is of no turn, in an output of its own."""
        self._show_own(lambda: self._output.show(said_bundle(source), uuid.uuid4().hex))

    def report(self, source: str) -> None:
        """Show Markdown of the kernel's own, in an output of its own."""
        self._show_own(lambda: self._output.show(report_bundle(source), uuid.uuid4().hex))

    def display(self, data: Data) -> None:
        """Show a MIME bundle of the kernel's own, in an output of its own."""
        self._show_own(lambda: self._output.show(own(data), uuid.uuid4().hex))

    def panel(self, data: Data) -> Callable[[Data], None]:
        """Show a MIME bundle in an output of its own, and return what replaces it."""
        name = uuid.uuid4().hex
        shown = [_marked(data)]
        self._show_own(lambda: self._output.show(shown[0], name))

        def replace(data: Data) -> None:
            shown[0] = _marked(data)
            self._output.show(shown[0], name, update=True)

        return replace

    def value(self, text: str) -> None:
        """Show the value that a `%` line was asked for."""
        self._show_own(lambda: self._output.result(text))

    def clear(self) -> None:
        """Clear the cell's outputs."""
        self._own.clear()
        self._output.clear()

    def close(self) -> None:
        """Freeze the document and send the rest of it; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self._status = ""
        self._throttle.cancel()
        self._asking = None
        for card in self._cards.values():
            if card.result is None:
                card.stop()
                self._document.changed(card.root, 0)
        self._document.end_text()
        self._add_waiting()
        self._document.finish()
        self._clear_void()
        self._flush()

    # --- sending -----------------------------------------------------------------------------

    def _add(self, piece: Piece) -> None:
        self._document.add(piece)
        self._commit()
        self._changed()

    def _add_waiting(self) -> None:
        for card, grown in self._grown:
            self._document.changed(card, grown)
        for piece in self._held:
            self._document.add(piece)
        self._grown.clear()
        self._held.clear()
        self._commit()

    def _show_own(self, show: Callable[[], None]) -> None:
        self._own.append(show)
        show()

    def _clear_void(self) -> None:
        """If some outputs are empty or withdrawn, clear the cell and show the others again.

        Jupyter can update a display but not remove one.
        """
        if len(self._document.segments) >= len(self._ids) and not self._withdrawn:
            return
        self._output.clear()
        self._forget_outputs()
        for show in self._own:
            show()

    def _forget_outputs(self) -> None:
        self._ids.clear()
        self._sent.clear()
        self._shown.clear()

    def _commit(self) -> None:
        self._mark = self._document.mark()

    def _changed(self) -> None:
        document = self._document
        size = document.live.size + document.tail_size
        self._throttle.poke(UPDATE_S * max(1.0, size / SLOW_CHARACTERS))

    def _flush(self) -> None:
        """Send the frozen segments that changed, and the live one.

        A frozen segment and the live one after it are sent together, else the page would jump.
        """
        segments = self._document.segments
        for at, segment in enumerate(segments):
            if self._asking is not None and at >= self._asking[0]:
                return
            if not segment.frozen:
                self._send_live(at)
            elif not self._was_sent(at, segment):
                html = segment.html(self._document.references)
                data = bundle(html, segment.source) | {"text/markdown": segment.source}
                self._send(at, data)
                self._sent[at] = (segment, segment.version)
        if self._asking is None:
            for at in range(len(segments), len(self._ids)):
                self._send(at, EMPTY)  # the output's text was joined to the one above

    def _was_sent(self, at: int, segment: Segment) -> bool:
        sent, version = self._sent.get(at, (None, 0))
        return sent is segment and version == segment.version

    def _send_live(self, at: int) -> None:
        document = self._document
        html = document.live.html(document.references)
        if document.tail:
            html += markdown.render(document.tail, references=document.references)
        if self._status:
            html += small(visible(self._status))
        if html or at < len(self._ids):
            self._send(at, {"text/html": markdown.wrap(html)})

    def _send(self, at: int, data: Data) -> None:
        if at < len(self._ids):
            if self._shown[at] != data:
                self._shown[at] = data
                self._output.show(data, self._ids[at], update=True)
            return
        self._ids.append(uuid.uuid4().hex)
        self._shown.append(data)
        self._output.show(data, self._ids[at])


def _marked(data: Data) -> Data:
    """Return a panel's bundle with the mark in its plain text; its HTML has it."""
    return data | {"text/plain": marked(data.get("text/plain", ""))}
