"""A cell's answer as one logical document, cut into segments.

Front ends redraw a whole output at every update and hide the 51st, so the document is neither one
output nor one output a block. It is a row of *segments*: all but the last are frozen and never sent
again; the last is live. A segment freezes at the end of a top-level block once it holds an eighth
of the whole, 1,000 characters at the least, so their number grows with the logarithm of the length
(some 36 at 500,000 characters). Where the cuts fall depends on the text alone, never on timing.

Nothing here talks to a front end.
"""

from __future__ import annotations

from typing import Any, Protocol

from msgspec import Struct, field

from .markdown import render as markdown

SEGMENT_CHARACTERS = 1000
SEGMENT_SHARE = 8


class Piece(Protocol):
    """A part of the document: a block of the answer's text, or a fold.

    `gap` are the line ends that keep it apart from what stands before it; they are part of its
    source. `size` is what it counts for in the cutting.
    """

    gap: str

    @property
    def source(self) -> str:
        """The piece as Markdown."""

    @property
    def size(self) -> int:
        """Its weight, in characters."""

    def render(self, references: dict[str, Any]) -> str:
        """Return the piece as safe HTML."""


class Text(Struct):
    """A top-level block of the answer."""

    text: str
    gap: str = ""

    @property
    def source(self) -> str:
        """The block as it came."""
        return self.gap + self.text

    @property
    def size(self) -> int:
        """Its length."""
        return len(self.text)

    def render(self, references: dict[str, Any]) -> str:
        """Return the block as safe HTML."""
        return markdown.render(self.text, references=references)


class Aside(Struct):
    """Something beside the answer's text, with HTML of its own."""

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
    """Some pieces in a row. `version` counts its changes since it was frozen.

    `loose` marks text that streams below a fold in an output of its own, and may yet be joined to
    the segment before it.
    """

    pieces: list[Piece] = field(default_factory=list)
    size: int = 0
    frozen: bool = False
    loose: bool = False
    version: int = 0
    # The drawn pieces, and how many reference definitions were known when they were drawn.
    _drawn: list[str | None] = field(default_factory=list)
    _references_known: int = 0

    @property
    def source(self) -> str:
        """The segment as Markdown."""
        return "".join(piece.source for piece in self.pieces)

    def html(self, references: dict[str, Any]) -> str:
        """Return the segment as HTML; pieces that were drawn before are not drawn again."""
        if not self._drawn:
            self._references_known = len(references)
        self._drawn += [None] * (len(self.pieces) - len(self._drawn))
        for at, drawn in enumerate(self._drawn):
            if drawn is None:
                self._drawn[at] = self.pieces[at].render(references)
        return "".join(drawn or "" for drawn in self._drawn)

    def redraw(self) -> None:
        """Forget what was drawn."""
        self._drawn.clear()
        self.version += 1

    def redraw_piece(self, at: int) -> None:
        """Forget what was drawn of one piece."""
        if at < len(self._drawn):
            self._drawn[at] = None
        self.version += 1

    def join(self, other: Segment) -> None:
        """Take over the pieces that follow, with what was drawn of them, and grow again."""
        if len(self._drawn) == len(self.pieces):
            self._drawn += other._drawn
        self.pieces += other.pieces
        self.size += other.size
        self.frozen = False
        self.version += 1

    def may_gain(self, references: dict[str, Any]) -> bool:
        """Whether definitions that came after it was drawn could turn its text into links."""
        return len(references) > self._references_known and "[" in self.source


class Mark(Struct, frozen=True):
    """A place in the document to come back to."""

    segments: int
    pieces: int
    size: int
    loose: bool
    total: int
    references: int


class Document:
    """The segments of one answer, as it grows.

    Text comes through `append` and `end_text`; whatever is no text through `add`. `mark` and
    `rewind` take back what turned out to be void.
    """

    def __init__(self) -> None:
        self.segments = [Segment()]
        self.references: dict[str, Any] = {}
        self._splitter: markdown.Splitter | None = None
        self.tail_size = 0  # of `tail`, without putting it together
        self._total = 0
        self._gap = ""

    @property
    def live(self) -> Segment:
        """The segment that still grows."""
        return self.segments[-1]

    @property
    def tail(self) -> str:
        """The text after the last finished block."""
        return self._splitter.tail if self._splitter else ""

    @property
    def empty(self) -> bool:
        """Whether nothing was written yet."""
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
        """End a run of text: what follows is not part of its last block."""
        if self._splitter is not None:
            for block in self._splitter.finish():
                self._add_text(block)
            self._splitter = None

    def add(self, piece: Piece) -> None:
        """Append a piece that is no running text."""
        self.end_text()
        self._join()
        self._part()
        self._place(piece)

    def changed(self, piece: Piece, grown: int) -> None:
        """Note that a piece is not what it was, wherever it stands, and by how much it grew."""
        for segment in reversed(self.segments):
            at = next((at for at, held in enumerate(segment.pieces) if held is piece), None)
            if at is not None:
                segment.redraw_piece(at)
                segment.size += grown
                self._total += grown
                return

    def mark(self) -> Mark:
        """Return the place reached; only between runs of text."""
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
        """End the document: freeze the last segment, and resolve references to later text."""
        self.end_text()
        if self.live.pieces:
            self.live.frozen = True
        else:
            self.segments.pop()
        for segment in self.segments:
            if segment.may_gain(self.references):
                segment.redraw()

    def _forget_references(self, known: int) -> None:
        """Drop the definitions that void text held, and the links that were drawn with them."""
        void = list(self.references)[known:]
        for label in void:
            del self.references[label]
        for segment in self.segments:
            if void and "[" in segment.source:
                segment.redraw()

    def _part(self) -> None:
        """Keep a new part apart from the one before it, in Markdown's way: by a blank line.

        The gap goes in front of the new part; what stands before it may have been sent.
        """
        last = next((s.pieces[-1].source for s in reversed(self.segments) if s.pieces), "\n\n")
        self._gap = "\n\n"[len(last) - len(last.rstrip("\n")) :]

    def _loosen(self) -> None:
        """Begin a segment where text follows a fold: redrawing the fold would close it again."""
        if self.live.pieces and not isinstance(self.live.pieces[-1], Text):
            self.live.frozen = True
            self.segments.append(Segment(loose=True))

    def _join(self) -> None:
        """Give loose text back to the segment before it."""
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
