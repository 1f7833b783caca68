"""A turn: while it is asked, and as the value that is recorded, replayed and audited."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec import Struct, field

from ..claude.events import (
    Block,
    Delta,
    MessageStarted,
    MessageStopped,
    Notice,
    Requesting,
    Retry,
    ToolResult,
    TurnStarted,
    Usage,
)
from . import identity
from .identity import Key
from .settings import Settings
from .tape import Tape, events
from .tree import SNIPPET, Node

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..claude.events import Event
    from ..claude.frames import Frame
    from ..errors import HotClaudeError
    from .prompt import Prompt


# What frames that a process never sent make the parser do.
UNREADABLE = (LookupError, TypeError, ValueError, AttributeError, RecursionError)
NO_KEY = Key("", "")


class Clock(Struct, kw_only=True):
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


class Turn(Struct, kw_only=True, eq=False):
    """One prompt and everything until its result, as it is asked or replayed.

    `status` is running, ok, error, interrupted or crashed. `error` is what the user was told.
    `uuid` names the prompt in the transcript, `last_uuid` its last entry. `key` and `settings` are
    those that it is asked under; what a later cell sets does not change them. `recorded` is what
    stays of it in the history, `None` where nothing does.
    """

    prompt: Prompt
    uuid: str
    number: int
    key: Key = NO_KEY
    settings: Settings = field(default_factory=Settings)
    clock: Clock | None = None  # of a turn that is asked; what is replayed has its recorded times
    status: str = "running"
    error: HotClaudeError | None = None
    recorded: Recorded | None = None
    session_id: str = ""
    session_pid: int | None = None
    model: str = ""
    last_uuid: str = ""
    usage: Usage = field(default_factory=Usage)
    # Everything but the deltas: enough to show the turn again as it was.
    events: list[Event] = field(default_factory=list)
    tape: Tape | None = None
    awaiting_api: bool = True
    patience_until: float = 0.0
    stalled: bool = False
    # Taken out of the history again, because it did not finish; lost with its process.
    cut: bool = False
    lost: bool = False
    saved_s: float = 0.0  # what a warm process has saved it, against starting one for it
    priced: bool = False  # whether the list price is the user's own
    replayed: bool = False  # its numbers are those of the recording, and nothing was charged

    @property
    def hot(self) -> bool:
        """Whether the process had answered before, so that the turn did not pay for its start."""
        return self.clock is not None and self.clock.hot

    @property
    def first_text_s(self) -> float | None:
        """Seconds from sending to the first word, `None` if there was none."""
        if self.clock is not None:
            return self.clock.first_text_s
        return self.recorded.first_text_s if self.recorded else None

    @property
    def total_s(self) -> float:
        """Seconds from sending to the end, or until now."""
        if self.clock is not None:
            return self.clock.total_s
        return self.recorded.total_s if self.recorded else 0.0

    @property
    def node(self) -> str | None:
        """Its place in the tree, once it has one."""
        return self.recorded.node.id if self.recorded else None

    @property
    def about(self) -> Frame:
        """What identifies it in a saved notebook."""
        return self.recorded.about(self.key.settings) if self.recorded else {}

    def take(self, event: Event) -> None:
        """Note an event; deltas are a preview and are not kept."""
        match event:
            case Delta():
                if event.kind == "text":
                    self._note_text()
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
                self._note_text()
            case ToolResult(parent=None):
                self.last_uuid = event.uuid
        self.events.append(event)

    def _note_text(self) -> None:
        if self.clock is not None and self.clock.first_text is None:
            self.clock.first_text = time.monotonic()

    @property
    def text(self) -> str:
        """The answer: the text blocks, joined as paragraphs."""
        return answer_of(self.events)

    def end(self, status: str, error: HotClaudeError | None = None) -> None:
        """Close the turn."""
        self.status, self.error = status, error
        if self.clock is not None:
            self.clock.ended = time.monotonic()


class Recorded(Struct, frozen=True, kw_only=True):
    """A finished turn: its place in the tree, what was asked, and what came of it.

    `frames` is what the process said, as lines; `deltas` is when its text came. `entries` is what
    the turn added to its transcript, empty where that was not read or is not on this machine.
    `priced` says whether the list price was the user's. `replays` says whether it is what its key
    replays: of several answers to the same question one is. Seconds are of the live turn.
    """

    node: Node
    prompt: Prompt
    settings: Settings
    frames: bytes
    deltas: bytes = b""
    entries: bytes = b""
    cli: str = ""
    first_text_s: float | None = None
    total_s: float = 0.0
    priced: bool = False
    replays: bool = True

    @property
    def events(self) -> list[Event]:
        """What happened in it, in order."""
        return events(self.frames)

    @property
    def answer(self) -> str:
        """The answer's text."""
        return answer_of(self.events)

    @property
    def pure(self) -> bool:
        """Whether no tool was used, which may depend on more than the conversation."""
        return not any(isinstance(e, Block) and e.kind == "tool_use" for e in self.events)

    @property
    def derived_key(self) -> str:
        """The key that follows from what was asked."""
        return identity.turn_key(
            parent=self.node.parent, prompt=self.prompt, settings=self.settings
        )

    def fault(self) -> str:
        """Return what does not follow from the turn's content, nothing where all of it does."""
        if self.derived_key != self.node.key:
            return "its key does not follow from what was asked"
        try:
            node = identity.node_digest(self.node.key, identity.canonical_response(self.events))
        except UNREADABLE as error:
            return f"its frames can't be read ({type(error).__name__})"
        return "" if node == self.node.id else "its node does not follow from its frames"

    def about(self, settings_key: str) -> Frame:
        """Return what identifies the turn in a saved notebook: the same live and replayed.

        `settings_key` is the digest of its keyed settings.
        """
        usage = self.node.usage
        return {
            "v": 1,
            "key": self.node.key,
            "node": self.node.id,
            "parent": self.node.parent,
            "settings": settings_key,
            "model": self.node.model,
            "cli": self.cli,
            "tokens": {
                "input": usage.input_tokens,
                "cache_read": usage.cache_read_tokens,
                "cache_write": usage.cache_write_tokens,
                "output": usage.output_tokens,
            },
            "cost_usd": round(usage.cost_usd, 6),
        }


def recorded(turn: Turn, *, parent: str | None, entries: bytes, cli: str) -> Recorded:
    """Return an ended turn as it is recorded, behind the node `parent`."""
    node = Node(
        id=identity.node_digest(turn.key.turn, identity.canonical_response(turn.events)),
        parent=parent,
        number=turn.number,
        prompt=turn.prompt.text[:SNIPPET],
        status=turn.status,
        cell_id=turn.prompt.cell_id,
        key=turn.key.turn,
        settings=identity.settings_name(turn.settings),
        uuid=turn.uuid,
        compacted=any(isinstance(e, Notice) and e.kind == "compacted" for e in turn.events),
        model=turn.model,
        usage=turn.usage,
        ended=time.time(),
    )
    return Recorded(
        node=node,
        prompt=turn.prompt,
        settings=turn.settings,
        frames=turn.tape.frames if turn.tape else b"",
        deltas=turn.tape.deltas if turn.tape else b"",
        entries=entries,
        cli=cli,
        first_text_s=turn.first_text_s,
        total_s=turn.total_s,
        priced=turn.priced,
    )


def answer_of(events: Iterable[Event]) -> str:
    """Return what was answered in a turn, without what subagents said and the binary's errors."""
    blocks = [e for e in events if isinstance(e, Block) and e.kind == "text"]
    return "\n\n".join(b.text for b in blocks if b.parent is None and not b.error)
