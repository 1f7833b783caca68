"""What is sent to a front end, and how often, as the events of a turn come in."""

from __future__ import annotations

import asyncio
import json
import math
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hotclaude_kernel.claude.events import (
    Block,
    BlockStarted,
    Delta,
    Event,
    MessageStarted,
    Notice,
    Retry,
    ToolResult,
)
from hotclaude_kernel.page import throttle as page_module
from hotclaude_kernel.page.base import Page, SurrogateJoiner
from hotclaude_kernel.page.console import ConsolePage
from hotclaude_kernel.page.notebook import NotebookPage
from hotclaude_kernel.page.throttle import UPDATE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hotclaude_kernel.page.parts import Data


class Timer:
    """What `call_later` gives back."""

    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at, self.call, self.cancelled = at, call, False

    def cancel(self) -> None:
        self.cancelled = True


class FakeTime:
    """A clock and a loop that stand still until they are moved."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._timers: list[Timer] = []

    def monotonic(self) -> float:
        return self.now

    def get_running_loop(self) -> FakeTime:
        return self

    def call_later(self, delay_s: float, call: Any, *args: Any) -> Timer:
        timer = Timer(self.now + delay_s, lambda: call(*args))
        self._timers.append(timer)
        return timer

    def pass_by(self, seconds: float) -> None:
        """Let time pass, and call what falls due on the way."""
        until = self.now + seconds
        while due := [t for t in self._timers if t.at <= until and not t.cancelled]:
            timer = min(due, key=lambda t: t.at)
            self._timers.remove(timer)
            self.now = max(self.now, timer.at)
            timer.call()
        self.now = until


class Shown:
    """An output that records each message, and what a front end would show after it."""

    def __init__(self, time: FakeTime | None = None) -> None:
        self.messages: list[tuple[str, Any, float]] = []
        self.outputs: dict[str, Data] = {}
        self.streamed = ""
        self.sent_to: list[str] = []
        self._time = time
        self._clear_next = False

    def show(self, data: Data, display_id: str, *, update: bool = False, about: Any = None) -> None:
        assert update == (display_id in self.outputs and not self._clear_next)
        self._record("update" if update else "show", data)
        self.sent_to.append(display_id)
        if self._clear_next:
            self.outputs.clear()
            self._clear_next = False
        self.outputs[display_id] = data

    def stream(self, text: str, name: str = "stdout") -> None:
        self._record("stream", text)
        self.streamed += text

    def result(self, text: str) -> None:
        self._record("result", text)

    def clear(self) -> None:
        self._record("clear", None)
        self._clear_next = True

    def _record(self, kind: str, content: Any) -> None:
        self.messages.append((kind, content, self._time.now if self._time else 0.0))

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _, _ in self.messages]

    @property
    def size_bytes(self) -> int:
        return sum(len(json.dumps(content)) for _, content, _ in self.messages)

    @property
    def first(self) -> str:
        """The name of the first output."""
        return next(iter(self.outputs))

    def words_of(self, at: int) -> str:
        """The words of one output."""
        html = list(self.outputs.values())[at].get("text/html", "")
        return " ".join(re.sub(r"<[^>]+>", " ", html).split())

    def end(self) -> None:
        """The kernel's line below the answer has come, and with it what a clearing waits for."""
        if self._clear_next:
            self.outputs.clear()

    @property
    def html(self) -> str:
        """The page, without what is the same around each output."""
        return "\n".join(data.get("text/html", "") for data in self.outputs.values())

    @property
    def words(self) -> str:
        """The words on the page."""
        return " ".join(re.sub(r"<[^>]+>", " ", self.html).split())

    @property
    def blank(self) -> list[str]:
        """The outputs that show nothing."""
        return [
            name
            for name, data in self.outputs.items()
            if not re.sub(r"<(?!img|input|hr)[^>]+>|\s", "", data.get("text/html", "x"))
            and not data.get("text/markdown", "").strip()  # a definition shows nothing, but is kept
        ]

    @property
    def markdown(self) -> str:
        return "".join(data.get("text/markdown", "") for data in self.outputs.values())


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    """Time in `display` stands still."""
    fake = FakeTime()
    monkeypatch.setattr(page_module, "time", fake)
    monkeypatch.setattr(page_module, "asyncio", fake)
    return fake


@pytest.fixture
def shown(time: FakeTime) -> Shown:
    return Shown(time)


@pytest.fixture
def page(shown: Shown) -> NotebookPage:
    return NotebookPage(shown)


@pytest.fixture
def console(shown: Shown) -> ConsolePage:
    return ConsolePage(shown)


def delta(text: str) -> Delta:
    return Delta(index=0, kind="text", text=text)


def block(text: str, **fields: Any) -> Block:
    content = {"type": "text", "text": text}
    return Block(uuid="u", message_id="m", kind="text", content=content, **fields)


def thought(text: str, **fields: Any) -> Block:
    content = {"type": "thinking", "thinking": text}
    return Block(uuid="u", message_id="m", kind="thinking", content=content, **fields)


