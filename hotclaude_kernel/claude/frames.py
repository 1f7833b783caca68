"""Stream-json frames: bytes to frames, frames to bytes, and the frames that we write.

The process writes and reads one JSON object a line. A *frame* is such an object, unchanged; an
*event* is its parsed form, which the rest of the program uses (see `events`).
"""

from __future__ import annotations

import json
import math
import re
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypedDict

try:
    import orjson
except ImportError:  # orjson has no wheel for every platform; the standard library does it slower
    orjson = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Frame = dict[str, Any]

DECIDED = "hotclaude_decided"  # a frame of ours, in recordings: what the user decided
UNREADABLE = "hotclaude_unreadable"  # a frame of ours, in place of a line that can't be read

# Lists and objects are read to this depth, and a word takes the place of what is deeper. A model's
# tool input may have any depth; `json`, cards and digests go down by recursion, and Python's stack
# ends at 1,000.
DEEPEST = 200
CUT = f"… nested more than {DEEPEST} levels deep, left out"
# A tool's input lies deeper in the frame that shows the call than in the one that asks about it.
# So an input that is shown whole is bounded by less.
DEEPEST_INPUT = DEEPEST - 10
LONG = 2**20  # for a longer line orjson would ask for twelve times its memory
# A JSON string; then also a bracket outside of strings. The possessive `*+` take no stack.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_TOKEN = re.compile(_STRING.pattern + rb"|[\[{\]}]", re.DOTALL)
_NO_BRACKET = bytes({*range(256)} - {*b"[{]}"})
_STEPS = [(byte in b"[{") - (byte in b"]}") for byte in range(256)]  # into the depth, and out


class LineFramer:
    """Cuts a byte stream into lines, whatever their length.

    Only `\\n` ends a line: the binary escapes every other line separator. The unfinished line grows
    in one buffer, which is handed out as the line. So a line is held once, and the time to read it
    grows with its length and not with the square of it.
    """

    def __init__(self) -> None:
        self._open = bytearray()

    def feed(self, chunk: bytes) -> list[bytes | bytearray]:
        """Return the lines that `chunk` completes, without their ends and without empty ones."""
        head, *tail = chunk.split(b"\n")
        if not tail:
            self._open += head
            return []
        first: bytes | bytearray = head
        if self._open:
            first = self._open
            first += head
        self._open = bytearray(tail.pop())
        return [line for line in (first, *tail) if line and not line.isspace()]


def framed(line: bytes | bytearray) -> Frame | None:
    """Return the frame on a line that a process wrote, `None` for noise.

    For a line that should hold a frame, and can't be read, return a frame of ours that says so.
    """
    frame = loads(line)
    if frame is None and line.startswith(b"{"):
        return {"type": UNREADABLE, "bytes": len(line)}
    return frame


def loads(line: bytes | bytearray) -> Frame | None:
    """Return the JSON object on `line`, `None` if it holds none.

    What is nested more than `DEEPEST` levels deep is replaced by `CUT`. NaN and infinity, which
    JSON does not know, are read as null.
    """
    if line.count(b"{") + line.count(b"[") > DEEPEST and _depth(line) > DEEPEST:
        line = _shallow(line)
    try:
        value = orjson.loads(line) if orjson and len(line) < LONG else _loads(line)
    except ValueError:
        # orjson refuses a lone surrogate, and a delta that splits an emoji holds one.
        try:
            value = _loads(line)
        except ValueError:
            return None
    return value if isinstance(value, dict) else None


def _loads(line: bytes | bytearray) -> Any:
    """Read a line as orjson does, numbers included: digests are made of what was read."""
    return json.loads(line, parse_constant=_finite, parse_float=_finite, parse_int=_integer)


def _finite(number: str) -> float | None:
    value = float(number)
    return value if math.isfinite(value) else None


def _integer(number: str) -> float | None:
    """Return an integer of 64 bits, with or without sign; a longer one is read as a float."""
    value = int(number) if len(number) <= 20 else 2**64
    return value if -(2**63) <= value < 2**64 else _finite(number)


def _depth(line: bytes | bytearray) -> int:
    """Return how many levels deep a line of JSON goes, in C: a line may have many megabytes."""
    brackets = _STRING.sub(b"", line).translate(None, _NO_BRACKET)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0)


