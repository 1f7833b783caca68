"""A turn's recording: its frames without the deltas, and the times at which its text came.

An allow-list says which fields of a frame are recorded: those that `parsing` reads, and none that
tells of the machine, the account or the time. Of a text delta only the time and the length are
recorded; a replay cuts the text into deltas by them.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from ..claude.events import Block, Delta, MessageStarted, Result
from ..claude.frames import DECIDED, dumps, loads
from ..claude.parsing import parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..claude.events import Decided, Event
    from ..claude.frames import Frame

# The recorded fields of a frame, by its type and (for `system`) subtype; `True` keeps one whole.
Kept = dict[str, Any]
MESSAGE: Kept = {"id": True, "role": True, "model": True, "content": True}
TOLD: Kept = {"content": True, "message": True, "tool_name": True}
KEPT: dict[tuple[str, str | None], Kept] = {
    ("assistant", None): {
        "message": MESSAGE,
        "parent_tool_use_id": True,
        "error": True,
        "is_api_error_message": True,
        "aborted": True,
        "thinking_duration_ms": True,
    },
    ("user", None): {
        "message": {"role": True, "content": True},
        "parent_tool_use_id": True,
        "tool_use_result": True,
        "isReplay": True,
    },
    ("system", "init"): {"model": True, "permissionMode": True, "tools": True},
    ("system", "status"): {"permissionMode": True},
    ("system", "model_fallback"): TOLD,
    ("system", "informational"): TOLD,
    ("system", "permission_denied"): TOLD,
    ("system", "task_notification"): {"status": True, "summary": True, "tool_use_id": True},
    ("system", "compact_boundary"): {},
    ("rate_limit_event", None): {"rate_limit_info": {"status": True, "rateLimitType": True}},
    ("result", None): {
        "is_error": True,
        "terminal_reason": True,
        "stop_reason": True,
        "result": True,
        "errors": True,
        "api_error_status": True,
        "model_usage_since_last_result": True,
        "structured_output": True,
    },
    (DECIDED, None): {"id": True, "decision": True},
}
# Recorded of every frame. The subtypes of a result are too many for `KEPT`.
ALWAYS = ("type", "subtype")


def kept(frame: Frame) -> Frame | None:
    """Return the recorded part of a frame, `None` if the frame is not recorded."""
    kind = str(frame.get("type"))
    subtype = frame.get("subtype") if kind == "system" else None
    allowed = KEPT.get((kind, subtype))
    if allowed is None:
        return None
    if subtype == "status" and not frame.get("permissionMode"):
        return None
    named = {name: frame[name] for name in ALWAYS if name in frame}
    return named | _only(frame, allowed)


def _only(value: Mapping[str, Any], allowed: Kept) -> Frame:
    found = {}
    for name, inner in allowed.items():
        if value.get(name) is None:
            continue
        is_frame = isinstance(inner, dict) and isinstance(value[name], dict)
        found[name] = _only(value[name], inner) if is_frame else value[name]
    return found


class Tape:
    """The recorder of one turn: it is called with each frame and the events that are in it.

    It keeps the recorded part of the frame. Whatever it reads itself, it reads from the events:
    their types were checked.


    `uuid` is the prompt's. With the result that is of this prompt the recording ends.
    """

    def __init__(self, uuid: str = "") -> None:
        self._uuid = uuid
        self._ended = False
        self._frames: list[Frame] = []
        self._track: list[tuple[int, int]] = []  # of the text block that is streaming
        self._tracks: dict[int, list[tuple[int, int]]] = {}
        self._began = time.monotonic()

    def __call__(self, frame: Frame, events: Sequence[Event]) -> None:
        """Record one frame."""
        results = [event for event in events if isinstance(event, Result)]
        if self._ended or not all(map(self._ours, results)):
            return
        self._ended = bool(results)
        for event in events:
            self._hear(event)
        if frame.get("type") == "user":
            frame = _results(frame)
        if (recorded := kept(frame)) is not None:
            self._frames.append(recorded)

    def _ours(self, result: Result) -> bool:
        """Whether a result ends this turn, and not a queued one before it."""
        return not self._uuid or self._uuid in (result.user_uuids or (self._uuid,))

    def _hear(self, event: Event) -> None:
        match event:
            case MessageStarted():
                self._track = []  # a retried message streams its text from the start
            case Delta(kind="text"):
                spent = time.monotonic() - self._began
                self._track.append((round(spent * 1000), len(event.text)))
            case Block(kind="text") if self._track:
                self._tracks[len(self._frames)] = self._track
                self._track = []

    def decided(self, decided: Decided) -> None:
        """Record a decision of the user; the process sends no frame for it."""
        frame = {"type": DECIDED, "id": decided.tool_use_id, "decision": decided.decision}
        self._frames.append(frame)

    @property
    def frames(self) -> bytes:
        """The recorded frames, as JSON lines."""
        return b"".join(map(dumps, self._frames))

    @property
    def deltas(self) -> bytes:
        """The times of the text deltas, as JSON; empty if no text was streamed.

        The JSON is `{frame number: [[ms since the turn began, characters], …]}`.
        """
        return json.dumps(self._tracks, separators=(",", ":")).encode() if self._tracks else b""


def _results(frame: Frame) -> Frame:
    """Return a user's frame with the results of tools alone: nothing else of it is shown."""
    message = frame["message"]
    content = [block for block in message["content"] if block.get("type") == "tool_result"]
    return {**frame, "message": {**message, "content": content}}


def lines(frames: bytes) -> list[Frame]:
    """Return the frames of a recording, from their JSON lines."""
    return [frame for line in frames.splitlines() if (frame := loads(line)) is not None]


def events(frames: bytes) -> list[Event]:
    """Return the events of a recording, in order."""
    return [event for frame in lines(frames) for event in parse(frame)]
