"""The record: one SQLite file that holds every finished turn, and where each notebook stands.

A turn is written in one transaction when it ends, and what is committed is never changed: only
branches, checkpoints and holders move. Every writing transaction begins with `begin immediate`;
a plain `begin` that reads first and writes then fails under two writers, whatever the time-out.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
import time
import zlib
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import StoreError, StoreTooNew
from .protocol import Usage, whole
from .resuming import chain, runs
from .schema import MIGRATIONS
from .tree import MAIN, SNIPPET, Branches, Node
from .turn import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

BUSY_MS = 30_000
MEMORY = ":memory:"

NODES = """
    select t.id, t.parent, t.number, substr(t.prompt, 1, ?), t.status, m.cell_id, t.key, t.node,
           t.settings, t.uuid, t.ended, t.input_tokens, t.cache_read_tokens, t.cache_write_tokens,
           t.output_tokens, t.cost_usd, t.context_window, t.compacted
    from member m join turn t on t.id = m.turn where m.notebook = ? order by t.id
"""
USAGE = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "cost_usd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A turn as it is recorded: its node, and what the node does not keep.

    `entries` is what it added to the transcript, `frames` what the process said, both as lines.
    """

    node: Node
    prompt: str
    settings: Settings
    answer: str = ""
    model: str = ""
    cli: str = ""
    first_text_s: float | None = None
    total_s: float = 0.0
    entries: bytes = b""
    frames: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notebook:
    """What the record knows of a notebook."""

    id: int
    path: str | None
    branches: Branches
    holders: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process that a kernel started and wrote down."""

    token: str
    pid: int
    started: int
    kernel: str
    file: str = ""


class Store:
    """The record in a file, or in memory where there is none. Safe to call from any thread.

    Raises `StoreError` where the file can't be used, on opening and on every call.
    """

    def __init__(self, path: str = MEMORY) -> None:
        self.path = path
        self._lock = threading.RLock()
        try:
            self._connection = _open(path)
            self._migrate()
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                f"The record {path} can't be used: {error}",
                hint="Turns are answered and not recorded until a restart finds it mended.",
            ) from error

    def close(self) -> None:
        """Let the file go."""
        with self._lock:
            self._connection.close()

    # --- turns -------------------------------------------------------------------------------

    def save(self, notebook: int, turn: Finished, *, branch: str) -> int:
        """Record a turn and stand the branch on it, both or neither; return the turn's id.

        That is another id than its node's where the very same was recorded before.
        """
        node, usage = turn.node, turn.node.usage
        with self._write() as db:
            entries, frames = _blob(db, turn.entries), _blob(db, turn.frames)
            settings = _settings(db, turn.settings)
            db.execute(
                "insert into turn values (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
                " on conflict (node) do nothing",
                (
                    node.id, node.parent, node.number, node.key, node.digest, whole(turn.prompt),
                    settings, node.status, node.uuid, node.compacted, whole(turn.answer),
                    turn.model, turn.cli, usage.input_tokens, usage.cache_read_tokens,
                    usage.cache_write_tokens, usage.output_tokens, usage.context_window,
                    usage.cost_usd, turn.first_text_s, turn.total_s, node.ended, entries, frames,
                ),
            )  # fmt: skip
            (at,) = db.execute("select id from turn where node = ?", (node.digest,)).fetchone()
            _join(db, notebook, at, node.cell_id)
            _put_branch(db, notebook, branch, at)
        return int(at)

    def join(self, notebook: int, turn: int, cell_id: str | None, *, branch: str) -> None:
        """Make a recorded turn one of this notebook's, and stand the branch on it."""
        with self._write() as db:
            _join(db, notebook, turn, cell_id)
            _put_branch(db, notebook, branch, turn)

    def entries(self, turn: int) -> list[bytes]:
        """Return what each turn up to this one added to its transcript."""
        with self._read() as db:
            return chain(db, turn)

    def column(self, turn: int, name: str) -> Any:
        """Return one value of a turn; frames and entries as they were given."""
        with self._read() as db:
            row = db.execute(f"select {name} from turn where id = ?", (turn,)).fetchone()
            if row is None:
                raise StoreError(f"Turn {turn} is not in the record")
            if name not in ("frames", "entries"):
                return row[0]
            (data,) = db.execute("select data from blob where digest = ?", row).fetchone()
            return zlib.decompress(data)

    def settings(self, digest: str) -> Settings:
        """Return recorded settings. Fields that a newer version wrote are left out."""
        with self._read() as db:
            row = db.execute("select json from settings where digest = ?", (digest,)).fetchone()
        known = {
            name: value for name, value in json.loads(row[0]).items() if hasattr(Settings, name)
        }
        lists = {name: tuple(value) for name, value in known.items() if isinstance(value, list)}
        return Settings(**(known | lists))

    # --- notebooks -----------------------------------------------------------------------------

    def notebook(self, path: str | None) -> Notebook:
        """Return the notebook at a path, an empty one where nothing is known of it."""
        with self._write() as db:
            if path is not None:
                db.execute(
                    "insert into notebook (path, branch) values (?, ?) on conflict do nothing",
                    (path, MAIN),
                )
                (at,) = db.execute("select id from notebook where path = ?", (path,)).fetchone()
            else:
                at = db.execute("insert into notebook (branch) values (?)", (MAIN,)).lastrowid
            return self._load(db, int(at))

    def notebook_with(self, cells: Iterable[str]) -> Notebook | None:
        """Return the notebook with the newest turn of these cells, `None` where none knows any."""
        with self._read() as db:
            row = db.execute(
                "select notebook from member where cell_id in (select value from json_each(?))"
                " order by turn desc limit 1",
                (json.dumps(list(cells)),),
            ).fetchone()
            return self._load(db, row[0]) if row else None

    def _load(self, db: sqlite3.Connection, at: int) -> Notebook:
        path, current = db.execute(
            "select path, branch from notebook where id = ?", (at,)
        ).fetchone()
        nodes = [_node(row) for row in db.execute(NODES, (SNIPPET, at))]
        branches = dict(db.execute("select name, turn from branch where notebook = ?", (at,)))
        marks = dict(db.execute("select name, turn from checkpoint where notebook = ?", (at,)))
        holders = db.execute("select branch, kernel from holder where notebook = ?", (at,))
        tree = Branches(nodes, current=current, branches=branches, checkpoints=marks)
        return Notebook(id=at, path=path, branches=tree, holders=dict(holders))

    def move(self, notebook: int, path: str | None) -> None:
        """Note that a notebook lies elsewhere now; what was noted of that place gives way."""
        with self._write() as db:
            db.execute("update notebook set path = null where path = ?", (path,))
            db.execute("update notebook set path = ? where id = ?", (path, notebook))

    def write_branches(self, notebook: int, branches: Branches, kernel: str) -> None:
        """Record all names, where they stand, and which one this kernel is on."""
        with self._write() as db:
            for at in branches.nodes:
                _join(db, notebook, at, branches.nodes[at].cell_id, new=True)
            db.executemany(
                "insert into branch values (?, ?, ?)"
                " on conflict do update set turn = excluded.turn",
                [(notebook, name, at) for name, at in branches.branches.items()],
            )
            db.executemany(
                "insert into checkpoint values (?, ?, ?)"
                " on conflict do update set turn = excluded.turn",
                [(notebook, name, at) for name, at in branches.checkpoints.items()],
            )
            db.execute("update notebook set branch = ? where id = ?", (branches.current, notebook))
            db.execute("delete from holder where kernel = ?", (kernel,))
            db.execute(
                "insert into holder values (?, ?, ?)"
                " on conflict do update set kernel = excluded.kernel",
                (notebook, branches.current, kernel),
            )

    def hold(self, notebook: int, branch: str, kernel: str) -> bool:
        """Take a branch for this kernel; return whether it was free."""
        with self._write() as db:
            row = db.execute(
                "select kernel from holder where notebook = ? and branch = ?", (notebook, branch)
            ).fetchone()
            if row and row[0] != kernel and runs(row[0]):
                return False
            db.execute("delete from holder where kernel = ?", (kernel,))
            db.execute("insert or replace into holder values (?, ?, ?)", (notebook, branch, kernel))
            return True

    def release(self, kernel: str) -> None:
        """Let go of what a kernel holds, and forget its processes."""
        with self._write() as db:
            db.execute("delete from holder where kernel = ?", (kernel,))

    # --- spending --------------------------------------------------------------------------------

    def spend(self, notebook: int, usage: Usage) -> None:
        """Note what a turn used, finished or not."""
        tokens = usage.prompt_tokens + usage.output_tokens
        with self._write() as db:
            row = (notebook, time.time(), tokens, usage.cost_usd)
            db.execute("insert into spending values (?, ?, ?, ?)", row)

    def spent(self, notebook: int) -> tuple[int, float]:
        """Return the tokens and the dollars (list price) that a notebook has used."""
        sums = "select coalesce(sum(tokens), 0), coalesce(sum(cost_usd), 0.0) from spending"
        with self._read() as db:
            tokens, cost = db.execute(f"{sums} where notebook = ?", (notebook,)).fetchone()
        return int(tokens), float(cost)

    # --- processes -------------------------------------------------------------------------------

    def note_process(self, process: Process) -> None:
        """Write down a process, so that a later kernel can end it if this one can't."""
        row = (process.token, process.pid, process.started, process.kernel, process.file)
        with self._write() as db:
            db.execute("insert or replace into process values (?, ?, ?, ?, ?)", row)

    def forget_process(self, token: str) -> None:
        """The process ended."""
        with self._write() as db:
            db.execute("delete from process where token = ?", (token,))

    def orphans(self) -> list[Process]:
        """Return the processes that kernels wrote down which are no more."""
        with self._read() as db:
            rows = db.execute("select token, pid, started, kernel, file from process").fetchall()
        found = [
            Process(token=row[0], pid=row[1], started=row[2], kernel=row[3], file=row[4])
            for row in rows
        ]
        return [process for process in found if not runs(process.kernel)]

    # --- how it is written -----------------------------------------------------------------------

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._read() as db:
            db.execute("begin immediate")
            try:
                yield db
                db.execute("commit")
            except BaseException:
                if db.in_transaction:
                    db.execute("rollback")
                raise

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._connection
            except (sqlite3.Error, zlib.error) as error:
                raise StoreError(
                    f"The record {self.path} failed: {error}",
                    hint="The turn stands in this kernel's memory and is recorded with the next "
                    "one that can be.",
                ) from error

    def _migrate(self) -> None:
        db = self._connection
        (version,) = db.execute("pragma user_version").fetchone()
        if version > len(MIGRATIONS):
            raise StoreTooNew(
                f"The record {self.path} was written by a newer hotclaude",
                hint="Update hotclaude, or name another file by HOTCLAUDE_STORE.",
            )
        if version == len(MIGRATIONS):
            return
        with self._write():
            # Another kernel may have been here in the meantime.
            (version,) = db.execute("pragma user_version").fetchone()
            for number, migration in enumerate(MIGRATIONS[version:], version + 1):
                for statement in filter(str.strip, migration.split(";")):
                    db.execute(statement)
                db.execute(f"pragma user_version = {number}")


