"""A conversation that is closed and opened again goes on where it was, from the record."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.errors import ConversationLost

from ..support.book import Book, prompts, sent, written

if TYPE_CHECKING:
    from hotclaude_kernel.modelserver.server import ModelServer
pytestmark = [pytest.mark.wire, pytest.mark.usefixtures("isolated")]


class TestRestart:
    async def test_it_goes_on_at_the_head_on_the_same_bytes(
        self, book: Book, server: ModelServer
    ) -> None:
        await book.run_all("a", "b")
        await book.run("c", "go on")
        original = sent(server.requests[-1])
        await book.restart()
        book.conversation.warm()
        await book.run("c", "go on")
        assert sent(server.requests[-1]) == original

    @pytest.mark.long
    async def test_the_first_turn_says_so(self, book: Book) -> None:
        await book.run_all("a", "b")
        await book.restart()
        await book.run_all("c")
        assert book.said() == "Goes on after turn 2, from the record"
        await book.run_all("d")
        assert book.said() == ""

    @pytest.mark.long
    async def test_another_version_of_claude_is_said(self, book: Book) -> None:
        await book.run_all("a")
        with book.conversation.record.store.write() as db:
            db.execute("update turn set cli = '2.1.0'")
        await book.restart()
        await book.run_all("b")
        assert "are of claude 2.1.0; it goes on with" in book.said()

    @pytest.mark.long
    async def test_it_spawns_one_process(self, book: Book) -> None:
        await book.run_all("a", "b")
        await book.restart()
        book.conversation.warm()
        await book.run_all("c")
        assert (book.conversation.pool.tally.spawned, book.conversation.resumes) == (1, 1)

    async def test_branches_and_checkpoints_survive(self, book: Book) -> None:
        await book.run_all("a", "b")
        await book.conversation.go(lambda: book.conversation.branches.mark("good"))
        await book.run("a", "new a")
        before = book.branches
        await book.restart()
        assert book.branches == before
        assert list(book.conversation.branches.checkpoints) == ["good"]

    @pytest.mark.long
    async def test_settings_go_on_with_the_conversation(
        self, book: Book, server: ModelServer
    ) -> None:
        await book.conversation.change(system="You are terse.", model="haiku")
        await book.run_all("a")
        await book.restart()
        await book.run_all("b")
        assert "You are terse." in server.requests[-1].system
        assert "haiku" in server.requests[-1].model

    async def test_a_killed_process_costs_no_finished_turn(
        self, book: Book, server: ModelServer
    ) -> None:
        await book.run_all("a", "b")
        assert book.conversation.pid
        os.kill(book.conversation.pid, signal.SIGKILL)
        await book.run_all("c")
        assert prompts(server.requests[-1]) == ["prompt a", "prompt b", "prompt c"]

    @pytest.mark.long
    async def test_a_moved_notebook_is_found_by_its_cells(
        self, book: Book, server: ModelServer
    ) -> None:
        await book.run_all("a", "b")
        await book.conversation.close()
        assert book.path
        book.path = book.path.rename(book.path.with_name("moved.ipynb"))
        book.open()
        await book.run_all("c")
        assert prompts(server.requests[-1]) == ["prompt a", "prompt b", "prompt c"]

    @pytest.mark.long
    async def test_a_copy_goes_on_by_itself(self, book: Book, server: ModelServer) -> None:
        await book.run_all("a", "b")
        assert book.path
        copy = Book(written(book.path.with_name("copy.ipynb")))
        try:
            await copy.run_all("c")
            assert prompts(server.requests[-1]) == ["prompt a", "prompt b", "prompt c"]
            assert "Copied from book.ipynb" in copy.said()
            await book.run_all("d")
            assert prompts(server.requests[-1]) == ["prompt a", "prompt b", "prompt d"]
        finally:
            await copy.conversation.close()

    @pytest.mark.long
    async def test_another_notebook_at_an_old_path_is_not_taken_for_it(
        self, book: Book, server: ModelServer
    ) -> None:
        await book.run_all("a", "b")
        await book.conversation.close()
        assert book.path
        written(book.path, "xyz")
        book.open()
        await book.run_all("x")
        assert prompts(server.requests[-1]) == ["prompt x"]
        assert "Another notebook lay here" in book.said()

    @pytest.mark.long
    async def test_a_new_cell_of_the_same_notebook_goes_on(
        self, book: Book, server: ModelServer
    ) -> None:
        await book.run_all("a")
        await book.restart()
        await book.run_all("unsaved")
        assert prompts(server.requests[-1]) == ["prompt a", "prompt unsaved"]

    @pytest.mark.long
    async def test_a_second_kernel_on_the_notebook_forks(
        self, book: Book, notebook_path: Path, server: ModelServer
    ) -> None:
        await book.run_all("a")
        second = Book(notebook_path)
        second.conversation.record.kernel = f"{os.getppid()}:0"  # another process, which lives
        try:
            await second.run_all("b")
            assert "branch main open" in second.said()
            await book.run_all("c")
            assert prompts(server.requests[-1]) == ["prompt a", "prompt c"]
            assert second.branches["main-1"] == ["prompt a", "prompt b"]
            assert book.branches["main"] == ["prompt a", "prompt c"]
        finally:
            await second.conversation.close()

    @pytest.mark.long
    async def test_without_a_path_each_kernel_begins_anew(self, server: ModelServer) -> None:
        book = Book(None)
        try:
            await book.run(None, "one")
            await book.restart()
            await book.run(None, "two")
            assert prompts(server.requests[-1]) == ["two"]
        finally:
            await book.conversation.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestTheRecord:
    @pytest.mark.long
    async def test_it_is_the_users_alone(self, book: Book) -> None:
        await book.run_all("a")
        file = Path(book.conversation.record.store.path)
        assert mode(file) == 0o600
        sessions = file.parent / "sessions"
        await book.restart()
        await book.run_all("b")
        assert {mode(path) for path in sessions.iterdir()} == {0o600}
        await book.conversation.close()
        assert list(sessions.iterdir()) == []

    async def test_a_file_that_cant_be_used_is_said_and_turns_are_answered(
        self, home: Path, server: ModelServer
    ) -> None:
        bad = home / "bad.db"
        bad.write_bytes(b"this is not a database, " * 100)
        book = Book(None, store=str(bad))
        try:
            assert (await book.run("a", "one")).status == "ok"
            assert "can't be used" in book.said()
            await book.run("a", "other")
            assert prompts(server.requests[-1]) == ["other"]
        finally:
            await book.conversation.close()

    @pytest.mark.long
    async def test_a_newer_file_is_left_as_it_is(self, book: Book) -> None:
        await book.run_all("a")
        with book.conversation.record.store.read() as db:
            db.execute("pragma user_version = 99")
        await book.restart()
        await book.run_all("b")
        assert "newer hotclaude" in book.said()

    @pytest.mark.long
    async def test_a_turn_that_cant_be_written_is_written_with_the_next(
        self, book: Book, server: ModelServer
    ) -> None:
        await book.run_all("a")
        with book.conversation.record.store.lend() as db:
            db.execute("pragma query_only = on")  # as a full disk: reads go, writes fail
        assert (await book.run("b", "prompt b")).status == "ok"
        assert "Written down, not yet recorded" in book.said()
        assert book.conversation.pid
        os.kill(book.conversation.pid, signal.SIGKILL)
        with book.conversation.record.store.lend() as db:
            db.execute("pragma query_only = off")
        await book.run_all("c")
        await book.restart()
        await book.run_all("d")
        assert prompts(server.requests[-1]) == [f"prompt {cell}" for cell in "abcd"]


class TestLost:
    async def test_a_record_without_its_turn_refuses_and_sends_nothing(
        self, book: Book, server: ModelServer
    ) -> None:
        await book.run_all("a", "b")
        with book.conversation.record.store.write() as db:
            db.execute("update blob set data = x''")
        await book.restart()
        count = len(server.requests)
        with pytest.raises(ConversationLost):
            await book.run_all("c")
        assert len(server.requests) == count
