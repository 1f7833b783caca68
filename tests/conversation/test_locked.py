"""The record and the event loop: no call of SQLite on the loop's thread, which could wait."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING, Any

import pytest

from hotclaude_kernel.cells.lines import Line
from hotclaude_kernel.cells.magics import registry
from hotclaude_kernel.modelserver.replies import Reply
from hotclaude_kernel.turns.prompt import Prompt

from ..support.book import Book
from ..support.locks import locked
from ..support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from hotclaude_kernel.modelserver.server import ModelServer

pytestmark = [pytest.mark.wire, pytest.mark.long, pytest.mark.usefixtures("isolated")]

LINES = ("%tree", "%branches", "%status", "%budget", "%goto 1", "%checkpoint here", "%new")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that SQLite was given on the loop's thread, and what it opened there."""
    here, found = threading.get_ident(), list[str]()
    connect = sqlite3.connect

    def watched(path: str, *args: Any, **options: Any) -> Any:
        if threading.get_ident() == here:
            found.append(f"connect {path}")
        connection = connect(path, *args, **options)
        # SQLite calls it on the thread that executes.
        connection.set_trace_callback(
            lambda sql: found.append(sql) if threading.get_ident() == here else None
        )
        return connection

    monkeypatch.setattr(sqlite3, "connect", watched)
    return found


async def test_all_that_a_cell_does_leaves_sqlite_to_other_threads(
    calls: list[str], notebook_path: Path, server: ModelServer
) -> None:
    server.model = lambda request: Reply(f"answer to {request.prompt}")
    book = Book(notebook_path)
    for _ in range(2):
        await book.conversation.open()
        book.conversation.warm()
        await book.conversation.sweep()
        await book.run_all("a", "b")
        await book.conversation.ask(Prompt(text="prompt b", cell_id="b"), lambda _: None)
        for line in LINES:
            name, _, argument = line[1:].partition(" ")
            await registry.run(Line(name, argument), book.conversation)
            await book.conversation.settle()
        await eventually(lambda: book.conversation.ready, "a process waits")
        await book.restart()
    await book.conversation.close()
    assert calls == []


async def test_a_notebook_is_opened_and_closed_while_its_record_is_locked(
    calls: list[str], notebook_path: Path, server: ModelServer
) -> None:
    server.model = lambda request: Reply(f"answer to {request.prompt}")
    book = Book(notebook_path)
    await book.run_all("a")
    file = book.conversation.record.file
    with locked(file):
        await book.restart()
        await book.run_all("b")
        assert "Written down, not yet recorded" in book.said()
        await book.restart()
        await book.run_all("c")
        await book.conversation.close()
    book.open()
    await book.conversation.open()
    assert [node.prompt for node in book.conversation.branches.path] == [
        f"prompt {cell}" for cell in "abc"
    ]
    await book.conversation.close()
    assert calls == []
