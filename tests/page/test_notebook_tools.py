"""Tools and their cards on the page, a subagent's among them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ..support.paper import (
    LONG,
    MESSAGE,
    FakeTime,
    Shown,
    answered,
    block,
    call,
    delta,
    nested_call,
    retry,
    take,
    text_events,
    thought,
    title,
)

if TYPE_CHECKING:
    from hotclaude_kernel.page.notebook import NotebookPage


class TestTools:
    def test_a_call_is_a_fold_that_its_result_completes_in_place(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        take(page, *text_events("Let me see."), call("ls -l"))
        time.pass_by(1)
        assert title("Bash", "ls -l", "running…") in shown.html
        assert "total 0" not in shown.html
        page.take(answered("total 0"))
        time.pass_by(1)
        assert "total 0" in shown.html
        assert title("Bash", "ls -l", "done") in shown.html
        assert shown.html.count("<summary>") == 1
        assert len(shown.outputs) == 1
        take(page, MESSAGE, *text_events("Nothing there."))
        page.close()
        assert shown.words.index("total 0") < shown.words.index("Nothing there.")

    def test_the_parts_stay_apart_in_the_markdown(self, page: NotebookPage, shown: Shown) -> None:
        take(page, *text_events("Let me see."), call("ls"), answered("total 0"))
        take(page, MESSAGE, *text_events("Nothing there."))
        page.close()
        assert shown.markdown.startswith("Let me see.\n\n❖ **Bash** `ls` · done\n\n")
        assert shown.markdown.endswith("\ntotal 0\n```\n\nNothing there.")

    def test_a_fold_in_a_frozen_output_is_completed_there(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        take(page, call("sleep 9"), *text_events(LONG * 2 + "More.\n"))
        time.pass_by(1)
        first, *others = shown.outputs
        assert others
        assert "text/markdown" in shown.outputs[first]
        page.take(answered("done at last"))
        time.pass_by(1)
        assert "done at last" in shown.outputs[first]["text/html"]
        assert "done at last" in shown.outputs[first]["text/markdown"]
        assert list(shown.outputs) == [first, *others]

    def test_parallel_results_are_shown_as_each_comes_in_the_order_of_the_calls(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        take(page, call("one", "t1"), call("two", "t2"))
        for result in (answered("second done", "t2"), answered("first done", "t1")):
            page.take(result)
            time.pass_by(1)
            assert result.text in shown.words
        assert shown.words.index("first done") < shown.words.index("second done")

    def test_each_card_says_whether_its_call_still_runs(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        take(page, call("one", "t1"), call("two", "t2"), answered("done", "t2"))
        time.pass_by(1)
        assert title("Bash", "one", "running…") in shown.html
        assert title("Bash", "two", "done") in shown.html
        page.take(answered("done", "t1"))
        time.pass_by(1)
        assert title("Bash", "one", "done") in shown.html
        assert "…" not in shown.words

    def test_a_failed_call_says_so_in_its_title(self, page: NotebookPage, shown: Shown) -> None:
        take(page, call("false"), answered("Exit code 1", is_error=True))
        page.close()
        assert title("Bash", "false", "failed") in shown.html

    def test_a_result_of_a_call_that_was_never_shown_is_left_out(
        self, page: NotebookPage, shown: Shown
    ) -> None:
        take(page, *text_events("Hello"), answered("whose?", "t9"))
        page.close()
        assert shown.words == "Hello"

    def test_a_call_that_was_cut_short_leaves_no_status_behind(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        """Its card freezes the output, so that the status alone stood in the next one."""
        page.take(call("x" * 2000))
        page.status("Waiting…")
        time.pass_by(1)
        assert len(shown.outputs) == 2
        page.close()
        assert len(shown.outputs) == 1
        assert shown.html.count("…") == 1  # of the title

    def test_hostile_output_is_text(self, page: NotebookPage, shown: Shown) -> None:
        take(page, call("<script>1</script>"), answered("<img src=x onerror=1>\x1b[31m\u202e"))
        page.close()
        assert "<script" not in shown.html
        assert "<img" not in shown.html
        assert "\x1b" not in json.dumps(shown.markdown, ensure_ascii=False)
        assert "\u202e" not in shown.html


class TestNested:
    def test_a_subagents_steps_stand_on_the_card_of_its_call(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        take(page, call("look", "t1", "Task"), *text_events("Waiting."))
        page.take(block("I **look**.", parent="t1"))
        page.take(thought("secret", parent="t1"))
        page.take(nested_call("ls", "t2", "t1"))
        time.pass_by(1)
        assert title("Bash", "ls", "running…") in shown.html
        page.take(answered("total 0", "t2", parent="t1"))
        time.pass_by(1)
        assert title("Bash", "ls", "done") in shown.html
        page.take(answered("It is empty.", "t1"))
        page.close()
        assert "<strong>look</strong>" in shown.html
        assert "secret" not in shown.words
        places = [shown.words.index(w) for w in ("I look", "total 0", "It is empty", "Waiting.")]
        assert places == sorted(places)

    def test_what_is_deeper_is_shown_when_it_changes(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        take(page, call("look", "t1", "Task"), nested_call("in", "t2", "t1"))
        time.pass_by(1)
        page.take(nested_call("deep", "t3", "t2"))
        time.pass_by(1)
        assert title("Bash", "deep", "running…") in shown.html
        page.take(answered("found", "t3"))
        time.pass_by(1)
        assert title("Bash", "deep", "done") in shown.html
        assert "found" in shown.words

    def test_a_fence_it_leaves_open_ends_with_it(self, page: NotebookPage, shown: Shown) -> None:
        take(page, call("look", "t1", "Task"), block("```\nopen", parent="t1"))
        take(page, *text_events("*After*"))
        page.close()
        assert shown.markdown.endswith("> ```\n> open\n\n*After*")

    def test_the_steps_of_a_call_that_is_not_shown_are_not(
        self, page: NotebookPage, shown: Shown
    ) -> None:
        take(page, *text_events("One."), block("inner", parent="t9"), nested_call("x", "t2", "t9"))
        page.close()
        assert shown.words == "One."


class TestCardsOnThePage:
    def test_what_never_ended_was_stopped(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        take(page, call("sleep 9", "t1"), *text_events(LONG), call("sleep 8", "t2"))
        take(page, nested_call("sleep 7", "t3", "t2"))
        time.pass_by(1)
        assert shown.words.count("running…") == 3
        page.close()
        assert shown.words.count("stopped") == 3
        assert "running…" not in shown.html + shown.markdown

    def test_results_come_in_any_order(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        names = [f"t{n}" for n in range(5)]
        take(page, *(call(f"do {name}", name) for name in names))
        done = []
        for name in ("t3", "t0", "t4", "t2", "t1"):
            page.take(answered(f"result of {name}", name))
            done.append(name)
            time.pass_by(1)
            for each in names:
                state = "done" if each in done else "running…"
                assert title("Bash", f"do {each}", state) in shown.html
        places = [shown.words.index(f"result of {name}") for name in names]
        assert places == sorted(places)

    def test_a_folds_output_is_not_sent_again_while_text_streams_below_it(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        take(page, *text_events("See:"), call("ls"), answered("total 0"))
        time.pass_by(1)
        page.take(delta("The"))
        time.pass_by(1)
        first = shown.first
        shown.sent_to.clear()
        for n in range(50):
            page.take(delta(f" word {n}"))
            time.pass_by(0.1)
        assert len(shown.sent_to) > 40
        assert first not in shown.sent_to
        assert "total 0" in shown.words_of(0)
        assert "word 49" in shown.words_of(1)

    def test_text_that_was_joined_is_not_left_where_it_streamed(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        take(page, thought("one"), *text_events("Between."))
        time.pass_by(1)
        assert len(shown.outputs) == 2
        page.take(thought("two"))
        time.pass_by(1)
        assert shown.words.count("Between.") == 1
        assert "Between." in shown.words_of(0)
        page.close()
        assert len(shown.outputs) == 1
        assert set(shown.outputs[shown.first]) == {"text/html", "text/markdown", "text/plain"}
        assert "Between." in shown.markdown

    def test_what_changes_nothing_is_not_sent(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        take(page, *text_events("Hello"))
        time.pass_by(1)
        sent = len(shown.messages)
        page.take(answered("whose?", "t9"))
        page.asking("t9")
        page.status("On")
        page.status("")
        page.take(delta(""))
        time.pass_by(1)
        assert len(shown.messages) == sent

    def test_a_retry_does_not_forget_how_much_a_card_grew(
        self, page: NotebookPage, shown: Shown
    ) -> None:
        take(page, call("ls"), answered("x" * 5000), MESSAGE, delta("Ghost"), retry(), MESSAGE)
        take(page, thought("one"), thought("two"))
        page.close()
        assert [shown.words_of(at).count("Thought") for at in range(len(shown.outputs))] == [1, 1]

    def test_a_retried_answer_of_many_outputs_is_sent_whole(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        """Its outputs are as many as the ghost's, so that each takes the place of another."""
        take(page, MESSAGE, *(delta("Ghost. " + LONG) for _ in range(4)))
        time.pass_by(1)
        text = ("Truth. " + LONG) * 4
        take(page, retry(), MESSAGE, *text_events(text, 500))
        page.close()
        assert "Ghost" not in shown.html
        assert shown.markdown == text
