"""Notebooks in the record: their paths, members, branches, holders and spending."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import replace

from ..claude.events import Usage
from ..claude.processes import runs
from ..errors import StoreError, StoreUnavailable
from ..turns.cellids import lasting
from ..turns.tree import MAIN, SNIPPET, Branches, Node, Tree
from .answers import copy_answers

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    from .database import Database

# The columns of a node. Outside the record a turn is named by its node, not by its row.
NODE = """
    select t.node, (select p.node from turn p where p.id = t.parent), t.number,
           substr(t.prompt, 1, ?), t.status, t.key, t.settings, t.uuid, t.compacted, t.model,
           t.ended, t.input_tokens, t.cache_read_tokens, t.cache_write_tokens, t.output_tokens,
           t.cost_usd, t.context_window
    from turn t
"""
# All nodes of a notebook, each with the row of the turn before it: its node is looked up in memory.
MEMBERS = (
    NODE.replace("(select p.node from turn p where p.id = t.parent)", "t.parent")
    .replace("from turn t", ", t.cli, t.id, m.cell_id from turn t")
    .replace("?", ":length")
    + "join member m on m.turn = t.id where m.notebook = :notebook and {which} order by t.id"
)
# Those on the path to the end of the current branch.
PATH = """
    t.id in (
        with recursive up(id) as (
            select b.turn from branch b join notebook n on n.id = b.notebook and n.branch = b.name
            where n.id = :notebook
            union all
            select t.parent from turn t join up on t.id = up.id
        )
        select id from up
    )
"""
# The turns that a turn follows, up to the first one that is a member already.
ANCESTORS = """
    with recursive up(id, parent) as (
        select p.id, p.parent from turn t join turn p on p.id = t.parent
        where t.id = :turn and not exists (
            select 1 from member m where m.notebook = :notebook and m.turn = p.id
        )
        union all
        select p.id, p.parent from up join turn p on p.id = up.parent
        where not exists (select 1 from member m where m.notebook = :notebook and m.turn = p.id)
    )
    insert into member select :notebook, id, null from up
"""
# The members whose predecessor is none, as an older version could leave them.
HOLES = """
    select m.notebook, m.turn from member m join turn t on t.id = m.turn
    where t.parent is not null
    and not exists (select 1 from member p where p.notebook = m.notebook and p.turn = t.parent)
"""
NAMED = "select n.name, t.node from {table} n left join turn t on t.id = n.turn where notebook = ?"
SPEND = """
    insert into spending select :notebook, :at, :tokens, :usd where not exists (
        select 1 from spending where notebook = :notebook and at = :at and tokens = :tokens
    )
"""


class Notebook(Struct, frozen=True, kw_only=True):
    """A notebook in the record: `id` is its row, `holders` maps branches to their kernels.

    `versions` maps its turns to the version of claude that answered. If it is not `whole`, only the
    turns on the path to the end of the current branch are there.
    """

    id: int
    path: str | None
    branches: Branches
    holders: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    whole: bool = True


def notebook_at(
    store: Database, path: str | None, *, folder: str | None = None, whole: bool = True
) -> Notebook:
    """Return the notebook at a path; make an empty one if none is recorded, or `path` is `None`.

    A notebook without a path runs in `folder`; `None` if that is unknown. If it need not be
    `whole`, only its path is read.
    """
    with store.write() as db:
        at = row_at(db, 0, path, folder)
        _fill_holes(db, at)
        return _load(db, at, whole=whole)


def whole_notebook(store: Database, row: int) -> Notebook:
    """Return the notebook in a row, with all of its turns."""
    with store.read() as db:
        return _load(db, row)


def read_at(store: Database, path: str | None) -> Notebook:
    """Return the notebook at a path without writing: if none is recorded, an empty one, row 0.

    Raises `StoreUnavailable` if it lacks turns, which `notebook_at` would add.
    """
    with store.read() as db:
        row = db.execute("select id from notebook where path = ?", (path,)).fetchone()
        if row is None:
            return Notebook(id=0, path=path, branches=Branches())
        if _holes_of(db, row[0]):
            raise StoreUnavailable(
                "The record can't be written now, and this notebook's turns must be mended first",
                hint="Turns are answered but not recorded. Restart the kernel later.",
            )
        return _load(db, row[0])


def notebook_with(store: Database, cells: Iterable[str]) -> Notebook | None:
    """Return the notebook with the newest turn of any of these cells, `None` if none has one."""
    with store.read() as db:
        row = db.execute(
            "select notebook from member where cell_id in (select value from json_each(?))"
            " order by turn desc limit 1",
            (json.dumps(list(cells)),),
        ).fetchone()
        if row is None:
            return None
        if not _holes_of(db, row[0]):  # mostly: nothing waits for a writer then
            return _load(db, row[0])
    with store.write() as db:
        _fill_holes(db, row[0])
        return _load(db, row[0])


def _holes_of(db: sqlite3.Connection, notebook: int) -> list[int]:
    rows = db.execute(f"{HOLES} and m.notebook = ?", (notebook,))
    return [turn for _, turn in rows]


def _fill_holes(db: sqlite3.Connection, notebook: int) -> None:
    for turn in _holes_of(db, notebook):
        db.execute(ANCESTORS, {"notebook": notebook, "turn": turn})


def holes(store: Database) -> list[tuple[str, str]]:
    """Return each member whose predecessor is none, as the notebook's path and the node."""
    paths = f"""
        select coalesce(n.path, ''), t.node from ({HOLES}) h
        join notebook n on n.id = h.notebook join turn t on t.id = h.turn
    """
    with store.read() as db:
        return list(db.execute(paths))


