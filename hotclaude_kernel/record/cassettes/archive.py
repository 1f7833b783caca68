"""Whole turns read from a record, for cassettes, and cassettes' turns added to it.

Such a turn names the turn before it by its node, so it means the same in every record. Its row, its
transcript and its notebooks belong to one record and are left out.
"""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..answers import put_answer
from ..store import put

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ...turns.turn import Recorded
    from ..database import Database

LINEAGE = """
    with recursive up(id, parent) as (
        select id, parent from turn where node in (select value from json_each(?))
        union
        select t.id, t.parent from turn t join up on t.id = up.parent
    )
    select node from turn where id in (select id from up) order by number, id
"""


def lineage(store: Database, nodes: Iterable[str]) -> list[str]:
    """Return the nodes of turns and of all turns before them, each after the one it follows."""
    with store.read() as db:
        return [node for (node,) in db.execute(LINEAGE, (json.dumps(list(nodes)),))]


def cassette_at(store: Database, digest: str) -> int | None:
    """Return the row of the cassette with this digest, `None` if it was not loaded."""
    with store.read() as db:
        row = db.execute("select id from notebook where cassette = ?", (digest,)).fetchone()
    return None if row is None else int(row[0])


def add_cassette(store: Database, digest: str, turns: Sequence[Recorded]) -> int:
    """Record the turns of a cassette, all or none; return how many were new.

    In `turns`, each turn comes after the one that it follows.
    """
    with store.write() as db:
        (before,) = db.execute("select count(*) from turn").fetchone()
        named = "insert into notebook (branch, cassette) values ('', ?) on conflict do nothing"
        db.execute(named, (digest,))
        (at,) = db.execute("select id from notebook where cassette = ?", (digest,)).fetchone()
        for turn in turns:
            row = put(db, _arrived(turn))
            if turn.replays:
                put_answer(db, at, row, turn.conditions)
        (after,) = db.execute("select count(*) from turn").fetchone()
    return int(after - before)


def _arrived(turn: Recorded) -> Recorded:
    """Return a turn with a new uuid for its prompt, and the current time as its end."""
    return replace(turn, node=replace(turn.node, uuid=str(uuid.uuid4()), ended=time.time()))
