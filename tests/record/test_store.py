"""Turns and processes in the record's file: what is written once, and what comes back."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.claude.processes import this_kernel
from hotclaude_kernel.errors import StoreError, StoreTooNew
from hotclaude_kernel.record.notebooks import notebook_at
from hotclaude_kernel.record.queries import all_turns
from hotclaude_kernel.record.store import Process, Store
from hotclaude_kernel.turns.prompt import Attachment, Prompt
from hotclaude_kernel.turns.settings import Settings

from .test_cassette import Book, replaying

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def store() -> Iterator[Store]:
    with closing(Store()) as made:
        yield made


@pytest.fixture
def book(store: Store) -> Book:
    return Book(store, "/a/book.ipynb")


class TestTurns:
    def test_a_turn_replays_for_its_key_and_is_found_by_its_name(
        self, store: Store, book: Book
    ) -> None:
        node = book.add("hello")
        assert replaying(store, node.key, book.notebook) == node.id
        assert store.node(node.id) == node
        assert replaying(store, "another", book.notebook) is None
        assert store.node("another") is None

    def test_a_turn_that_failed_replays_for_nothing(self, store: Store, book: Book) -> None:
        node = book.add("hello", status="interrupted")
        assert store.node(node.id) == node
        assert replaying(store, node.key, book.notebook) is None

    def test_the_very_same_is_written_once_and_both_notebooks_have_it(
        self, store: Store, book: Book
    ) -> None:
        other = Book(store, "/another.ipynb")
        node = book.add("hello")
        assert other.add("hello").id == node.id
        assert all_turns(store) == [node.id]
        assert len(notebook_at(store, "/another.ipynb").branches.nodes) == 1

    def test_what_came_last_replays(self, store: Store, book: Book) -> None:
        first = book.add("hello", {"type": "text", "text": "one"})
        second = book.add("hello", {"type": "text", "text": "two"})
        assert replaying(store, first.key, book.notebook) == second.id
        store.join(book.notebook, first.id, "cell", branch="main")
        assert replaying(store, first.key, book.notebook) == first.id

    def test_the_branch_is_on_the_turn_that_was_saved(self, store: Store, book: Book) -> None:
        first = book.add("one")
        second = book.add("two", after=first)
        assert notebook_at(store, "/a/book.ipynb").branches.branches == {"main": second.id}

    def test_a_prompt_comes_back_with_its_images(self, store: Store, book: Book) -> None:
        images = tuple(
            Attachment(name=f"{n}.png", media_type="image/png", data=bytes([n])) for n in (2, 1)
        )
        node = book.add("look", images=images)
        assert store.turn(node.id).prompt.attachments == images

    def test_half_a_character_in_a_prompt_is_no_failure(self, store: Store, book: Book) -> None:
        node = book.add("half: \ud83d")
        assert store.turn(node.id).prompt.text.startswith("half: ")

    def test_the_transcript_of_a_turn_is_all_that_led_to_it(self, store: Store, book: Book) -> None:
        first = book.add("one")
        second = book.add("two", after=first)
        book.add("aside", after=first)
        assert len(store.entries(second.id)) == 2

    def test_settings_come_back_without_what_a_newer_version_wrote(
        self, store: Store, book: Book
    ) -> None:
        settings = Settings(model="haiku", tools=("Bash", "Read"))
        node = book.add("hello", asked_under=settings)
        with store.write() as db:
            db.execute("update settings set json = json_set(json, '$.later', 1)")
        assert store.settings(node.settings) == settings

    def test_what_is_not_there_is_said(self, store: Store, book: Book) -> None:
        with pytest.raises(StoreError, match="The turn another is not in the record"):
            store.turn("another")
        with pytest.raises(StoreError, match="The turn another is not in the record"):
            store.join(book.notebook, "another", "cell", branch="main")

    def test_settings_that_are_not_there_are_too(self, store: Store) -> None:
        with pytest.raises(StoreError):
            store.settings("another")


class TestWhatWasAsked:
    def test_after_a_turn_and_by_its_words_the_newest_last(self, store: Store, book: Book) -> None:
        first = book.add("one")
        then = [book.add(text, after=first) for text in ("two", "three")]
        book.add("four", after=first, status="error")
        under = Settings(cwd="/somewhere")
        assert store.asked_after(first.id, [book.notebook]) == [
            (Prompt(text="two"), under),
            (Prompt(text="three"), under),
        ]
        assert store.asked_after(None, [book.notebook]) == [(Prompt(text="one"), under)]
        assert store.asked("three", [book.notebook]) == [then[1].id]
        again = book.add("three", after=then[0])
        assert store.asked("three", [book.notebook]) == [then[1].id, again.id]

    def test_the_prompts_before_a_turn_are_in_order_and_without_its_own(
        self, store: Store, book: Book
    ) -> None:
        first = book.add("one")
        second = book.add("x" * 1000, after=first)
        third = book.add("three", after=second)
        assert store.prompts_before(third.id) == ["one", "x" * 200]
        assert store.prompts_before(first.id) == []


class TestProcesses:
    def test_those_of_kernels_that_are_no_more_are_orphans(self, store: Store) -> None:
        mine = Process(token="mine", pid=1, started=1, kernel=this_kernel())
        left = Process(token="left", pid=2, started=2, kernel="999999999:1", file="a.jsonl")
        for process in (mine, left):
            store.note_process(process)
        assert store.orphans() == [left]
        store.forget_process("left")
        assert store.orphans() == []


class TestTheFile:
    def test_it_is_the_users_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "store.db"
        Store(str(path)).close()
        assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)

    def test_all_of_a_write_is_there_or_nothing(self, store: Store, book: Book) -> None:
        def fail() -> None:
            with store.write() as db:
                db.execute("delete from notebook")
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail()
        assert notebook_at(store, "/a/book.ipynb").id == book.notebook

    def test_one_of_a_newer_version_is_left_as_it_is(self, tmp_path: Path) -> None:
        path = str(tmp_path / "store.db")
        Store(path).close()
        with closing(sqlite3.connect(path)) as db:
            db.execute("pragma user_version = 999")
        with pytest.raises(StoreTooNew):
            Store(path)
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("pragma user_version").fetchone() == (999,)

    def test_what_is_no_record_is_said(self, tmp_path: Path) -> None:
        path = tmp_path / "store.db"
        path.write_text("This is not a database." * 100)
        with pytest.raises(StoreError, match="can't be used"):
            Store(str(path))

    def test_a_record_that_fails_later_is_said_too(self, store: Store) -> None:
        with pytest.raises(StoreError, match="failed"), store.read() as db:
            db.execute("select * from nothing")


class TestSealing:
    """MCP servers given as JSON hold keys; a digest stands for them in the record."""

    CONFIG = '{"mcpServers":{"s":{"command":"s","args":["--key","hush"],"env":{"KEY":"hush"}}}}'

    def test_what_is_recorded_holds_no_servers(self, store: Store, book: Book) -> None:
        node = book.add("hello", asked_under=Settings(mcp_config=self.CONFIG, model="m"))
        turn = store.turn(node.id)
        assert turn.fault() == ""
        assert str(turn.settings.mcp_config).startswith("mcp.v1:")
        with store.read() as db:
            ((text, flags),) = db.execute("select json, flags from settings").fetchall()
        assert "hush" not in text
        assert "--mcp-config" not in flags
        assert '"--model", "m"' in flags
        assert not store.unsealed()

    def test_a_path_stays_a_path(self, store: Store, book: Book) -> None:
        node = book.add("hello", asked_under=Settings(mcp_config="{servers}.json"[1:]))
        assert store.turn(node.id).settings.mcp_config == "servers}.json"

    def test_what_an_older_version_recorded_is_overwritten(self, tmp_path: Path) -> None:
        path = tmp_path / "store.db"
        with closing(Store(str(path))) as store:
            book = Book(store)
            under = Settings(mcp_config=self.CONFIG, cwd="/a")
            node = book.add("hello", asked_under=under)
            beside = book.add("hello", asked_under=Settings(mcp_config="servers.json"))
            old = json.dumps(asdict(under)), json.dumps(["/a", *under.argv()])
            with store.write() as db:
                db.execute(
                    "update settings set json = ?, flags = ? where json like '%mcp.v1%'", old
                )
            assert store.unsealed()
            assert b"hush" in below(tmp_path)
            store.seal()
            assert not store.unsealed()
            assert store.turn(node.id).fault() == ""
            assert store.turn(beside.id).settings.mcp_config == "servers.json"
            assert b"hush" not in below(tmp_path)
        assert b"hush" not in below(tmp_path)


def below(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())
