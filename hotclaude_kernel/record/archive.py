"""Whole turns, taken out of the record and put into it: what cassettes and audits are made of.

Such a turn names the one that it follows by its node, so it means the same in every record. What a
record alone knows of it (its number there, its transcript, who has it) stays behind.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..claude.events import Usage
from ..errors import StoreError
from ..turns import identity
from ..turns.prompt import Prompt
from ..turns.tape import events
from ..turns.tree import SNIPPET, Node
from ..turns.turn import answer_of
from .store import Finished, put

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..turns.prompt import Attachment
    from ..turns.settings import Settings
    from .database import Database
    from .store import Store

TURN = """
    select t.key, t.node, p.node, t.number, t.settings, t.status, t.compacted, t.pure,
           t.input_tokens, t.cache_read_tokens, t.cache_write_tokens, t.output_tokens, t.cost_usd,
           t.context_window
    from turn t left join turn p on p.id = t.parent where t.id = ?
"""
LINEAGE = """
    with recursive up(id, parent) as (
        select id, parent from turn where id in (select value from json_each(?))
        union
        select t.id, t.parent from turn t join up on t.id = up.parent
    )
    select id from turn where id in (select id from up) order by number, id
"""
USAGE = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "cost_usd")
# What frames that a process never sent make the parser do.
UNREADABLE = (LookupError, TypeError, ValueError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A turn on its own: all that is recorded of it but its transcript.

    `parent` is the node that it follows. `replays` says whether it is what its key replays; of
    several answers to the same question one is.
    """

    key: str
    node: str
    parent: str | None
    number: int
    prompt: str
    settings: Settings
    status: str
    model: str
    cli: str
    usage: Usage
    first_text_s: float | None
    total_s: float
    frames: bytes
    deltas: bytes = b""
    attachments: tuple[Attachment, ...] = ()
    priced: bool = False
    pure: bool = True
    compacted: bool = False
    replays: bool = True

    @property
    def derived_key(self) -> str:
        """The key that follows from what was asked."""
        prompt = Prompt(text=self.prompt, attachments=self.attachments)
        return identity.turn_key(parent=self.parent, prompt=prompt, settings=self.settings)

    def fault(self) -> str:
        """Return what does not follow from the turn's content, nothing where all of it does."""
        if self.derived_key != self.key:
            return "its key does not follow from what was asked"
        try:
            node = identity.node_digest(self.key, identity.canonical_response(events(self.frames)))
        except UNREADABLE as error:
            return f"its frames can't be read ({type(error).__name__})"
        return "" if node == self.node else "its node does not follow from its frames"


# --- out of the record -----------------------------------------------------------------------


def turn_at(store: Store, at: int) -> Recorded:
    """Return a recorded turn. Raises `StoreError` where it is not recorded."""
    with store.read() as db:
        row = db.execute(TURN, (at,)).fetchone()
    if row is None:
        raise StoreError(f"Turn {at} is not in the record")
    key, node, parent, number, settings, status, compacted, pure, *used, window = row
    recording, prompt = store.recording(at), store.prompt(at)
    return Recorded(
        key=key,
        node=node,
        parent=parent,
        number=number,
        prompt=prompt.text,
        settings=store.settings(settings),
        status=status,
        model=recording.model,
        cli=recording.cli,
        usage=Usage(**dict(zip(USAGE, used, strict=True)), context_window=window),
        first_text_s=recording.first_text_s,
        total_s=recording.total_s,
        frames=recording.frames,
        deltas=recording.deltas,
        attachments=prompt.attachments,
        priced=recording.priced,
        pure=bool(pure),
        compacted=bool(compacted),
        replays=store.find(key) == at,
    )


def lineage(store: Database, turns: Iterable[int]) -> list[int]:
    """Return turns and all that they follow, each behind the one that it follows."""
    with store.read() as db:
        return [at for (at,) in db.execute(LINEAGE, (json.dumps(list(turns)),))]


# --- into the record -------------------------------------------------------------------------


def has_cassette(store: Database, digest: str) -> bool:
    """Return whether a cassette of this digest was loaded."""
    with store.read() as db:
        row = db.execute("select 1 from cassette where digest = ?", (digest,)).fetchone()
    return row is not None


def add_cassette(store: Database, digest: str, turns: Sequence[Recorded]) -> int:
    """Record turns that are not recorded yet, all or none; return how many were new.

    Each stands behind the one that it follows. Where a key has a turn that replays, that stays.
    """
    with store.write() as db:
        (newest,) = db.execute("select coalesce(max(id), 0) from turn").fetchone()
        (before,) = db.execute("select count(*) from turn").fetchone()
        ids: dict[str | None, int] = {}
        for count, turn in enumerate(turns, 1):
            ids[turn.node] = put(db, _finished(turn, newest + count, ids.get(turn.parent)))
            if turn.status == "ok" and turn.replays:
                db.execute(
                    "insert into head values (?, ?) on conflict do nothing",
                    (turn.key, ids[turn.node]),
                )
        db.execute("insert into cassette values (?) on conflict do nothing", (digest,))
        (after,) = db.execute("select count(*) from turn").fetchone()
    return int(after - before)


def _finished(turn: Recorded, at: int, parent: int | None) -> Finished:
    node = Node(
        id=at,
        parent=parent,
        number=turn.number,
        prompt=turn.prompt[:SNIPPET],
        status=turn.status,
        key=turn.key,
        digest=turn.node,
        uuid=str(uuid.uuid4()),  # of its prompt, in a transcript that may be made of it
        compacted=turn.compacted,
        usage=turn.usage,
        ended=time.time(),  # when it came here
    )
    return Finished(
        node=node,
        prompt=turn.prompt,
        settings=turn.settings,
        answer=answer_of(events(turn.frames)),
        model=turn.model,
        cli=turn.cli,
        first_text_s=turn.first_text_s,
        total_s=turn.total_s,
        frames=turn.frames,
        deltas=turn.deltas,
        attachments=turn.attachments,
        priced=turn.priced,
        pure=turn.pure,
    )


# --- what nobody holds -----------------------------------------------------------------------
