"""A transcript made from recordings, for turns whose own transcript is not on this machine.

A process resumes it and knows what was said and done. It is not byte for byte what it was: the
reminders that stood beside the first prompt come with the first live turn, so the prompt cache
begins anew. Whoever uses it says so.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from ..turns.tape import lines

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..claude.frames import Frame
    from ..turns.turn import Prompt

SAID = ("assistant", "user")


def transcript(turns: Iterable[tuple[str, Prompt, bytes]]) -> list[bytes]:
    """Return the entries of each turn, given its prompt's uuid, its prompt and its frames."""
    entries = []
    last: str | None = None
    for prompt_uuid, prompt, frames in turns:
        written: list[bytes] = []
        message = {"role": "user", "content": prompt.content}
        last = _write(written, "user", message, last, prompt_uuid)
        for frame in lines(frames):
            if frame.get("type") in SAID and not _beside(frame):
                last = _write(written, frame["type"], frame["message"], last, str(uuid.uuid4()))
        entries.append(b"".join(written))
    return entries


def _beside(frame: Frame) -> bool:
    """Whether a frame is no part of the conversation: a subagent's, an echo, an error message."""
    return bool(
        frame.get("parent_tool_use_id")
        or frame.get("isReplay")
        or frame.get("is_api_error_message")
        or isinstance(frame["message"].get("content"), str)
    )


def _write(
    written: list[bytes], kind: str, message: Any, parent: str | None, entry_uuid: str
) -> str:
    entry = {
        "type": kind,
        "uuid": entry_uuid,
        "parentUuid": parent,
        "sessionId": "",
        "isSidechain": False,
        "userType": "external",
        "timestamp": "2020-01-01T00:00:00.000Z",
        "message": message,
    }
    written.append(json.dumps(entry, separators=(",", ":")).encode() + b"\n")
    return entry_uuid
