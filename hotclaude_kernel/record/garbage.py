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
UNUSED = """
    create temp table unused as
    with used(digest) as (
        select entries from turn where id not in (select id from unheld)
        union select frames from turn where id not in (select id from unheld)
        union select deltas from turn where id not in (select id from unheld)
        union select data from attachment where turn not in (select id from unheld)
    )
    select digest, length(data) as size from blob where digest not in (select digest from used)
"""
FREED = """
    select (select count(*) from unheld),
           (select count(*) from unused), (select coalesce(sum(size), 0) from unused)
"""
DELETE = """
    delete from attachment where turn in (select id from unheld);
    delete from turn where id in (select id from unheld);
    delete from settings where digest not in (select settings from turn);
    delete from blob where digest in (select digest from unused)
"""


def forget_unheld(store: Database, *, dry_run: bool = False) -> Freed:
    """Delete the turns that no branch, checkpoint or notebook holds, and the blobs of no turn.

    A cassette that was loaded counts as a notebook. A turn that a held one follows is held too.
    With `dry_run` nothing is deleted, and nobody who writes has to wait.
    """
    if dry_run:
        with store.read() as db:
            return _find(db)
    with store.write() as db:
        freed = _find(db)
        for statement in DELETE.split(";"):
            db.execute(statement)
    return freed


def _find(db: sqlite3.Connection) -> Freed:
    """Put what is to be deleted into the temporary tables `unheld` and `unused`; count it."""
    for table, query in (("unheld", UNHELD), ("unused", UNUSED)):
        db.execute(f"drop table if exists temp.{table}")
        db.execute(query)
    turns, blobs, size = db.execute(FREED).fetchone()
    return Freed(turns=turns, blobs=blobs, size_bytes=size)


def compact(store: Database) -> None:
    """Shrink the SQLite file by its free pages, and its write-ahead log to nothing."""
    with store.lend() as db:
        db.execute("vacuum")
        db.execute("pragma wal_checkpoint(truncate)")
