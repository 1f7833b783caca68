"""Data nested 1,000 deep, as a model's tool input may be: read to a depth, and said to be cut."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotclaude_kernel.claude import frames
from hotclaude_kernel.claude.events import Block
from hotclaude_kernel.claude.frames import CUT, DEEPEST, deeper, dumps, loads
from hotclaude_kernel.claude.session import PermissionRequest
from hotclaude_kernel.questions.decide import card_of

from ..support.examples import json_values
from ..support.mutations import captured, played

if TYPE_CHECKING:
    from hotclaude_kernel.claude.frames import Frame


def nested(levels: int, inner: bytes = b"1") -> bytes:
    """JSON with objects and lists in turn, so many levels deep."""
    opened = b"".join(b'{"a":' if level % 2 else b"[" for level in range(levels))
    closed = b"".join(b"}" if level % 2 else b"]" for level in reversed(range(levels)))
    return opened + inner + closed


def depth(value: Any) -> int:
    levels = 0
    while isinstance(value, (dict, list)):
        value = value["a"] if isinstance(value, dict) else value[0]
        levels += 1
    return levels


@pytest.fixture(params=["orjson", "json"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "json":
        monkeypatch.setattr(frames, "orjson", None)


@pytest.mark.usefixtures("decoder")
class TestReading:
    @pytest.mark.parametrize("levels", [1, DEEPEST - 1])
    def test_what_is_not_too_deep_is_whole(self, levels: int) -> None:
        line = b'{"a":' + nested(levels) + b"}"
        frame = loads(line)
        assert frame is not None
        assert depth(frame) == levels + 1
        assert CUT not in dumps(frame).decode()

    @pytest.mark.parametrize("levels", [DEEPEST, 980, 1_020, 20_000])
    def test_the_rest_is_left_out_and_said(self, levels: int) -> None:
        frame = loads(b'{"b":"]}","a":' + nested(levels, rb'"\"]}\\"') + b',"c":2}')
        assert frame is not None
        assert (frame["b"], frame["c"], depth(frame)) == ("]}", 2, DEEPEST)
        assert json.dumps(frame).count(json.dumps(CUT)) == 1

    @pytest.mark.parametrize("end", [b"", b"]", b'"', b'"]' * 300])
    def test_a_line_that_ends_within_is_no_frame(self, end: bytes) -> None:
        assert loads(b'{"a":' + b"[" * 5_000 + end) is None

    @given(json_values)
    def test_brackets_in_strings_do_not_count(self, value: Any) -> None:
        frame = {"text": "[{" * 300 + '\\"', "value": value}
        assert loads(json.dumps(frame).encode()) == frame

    def test_what_json_does_not_know_is_null(self) -> None:
        line = b'{"a":NaN,"b":-Infinity,"c":1e999,"d":1.5,"e":%s}' % (b"9" * 5_000)
        assert loads(line) == {"a": None, "b": None, "c": None, "d": 1.5, "e": None}

    @pytest.mark.parametrize("number", [-(2**63) - 1, -(2**63), 2**64 - 1, 2**64, 10**30, -5])
    def test_long_integers_are_floats(self, number: int) -> None:
        read = (loads(b'{"a":%d}' % number) or {})["a"]
        assert float(read) == float(number)
        assert isinstance(read, int) == (-(2**63) <= number < 2**64)


@given(st.integers(0, 40), st.integers(0, 40))
def test_deeper_counts_the_levels(levels: int, most: int) -> None:
    value = json.loads(nested(levels))
    assert deeper(value, most) == (levels > most)
    assert deeper([1, value, "x"], most + 1) == (levels > most)


@pytest.mark.parametrize("levels", [980, 1_020])
async def test_a_call_with_such_an_input_is_shown_recorded_and_resumed(levels: int) -> None:
    [turn] = [turn for turn in captured() if turn.name == "tool_bash"]
    lines = [
        line.replace(b'"command": "echo', b'"deep": ' + nested(levels) + b', "command": "echo')
        for line in turn.lines
    ]
    assert lines != turn.lines
    came = await played(lines)
    assert (came.how, came.fault) == ("ok", "")
    assert came.turn is not None
    [call] = [e for e in came.turn.events if isinstance(e, Block) and e.kind == "tool_use"]
    assert call.content["input"]["command"].startswith("echo hello")
    assert CUT in json.dumps(call.content, ensure_ascii=False)


async def test_subagents_of_subagents_are_shown_and_recorded() -> None:
    calls = [call(f"t{level}", f"t{level - 1}" if level else None) for level in range(1_000)]
    end = {"type": "result", "subtype": "success", "is_error": False}
    came = await played([json.dumps(frame).encode() for frame in (*calls, end)])
    assert (came.how, came.fault) == ("ok", "")


def call(tool_use_id: str, parent: str | None) -> Frame:
    content = {"type": "tool_use", "id": tool_use_id, "name": "Task", "input": {}}
    message = {"id": tool_use_id, "content": [content]}
    return {"type": "assistant", "parent_tool_use_id": parent, "message": message}


def test_its_card_says_that_it_is_cut() -> None:
    frame = loads(b'{"input":' + nested(1_000) + b"}")
    assert frame is not None
    given = {"input": frame["input"]}
    card = card_of(PermissionRequest(tool_name="mcp__tree__draw", tool_input=given))
    assert CUT in card.source
    card.decide("denied")  # while it waits, the question shows the call
    assert "left out" in card.render({})
