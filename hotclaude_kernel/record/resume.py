"""The record's path, and transcripts made from it: a kernel's start needs them before all imports.

`claude` resumes any transcript that it is given by path. Its next request is then byte for byte the
one that the process that wrote the transcript would have sent. So the record holds the entries that
each turn added to its transcript. A process that resumes after a turn gets a new file, with the
entries of the turns up to it: no two processes write one transcript, and none has half a turn.
"""

from __future__ import annotations

import os

from ..claude.launch import DEFAULT_FLAGS
from ..claude.private import data_folder

TYPE_CHECKING = False  # `typing` is an import too
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

# The versions of the record's tables that `HEAD` and `CHAIN` can read, the current one last.
SCHEMAS = (1, 2, 3)

# The settings that a later kernel takes over from the turn it goes on after. What Claude may do is
# not among them: that comes from the user alone.
RESUMED = ("model", "effort", "system", "append_system", "tools", "cwd")

CHAIN = """
    with recursive up(id, parent, entries, back) as (
        select id, parent, entries, 0 from turn where node = ?
        union all
        select t.id, t.parent, t.entries, up.back + 1 from turn t join up on t.id = up.parent
    )
    select b.data from up join blob b on b.digest = up.entries order by up.back desc
"""
# The end of the notebook's current branch: its next kernel resumes there, unless another holds it.
HEAD = """
    select t.node, s.json, h.kernel
    from notebook n
    join branch b on b.notebook = n.id and b.name = n.branch
    join turn t on t.id = b.turn
    join settings s on s.digest = t.settings
    left join holder h on h.notebook = n.id and h.branch = n.branch
    where n.path = ?
"""


def store_path() -> str:
    """Return the path of the record: `HOTCLAUDE_STORE`, or a file in the user's data folder."""
    named = os.environ.get("HOTCLAUDE_STORE")
    if named:
        return os.path.abspath(os.path.expanduser(named))
    return os.path.join(data_folder(), "store.db")


def named(path: str) -> str:
    """Return a path as the record can hold it: bytes that are not UTF-8 become escapes."""
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace")


def sessions_folder(store: str) -> str:
    """Return the folder of the transcripts that running processes resumed from."""
    return os.path.join(os.path.dirname(store), "sessions")


def private_parents(store: str) -> Iterator[str]:
    """Yield the folders in which private files of a process may be written, the preferred first.

    They are the record's, and a private temporary folder, which is made when it is asked for.
    """
    yield sessions_folder(store)
    yield private_folder()


def chain(connection: sqlite3.Connection, node: str) -> list[bytes]:
    """Return the transcript entries of each turn from the first to `node`, as JSON lines."""
    import zlib

    return [zlib.decompress(data) for (data,) in connection.execute(CHAIN, (node,))]


def write_transcript(folder: str, entries: Iterable[bytes], session_id: str) -> str:
    """Write a transcript for one process to resume from; return its path.

    It is in `folder`, or in a private temporary folder if that can't be written. `entries` are the
    JSON lines of each turn.
    """
    from ..claude.files import write_new

    text = b"".join(_of_session(entries, session_id))
    name = f"{session_id}.jsonl"
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        return write_new(os.path.join(folder, name), text)
    except OSError:
        return write_new(os.path.join(private_folder(), name), text)


def _of_session(entries: Iterable[bytes], session_id: str) -> Iterator[bytes]:
    """Yield the entries of each turn under another session id.

    A turn may name a parent entry that is not among them: it was recorded after an identical answer
    of another process. Its parent becomes the last entry of the turn before.
    """
    import re

    session = re.compile(rb'"sessionId":"[^"\\]*"')
    name = re.compile(rb'"uuid":"([^"\\]*)"')
    parent = re.compile(rb'"parentUuid":"([^"\\]*)"')
    named = b'"sessionId":"%s"' % session_id.encode()
    known: set[bytes] = set()
    last = b""

    def hung(match: re.Match[bytes]) -> bytes:
        return match[0] if match[1] in known or not last else b'"parentUuid":"%s"' % last

    for lines in entries:
        names = name.findall(lines)
        known.update(names)
        yield parent.sub(hung, session.sub(named, lines))
        last = names[-1] if names else last


def private_folder() -> str:
    """Return a temporary folder that only this user can read; a later kernel finds the same one.

    If something else lies there, the folder is a new one. Raises `OSError` if none can be made.
    """
    import stat
    import tempfile

    path = os.path.join(tempfile.gettempdir(), f"hotclaude-{os.getuid()}")
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        found = os.lstat(path)
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
        if not ours or found.st_mode & 0o077:
            return tempfile.mkdtemp(prefix="hotclaude-")
    return path


def head_of(notebook: str, store: str) -> tuple[str, str, str | None, list[bytes]] | None:
    """Return where a notebook goes on, `None` if it is not recorded or the record is unreadable.

    The tuple holds the node of its last turn, that turn's settings as JSON, the kernel that holds
    the branch (`None` if none does), and the transcript entries. Nothing is written. Return `None`,
    too, if this machine has not the entries of each turn: the process would lack those turns.
    """
    if not os.path.exists(store):
        return None
    import sqlite3
    import zlib

    try:
        connection = sqlite3.connect(f"file:{_quoted(store)}?mode=ro", uri=True, timeout=1.0)
    except sqlite3.Error:
        return None
    try:
        if connection.execute("pragma user_version").fetchone()[0] not in SCHEMAS:
            return None
        row = connection.execute(HEAD, (named(notebook),)).fetchone()
        entries = chain(connection, row[0]) if row is not None else []
        return (*row, entries) if entries and all(entries) else None
    except (sqlite3.Error, zlib.error, ValueError):  # of a damaged file, also text that is none
        return None
    finally:
        connection.close()


def resumed_flags(recorded: Mapping[str, Any], *, model: str | None = None) -> tuple[str, ...]:
    """Return the flags of a process that goes on after a turn that was asked under these settings.

    They are those of default settings with the turn's own for `RESUMED`, and `model` if given. The
    mode, the rules and the servers that the turn was asked under are left out. The result equals
    `Settings.argv()`, as a test checks.
    """
    kept = {name: recorded.get(name) for name in RESUMED} | ({"model": model} if model else {})

    def flag(name: str, value: Any) -> list[str]:
        return [] if value is None else [name, str(value)]

    tools = kept["tools"]
    return (
        *flag("--model", kept["model"]),
        *flag("--effort", kept["effort"]),
        *DEFAULT_FLAGS[:2],  # the permission mode
        *flag("--system-prompt", kept["system"]),
        *flag("--append-system-prompt", kept["append_system"]),
        *flag("--tools", None if tools is None else ",".join(tools)),
        *DEFAULT_FLAGS[2:],
    )


def _quoted(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
