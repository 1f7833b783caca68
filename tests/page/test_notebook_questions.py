"""Questions on the page, and what is shown again where outputs stand for nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..support.paper import (
    LONG,
    MESSAGE,
    WIDGET,
    FakeTime,
    Shown,
    answered,
    block,
    call,
    delta,
    nested_call,
    take,
    text_events,
    title,
)

if TYPE_CHECKING:
    from hotclaude_kernel.page.notebook import NotebookPage
    from hotclaude_kernel.page.parts import Data


class TestQuestions:
    def ask(self, page: NotebookPage, tool_use_id: str = "t1") -> None:
        page.asking(tool_use_id)
        page.ask(WIDGET)

    def test_it_stands_below_the_answer_and_its_card_holds_nothing_twice(
        self, page: NotebookPage, shown: Shown
    ) -> None:
        take(page, *text_events("Let me see."), call("ls"))
        self.ask(page)
        answer, question = shown.outputs.values()
        assert "<details open" not in answer["text/html"]
        assert "waiting for your answer" in answer["text/html"]
        assert question == WIDGET

    def test_it_goes_and_the_decision_stands_on_the_card(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        take(page, call("ls"))
        self.ask(page)
        page.asked()
        page.decided("t1", "allowed once")
        time.pass_by(1)
        assert WIDGET not in shown.outputs.values()
        assert title("Bash", "ls", "allowed once, running…") in shown.html
        assert "<details open" not in shown.html
        take(page, answered("total 0"), MESSAGE, *text_events("Nothing."))
        page.close()
        assert title("Bash", "ls", "allowed once, done") in shown.html
        assert shown.markdown.startswith("❖ **Bash** `ls` · allowed once, done\n\n")
        assert shown.words.endswith("total 0 Nothing.")
        assert not shown.blank

    def test_while_it_stands_nothing_is_sent_below_the_cards(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        take(page, call("ls", "t1"), call("pwd", "t2"))
        self.ask(page)
        take(page, answered("here", "t2"), *text_events("Meanwhile."))
        time.pass_by(1)
        assert list(shown.outputs.values())[-1] == WIDGET
        assert len(shown.outputs) == 2
        assert "here" in shown.words_of(0)
        page.asked()
        time.pass_by(1)
        assert shown.words.endswith("Meanwhile.")
        assert len(shown.outputs) == 2

    def test_words_that_just_stream_stay_on_the_page(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        take(page, call("ls"), delta("Half a sen"))
        time.pass_by(1)
        self.ask(page)
        assert "Half a sen" in shown.words_of(1)
        assert list(shown.outputs.values())[-1] == WIDGET

    def test_a_decision_on_no_card_is_a_notice(self, page: NotebookPage, shown: Shown) -> None:
        page.asking("t9")
        page.decided("t9", "denied, since nobody can be asked here")
        take(page, *text_events("Well."))
        page.close()
        assert shown.words == "❖ denied, since nobody can be asked here Well."

    def test_a_subagents_card_can_be_asked_about(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        take(page, call("look", "t1", "Task"), nested_call("rm x", "t2", "t1"))
        self.ask(page, "t2")
        assert "waiting for your answer" in shown.words_of(0)
        page.asked()
        page.decided("t2", "denied")
        time.pass_by(1)
        assert "denied, running…" in shown.words_of(0)

    @pytest.mark.long
    @pytest.mark.parametrize("words", [0, 30, 300, 3000])
    @pytest.mark.parametrize("answer", ["ok", "line\n" * 300])
    def test_sixty_of_them_take_no_outputs_of_their_own(
        self, page: NotebookPage, shown: Shown, time: FakeTime, words: int, answer: str
    ) -> None:
        for n in range(60):
            take(
                page, MESSAGE, *(text_events("word " * words) if words else ()), call("ls", f"t{n}")
            )
            time.pass_by(0.2)
            self.ask(page, f"t{n}")
            time.pass_by(1)
            page.asked()
            page.decided(f"t{n}", "allowed once")
            page.take(answered(answer, f"t{n}"))
            assert len(shown.outputs) <= 46
        take(page, MESSAGE, *text_events("Done."))
        page.close()
        assert len(shown.outputs) <= 45
        assert not shown.blank
        assert shown.words.count("allowed once, done") == 60
        assert "waiting" not in shown.words

    def test_below_what_shows_nothing_it_stands_all_the_same(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        take(page, MESSAGE, block("[a]: https://a.invalid\n\n"))
        page.ask(WIDGET)
        time.pass_by(1)
        assert list(shown.outputs.values()) == [WIDGET]
        page.asked()
        time.pass_by(1)
        take(page, *text_events("Hello [a]"))
        page.close()
        assert len(shown.outputs) == 1
        assert shown.words == "Hello a"

    def test_one_that_was_open_at_the_end_goes_too(self, page: NotebookPage, shown: Shown) -> None:
        take(page, call("ls"))
        self.ask(page)
        page.close()
        page.asked()
        assert "clear" in shown.kinds
        assert len(shown.outputs) == 1
        assert title("Bash", "ls", "stopped") in shown.html


class TestShowAgain:
    def again(self, page: NotebookPage, shown: Shown) -> list[Data]:
        """What a new page gets to see."""
        shown.messages.clear()
        shown.outputs.clear()
        page.show_again()
        assert set(shown.kinds) <= {"show"}
        return list(shown.outputs.values())

    def test_all_of_it_is_shown_in_outputs_of_a_new_page(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        page.note("model: opus")
        take(page, *text_events(LONG * 3), call("ls"), delta("Half"))
        time.pass_by(1)
        before = list(shown.outputs.values())
        assert self.again(page, shown) == before
        take(page, delta(" a word"), block("Half a word"))
        page.close()
        assert shown.words.endswith("Half a word")
        assert shown.markdown == LONG * 3 + "❖ **Bash** `ls` · stopped\n\nHalf a word"

    def test_a_question_stands_there_too_and_is_answered_there(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        take(page, *text_events("See:"), call("ls"))
        page.asking("t1")
        page.ask(WIDGET)
        assert self.again(page, shown)[-1] == WIDGET
        page.asked()
        page.decided("t1", "allowed once")
        take(page, answered("total 0"), MESSAGE, *text_events("Done."))
        page.close()
        assert not shown.blank
        assert len(shown.outputs) == 2
        assert shown.words.endswith("total 0 Done.")

    def test_a_question_below_outputs_that_were_joined_stands_there_too(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        take(page, call("one", "t1"), *text_events("Between."))
        time.pass_by(1)
        page.ask(WIDGET)
        take(page, call("two", "t2"))
        time.pass_by(1)
        assert self.again(page, shown)[-1] == WIDGET
        page.asked()
        take(page, *text_events("Done."))
        page.close()
        assert not shown.blank
        assert WIDGET not in shown.outputs.values()

    def test_again_and_again_is_no_different(self, page: NotebookPage, shown: Shown) -> None:
        take(page, *text_events("See:"), call("ls"), *text_events("More"))
        assert self.again(page, shown) == self.again(page, shown)
