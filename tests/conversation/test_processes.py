"""The processes of a conversation: which are kept, which end, and when."""

from __future__ import annotations

import asyncio
import os
import signal
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from hotclaude_kernel.modelserver.replies import Reply, ToolUse
from hotclaude_kernel.modelserver.script import Script
from hotclaude_kernel.pool.warm import Limits

from ..support.book import Book, prompts
from ..support.processes import exists
from ..support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from hotclaude_kernel.modelserver.server import ModelServer
pytestmark = [pytest.mark.wire, pytest.mark.usefixtures("isolated")]


def alive(pid: int | None) -> bool:
    return pid is not None and exists(pid)


class TestPool:
    @pytest.mark.long
    async def test_an_idle_process_ends_and_the_next_cell_wakes_it_with_its_memory(
        self, notebook_path: Path, server: ModelServer
    ) -> None:
        book = Book(notebook_path, limits=Limits(spares=0, idle_timeout_s=0.3))
        try:
            await book.run_all("a")
            pid, pool = book.conversation.pid, book.conversation.pool
            await eventually(lambda: pool.asleep and not alive(pid), "it ends")
            await book.run_all("b")
            assert prompts(server.requests[-1]) == ["prompt a", "prompt b"]
            assert (pool.tally.hibernated, pool.asleep) == (1, False)
        finally:
            await book.conversation.close()

    @pytest.mark.long
    async def test_a_process_is_replaced_after_its_turns(
        self, notebook_path: Path, server: ModelServer
    ) -> None:
        book = Book(notebook_path, limits=Limits(spares=0, turns=2))
        try:
            await book.run_all("a", "b")
            pool = book.conversation.pool
            await eventually(lambda: pool.tally.spawned == 2 and pool.parked, "a successor")
            await book.run_all("c")
            assert prompts(server.requests[-1]) == ["prompt a", "prompt b", "prompt c"]
            assert pool.tally.recycled == 1
            assert pool.tally.hits == 2  # the successor was ready: b and c did not wait
        finally:
            await book.conversation.close()

    @pytest.mark.long
    async def test_a_spare_serves_a_new_conversation_at_once(
        self, notebook_path: Path, server: ModelServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("hotclaude_kernel.pool.pool.SPARE_AFTER_S", 0.0)
        book = Book(notebook_path, limits=Limits(spares=1))
        try:
            await book.run_all("a")
            pool = book.conversation.pool
            await eventually(lambda: len(pool.parked) == 2, "a spare")
            hits = pool.tally.hits
            await book.conversation.renew()
            turn = await book.run("b", "fresh")
            assert prompts(server.requests[-1]) == ["fresh"]
            assert pool.tally.hits == hits + 1
            assert turn.saved_s > 0
        finally:
            await book.conversation.close()

    @pytest.mark.long
    async def test_a_process_that_was_left_is_there_when_one_comes_back(
        self, book: Book, server: ModelServer
    ) -> None:
        await book.run_all("a", "b")
        first = book.conversation.pid
        tree = book.conversation.branches
        await book.conversation.go(lambda: tree.fork("side"))
        await book.run_all("c")
        assert book.conversation.pid == first  # the fork begins where the process stands
        await book.conversation.go(lambda: tree.checkout("main"))
        await book.run_all("d")
        await book.conversation.go(lambda: tree.checkout("side"))
        await book.run_all("e")
        assert prompts(server.requests[-1]) == [f"prompt {cell}" for cell in "abce"]

    @pytest.mark.long
    async def test_no_more_processes_than_allowed(self, notebook_path: Path) -> None:
        book = Book(notebook_path, limits=Limits(spares=0, processes=1))
        try:
            await book.run_all("a", "b")
            tree, pool = book.conversation.branches, book.conversation.pool
            for number in range(3):
                await book.run("b", f"another b {number}")
                branch = f"branch-{number + 1}"
                await book.conversation.go(partial(tree.checkout, branch))
                await book.run(f"c{number}", f"on the branch {number}")
                await eventually(lambda: len(pool.parked) <= 1, "at most one")
                await book.conversation.go(lambda: tree.checkout("main"))
            assert pool.tally.evicted > 0
        finally:
            await book.conversation.close()

    @pytest.mark.long
    async def test_closing_leaves_nothing(self, book: Book) -> None:
        await book.run_all("a", "b")
        await book.run("a", "again")
        tree = book.conversation.branches
        await book.conversation.go(lambda: tree.checkout("branch-1"))
        async with book.conversation.session():
            pass
        pids = [warm.session.pid for warm in book.conversation.pool.parked]
        assert len(pids) == 2
        await book.conversation.close()
        assert not any(alive(pid) for pid in pids)

    async def test_commands_of_a_killed_process_end_too(
        self, book: Book, server: ModelServer, home: Path
    ) -> None:
        mark = home / "work" / "pid"
        command = f"echo $$ > {mark}; exec sleep 300"
        server.model = Script([Reply(ToolUse("Bash", {"command": command, "description": "w"}))])

        async def allow(_: Any) -> tuple[dict[str, Any], str]:
            updated = {"command": command, "description": "w"}
            return {"behavior": "allow", "updatedInput": updated}, "Allowed"

        book.conversation.permit = allow
        asking = asyncio.ensure_future(book.run("a", "go"))
        await eventually(lambda: mark.exists() and mark.read_text().strip(), "the command runs")
        left = int(mark.read_text())
        assert book.conversation.pid
        os.kill(book.conversation.pid, signal.SIGKILL)
        with pytest.raises(Exception, match="killed"):
            await asking
        await eventually(lambda: not alive(left), "the command ends")

    async def test_what_a_dead_kernel_left_is_ended_and_nothing_else(self, book: Book) -> None:
        await book.run_all("a")
        store, pid = book.conversation.record.store, book.conversation.pid
        with store.write() as db:
            db.execute("update process set kernel = '999999:1'")
        assert store.orphans()
        await book.conversation.sweep()
        assert book.conversation.pool.tally.swept == 1
        await eventually(lambda: not alive(pid), "it is ended")
        await book.conversation.settle()
        assert store.orphans() == []

    async def test_a_pid_that_is_somebody_elses_by_now_is_left_alone(self, book: Book) -> None:
        await book.run_all("a")
        store, pid = book.conversation.record.store, book.conversation.pid
        with store.write() as db:
            db.execute("update process set kernel = '999999:1', token = 'another'")
        await book.conversation.sweep()
        assert (book.conversation.pool.tally.swept, alive(pid)) == (0, True)
        assert (await book.run("b", "still there")).session_pid == pid
