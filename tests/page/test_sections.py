"""What stands in a card: legible, bounded, and nothing but text however it was written."""

from __future__ import annotations

import base64
import html
import json
import re
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hotclaude_kernel.page.markdown import render as markdown
from hotclaude_kernel.page.sections import (
    FOLD_FROM_LINES,
    MOST_CHARACTERS,
    MOST_PICTURE_BYTES,
    SHOWN_LINES,
    Code,
    Console,
    Picture,
    Prose,
    coloured,
    fenced,
    shortened,
)

from ..hostile import corpus, entry, violations

if TYPE_CHECKING:
    from hotclaude_kernel.page.sections import Section

HOSTILE = corpus()
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 20).decode()

any_text = st.text(st.characters(exclude_categories=[]), max_size=60)
ESCAPES = (
    "\x1b[", "\x1b[31m", "\x1b[1;32m", "\x1b[0m", "\x1b[m", ";", "m", "9" * 40, "38;5;1m", "\x9b",
    "\x1b]0;t\x07", "\x1b]8;;", "\x07", "\r", "\n", "<b>", "&", '"', "text", "\x90", "٣", "\u202e",
)  # fmt: skip
terminal = st.lists(st.sampled_from(ESCAPES) | any_text, max_size=20).map("".join)


def words(shown: str) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", shown))


