"""The small parts of a page: nothing hostile gets through, and Markdown says what HTML shows."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hotclaude_kernel.claude.events import Retry, Usage
from hotclaude_kernel.claude.frames import whole
from hotclaude_kernel.errors import ApiError, ControlError, HotClaudeError, Interrupted, UsageError
from hotclaude_kernel.page.markdown import render as markdown
from hotclaude_kernel.page.parts import (
    bundle,
    error_lines,
    first_line,
    fold,
    footer,
    literal,
    retry_text,
    small,
)
from hotclaude_kernel.page.text import visible
from hotclaude_kernel.turns.prompt import Prompt
from hotclaude_kernel.turns.turn import Clock, Turn

from ..hostile import corpus, violations

HOSTILE = corpus()

#: What a fold is made of, and an answer is not.
FOLD = ["tag details", "tag summary"]

any_text = st.text(st.characters(exclude_categories=[]), max_size=40)


class TestWhole:
    @given(any_text)
    def test_what_it_returns_can_be_encoded(self, text: str) -> None:
        whole(text).encode()

    @given(st.text(max_size=40))
    def test_good_text_is_left_alone(self, text: str) -> None:
        assert whole(text) == text

    @pytest.mark.parametrize(
        ("text", "joined"),
        [("\ud83d\ude00", "😀"), ("a\ud83d", "a\ufffd"), ("\ude00b", "\ufffdb")],
    )
    def test_pairs_are_joined_and_lone_halves_replaced(self, text: str, joined: str) -> None:
        assert whole(text) == joined


class TestLines:
    def test_a_bundle_has_the_html_wrapped_and_plain_text(self) -> None:
        data = bundle("<p>a</p>", "a")
        assert data == {"text/html": markdown.wrap("<p>a</p>"), "text/plain": "a"}

    def test_a_small_line_is_safe(self) -> None:
        for text in HOSTILE.values():
            shown = small(visible(text))
            inside = re.fullmatch(r"<div style=[^>]*>(.*)</div>", shown, re.DOTALL)
            assert inside, text
            assert "<" not in inside[1]

    def test_the_title_of_a_fold_is_safe(self) -> None:
        for text in HOSTILE.values():
            assert violations(fold(text, "").replace("❖", "", 1)) == FOLD, text

    @pytest.mark.parametrize(
        ("text", "line"),
        [("", ""), (" \n\t\n", ""), ("one", "one"), ("\n\n one \ntwo", "one "), ("a\r\nb", "a")],
    )
    def test_the_first_line_is_the_first_that_is_not_blank(self, text: str, line: str) -> None:
        assert first_line(text) == line

    @given(st.text("ab*_`[]()<>&#|~$\\!-+.1 {};é😀", min_size=1, max_size=20))
    @example("&lt;b&gt;")
    @example("[a](b)")
    def test_a_literal_line_reads_as_it_stands(self, line: str) -> None:
        shown = markdown.render(f"x {literal(line)} x")
        words = html.unescape(re.sub(r"</?p[^>]*>", "", shown)).strip()
        assert re.sub(" +", " ", words) == re.sub(" +", " ", f"x {line} x")


class TestRetryText:
    def test_it_says_why_and_when_and_how_often(self) -> None:
        retry = Retry(attempt=2, max_retries=4, delay_s=1.04, status=529, error="overloaded_error")
        assert retry_text(retry) == (
            "The API failed (529 overloaded error); asking again in 1.0 s (attempt 2 of 4)"
        )

    def test_an_api_that_was_not_reached_has_no_status(self) -> None:
        retry = Retry(attempt=1, max_retries=4, delay_s=0.5, status=None, error="unknown")
        assert retry_text(retry).startswith("The API failed (unknown);")


def turn(**fields: Any) -> Turn:
    clock = Clock(hot=True, sent=100.0, first_text=100.25, ended=102.0)
    usage = Usage(input_tokens=1000, cache_read_tokens=234, output_tokens=5678, cost_usd=0.12344)
    given: dict[str, Any] = {"model": "claude-opus-5-5", "clock": clock, "usage": usage} | fields
    return Turn(prompt=Prompt(text="x"), uuid="u", number=1, **given)


class TestFooter:
    def test_it_is_a_turns_numbers_in_one_line(self) -> None:
        assert footer(turn(), dollars=False) == (
            "claude-opus-5-5 · 1,234 tokens in, 5,678 out · first text 0.25 s · total 2.00 s"
        )

    def test_dollars_stand_there_only_where_they_are_the_users(self) -> None:
        assert footer(turn(), dollars=True).endswith(" · $0.1234")
        assert "$" not in footer(turn(usage=Usage()), dollars=True)

    def test_a_turn_without_words_has_no_time_to_the_first(self) -> None:
        clock = Clock(hot=True, sent=100.0, ended=102.0)
        assert "first text" not in footer(turn(clock=clock), dollars=False)

    def test_a_model_name_can_not_play_tricks(self) -> None:
        assert "\u202e" not in footer(turn(model="a\u202eb\n"), dollars=False)
        assert footer(turn(model=""), dollars=False).startswith("claude · ")


class TestErrorLines:
    def test_an_error_is_one_line_and_one_hint(self) -> None:
        error = UsageError("There is no %x", hint="Use %help.")
        assert error_lines(error) == ["UsageError: There is no %x", "Use %help."]

    def test_without_a_hint_it_is_one_line(self) -> None:
        assert error_lines(Interrupted("Interrupted")) == ["Interrupted: Interrupted"]

    def test_a_hint_is_made_visible(self) -> None:
        error = UsageError("no", hint="Such as a\x1b]0;x\x07b\u202e.")
        assert error_lines(error)[1] == "Such as ab⟨U+202E⟩."

    @pytest.mark.parametrize("kind", [ApiError, ControlError])
    def test_a_secret_in_what_the_api_or_the_process_said_is_masked(
        self, kind: type[HotClaudeError]
    ) -> None:
        key = "sk-ant-" + "api03-" + "x1" * 20
        assert error_lines(kind(f"bad key {key}")) == [f"{kind.__name__}: bad key sk-ant-…"]

    def test_what_the_api_said_is_made_visible(self) -> None:
        [line] = error_lines(ApiError("a\x1b[31mb\u202e\nc"))
        assert line == "ApiError: ab⟨U+202E⟩␊c"
