"""The record: one SQLite file that holds every finished turn.

A turn is written in one transaction when it ends, and its row is never changed: only branches,
checkpoints, answers and holders are. In memory a turn is named by its node; row numbers are used
inside this room only.
"""

from __future__ import annotations

import hashlib
import json
import time
import zlib
from typing import TYPE_CHECKING

from msgspec import Struct

from ..claude.frames import whole
from ..claude.processes import runs
from ..errors import StoreError
from ..turns.identity import sealed, settings_json, settings_name
from ..turns.prompt import Attachment, Prompt
from ..turns.settings import Settings
from ..turns.tree import SNIPPET, Node
from ..turns.turn import Recorded
from .answers import conditions_of, put_answer, take_answer
from .database import Database
from .notebooks import NODE, join, node_of, put_branch, row_of
from .resume import chain

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from typing import Any

# The columns of a turn: those of its node, then the others.
TURN = NODE.replace(
    "from turn t",
    """, t.prompt, s.json, f.data, d.data, t.cli, t.first_text_s, t.total_s, t.priced, t.pulled,
           exists (
               select 1 from answer a where a.turn = t.id and not exists (
                   select 1 from answer b
                   where b.key = a.key and b.notebook = a.notebook and b.at > a.at
               )
           ), (select size from blob where digest = t.entries) = 0, t.id
    from turn t join settings s on s.digest = t.settings
    join blob f on f.digest = t.frames join blob d on d.digest = t.deltas""",
)
ATTACHMENTS = """
    select a.name, a.media_type, b.data from attachment a join blob b on b.digest = a.data
    where a.turn = ? order by a.position
"""
PROMPTS = """
    with recursive up(id, parent, prompt, number) as (
        select id, parent, substr(prompt, 1, :length), number from turn
        where id = (select parent from turn where node = :node)
        union all
        select t.id, t.parent, substr(t.prompt, 1, :length), t.number
        from turn t join up on t.id = up.parent
    )
    select prompt from up order by number
"""
ASKED_AFTER = """
    select t.prompt, s.json from turn t join settings s on s.digest = t.settings
    where t.parent is (select id from turn where node = ?) and t.id in (
        select turn from answer where notebook in (select value from json_each(?))
    )
    order by t.id desc limit 200
"""
ASKED = """
    select node from turn where prompt = ? and id in (
        select turn from answer where notebook in (select value from json_each(?))
    )
    order by id desc limit 200
"""
SETTINGS = """
    select digest, json from settings where digest in (
        select t.settings from member m join turn t on t.id = m.turn where m.notebook = ?
    )
"""
# The settings whose MCP servers are JSON, and no path and no digest.
UNSEALED = """
    select digest, json from settings where ltrim(json_extract(json, '$.mcp_config')) like '{%'
"""


class Process(Struct, frozen=True, kw_only=True):
    """A claude process that a kernel started, as recorded: it can be ended if its kernel dies.

    `started` is in clock ticks since boot (see `processes`), `kernel` is the kernel's
    `this_kernel()`, `file` is the transcript it resumed from.
    """

    token: str
    pid: int
    started: int
    kernel: str
    file: str = ""


