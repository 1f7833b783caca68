"""Running a cell again rewinds the conversation: what the model is sent, and what stays."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hotclaude_kernel.conversation.conversation import Conversation
from hotclaude_kernel.errors import ApiError, BudgetReached, ConversationLost, UsageError
from hotclaude_kernel.modelserver.demo import demo_model
from hotclaude_kernel.modelserver.replies import Failure, Reply, ToolUse, Usage
from hotclaude_kernel.modelserver.script import Script
from hotclaude_kernel.pool.warm import Limits
from hotclaude_kernel.turns.prompt import Prompt
from hotclaude_kernel.turns.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from hotclaude_kernel.modelserver.request import Request
    from hotclaude_kernel.modelserver.server import ModelServer
    from hotclaude_kernel.turns.turn import Turn

pytestmark = [pytest.mark.wire, pytest.mark.usefixtures("isolated")]

QUIET = Limits(spares=0)
NUMBERS = Usage(
    input_tokens=1000,
    output_tokens=100,
    cache_read_input_tokens=0,
    cache_creation_input_tokens=0,
)


class Book:
    """A notebook: cells by id, asked of a conversation that can be closed and opened again."""

    def __init__(self, path: Path | None, **options: Any) -> None:
        self.path = path
        self.options = {"limits": QUIET} | options
        self.open()

    def open(self) -> None:
        notebook = str(self.path) if self.path else None
        self.conversation = Conversation(Settings(), notebook=notebook, **self.options)

    async def run(self, cell: str | None, text: str) -> Turn:
        prompt = Prompt(text=text, cell_id=cell)
        return await self.conversation.ask(prompt, lambda _: None, again=True)

    async def run_all(self, *cells: str) -> None:
        for cell in cells:
            await self.run(cell, f"prompt {cell}")

    async def restart(self) -> None:
        await self.conversation.close()
        self.open()

    def said(self) -> str:
        return "\n".join(self.conversation.take_notices())

    @property
    def branches(self) -> dict[str, list[str]]:
        tree = self.conversation.branches
        ends = tree.branches.items()
        return {name: [node.prompt for node in tree.path_to(at)] for name, at in ends}


@pytest.fixture
def notebook_path(home: Path) -> Path:
    """A notebook on disk, of the cells a to f."""
    path = home / "work" / "book.ipynb"
    return written(path)


def written(path: Path, cells: str = "abcdef") -> Path:
    path.write_text(json.dumps({"cells": [{"id": cell, "source": ""} for cell in cells]}))
    return path


@pytest.fixture
async def book(notebook_path: Path) -> AsyncIterator[Book]:
    made = Book(notebook_path)
    yield made
    await made.conversation.close()


def prompts(request: Request) -> list[str]:
    return [exchange.prompt for exchange in request.turns]


def sent(request: Request) -> str:
    """All that reaches the model, but for the marks of the cache and the session's own id."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: clean(v) for k, v in value.items() if k != "cache_control"}
        return [clean(item) for item in value] if isinstance(value, list) else value

    return json.dumps(clean({k: v for k, v in request.json.items() if k != "metadata"}))