def _shallow(line: bytes | bytearray) -> bytes | bytearray:
    """Return a line of JSON with `CUT` in place of what is too deep, in linear time."""
    depth = begin = end = 0
    kept: list[bytes | bytearray] = []
    for token in _TOKEN.finditer(line):
        match token[0]:
            case b"[" | b"{":
                depth += 1
                if depth == DEEPEST + 1:
                    begin = token.start()
            case b"]" | b"}":
                depth -= 1
                if depth == DEEPEST:
                    kept += (line[end:begin], json.dumps(CUT).encode())
                    end = token.end()
    if depth > DEEPEST:  # the line ends in the middle of what is too deep
        return b""
    return b"".join((*kept, line[end:])) if kept else line


def deeper(value: Any, levels: int) -> bool:
    """Return whether lists and objects are nested in `value` more than so many levels deep."""
    layer = _nests((value,))
    for _ in range(levels):
        held = (v.values() if isinstance(v, dict) else v for v in layer)
        layer = [nest for values in held for nest in _nests(values)]
    return bool(layer)


def _nests(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if isinstance(value, (dict, list))]


def name(frame: Frame) -> str:
    """Return the type of a frame and its subtype, for a line of the log."""
    kinds = (frame.get("type"), frame.get("subtype"))
    return "/".join(kind[:40] if isinstance(kind, str) else type(kind).__name__ for kind in kinds)


def dumps(frame: Mapping[str, Any]) -> bytes:
    """Return `frame` as one line. ASCII only: the process dies on a line that it can't parse."""
    return json.dumps(frame, separators=(",", ":")).encode("ascii") + b"\n"


def whole(text: str) -> str:
    """Return `text` as UTF-8 can encode it: surrogate pairs joined, lone surrogates replaced."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


# `claude` keeps a copy of each image that a tool returns, and tells the model where: in a text
# after the image.
COPY = re.compile(r"\[Image: source: [^\n]*[/\\]tool-results[/\\][^\n/\\]*\]")


def without_copies(frame: Frame) -> Frame:
    """Return a frame without the local paths of images in the results of tools.

    They tell of this machine, so they are neither shown nor recorded.
    """
    message = frame.get("message")
    if frame.get("type") != "user" or not isinstance(message, dict):
        return frame
    cleaned = {"message": message | {"content": _uncopied(message.get("content"))}}
    if "tool_use_result" in frame:
        cleaned["tool_use_result"] = _uncopied(frame["tool_use_result"])
    return frame | cleaned


def _uncopied(content: Any) -> Any:
    """Return content of a message without the texts that only name the copy of an image."""
    if not isinstance(content, list):
        return content
    kept = [block for block in content if not _names_copy(block)]
    return [_uncopied_result(block) for block in kept]


def _names_copy(block: Any) -> bool:
    text = block.get("text") if isinstance(block, dict) else None
    return isinstance(text, str) and COPY.fullmatch(text) is not None


def _uncopied_result(block: Any) -> Any:
    if isinstance(block, dict) and isinstance(block.get("content"), list):
        return block | {"content": _uncopied(block["content"])}
    return block


# --- what we write ---------------------------------------------------------------------------


class UserMessage(TypedDict):
    """The content of a user frame."""

    role: str
    content: str | list[dict[str, Any]]


class UserFrame(TypedDict):
    """One prompt. Its `uuid` must be new: the process drops a known one without a result."""

    type: str
    message: UserMessage
    parent_tool_use_id: None
    uuid: str
    origin: dict[str, str]


def user_frame(content: str | list[dict[str, Any]], uuid: str) -> UserFrame:
    """Return the frame that asks `content`."""
    return {
        "type": "user",
        "message": {"role": "user", "content": content},
        "parent_tool_use_id": None,
        "uuid": uuid,
        "origin": {"kind": "human"},
    }


def request_frame(request_id: str, subtype: str, fields: Mapping[str, Any]) -> Frame:
    """Return a control request of ours."""
    request = {"subtype": subtype, **fields}
    return {"type": "control_request", "request_id": request_id, "request": request}


def response_frame(request_id: str, response: Mapping[str, Any]) -> Frame:
    """Return our answer to a control request of the process."""
    body = {"subtype": "success", "request_id": request_id, "response": response}
    return {"type": "control_response", "response": body}


def unread_result(user_uuids: Sequence[str] = ()) -> Frame:
    """Return the `result` of a turn whose own `result` can't be read: the turn has failed."""
    return {
        "type": "result",
        "subtype": "error_unreadable",
        "is_error": True,
        "terminal_reason": "unreadable",
        "errors": ["Whether the turn has finished is not known: claude's report can't be read"],
        "user_message_uuids": [*user_uuids],
    }


def refusal_frame(request_id: str, error: str) -> Frame:
    """Return our refusal of a control request of the process."""
    body = {"subtype": "error", "request_id": request_id, "error": error}
    return {"type": "control_response", "response": body}
