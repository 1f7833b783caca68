"""A cell's answer as one logical document, cut into segments.

Front ends redraw a whole output at every update, so the document can't be one output. They hide a
cell's 51st output, so it can't be one output for each block. It is a row of *segments*, each an
output: the last one is live, all others are frozen and not sent again.

The live segment freezes at the end of a top-level block, once it holds at least 1,000 characters
and an eighth of the document. So the number of segments grows with the logarithm of the length:
some 36 at 500,000 characters. The cuts depend on the text alone, never on timing.

Nothing here talks to a front end.
"""

from __future__ import annotations

from typing import Any, Protocol

from msgspec import Struct, field

from .markdown import render as markdown
from .text import unmarked

SEGMENT_CHARACTERS = 1000
SEGMENT_SHARE = 8


class Piece(Protocol):
    """A part of the document: a block of the answer's text, or a fold.

    `gap` holds the line ends between the piece before and this one; they are part of `source`.
    The cuts between segments go by `size`.
    """

    gap: str

    @property
    def source(self) -> str:
        """The piece as Markdown."""

    @property
    def size(self) -> int:
        """Its size, in characters."""

    def render(self, references: dict[str, Any]) -> str:
        """Return the piece as safe HTML."""


class Text(Struct):
    """A top-level block of the answer."""

    text: str
    gap: str = ""

    @property
    def source(self) -> str:
        """The block's Markdown, unchanged but for the kernel's own mark."""
        return self.gap + unmarked(self.text)

    @property
    def size(self) -> int:
        """Its length."""
        return len(self.text)

    def render(self, references: dict[str, Any]) -> str:
        """Return the block as safe HTML."""
        return markdown.render(self.text, references=references)


class Aside(Struct):
    """A piece that is not the answer's text and brings its own HTML: a thought, a notice."""

    body: str
    html: str
    gap: str = ""

    @property
    def source(self) -> str:
        """Its Markdown."""
        return self.gap + self.body

    @property
    def size(self) -> int:
        """Its length."""
        return len(self.body)

    def render(self, references: dict[str, Any]) -> str:
        """Return its HTML."""
        return self.html


class Segment(Struct):
    """Some pieces in a row, shown in one output.

    `version` grows with each change for which a frozen segment must be sent again.
    `loose` marks text below a fold that streams in an output of its own, and may still be joined
    to the segment before it.
    """

    pieces: list[Piece] = field(default_factory=list)
    size: int = 0
    frozen: bool = False
    loose: bool = False
    version: int = 0
    # The HTML of each piece, and how many link definitions were known when they were rendered.
    _drawn: list[str | None] = field(default_factory=list)
    _references_known: int = 0

    @property
    def source(self) -> str:
        """The segment as Markdown."""
        return "".join(piece.source for piece in self.pieces)

    def html(self, references: dict[str, Any]) -> str:
        """Return the segment as safe HTML; each piece is rendered only once."""
        if not self._drawn:
            self._references_known = len(references)
        self._drawn += [None] * (len(self.pieces) - len(self._drawn))
        for at, drawn in enumerate(self._drawn):
            if drawn is None:
                self._drawn[at] = self.pieces[at].render(references)
        return "".join(drawn or "" for drawn in self._drawn)

    def redraw(self) -> None:
        """Have all pieces rendered again."""
        self._drawn.clear()
        self.version += 1

    def redraw_piece(self, at: int) -> None:
        """Have one piece rendered again."""
        if at < len(self._drawn):
            self._drawn[at] = None
        self.version += 1

    def join(self, other: Segment) -> None:
        """Take over the pieces of the next segment, with their HTML, and be live again."""
        if len(self._drawn) == len(self.pieces):
            self._drawn += other._drawn
        self.pieces += other.pieces
        self.size += other.size
        self.frozen = False
        self.version += 1

    def may_gain(self, references: dict[str, Any]) -> bool:
        """Whether link definitions that came after its rendering could make links in its text."""
        return len(references) > self._references_known and "[" in self.source


class Mark(Struct, frozen=True):
    """A position in the document that `rewind` can go back to."""

    segments: int
    pieces: int
    size: int
    loose: bool
    total: int
    references: int


