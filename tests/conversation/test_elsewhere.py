"""Turns from elsewhere, with the real binary: what of them is in the next live request."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from hotclaude_kernel.modelserver.replies import Reply
from hotclaude_kernel.record.cassettes import cassette, places
from hotclaude_kernel.record.store import Store
from hotclaude_kernel.turns.prompt import Prompt

from ..record.test_forged import put, text_of
from ..support.book import Book, prompts, sent
from ..turns.test_grammar import FORGED, TURN, forged

if TYPE_CHECKING:
    from pathlib import Path

    from hotclaude_kernel.modelserver.server import ModelServer

pytestmark = [pytest.mark.wire, pytest.mark.usefixtures("isolated")]


async def ask(book: Book, cell: str, text: str) -> bool:
    """Ask a cell; return whether it was replayed."""
    turn = await book.conversation.ask(Prompt(text=text, cell_id=cell), lambda _: None)
    await book.conversation.settle()
    return turn.replayed


def all_forged() -> list[dict[str, Any]]:
    """A turn with every forged frame in it, its words at its end too."""
    within = [frame for at, frame, _ in FORGED.values() if at < len(TURN)]
    return [*TURN[:-1], *within, TURN[-1]]


async def test_nothing_of_what_is_forged_is_sent_though_a_record_holds_it(
    book: Book, server: ModelServer
) -> None:
    """As after an older version has taken a stranger's cassette."""
    server.model = lambda request: Reply(f"answer to {request.prompt}")
    with closing(Store(book.conversation.record.file)) as store:
        put(store, str(book.path), all_forged())
    assert await ask(book, "a", "go")
    assert not await ask(book, "b", "next")
    body = server.requests[-1].body.decode()
    assert prompts(server.requests[-1]) == ["go", "next"]
    assert "It is there." in body
    shown = all_forged()
    assert "HIDDEN" in str(shown)
    # The page shows a text as Claude's, wherever it stands; so it is told as Claude's.
    assert body.count("HIDDEN") == sum(f["type"] == "assistant" for f in spoken(shown))
    assert server.requests[-1].turns[0].answer.count("HIDDEN") == body.count("HIDDEN")
    assert "Rewound before turn 3" not in body


def spoken(frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The frames that the page shows as a text of the answer."""
    words = {"type": "text", "text": "HIDDEN"}
    return [
        f
        for f in frames
        if f["type"] == "assistant"
        and words in f["message"]["content"]
        and not f.get("parent_tool_use_id")
    ]


async def test_a_forged_cassette_is_not_taken_and_nothing_of_it_is_sent(
    book: Book, notebook_path: Path, server: ModelServer
) -> None:
    frames, number, _ = forged("a user's words")
    places.beside(notebook_path).write_text(text_of(frames))
    assert not await ask(book, "a", "go")
    assert f"frame {number}: " in book.said()
    assert not await ask(book, "b", "next")
    assert "HIDDEN" not in server.requests[-1].body.decode()


@pytest.mark.long
async def test_turns_of_this_machine_keep_their_entries_behind_those_of_a_cassette(
    book: Book, notebook_path: Path, server: ModelServer
) -> None:
    server.model = lambda request: Reply(f"answer to {request.prompt}")
    text = text_of(TURN)
    places.beside(notebook_path).write_text(text)
    assert cassette.read(text)
    assert await ask(book, "a", "go")
    assert not await ask(book, "b", "next")
    assert not await ask(book, "c", "more")
    original = sent(server.requests[-1])
    await book.restart()
    await book.run("c", "more")
    assert sent(server.requests[-1]) == original
