"""Frames as the real binary sends them, shortened, and what we make of them."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hotclaude_kernel.claude import frames
from hotclaude_kernel.claude.frames import (
    Frame,
    LineFramer,
    dumps,
    loads,
    refusal_frame,
    request_frame,
    response_frame,
    user_frame,
    without_copies,
)

from ..support.examples import json_objects

MEGABYTE = 2**20


@pytest.fixture(params=["orjson", "json"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to decode: orjson, and the standard library where orjson is missing."""
    if request.param == "json":
        monkeypatch.setattr(frames, "orjson", None)
    else:
        assert "orjson" in sys.modules
    return str(request.param)


def feed(framer: LineFramer, data: bytes, sizes: list[int]) -> list[bytes | bytearray]:
    """Feed data in chunks of the sizes given, over and over."""
    lines: list[bytes | bytearray] = []
    at = step = 0
    while at < len(data):
        size = sizes[step % len(sizes)]
        lines += framer.feed(data[at : at + size])
        at, step = at + size, step + 1
    return lines


class TestLineFramer:
    @given(
        st.lists(st.binary(max_size=40), max_size=8).map(b"\n".join),
        st.lists(st.integers(1, 50), min_size=1, max_size=5),
    )
    @example(b"a\n\n\nb\n", [1])
    @example("é\n日\n".encode(), [1])
    def test_the_chunks_do_not_change_the_lines(self, data: bytes, sizes: list[int]) -> None:
        lines = [line for line in data.split(b"\n")[:-1] if line.strip()]
        assert feed(LineFramer(), data, sizes) == lines

    def test_an_unfinished_line_waits_for_its_end(self) -> None:
        framer = LineFramer()
        assert framer.feed(b'{"a":') == []
        assert framer.feed(b"1}") == []
        assert framer.feed(b"\n") == [b'{"a":1}']

    def test_a_line_may_have_many_megabytes(self) -> None:
        line = b"x" * (8 * MEGABYTE + 1)
        assert feed(LineFramer(), line + b"\nnext\n", [65_536]) == [line, b"next"]

    @pytest.mark.parametrize("separator", ["\r", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029"])
    def test_only_a_newline_ends_a_line(self, separator: str) -> None:
        line = f"a{separator}b".encode()
        assert LineFramer().feed(line + b"\n") == [line]

    def test_empty_lines_are_left_out(self) -> None:
        assert LineFramer().feed(b"\n \r\n\t\na\n\n") == [b"a"]


@pytest.mark.usefixtures("decoder")
class TestLoads:
    @pytest.mark.parametrize(
        ("line", "text"),
        [
            (rb'{"text":"\ud83d"}', "\ud83d"),
            (rb'{"text":"\ude00 and more"}', "\ude00 and more"),
            (rb'{"text":"\ud83d\ude00"}', "😀"),
        ],
    )
    def test_half_an_emoji_is_kept(self, line: bytes, text: str) -> None:
        assert loads(line) == {"text": text}

    @pytest.mark.parametrize(
        "line",
        [
            b"",
            b"Warning: something",
            b'{"type":',
            b'{"a":1}{"b":2}',
            b"\xff\xfe",
            b'{"a":"\xff"}',
            b"[1,2]",
            b'"text"',
            b"17",
            b"null",
        ],
    )
    def test_noise_and_what_is_no_object_is_none(self, line: bytes) -> None:
        assert loads(line) is None

    def test_a_carriage_return_at_the_end_does_no_harm(self) -> None:
        assert loads(b'{"a":1}\r') == {"a": 1}


class TestDumps:
    @given(json_objects)
    @example({"text": "😀 \u2028 \ud83d \x85 \0"})
    def test_it_is_one_line_of_ascii(self, frame: Frame) -> None:
        line = dumps(frame)
        assert line.isascii()
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1

    @given(json_objects)
    @example({"text": "\ud83d"})
    def test_what_was_written_can_be_read(self, frame: Frame) -> None:
        assert loads(dumps(frame)) == frame

    @given(json_objects)
    def test_what_was_written_can_be_read_without_orjson(self, frame: Frame) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(frames, "orjson", None)
            assert loads(dumps(frame)) == json.loads(json.dumps(frame))


class TestWhatWeWrite:
    def test_a_prompt_names_its_role_without_which_the_process_would_end(self) -> None:
        assert user_frame("Hello", "u1") == {
            "type": "user",
            "message": {"role": "user", "content": "Hello"},
            "parent_tool_use_id": None,
            "uuid": "u1",
            "origin": {"kind": "human"},
        }

    def test_a_request_carries_its_id_and_fields(self) -> None:
        assert request_frame("r1", "set_model", {"model": "opus"}) == {
            "type": "control_request",
            "request_id": "r1",
            "request": {"subtype": "set_model", "model": "opus"},
        }

    def test_a_response_names_the_request(self) -> None:
        answer = response_frame("r1", {"behavior": "deny"})["response"]
        assert answer["request_id"] == "r1"
        assert answer["subtype"] == "success"
        assert answer["response"] == {"behavior": "deny"}

    def test_a_refusal_names_the_request_and_says_why(self) -> None:
        answer = refusal_frame("r1", "not served")["response"]
        assert answer == {"subtype": "error", "request_id": "r1", "error": "not served"}


class TestWithoutCopies:
    COPY = "[Image: source: /home/user/a b/projects/-x/1/tool-results/mcp-nb-blob-1-x.png]"

    def frame(self, *texts: str) -> Frame:
        image = {"type": "image", "source": {"data": "aGk="}}
        content = [*({"type": "text", "text": text} for text in texts), image]
        result = {"type": "tool_result", "tool_use_id": "t", "content": content}
        message = {"role": "user", "content": [result]}
        return {"type": "user", "message": message, "tool_use_result": content, "uuid": "u"}

    def test_the_paths_of_copied_images_are_left_out(self) -> None:
        windows = r"[Image: source: C:\Users\user\.claude\tool-results\x.png]"
        assert without_copies(self.frame("here", self.COPY, windows)) == self.frame("here")

    def test_what_only_looks_like_it_stays(self) -> None:
        texts = (f"see {self.COPY}", f"{self.COPY}\n", "[Image: source: /a/plot.png]", "")
        assert without_copies(self.frame(*texts)) == self.frame(*texts)

    def test_other_frames_and_odd_ones_are_as_they_were(self) -> None:
        odd: list[Frame] = [
            {"type": "assistant", "message": {"content": [{"type": "text", "text": self.COPY}]}},
            {"type": "user"},
            {"type": "user", "message": None},
            {"type": "user", "message": {"content": self.COPY}},
            {"type": "user", "message": {"content": [None, 1, {"type": "tool_result"}]}},
        ]
        for frame in odd:
            assert without_copies(frame) == frame
