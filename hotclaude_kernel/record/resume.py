"""Where the record lies, and a transcript made from it: what a start needs before all imports.

`claude` resumes any transcript it is given by path, and the next request is byte for byte what it
would have been in the process that wrote it. So the record holds what each turn added to its
transcript, and each process that goes on from a turn is given a file of its own, made of the turns
up to there: no two processes ever write one transcript, and a half turn is in none.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # `typing` is an import too
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

SCHEMA = 1  # the newest migration of `store`; a test holds the two together

CHAIN = """
    with recursive up(id, parent, entries, back) as (
        select id, parent, entries, 0 from turn where node = ?
        union all
        select t.id, t.parent, t.entries, up.back + 1 from turn t join up on t.id = up.parent
    )
    select b.data from up join blob b on b.digest = up.entries order by up.back desc
"""
# The branch that a notebook's next kernel goes on with, unless another kernel holds it.
HEAD = """
    select t.node, s.flags, h.kernel
    from notebook n
    join branch b on b.notebook = n.id and b.name = n.branch
    join turn t on t.id = b.turn
    join settings s on s.digest = t.settings
    left join holder h on h.notebook = n.id and h.branch = n.branch
    where n.path = ?
"""


def store_path() -> str:
    """Return where the record lies: `HOTCLAUDE_STORE`, or in the user's data folder."""
    named = os.environ.get("HOTCLAUDE_STORE")
    if named:
        return os.path.abspath(os.path.expanduser(named))
    home = os.path.expanduser("~")
    if sys.platform == "darwin":
        folder = os.path.join(home, "Library", "Application Support")
    else:
        folder = os.environ.get("XDG_DATA_HOME") or os.path.join(home, ".local", "share")
    return os.path.join(folder, "hotclaude", "store.db")


def sessions_folder(store: str) -> str:
    """Return where the transcripts of running processes lie."""
    return os.path.join(os.path.dirname(store), "sessions")


def chain(connection: sqlite3.Connection, node: str) -> list[bytes]:
    """Return what each turn from the first to this one added to its transcript."""
    import zlib

    return [zlib.decompress(data) for (data,) in connection.execute(CHAIN, (node,))]


def write_transcript(folder: str, entries: Iterable[bytes], session_id: str) -> str:
    """Write a transcript for one process to go on from; return its path.

    `entries` are those of each turn. A turn that was recorded behind the very same answer of
    another process names that one's entry as its parent: it is hung behind the turn before it.
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

    os.makedirs(folder, mode=0o700, exist_ok=True)
    path = os.path.join(folder, f"{session_id}.jsonl")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        for lines in entries:
            names = name.findall(lines)
            known.update(names)
            file.write(parent.sub(hung, session.sub(named, lines)))
            last = names[-1] if names else last
    return path


def head_of(notebook: str, store: str) -> tuple[str, str, str | None, list[bytes]] | None:
    """Return where a notebook goes on: node, the flags it was asked under, the kernel that holds
    it, and the transcript. `None` where nothing is recorded of it; nothing is written.
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
        if connection.execute("pragma user_version").fetchone()[0] != SCHEMA:
            return None
        row = connection.execute(HEAD, (notebook,)).fetchone()
        return None if row is None else (*row, chain(connection, row[0]))
    except (sqlite3.Error, zlib.error):
        return None
    finally:
        connection.close()


def _quoted(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
