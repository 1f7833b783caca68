"""Queries for the command line: lists of turns, and the position of a notebook."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from msgspec import Struct

from ..turns.tree import SNIPPET
from .notebooks import NODE, node_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..turns.tree import Node
    from .database import Database


def all_turns(store: Database) -> list[str]:
    """Return the nodes of all recorded turns, the oldest first."""
    with store.read() as db:
        return [node for (node,) in db.execute("select node from turn order by id")]


def turns_named(store: Database, prefix: str) -> list[str]:
    """Return the nodes that begin with `prefix`; if none, those that answer such a key.

    At most 20 are returned.
    """
    nodes = "select node from turn where substr(node, 1, length(:prefix)) = :prefix order by id"
    keys = (
        "select distinct t.node from answer a join turn t on t.id = a.turn"
        " where substr(a.key, 1, length(:prefix)) = :prefix order by t.id"
    )
    with store.read() as db:
        for query in (nodes, keys):
            rows = db.execute(f"{query} limit 20", {"prefix": prefix})
            if found := [node for (node,) in rows]:
                return found
    return []


class Stand(Struct, frozen=True):
    """The position of a notebook: its current branch, and the node of that branch's last turn."""

    branch: str
    node: str | None


STAND = """
    select n.branch, t.node from notebook n
    left join branch b on b.notebook = n.id and b.name = n.branch
    left join turn t on t.id = b.turn
    where n.path in (select value from json_each(?)) order by n.id desc limit 1
"""


def stand_of(store: Database, paths: Iterable[str]) -> Stand | None:
    """Return the position of the notebook at one of these paths, `None` if none is recorded."""
    with store.read() as db:
        row = db.execute(STAND, (json.dumps(list(paths)),)).fetchone()
    return Stand(*row) if row else None


def row_at(store: Database, paths: Iterable[str]) -> int | None:
    """Return the row of the notebook at one of these paths, `None` if none is recorded."""
    query = "select id from notebook where path in (select value from json_each(?)) order by id"
    with store.read() as db:
        row = db.execute(query, (json.dumps(list(paths)),)).fetchone()
    return None if row is None else int(row[0])


NEWEST = (
    NODE.replace(
        "from turn t",
        """, coalesce((select n.path from member m join notebook n on n.id = m.notebook
                      where m.turn = t.id and n.path is not null limit 1), '')
        from turn t""",
    )
    + """
    where :paths is null or t.id in (
        select m.turn from member m join notebook n on n.id = m.notebook
        where n.path in (select value from json_each(:paths))
    )
    order by t.id desc limit :count
"""
).replace("?", ":length")


def newest(
    store: Database, count: int, paths: Iterable[str] | None = None
) -> list[tuple[Node, str]]:
    """Return the newest turns, the newest last: of all notebooks, or of the one at these paths.

    Each comes with the path of a notebook that has it, empty if none is known.
    """
    named = None if paths is None else json.dumps(list(paths))
    values = {"length": SNIPPET, "paths": named, "count": count}
    with store.read() as db:
        rows = db.execute(NEWEST, values).fetchall()
    return [(node_of(row, None, row[1]), row[-1]) for row in rows[::-1]]
