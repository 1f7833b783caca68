"""What replays in which notebook: answers, their conditions, and the scope they are found in."""

from __future__ import annotations

import json
import sqlite3
import zlib
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from hotclaude_kernel.errors import StoreError
from hotclaude_kernel.record import notebooks
from hotclaude_kernel.record.answers import Scope, candidates, watched
from hotclaude_kernel.record.cassettes import cassette, places
from hotclaude_kernel.record.notebook import Record
from hotclaude_kernel.record.notebooks import notebook_at
from hotclaude_kernel.record.resume import head_of
from hotclaude_kernel.record.schema import MIGRATIONS
from hotclaude_kernel.record.scope import saved_nodes, working_folder
from hotclaude_kernel.record.store import Store
from hotclaude_kernel.turns.conditions import Conditions

from ..golden import manners
from ..support.locks import locked
from .test_cassette import Book

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOTES = Conditions(
    files={"notes.txt": "1" * 64, "../up.txt": "2" * 64},
    noted={"user:CLAUDE.md": "4" * 64},
    endpoint="https://here",
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(str(tmp_path / "store.db"))) as made:
        yield made


def said(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def found(record: Record, key: str) -> list[tuple[str, str]]:
    with closing(record):
        return [(turn.node, turn.source) for turn in record.candidates(key, widely=True)]


class TestAnswers:
    def test_another_notebooks_never_replay(self, store: Store) -> None:
        mine, theirs = Book(store, "/p1/a.ipynb"), Book(store, "/p2/b.ipynb")
        first, other = mine.add("go", said("mine")), theirs.add("go", said("theirs"))
        assert first.key == other.key
        for book, node in ((mine, first), (theirs, other)):
            turns = candidates(store, first.key, Scope(notebook=book.notebook))
            assert [turn.node for turn in turns] == [node.id]

    def test_the_newest_comes_first_and_a_replay_makes_it_so(self, store: Store) -> None:
        book = Book(store, "/a.ipynb")
        one, two = (book.add("go", said(text)) for text in ("one", "two"))
        scope = Scope(notebook=book.notebook)
        assert [turn.node for turn in candidates(store, one.key, scope)] == [two.id, one.id]
        store.join(book.notebook, one.id, None, branch="main")
        assert [turn.node for turn in candidates(store, one.key, scope)] == [one.id, two.id]

    def test_conditions_are_of_the_notebook_and_go_along_with_a_copy_and_a_replay(
        self, store: Store
    ) -> None:
        book = Book(store, "/a.ipynb")
        first = book.add("go", conditions=NOTES)
        later = book.add("edit", after=first, conditions=Conditions(after={"notes.txt": "3" * 64}))
        copy, other = (notebook_at(store, path) for path in ("/copy.ipynb", "/other.ipynb"))
        notebooks.copy_members(store, copy.id, book.notebook)
        store.join(other.id, first.id, None, branch="main", origin=book.notebook)
        for row, left in (
            (book.notebook, {"notes.txt": frozenset({"3" * 64})}),
            (copy.id, {"notes.txt": frozenset({"3" * 64})}),
            (other.id, {}),
        ):
            (turn,) = candidates(store, first.key, Scope(notebook=row))
            assert (turn.conditions, turn.later) == (NOTES, left)
        assert sorted(watched(store, book.notebook, [])) == ["../up.txt", "notes.txt"]
        assert store.turn(later.id).conditions.after == {"notes.txt": "3" * 64}

    def test_a_joined_turn_brings_all_that_it_follows(self, store: Store) -> None:
        book, other = (Book(store, path) for path in ("/a.ipynb", "/b.ipynb"))
        first = book.add("one")
        third = book.add("three", after=book.add("two", after=first))
        store.join(other.notebook, third.id, "c", branch="main")
        assert notebooks.holes(store) == []
        path = notebook_at(store, "/b.ipynb").branches.path
        assert [node.prompt for node in path] == ["one", "two", "three"]

    def test_a_cassette_has_the_files_of_its_folder_and_no_endpoint(self, store: Store) -> None:
        book = Book(store, "/a.ipynb")
        first = book.add("go", conditions=NOTES)
        text = book.cassette()
        assert json.loads(text.splitlines()[1])["files"] == {"notes.txt": "1" * 64}
        assert "up.txt" not in text
        assert "https://here" not in text
        assert "user:CLAUDE.md" not in text
        (turn,) = cassette.read(text)
        assert turn.conditions == Conditions(files={"notes.txt": "1" * 64})
        assert first.id == turn.node.id

    @pytest.mark.parametrize(
        "files",
        [{"/etc/passwd": "1" * 64}, {"a/../../b": "1" * 64}, {"~/x": "1" * 64}, {"x": "1"}, []],
    )
    def test_a_cassette_that_looks_elsewhere_is_refused(self, store: Store, files: Any) -> None:
        book = Book(store)
        book.add("go")
        header, row = book.cassette().splitlines()
        line = json.loads(row) | {"files": files or [1]}
        with pytest.raises(StoreError, match="line 2 can't be taken"):
            cassette.read(f"{header}\n{json.dumps(line)}\n")


class TestScope:
    """A notebook's own record, its cassette, its saved outputs; without a path, its folder's."""

    @pytest.fixture
    def work(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        folder = tmp_path / "work"
        (folder / "deep").mkdir(parents=True)
        monkeypatch.chdir(folder)
        return folder

    def saved(self, path: Path, *nodes: str) -> None:
        outputs = [
            {"output_type": "display_data", "data": {}, "metadata": {"hotclaude": {"node": node}}}
            for node in nodes
        ]
        odd: list[Any] = [{"outputs": []}, {"outputs": [{"metadata": {"hotclaude": 1}}]}, {}]
        path.write_text(json.dumps({"cells": [*odd, {"outputs": outputs}]}))

    def test_what_its_saved_outputs_show_is_a_notebooks_own(self, store: Store, work: Path) -> None:
        node = Book(store).add("go")  # by a run without a path, somewhere
        self.saved(work / "out.ipynb", node.id)
        at = {"store": store.path}
        assert found(Record(str(work / "out.ipynb"), **at), node.key) == [(node.id, "outputs")]
        assert found(Record(str(work / "other.ipynb"), **at), node.key) == []

    def test_the_cassette_beside_it(self, store: Store, work: Path, tmp_path: Path) -> None:
        with closing(Store()) as elsewhere:
            book = Book(elsewhere)
            node = book.add("go")
            places.beside(work / "a.ipynb").write_text(book.cassette())
        at = {"store": store.path}
        assert found(Record(str(work / "b.ipynb"), **at), node.key) == []
        assert found(Record(str(work / "a.ipynb"), **at), node.key) == [(node.id, "cassette")]
        assert found(Record(None, **at), node.key) == [(node.id, "cassette")]

    def test_a_cassette_that_could_not_be_loaded_is_loaded_later(
        self, store: Store, work: Path
    ) -> None:
        with closing(Store()) as elsewhere:
            book = Book(elsewhere)
            node = book.add("go")
            places.beside(work / "a.ipynb").write_text(book.cassette())
        with closing(Record(str(work / "a.ipynb"), store=store.path)) as record:
            record.open()
            with locked(store.path):
                assert record.candidates(node.key, widely=True) == []
            assert "was not loaded" in record.take_notices()[0]
            assert [turn.node for turn in record.candidates(node.key, widely=True)] == [node.id]

    def test_without_a_path_the_notebooks_of_the_folder(
        self, store: Store, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        beside, below = (str(work / name) for name in ("a.ipynb", "deep/b.ipynb"))
        node = Book(store, beside).add("go", said("beside"))
        Book(store, below).add("go", said("below"))
        Book(store, str(tmp_path / "work2.ipynb")).add("go", said("elsewhere"))
        assert found(Record(None, store=store.path), node.key) == [(node.id, "folder")]
        monkeypatch.chdir(tmp_path)
        assert node.id not in dict(found(Record(None, store=store.path), node.key))

    def test_two_runs_without_a_path_in_one_folder(
        self, store: Store, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = Record(None, store=store.path)
        book = Book(store)
        book.notebook = first.notebook
        node = book.add("go")
        assert found(Record(None, store=store.path), node.key) == [(node.id, "folder")]
        monkeypatch.setattr("os.access", lambda *_: False)  # a folder that is not the user's
        assert working_folder() is None
        assert found(Record(None, store=store.path), node.key) == []
        first.close()

    def test_a_headless_run_has_its_notebooks_answers_and_not_its_place(
        self, store: Store, work: Path
    ) -> None:
        path = str(work / "a.ipynb")
        node = Book(store, path).add("go")
        with closing(Record(None, store=store.path, scope=path)) as run:
            assert run.branches.head is None
            (turn,) = run.candidates(node.key)
            assert (turn.node, turn.source) == (node.id, "record")
            run.join(node, origin=turn.origin)
            assert run.notebook != run.scope
        assert len(notebook_at(store, path).branches.nodes) == 1

    @pytest.mark.parametrize("data", [b"", b"\xff", b"[1]", b'{"cells": 1}', b'{"cells": [1]}'])
    def test_a_file_that_is_no_notebook_shows_nothing(self, work: Path, data: bytes) -> None:
        (work / "x.ipynb").write_bytes(data)
        assert saved_nodes([str(work / "x.ipynb"), str(work / "none.ipynb")]) == frozenset()


class TestMigration:
    """The golden store was written by the first version of the tables."""

    def test_what_replayed_for_a_key_replays_in_each_notebook_that_had_it(
        self, tmp_path: Path
    ) -> None:
        path = manners.rebuild(tmp_path)
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("pragma user_version").fetchone() == (1,)
            heads = dict(db.execute("select key, turn from head"))
            members = db.execute(
                "select m.notebook, t.key, t.id from member m join turn t on t.id = m.turn"
                " where t.status = 'ok'"
            ).fetchall()
        with closing(Store(str(path))) as store, store.read() as db:
            assert db.execute("pragma user_version").fetchone() == (len(MIGRATIONS),)
            answers = db.execute("select notebook, key, turn from answer order by at").fetchall()
            assert db.execute("pragma foreign_key_check").fetchall() == []
        assert sorted(answers) == sorted(members)
        newest = {(notebook, key): turn for notebook, key, turn in answers}
        own = {(notebook, key): turn for notebook, key, turn in members if heads[key] == turn}
        assert own.items() <= newest.items()
        assert len(own) > 30

    def test_a_start_resumes_from_either(self, tmp_path: Path) -> None:
        path = manners.rebuild(tmp_path)
        notebook = str(tmp_path / "notebooks" / "tree.ipynb")
        old = head_of(notebook, str(path))
        Store(str(path)).close()
        new = head_of(notebook, str(path))
        assert old is not None
        assert old == new

    def test_none_resumes_without_a_turn_whose_transcript_is_not_here(self, tmp_path: Path) -> None:
        path = manners.rebuild(tmp_path)
        notebook = str(tmp_path / "notebooks" / "tree.ipynb")
        with closing(Store(str(path))) as store, store.write() as db:
            db.execute("insert into blob values ('none', 0, ?)", (zlib.compress(b""),))
            db.execute("update turn set entries = 'none' where parent is null")
        assert head_of(notebook, str(path)) is None
