"""Replays whose files or endpoint have changed since: asked again, or refused, and told why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.errors import ReplayMiss
from hotclaude_kernel.modelserver.replies import Reply, Text, ToolUse
from hotclaude_kernel.modelserver.script import Script
from hotclaude_kernel.record.cassettes import cassette
from hotclaude_kernel.record.verify import store_faults
from hotclaude_kernel.turns.prompt import Prompt
from hotclaude_kernel.turns.settings import Settings

from ..support.book import Book, written

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hotclaude_kernel.modelserver.server import ModelServer
    from hotclaude_kernel.turns.turn import Turn

pytestmark = [pytest.mark.wire, pytest.mark.usefixtures("isolated")]

SUMMARY = "Summary of @notes.txt"
EDIT = Reply(ToolUse("Bash", {"command": "echo new > notes.txt", "description": "edit"}))


class Notes(Book):
    """A notebook whose first cell mentions a file, and is replayed where it may be."""

    async def ask(self, cell: str, text: str) -> Turn:
        prompt = Prompt(text=text, cell_id=cell)
        return await self.conversation.ask(prompt, lambda _: None)


@pytest.fixture
async def book(home: Path) -> AsyncIterator[Notes]:
    (home / "work" / "notes.txt").write_text("old")
    made = Notes(written(home / "work" / "book.ipynb"), settings=Settings(allowed_tools=("Bash",)))
    yield made
    await made.conversation.close()


async def test_a_changed_file_is_asked_about_again_and_named_and_its_old_text_replays(
    book: Notes, server: ModelServer, home: Path
) -> None:
    server.model = Script(["of the old", "of the new"])
    notes = home / "work" / "notes.txt"
    await book.ask("a", SUMMARY)
    await book.restart()
    notes.write_text("new")
    assert (await book.ask("a", SUMMARY)).text == "of the new"
    assert "Asked again: notes.txt has changed since" in book.said()
    await book.restart()
    assert (await book.ask("a", SUMMARY)).text == "of the new"
    notes.write_text("old")
    await book.restart()
    assert (await book.ask("a", SUMMARY)).text == "of the old"
    assert "Asked again" not in book.said()
    notes.write_text("newest")
    await book.restart()
    book.conversation.mode = "none"
    with pytest.raises(ReplayMiss, match=r"notes\.txt has changed since"):
        await book.ask("a", SUMMARY)
    assert len(server.requests) == 2


async def test_the_same_answer_to_a_changed_file_is_another_turn(
    book: Notes, server: ModelServer, home: Path
) -> None:
    server.model = Script(["Read.", "of the old", "Read.", "of the new", "on"])
    notes = home / "work" / "notes.txt"
    for text in ("old", "new"):
        notes.write_text(f"{text} text")
        await book.restart()
        await book.ask("a", SUMMARY)
        # What was said of the old file is no answer about the new one.
        assert (await book.ask("b", "What does it say?")).text == f"of the {text}"
    await book.restart()
    await book.ask("c", "go on")
    sent = server.requests[-1].body.decode()
    assert "new text" in sent
    assert "old text" not in sent
    # What names a turn follows from the record, and from a cassette.
    record = book.conversation.record
    assert not list(store_faults(record.store))
    nodes = [node.id for node in record.branches.path]
    assert [turn.node.id for turn in cassette.read(cassette.write(record.store, nodes))] == nodes


@pytest.mark.long
async def test_a_notebook_that_edits_the_file_itself_replays(
    book: Notes, server: ModelServer, home: Path
) -> None:
    server.model = Script(["of the old", EDIT, "edited"])
    notes = home / "work" / "notes.txt"
    await book.ask("a", SUMMARY)
    await book.ask("b", "edit it")
    assert notes.read_text() == "new\n"
    asked = len(server.requests)
    await book.restart()
    turns = [await book.ask("a", SUMMARY), await book.ask("b", "edit it")]
    assert [turn.replayed for turn in turns] == [True, True]
    assert len(server.requests) == asked
    # Without the file there is nothing to compare with: that is told by the turn.
    notes.unlink()
    await book.restart()
    turn = await book.ask("a", SUMMARY)
    assert (turn.replayed, turn.absent) == (True, ("notes.txt",))


@pytest.mark.long
async def test_another_endpoint_is_asked_anew(
    book: Notes, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.model = Script([Reply(Text("one")), Reply(Text("two"))])
    await book.ask("a", "hello")
    monkeypatch.setenv("HOTCLAUDE_ENDPOINT", "another")
    await book.restart()
    assert (await book.ask("a", "hello")).text == "two"
    assert "it was answered by tests, and this kernel asks another" in book.said()
