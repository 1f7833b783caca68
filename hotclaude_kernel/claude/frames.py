"""Stream-json frames, and the events that `parsing` makes of them.

The process speaks one JSON object a line. A *frame* is that object as it came; an *event* is the
view of it that the rest of the program uses. What is not known is skipped: the binary gains frame
types with every release and none of them may stop a turn.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
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

    Only `\\n` ends a line: the binary escapes every other line separator. The open rest is kept as
    a list of chunks and joined once, so that a line of many megabytes costs what it weighs.
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
    """Return the object on `line`, or `None` if there is none (noise on stdout is not fatal)."""
    try:
        value = orjson.loads(line) if orjson else json.loads(line)
    except ValueError:
        # orjson refuses lone surrogates, which a delta that splits an emoji does hold.
        try:
            value = json.loads(line)
        except ValueError:
            return None
    return value if isinstance(value, dict) else None


def dumps(frame: Mapping[str, Any]) -> bytes:
    """Return `frame` as one line. ASCII only: the process dies on a line that it can't parse."""
    return json.dumps(frame, separators=(",", ":")).encode("ascii") + b"\n"


def whole(text: str) -> str:
    """Return `text` with surrogate pairs joined and lone ones replaced; most text has none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


# --- what we write ---------------------------------------------------------------------------


class UserMessage(TypedDict):
    """The content of a user frame."""

    role: str
    content: str | list[dict[str, Any]]


class UserFrame(TypedDict):
    """One prompt. A `uuid` that was used before is dropped without a result: mint a new one."""

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
    """Return our answer to a control request of theirs."""
    body = {"subtype": "success", "request_id": request_id, "response": response}
    return {"type": "control_response", "response": body}


def refusal_frame(request_id: str, error: str) -> Frame:
    """Return the answer to a control request that we can't serve."""
    body = {"subtype": "error", "request_id": request_id, "error": error}
    return {"type": "control_response", "response": body}


# --- what we read ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnStarted:
    """`system/init`, sent at the start of every turn: who answers, and how."""

    session_id: str
    model: str
    permission_mode: str
    tools: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Requesting:
    """The API was asked and has not answered yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageStarted:
    """A message of the model begins. A second one without blocks in between is a retry."""

    message_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockStarted:
    """A content block begins: `kind` is text, thinking or tool_use."""

    index: int
    kind: str
    tool_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """A piece of a content block, a preview only: the `Block` is the truth."""

    index: int
    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageStopped:
    """The model's message ended; the API owes nothing until the next `Requesting`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A content block as it is in the transcript, whole. `model` is the one that wrote it.

    `parent` names the tool use of a subagent's block. `error` is set, and the text is an error
    message of the binary's own, where the API failed.
    """

    uuid: str
    message_id: str
    kind: str
    content: Frame
    model: str = ""
    parent: str | None = None
    error: str | None = None
    aborted: bool = False
    thinking_ms: float | None = None

    @property
    def text(self) -> str:
        """The block's text or thinking; empty for other kinds."""
        value = self.content.get(self.kind)
        return value if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What a tool returned.

    `detail` is the binary's structured form of it, where there is one; `pictures` are pairs of
    media type and base64.
    """

    uuid: str
    tool_use_id: str
    text: str
    is_error: bool
    parent: str | None = None
    detail: Any = None
    pictures: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """The API failed and is asked again in `delay_s`. What was streamed of the answer is void."""

    attempt: int
    max_retries: int
    delay_s: float
    status: int | None
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something the binary tells its user: a fallback model, a compaction, a warning.

    `tool_use_id` is the call that a task's end belongs to.
    """

    kind: str
    text: str
    tool_use_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged:
    """The session's state: running, requires_action or idle."""

    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What the user decided on a tool use. It is ours; the process sends no such frame."""

    tool_use_id: str
    decision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeChanged:
    """The permission mode is another one: a plan was approved, or it was set."""

    mode: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens and list price of one turn, all its requests and subagents together."""

    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    context_window: int | None = None

    @property
    def prompt_tokens(self) -> int:
        """Everything that was read, cached or not."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The end of a turn. `terminal_reason` decides, not `is_error`: an abort can say success."""

    session_id: str
    subtype: str
    is_error: bool
    terminal_reason: str
    text: str
    api_status: int | None = None
    stop_reason: str | None = None
    errors: tuple[str, ...] = ()
    user_uuids: tuple[str, ...] = ()
    usage: Usage = field(default_factory=Usage)
    structured_output: Any = None


Event = (
    TurnStarted
    | Requesting
    | MessageStarted
    | BlockStarted
    | Delta
    | MessageStopped
    | Block
    | ToolResult
    | Retry
    | Notice
    | StateChanged
    | ModeChanged
    | Decided
    | Result
)
