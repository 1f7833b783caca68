"""One notebook's place in the record: found again, shared, kept in memory where it must be."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from hotclaude_kernel.record import notebooks
from hotclaude_kernel.record.database import MEMORY
from hotclaude_kernel.record.notebook import Record
from hotclaude_kernel.record.queries import all_turns
from hotclaude_kernel.record.verify import store_faults
from hotclaude_kernel.turns.identity import settings_name
from hotclaude_kernel.turns.prompt import Prompt
from hotclaude_kernel.turns.settings import Settings
from hotclaude_kernel.turns.tree import Node
from hotclaude_kernel.turns.turn import Recorded

from ..support.waiting import DEADLINE_S
from .test_cassette import ANSWER, frames_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hotclaude_kernel.record.store import Store

ENTRIES = b'{"sessionId":"s"}\n'


class Shelf:
    """A folder of notebooks, and the record that they are in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "store.db"
        self.records: list[Record] = []

    def notebook(self, name: str = "book", cells: str = "abc") -> str:
        path = self.folder / f"{name}.ipynb"
        path.write_text(json.dumps({"cells": [{"id": cell} for cell in cells]}))
        return str(path)

    def open(self, path: str | None, *, kernel: str = "") -> Record:
        record = Record(path, store=str(self.file))
        record.kernel = kernel or record.kernel
        self.records.append(record)
        return record


def add(record: Record, text: str, cell: str | None = None, **options: Any) -> Node:
    """Record a turn behind the head; its name tells what it followed, as a real one's does."""
    head = record.branches.head
    patience_s = options.pop("patience_s", DEADLINE_S)
    node = Node(
        id=f"{head.id if head else ''}/{text}",
        parent=head.id if head else None,
        number=head.number + 1 if head else 1,
        prompt=text,
        status="ok",
        cell_id=cell,
        key=f"key of {text}",
        settings=settings_name(Settings()),
        uuid=options.pop("uuid", f"uuid of {text}"),
    )
    turn = Recorded(
        node=node,
        prompt=Prompt(text=text, cell_id=cell),
        settings=Settings(),
        entries=options.pop("entries", ENTRIES),
        frames=frames_of(ANSWER),
    )
    record.add(turn, **options)
    record.settle(patience_s)
    assert record.branches.head
    return record.branches.head


def prompts(record: Record) -> list[str]:
    return [node.prompt for node in record.branches.path]


@contextmanager
def broken(store: Store) -> Iterator[None]:
    """Have the store's file refuse to be written."""
    with store.lend() as db:
        db.execute("pragma query_only = on")
    yield
    with store.lend() as db:
        db.execute("pragma query_only = off")


class TestOpening:
    def test_a_notebook_goes_on_where_it_was(self, shelf: Shelf) -> None:
        path = shelf.notebook()
        first = shelf.open(path)
        add(first, "one")
        first.close()
        again = shelf.open(path)
        assert prompts(again) == ["one"]
        assert again.resumed
        assert again.kept

    def test_nothing_is_opened_before_it_is_needed(self, shelf: Shelf) -> None:
        shelf.open(shelf.notebook()).close()
        assert not shelf.file.exists()

    def test_a_file_that_can_not_be_used_is_said_and_memory_taken(self, shelf: Shelf) -> None:
        shelf.file.write_text("no database" * 200)
        record = shelf.open(shelf.notebook())
        add(record, "one")
        assert record.store.path == MEMORY
        [notice] = record.take_notices()
        assert "can't be used" in notice
        assert record.take_notices() == []

    def test_where_another_kernel_is_a_branch_of_its_own_is_begun(self, shelf: Shelf) -> None:
        path = shelf.notebook()
        add(shelf.open(path), "one")
        other = shelf.open(path, kernel="another kernel")
        assert other.branches.current == "main-1"
        [notice] = other.take_notices()
        assert "main open: this one goes on as branch main-1" in notice
        add(other, "two")
        assert prompts(other) == ["one", "two"]


