"""Delete the turns and blobs that nothing in the record refers to any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    import sqlite3

    from .database import Database


class Freed(Struct, frozen=True, kw_only=True):
    """How much was deleted; `size_bytes` is the size of the blobs as stored, compressed."""

    turns: int
    blobs: int
    size_bytes: int


UNHELD = """
    create temp table unheld as
    with recursive held(id) as (
        select turn from branch where turn is not null
        union select turn from checkpoint
        union select turn from member
        union select turn from answer
        union select t.parent from turn t join held on t.id = held.id where t.parent is not null
    )
    select id from turn where id not in (select id from held)
"""


USED = """
    select entries from turn union select frames from turn union select deltas from turn
    union select data from attachment
"""


def forget_unheld(store: Database, *, dry_run: bool = False) -> Freed:
    """Delete the turns that no branch, checkpoint or notebook holds, and the blobs of no turn.

    A cassette that was loaded counts as a notebook. A turn that a held one follows is held too.
    With `dry_run` nothing is deleted.
    """
    with store.write() as db:
        db.execute("drop table if exists unheld")
        db.execute(UNHELD)
        db.execute("savepoint before")
        freed = _forget(db)
        if dry_run:
            db.execute("rollback to before")
        db.execute("drop table unheld")
    return freed


def _forget(db: sqlite3.Connection) -> Freed:
    db.execute("delete from attachment where turn in (select id from unheld)")
    turns = db.execute("delete from turn where id in (select id from unheld)").rowcount
    db.execute("delete from settings where digest not in (select settings from turn)")
    unused = f"from blob where digest not in ({USED})"
    (size,) = db.execute(f"select coalesce(sum(length(data)), 0) {unused}").fetchone()
    blobs = db.execute(f"delete {unused}").rowcount
    return Freed(turns=turns, blobs=blobs, size_bytes=size)


def compact(store: Database) -> None:
    """Shrink the SQLite file by its free pages, and its write-ahead log to nothing."""
    with store.read() as db:
        db.execute("vacuum")
        db.execute("pragma wal_checkpoint(truncate)")
