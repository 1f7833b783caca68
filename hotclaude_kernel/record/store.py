"""The record: one SQLite file that holds every finished turn.

A turn is written in one transaction when it ends, and what is committed is never changed: only
branches, checkpoints and holders move.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ..claude.frames import whole
from ..claude.processes import runs
from ..errors import StoreError
from ..turns.prompt import Attachment, Prompt
from ..turns.settings import Settings
from ..turns.tree import SNIPPET, Node
from .database import Database
from .notebooks import NODE, join, node_of, put_branch
from .resume import chain

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

RECORDING = """
    select f.data, d.data, t.first_text_s, t.total_s, t.priced, t.model, t.cli from turn t
    join blob f on f.digest = t.frames join blob d on d.digest = t.deltas where t.id = ?
"""
ATTACHMENTS = """
    select a.name, a.media_type, b.data from attachment a join blob b on b.digest = a.data
    where a.turn = ? order by a.position
"""
PROMPTS = """
    with recursive up(id, parent, prompt, number) as (
        select id, parent, substr(prompt, 1, :length), number from turn
        where id = (select parent from turn where id = :turn)
        union all
        select t.id, t.parent, substr(t.prompt, 1, :length), t.number
        from turn t join up on t.id = up.parent
    )
    select prompt from up order by number
"""
# A turn that came again is what replays for its key.
NEWEST = "insert or replace into head select key, id from turn where id = ? and status = 'ok'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A turn as it is recorded: its node, and what the node does not keep.

    `entries` is what it added to the transcript, `frames` what the process said, as lines; `deltas`
    is when its text came. `priced` says whether the list price was the user's, `pure` whether no
    tool was used that may depend on more than the conversation.
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
    deltas: bytes = b""
    attachments: tuple[Attachment, ...] = ()
    priced: bool = False
    pure: bool = True


@dataclass(frozen=True, slots=True)
class Recording:
    """What a turn is replayed from."""

    frames: bytes
    deltas: bytes
    first_text_s: float | None
    total_s: float
    priced: bool
    model: str
    cli: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked in a recorded turn."""

    id: int
    prompt: str
    settings: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process that a kernel started and wrote down."""

    token: str
    pid: int
    started: int
    kernel: str
    file: str = ""


class Store(Database):
    """The record in a file, or in memory where there is none; see `Database`."""

    # --- turns -------------------------------------------------------------------------------

    def save(self, notebook: int, turn: Finished, *, branch: str) -> int:
        """Record a turn and stand the branch on it, both or neither; return the turn's id.

        That is another id than its node's where the very same was recorded before.
        """
        node = turn.node
        with self.write() as db:
            at = put(db, turn)
            if node.status == "ok":
                db.execute("insert or replace into head values (?, ?)", (node.key, at))
            join(db, notebook, at, node.cell_id)
            put_branch(db, notebook, branch, at)
        return at

    def join(self, notebook: int, turn: int, cell_id: str | None, *, branch: str) -> None:
        """Make a recorded turn one of this notebook's, and stand the branch on it.

        It is the newest answer to its key, and so the one that replays.
        """
        with self.write() as db:
            join(db, notebook, turn, cell_id)
            put_branch(db, notebook, branch, turn)
            db.execute(NEWEST, (turn,))

    def find(self, key: str) -> int | None:
        """Return the turn that replays for a key, `None` where none was recorded."""
        with self.read() as db:
            row = db.execute("select turn from head where key = ?", (key,)).fetchone()
        return None if row is None else int(row[0])

    def turn_of(self, digest: str) -> int | None:
        """Return the turn that is named so, `None` where it is not recorded."""
        with self.read() as db:
            row = db.execute("select id from turn where node = ?", (digest,)).fetchone()
        return None if row is None else int(row[0])

    def node(self, turn: int, cell_id: str | None) -> Node:
        """Return a recorded turn as a node, of the cell that it is shown in."""
        with self.read() as db:
            row = db.execute(f"{NODE} where t.id = ?", (SNIPPET, cell_id, turn)).fetchone()
        return node_of(row)

    def entries(self, turn: int) -> list[bytes]:
        """Return what each turn up to this one added to its transcript."""
        with self.read() as db:
            return chain(db, turn)

    def recording(self, turn: int) -> Recording:
        """Return what a turn is replayed from. Raises `StoreError` where it is not recorded."""
        with self.read() as db:
            row = db.execute(RECORDING, (turn,)).fetchone()
            if row is None:
                raise StoreError(f"Turn {turn} is not in the record")
            frames, deltas, first_text_s, total_s, priced, model, cli = row
            return Recording(
                frames=zlib.decompress(frames),
                deltas=zlib.decompress(deltas),
                first_text_s=first_text_s,
                total_s=total_s,
                priced=bool(priced),
                model=model,
                cli=cli,
            )

    def prompt(self, turn: int) -> Prompt:
        """Return what was asked in a turn, its images included."""
        with self.read() as db:
            row = db.execute("select prompt from turn where id = ?", (turn,)).fetchone()
            if row is None:
                raise StoreError(f"Turn {turn} is not in the record")
            images = db.execute(ATTACHMENTS, (turn,)).fetchall()
        attached = (
            Attachment(name=name, media_type=kind, data=zlib.decompress(data))
            for name, kind, data in images
        )
        return Prompt(text=row[0], attachments=tuple(attached))

    def asked_after(self, turn: int | None) -> list[Asked]:
        """Return what was asked after a turn, or at the beginning, and answered; newest last."""
        where = "parent is ? and status = 'ok' order by id desc limit 200"
        return self._asked(where, turn)

    def asked(self, prompt: str) -> list[Asked]:
        """Return where a prompt was asked and answered; newest last."""
        return self._asked("prompt = ? and status = 'ok' order by id desc limit 200", whole(prompt))

    def _asked(self, where: str, value: int | str | None) -> list[Asked]:
        with self.read() as db:
            rows = db.execute(f"select id, prompt, settings from turn where {where}", (value,))
            return [Asked(*row) for row in rows][::-1]

    def prompts_before(self, turn: int) -> list[str]:
        """Return the beginnings of the prompts that led to a turn, without its own."""
        with self.read() as db:
            found = db.execute(PROMPTS, {"length": SNIPPET, "turn": turn})
            return [prompt for (prompt,) in found]

    def settings(self, digest: str) -> Settings:
        """Return recorded settings. Fields that a newer version wrote are left out."""
        with self.read() as db:
            row = db.execute("select json from settings where digest = ?", (digest,)).fetchone()
        if row is None:
            raise StoreError("The settings of a turn are not in the record")
        known = {name: v for name, v in json.loads(row[0]).items() if hasattr(Settings, name)}
        lists = {name: tuple(value) for name, value in known.items() if isinstance(value, list)}
        return Settings(**(known | lists))

    # --- processes -------------------------------------------------------------------------------

    def note_process(self, process: Process) -> None:
        """Write down a process, so that a later kernel can end it if this one can't."""
        row = (process.token, process.pid, process.started, process.kernel, process.file)
        with self.write() as db:
            db.execute("insert or replace into process values (?, ?, ?, ?, ?)", row)

    def forget_process(self, token: str) -> None:
        """The process ended."""
        with self.write() as db:
            db.execute("delete from process where token = ?", (token,))

    def orphans(self) -> list[Process]:
        """Return the processes that kernels wrote down which are no more."""
        with self.read() as db:
            rows = db.execute("select token, pid, started, kernel, file from process").fetchall()
        found = [
            Process(token=row[0], pid=row[1], started=row[2], kernel=row[3], file=row[4])
            for row in rows
        ]
        return [process for process in found if not runs(process.kernel)]


