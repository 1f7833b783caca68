"""An answer that is shown again is the answer as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotclaude_kernel.claude.events import (
    BlockStarted,
    Delta,
    Event,
    Notice,
)
from hotclaude_kernel.page import throttle as page_module
from hotclaude_kernel.page.notebook import NotebookPage

from ..support.examples import times
from ..support.paper import (
    MESSAGE,
    WIDGET,
    FakeTime,
    Shown,
    answered,
    block,
    call,
    delta,
    nested_call,
    retry,
    take,
    thought,
)

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
    @times(2)
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
