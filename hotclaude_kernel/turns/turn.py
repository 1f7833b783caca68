"""The values of a conversation: what is asked, under which settings, and what became of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..claude.events import (
    Block,
    Delta,
    MessageStarted,
    MessageStopped,
    Requesting,
    Retry,
    ToolResult,
    TurnStarted,
    Usage,
)
from .settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..claude.events import Event
    from ..claude.frames import Frame
    from ..errors import HotClaudeError
    from .prompt import Prompt
    from .tape import Tape


@dataclass(slots=True, kw_only=True)
class Clock:
    """When things happened in a turn, in seconds of the monotonic clock.

    `hot` is false where the process had not answered before, so that the turn paid for its start.
    """

    hot: bool
    sent: float = field(default_factory=time.monotonic)
    first_text: float | None = None
    ended: float | None = None

    @property
    def first_text_s(self) -> float | None:
        """Seconds from sending to the first word, `None` if there was none."""
        return None if self.first_text is None else self.first_text - self.sent

    @property
    def total_s(self) -> float:
        """Seconds from sending to the end, or until now."""
        return (self.ended or time.monotonic()) - self.sent


@dataclass(slots=True, kw_only=True)
class Turn:
    """One prompt and everything until its result.

    `status` is running, ok, error, interrupted or crashed. `error` is what the user was told.
    `uuid` names the prompt in the transcript, `last_uuid` its last entry.
    """

    prompt: Prompt
    uuid: str
    clock: Clock
    number: int
    status: str = "running"
    error: HotClaudeError | None = None
    session_id: str = ""
    session_pid: int | None = None
    model: str = ""
    last_uuid: str = ""
    usage: Usage = field(default_factory=Usage)
    # Everything but the deltas: enough to show the turn again as it was.
    events: list[Event] = field(default_factory=list)
    # Taken out of the history again, because it did not finish.
    cut: bool = False
    awaiting_api: bool = True
    patience_until: float = 0.0
    stalled: bool = False
    # What it was asked under, which settings of a later cell don't change.
    settings: Settings = field(default_factory=Settings)
    node: int | None = None  # its place in the tree, once it has one
    about: Frame = field(default_factory=dict)  # what identifies it, for the saved notebook
    saved_s: float = 0.0  # what a warm process has saved it, against starting one for it
    tape: Tape | None = None
    priced: bool = False  # whether the list price is the user's own
    replayed: bool = False  # its numbers are those of the recording, and nothing was charged

    def take(self, event: Event) -> None:
        """Note an event; deltas are a preview and are not kept."""
        match event:
            case Delta():
                if self.clock.first_text is None and event.kind == "text":
                    self.clock.first_text = time.monotonic()
                return
            case TurnStarted():
                self.model = event.model
            case Requesting() | MessageStarted():
                self.awaiting_api = True
            case MessageStopped():
                self.awaiting_api = False
            case Retry():
                self.patience_until = time.monotonic() + event.delay_s
            case Block(parent=None, error=None):
                self.last_uuid, self.model = event.uuid, event.model or self.model
                self.clock.first_text = self.clock.first_text or time.monotonic()
            case ToolResult(parent=None):
                self.last_uuid = event.uuid
        self.events.append(event)

    @property
    def text(self) -> str:
        """The answer: the text blocks, joined as paragraphs."""
        return answer_of(self.events)

    def end(self, status: str, error: HotClaudeError | None = None) -> None:
        """Close the turn."""
        self.status, self.error = status, error
        self.clock.ended = time.monotonic()


def answer_of(events: Iterable[Event]) -> str:
    """Return what was answered in a turn, without what subagents said and the binary's errors."""
    blocks = [e for e in events if isinstance(e, Block) and e.kind == "text"]
    return "\n\n".join(b.text for b in blocks if b.parent is None and not b.error)
