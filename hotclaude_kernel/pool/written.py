"""What is written for one process before it starts, and removed when it has ended."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from ..claude import arguments
from ..errors import ClaudeUnusable, ConversationLost, StoreError
from ..record.resume import private_parents, sessions_folder, write_transcript

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..record.notebook import Record
    from ..turns.tree import Node

LOST = "Nothing was sent. `%new` begins a new conversation."


class Written(Struct, frozen=True, kw_only=True):
    """The files of one process: the `transcript` it resumes from, and the `folder` of arguments.

    Each is a path, empty if there is none. `flags` are the process's, which name those files.
    """

    transcript: str = ""
    folder: str = ""
    flags: tuple[str, ...] = ()

    def remove(self) -> None:
        """Remove the files."""
        if self.transcript:
            Path(self.transcript).unlink(missing_ok=True)
        arguments.remove(self.folder)


async def write(
    record: Record, path: Sequence[Node], flags: Sequence[str], session_id: str
) -> Written:
    """Write, on another thread, what a process needs that resumes after a path; often nothing.

    Raises `ConversationLost` if the transcript can't be written, and `ClaudeUnusable` if an
    argument can't be handed over.
    """
    if not path and not arguments.need_files(flags):
        return Written(flags=tuple(flags))
    writing = asyncio.ensure_future(asyncio.to_thread(_write, record, path, flags, session_id))
    try:
        return await asyncio.shield(writing)
    except asyncio.CancelledError:
        writing.add_done_callback(_remove)
        raise


def _write(record: Record, path: Sequence[Node], flags: Sequence[str], session_id: str) -> Written:
    transcript = ""
    if path:
        try:
            entries = record.entries(list(path))
            transcript = write_transcript(sessions_folder(record.file), entries, session_id)
        except (StoreError, OSError) as error:
            lost = f"The conversation can't be resumed: {error}"
            raise ConversationLost(lost, hint=LOST) from error
    written = Written(transcript=transcript)
    try:
        handed, folder = arguments.hand_over(flags, private_parents(record.file))
    except OSError as error:
        written.remove()
        raise ClaudeUnusable(
            f"The system prompt or the MCP servers can't be handed to claude: {error}",
            hint="They go by a private file. Make room on the disk, and run the cell again.",
        ) from error
    return Written(transcript=transcript, folder=folder, flags=tuple(handed))


def _remove(writing: asyncio.Future[Written]) -> None:
    """Remove the files of a process that is not started any more."""
    if not writing.cancelled() and writing.exception() is None:
        writing.result().remove()
