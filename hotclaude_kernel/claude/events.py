"""Events: what the program reads of the frames that a process sends.

`parsing` makes them of frames, and skips the frames that it does not know: the binary gains frame
types with every release, and none of them may stop a turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from .frames import Frame


class TurnStarted(Struct, frozen=True, kw_only=True):
    """`system/init`, sent at the start of every turn: who answers, and how."""

    session_id: str
    model: str
    permission_mode: str
    tools: tuple[str, ...] = ()


class Requesting(Struct, frozen=True, kw_only=True):
    """The API was asked and has not answered yet."""


class MessageStarted(Struct, frozen=True, kw_only=True):
    """A message of the model begins. A second one without blocks in between is a retry."""

    message_id: str


class BlockStarted(Struct, frozen=True, kw_only=True):
    """A content block begins: `kind` is text, thinking or tool_use."""

    index: int
    kind: str
    tool_name: str = ""


class Delta(Struct, frozen=True, kw_only=True):
    """A piece of a content block, a preview only: the `Block` is the truth."""

    index: int
    kind: str
    text: str


class MessageStopped(Struct, frozen=True, kw_only=True):
    """The model's message ended; the API owes nothing until the next `Requesting`."""


class Block(Struct, frozen=True, kw_only=True):
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


class ToolResult(Struct, frozen=True, kw_only=True):
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


class Retry(Struct, frozen=True, kw_only=True):
    """The API failed and is asked again in `delay_s`. What was streamed of the answer is void."""

    attempt: int
    max_retries: int
    delay_s: float
    status: int | None
    error: str


class Notice(Struct, frozen=True, kw_only=True):
    """Something the binary tells its user: a fallback model, a compaction, a warning.

    `tool_use_id` is the call that a task's end belongs to.
    """

    kind: str
    text: str
    tool_use_id: str = ""


class StateChanged(Struct, frozen=True, kw_only=True):
    """The session's state: running, requires_action or idle."""

    state: str


class Decided(Struct, frozen=True, kw_only=True):
    """What the user decided on a tool use. It is ours; the process sends no such frame."""

    tool_use_id: str
    decision: str


class ModeChanged(Struct, frozen=True, kw_only=True):
    """The permission mode is another one: a plan was approved, or it was set."""

    mode: str


class Usage(Struct, frozen=True, kw_only=True):
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


class Result(Struct, frozen=True, kw_only=True):
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
    usage: Usage = Usage()
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