class Document:
    """The segments of one answer, as it grows.

    `append` and `end_text` take the answer's text, `add` takes every other piece. `mark` and
    `rewind` take back a message that is retried.
    """

    def __init__(self) -> None:
        self.segments = [Segment()]
        self.references: dict[str, Any] = {}
        self._splitter: markdown.Splitter | None = None
        self.tail_size = 0  # the length of `tail`, which is costly to join
        self._total = 0
        self._gap = ""

    @property
    def live(self) -> Segment:
        """The segment that still grows."""
        return self.segments[-1]

    @property
    def tail(self) -> str:
        """The text of the block that is still open."""
        return self._splitter.tail if self._splitter else ""

    @property
    def empty(self) -> bool:
        """Whether nothing has been written."""
        return self._total == 0 and self.tail_size == 0

    def append(self, text: str) -> None:
        """Continue the text."""
        if self._splitter is None:
            self._splitter = markdown.Splitter()
            self._part()
            self._loosen()
        self.tail_size += len(text)
        for block in self._splitter.feed(text):
            self._add_text(block)

    def end_text(self) -> None:
        """End a run of text: text that follows begins a new block."""
        if self._splitter is not None:
            for block in self._splitter.finish():
                self._add_text(block)
            self._splitter = None

    def add(self, piece: Piece) -> None:
        """Append a piece that is not the answer's text."""
        self.end_text()
        self._join()
        self._part()
        self._place(piece)

    def changed(self, piece: Piece, grown: int) -> None:
        """Have a changed piece rendered again, in any segment; it grew by `grown` characters."""
        for segment in reversed(self.segments):
            at = next((at for at, held in enumerate(segment.pieces) if held is piece), None)
            if at is not None:
                segment.redraw_piece(at)
                segment.size += grown
                self._total += grown
                return

    def mark(self) -> Mark:
        """Return the end of the document, to go back to; call it only between runs of text."""
        live = self.live
        return Mark(
            segments=len(self.segments),
            pieces=len(live.pieces),
            size=live.size,
            loose=live.loose,
            total=self._total,
            references=len(self.references),
        )

    def rewind(self, mark: Mark) -> None:
        """Take back everything since `mark`."""
        self._splitter = None
        self.tail_size = 0
        del self.segments[mark.segments :]
        live = self.live
        del live.pieces[mark.pieces :]
        live.size, live.loose, self._total = mark.size, mark.loose, mark.total
        live.frozen = False
        live.redraw()
        self._forget_references(mark.references)

    def finish(self) -> None:
        """Freeze the last segment, and render again those that refer to later definitions."""
        self.end_text()
        if self.live.pieces:
            self.live.frozen = True
        else:
            self.segments.pop()
        for segment in self.segments:
            if segment.may_gain(self.references):
                segment.redraw()

    def _forget_references(self, known: int) -> None:
        """Drop all but the first `known` link definitions, and the links made with the others."""
        void = list(self.references)[known:]
        for label in void:
            del self.references[label]
        for segment in self.segments:
            if void and "[" in segment.source:
                segment.redraw()

    def _part(self) -> None:
        """Separate the next piece from the last one by a blank line, as Markdown does.

        The line ends go in front of the next piece, since the last one may have been sent.
        """
        last = next((s.pieces[-1].source for s in reversed(self.segments) if s.pieces), "\n\n")
        self._gap = "\n\n"[len(last) - len(last.rstrip("\n")) :]

    def _loosen(self) -> None:
        """Begin a segment if text follows a fold: to redraw the fold's output would close it."""
        if self.live.pieces and not isinstance(self.live.pieces[-1], Text):
            self.live.frozen = True
            self.segments.append(Segment(loose=True))

    def _join(self) -> None:
        """Join loose text to the segment before it."""
        if not self.live.loose:
            return
        self.live.loose = False
        text = self.segments.pop()
        self.live.join(text)
        self._cut()

    def _limit(self) -> float:
        return max(SEGMENT_CHARACTERS, self._total / SEGMENT_SHARE)

    def _add_text(self, block: str) -> None:
        for label, target in markdown.definitions(block).items():
            self.references.setdefault(label, target)
        self.tail_size -= len(block)
        self._place(Text(block))

    def _place(self, piece: Piece) -> None:
        piece.gap, self._gap = self._gap, ""
        live = self.live
        live.pieces.append(piece)
        live.size += piece.size
        self._total += piece.size
        self._cut()

    def _cut(self) -> None:
        """Freeze the live segment if it is full."""
        live = self.live
        if live.size >= self._limit():
            live.frozen, live.loose = True, False
            self.segments.append(Segment())