def _open(path: str) -> sqlite3.Connection:
    if path != MEMORY:
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Made by us, so that it is nobody else's to read from its first byte on.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(
        path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False
    )
    connection.execute(f"pragma busy_timeout = {BUSY_MS}")
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = normal")
    connection.execute("pragma foreign_keys = on")
    return connection


def _blob(db: sqlite3.Connection, data: bytes) -> str:
    digest = hashlib.blake2b(data, digest_size=16).hexdigest()
    row = (digest, len(data), zlib.compress(data))
    db.execute("insert into blob values (?, ?, ?) on conflict do nothing", row)
    return digest


def settings_id(settings: Settings) -> str:
    """Return the name under which settings are recorded: all of them, keyed or not."""
    return hashlib.blake2b(_settings_json(settings).encode(), digest_size=16).hexdigest()


def _settings_json(settings: Settings) -> str:
    return json.dumps(asdict(settings), sort_keys=True, separators=(",", ":"))


def _settings(db: sqlite3.Connection, settings: Settings) -> str:
    digest = settings_id(settings)
    row = (digest, _settings_json(settings), json.dumps([settings.cwd, *settings.argv()]))
    db.execute("insert into settings values (?, ?, ?) on conflict do nothing", row)
    return digest


def _join(
    db: sqlite3.Connection, notebook: int, turn: int, cell_id: str | None, *, new: bool = False
) -> None:
    update = "nothing" if new else "update set cell_id = coalesce(excluded.cell_id, cell_id)"
    db.execute(
        f"insert into member values (?, ?, ?) on conflict do {update}",
        (notebook, turn, cell_id),
    )


def _put_branch(db: sqlite3.Connection, notebook: int, name: str, at: int | None) -> None:
    db.execute(
        "insert into branch values (?, ?, ?) on conflict do update set turn = excluded.turn",
        (notebook, name, at),
    )


def _node(row: Sequence[Any]) -> Node:
    usage = dict(zip(USAGE, row[11:16], strict=True))
    return Node(
        id=row[0],
        parent=row[1],
        number=row[2],
        prompt=row[3],
        status=row[4],
        cell_id=row[5],
        key=row[6],
        digest=row[7],
        settings=row[8],
        uuid=row[9],
        ended=row[10],
        usage=Usage(**usage, context_window=row[16]),
        compacted=bool(row[17]),
    )