def _load(db: sqlite3.Connection, at: int, *, whole: bool = True) -> Notebook:
    path, current = db.execute("select path, branch from notebook where id = ?", (at,)).fetchone()
    members = MEMBERS.format(which="true" if whole else PATH)
    rows = db.execute(members, {"length": SNIPPET, "notebook": at}).fetchall()
    named = {row[-2]: row[0] for row in rows}
    nodes = [node_of(row, lasting(row[-1]), named.get(row[1])) for row in rows]
    branches = dict(db.execute(NAMED.format(table="branch"), (at,)))
    marks = dict(db.execute(NAMED.format(table="checkpoint"), (at,)))
    holders = db.execute("select branch, kernel from holder where notebook = ?", (at,))
    try:
        tree = Branches(nodes, current=current, branches=branches, checkpoints=marks)
    except KeyError as error:
        raise StoreError(
            f"The record lacks the turn {error} of this notebook",
            hint="Turns are answered but not recorded. `hotclaude verify` tells what is damaged.",
        ) from error
    versions = {row[0]: row[-3] for row in rows}
    return Notebook(
        id=at,
        path=path,
        branches=tree,
        holders=dict(holders),
        versions=versions,
        whole=whole,
    )


def move(store: Database, notebook: int, path: str | None) -> None:
    """Set a notebook's path. Another notebook that had this path is left without one."""
    with store.write() as db:
        db.execute("update notebook set path = null where path = ?", (path,))
        db.execute("update notebook set path = ? where id = ?", (path, notebook))


def leave(store: Database, notebook: int, path: str) -> None:
    """Leave a notebook without a path, if it has this one."""
    with store.write() as db:
        named = "update notebook set path = null where id = ? and path = ?"
        db.execute(named, (notebook, path))


def copy_members(store: Database, notebook: int, origin: int) -> None:
    """Make all turns and answers of another notebook this one's too."""
    with store.write() as db:
        copy_answers(db, notebook, origin)
        db.execute(
            "insert into member select ?, turn, cell_id from member where notebook = ?"
            " on conflict do nothing",
            (notebook, origin),
        )


def copy(store: Database, path: str, origin: Notebook, tree: Tree) -> Notebook:
    """Make the notebook at a path a copy of another one; return it.

    `tree` is a snapshot of the other one's: its own may have grown since.
    """
    with store.write() as db:
        at = row_at(db, 0, path)
        copy_members(store, at, origin.id)
        write_branches(store, at, tree.branches, tree.checkpoints, current=tree.current)
    return replace(origin, id=at, path=path)


def row_at(db: sqlite3.Connection, row: int, path: str | None, folder: str | None = None) -> int:
    """Return `row` if it is a notebook's, else the row of the one at a path; make one if needed."""
    if db.execute("select 1 from notebook where id = ?", (row,)).fetchone():
        return row
    if path is not None:
        db.execute(
            "insert into notebook (path, branch) values (?, ?) on conflict do nothing", (path, MAIN)
        )
        (at,) = db.execute("select id from notebook where path = ?", (path,)).fetchone()
        return int(at)
    named = "insert into notebook (branch, folder) values (?, ?) returning id"
    return int(db.execute(named, (MAIN, folder)).fetchone()[0])


