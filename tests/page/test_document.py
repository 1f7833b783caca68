"""A growing answer in segments: what was fed is what is kept, and no work is done twice."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given

from hotclaude_kernel.page.document import (
    SEGMENT_CHARACTERS,
    SEGMENT_SHARE,
    Aside,
    Document,
    Segment,
    Text,
)
from hotclaude_kernel.page.markdown import render as markdown

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


def write(text: str, sizes: list[int]) -> Document:
    """A finished document of one run of text."""
    document = Document()
    for piece in pieces_of(text, sizes):
        document.append(piece)
    document.finish()
    return document


class TestText:
    @given(texts, sizes_of_chunks)
    def test_the_sources_together_are_the_text_fed(self, text: str, sizes: list[int]) -> None:
        assert joined(write(text, sizes)) == text

    @given(texts, sizes_of_chunks)
    def test_while_it_grows_nothing_is_missing_either(self, text: str, sizes: list[int]) -> None:
        document = Document()
        fed = ""
        for piece in pieces_of(text, sizes):
            document.append(piece)
            fed += piece
            assert joined(document) + document.tail == fed
            assert document.tail_size == len(document.tail)

    @given(texts, sizes_of_chunks)
    def test_the_chunks_do_not_move_the_cuts(self, text: str, sizes: list[int]) -> None:
        assert shape(write(text, sizes)) == shape(write(text, [max(1, len(text))]))

    @given(texts)
    def test_the_segments_show_what_the_whole_text_would(self, text: str) -> None:
        assert whole_html(write(text, [7])) == markdown.render(text)

    def test_a_document_without_text_is_empty(self) -> None:
        document = Document()
        assert document.empty
        document.append("a")
        assert not document.empty
        document.end_text()
        assert not document.empty


class TestSegments:
    def test_all_but_the_last_are_frozen_while_it_grows(self) -> None:
        document = Document()
        for piece in pieces_of(prose(20_000), [50]):
            document.append(piece)
            *frozen, live = document.segments
            assert all(segment.frozen for segment in frozen)
            assert not live.frozen
        document.finish()
        assert all(segment.frozen for segment in document.segments)

    def test_one_freezes_at_an_eighth_of_the_whole_and_no_sooner_than_its_least_size(self) -> None:
        document = write(prose(100_000), [500])
        total = 0
        for segment in document.segments[:-1]:
            total += segment.size
            before = segment.size - segment.pieces[-1].size
            least = max(SEGMENT_CHARACTERS, total / SEGMENT_SHARE)
            assert segment.size >= least
            assert before < max(SEGMENT_CHARACTERS, (total - segment.pieces[-1].size) / 8)

    def test_a_short_answer_is_one_segment(self) -> None:
        assert len(write("Hello.\n\nBye.\n", [3]).segments) == 1

    def test_half_a_million_characters_are_at_most_forty_five_segments(self) -> None:
        assert len(write(prose(500_000), [2000]).segments) <= 45

    @pytest.mark.long
    def test_half_a_million_lines_without_blocks_are_cut_no_finer(self) -> None:
        assert len(write("word\n\n" * 83_333, [6000]).segments) <= 45


class TestWork:
    def drawn(self, monkeypatch: pytest.MonkeyPatch, characters: int) -> int:
        """Write a text, drawing the live segment ever and again as a page does."""
        with monkeypatch.context() as patch:
            drawing = Drawing(patch)
            document = Document()
            for piece in pieces_of(prose(characters), [1000]):
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
        short, long = self.drawn(monkeypatch, 20_000), self.drawn(monkeypatch, 200_000)
        assert math.log10(long / short) <= 1.1

    def test_each_finished_block_is_rendered_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.drawn(monkeypatch, 50_000) == 50_000


class TestParts:
    @given(texts, texts)
    def test_texts_with_a_part_between_them_are_kept_apart_by_a_blank_line(
        self, first: str, second: str
    ) -> None:
        document = Document()
        document.append(first)
        document.add(Aside("**Bash**\n\n", html="<details></details>"))
        document.append(second)
        document.finish()
        gap = "\n\n"[len(first) - len(first.rstrip("\n")) :] if first else ""
        assert joined(document) == f"{first}{gap}**Bash**\n\n{second}"

    @pytest.mark.parametrize(
        ("first", "between"), [("One.", "\n\n"), ("One.\n", "\n"), ("One.\n\n", ""), ("\n\n\n", "")]
    )
    def test_two_runs_of_text_are_two_paragraphs(self, first: str, between: str) -> None:
        document = Document()
        document.append(first)
        document.end_text()
        document.append("Two.")
        document.finish()
        assert joined(document) == f"{first}{between}Two."

    def test_a_part_with_html_of_its_own_is_shown_as_that(self) -> None:
        document = Document()
        document.add(Aside("*source*", html="<b>shown</b>"))
        assert document.live.html({}) == "<b>shown</b>"

    def test_a_large_part_freezes_its_segment(self) -> None:
        document = Document()
        document.add(Aside("x" * SEGMENT_CHARACTERS, html="<i>x</i>"))
        assert document.segments[0].frozen
        assert document.live.pieces == []


class TestRewind:
    @given(texts, texts, texts, sizes_of_chunks)
    @example("", VOID, "[a]\n\n[a]: https://true.invalid\n", [9])
    @example("[a]\n", VOID, "x\n\n[a]: https://true.invalid\n", [9])
    @example("[a]\n\n" + "long " * 400, VOID, "x\n", [9])
    def test_it_takes_back_exactly_what_came_since_the_mark(
        self, kept: str, void: str, then: str, sizes: list[int]
    ) -> None:
        """As if the void text had never been, even where it was drawn, cut and full of links."""
        ours, other = Document(), Document()
        for document in (ours, other):
            document.append(kept)
            document.end_text()
        mark = ours.mark()
        for piece in pieces_of(void, sizes):
            ours.append(piece)
            whole_html(ours)
        ours.rewind(mark)
        assert ours.mark() == mark
        assert ours.tail == ""
        assert ours.tail_size == 0
        for document in (ours, other):
            document.append(then)
            document.finish()
        assert shape(ours) == shape(other)
        assert ours.references == other.references
        assert whole_html(ours) == whole_html(other)

    def test_to_a_mark_at_the_start_it_leaves_an_empty_document(self) -> None:
        document = Document()
        mark = document.mark()
        document.append(prose(10_000))
        assert len(document.segments) > 3
        document.rewind(mark)
        assert document.empty
        assert [segment.pieces for segment in document.segments] == [[]]

    def test_a_segment_frozen_since_the_mark_is_live_again_and_counts_as_changed(self) -> None:
        document = Document()
        document.add(Aside("a", html="<i>a</i>"))
        mark = document.mark()
        document.add(Aside("x" * SEGMENT_CHARACTERS, html="<i>x</i>"))
        frozen = document.segments[0]
        version = frozen.version
        document.rewind(mark)
        assert document.live is frozen
        assert not frozen.frozen
        assert frozen.version > version

    def test_a_segment_frozen_before_the_mark_is_not_touched(self) -> None:
        document = Document()
        document.add(Aside("x" * SEGMENT_CHARACTERS, html="<i>x</i>"))
        mark = document.mark()
        document.append(prose(5000))
        document.rewind(mark)
        assert document.segments[0].frozen
        assert document.segments[0].version == 0


class TestReferences:
    ANCHOR = '<a href="https://example.invalid/"'

    def write(self) -> Document:
        """A use of a reference, a frozen segment, and then the definition."""
        document = Document()
        document.append("See [there].\n\n" + "word " * 400 + "\n\n")
        document.append("More.\n\n[there]: https://example.invalid/\n")
        return document

    def test_a_definition_reaches_back_over_segments_when_the_text_ends(self) -> None:
        document = self.write()
        assert document.segments[0].frozen
        before = document.segments[0].version
        assert self.ANCHOR not in document.segments[0].html(document.references)
        document.finish()
        assert document.segments[0].version > before
        assert self.ANCHOR in document.segments[0].html(document.references)

    def test_it_reaches_forward_at_once(self) -> None:
        document = Document()
        document.append("[there]: https://example.invalid/\n\n" + "word " * 400 + "\n\n")
        document.append("See [there].\n\nx\n")
        assert self.ANCHOR in document.live.html(document.references)

    def test_segments_without_brackets_are_not_drawn_again(self) -> None:
        document = Document()
        document.append("word " * 400 + "\n\nMore.\n\n")
        document.segments[0].html(document.references)
        document.append("[there]: https://example.invalid/\n")
        document.finish()
        assert document.segments[0].version == 0

    def test_the_first_definition_of_a_label_holds(self) -> None:
        document = write("[a]: https://one.invalid\n\n[a]: https://two.invalid\n\n[a]\n", [5])
        assert "https://one.invalid" in whole_html(document)
        assert "https://two.invalid" not in whole_html(document)


class TestChanged:
    @pytest.mark.parametrize("characters", [0, 3 * SEGMENT_CHARACTERS])
    def test_a_part_is_drawn_anew_wherever_it_stands(self, characters: int) -> None:
        document = Document()
        document.append("Before.")
        call = Aside("**Bash**\n\n", html="call")
        document.add(call)
        if characters:
            document.append(prose(characters))
            document.end_text()
        first = document.segments[0]
        assert first.frozen is bool(characters)
        whole_html(document)
        call.body, call.html = "**Bash**\n\ndone\n\n", "call and result"
        assert "call and result" not in whole_html(document)
        document.changed(call, 0)
        assert first.version == 1
        assert first.html({}).startswith('<p dir="auto">Before.</p>\ncall and result')
        assert document.segments[0].source.startswith("Before.\n\n**Bash**\n\ndone\n\n")

    def test_the_pieces_beside_it_are_not_drawn_again(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        drawing = Drawing(monkeypatch)
        document = Document()
        document.append("Before.")
        call = Aside("call", html="call")
        document.add(call)
        whole_html(document)
        drawn = drawing.characters
        document.changed(call, 0)
        whole_html(document)
        assert drawing.characters == drawn

    def test_the_cuts_do_not_move_where_it_did_not_grow(self) -> None:
        document = Document()
        call = Aside("call", html="call")
        document.add(call)
        size, total = document.live.size, document.mark().total
        call.body = "x" * 5000
        document.changed(call, 0)
        assert (document.live.size, document.mark().total) == (size, total)
        assert not document.live.frozen

    def test_what_it_grew_by_counts_for_the_next_cut(self) -> None:
        document = Document()
        call = Aside("call", html="call")
        document.add(call)
        size, total = document.live.size, document.mark().total
        document.changed(call, 5000)
        assert (document.live.size, document.mark().total) == (size + 5000, total + 5000)
        document.add(Aside("next", html="next"))
        assert document.segments[0].frozen

    def test_a_part_that_was_taken_back_changes_nothing(self) -> None:
        document = Document()
        mark = document.mark()
        call = Aside("call", html="call")
        document.add(call)
        document.rewind(mark)
        version = document.live.version
        document.changed(call, 5000)
        assert joined(document) == ""
        assert document.empty
        assert document.live.version == version


class TestDrawing:
    def test_a_piece_is_drawn_once_as_its_segment_grows(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        drawing = Drawing(monkeypatch)
        segment = Segment([Text("one\n")])
        assert segment.html({}) == segment.html({})
        assert drawing.characters == len("one\n")
        segment.pieces.append(Text("two\n"))
        segment.html({})
        assert drawing.characters == len("one\ntwo\n")
