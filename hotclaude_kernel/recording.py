"""A turn's recording: the frames that its final state is made of, as lines.

Deltas are a preview and are left out; what is kept is parsed again by the code that reads a live
process, so that a recorded turn is shown by the same path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .parsing import parse
from .protocol import Decided, dumps, loads

if TYPE_CHECKING:
    from .protocol import Event, Frame

# States of the process, which a turn shown again has no use for.
PASSING = frozenset({"status", "session_state_changed", "api_retry"})
DECIDED = "hotclaude_decided"


class Tape:
    """Hears the frames of one turn and keeps those that last."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []

    def __call__(self, frame: Frame) -> None:
        """Hear one frame."""
        kind, subtype = frame.get("type"), frame.get("subtype")
        if kind != "stream_event" and not (kind == "system" and subtype in PASSING):
            self._lines.append(dumps(frame))

    def decided(self, decided: Decided) -> None:
        """Keep what the user decided; the process sends no frame that says so."""
        frame = {"type": DECIDED, "id": decided.tool_use_id, "decision": decided.decision}
        self._lines.append(dumps(frame))

    @property
    def lines(self) -> bytes:
        """What was kept."""
        return b"".join(self._lines)


def events(lines: bytes) -> list[Event]:
    """Return the events of a recording, in order."""
    found: list[Event] = []
    for line in lines.splitlines():
        frame = loads(line) or {}
        if frame.get("type") == DECIDED:
            found.append(Decided(tool_use_id=frame["id"], decision=frame["decision"]))
        else:
            found += parse(frame)
    return found