class TestRecognising:
    def test_a_notebook_that_was_moved_is_found_by_its_cells(self, shelf: Shelf) -> None:
        first = shelf.open(shelf.notebook())
        add(first, "one", "a")
        first.close()
        (shelf.folder / "book.ipynb").unlink()
        moved = shelf.open(shelf.notebook("moved"))
        assert prompts(moved) == []
        assert moved.recognise("b")
        assert prompts(moved) == ["one"]
        assert not moved.recognise("b")

    def test_a_copy_begins_with_the_same_and_goes_on_by_itself(self, shelf: Shelf) -> None:
        first = shelf.open(shelf.notebook())
        add(first, "one", "a")
        first.close()
        copy = shelf.open(shelf.notebook("copy"))
        assert copy.recognise("b")
        assert copy.take_notices() == ["Copied from book.ipynb: goes on from there by itself"]
        add(copy, "two", "b")
        copy.close()
        assert prompts(shelf.open(shelf.notebook())) == ["one"]

    def test_another_notebook_at_an_old_path_is_not_taken_for_it(self, shelf: Shelf) -> None:
        first = shelf.open(shelf.notebook())
        add(first, "one", "a")
        first.close()
        other = shelf.open(shelf.notebook(cells="xyz"))
        assert other.recognise("x")
        assert prompts(other) == []
        assert "Another notebook lay here before" in other.take_notices()[0]

    def test_a_cell_that_is_known_is_no_news(self, shelf: Shelf) -> None:
        record = shelf.open(shelf.notebook())
        add(record, "one", "a")
        assert not record.recognise("a")

    def test_without_cells_to_read_the_path_is_trusted(self, shelf: Shelf) -> None:
        path = shelf.notebook()
        first = shelf.open(path)
        add(first, "one", "a")
        first.close()
        (shelf.folder / "book.ipynb").unlink()
        again = shelf.open(path)
        assert not again.recognise("new")
        assert prompts(again) == ["one"]


class TestAdding:
    def test_the_very_same_of_another_notebook_becomes_ours(self, shelf: Shelf) -> None:
        one = add(shelf.open(shelf.notebook()), "one", "a")
        ours = shelf.open(shelf.notebook("other", "xyz"))
        same = add(ours, "one", "x", uuid="of another process")
        assert (same.id, same.uuid) == (one.id, one.uuid)
        assert all_turns(ours.store) == [one.id]
        assert [node.cell_id for node in ours.branches.path] == ["x"]

    def test_what_can_not_be_written_is_said_and_written_with_the_next(self, shelf: Shelf) -> None:
        path = shelf.notebook()
        record = shelf.open(path)
        add(record, "one")
        with broken(record.store):
            two = add(record, "two", patience_s=0.0)
            [notice] = record.take_notices()
            assert notice.startswith("Written down, not yet recorded: ")
            assert len(record.entries(record.branches.path)) == 2  # from memory
            assert [found.node for found in record.candidates(two.key)] == [two.id]
        add(record, "three")
        record.settle(DEADLINE_S)
        assert record.take_notices() == ["What was written down is recorded now"]
        record.close()
        assert prompts(shelf.open(path)) == ["one", "two", "three"]

    def test_what_waits_when_it_closes_is_written(self, shelf: Shelf) -> None:
        path = shelf.notebook()
        record = shelf.open(path)
        with broken(record.store):
            add(record, "one", patience_s=0.0)
        record.close()
        assert prompts(shelf.open(path)) == ["one"]

    def test_what_is_not_to_be_kept_and_what_follows_stay_in_memory(self, shelf: Shelf) -> None:
        path = shelf.notebook()
        record = shelf.open(path)
        add(record, "one")
        add(record, "secret", keep=False)
        add(record, "after it")
        assert prompts(record) == ["one", "secret", "after it"]
        assert len(record.entries(record.branches.path)) == 3
        record.write()
        record.close()
        assert prompts(shelf.open(path)) == ["one"]


class TestThePath:
    def test_a_transcript_that_is_lost_is_rebuilt_and_that_is_said(self, shelf: Shelf) -> None:
        record = shelf.open(shelf.notebook())
        add(record, "one", entries=b"")
        [entries] = record.entries(record.branches.path)
        assert b"uuid of one" in entries
        assert "rebuilt from their recordings" in record.take_notices()[0]

    def test_a_turn_of_another_notebook_is_shown_in_our_cell(self, shelf: Shelf) -> None:
        one = add(shelf.open(shelf.notebook()), "one", "a")
        ours = shelf.open(shelf.notebook("other", "xyz"))
        turn = ours.recorded(one.id, "x")
        assert (turn.node.id, turn.node.cell_id) == (one.id, "x")
        assert turn.frames == frames_of(ANSWER)

    def test_what_is_held_is_let_go_at_the_end(self, shelf: Shelf) -> None:
        path = shelf.notebook()
        record = shelf.open(path)
        add(record, "one")
        assert notebooks.notebook_at(record.store, path).holders == {"main": record.kernel}
        record.close()
        other = shelf.open(path, kernel="another kernel")
        assert other.branches.current == "main"


