"""The canonical response: what of an answer is part of a node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotclaude_kernel.claude.events import (
    Block,
    Delta,
    MessageStarted,
    Notice,
    Result,
    ToolResult,
    TurnStarted,
    Usage,
)
from hotclaude_kernel.turns.identity import (
    canonical_response,
    node_digest,
)

if TYPE_CHECKING:
    from hotclaude_kernel.claude.events import Event


def said(text: str, kind: str = "text", message: str = "m1", **rest: Any) -> Block:
    content = {"type": kind, kind: text, "signature": f"sig-{message}", "index": message}
    return Block(uuid=f"u-{text}", message_id=message, kind=kind, content=content, **rest)


def call(tool_id: str, message: str = "m1", parent: str | None = None, **given: Any) -> Block:
    content = {"type": "tool_use", "id": tool_id, "name": "Bash", "input": given, "caller": {}}
    return Block(
        uuid=f"u-{tool_id}", message_id=message, kind="tool_use", content=content, parent=parent
    )


def returned(tool_id: str, text: str = "ok", **rest: Any) -> ToolResult:
    given: dict[str, Any] = {"uuid": f"r-{tool_id}", "is_error": False, **rest}
    return ToolResult(tool_use_id=tool_id, text=text, **given)


def ended(stop_reason: str | None = "end_turn", **rest: Any) -> Result:
    return Result(
        session_id="s", subtype="success", is_error=False, terminal_reason="completed", text="ok",
        stop_reason=stop_reason, **rest
    )  # fmt: skip


CALLED: list[Event] = [said("hm", "thinking"), call("A", cmd="a"), call("B", cmd="b")]
INSIDE: list[Event] = [
    call("C", "m2", "A", cmd="c"),
    returned("C", "c", parent="A"),
    said("inside", message="m3", parent="A"),
]
AFTER: list[Event] = [said("Done.", message="m4"), ended()]


#: Prints three digests of one turn; run where nothing is shared with this process.


@st.composite
def timings(draw: st.DrawFn) -> list[Event]:
    """The same turn as it may come: each call returns when it likes, also before the next call."""
    calls: dict[str, list[Event]] = {"A": [*INSIDE, returned("A", "a")], "B": [returned("B", "b")]}
    events: list[Event] = []
    running: list[list[Event]] = []
    coming = list(CALLED)
    while coming or any(running):
        waiting = [queue for queue in [coming, *running] if queue]
        event = draw(st.sampled_from(waiting)).pop(0)
        events.append(event)
        if event in CALLED and isinstance(event, Block) and event.kind == "tool_use":
            running.append(list(calls[event.content["id"]]))
    return [*events, *AFTER]


class TestCanonicalResponse:
    def test_a_turn_is_what_was_said_called_and_returned_and_why_it_ended(self) -> None:
        events = [*CALLED, returned("B", "b", is_error=True), *INSIDE, returned("A", "a"), *AFTER]
        assert canonical_response(events) == [
            {"type": "thinking", "thinking": "hm"},
            {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"cmd": "a"}},
            {"type": "tool_use", "id": "t2", "name": "Bash", "input": {"cmd": "b"}},
            {"type": "tool_use", "id": "t3", "name": "Bash", "input": {"cmd": "c"}, "parent": "t1"},
            {"type": "tool_result", "tool_use_id": "t3", "text": "c", "parent": "t1"},
            {"type": "text", "text": "inside", "parent": "t1"},
            {"type": "tool_result", "tool_use_id": "t1", "text": "a"},
            {"type": "tool_result", "tool_use_id": "t2", "text": "b", "is_error": True},
            {"type": "text", "text": "Done."},
            {"type": "stop", "stop_reason": "end_turn"},
        ]

    @given(timings())
    def test_timing_does_not_participate(self, events: list[Event]) -> None:
        in_order = [*CALLED, *INSIDE, returned("A", "a"), returned("B", "b"), *AFTER]
        assert len(events) == len(in_order)
        assert canonical_response(events) == canonical_response(in_order)

    def test_ids_signatures_model_usage_and_times_do_not_participate(self) -> None:
        one: list[Event] = [said("a"), call("A"), returned("A"), said("b", message="m2"), ended()]
        other: list[Event] = [
            TurnStarted(session_id="s2", model="opus", permission_mode="plan"),
            MessageStarted(message_id="n1"),
            Delta(index=0, kind="text", text="a"),
            said("a", message="n1", model="opus", thinking_ms=3.0),
            call("Z", "n1"),
            Notice(kind="task", text="ended", tool_use_id="Z"),
            returned("Z", uuid="other", detail={"ms": 7}),
            said("b", message="n2"),
            ended(usage=Usage(output_tokens=9, cost_usd=1.0), user_uuids=("u",)),
        ]
        assert canonical_response(one) == canonical_response(other)

    @pytest.mark.parametrize(
        "other",
        [
            [said("b"), call("A", n=1), returned("A"), ended()],
            [said("a", "thinking"), call("A", n=1), returned("A"), ended()],
            [said("a"), call("A", n=2), returned("A"), ended()],
            [said("a"), call("A", n=1), returned("A", "no"), ended()],
            [said("a"), call("A", n=1), returned("A", is_error=True), ended()],
            [said("a"), call("A", n=1), returned("A", pictures=(("image/png", "AA=="),)), ended()],
            [said("a"), call("A", n=1), returned("A"), ended("max_tokens")],
            [said("a"), call("A", n=1), returned("A"), ended(None)],
            [said("a"), call("A", n=1), ended()],
            [call("A", n=1), said("a"), returned("A"), ended()],
            [said("a"), call("A", n=1), returned("A"), said("", message="m2"), ended()],
        ],
        ids=["text", "kind", "input", "result", "failure", "picture", "stop", "no stop",
             "no result", "order", "empty"],
    )  # fmt: skip
    def test_content_participates(self, other: list[Event]) -> None:
        events: list[Event] = [said("a"), call("A", n=1), returned("A"), ended()]
        assert canonical_response(other) != canonical_response(events)

    def test_results_that_are_exchanged_are_another_response(self) -> None:
        one = [*CALLED, returned("A", "x"), returned("B", "y")]
        other = [*CALLED, returned("A", "y"), returned("B", "x")]
        assert canonical_response(one) != canonical_response(other)

    def test_pictures_participate(self) -> None:
        pictures = [("image/png", "AA=="), ("image/gif", "AA=="), ("image/png", "AQ==")]
        responses = [canonical_response([returned("A", pictures=(one,))]) for one in pictures]
        assert len({node_digest("k", response) for response in responses}) == len(pictures)

    def test_the_binarys_own_errors_are_no_part_of_it(self) -> None:
        failed = said("API Error: 500", error="server_error")
        assert canonical_response([said("a"), failed]) == canonical_response([said("a")])

    def test_what_an_interrupt_left_is_part_of_it(self) -> None:
        assert canonical_response([said("Half a", aborted=True)]) == [
            {"type": "text", "text": "Half a"}
        ]

    def test_encrypted_thinking_is_there_without_its_bytes(self) -> None:
        content = {"type": "redacted_thinking", "data": "EmwK"}
        block = Block(uuid="u", message_id="m", kind="redacted_thinking", content=content)
        assert canonical_response([block]) == [{"type": "redacted_thinking"}]

    def test_a_kind_that_is_not_known_is_kept_with_its_ids_numbered(self) -> None:
        content = {"type": "web_result", "tool_use_id": "srv_9", "content": [1], "citations": None}
        block = Block(uuid="u", message_id="m", kind="web_result", content=content)
        assert canonical_response([block]) == [
            {"type": "web_result", "tool_use_id": "t1", "content": [1]}
        ]

    def test_what_belongs_to_no_call_of_the_turn_comes_last(self) -> None:
        events: list[Event] = [returned("old"), said("still here", parent="older"), said("a")]
        assert canonical_response(events) == [
            {"type": "text", "text": "a"},
            {"type": "text", "text": "still here", "parent": "t1"},
            {"type": "tool_result", "tool_use_id": "t2", "text": "ok"},
        ]

    def test_a_call_that_claims_to_be_its_own_parent_is_told_once(self) -> None:
        assert len(canonical_response([call("A", parent="A"), returned("A", parent="A")])) == 2

    def test_blocks_without_a_message_id_stay_in_their_order(self) -> None:
        events: list[Event] = [call("A", ""), returned("A"), said("a", message="")]
        kinds = [entry["type"] for entry in canonical_response(events)]
        assert kinds == ["tool_use", "tool_result", "text"]

    def test_the_last_result_says_why_it_ended(self) -> None:
        assert canonical_response([ended("tool_use"), said("a"), ended(None)]) == [
            {"type": "text", "text": "a"},
            {"type": "stop", "stop_reason": None},
        ]

    def test_nothing_happened_is_an_empty_response(self) -> None:
        assert canonical_response([]) == []