class TestRunningACellAgain:
    async def test_it_is_asked_in_its_place_in_the_same_process(
        self, book: Book, server: ModelServer
    ) -> None:
        await book.run_all("a", "b", "c", "d")
        pid = book.conversation.pid
        book.said()
        turn = await book.run("c", "another c")
        assert prompts(server.requests[-1]) == ["prompt a", "prompt b", "another c"]
        assert (turn.number, turn.session_pid) == (3, pid)
        assert len(server.requests) == 5
        assert book.said() == "Rewound before turn 3; turns 3–4 are branch branch-1"
        assert book.branches == {
            "main": ["prompt a", "prompt b", "another c"],
            "branch-1": ["prompt a", "prompt b", "prompt c", "prompt d"],
        }

    async def test_the_history_before_it_is_byte_for_byte_what_it_was(
        self, book: Book, server: ModelServer
    ) -> None:
        both = (
            ToolUse("Bash", {"command": "echo one", "description": "say"}),
            ToolUse("Bash", {"command": "echo two", "description": "say"}),
        )
        server.model = Script(["first", Reply(*both), "tools done"])
        await book.run_all("a", "b")
        await book.run("c", "the same")
        original = sent(server.requests[-1])
        await book.run_all("d")
        for _ in range(3):
            await book.run("c", "the same")
            assert sent(server.requests[-1]) == original

    async def test_the_first_cell_begins_with_nothing_before_it(
        self, book: Book, server: ModelServer
    ) -> None:
        await book.run_all("a", "b")
        original = sent(server.requests[0])
        await book.run("a", "prompt a")
        assert sent(server.requests[-1]) == original

    async def test_the_cells_below_then_follow_the_new_turn(
        self, book: Book, server: ModelServer
    ) -> None:
        await book.run_all("a", "b", "c")
        await book.run("a", "new a")
        await book.run_all("b")
        assert prompts(server.requests[-1]) == ["new a", "prompt b"]

    async def test_the_same_answer_is_the_same_turn(self, book: Book) -> None:
        await book.run_all("a", "b", "c")
        await book.run_all("b")
        assert book.branches == {
            "main": ["prompt a", "prompt b"],
            "branch-1": ["prompt a", "prompt b", "prompt c"],
        }
        assert len(book.conversation.branches.nodes) == 3

    async def test_what_follows_a_turn_that_came_out_the_same_is_resumed_with_it(
        self, book: Book, server: ModelServer
    ) -> None:
        await book.run_all("a", "b")
        await book.run_all("a", "c")  # the very same a, under another uuid in its process
        await book.restart()
        await book.run_all("d")
        assert prompts(server.requests[-1]) == ["prompt a", "prompt c", "prompt d"]

    async def test_append_asks_at_the_end(self, book: Book, server: ModelServer) -> None:
        book.conversation.rerun = "append"
        await book.run_all("a", "b", "a")
        assert prompts(server.requests[-1]) == ["prompt a", "prompt b", "prompt a"]

    async def test_without_cell_ids_a_turn_follows_the_last(
        self, book: Book, server: ModelServer
    ) -> None:
        for _ in range(3):
            await book.run(None, "again")
        assert prompts(server.requests[-1]) == ["again"] * 3

    async def test_a_failed_turn_leaves_the_conversation_before_it(
        self, book: Book, server: ModelServer
    ) -> None:
        await book.run_all("a", "b", "c")
        server.model = lambda r: Failure(400) if "bad" in r.prompt else Reply("fine")
        with pytest.raises(ApiError):
            await book.run("b", "bad b")
        await book.run("c", "after the failure")
        assert prompts(server.requests[-1]) == ["prompt a", "after the failure"]
        assert book.branches["branch-1"] == ["prompt a", "prompt b", "prompt c"]

    async def test_a_binary_without_rewind_gets_a_new_process_on_the_same_bytes(
        self, notebook_path: Path, server: ModelServer, home: Path, binary: str
    ) -> None:
        old = home / "old-claude"
        old.write_text(
            f"#!{sys.executable}\n" + OLD_BINARY.replace("BINARY", repr(binary)), encoding="utf-8"
        )
        old.chmod(old.stat().st_mode | stat.S_IXUSR)
        book = Book(notebook_path, binary=str(old))
        try:
            await book.run_all("a", "b", "c")
            first_pid = book.conversation.pid
            original = sent(server.requests[1])
            await book.run("b", "prompt b")
            assert sent(server.requests[-1]) == original
            assert book.conversation.pid != first_pid
        finally:
            await book.conversation.close()


OLD_BINARY = """
import json, subprocess, sys, threading
child = subprocess.Popen([BINARY, *sys.argv[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
lock = threading.Lock()
def say(line):
    with lock:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
def speak():
    for line in child.stdout:
        say(line)
threading.Thread(target=speak, daemon=True).start()
for line in sys.stdin.buffer:
    frame = json.loads(line)
    if frame.get("request", {}).get("subtype") == "rewind_conversation":
        error = {"subtype": "error", "request_id": frame["request_id"], "error": "Unsupported"}
        say(json.dumps({"type": "control_response", "response": error}).encode() + b"\\n")
        continue
    child.stdin.write(line)
    child.stdin.flush()
child.stdin.close()
sys.exit(child.wait())
"""