class Store(Database):
    """The record, in a file or in memory; see `Database`."""

    # --- turns -------------------------------------------------------------------------------

    def save(self, notebook: int, turn: Recorded, *, branch: str, scope: int | None = None) -> str:
        """Record a turn and end the branch at it, both or neither.

        If an identical turn is already recorded, it is kept. Return the prompt uuid that is
        recorded: then it is another one than the given turn's. The turn replays in the notebook
        `scope`, by default in this one.
        """
        with self.write() as db:
            at = put(db, turn)
            join(db, notebook, at, turn.node.cell_id)
            put_branch(db, notebook, branch, at)
            put_answer(db, scope or notebook, at, turn.conditions)
            (uuid,) = db.execute("select uuid from turn where id = ?", (at,)).fetchone()
        return str(uuid)

    def join(
        self,
        notebook: int,
        node: str,
        cell_id: str | None,
        *,
        branch: str | None,
        scope: int | None = None,
        origin: int | None = None,
    ) -> None:
        """Make a recorded turn a member of this notebook, and end a branch at it if one is given.

        From now on it is the one that replays for its key in the notebook `scope`, by default this
        one, under the conditions that it has in the notebook `origin`.
        """
        with self.write() as db:
            at = row_of(db, node)
            join(db, notebook, at, cell_id)
            if branch is not None:
                put_branch(db, notebook, branch, at)
            take_answer(db, scope or notebook, at, origin)

    def node(self, node: str, cell_id: str | None = None) -> Node | None:
        """Return the node of a turn, with the given cell; `None` if it is not recorded."""
        with self.read() as db:
            row = db.execute(f"{NODE} where t.node = ?", (SNIPPET, node)).fetchone()
        return None if row is None else node_of(row, cell_id, row[1])

    def turn(self, node: str) -> Recorded:
        """Return a turn, without its transcript. Raises `StoreError` if it is not recorded."""
        with self.read() as db:
            row = db.execute(f"{TURN} where t.node = ?", (SNIPPET, node)).fetchone()
            if row is None:
                raise StoreError(f"The turn {node[:12]} is not in the record {self.path}")
            prompt, settings, frames, deltas, cli, first, total, *rest, at = row[-12:]
            priced, pulled, replays, elsewhere = rest
            images = db.execute(ATTACHMENTS, (at,)).fetchall()
            return Recorded(
                node=node_of(row, None, row[1]),
                prompt=Prompt(text=prompt, attachments=tuple(map(_attachment, images))),
                settings=_settings_of(settings),
                frames=zlib.decompress(frames),
                deltas=zlib.decompress(deltas),
                cli=cli,
                first_text_s=first,
                total_s=total,
                priced=bool(priced),
                replays=bool(replays),
                conditions=conditions_of(db, at),
                elsewhere=bool(elsewhere),
                pulled=pulled,
            )

    def entries(self, node: str) -> list[bytes]:
        """Return the transcript entries of each turn from the first to `node`, as JSON lines."""
        with self.read() as db:
            return chain(db, node)

    def asked_after(self, node: str | None, notebooks: list[int]) -> list[tuple[Prompt, Settings]]:
        """Return the questions that notebooks have answers to, after a turn (`None`: at the start).

        The newest comes last. Images are left out. At most 200 are returned.
        """
        with self.read() as db:
            rows = db.execute(ASKED_AFTER, (node, json.dumps(notebooks))).fetchall()
        return [(Prompt(text=text), _settings_of(asked)) for text, asked in rows[::-1]]

    def asked(self, prompt: str, notebooks: list[int]) -> list[str]:
        """Return the nodes of a prompt's answers in notebooks, at most 200, the newest last."""
        with self.read() as db:
            rows = db.execute(ASKED, (whole(prompt), json.dumps(notebooks))).fetchall()
        return [node for (node,) in rows[::-1]]

    def prompts_before(self, node: str) -> list[str]:
        """Return the prompts of the turns before a turn, each cut to `SNIPPET` characters."""
        with self.read() as db:
            rows = db.execute(PROMPTS, {"length": SNIPPET, "node": node})
            return [prompt for (prompt,) in rows]

    def settings(self, name: str) -> Settings:
        """Return the settings of that digest. Raises `StoreError` if they are not recorded."""
        with self.read() as db:
            row = db.execute("select json from settings where digest = ?", (name,)).fetchone()
        if row is None:
            raise StoreError("The settings of a turn are not in the record")
        return _settings_of(row[0])

    def settings_in(self, notebook: int) -> dict[str, Settings]:
        """Return the settings of a notebook's turns by their digests."""
        with self.read() as db:
            return {name: _settings_of(asked) for name, asked in db.execute(SETTINGS, (notebook,))}

    def unsealed(self) -> bool:
        """Return whether settings of an older version hold MCP servers and their secrets."""
        with self.read() as db:
            (found,) = db.execute(f"select exists ({UNSEALED})").fetchone()
        return bool(found)

    def seal(self) -> None:
        """Put digests in place of the MCP servers that older versions recorded; see `sealed`.

        The old bytes are overwritten in the file.
        """
        with self.lend() as db:
            db.execute("pragma secure_delete = on")
        with self.write() as db:
            for name, text in db.execute(UNSEALED).fetchall():
                settings = sealed(_settings_of(text))
                row = (settings_json(settings), _flags(settings), name)
                db.execute("update settings set json = ?, flags = ? where digest = ?", row)
        with self.lend() as db:
            db.execute("pragma wal_checkpoint(truncate)")

    # --- processes -------------------------------------------------------------------------------

    def note_process(self, process: Process) -> None:
        """Record a process, so that a later kernel can end it if this one can't."""
        row = (process.token, process.pid, process.started, process.kernel, process.file)
        with self.write() as db:
            db.execute("insert or replace into process values (?, ?, ?, ?, ?)", row)

    def forget_process(self, token: str) -> None:
        """Delete the record of a process that ended."""
        with self.write() as db:
            db.execute("delete from process where token = ?", (token,))

    def orphans(self) -> list[Process]:
        """Return the recorded processes whose kernel no longer runs."""
        with self.read() as db:
            rows = db.execute("select token, pid, started, kernel, file from process").fetchall()
        found = [
            Process(token=row[0], pid=row[1], started=row[2], kernel=row[3], file=row[4])
            for row in rows
        ]
        return [process for process in found if not runs(process.kernel)]