class TestReading:
    """Of a long notebook the path is read first: with it a process can start."""

    def test_the_path_is_read_first_and_the_rest_when_asked(self, shelf: Shelf) -> None:
        path = shelf.notebook()
        record = shelf.open(path)
        one = add(record, "one", "a")
        two = add(record, "two", "b")
        record.branches.rewind(one)
        record.write()
        three = add(record, "three", "b")
        record.close()
        again = shelf.open(path)
        again.open(whole=False)
        assert not again.whole
        assert list(again.branches.nodes) == [one.id, three.id]
        assert prompts(again) == ["one", "three"]
        assert again.branches.branches["branch-1"] == two.id
        again.open()
        assert again.whole
        assert again.branches.nodes.keys() == {one.id, two.id, three.id}
        assert [node.prompt for node in again.branches.path_to(two.id)] == ["one", "two"]
        assert again.version_of(two) == ""


class TestMembers:
    """A notebook has all that its turns follow: a tree with holes could not be opened."""

    def prepared(self, shelf: Shelf) -> tuple[Node, Node]:
        """Another notebook's two turns."""
        theirs = shelf.open(shelf.notebook("theirs", "xyz"))
        return add(theirs, "q0", "x"), add(theirs, "q1", "y")

    def test_a_turn_that_joins_brings_what_it_follows(self, shelf: Shelf) -> None:
        q0, q1 = self.prepared(shelf)
        path = shelf.notebook()
        mine = shelf.open(path)
        mine.branches  # noqa: B018 - opens it
        add(mine, "q0", "a", keep=False)  # the same answer, while nothing was to be recorded
        mine.join(replace(q1, cell_id="b"))
        mine.write()
        assert [node.id for node in mine.branches.path] == [q0.id, q1.id]
        mine.close()
        again = shelf.open(path)
        assert [node.id for node in again.branches.path] == [q0.id, q1.id]
        assert notebooks.holes(again.store) == []

    def test_a_turn_that_joined_while_nothing_could_be_written_joins_later(
        self, shelf: Shelf
    ) -> None:
        q0, q1 = self.prepared(shelf)
        path = shelf.notebook()
        mine = shelf.open(path)
        mine.branches  # noqa: B018
        with broken(mine.store):
            mine.join(q0)
            mine.join(q1)
            mine.settle(0.0)
        assert len(mine.take_notices()) == 1
        add(mine, "q2", "c")
        mine.close()
        again = shelf.open(path)
        assert [node.prompt for node in again.branches.path] == ["q0", "q1", "q2"]
        assert notebooks.holes(again.store) == []

    def test_a_hole_that_was_left_is_said_and_filled_when_it_is_opened(self, shelf: Shelf) -> None:
        theirs = shelf.open(shelf.notebook())
        nodes = [add(theirs, text, text) for text in "abc"]
        with theirs.store.write() as db:
            for node in nodes[:2]:
                db.execute("delete from member where turn = ?", (notebooks.row_of(db, node.id),))
        assert notebooks.holes(theirs.store) == [(theirs.path, nodes[2].id)]
        (said,) = [fault for fault in store_faults(theirs.store) if "lacks" in fault]
        assert said.startswith(f"the notebook {theirs.path}: it lacks the turn before ")
        theirs.close()
        again = shelf.open(theirs.path)
        assert [node.id for node in again.branches.path] == [node.id for node in nodes]
        assert not any("lacks" in fault for fault in store_faults(again.store))
        again.branches.stand(None)  # as `%new` does
        again.write()

    def test_finding_a_notebook_by_its_cells_waits_for_no_writer(self, shelf: Shelf) -> None:
        record = shelf.open(shelf.notebook())
        last = add(record, "one", "a")
        with broken(record.store):
            found = notebooks.notebook_with(record.store, ["a"])
        assert found is not None
        assert found.branches.head == last

    def test_what_joins_a_long_notebook_looks_no_further_than_one_turn_back(
        self, shelf: Shelf
    ) -> None:
        record = shelf.open(shelf.notebook())
        for number in range(40):
            last = add(record, str(number))
        with record.store.write() as db:
            values = {"notebook": record.notebook, "turn": notebooks.row_of(db, last.id)}
            before = db.total_changes
            db.execute(notebooks.ANCESTORS, values)
            assert db.total_changes == before
            plan = db.execute(f"explain query plan {notebooks.ANCESTORS}", values).fetchall()
        assert not [step for *_, step in plan if step.startswith("SCAN") and "member" in step]