class TestBranches:
    async def test_going_back_to_a_branch_continues_its_own_history(
        self, book: Book, server: ModelServer
    ) -> None:
        await book.run_all("a", "b", "c")
        await book.run("d", "the end")
        original = sent(server.requests[-1])
        await book.run("b", "other b")
        await book.conversation.go(lambda: book.conversation.branches.checkout("branch-1"))
        await book.conversation.go(
            lambda: book.conversation.branches.stand(book.conversation.branches.find("branch-1:3"))
        )
        await book.run(None, "the end")
        assert sent(server.requests[-1]) == original

    async def test_goto_keeps_what_was_beyond(self, book: Book, server: ModelServer) -> None:
        await book.run_all("a", "b", "c")
        tree = book.conversation.branches
        assert tree.head
        await book.conversation.go(lambda: tree.stand(tree.find("1")))
        await book.run("e", "after one")
        assert prompts(server.requests[-1]) == ["prompt a", "after one"]
        assert [tree.nodes[at].prompt for at in tree.loose_ends()] == ["prompt c"]

    async def test_a_fork_leaves_the_old_branch_where_it_was(self, book: Book) -> None:
        await book.run_all("a", "b")
        await book.conversation.go(lambda: book.conversation.branches.fork("try"))
        await book.run_all("c")
        assert book.branches == {
            "main": ["prompt a", "prompt b"],
            "try": ["prompt a", "prompt b", "prompt c"],
        }

    async def test_new_keeps_the_old_conversation_as_a_branch(
        self, book: Book, server: ModelServer
    ) -> None:
        await book.run_all("a", "b")
        name = await book.conversation.renew()
        await book.run_all("c")
        assert prompts(server.requests[-1]) == ["prompt c"]
        assert book.branches[name] == ["prompt a", "prompt b"]

    async def test_names_are_checked(self, book: Book) -> None:
        await book.run_all("a")
        tree = book.conversation.branches
        for wrong in ("main", "start", "two words", "", "7", "a:b"):
            with pytest.raises(UsageError):
                tree.fork(wrong)
        for nowhere in ("9", "nowhere", "main:2", "none:1"):
            with pytest.raises(UsageError):
                tree.find(nowhere)

    async def test_compaction_can_be_rewound(self, book: Book, server: ModelServer) -> None:
        server.model = demo_model
        await book.run("a", "remember 42")
        await book.run("b", "/compact")
        await book.run("c", "recall")
        server.model = Script([], default="fine")
        await book.run("b", "before the summary")
        assert prompts(server.requests[-1]) == ["remember 42", "before the summary"]


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

    async def test_the_first_turn_says_so(self, book: Book) -> None:
        await book.run_all("a", "b")
        await book.restart()
        await book.run_all("c")
        assert book.said() == "Goes on after turn 2, from the record"
        await book.run_all("d")
        assert book.said() == ""

    async def test_another_version_of_claude_is_said(self, book: Book) -> None:
        await book.run_all("a")
        with book.conversation.record.store.write() as db:
            db.execute("update turn set cli = '2.1.0'")
        await book.restart()
        await book.run_all("b")
        assert "are of claude 2.1.0; it goes on with" in book.said()

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

    async def test_a_new_cell_of_the_same_notebook_goes_on(
        self, book: Book, server: ModelServer
    ) -> None:
        await book.run_all("a")
        await book.restart()
        await book.run_all("unsaved")
        assert prompts(server.requests[-1]) == ["prompt a", "prompt unsaved"]

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

    async def test_a_newer_file_is_left_as_it_is(self, book: Book) -> None:
        await book.run_all("a")
        with book.conversation.record.store.read() as db:
            db.execute("pragma user_version = 99")
        await book.restart()
        await book.run_all("b")
        assert "newer hotclaude" in book.said()

    async def test_a_turn_that_cant_be_written_is_written_with_the_next(
        self, book: Book, server: ModelServer
    ) -> None:
        await book.run_all("a")
        with book.conversation.record.store.read() as db:
            db.execute("pragma query_only = on")  # as a full disk: reads go, writes fail
        assert (await book.run("b", "prompt b")).status == "ok"
        assert "not recorded" in book.said()
        assert book.conversation.pid
        os.kill(book.conversation.pid, signal.SIGKILL)
        with book.conversation.record.store.read() as db:
            db.execute("pragma query_only = off")
        await book.run_all("c")
        await book.restart()
        await book.run_all("d")
        assert prompts(server.requests[-1]) == [f"prompt {cell}" for cell in "abcd"]


class TestBudget:
    async def test_what_would_go_over_is_not_sent(self, book: Book, server: ModelServer) -> None:
        usage = NUMBERS
        server.model = Script([], default=Reply("fine", usage=usage))
        await book.run_all("a")
        book.conversation.budget = type(book.conversation.budget)(tokens=1500)
        with pytest.raises(BudgetReached, match=r"1,500 tokens: 1,100 tokens are used"):
            await book.run_all("b")
        assert len(server.requests) == 1

    async def test_it_counts_what_earlier_kernels_used(
        self, book: Book, server: ModelServer
    ) -> None:
        usage = NUMBERS
        server.model = Script([], default=Reply("fine", usage=usage))
        await book.run_all("a", "b")
        await book.restart()
        assert book.conversation.record.spent().tokens == 2200

    async def test_a_refused_rerun_does_not_rewind(self, book: Book) -> None:
        await book.run_all("a", "b")
        book.conversation.budget = type(book.conversation.budget)(turn_tokens=0)
        with pytest.raises(BudgetReached):
            await book.run("a", "again")
        assert book.branches == {"main": ["prompt a", "prompt b"]}


def alive(pid: int | None) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


async def eventually(condition: Callable[[], Any], what: str) -> None:
    """Wait for a condition while the loop runs."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - a condition of the system, nobody tells of it
            await asyncio.sleep(0.01)
    assert condition(), what


class TestPool:
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

    async def test_closing_leaves_nothing(self, book: Book) -> None:
        await book.run_all("a", "b")
        await book.run("a", "again")
        tree = book.conversation.branches
        await book.conversation.go(lambda: tree.checkout("branch-1"))
        await book.conversation.session()
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

        async def allow(_: Any) -> dict[str, Any]:
            return {"behavior": "allow", "updatedInput": {"command": command, "description": "w"}}

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
        assert store.orphans() == []

    async def test_a_pid_that_is_somebody_elses_by_now_is_left_alone(self, book: Book) -> None:
        await book.run_all("a")
        store, pid = book.conversation.record.store, book.conversation.pid
        with store.write() as db:
            db.execute("update process set kernel = '999999:1', token = 'another'")
        await book.conversation.sweep()
        assert (book.conversation.pool.tally.swept, alive(pid)) == (0, True)
        assert (await book.run("b", "still there")).session_pid == pid


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