def put(db: sqlite3.Connection, turn: Finished) -> int:
    """Write a turn, unless the very same is there; return its id."""
    node, usage = turn.node, turn.node.usage
    entries, frames, deltas = (_blob(db, d) for d in (turn.entries, turn.frames, turn.deltas))
    db.execute(
        "insert into turn values (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
        " on conflict (node) do nothing",
        (
            node.id, node.parent, node.number, node.key, node.digest, whole(turn.prompt),
            _settings(db, turn.settings), node.status, node.uuid, node.compacted, turn.priced,
            turn.pure, whole(turn.answer), turn.model, turn.cli, usage.input_tokens,
            usage.cache_read_tokens, usage.cache_write_tokens, usage.output_tokens,
            usage.context_window, usage.cost_usd, turn.first_text_s, turn.total_s,
            node.ended, entries, frames, deltas,
        ),
    )  # fmt: skip
    (at,) = db.execute("select id from turn where node = ?", (node.digest,)).fetchone()
    _attach(db, at, turn.attachments)
    return int(at)


def _blob(db: sqlite3.Connection, data: bytes) -> str:
    digest = hashlib.blake2b(data, digest_size=16).hexdigest()
    row = (digest, len(data), zlib.compress(data))
    db.execute("insert into blob values (?, ?, ?) on conflict do nothing", row)
    return digest


def _attach(db: sqlite3.Connection, turn: int, attachments: Sequence[Attachment]) -> None:
    rows = [
        (turn, position, image.name, image.media_type, _blob(db, image.data))
        for position, image in enumerate(attachments)
    ]
    db.executemany("insert into attachment values (?, ?, ?, ?, ?) on conflict do nothing", rows)


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
