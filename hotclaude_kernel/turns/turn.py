"""A turn: `Turn` while it runs, `Recorded` as the value that is stored, replayed and verified."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from ..claude.events import (
    Block,
    Decided,
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
from .conditions import NONE, Conditions
from .identity import Key
from .prompt import Prompt  # noqa: TC001 - a journal is decoded by the types of `Recorded`
from .settings import Settings
from .tape import Tape, events, lines
from .tree import SNIPPET, Node

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..claude.events import Event
    from ..claude.frames import Frame
    from ..errors import HotClaudeError

# The errors of parsing frames that are damaged or that no process sent.
UNREADABLE = (LookupError, TypeError, ValueError, AttributeError, RecursionError)
NO_KEY = Key("", "")


class Clock(Struct, kw_only=True):
    """When things happened in a turn, in seconds of the monotonic clock.

    `hot` says whether the process had answered a turn before. If not, this turn also paid for the
    start of the process.
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
    """One prompt and everything until its result, while it is asked or replayed.

    `status` is running, ok, error, interrupted or crashed. `error` is what the user was told.
    `uuid` names the prompt in the transcript, `last_uuid` the last entry of the answer. `key` and
    `settings` are fixed when the turn is asked; a later cell does not change them. `recorded` is
    the finished turn, `None` if the turn does not stay in the history.
    """

    prompt: Prompt
    uuid: str
    number: int
    key: Key = NO_KEY
    settings: Settings = field(default_factory=Settings)
    clock: Clock | None = None  # of a live turn; a replayed turn has its recorded times
    status: str = "running"
    error: HotClaudeError | None = None
    recorded: Recorded | None = None
    conditions: Conditions = NONE
    absent: tuple[str, ...] = ()  # files of a replayed turn's prompt that don't exist here
    session_id: str = ""
    session_pid: int | None = None
    model: str = ""
    last_uuid: str = ""
    usage: Usage = field(default_factory=Usage)
    # All events but the deltas: enough to show the turn again.
    events: list[Event] = field(default_factory=list)
    tape: Tape | None = None
    awaiting_api: bool = True
    patience_until: float = 0.0  # until then the API waits to retry, and may be silent
    stalled: bool = False
    # `cut`: removed from the process's history, as it did not finish. `lost`: its process ended.
    cut: bool = False
    lost: bool = False
    saved_s: float = 0.0  # how much sooner it began than if a process had been started for it
    priced: bool = False  # whether the user pays the list price
    replayed: bool = False  # then its numbers are from the recording, and nothing was charged
    # Where a replayed turn comes from: record, outputs, folder, or a kind and a file's name, like
    # `cassette nb.hotclaude.jsonl`. Empty for a live turn.
    source: str = ""

    @property
    def hot(self) -> bool:
        """Whether the process had answered before, so the turn did not wait for its start."""
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
        """The id of its node in the tree, `None` if it has none (yet)."""
        return self.recorded.node.id if self.recorded else None

    @property
    def about(self) -> Frame:
        """The metadata that identify it in a saved notebook, empty if it is not recorded."""
        return self.recorded.about(self.key.settings) if self.recorded else {}

    def take(self, event: Event) -> None:
        """Add an event to the turn. Deltas are previews and are not kept."""
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
        """Set the final status, and the time of the end."""
        self.status, self.error = status, error
        if self.clock is not None:
            self.clock.ended = time.monotonic()

    def shed(self) -> None:
        """Drop what was said, of which the record has a copy; numbers and names stay."""
        self.events = []
        if self.recorded is not None:
            self.recorded = replace(self.recorded, frames=b"", deltas=b"", entries=b"")


class Recorded(Struct, frozen=True, kw_only=True):
    """A finished turn: its place in the tree, its question and its answer.

    `frames` are the recorded frames as JSON lines, `deltas` the times of the text (see `Tape`).
    `entries` are the lines that the turn added to its transcript, empty if they were not read or
    are not on this machine. `cli` is the version of claude. `priced` says whether the user paid the
    list price. `replays` says whether this turn is replayed for its key: of several answers to one
    question, one is. `first_text_s` and `total_s` are seconds of the live turn. `conditions` are
    those under which it was asked; `pulled` is the digest of their files, a part of the node.
    `elsewhere` says that this machine has no transcript of the turn: it comes from a cassette.
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
    conditions: Conditions = NONE
    elsewhere: bool = False
    pulled: str = ""

    @property
    def events(self) -> list[Event]:
        """The events of the turn, in order."""
        return events(self.frames)

    @property
    def shown(self) -> list[Event]:
        """The events of the turn as they are shown again."""
        return list(map(as_recorded, self.events)) if self.elsewhere else self.events

    @property
    def answer(self) -> str:
        """The answer's text."""
        return answer_of(self.events)

    @property
    def pure(self) -> bool:
        """Whether no tool was used; a tool's result may depend on more than the conversation."""
        return not any(isinstance(e, Block) and e.kind == "tool_use" for e in self.events)

    @property
    def derived_key(self) -> str:
        """The key, computed anew from the question."""
        return identity.turn_key(
            parent=self.node.parent, prompt=self.prompt, settings=self.settings
        )

    def fault(self) -> str:
        """Check the key, the node and the frames; return the fault, empty if all fits.

        The frames are checked by their grammar, and it is named by its number where one is at
        fault.
        """
        from . import grammar  # imported here because only a check needs it

        if self.derived_key != self.node.key:
            return "its key does not follow from what was asked"
        try:
            response = identity.canonical_response(self.events)
            node = identity.node_digest(self.node.key, response, self.pulled)
            if node != self.node.id:
                return "its node does not follow from its frames"
            return grammar.fault(lines(self.frames))
        except UNREADABLE as error:
            return f"its frames can't be read ({type(error).__name__})"

    def about(self, settings_key: str) -> Frame:
        """Return the metadata that identify the turn in a saved notebook.

        They are the same for a live turn and its replay. `settings_key` is the digest of the keyed
        settings.
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
    """Return the recorded form of an ended turn that follows the node `parent`.

    `entries` are the lines that the turn added to its transcript, `cli` is the version of claude.
    """
    pulled = identity.files_digest(turn.conditions.files)
    response = identity.canonical_response(turn.events)
    node = Node(
        id=identity.node_digest(turn.key.turn, response, pulled),
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
        settings=identity.sealed(turn.settings),
        frames=turn.tape.frames if turn.tape else b"",
        deltas=turn.tape.deltas if turn.tape else b"",
        entries=entries,
        cli=cli,
        first_text_s=turn.first_text_s,
        total_s=turn.total_s,
        priced=turn.priced,
        conditions=turn.conditions,
        pulled=pulled,
    )


def as_recorded(event: Event) -> Event:
    """Return an event of a turn from elsewhere as it is shown.

    Whoever wrote the recording wrote what it says of decisions and notices: they are not the user's
    own, nor those of this machine's `claude`, and are not shown as such.
    """
    match event:
        case Decided():
            return replace(event, decision=f"{event.decision}, as recorded")
        case Notice() if event.kind != "compacted":
            return replace(event, text=f"Recorded: {event.text}")
    return event


def answer_of(events: Iterable[Event]) -> str:
    """Return the text of the answer, without text of subagents and error messages of the binary."""
    blocks = [e for e in events if isinstance(e, Block) and e.kind == "text"]
    return "\n\n".join(b.text for b in blocks if b.parent is None and not b.error)
