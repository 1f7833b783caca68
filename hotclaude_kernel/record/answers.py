"""The turns that may replay for a question: in which notebook, and under which conditions.

A turn that is recorded, or replayed, in a notebook becomes the newest answer to its key there.
Another notebook's answers never replay.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from ..turns.conditions import Candidate, Conditions

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    from ..turns.turn import Recorded
    from .database import Database

# The newest answer of a notebook is the one with the highest `at`.
NEWEST = """
    insert into answer(notebook, turn, key, at, endpoint)
    select :notebook, t.id, t.key,
           (select coalesce(max(at), 0) + 1 from answer where notebook = :notebook), :endpoint
    from turn t where t.id = :turn and t.status = 'ok'
    on conflict do update set at = excluded.at, endpoint = coalesce(excluded.endpoint, endpoint)
"""
CONDITION = (
    "insert into condition(notebook, turn, path, after, sha256) values (?, ?, ?, ?, ?)"
    " on conflict do update set sha256 = excluded.sha256"
)
COPY_CONDITIONS = """
    insert into condition(notebook, turn, path, after, sha256)
    select :to, turn, path, after, sha256 from condition
    where notebook = :origin and (:turn is null or turn = :turn)
    on conflict do nothing
"""
FOUND = """
    select a.notebook, a.turn, t.node, a.endpoint
    from answer a join turn t on t.id = a.turn
    where a.key = :key and (
        a.notebook in (select value from json_each(:notebooks))
        or t.node in (select value from json_each(:shown))
    )
    order by a.at desc, a.turn desc
"""
# What a turn, and the later turns of its notebook, left the files of its prompt with.
LATER = """
    select c.path, c.sha256 from condition c
    where c.notebook = :notebook and c.turn >= :turn and c.after = 1
"""
WATCHED = "select distinct path from condition where notebook = ? and after < 2"
ASKED = "select path, after, sha256 from condition where notebook = ? and turn = ?"


class Scope(Struct, frozen=True, kw_only=True):
    """Where a notebook's answers come from.

    `notebook` is the row of the notebook itself. `cassettes` maps the rows of the cassettes beside
    it to their file names. `folder` maps the rows of the notebooks in the working directory to
    their file names, empty if unknown: only for a notebook whose own path is unknown. `shown` are
    the nodes in the outputs saved in its file.
    """

    notebook: int
    cassettes: Mapping[int, str] = {}
    folder: Mapping[int, str] = {}
    shown: frozenset[str] = frozenset()

    @property
    def notebooks(self) -> list[int]:
        """All rows of the scope."""
        return [self.notebook, *self.cassettes, *self.folder]

    def source(self, notebook: int) -> str:
        """Return the source of a notebook's answers, as in `Candidate`."""
        if notebook == self.notebook:
            return "record"
        if notebook in self.cassettes:
            return "cassette"
        return "folder" if notebook in self.folder else "outputs"


# The order in which answers are preferred.
PREFERRED = ("record", "cassette", "outputs", "folder")


def candidates(store: Database, key: str, scope: Scope) -> list[Candidate]:
    """Return the turns in a scope that answer a key, the preferred and newest first."""
    named = {
        "key": key,
        "notebooks": json.dumps(scope.notebooks),
        "shown": json.dumps(list(scope.shown)),
    }
    with store.read() as db:
        found = [_candidate(db, scope, *row) for row in db.execute(FOUND, named).fetchall()]
    return sorted(found, key=lambda candidate: PREFERRED.index(candidate.source))


def with_waiting(
    found: list[Candidate], waiting: Sequence[Recorded], key: str, notebook: int
) -> list[Candidate]:
    """Return the candidates for a key, and before them those of turns that are not recorded yet.

    `waiting` are such turns of the notebook, the oldest first.
    """
    own: list[Candidate] = []
    for at, turn in enumerate(waiting):
        if turn.node.key == key and turn.node.status == "ok":
            left = _left_with(waiting[at:])
            own.insert(
                0,
                Candidate(
                    node=turn.node.id,
                    source="record",
                    origin=notebook,
                    conditions=turn.conditions,
                    later=left,
                ),
            )
    return own + [_continued(candidate, waiting, notebook) for candidate in found]


def _continued(candidate: Candidate, waiting: Sequence[Recorded], notebook: int) -> Candidate:
    """Return a candidate of the notebook with what its waiting turns have left files with."""
    if candidate.origin != notebook or not waiting:
        return candidate
    left = _left_with(waiting)
    names = candidate.later.keys() | left.keys()
    none: frozenset[str | None] = frozenset()
    later = {name: candidate.later.get(name, none) | left.get(name, none) for name in names}
    return replace(candidate, later=later)


def _left_with(turns: Iterable[Recorded]) -> dict[str, frozenset[str | None]]:
    return _by_path(pair for turn in turns for pair in turn.conditions.after.items())


