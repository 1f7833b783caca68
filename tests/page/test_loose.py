"""Text after a fold, and how many segments folds and texts come to."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotclaude_kernel.page.document import (
    SEGMENT_CHARACTERS,
    SEGMENT_SHARE,
    Document,
)

from ..support.writing import (
    VOID,
    Drawing,
    joined,
    pieces_of,
    prose,
    shape,
    sizes_of_chunks,
    texts,
    whole_html,
)


class Fold:
    """A part that counts how often it is drawn."""

    def __init__(self, size: int = 150) -> None:
        self.gap = ""
        self.size = size
        self.drawn = 0

    @property
    def source(self) -> str:
        return f"{self.gap}**Fold**\n\n"

    def render(self, references: dict[str, Any]) -> str:
        self.drawn += 1
        return "<details></details>"


#: What a document is made of: text, or a fold of some size.
steps = st.lists(texts | st.sampled_from([0, 150, 800, 3000]), max_size=12)


def build(parts: list[str | int], sizes: list[int]) -> Document:
    document = Document()
    for part in parts:
        if isinstance(part, int):
            document.add(Fold(part))
        else:
            for piece in pieces_of(part, sizes):
                document.append(piece)
            document.end_text()
    document.finish()
    return document


class TestLoose:
    def test_text_after_a_fold_streams_in_a_segment_of_its_own(self) -> None:
        document = Document()
        fold = Fold()
        document.append("Before.\n")
        document.add(fold)
        whole_html(document)
        version = document.segments[0].version
        for word in ("After", " the", " fold.\n\n", "More."):
            document.append(word)
            whole_html(document)
            first, live = document.segments
            assert (first.frozen, live.loose, live.frozen) == (True, True, False)
            assert first.version == version
        assert fold.drawn == 1

    def test_the_next_fold_joins_it_to_the_segment_above(self) -> None:
        document = Document()
        document.add(Fold())
        document.append("Between.\n")
        assert len(document.segments) == 2
        document.add(Fold())
        [segment] = document.segments
        assert segment.size == 150 + len("Between.\n") + 150
        assert not segment.loose
        document.finish()
        assert joined(document) == "**Fold**\n\nBetween.\n\n**Fold**\n\n"

    def test_what_is_joined_counts_as_changed_and_is_not_drawn_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        drawing = Drawing(monkeypatch)
        document = Document()
        fold = Fold()
        document.add(fold)
        document.append("Between.\n\n")
        document.append("x")
        whole_html(document)
        document.end_text()
        whole_html(document)
        version = document.segments[0].version
        document.add(Fold())
        assert document.segments[0].version > version
        whole_html(document)
        assert fold.drawn == 1
        assert drawing.characters == len("Between.\n\nx")

    def test_what_together_fills_a_segment_is_frozen(self) -> None:
        document = Document()
        document.add(Fold(600))
        document.append("x" * 600)
        document.add(Fold())
        assert [len(segment.pieces) for segment in document.segments] == [2, 1]
        assert [segment.frozen for segment in document.segments] == [True, False]

    def test_text_that_fills_one_by_itself_is_not_joined(self) -> None:
        document = Document()
        document.add(Fold())
        document.append("x" * SEGMENT_CHARACTERS + "\n\n")
        document.append("More.")
        document.add(Fold())
        assert [len(segment.pieces) for segment in document.segments] == [1, 1, 2]

    def test_text_after_text_is_not_loose(self) -> None:
        document = Document()
        document.append("One.")
        document.end_text()
        document.append("Two.")
        assert len(document.segments) == 1

    def test_the_last_text_stays_where_it_streamed(self) -> None:
        document = Document()
        document.add(Fold())
        document.append("The end.")
        document.finish()
        assert shape(document) == [["**Fold**\n\n"], ["The end."]]

    @given(steps, sizes_of_chunks)
    def test_the_chunks_do_not_move_the_cuts(
        self, parts: list[str | int], sizes: list[int]
    ) -> None:
        assert shape(build(parts, sizes)) == shape(build(parts, [10**6]))

    @given(steps, st.sampled_from([VOID, VOID * 30, "long " * 500]), steps, sizes_of_chunks)
    def test_text_that_was_taken_back_moves_none_either(
        self, before: list[str | int], void: str, then: list[str | int], sizes: list[int]
    ) -> None:
        ours, other = Document(), Document()
        for document in (ours, other):
            for part in before:
                if isinstance(part, int):
                    document.add(Fold(part))
                else:
                    document.append(part)
                    document.end_text()
        mark = ours.mark()
        for piece in pieces_of(void, sizes):
            ours.append(piece)
            whole_html(ours)
        ours.rewind(mark)
        for document in (ours, other):
            for part in then:
                if isinstance(part, int):
                    document.add(Fold(part))
                else:
                    document.append(part)
                    document.end_text()
            document.finish()
        assert shape(ours) == shape(other)
        assert whole_html(ours) == whole_html(other)


class TestManyFolds:
    @pytest.mark.parametrize("texts_of", [10, 100, 350, 840, 900, 2500, 5000])
    def test_two_hundred_folds_and_texts_are_at_most_forty_five_segments(
        self, texts_of: int
    ) -> None:
        parts: list[str | int] = []
        for _ in range(min(200, 500_000 // texts_of)):
            parts += [150, prose(texts_of)]
        assert len(build(parts, [500]).segments) <= 45

    @pytest.mark.parametrize("seed", range(5))
    def test_half_a_million_characters_of_all_kinds_are_too(self, seed: int) -> None:
        random = Random(seed)
        parts: list[str | int] = []
        total = 0
        while total < 500_000:
            size = int(10 ** random.uniform(1, 4))
            parts.append(size if random.random() < 0.5 else prose(size))
            total += size
        assert len(build(parts, [500]).segments) <= 45

    @pytest.mark.parametrize("share", [0.1, 0.3, 0.51, 0.8])
    def test_folds_and_texts_that_together_just_fill_a_segment_are_too(self, share: float) -> None:
        document = Document()
        total = 0
        while total < 500_000:
            size = int(max(SEGMENT_CHARACTERS, total / SEGMENT_SHARE))
            document.add(Fold(int(size * share) + 1))
            document.append("x" * (int(size * (1 - share)) + 1))
            document.end_text()
            total += size + 2
        document.finish()
        assert len(document.segments) <= 45

    def drawn(self, monkeypatch: pytest.MonkeyPatch, folds: int) -> int:
        """Write folds, results and texts, drawing what is live as a page does."""
        with monkeypatch.context() as patch:
            drawing = Drawing(patch)
            document = Document()
            for _ in range(folds):
                fold = Fold()
                document.add(fold)
                for segment in document.segments[-2:]:
                    segment.html(document.references)
                document.changed(fold, 400)
                for piece in pieces_of(prose(2500), [100]):
                    document.append(piece)
                    for segment in document.segments[-2:]:
                        segment.html(document.references)
            document.finish()
            whole_html(document)
        return drawing.characters

    @pytest.mark.long
    def test_what_is_rendered_grows_with_the_length_and_no_faster(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        short, long = self.drawn(monkeypatch, 10), self.drawn(monkeypatch, 80)
        assert math.log(long / short, 8) <= 1.1
        assert long <= 2 * 80 * 2500
