"""Verify a record: SQLite's own checks, the digests of blobs, the keys and nodes of turns."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING
from zlib import decompress
from zlib import error as zlib_error

from ..errors import StoreError
from ..turns.turn import UNREADABLE
from . import notebooks, queries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .store import Store


def store_faults(store: Store) -> Iterator[str]:
    """Yield a line for each fault of a record: in the file, in its blobs, in its turns."""
    with store.read() as db:
        for (said,) in db.execute("pragma integrity_check").fetchall():
            if said != "ok":
                yield f"the file: {said}"
        for table, *_ in db.execute("pragma foreign_key_check").fetchall():
            yield f"the table {table}: a row refers to a row that does not exist"
        digests = [name for (name,) in db.execute("select digest from blob")]
    for path, node in notebooks.holes(store):
        yield f"the notebook {path or '(without a path)'}: it lacks the turn before {node[:12]}"
    for name in digests:
        if fault := _blob_fault(store, name):
            yield f"blob {name[:12]}: {fault}"
    for node in queries.all_turns(store):
        yield from _turn_faults(store, node)


def _blob_fault(store: Store, name: str) -> str:
    with store.read() as db:
        (data,) = db.execute("select data from blob where digest = ?", (name,)).fetchone()
    try:
        content = decompress(data)
    except zlib_error as error:
        return f"it can't be read ({error})"
    return "" if blake2b(content, digest_size=16).hexdigest() == name else "it is another one"


def _turn_faults(store: Store, node: str) -> Iterator[str]:
    try:
        turn = store.turn(node)
    except (StoreError, zlib_error, *UNREADABLE) as error:
        yield f"turn {node[:12]}: it can't be read ({error})"
        return
    if fault := turn.fault():
        config = turn.settings.mcp_config
        changed = " (or its MCP configuration has changed since)" if config else ""
        yield f"turn {turn.node.number} ({node[:12]}): {fault}{changed}"
