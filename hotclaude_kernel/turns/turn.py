"""The values of a conversation: what is asked, under which settings, and what became of it."""

from __future__ import annotations

import base64
import os
import time
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..claude.frames import (
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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..claude.frames import Event, Frame
    from ..errors import HotClaudeError
    from .tape import Tape

PERMISSION_MODES = ("default", "acceptEdits", "plan", "dontAsk", "auto", "bypassPermissions")
EFFORTS = ("low", "medium", "high", "xhigh", "max")


def _flag(
    flag: str | None,
    *,
    key: bool,
    live: bool = False,
    encode: Callable[[Any], list[str]] | None = None,
    default: Any = None,
) -> Any:
    """Declare a setting: its CLI flag, whether it changes the answer, whether it changes live."""
    metadata = {"flag": flag, "key": key, "live": live, "encode": encode}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How `claude` is started and asked. The argv is made from this value and nothing else.

    Each field is one CLI flag. `key` says whether it belongs to the identity of a turn, `live`
    whether a running process can change it; the others need a new process on the old conversation.
    """

    model: str | None = _flag("--model", key=True, live=True)
    effort: str | None = _flag("--effort", key=True, live=True)
    permission_mode: str = _flag("--permission-mode", key=True, live=True, default="default")
    system: str | None = _flag("--system-prompt", key=True)
    append_system: str | None = _flag("--append-system-prompt", key=True)
    tools: tuple[str, ...] | None = _flag(
        "--tools", key=True, encode=lambda tools: [",".join(tools)]
    )
    allowed_tools: tuple[str, ...] = _flag(
        "--allowedTools", key=True, default=(), encode=lambda tools: [",".join(tools)]
    )
    thinking_display: str | None = _flag("--thinking-display", key=False, default="summarized")
    fallback_model: str | None = _flag("--fallback-model", key=True)
    max_turns: int | None = _flag("--max-turns", key=True)
    setting_sources: tuple[str, ...] | None = _flag(
        "--setting-sources", key=True, encode=lambda names: [",".join(names)]
    )
    mcp_config: str | None = _flag("--mcp-config", key=True)
    extra_args: tuple[str, ...] = _flag(None, key=True, default=(), encode=list)
    # Not a flag but where the process stands; files it names are recorded, not keyed.
    cwd: str | None = _flag(None, key=False, encode=lambda _: [])

    def argv(self) -> list[str]:
        """Return the flags that these settings stand for."""
        argv: list[str] = []
        for spec in fields(self):
            value = getattr(self, spec.name)
            # Where unset is `None`, an empty tuple means "none of them", which is a flag too.
            if value is None or value == spec.default == ():
                continue
            encode = spec.metadata["encode"] or (lambda value: [str(value)])
            flag = spec.metadata["flag"]
            argv += [flag, *encode(value)] if flag else encode(value)
        return argv

    def changed(self, **changes: Any) -> Settings:
        """Return a copy with `changes`."""
        return replace(self, **changes)

    def differing(self, other: Settings) -> set[str]:
        """Return the names of the fields in which the two differ."""
        return {
            spec.name
            for spec in fields(self)
            if getattr(self, spec.name) != getattr(other, spec.name)
        }


# What a notebook on a shared hub may not loosen, and what it is held to: it reads, and nothing of
# the folder it lies in (settings, hooks, servers) is taken for an instruction.
RESTRICTED = {
    "permission_mode": "dontAsk",
    "tools": ("Glob", "Grep", "Read"),
    "allowed_tools": (),
    "setting_sources": (),
    "mcp_config": None,
    "extra_args": ("--strict-mcp-config",),
}
RESTRICTED_LOCKS = frozenset({*RESTRICTED, "cwd"})

LIVE_SETTINGS = frozenset(spec.name for spec in fields(Settings) if spec.metadata["live"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """An image that goes with a prompt."""

    name: str
    media_type: str
    data: bytes

    @property
    def block(self) -> Frame:
        """The image as a content block."""
        encoded = base64.b64encode(self.data).decode("ascii")
        source = {"type": "base64", "media_type": self.media_type, "data": encoded}
        return {"type": "image", "source": source}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What is asked: the text as it is sent, and the cell that asks it (where one is known)."""

    text: str
    cell_id: str | None = None
    attachments: tuple[Attachment, ...] = ()

    @property
    def content(self) -> str | list[Frame]:
        """What goes into the user frame."""
        if not self.attachments:
            return self.text
        return [{"type": "text", "text": self.text}, *(a.block for a in self.attachments)]


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


def transcript_path(config_dir: Path, session_id: str) -> Path | None:
    """Return where the process keeps the transcript of a session, `None` if it has none yet.

    A plain session id is looked up only under the folder of the current working directory, and
    how that is named depends on links; the id itself is unique.
    """
    return next(config_dir.glob(f"projects/*/{session_id}.jsonl"), None)


def config_dir() -> Path:
    """Return the folder in which the process keeps its transcripts."""
    return Path(os.environ.get("CLAUDE_CONFIG_DIR") or Path.home() / ".claude")
