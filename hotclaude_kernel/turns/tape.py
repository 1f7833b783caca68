"""A turn's recording: the frames that its final state is made of, and when its text came.

A frame is recorded by an allow-list: what `parsing` reads of it, and nothing that tells of the
machine, the account or the moment. Deltas are a preview and are left out; a track of their times
and lengths is kept, by which they can be played again.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from ..claude.frames import DECIDED, dumps, loads
from ..claude.parsing import parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..claude.events import Decided, Event
    from ..claude.frames import Frame

# What is kept of a frame, by its type and subtype; `True` keeps a field as it is.
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
# Of a result the subtype says something, and there are many.
ALWAYS = ("type", "subtype")


def kept(frame: Frame) -> Frame | None:
    """Return what is recorded of a frame, `None` if nothing is."""
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
    """Hears the frames of one turn and keeps what is recorded of them."""

    def __init__(self) -> None:
        self._frames: list[Frame] = []
        self._track: list[tuple[int, int]] = []  # of the text block that is streaming
        self._tracks: dict[int, list[tuple[int, int]]] = {}
        self._began = time.monotonic()

    def __call__(self, frame: Frame) -> None:
        """Hear one frame."""
        if frame.get("type") == "stream_event":
            self._hear(frame["event"])
        elif (recorded := kept(frame)) is not None:
            if self._track and frame.get("type") == "assistant" and _is_text(frame):
                self._tracks[len(self._frames)] = self._track
                self._track = []
            self._frames.append(recorded)

    def _hear(self, event: Frame) -> None:
        if event["type"] == "message_start":
            self._track = []  # a retried message begins again
        delta = event.get("delta") or {}
        if delta.get("type") == "text_delta":
            spent = time.monotonic() - self._began
            self._track.append((round(spent * 1000), len(delta["text"])))

    def decided(self, decided: Decided) -> None:
        """Keep what the user decided; the process sends no frame that says so."""
        frame = {"type": DECIDED, "id": decided.tool_use_id, "decision": decided.decision}
        self._frames.append(frame)

    @property
    def frames(self) -> bytes:
        """What was kept, a line each."""
        return b"".join(map(dumps, self._frames))

    @property
    def deltas(self) -> bytes:
        """When the text came: milliseconds and characters of each delta, by the frame's number."""
        return json.dumps(self._tracks, separators=(",", ":")).encode() if self._tracks else b""


def _is_text(frame: Frame) -> bool:
    return any(block.get("type") == "text" for block in frame["message"]["content"])


def lines(frames: bytes) -> list[Frame]:
    """Return the frames of a recording."""
    return [frame for line in frames.splitlines() if (frame := loads(line)) is not None]


def events(frames: bytes) -> list[Event]:
    """Return the events of a recording, in order."""
    return [event for frame in lines(frames) for event in parse(frame)]