def call(command: str, tool_use_id: str = "t1", name: str = "Bash") -> Block:
    content = {
        "type": "tool_use",
        "id": tool_use_id,
        "name": name,
        "input": {"command": command},
    }
    return Block(uuid="u", message_id="m", kind="tool_use", content=content)


def answered(text: str, tool_use_id: str = "t1", **fields: Any) -> ToolResult:
    return ToolResult(
        uuid="u",
        tool_use_id=tool_use_id,
        text=text,
        is_error=fields.pop("is_error", False),
        **fields,
    )


def retry(attempt: int = 1) -> Retry:
    return Retry(attempt=attempt, max_retries=4, delay_s=0.5, status=529, error="overloaded")


def title(name: str, about: str, state: str) -> str:
    """What the summary of a card holds."""
    return (
        f"<summary><b>{name}</b> <code>{about}</code>"
        f' <span style="opacity:.65">· {state}</span></summary>'
    )


MESSAGE = MessageStarted(message_id="m")
LONG = "word " * 400 + "\n\n"  # enough to freeze a segment


def take(page: Page, *events: Event) -> None:
    for event in events:
        page.take(event)


def text_events(text: str, size: int = 20) -> Iterator[Event]:
    """A text block as it is streamed."""
    yield BlockStarted(index=0, kind="text")
    for at in range(0, len(text), size):
        yield delta(text[at : at + size])
    yield block(text)


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
        assert note["text/plain"] == "model: <opus>"
        assert "<table" in report["text/html"]
        assert report["text/markdown"] == report["text/plain"] == "| a |\n|---|\n| 1 |\n"


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


def units(text: str) -> list[str]:
    """The text in UTF-16 code units, as a stream may cut it."""
    data = text.encode("utf-16-le")
    return [data[at : at + 2].decode("utf-16-le", "surrogatepass") for at in range(0, len(data), 2)]


class TestTheAnswerIsKept:
    @given(
        st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=12).map("".join),
        st.lists(st.integers(1, 40), min_size=1, max_size=6),
    )
    @example("😀", [1])
    @settings(deadline=None)
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
        assert shown.words == "500 boom"


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
        assert shown.words == "model: opus The answer."

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
        assert shown.markdown.startswith("Let me see.\n\n**Bash** `ls` · done\n\n")
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


