"""Forged frames in a recorded turn: no cassette with one is taken, and `verify` names the place."""

from __future__ import annotations

import json
import zlib
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from hotclaude_kernel.claude.events import Decided, Notice
from hotclaude_kernel.claude.frames import dumps
from hotclaude_kernel.claude.parsing import parse
from hotclaude_kernel.cli.main import main
from hotclaude_kernel.errors import StoreError
from hotclaude_kernel.record.cassettes import cassette
from hotclaude_kernel.record.notebooks import notebook_at
from hotclaude_kernel.record.store import Store
from hotclaude_kernel.turns import identity
from hotclaude_kernel.turns.prompt import Prompt
from hotclaude_kernel.turns.settings import Settings
from hotclaude_kernel.turns.tree import Node
from hotclaude_kernel.turns.turn import UNREADABLE, Recorded

from ..turns.test_grammar import FORGED, TURN, forged

if TYPE_CHECKING:
    from pathlib import Path

    from hotclaude_kernel.claude.events import Event
    from hotclaude_kernel.claude.frames import Frame


def read(frames: list[Frame]) -> list[Event]:
    """The events of frames, without those of frames that can't be read."""
    found: list[Event] = []
    for frame in frames:
        with suppress(*UNREADABLE):
            found += parse(frame)
    return found


def recorded(frames: list[Frame]) -> Recorded:
    """A turn with these frames, whose key and node follow from what it holds."""
    data = b"".join(map(dumps, frames))
    key = identity.turn_key(parent=None, prompt=Prompt(text="go"), settings=Settings())
    node = Node(
        id=identity.node_digest(key, identity.canonical_response(read(frames))),
        parent=None,
        number=1,
        prompt="go",
        status="ok",
        cell_id="a",
        key=key,
        settings=identity.settings_name(Settings()),
        uuid="11111111-1111-4111-8111-111111111111",
        model="claude-x",
    )
    return Recorded(node=node, prompt=Prompt(text="go"), settings=Settings(), frames=data)


def put(store: Store, path: str | None, frames: list[Frame]) -> str:
    """Put a turn with these frames into a record past all checks; return its node."""
    turn = recorded(frames)
    store.save(notebook_at(store, path).id, recorded([]), branch="main")
    with store.write() as db:
        data = (zlib.compress(turn.frames),)
        db.execute("insert into blob values ('forged', 0, ?)", data)
        db.execute("update turn set frames = 'forged', node = ?", (turn.node.id,))
    return turn.node.id


def sound() -> Any:
    """The line of a cassette that holds the sound turn."""
    with closing(Store()) as store:
        put(store, None, TURN)
        text = cassette.write(store, [recorded(TURN).node.id])
    return json.loads(text.split("\n")[1])


SOUND = sound()


def text_of(frames: list[Frame]) -> str:
    """A cassette of a turn with these frames."""
    line = SOUND | {"frames": frames, "node": recorded(frames).node.id}
    return f"{json.dumps(cassette.HEADER)}\n{json.dumps(line)}\n"


def test_a_sound_turn_is_taken() -> None:
    with closing(Store()) as store:
        assert cassette.load(store, text_of(TURN)) == 1


def test_what_it_says_of_decisions_and_notices_is_shown_as_recorded() -> None:
    def said(turn: Recorded) -> list[str]:
        found = [event for event in turn.shown if isinstance(event, Decided | Notice)]
        return [e.decision if isinstance(e, Decided) else e.text for e in found]

    compacted = "The conversation was compacted."
    with closing(Store()) as ours, closing(Store()) as theirs:
        turn = replace(recorded(TURN), entries=b'{"sessionId":"s"}\n')
        ours.save(notebook_at(ours, None).id, turn, branch="main")
        cassette.load(theirs, text_of(TURN))
        fallback = "Switched to Haiku"
        task = "Background task completed: done"
        assert said(ours.turn(turn.node.id)) == ["allowed once", task, fallback, compacted]
        assert said(theirs.turn(turn.node.id)) == [
            "allowed once, as recorded",
            f"Recorded: {task}",
            f"Recorded: {fallback}",
            compacted,
        ]


@pytest.mark.parametrize("name", FORGED)
def test_no_cassette_with_a_forged_frame_is_taken(name: str) -> None:
    frames, number, _ = forged(name)
    with closing(Store()) as store:
        with pytest.raises(StoreError, match=f"line 2 can't be taken: frame {number}: "):
            cassette.load(store, text_of(frames))
        with store.read() as db:
            assert db.execute("select count(*) from turn").fetchone() == (0,)


@pytest.mark.parametrize("name", ["a user's words", "hotclaude's words", "a decision on nothing"])
def test_the_commands_name_it(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames, number, why = forged(name)
    path, file = tmp_path / "nb.hotclaude.jsonl", tmp_path / "store.db"
    path.write_text(text_of(frames))
    store = ["--store", str(file)]
    for command in (["import", *store, str(path)], ["verify", *store, str(path)]):
        assert main(command) != 0
        said = capsys.readouterr().err
        assert f"line 2 can't be taken: frame {number}: " in said
        assert why in said
    with closing(Store(str(file))) as record:  # as an older version took it
        node = put(record, None, frames)
    assert main(["verify", *store]) == 1
    assert f"turn 1 ({node[:12]}): frame {number}: " in capsys.readouterr().out
