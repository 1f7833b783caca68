"""Many processes write one record at once."""

from __future__ import annotations

import multiprocessing
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.record.store import Store
from hotclaude_kernel.record.verify import store_faults

from .test_cassette import Book, replaying

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier
    from pathlib import Path

WRITERS, TURNS = 32, 20


def write_turns(path: str, writer: int, begin: Barrier) -> None:
    """Record turns one behind another; every second one is every writer's."""
    with closing(Store(path)) as store:
        book = Book(store)
        begin.wait(30)
        for number in range(TURNS):
            book.add(f"turn {number}" if number % 2 else f"turn {number} of {writer}")
            # What a reader sees between two turns is whole.
            assert replaying(store, book.nodes[-1].key, book.notebook) == book.nodes[-1].id


class TestManyWriters:
    @pytest.mark.long
    def test_thirty_two_at_once_record_each_turn_once(self, tmp_path: Path) -> None:
        path = str(tmp_path / "store.db")
        processes = multiprocessing.get_context("forkserver")
        processes.set_forkserver_preload([__name__])  # imported once, not by each of them
        begin = processes.Barrier(WRITERS)
        writers = [
            processes.Process(target=write_turns, args=(path, number, begin))
            for number in range(WRITERS)
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(60)
        assert [writer.exitcode for writer in writers] == [0] * WRITERS
        with closing(Store(path)) as store, store.read() as db:
            turns, prompts, answers, members = (
                db.execute(f"select count({what}) from {table}").fetchone()[0]
                for what, table in (
                    ("*", "turn"), ("distinct prompt", "turn"), ("*", "answer"), ("*", "member")
                )
            )  # fmt: skip
            assert turns == prompts == TURNS // 2 * (WRITERS + 1)
            assert members == answers == WRITERS * TURNS
            assert list(store_faults(store)) == []