class TestColoured:
    def test_colours_and_weight_are_kept(self) -> None:
        assert coloured("a \x1b[31mred\x1b[0m \x1b[1mbold\x1b[22m b") == (
            'a <span style="color:#d6443e">red</span> <span style="font-weight:bold">bold</span> b'
        )

    def test_they_add_up_until_they_are_reset(self) -> None:
        shown = coloured("\x1b[1m\x1b[32mboth\x1b[39mbold\x1b[mnone")
        assert shown == (
            '<span style="font-weight:bold;color:#00933f">both</span>'
            '<span style="font-weight:bold">bold</span>none'
        )

    @pytest.mark.parametrize("codes", ["31", "1;31", "91"])
    def test_bright_ones_are_colours_too(self, codes: str) -> None:
        assert "color:#d6443e" in coloured(f"\x1b[{codes}mred")

    @pytest.mark.parametrize("codes", ["38;5;31", "38;2;31;32;33", "48;5;1", "4", "7", "999", ";;"])
    def test_the_arguments_of_what_is_not_known_are_no_colours(self, codes: str) -> None:
        assert coloured(f"\x1b[{codes}mtext") == "text"

    @pytest.mark.parametrize(
        "escape",
        [
            "\x1b[2J",
            "\x1b[1A",
            "\x1b[?25l",
            "\x1b]0;title\x07",
            "\x1b]8;;javascript:x\x1b\\",
            "\x9b2J",
        ],
    )
    def test_every_other_escape_is_taken_out(self, escape: str) -> None:
        assert coloured(f"a{escape}b") == "ab"

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("10%\r50%\r100%\ndone", "100%\ndone"),
            ("a\r\nb\r\n", "a\nb\n"),
            ("a\r\r\nb", "a\nb"),
            ("\rx", "x"),
        ],
    )
    def test_a_line_shows_what_stood_there_last(self, text: str, shown: str) -> None:
        assert coloured(text) == shown

    @given(terminal)
    @example("\x1b[" + "1" * 5000 + "m")  # more digits than Python makes a number of
    @example("\x1b[٣m")
    def test_whatever_comes_it_is_text_in_spans_of_ours(self, text: str) -> None:
        shown = coloured(text)
        assert violations(shown, card=True) == []
        shown.encode()

    @given(st.binary(max_size=200))
    def test_no_bytes_make_it_fail(self, data: bytes) -> None:
        for encoding in ("latin-1", "utf-8"):
            shown = coloured(data.decode(encoding, "surrogateescape"))
            assert violations(shown, card=True) == []

    @given(st.text("ab <>&\"'\n", max_size=60))
    def test_plain_text_is_kept(self, text: str) -> None:
        assert html.unescape(coloured(text)) == text

    @pytest.mark.parametrize(
        "sign", ["\x90", "\x1b]", "\x9b0", "\x1b[0", "\x1b[1;", "\x9d;", "\x1b"]
    )
    def test_it_takes_no_longer_for_what_is_never_closed(self, sign: str) -> None:
        began = time.perf_counter()
        coloured(sign * (MOST_CHARACTERS // len(sign)))
        assert time.perf_counter() - began < 1.0


class TestFenced:
    @pytest.mark.parametrize("text", ["```", "a\n````\nb", "`" * 30, "~~~", "x`", ""])
    def test_its_text_can_not_close_it(self, text: str) -> None:
        shown = markdown.render(fenced(text, "python") + "*after*")
        assert shown.count('<div class="highlight">') == 1
        assert shown.endswith("<em>after</em></p>\n")
        assert words(shown.partition("</pre>")[0]).rstrip("\n") == text

    @given(st.text("`~\n ab>-", max_size=60), st.text(max_size=10))
    def test_nothing_after_it_is_ever_inside(self, text: str, language: str) -> None:
        shown = markdown.render(fenced(text, language) + "*after*")
        assert shown.endswith("<em>after</em></p>\n")

    def test_the_language_is_a_word(self) -> None:
        assert fenced("x", 'py"\n<b> `').startswith("```pyb\n")


class TestLength:
    def test_long_text_is_folded_after_its_first_lines(self) -> None:
        lines = [f"line {n}" for n in range(100)]
        for section in (Console("\n".join(lines) + "\n"), Code("\n".join(lines))):
            shown = section.html()
            head, _, rest = shown.partition("<details><summary>80 more lines</summary>")
            assert f"line {SHOWN_LINES - 1}" in head
            assert f"line {SHOWN_LINES}" not in head
            assert "line 99" in rest

    def test_text_that_is_little_longer_is_not(self) -> None:
        assert "<details>" not in Console("x\n" * (FOLD_FROM_LINES - 1)).html()
        assert "<details>" in Console("x\n" * FOLD_FROM_LINES).html()

    @pytest.mark.parametrize("kind", [Code, Console, Prose])
    def test_very_long_text_is_cut_and_says_so(self, kind: type[Code | Console | Prose]) -> None:
        section = kind("word " * 10_000)
        for said in (section.html(), section.source()):
            assert "… 30,000 more characters" in said
            assert len(said) < 1.5 * MOST_CHARACTERS

    def test_short_text_is_not_cut(self) -> None:
        assert shortened("x" * MOST_CHARACTERS) == "x" * MOST_CHARACTERS


class TestSafety:
    def test_nothing_hostile_is_anything_but_text(self) -> None:
        for name, text in HOSTILE.items():
            with entry(name):
                sections: list[Section] = [
                    Code(text, text),
                    Console(text),
                    Prose(text),
                    Picture(text, text),
                ]
                for section in sections:
                    assert violations(section.html(), card=True) == []
                    assert violations(markdown.render(section.source())) == []
                    again = markdown.render(section.source() + "\n*after*")
                    assert again.endswith('<p dir="auto"><em>after</em></p>\n')

    @pytest.mark.long
    def test_folded_it_is_no_different(self) -> None:
        for name, text in HOSTILE.items():
            with entry(name):
                long = f"{text}\n" * 40
                for section in (Code(long, "html"), Console(long)):
                    assert violations(section.html(), card=True) == []

    @given(any_text)
    def test_it_can_always_be_sent(self, text: str) -> None:
        for section in (Code(text), Console(text), Prose(text), Picture(text, text)):
            json.dumps([section.html(), section.source()], ensure_ascii=False).encode()
            assert not re.search("[\x1b\u202e]", section.html() + section.source())


class TestProse:
    def test_it_is_rendered_and_quoted(self) -> None:
        section = Prose("# Plan\n\n1. *Do* it\n")
        assert "<em>Do</em>" in section.html()
        assert section.source() == "> # Plan\n>\n> 1. *Do* it\n\n"

    @given(st.text("`~\n \r\x0b\u2028#>-ab", max_size=60))
    def test_what_it_opens_ends_with_it(self, text: str) -> None:
        shown = markdown.render(Prose(text).source() + "*after*")
        assert shown.endswith('<p dir="auto"><em>after</em></p>\n')


class TestPicture:
    @pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp"])
    def test_it_is_shown_from_its_own_bytes(self, kind: str) -> None:
        shown = Picture(f"image/{kind}", PIXEL).html()
        assert f'src="data:image/{kind};base64,{PIXEL}"' in shown
        assert violations(shown, card=True) == []

    @pytest.mark.parametrize(
        ("media_type", "data"),
        [
            ("image/svg+xml", PIXEL),
            ("text/html", PIXEL),
            ("image/png", ""),
            ("image/png", 'AAAA" onerror="x'),
            ("image/png", PIXEL + "\n"),
            ("image/png", "AAA"),
            ("image/png", "é" * 4),
            ('image/png" onerror="x', PIXEL),
            ("image/png;x", PIXEL),
            ("IMAGE/PNG", PIXEL),
            ("None", "None"),
        ],
    )
    def test_what_is_none_is_only_named(self, media_type: str, data: str) -> None:
        shown = Picture(media_type, data).html()
        assert "<img" not in shown
        assert "not shown" in shown
        assert violations(shown, card=True) == []

    def test_one_that_is_too_large_is_only_named(self) -> None:
        size = MOST_PICTURE_BYTES // 4 * 4
        assert "<img" in Picture("image/png", "A" * size).html()
        assert "<img" not in Picture("image/png", "A" * (size + 4)).html()

    def test_markdown_names_it_without_a_link(self) -> None:
        assert words(markdown.render(Picture("image/png", PIXEL).source())).strip() == "[image/png]"
        tricky = Picture("x](javascript:a) [y](#z", PIXEL).source()
        assert "<a " not in markdown.render(tricky)
        assert PIXEL not in Picture("image/png", PIXEL).source()