def _by_path(
    contents: Iterable[tuple[str, str | None]],
) -> dict[str, frozenset[str | None]]:
    """Return all contents of each file."""
    found: defaultdict[str, set[str | None]] = defaultdict(set)
    for path, sha256 in contents:
        found[path].add(sha256)
    return {path: frozenset(all_of_it) for path, all_of_it in found.items()}


def _candidate(
    db: sqlite3.Connection, scope: Scope, notebook: int, turn: int, node: str, endpoint: str | None
) -> Candidate:
    return Candidate(
        node=node,
        source=scope.source(notebook),
        name=scope.cassettes.get(notebook) or scope.folder.get(notebook, ""),
        origin=notebook,
        conditions=_conditions(db, notebook, turn, endpoint),
        later=_later(db, notebook, turn),
    )


def _conditions(
    db: sqlite3.Connection, notebook: int, turn: int, endpoint: str | None
) -> Conditions:
    found: dict[int, dict[str, str | None]] = {}
    for path, kind, sha256 in db.execute(ASKED, (notebook, turn)):
        found.setdefault(kind, {})[path] = sha256
    files, after, noted = (found.get(kind, {}) for kind in range(3))
    return Conditions(files=files, after=after, noted=noted, endpoint=endpoint)


def _later(db: sqlite3.Connection, notebook: int, turn: int) -> dict[str, frozenset[str | None]]:
    return _by_path(db.execute(LATER, {"notebook": notebook, "turn": turn}))


def conditions_of(db: sqlite3.Connection, turn: int) -> Conditions:
    """Return the conditions of a turn in the notebook that recorded or replayed it last."""
    row = db.execute(
        "select notebook, endpoint from answer where turn = ? order by rowid desc limit 1", (turn,)
    ).fetchone()
    return Conditions() if row is None else _conditions(db, row[0], turn, row[1])


def watched(store: Database, notebook: int, waiting: Iterable[Recorded]) -> list[str]:
    """Return the paths of all files that the prompts of a notebook have pulled in.

    `waiting` are turns of it that are not recorded yet.
    """
    with store.read() as db:
        rows = [path for (path,) in db.execute(WATCHED, (notebook,))]
    return list(
        dict.fromkeys([*rows, *(path for turn in waiting for path in turn.conditions.files)])
    )


# --- writing ---------------------------------------------------------------------------------


def put_answer(db: sqlite3.Connection, notebook: int, turn: int, conditions: Conditions) -> None:
    """Make a turn the newest answer to its key in a notebook, if it was answered at all."""
    db.execute(NEWEST, {"notebook": notebook, "turn": turn, "endpoint": conditions.endpoint})
    kinds = (conditions.files, conditions.after, conditions.noted)  # as `condition.after` has it
    for kind, files in enumerate(kinds):
        rows = [(notebook, turn, path, kind, sha256) for path, sha256 in files.items()]
        db.executemany(CONDITION, rows)


def take_answer(db: sqlite3.Connection, notebook: int, turn: int, origin: int | None) -> None:
    """Make a replayed turn the newest answer, under the conditions that it has in `origin`."""
    endpoint = None
    if origin is not None and origin != notebook:
        db.execute(COPY_CONDITIONS, {"to": notebook, "origin": origin, "turn": turn})
        named = "select endpoint from answer where notebook = ? and turn = ?"
        (endpoint,) = db.execute(named, (origin, turn)).fetchone() or (None,)
    db.execute(NEWEST, {"notebook": notebook, "turn": turn, "endpoint": endpoint})


def copy_answers(db: sqlite3.Connection, notebook: int, origin: int) -> None:
    """Give a notebook all answers of another one, of which it is a copy."""
    db.execute(
        "insert into answer select ?, turn, key, at, endpoint from answer where notebook = ?"
        " on conflict do nothing",
        (notebook, origin),
    )
    db.execute(COPY_CONDITIONS, {"to": notebook, "origin": origin, "turn": None})


# --- the notebooks of a scope ----------------------------------------------------------------


def in_folder(store: Database, folder: str) -> dict[int, str]:
    """Return the notebooks in a folder, by row, and those without a path that ran there.

    Each has its file's name, empty if it has no path.
    """
    # "0" comes after "/": all paths below the folder lie between the two.
    query = (
        "select id, path from notebook where folder = ?"
        " union select id, path from notebook where path > ? and path < ?"
    )
    with store.read() as db:
        rows = db.execute(query, (folder, f"{folder}/", f"{folder}0")).fetchall()
    names = {at: (path or "")[len(folder) + 1 :] for at, path in rows}
    return {at: name for at, name in names.items() if "/" not in name}


def has_answers(store: Database, notebooks: Iterable[int]) -> bool:
    """Return whether any of these notebooks has an answer."""
    query = "select 1 from answer where notebook in (select value from json_each(?)) limit 1"
    with store.read() as db:
        return db.execute(query, (json.dumps(list(notebooks)),)).fetchone() is not None
