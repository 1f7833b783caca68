"""A recording as the far side of a session: it answers the one prompt that it was made for.

So a recorded turn goes the way of a live one, from the session on; no process is started.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from ..claude.session import OLDEST_VERSION
from ..errors import ProcessDied
from ..turns.tape import lines

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..claude.frames import Frame

IDLE: Frame = {"type": "system", "subtype": "session_state_changed", "state": "idle"}


class RecordedTransport:
    """The frames of one turn, at once or at the pace at which they came."""

    def __init__(self, frames: bytes, deltas: bytes = b"", *, paced: bool = False) -> None:
        self._frames = lines(frames)
        self._tracks: dict[str, list[tuple[int, int]]] = (
            json.loads(deltas) if paced and deltas else {}
        )
        self._due: asyncio.Queue[list[Frame]] = asyncio.Queue()
        self._playing: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """There is no process."""
        return None

    async def open(self) -> None:
        """There is nothing to open."""

    async def read(self) -> list[Frame]:
        """Return the next frames."""
        return await self._due.get()

    def write(self, frame: Mapping[str, Any]) -> None:
        """Take a prompt, which is answered, or a request, which is granted."""
        if frame["type"] == "user":
            self._playing = asyncio.ensure_future(self._play())
        elif frame["type"] == "control_request":
            self._due.put_nowait([_granted(frame["request_id"])])
            if frame["request"]["subtype"] == "interrupt" and self._playing:
                self._playing.cancel()
                self._due.put_nowait([ABORTED, IDLE])

    async def _play(self) -> None:
        if not self._tracks:
            self._due.put_nowait([*self._frames, IDLE])
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number, frame in enumerate(self._frames):
            text, at = _text_of(frame), 0
            for ms, length in self._tracks.get(str(number), ()):
                await asyncio.sleep(began + ms / 1000 - loop.time())
                self._due.put_nowait([_delta(text[at : at + length])])
                at += length
            self._due.put_nowait([frame])
        self._due.put_nowait([IDLE])

    def death(self) -> ProcessDied:
        """Say how it ended."""
        return ProcessDied("The recording ended")

    async def close(self, *, now: bool = False) -> None:
        """End it."""
        if self._playing:
            self._playing.cancel()
        self._due.put_nowait([])


ABORTED: Frame = {
    "type": "result",
    "subtype": "error_during_execution",
    "is_error": True,
    "terminal_reason": "aborted_streaming",
}


def _granted(request_id: str) -> Frame:
    version = ".".join(map(str, OLDEST_VERSION))
    body = {"claude_code_version": version}
    response = {"subtype": "success", "request_id": request_id, "response": body}
    return {"type": "control_response", "response": response}


def _text_of(frame: Frame) -> str:
    content = (frame.get("message") or {}).get("content")
    blocks = content if isinstance(content, list) else []
    return "".join(block.get("text", "") for block in blocks if block.get("type") == "text")


def _delta(text: str) -> Frame:
    delta = {"type": "text_delta", "text": text}
    event = {"type": "content_block_delta", "index": 0, "delta": delta}
    return {"type": "stream_event", "event": event}
