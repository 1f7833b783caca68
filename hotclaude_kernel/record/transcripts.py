"""What each turn adds to the transcript of its process.

When a turn's result is read, all of its entries are on disk. They are taken from where the last
turn's ended, so that a turn costs what it weighs, however long the conversation is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..claude.frames import loads
from ..turns.turn import config_dir, transcript_path

if TYPE_CHECKING:
    from pathlib import Path

    from ..claude.frames import Frame

# What a resumed process reads of a transcript. The rest is its log, several times as large, and
# checkpoints of files, whose copies belong to the session that made them.
KEPT = frozenset({"user", "assistant", "attachment", "system"})
# The bytes before the end by which it is known again; each entry has an id of its own, or a time.
SEAL_BYTES = 512


class Tail:
    """The end of one growing transcript. `path` is `None` while `claude` is yet to choose it."""

    def __init__(self, session_id: str, path: Path | None = None) -> None:
        self.session_id = session_id
        self.path = path
        self._at = path.stat().st_size if path else 0
        self._seal = _read(path, self._at - SEAL_BYTES, SEAL_BYTES) if path else b""
        self._last = ""  # the entry that was taken last

    def take(self) -> bytes:
        """Return what came since the last call, as lines; empty where there is no transcript.

        Empty, too, where somebody cut it meanwhile: a part of a turn would be resumed as all of it.
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
        """Whether each entry follows on one that is there, in these or further up."""
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
