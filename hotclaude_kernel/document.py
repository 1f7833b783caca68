"""A cell's answer as one logical document, cut into segments.

Front ends redraw a whole output at every update and hide the 51st, so the document is neither one
output nor one output a block. It is a row of *segments*: all but the last are frozen and never sent
again; the last is live. A segment freezes at the end of a top-level block once it holds an eighth
of the whole, 1,000 characters at the least, so their number grows with the logarithm of the length
(some 36 at 500,000 characters). Where the cuts fall depends on the text alone, never on timing.

Nothing here talks to a front end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from . import markdown

SEGMENT_CHARACTERS = 1000
SEGMENT_SHARE = 8


@dataclass(slots=True)
class Piece:
    """A finished part of the document: a Markdown block, or a fold with HTML of its own.

    `size` is what it counts for in the cutting; it must not change when the piece does.
    """

    source: str
    html: str | None = None
    size: int = 0

    def __post_init__(self) -> None:
        self.size = self.size or len(self.source)

    def render(self, references: dict[str, Any]) -> str:
        """Return the piece as safe HTML."""
        if self.html is not None:
            return self.html
        return markdown.render(self.source, references=references)


@dataclass(slots=True)
class Segment:
    """Some pieces in a row. `version` counts its changes since it was frozen."""

    pieces: list[Piece] = field(default_factory=list)
    size: int = 0
    frozen: bool = False
    version: int = 0
    # The drawn pieces, and how many reference definitions were known when they were drawn.
    _drawn: list[str] = field(default_factory=list)
    _references_known: int = 0

    @property
    def source(self) -> str:
        """The segment as Markdown."""
        return "".join(piece.source for piece in self.pieces)

    def html(self, references: dict[str, Any]) -> str:
        """Return the segment as HTML; pieces that were drawn before are not drawn again."""
        if not self._drawn:
            self._references_known = len(references)
        self._drawn += [piece.render(references) for piece in self.pieces[len(self._drawn) :]]
        return "".join(self._drawn)

    def replace(self, old: Piece, new: Piece) -> None:
        """Put a piece in the place of another, as far from the part before it."""
        at = next(i for i, piece in enumerate(self.pieces) if piece is old)
        gap = old.source[: len(old.source) - len(old.source.lstrip("\n"))]
        new.source = gap + new.source
        self.pieces[at] = new
        self.redraw()

    def redraw(self) -> None:
        """Forget what was drawn."""
        self._drawn.clear()
        self.version += 1

    def may_gain(self, references: dict[str, Any]) -> bool:
        """Whether definitions that came after it was drawn could turn its text into links."""
        return len(references) > self._references_known and "[" in self.source


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the document to come back to."""

    segments: int
    pieces: int
    size: int
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
        self.tail_size += len(text)
        for block in self._splitter.feed(text):
            self._add_text(block)

    def end_text(self) -> None:
        """End a run of text: what follows is not part of its last block."""
        if self._splitter is not None:
            for block in self._splitter.finish():
                self._add_text(block)
            self._splitter = None

    def add(self, piece: Piece) -> Piece:
        """Append a piece that is no running text."""
        self.end_text()
        self._part()
        self._place(piece)
        return piece

    def replace(self, old: Piece, new: Piece) -> None:
        """Put a piece in the place of another, wherever it stands."""
        for segment in reversed(self.segments):
            if any(piece is old for piece in segment.pieces):
                segment.replace(old, new)
                return

    def mark(self) -> Mark:
        """Return the place reached; only between runs of text."""
        live = self.live
        return Mark(
            len(self.segments), len(live.pieces), live.size, self._total, len(self.references)
        )

    def rewind(self, mark: Mark) -> None:
        """Take back everything since `mark`."""
        self._splitter = None
        self.tail_size = 0
        del self.segments[mark.segments :]
        live = self.live
        del live.pieces[mark.pieces :]
        live.size, live.frozen, self._total = mark.size, False, mark.total
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

    def _add_text(self, block: str) -> None:
        for label, target in markdown.definitions(block).items():
            self.references.setdefault(label, target)
        self.tail_size -= len(block)
        self._place(Piece(block))

    def _place(self, piece: Piece) -> None:
        piece.source, self._gap = self._gap + piece.source, ""
        live = self.live
        live.pieces.append(piece)
        live.size += piece.size
        self._total += piece.size
        if live.size >= max(SEGMENT_CHARACTERS, self._total / SEGMENT_SHARE):
            live.frozen = True
            self.segments.append(Segment())
