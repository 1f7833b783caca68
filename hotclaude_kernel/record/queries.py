"""Lists of turns and places, for the command line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..turns.tree import SNIPPET

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .database import Database


def all_turns(store: Database) -> list[int]:
    """Return every recorded turn, the oldest first."""
    with store.read() as db:
        return [at for (at,) in db.execute("select id from turn order by id")]


def turns_named(store: Database, prefix: str) -> list[int]:
    """Return the turns whose node begins so; else those that replay for a key that does."""
    nodes = "select id from turn where substr(node, 1, length(?)) = ? order by id limit 20"
    heads = "select turn from head where substr(key, 1, length(?)) = ? order by turn limit 20"
    with store.read() as db:
        for query in (nodes, heads):
            if found := [at for (at,) in db.execute(query, (prefix, prefix))]:
                return found
    return []


@dataclass(frozen=True, slots=True)
class Stand:
    """Where a notebook stands: its branch, and the node of the last turn of it."""

    branch: str
    node: str | None


STAND = """
    select n.branch, t.node from notebook n
    left join branch b on b.notebook = n.id and b.name = n.branch
    left join turn t on t.id = b.turn
    where n.path in (select value from json_each(?)) order by n.id desc limit 1
"""


def stand_of(store: Database, paths: Iterable[str]) -> Stand | None:
    """Return where the notebook at one of these paths stands, `None` where none is known."""
    with store.read() as db:
        row = db.execute(STAND, (json.dumps(list(paths)),)).fetchone()
    return Stand(*row) if row else None


@dataclass(frozen=True, slots=True)
class Logged:
    """A turn as a list shows it: `notebook` is the path of one that has it, where one is known."""

    ended: float
    notebook: str
    number: int
    status: str
    model: str
    tokens: int
    prompt: str
    node: str


LOGGED = """
    select t.ended, coalesce((select n.path from member m join notebook n on n.id = m.notebook
                              where m.turn = t.id and n.path is not null limit 1), ''),
           t.number, t.status, t.model,
           t.input_tokens + t.cache_read_tokens + t.cache_write_tokens + t.output_tokens,
           substr(t.prompt, 1, :snippet), t.node
    from turn t
    where :paths is null or t.id in (
        select m.turn from member m join notebook n on n.id = m.notebook
        where n.path in (select value from json_each(:paths))
    )
    order by t.id desc limit :count
"""


def newest(store: Database, count: int, paths: Iterable[str] | None = None) -> list[Logged]:
    """Return the newest turns, the newest last: of all notebooks, or of the one at these paths."""
    named = None if paths is None else json.dumps(list(paths))
    with store.read() as db:
        given = {"snippet": SNIPPET, "paths": named, "count": count}
        rows = db.execute(LOGGED, given).fetchall()
    return [Logged(*row) for row in rows[::-1]]
