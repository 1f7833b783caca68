"""Events: the parsed form of the frames that a claude process sends.

`parsing` turns frames into events, and `shapes` holds their fields to the annotations here. Unknown
frames are skipped: each release of the binary adds frame types, and none of them may stop a turn.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from .frames import Frame  # noqa: TC001 - `shapes` checks a field by its annotation
from .shapes import Amount, Count  # noqa: TC001


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
    """A streamed piece of a content block: a preview. The `Block` that follows holds all of it."""

    index: int
    kind: str
    text: str


class MessageStopped(Struct, frozen=True, kw_only=True):
    """The model's message ended; the API owes nothing until the next `Requesting`."""


class Block(Struct, frozen=True, kw_only=True):
    """A complete content block, as the transcript has it.

    `model` is the one that wrote it. In a subagent's block, `parent` is the id of the tool use
    that started the subagent. If the API failed, `error` is set and the text is an error message
    of the binary.
    """

    uuid: str
    message_id: str
    kind: str
    content: Frame
    model: str = ""
    parent: str | None = None
    error: str | None = None
    aborted: bool = False
    thinking_ms: Amount | None = None

    @property
    def text(self) -> str:
        """The block's text or thinking; empty for other kinds."""
        value = self.content.get(self.kind)
        return value if isinstance(value, str) else ""


class ToolResult(Struct, frozen=True, kw_only=True):
    """The result of a tool use.

    `detail` is the binary's structured form of the result, `None` if it has none. `pictures` are
    pairs of media type and base64 data.
    """

    uuid: str
    tool_use_id: str
    text: str
    is_error: bool
    parent: str | None = None
    detail: Any = None
    pictures: tuple[tuple[str, str], ...] = ()


class Retry(Struct, frozen=True, kw_only=True):
    """The API failed and is asked again in `delay_s` seconds. The text streamed so far is void.

    `status` is the HTTP status, `None` if the API was not reached.
    """

    attempt: Count
    max_retries: Count
    delay_s: Amount
    status: int | None
    error: str


class Notice(Struct, frozen=True, kw_only=True):
    """A message of the binary to its user: a fallback model, a compaction, a warning.

    For the end of a task, `tool_use_id` is the tool use that started the task.
    """

    kind: str
    text: str
    tool_use_id: str = ""


class StateChanged(Struct, frozen=True, kw_only=True):
    """The session's state: running, requires_action or idle."""

    state: str


class Decided(Struct, frozen=True, kw_only=True):
    """The user's decision on a tool use. hotclaude makes it; the process sends no such frame."""

    tool_use_id: str
    decision: str


class ModeChanged(Struct, frozen=True, kw_only=True):
    """The permission mode changed: the user approved a plan, or a mode was set."""

    mode: str


class Usage(Struct, frozen=True, kw_only=True):
    """Tokens of one turn, and its list price in US dollars, as claude reports them.

    They are sums over all requests of the turn, subagents included. `context_window` is in tokens.
    """

    input_tokens: Count = 0
    cache_read_tokens: Count = 0
    cache_write_tokens: Count = 0
    output_tokens: Count = 0
    cost_usd: Amount = 0.0
    context_window: Count | None = None

    @property
    def prompt_tokens(self) -> int:
        """The tokens that the model read: uncached, from the cache, and written to the cache."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens


class Result(Struct, frozen=True, kw_only=True):
    """The end of a turn. Judge it by `terminal_reason`: an aborted turn can report success."""

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
