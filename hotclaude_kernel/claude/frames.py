"""Stream-json frames: bytes to frames, frames to bytes, and the frames that we write.

The process writes and reads one JSON object a line. A *frame* is such an object, unchanged; an
*event* is its parsed form, which the rest of the program uses (see `events`).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, TypedDict

try:
    import orjson
except ImportError:  # orjson has no wheel for every platform; the standard library does it slower
    orjson = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Mapping

Frame = dict[str, Any]

DECIDED = "hotclaude_decided"  # a frame of ours, in recordings: what the user decided


class LineFramer:
    """Cuts a byte stream into lines, whatever their length.

    Only `\\n` ends a line: the binary escapes every other line separator. The unfinished line is
    kept as a list of chunks and joined once, so the time to read a line grows with its length and
    not with the square of it.
    """

    def __init__(self) -> None:
        self._open: list[bytes] = []

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that `chunk` completes, without their ends and without empty ones."""
        head, *tail = chunk.split(b"\n")
        self._open.append(head)
        if not tail:
            return []
        lines = [b"".join(self._open), *tail[:-1]]
        self._open = [tail[-1]]
        return [line for line in lines if line.strip()]


def loads(line: bytes) -> Frame | None:
    """Return the JSON object on `line`, `None` if it holds none (noise on stdout is not fatal)."""
    try:
        value = orjson.loads(line) if orjson else json.loads(line)
    except ValueError:
        # orjson refuses a lone surrogate, and a delta that splits an emoji holds one.
        try:
            value = json.loads(line)
        except ValueError:
            return None
    return value if isinstance(value, dict) else None


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


def refusal_frame(request_id: str, error: str) -> Frame:
    """Return our refusal of a control request of the process."""
    body = {"subtype": "error", "request_id": request_id, "error": error}
    return {"type": "control_response", "response": body}
