"""What each turn adds to the transcript of its process.

When a turn's result is read, all of its entries are on disk. They are taken from where the last
turn's ended, so that a turn costs what it weighs, however long the conversation is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .protocol import loads
from .turn import config_dir, transcript_path

if TYPE_CHECKING:
    from pathlib import Path

# What a resumed process reads of a transcript. The rest is its log, several times as large, and
# checkpoints of files, whose copies belong to the session that made them.
KEPT = frozenset({"user", "assistant", "attachment", "system"})


class Tail:
    """The end of one growing transcript. `path` is `None` while `claude` is yet to choose it."""

    def __init__(self, session_id: str, path: Path | None = None) -> None:
        self.session_id = session_id
        self.path = path
        self._at = path.stat().st_size if path else 0

    def take(self) -> bytes:
        """Return what came since the last call, as lines; empty where there is no transcript."""
        self.path = self.path or transcript_path(config_dir(), self.session_id)
        if self.path is None:
            return b""
        try:
            with self.path.open("rb") as file:
                file.seek(self._at)
                data = file.read()
        except OSError:
            return b""
        whole = data[: data.rfind(b"\n") + 1]
        self._at += len(whole)
        return b"".join(line for line in whole.splitlines(keepends=True) if _kept(line))


def _kept(line: bytes) -> bool:
    entry = loads(line)
    return entry is not None and entry.get("type") in KEPT
