"""When something is sent to a front end, and how much."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

from hotclaude_kernel.page import throttle as page_module
from hotclaude_kernel.page.notebook import NotebookPage
from hotclaude_kernel.page.throttle import UPDATE_S

from ..support.paper import FakeTime, Shown, block, delta, take

if TYPE_CHECKING:
    import pytest

    from hotclaude_kernel.page.parts import Data


class TestTheFirstWords:
    def test_the_first_text_goes_out_at_once(self, page: NotebookPage, shown: Shown) -> None:
        page.take(delta("Hello"))
        assert shown.words == "Hello"

    def test_it_does_not_wait_for_a_status_line_that_came_just_before(
        self, page: NotebookPage, shown: Shown
    ) -> None:
        page.status("Starting claude…")
        page.take(delta("Hello"))
        assert shown.words == "Hello"

    def test_what_follows_waits_its_turn(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        take(page, delta("one"), delta(" two"), delta(" three"))
        assert shown.words == "one"
        time.pass_by(UPDATE_S)
        assert shown.words == "one two three"
        assert shown.kinds == ["show", "update"]

    def test_a_silent_stream_sends_nothing(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        take(page, delta("one"), delta(" two"))
        time.pass_by(60)
        assert len(shown.messages) == 2

    async def test_the_rest_comes_by_itself_on_a_real_loop(self) -> None:
        came = asyncio.Event()

        class Waking(Shown):
            def show(
                self, data: Data, display_id: str, *, update: bool = False, about: Any = None
            ) -> None:
                super().show(data, display_id, update=update)
                if "three" in self.words:
                    came.set()

        shown = Waking()
        page = NotebookPage(shown)
        take(page, delta("one"), delta(" two"), delta(" three"))
        async with asyncio.timeout(30):
            await came.wait()
        assert shown.words == "one two three"


def speech(words: int) -> list[str]:
    """Words of five letters and a space, with some Markdown among them."""
    written = []
    for n in range(words):
        word = f"wor{n % 90 + 10}"
        if n % 16 == 0:
            word = f"*{word}*"
        elif n % 16 == 8:
            word = f"`{word}`"
        if n % 250 == 249:
            word += "\n\n```python\nx = 1\n```\n\n"
        elif n % 50 == 49:
            word += "\n\n"
        elif n % 125 == 60:
            word += "\n\n- an item\n- another\n\n"
        else:
            word += " "
        written.append(word)
    return written


class TestHowMuchIsSent:
    def stream(self, words: int, monkeypatch: pytest.MonkeyPatch) -> Shown:
        """Show words at 200 a second, each a delta of its own, and close the page."""
        time = FakeTime()
        with monkeypatch.context() as patch:
            patch.setattr(page_module, "time", time)
            patch.setattr(page_module, "asyncio", time)
            shown = Shown(time)
            page = NotebookPage(shown)
            spoken = speech(words)
            for word in spoken:
                page.take(delta(word))
                time.pass_by(0.005)
            page.take(block("".join(spoken)))
            page.close()
        assert shown.markdown == "".join(spoken)
        return shown

    def test_two_thousand_words_in_ten_seconds_are_few_small_messages(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shown = self.stream(2000, monkeypatch)
        assert len(shown.messages) <= 220
        assert shown.size_bytes <= 500_000

    def test_messages_and_bytes_grow_with_the_length_and_no_faster(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sizes = {words: self.stream(words, monkeypatch) for words in (500, 1000, 2000)}
        # The slope of the least-squares line through three points a factor of two apart.
        messages = len(sizes[2000].messages) / len(sizes[500].messages)
        size = sizes[2000].size_bytes / sizes[500].size_bytes
        assert math.log2(messages) / 2 <= 1.1
        assert math.log2(size) / 2 <= 1.1

    def test_no_second_has_more_than_twenty_updates_of_an_output(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shown = self.stream(2000, monkeypatch)
        times = sorted({at for _, _, at in shown.messages})
        for first, later in zip(times, times[21:], strict=False):
            assert later - first > 1 - 1e-9

    def test_updates_slow_down_as_the_live_part_grows(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        """One long fence can't be cut, so it is sent whole each time, but less and less often."""
        page.take(delta("```\n"))
        for _ in range(4000):
            page.take(delta("a line of code\n"))
            time.pass_by(0.005)
        seconds: dict[int, int] = {}
        for _, _, at in shown.messages:
            seconds[int(at)] = seconds.get(int(at), 0) + 1
        counts = list(seconds.values())
        assert max(counts) <= 21
        assert counts[-2] <= 2