def write_branches(
    store: Database,
    notebook: int,
    branches: Mapping[str, str | None],
    checkpoints: Mapping[str, str],
    *,
    current: str | None,
    deleted: str = "",
) -> None:
    """Record the ends of some branches, some checkpoints, and the current branch if given.

    The branch `deleted` is deleted.
    """
    with store.write() as db:
        db.execute("delete from branch where notebook = ? and name = ?", (notebook, deleted))
        for table, names in (("branch", branches), ("checkpoint", checkpoints)):
            db.executemany(
                f"insert into {table} values (?, ?, ?)"
                " on conflict do update set turn = excluded.turn",
                [(notebook, name, at and row_of(db, at)) for name, at in names.items()],
            )
        if current is not None:
            db.execute("update notebook set branch = ? where id = ?", (current, notebook))


def hold(
    store: Database, notebook: int, branch: str, kernel: str, ends: Mapping[str, str | None]
) -> bool:
    """Take a branch for this kernel in place of the one that it holds; return whether it did.

    It does not if a running kernel holds the branch, or if the branch is recorded and does not end
    where it does in `ends`.
    """
    with store.write() as db:
        named = (notebook, branch)
        held = db.execute(
            "select kernel from holder where notebook = ? and branch = ?", named
        ).fetchone()
        if held and held[0] != kernel and runs(held[0]):
            return False
        end = db.execute(
            "select t.node from branch b left join turn t on t.id = b.turn"
            " where b.notebook = ? and b.name = ?",
            named,
        ).fetchone()
        if end and (branch not in ends or ends[branch] != end[0]):
            return False
        db.execute("delete from holder where kernel = ?", (kernel,))
        db.execute("insert or replace into holder values (?, ?, ?)", (*named, kernel))
        return True


def branches_of(store: Database, notebook: int) -> dict[str, str | None]:
    """Return the names of a notebook's branches and their ends, as the running transaction sees."""
    with store.write() as db:
        return dict(db.execute(NAMED.format(table="branch"), (notebook,)))


def release(store: Database, kernel: str) -> None:
    """Release the branch that a kernel holds."""
    with store.write() as db:
        db.execute("delete from holder where kernel = ?", (kernel,))


def spend(store: Database, notebook: int, usage: Usage, at: float) -> None:
    """Record the usage of a turn, finished or not, that ended at a time; once, if it is told twice.

    `at` is in seconds since the epoch.
    """
    tokens = usage.prompt_tokens + usage.output_tokens
    with store.write() as db:
        db.execute(SPEND, {"notebook": notebook, "at": at, "tokens": tokens, "usd": usage.cost_usd})


def spent(store: Database, notebook: int) -> tuple[int, float]:
    """Return the tokens and the dollars (list price) that a notebook has used."""
    sums = "select coalesce(sum(tokens), 0), coalesce(sum(cost_usd), 0.0) from spending"
    with store.read() as db:
        tokens, cost = db.execute(f"{sums} where notebook = ?", (notebook,)).fetchone()
    return int(tokens), float(cost)


# --- membership ---


def join(db: sqlite3.Connection, notebook: int, turn: int, cell_id: str | None) -> None:
    """Make a turn, and all that it follows, members of the notebook.

    With `cell_id` `None`, or one that does not last, a recorded cell is kept.
    """
    db.execute(ANCESTORS, {"notebook": notebook, "turn": turn})
    db.execute(
        "insert into member values (?, ?, ?)"
        " on conflict do update set cell_id = coalesce(excluded.cell_id, cell_id)",
        (notebook, turn, lasting(cell_id)),
    )


def put_branch(db: sqlite3.Connection, notebook: int, name: str, at: int | None) -> None:
    """Record that a branch ends at a turn; `None` is before the first one."""
    db.execute(
        "insert into branch values (?, ?, ?) on conflict do update set turn = excluded.turn",
        (notebook, name, at),
    )


def row_of(db: sqlite3.Connection, node: str) -> int:
    """Return the row of a turn. Raises `StoreError` if it is not recorded."""
    row = db.execute("select id from turn where node = ?", (node,)).fetchone()
    if row is None:
        raise StoreError(f"The turn {node[:12]} is not in the record")
    return int(row[0])


def node_of(row: Sequence[Any], cell_id: str | None, parent: str | None) -> Node:
    """Return the node in a row of `NODE`, of the given cell, behind the turn `parent`."""
    return Node(
        id=row[0],
        parent=parent,
        number=row[2],
        prompt=row[3],
        status=row[4],
        key=row[5],
        settings=row[6],
        uuid=row[7],
        compacted=bool(row[8]),
        model=row[9],
        ended=row[10],
        cell_id=cell_id,
        usage=Usage(
            input_tokens=row[11],
            cache_read_tokens=row[12],
            cache_write_tokens=row[13],
            output_tokens=row[14],
            cost_usd=row[15],
            context_window=row[16],
        ),
    )
