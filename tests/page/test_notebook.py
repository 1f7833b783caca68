"""What is sent to a front end, and how often, as the events of a turn come in."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hotclaude_kernel.claude.events import (
    BlockStarted,
    Delta,
    Notice,
)
from hotclaude_kernel.page import throttle as page_module
from hotclaude_kernel.page.base import SurrogateJoiner
from hotclaude_kernel.page.notebook import NotebookPage

from ..support.paper import (
    LONG,
    MESSAGE,
    FakeTime,
    Shown,
    answered,
    block,
    delta,
    retry,
    take,
    text_events,
    thought,
    units,
)


class TestWhatIsSent:
    def test_a_live_output_is_html_only(self, page: NotebookPage, shown: Shown) -> None:
        page.take(delta("Hello"))
        [(kind, data, _)] = shown.messages
        assert kind == "show"
        assert set(data) == {"text/html"}
        assert data["text/html"].startswith('<div class="hotclaude')

    def test_a_frozen_output_is_html_markdown_and_plain_text(
        self, page: NotebookPage, shown: Shown
    ) -> None:
        take(page, *text_events("Some *words*.\n"))
        page.close()
        [data] = shown.outputs.values()
        assert set(data) == {"text/html", "text/markdown", "text/plain"}
        assert data["text/markdown"] == data["text/plain"] == "Some *words*.\n"
        assert "<em>words</em>" in data["text/html"]

    def test_a_frozen_output_is_not_sent_again(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        take(page, *text_events(LONG + "More.\n"))
        time.pass_by(1)
        [first, _] = shown.outputs
        sent = len([d for _, d, _ in shown.messages if d == shown.outputs[first]])
        take(page, MESSAGE, *text_events("And more.\n"))
        time.pass_by(1)
        page.close()
        assert sent == len([d for _, d, _ in shown.messages if d == shown.outputs[first]]) == 1

    def test_freezing_and_the_new_live_output_come_in_one_go(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        take(page, delta("Start.\n\n"), delta(LONG + "Next"), delta(" line\n"))
        time.pass_by(1)
        (_, frozen, at), (_, live, then) = shown.messages[-2:]
        assert set(frozen) == {"text/html", "text/markdown", "text/plain"}
        assert set(live) == {"text/html"}
        assert at == then

    def test_closing_twice_sends_once(self, page: NotebookPage, shown: Shown) -> None:
        take(page, *text_events("Hello"))
        page.close()
        sent = len(shown.messages)
        page.close()
        assert len(shown.messages) == sent

    def test_nothing_is_due_after_closing(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        take(page, *text_events("Hello, and more than one update."))
        page.close()
        sent = len(shown.messages)
        time.pass_by(60)
        assert len(shown.messages) == sent

    def test_an_answer_without_anything_shows_nothing(
        self, page: NotebookPage, shown: Shown
    ) -> None:
        page.close()
        assert shown.messages == []

    def test_notes_and_reports_are_outputs_of_their_own(
        self, page: NotebookPage, shown: Shown
    ) -> None:
        page.note("model: <opus>")
        page.report("| a |\n|---|\n| 1 |\n")
        note, report = shown.outputs.values()
        assert "model: &lt;opus&gt;" in note["text/html"]
        assert note["text/plain"] == "❖ model: <opus>"
        assert "<table" in report["text/html"]
        assert (
            report["text/markdown"]
            == report["text/plain"]
            == "❖ Hot Claude\n\n| a |\n|---|\n| 1 |\n"
        )


FRAGMENTS = [
    "Hello ",
    "*emphasis* and `code`",
    "😀👩‍👩‍👧‍👦🇩🇪",
    "مرحبا بالعالم",
    "שלום",
    "日本語。",
    "| a | b |\n|---|--:|\n| 1 | 2 |\n",
    "```python\nx = '😀'\n\ny = 2\n```\n",
    "```\nopen",
    "$$\n\\frac{1}{2}\n$$\n",
    "inline $x^2$ and \\(y\\), $5 and $10",
    "- one\n- two\n\n  three\n",
    "[one]\n\n[one]: https://example.invalid\n",
    "<b>&amp;</b>",
    "\r\n",
    "\n",
    "\n\n",
    "\x1b[31mred\x1b[0m",
    "x" * 700 + "\n\n",
]


class TestTheAnswerIsKept:
    @given(
        st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=12).map("".join),
        st.lists(st.integers(1, 40), min_size=1, max_size=6),
    )
    @example("😀", [1])
    def test_the_outputs_together_hold_exactly_the_answer(
        self, text: str, sizes: list[int]
    ) -> None:
        time = FakeTime()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(page_module, "time", time)
            patch.setattr(page_module, "asyncio", time)
            shown = Shown(time)
            page = NotebookPage(shown)
            page.take(MESSAGE)
            at = step = 0
            signs = units(text)
            while at < len(signs):
                size = sizes[step % len(sizes)]
                page.take(delta("".join(signs[at : at + size])))
                time.pass_by(0.02)
                at, step = at + size, step + 1
            page.take(block(text))
            page.close()
        assert shown.markdown == text
        assert "clear" not in shown.kinds
        for _, content, _ in shown.messages:
            json.dumps(content, ensure_ascii=False).encode()

    def test_an_emoji_cut_in_two_is_never_shown_in_halves(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        for unit in units("a😀b"):
            page.take(delta(unit))
            time.pass_by(1)
        assert "\ufffd" not in json.dumps(shown.messages, ensure_ascii=False)
        assert shown.words == "a😀b"

    def test_two_texts_are_two_paragraphs(self, page: NotebookPage, shown: Shown) -> None:
        take(page, MESSAGE, *text_events("One."), MESSAGE, *text_events("Two."))
        page.close()
        assert shown.markdown == "One.\n\nTwo."

    def test_a_subagents_words_are_not_in_it(self, page: NotebookPage, shown: Shown) -> None:
        take(page, *text_events("One."), block("inner", parent="t1"))
        page.take(answered("inner", parent="t1"))
        page.close()
        assert shown.markdown == "One."

    def test_the_words_of_a_failed_request_are_left_to_the_error(
        self, page: NotebookPage, shown: Shown
    ) -> None:
        take(page, delta("Half a"), block("API Error: 500 boom", error="server_error"))
        page.close()
        page.note("500 boom")  # any output does what a `clear_output` that waits is waiting for
        assert shown.words == "❖ 500 boom"


class TestSurrogateJoiner:
    @given(st.text(st.sampled_from("ab\ud83d\ude00😀"), max_size=12))
    def test_what_it_gives_can_always_be_encoded(self, text: str) -> None:
        joiner = SurrogateJoiner()
        for sign in text:
            joiner.feed(sign).encode()

    @given(st.text(max_size=20))
    def test_it_loses_nothing(self, text: str) -> None:
        joiner = SurrogateJoiner()
        assert "".join(joiner.feed(unit) for unit in units(text)) == text


class TestPreview:
    def test_a_block_that_differs_from_it_takes_its_place(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        take(page, delta("Wrong words"), block("Right words"))
        time.pass_by(1)
        assert shown.words == "Right words"
        page.close()
        assert shown.markdown == "Right words"

    def test_a_block_without_deltas_is_shown(self, page: NotebookPage, shown: Shown) -> None:
        """As when the binary falls back to a request without streaming."""
        take(page, MESSAGE, block("All at once"))
        assert shown.words == "All at once"
        page.close()
        assert shown.markdown == "All at once"

    def test_a_retried_stream_leaves_no_ghost(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        take(page, MESSAGE, delta("Ghost of an answer"), retry())
        time.pass_by(1)
        assert "Ghost" not in shown.words
        assert "asking again" in shown.words
        take(page, MESSAGE, *text_events("The answer"))
        time.pass_by(1)
        page.close()
        assert shown.words == shown.markdown == "The answer"
        assert "clear" not in shown.kinds

    def test_a_second_start_of_the_message_does_the_same_without_a_word_of_a_retry(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        take(page, MESSAGE, delta("Ghost"), MESSAGE)
        time.pass_by(1)
        assert shown.words == ""
        take(page, *text_events("The answer"))
        page.close()
        assert shown.words == "The answer"

    def test_a_retry_that_falls_back_to_no_deltas_at_all_leaves_none_either(
        self, page: NotebookPage, shown: Shown
    ) -> None:
        take(page, MESSAGE, delta("Ghost"), retry(), block("The answer"))
        page.close()
        assert shown.words == shown.markdown == "The answer"

    def test_ghosts_in_frozen_outputs_go_too_and_what_is_true_is_shown_again(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        take(page, MESSAGE, *text_events("True. " + LONG), MESSAGE)
        take(page, *(delta("Ghost. " + LONG) for _ in range(3)))
        time.pass_by(1)
        assert len(shown.outputs) >= 3
        page.take(retry())
        time.pass_by(1)
        assert "Ghost" not in shown.words
        assert "True" in shown.words
        take(page, MESSAGE, *text_events("The rest."))
        page.close()
        assert "clear" in shown.kinds
        assert not shown.blank
        assert shown.markdown == "True. " + LONG + "The rest."

    def test_what_was_said_above_the_answer_survives_such_a_clearing(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        page.note("model: opus")
        take(page, MESSAGE, *(delta("Ghost. " + LONG) for _ in range(3)))
        time.pass_by(1)
        page.take(retry())
        take(page, MESSAGE, *text_events("The answer."))
        page.close()
        assert "clear" in shown.kinds
        assert shown.words == "❖ model: opus The answer."

    def test_a_line_that_is_withdrawn_leaves_no_output(
        self, page: NotebookPage, shown: Shown
    ) -> None:
        page.note("Rewound.")
        page.note("model: opus")
        take(page, MESSAGE, *text_events("The answer."))
        page.withdraw("Rewound.", "It came out the same")
        page.withdraw("never shown", "It came out the same")
        page.close()
        page.footer("3 tokens", {})
        assert shown.words == "❖ model: opus The answer. ❖ 3 tokens"
        assert not shown.blank

    def test_links_of_a_retried_stream_are_forgotten(
        self, page: NotebookPage, shown: Shown
    ) -> None:
        take(page, MESSAGE, delta("[a]: https://ghost.invalid\n\nGhost.\n"), retry(), MESSAGE)
        take(page, *text_events("[a]\n\n[a]: https://true.invalid\n"))
        page.close()
        assert 'href="https://true.invalid"' in shown.html
        assert "ghost" not in shown.html

    def test_interrupted_words_are_kept(self, page: NotebookPage, shown: Shown) -> None:
        take(page, MESSAGE, delta("Half an "), delta("answ"), block("Half an answ", aborted=True))
        page.close()
        assert shown.markdown == "Half an answ"

    def test_words_are_kept_when_the_process_dies_before_the_block(
        self, page: NotebookPage, shown: Shown
    ) -> None:
        take(page, MESSAGE, delta("Half an "), delta("answ"))
        page.close()
        assert shown.markdown == "Half an answ"
        assert set(next(iter(shown.outputs.values()))) == {
            "text/html",
            "text/markdown",
            "text/plain",
        }


class TestThinking:
    def test_it_is_folded_with_its_time(self, page: NotebookPage, shown: Shown) -> None:
        take(page, thought("It is **simple**.\n\nVery.", thinking_ms=2400), *text_events("Yes."))
        page.close()
        assert "<details><summary>❖ Thought for 2 s</summary>" in shown.html
        assert "<strong>simple</strong>" in shown.html
        assert shown.markdown == (
            "> ❖ *Thought for 2 s*\n>\n> It is **simple**.\n> \n> Very.\n\nYes."
        )

    def test_empty_thinking_is_not_shown(self, page: NotebookPage, shown: Shown) -> None:
        take(page, thought(" \n"), *text_events("Yes."))
        page.close()
        assert shown.markdown == "Yes."

    def test_while_it_lasts_a_status_says_so(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        page.take(BlockStarted(index=0, kind="thinking"))
        page.take(Delta(index=0, kind="thinking", text="secret"))
        time.pass_by(1)
        assert shown.words == "❖ Thinking…"
        take(page, *text_events("Yes."))
        time.pass_by(1)
        assert shown.words == "Yes."


class TestNotices:
    def test_one_stays_in_the_answer_as_it_was_written(
        self, page: NotebookPage, shown: Shown
    ) -> None:
        page.take(Notice(kind="model_fallback", text="Switched to *Sonnet* <5>\u202e"))
        take(page, *text_events("Hello"))
        page.close()
        assert shown.words == "❖ Switched to *Sonnet* &lt;5&gt;⟨U+202E⟩ Hello"
        assert shown.markdown.startswith("❖ *Switched to \\*Sonnet\\*")

    def test_one_that_comes_in_the_middle_of_a_text_waits_for_its_end(
        self, page: NotebookPage, shown: Shown
    ) -> None:
        """A permission is decided while the next block is already streamed."""
        take(page, delta("Half a sen"))
        page.notice("Denied: Bash")
        take(page, delta("tence."), block("Half a sentence."))
        page.close()
        assert shown.markdown == "Half a sentence.\n\n❖ *Denied: Bash*\n\n"

    def test_it_leaves_no_ghost_if_that_text_is_void(
        self, page: NotebookPage, shown: Shown
    ) -> None:
        take(page, MESSAGE, delta("Ghost"))
        page.notice("Denied: Bash")
        take(page, retry(), MESSAGE, *text_events("Hello"))
        page.close()
        assert shown.markdown == "❖ *Denied: Bash*\n\nHello"

    def test_it_is_not_lost_if_that_text_never_ends(self, page: NotebookPage, shown: Shown) -> None:
        take(page, MESSAGE, delta("Half"))
        page.notice("Denied: Bash")
        page.close()
        assert shown.markdown == "Half\n\n❖ *Denied: Bash*\n\n"

    def test_a_stall_is_a_status_that_goes_away(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        page.take(Notice(kind="stall", text="No data from the API for 10 s"))
        time.pass_by(1)
        assert shown.words == "❖ No data from the API for 10 s"
        take(page, *text_events("Hello"))
        page.close()
        assert shown.words == "Hello"


# --- questions, subagents, and the same answer twice ------------------------------------------