class TestThinking:
    def test_it_is_folded_with_its_time(self, page: NotebookPage, shown: Shown) -> None:
        take(page, thought("It is **simple**.\n\nVery.", thinking_ms=2400), *text_events("Yes."))
        page.close()
        assert "<details><summary>Thought for 2 s</summary>" in shown.html
        assert "<strong>simple</strong>" in shown.html
        assert shown.markdown == (
            "> *Thought for 2 s*\n>\n> It is **simple**.\n> \n> Very.\n\nYes."
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
        assert shown.words == "Thinking…"
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
        assert shown.words == "Switched to *Sonnet* &lt;5&gt;⟨U+202E⟩ Hello"
        assert shown.markdown.startswith("*Switched to \\*Sonnet\\*")

    def test_one_that_comes_in_the_middle_of_a_text_waits_for_its_end(
        self, page: NotebookPage, shown: Shown
    ) -> None:
        """A permission is decided while the next block is already streamed."""
        take(page, delta("Half a sen"))
        page.notice("Denied: Bash")
        take(page, delta("tence."), block("Half a sentence."))
        page.close()
        assert shown.markdown == "Half a sentence.\n\n*Denied: Bash*\n\n"

    def test_it_leaves_no_ghost_if_that_text_is_void(
        self, page: NotebookPage, shown: Shown
    ) -> None:
        take(page, MESSAGE, delta("Ghost"))
        page.notice("Denied: Bash")
        take(page, retry(), MESSAGE, *text_events("Hello"))
        page.close()
        assert shown.markdown == "*Denied: Bash*\n\nHello"

    def test_it_is_not_lost_if_that_text_never_ends(self, page: NotebookPage, shown: Shown) -> None:
        take(page, MESSAGE, delta("Half"))
        page.notice("Denied: Bash")
        page.close()
        assert shown.markdown == "Half\n\n*Denied: Bash*\n\n"

    def test_a_stall_is_a_status_that_goes_away(
        self, page: NotebookPage, shown: Shown, time: FakeTime
    ) -> None:
        page.take(Notice(kind="stall", text="No data from the API for 10 s"))
        time.pass_by(1)
        assert shown.words == "No data from the API for 10 s"
        take(page, *text_events("Hello"))
        page.close()
        assert shown.words == "Hello"


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
            "[Bash: ls]",
            "[Bash: false]",
            "[failed: Exit code 1]",
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


# --- questions, subagents, and the same answer twice ------------------------------------------


WIDGET: Data = {"text/plain": "Waiting for your decision.", "application/x-widget": "1"}


def nested_call(command: str, tool_use_id: str, parent: str) -> Block:
    content = {"type": "tool_use", "id": tool_use_id, "name": "Bash", "input": {"command": command}}
    return Block(uuid="u", message_id="m", kind="tool_use", content=content, parent=parent)


class TestQuestions:
    def ask(self, page: NotebookPage, tool_use_id: str = "t1") -> None:
        page.asking(tool_use_id)
        page.ask(WIDGET)

    def test_it_stands_below_the_answer_with_its_card_unfolded(
        self, page: NotebookPage, shown: Shown
    ) -> None:
        take(page, *text_events("Let me see."), call("ls"))
        self.ask(page)
        answer, question = shown.outputs.values()
        assert "<details open" in answer["text/html"]
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
        assert shown.markdown.startswith("**Bash** `ls` · allowed once, done\n\n")
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
        assert shown.words == "denied, since nobody can be asked here Well."

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
        assert shown.markdown == LONG * 3 + "**Bash** `ls` · stopped\n\nHalf a word"

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


# --- the same answer, live and again ----------------------------------------------------------

WORDS = (
    "Hello *you*.\n\n", "- a\n- b\n", "```\nx\n", "😀 [a]\n\n", "[a]: https://a.invalid\n\n",
    "x" * 1200 + "\n\n", "w " * 300,
)  # fmt: skip
said = st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map("".join)
between = st.one_of(
    st.tuples(
        st.just("result"), st.integers(0, 30), st.sampled_from(["ok", "y" * 900, "z" * 5000])
    ),
    st.tuples(st.just("notice"), st.sampled_from(["Low on credit", "*odd* <b>"])),
    st.tuples(st.just("nested text"), st.integers(0, 30), said),
    st.tuples(st.just("nested call"), st.integers(0, 30), st.sampled_from(["ls", "x" * 2000])),
    st.tuples(st.just("question"), st.integers(0, 30)),
    st.tuples(st.just("time")),
)
middles = st.lists(between, max_size=3)
acts = st.lists(
    st.one_of(
        between,
        st.tuples(
            st.just("text"), said, said, middles, st.sampled_from(["same", "differs", "none"])
        ),
        st.tuples(st.just("ghost"), said, middles, st.booleans()),
        st.tuples(st.just("thought"), said),
        st.tuples(st.just("call"), st.sampled_from(["ls", "x" * 700, "x" * 3000])),
    ),
    max_size=12,
)


class Turn:
    """Plays acts on a page as they come live, and keeps what is no delta."""

    def __init__(self, page: NotebookPage, time: FakeTime) -> None:
        self.page, self.time = page, time
        self.kept: list[Event] = []
        self.calls: list[str] = []

    def take(self, *events: Event) -> None:
        for event in events:
            self.page.take(event)
            if not isinstance(event, Delta):
                self.kept.append(event)

    def play(self, act: Any) -> None:
        match act:
            case ("text", text, preview, middle, how):
                self.take(MESSAGE, BlockStarted(index=0, kind="text"))
                self.stream({"same": text, "differs": preview, "none": ""}[how], middle)
                self.take(block(text))
            case ("ghost", text, middle, quiet):
                self.take(MESSAGE, BlockStarted(index=0, kind="text"))
                self.stream(text, middle)
                self.take(MESSAGE if quiet else retry())
            case ("thought", text):
                self.take(BlockStarted(index=0, kind="thinking"), thought(text))
            case ("call", command):
                self.take(BlockStarted(index=0, kind="tool_use"), call(command, self.new()))
            case ("nested call", n, command) if self.calls:
                parent = self.calls[n % len(self.calls)]
                self.take(nested_call(command, self.new(), parent))
            case ("nested text", n, text) if self.calls:
                self.take(block(text, parent=self.calls[n % len(self.calls)]))
            case ("result", n, text) if self.calls:
                self.take(answered(text, self.calls[n % len(self.calls)]))
            case ("notice", text):
                self.take(Notice(kind="warning", text=text))
            case ("question", n):
                self.page.asking(f"t{n + 1000}")
                self.page.ask(WIDGET)
                self.time.pass_by(1)
                self.page.asked()
            case ("time",):
                self.time.pass_by(2)

    def new(self) -> str:
        self.calls.append(f"t{len(self.calls)}")
        return self.calls[-1]

    def stream(self, text: str, middle: list[Any]) -> None:
        parts = len(middle) + 1
        size = len(text) // parts + 1
        for n in range(parts):
            for at in range(n * size, min((n + 1) * size, len(text)), 97):
                self.take(delta(text[at : min(at + 97, (n + 1) * size)]))
                self.time.pass_by(0.03)
            if n < len(middle):
                self.play(middle[n])


class TestTheSameTwice:
    @given(acts)
    @settings(deadline=None, max_examples=300)
    def test_an_answer_shown_again_is_the_answer_as_it_was(self, acts: list[Any]) -> None:
        """A page that was reloaded gets the answer from the events that are no deltas."""
        time = FakeTime()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(page_module, "time", time)
            patch.setattr(page_module, "asyncio", time)
            live, again = Shown(time), Shown(time)
            turn = Turn(NotebookPage(live), time)
            for act in acts:
                turn.play(act)
            turn.page.close()
            page = NotebookPage(again)
            take(page, *turn.kept)
            page.close()
        for shown in (live, again):
            shown.end()
        assert list(live.outputs.values()) == list(again.outputs.values())
        assert not live.blank
        for _, content, _ in live.messages:
            json.dumps(content, ensure_ascii=False).encode()
