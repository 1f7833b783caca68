"""Transcripts: read the entries that a turn added to one, and rebuild one from recordings.

When a turn's result has been read, all of its entries are on disk. Reading begins where the last
turn's entries end, so its cost does not grow with the conversation.
"""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from ..claude.events import Block
from ..claude.frames import loads
from ..turns.tape import events

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..claude.frames import Frame
    from ..turns.turn import Recorded

    # Returns the messages of a recorded answer that a model may be told, from its frames.
    Told = Callable[[bytes], list[Frame]]

# The entries that a resumed process reads. The others are a log, several times as large, and
# checkpoints of files, whose copies belong to the session that made them.
KEPT = frozenset({"user", "assistant", "attachment", "system"})
# How many bytes before the end of reading are compared next time, to see that the file was not
# rewritten. Each entry has an id of its own, or a time, so equal bytes mean the same entries.
SEAL_BYTES = 512


class Tail:
    """The end of one growing transcript. `path` is `None` while `claude` is yet to choose it."""

    def __init__(self, session_id: str, path: Path | None = None) -> None:
        self.session_id = session_id
        self.path = path
        self._at = path.stat().st_size if path else 0
        self._seal = _read(path, self._at - SEAL_BYTES, SEAL_BYTES) if path else b""
        self._last = ""  # the uuid of the last entry that was taken

    def take(self) -> bytes:
        """Return the entries that came since the last call, as JSON lines.

        Return nothing if there is no transcript. Return nothing, too, if the file was rewritten or
        entries are missing: a part of a turn would later be resumed as the whole turn.
        """
        self.path = self.path or transcript_path(config_dir(), self.session_id)
        if self.path is None:
            return b""
        data = _read(self.path, self._at - len(self._seal))
        sealed, data = data.startswith(self._seal), data[len(self._seal) :]
        lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
        entries = [loads(line) or {} for line in lines]
        whole = sealed and all(entries) and self._joined(entries)
        self._go_to(self._at + sum(map(len, lines)) if sealed else _size(self.path))
        self._last = next((e["uuid"] for e in reversed(entries) if e.get("uuid")), self._last)
        if not whole:
            return b""
        pairs = zip(lines, entries, strict=True)
        return b"".join(line for line, entry in pairs if entry.get("type") in KEPT)

    def _joined(self, entries: list[Frame]) -> bool:
        """Return whether the parent of each entry is in the transcript: among these or before."""
        known = {self._last, *(entry.get("uuid") for entry in entries)}
        parents = {entry.get("parentUuid") for entry in entries} - known - {None}
        if not parents:
            return True
        assert self.path is not None
        before = _read(self.path, 0, self._at)
        return all(b'"uuid":"%s"' % str(parent).encode() in before for parent in parents)

    def _go_to(self, at: int) -> None:
        assert self.path is not None
        self._at = at
        self._seal = _read(self.path, at - SEAL_BYTES, min(at, SEAL_BYTES))


def _read(path: Path, start: int, count: int = -1) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, start))
            return file.read(count)
    except OSError:
        return b""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


# The parent of a turn's first entry, if there is one: `resume` puts its real id here.
BEFORE = "before"


def rebuilt(prompt_uuid: str, turn: Recorded, told: Told, *, first: bool) -> bytes:
    """Return transcript entries for a turn, made from its prompt and its recording.

    `prompt_uuid` names the prompt. `told` returns the messages of the answer that a model may be
    told. `first` says whether the turn begins the transcript. A process that resumes the entries
    knows the conversation and its tool results. They differ from the original ones: the reminders
    that `claude` puts beside the first prompt are missing, and come with the next live turn. So the
    prompt cache begins anew.
    """
    message = {"role": "user", "content": turn.prompt.content}
    last = None if first else BEFORE
    written = [_entry("user", message, last, prompt_uuid)]
    last = prompt_uuid
    for said in told(turn.frames):
        entry_uuid = str(uuid.uuid4())
        written.append(_entry(said["role"], said, last, entry_uuid))
        last = entry_uuid
    return b"".join(written)


def texts(frames: bytes) -> list[Frame]:
    """Return the texts of a recorded answer as messages, without its tools."""
    blocks = [e for e in events(frames) if isinstance(e, Block) and e.kind == "text"]
    return [
        {"role": "assistant", "content": [{"type": "text", "text": block.text}]}
        for block in blocks
        if block.parent is None and not block.error and block.text.strip()
    ]


def _entry(kind: str, message: Frame, parent: str | None, entry_uuid: str) -> bytes:
    # A tool's input may have such names too. `resume` finds an entry's own by their spelling.
    content = json.dumps(message, separators=(",", ":"))
    for name in ("uuid", "parentUuid", "sessionId"):
        content = content.replace(f'"{name}":', f'"\\u{ord(name[0]):04x}{name[1:]}":')
    entry = {
        "type": kind,
        "uuid": entry_uuid,
        "parentUuid": parent,
        "sessionId": "",
        "isSidechain": False,
        "userType": "external",
        "timestamp": "2020-01-01T00:00:00.000Z",
    }
    head = json.dumps(entry, separators=(",", ":")).removesuffix("}")
    return f'{head},"message":{content}}}\n'.encode()


def transcript_path(config_dir: Path, session_id: str) -> Path | None:
    """Return the path of a session's transcript, `None` if `claude` has not made it yet.

    It is in a folder named after the working directory. That name depends on symbolic links, so all
    folders are searched; the session id is unique.
    """
    return next(config_dir.glob(f"projects/*/{session_id}.jsonl"), None)


def config_dir() -> Path:
    """Return the configuration folder of `claude`, which has the transcripts in `projects`."""
    return Path(os.environ.get("CLAUDE_CONFIG_DIR") or Path.home() / ".claude")
