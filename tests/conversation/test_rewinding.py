"""Running a cell again rewinds the conversation: what the model is sent, and what stays."""

from __future__ import annotations

import stat
import sys
from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.errors import ApiError, BudgetReached, UsageError
from hotclaude_kernel.modelserver.demo import demo_model
from hotclaude_kernel.modelserver.replies import Failure, Reply, ToolUse
from hotclaude_kernel.modelserver.script import Script

from ..support.book import NUMBERS, Book, prompts, sent

if TYPE_CHECKING:
    from pathlib import Path

    from hotclaude_kernel.modelserver.server import ModelServer

pytestmark = [pytest.mark.wire, pytest.mark.usefixtures("isolated")]


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

    @pytest.mark.long
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
        assert book.branches == {"main": ["prompt a", "prompt b", "prompt c"]}
        assert len(book.conversation.branches.nodes) == 3
        book.said()
        await book.run_all("d")
        assert book.said() == "Rewound before turn 3; turn 3 is branch branch-1"
        assert book.branches == {
            "main": ["prompt a", "prompt b", "prompt d"],
            "branch-1": ["prompt a", "prompt b", "prompt c"],
        }

    @pytest.mark.long
    async def test_what_follows_a_turn_that_came_out_the_same_is_resumed_with_it(
        self, book: Book, server: ModelServer
    ) -> None:
        await book.run_all("a", "b")
        await book.run_all("a", "c")  # the very same a, under another uuid in its process
        await book.restart()
        await book.run_all("d")
        assert prompts(server.requests[-1]) == ["prompt a", "prompt c", "prompt d"]

    @pytest.mark.long
    async def test_append_asks_at_the_end(self, book: Book, server: ModelServer) -> None:
        book.conversation.position.rerun = "append"
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

    @pytest.mark.long
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

    @pytest.mark.long
    async def test_new_keeps_the_old_conversation_as_a_branch(
        self, book: Book, server: ModelServer
    ) -> None:
        await book.run_all("a", "b")
        name = await book.conversation.renew()
        await book.run_all("c")
        assert prompts(server.requests[-1]) == ["prompt c"]
        assert book.branches[name] == ["prompt a", "prompt b"]

    @pytest.mark.long
    async def test_names_are_checked(self, book: Book) -> None:
        await book.run_all("a")
        tree = book.conversation.branches
        for wrong in ("main", "start", "two words", "", "7", "a:b"):
            with pytest.raises(UsageError):
                tree.fork(wrong)
        for nowhere in ("9", "nowhere", "main:2", "none:1"):
            with pytest.raises(UsageError):
                tree.find(nowhere)

    @pytest.mark.long
    async def test_compaction_can_be_rewound(self, book: Book, server: ModelServer) -> None:
        server.model = demo_model
        await book.run("a", "remember 42")
        await book.run("b", "/compact")
        await book.run("c", "recall")
        server.model = Script([], default="fine")
        await book.run("b", "before the summary")
        assert prompts(server.requests[-1]) == ["remember 42", "before the summary"]


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