# --- writing a turn --------------------------------------------------------------------------


def put(db: sqlite3.Connection, turn: Recorded) -> int:
    """Write a turn, unless an identical one is recorded; return its row.

    Raises `StoreError` if its parent is not recorded.
    """
    node, usage = turn.node, turn.node.usage
    parent = None if node.parent is None else row_of(db, node.parent)
    entries, frames, deltas = (_blob(db, d) for d in (turn.entries, turn.frames, turn.deltas))
    db.execute(
        "insert into turn values (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
        " on conflict (node) do nothing",
        (
            _next_row(db), parent, node.number, node.key, node.id, whole(turn.prompt.text),
            _settings(db, turn.settings), node.status, node.uuid, node.compacted, turn.priced,
            turn.pure, whole(turn.answer), node.model, turn.cli, usage.input_tokens,
            usage.cache_read_tokens, usage.cache_write_tokens, usage.output_tokens,
            usage.context_window, usage.cost_usd, turn.first_text_s, turn.total_s,
            node.ended, entries, frames, deltas, turn.pulled,
        ),
    )  # fmt: skip
    at = row_of(db, node.id)
    _attach(db, at, turn.prompt.attachments)
    return at


def _next_row(db: sqlite3.Connection) -> int:
    """Return a row number above all others, from the clock: rows of two stores differ."""
    (newest,) = db.execute("select coalesce(max(id), 0) from turn").fetchone()
    return max(time.time_ns(), int(newest) + 1)


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


def _settings(db: sqlite3.Connection, settings: Settings) -> str:
    name = settings_name(settings)
    row = (name, settings_json(settings), _flags(settings))
    db.execute("insert into settings values (?, ?, ?) on conflict do nothing", row)
    return name


def _flags(settings: Settings) -> str:
    """Return what the next kernel's first process is started with, as JSON: folder, then flags.

    MCP servers are not among them: they come from the configuration of each kernel.
    """
    flags = settings.changed(mcp_config=None).argv()
    return json.dumps([settings.cwd, *flags])


def _attachment(row: Sequence[Any]) -> Attachment:
    name, media_type, data = row
    return Attachment(name=name, media_type=media_type, data=zlib.decompress(data))


def _settings_of(text: str) -> Settings:
    """Return recorded settings. Fields that a newer version wrote are left out."""
    known = {name: v for name, v in json.loads(text).items() if hasattr(Settings, name)}
    lists = {name: tuple(value) for name, value in known.items() if isinstance(value, list)}
    return Settings(**(known | lists))
