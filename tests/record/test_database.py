"""The record's file while others use it: who waits for whom."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.errors import StoreError, StoreUnavailable
from hotclaude_kernel.record.database import Database
from hotclaude_kernel.record.garbage import forget_unheld
from hotclaude_kernel.record.store import Store

from ..support.locks import locked
from .test_cassette import Book

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "store.db")


@pytest.fixture
def store(file: str) -> Iterator[Store]:
    with closing(Store(file, busy_s=0.0)) as made:
        yield made


def count(db: sqlite3.Connection) -> int:
    (found,) = db.execute("select count(*) from settings").fetchone()
    return int(found)


class TestALockOfAnotherProcess:
    def test_reads_go_on_and_a_write_says_that_it_may_succeed_later(self, store: Store) -> None:
        node = Book(store).add("hello")
        with locked(store.path):
            assert store.node(node.id) == node
            with pytest.raises(StoreUnavailable, match="locked"), store.write():
                pass
        with store.write():
            pass

    def test_the_file_can_be_opened(self, store: Store) -> None:
        with locked(store.path), closing(Store(store.path, busy_s=0.0)) as another:
            assert another.node("a node") is None

    def test_to_count_what_nothing_holds_takes_no_lock(self, store: Store) -> None:
        Book(store).add("hello")
        with store.write() as db:
            for table in ("branch", "member", "answer"):
                db.execute(f"delete from {table}")
        with locked(store.path):
            found = forget_unheld(store, dry_run=True)
        assert found.turns == 1
        assert found == forget_unheld(store)
        assert forget_unheld(store, dry_run=True).turns == 0


class TestTransactions:
    @pytest.mark.parametrize("path", ["", ":memory:"])
    def test_a_write_inside_a_write_is_a_part_of_it(self, file: str, path: str) -> None:
        with closing(Database(path or file)) as database:
            with database.write() as db:
                db.execute("insert into settings values ('one', '', '')")
                with database.write():
                    db.execute("insert into settings values ('two', '', '')")
                with suppress(InterruptedError), database.write():
                    db.execute("insert into settings values ('three', '', '')")
                    raise InterruptedError
            with database.read() as db:
                assert count(db) == 2

    def test_a_failure_of_the_caller_is_none_of_the_file(self, store: Store) -> None:
        with pytest.raises(StoreError) as raised, store.write() as db:
            db.execute("insert into branch values (1, 'main', 1)")
        assert type(raised.value) is StoreError

    def test_opening_a_file_again_keeps_the_locks_on_it(self, store: Store) -> None:
        """Closing any descriptor of a file drops the process's POSIX locks on it."""
        with store.write() as db:
            db.execute("insert into settings values ('one', '', '')")
        with closing(Store(store.path)), closing(Store(store.path)):
            pass
        with locked(store.path):
            pass
        # The other process was not the last on the file: else it would have deleted the log.
        assert Path(f"{store.path}-wal").exists()
