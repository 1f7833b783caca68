"""The page of a console: plain text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hotclaude_kernel.claude.events import (
    BlockStarted,
)

from ..support.paper import (
    MESSAGE,
    FakeTime,
    Shown,
    answered,
    block,
    call,
    delta,
    retry,
    take,
    text_events,
    thought,
    units,
)

if TYPE_CHECKING:
    from hotclaude_kernel.page.console import ConsolePage


class TestConsole:
    def test_it_writes_each_word_once(
        self, console: ConsolePage, shown: Shown, time: FakeTime
    ) -> None:
        text = "Hello *world*.\n\n- one\n- two 😀\n"
        for event in text_events(text, 3):
            console.take(event)
            time.pass_by(0.02)
        console.close()
        assert shown.streamed == text
        assert set(shown.kinds) == {"stream"}

    def test_an_answer_ends_its_line(self, console: ConsolePage, shown: Shown) -> None:
        take(console, *text_events("One."), MESSAGE, *text_events("Two."))
        console.close()
        assert shown.streamed == "One.\nTwo.\n"

    def test_the_first_word_comes_at_once_and_then_twenty_times_a_second(
        self, console: ConsolePage, shown: Shown, time: FakeTime
    ) -> None:
        for _ in range(1000):
            console.take(delta("word "))
            time.pass_by(0.001)
        assert shown.messages[0][1] == "word "
        assert len(shown.messages) <= 21

    def test_terminal_escapes_and_control_signs_are_taken_out(
        self, console: ConsolePage, shown: Shown
    ) -> None:
        text = "a\x1b[31mred\x1b[0m \x1b]0;title\x07b\x08\x9b31mc\u202e"
        take(console, delta(text), block(text))
        console.take(call("\x1b[2Jls"))
        console.take(answered("\x1b[31mno\x07", is_error=True))
        console.note("a\x1b[31mb\x08")
        console.close()
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", shown.streamed)
        assert shown.streamed.startswith("ared b")

    def test_a_line_that_is_withdrawn_is_answered_by_another(
        self, console: ConsolePage, shown: Shown
    ) -> None:
        console.note("Rewound.")
        take(console, MESSAGE, *text_events("The answer."))
        console.withdraw("Rewound.", "It came out the same")
        console.close()
        assert shown.streamed == "❖ [Rewound.]\nThe answer.\n❖ [It came out the same]\n"

    def test_it_says_when_a_stream_broke(self, console: ConsolePage, shown: Shown) -> None:
        take(console, MESSAGE, delta("Half a sen"), retry(), MESSAGE, *text_events("Whole."))
        console.close()
        first, broke, again, whole = shown.streamed.splitlines()
        assert (first, whole) == ("Half a sen", "Whole.")
        assert "void" in broke
        assert "asking again" in again

    def test_a_retry_before_the_first_word_breaks_nothing(
        self, console: ConsolePage, shown: Shown
    ) -> None:
        take(console, MESSAGE, retry(), *text_events("Whole."))
        console.close()
        assert "void" not in shown.streamed

    def test_tools_are_lines_and_only_failures_have_results(
        self, console: ConsolePage, shown: Shown
    ) -> None:
        take(console, delta("See:"), block("See:"), call("ls"), answered("much text"))
        take(console, call("false", "t2"), answered("Exit code 1\nmore", "t2", is_error=True))
        console.close()
        assert shown.streamed.splitlines() == [
            "See:",
            "❖ [Bash: ls]",
            "❖ [Bash: false]",
            "❖ [failed: Exit code 1]",
        ]

    def test_passing_states_are_not_written(self, console: ConsolePage, shown: Shown) -> None:
        take(console, BlockStarted(index=0, kind="thinking"), thought("hm"))
        console.status("Starting claude…")
        console.close()
        assert shown.streamed == ""

    def test_half_an_emoji_waits_for_the_other_half(
        self, console: ConsolePage, shown: Shown, time: FakeTime
    ) -> None:
        for unit in units("a😀"):
            console.take(delta(unit))
            time.pass_by(1)
        console.close()
        assert shown.streamed == "a😀"
