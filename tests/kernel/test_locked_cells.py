"""A kernel whose record another process locks: nothing waits for it but the end of a cell."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.modelserver.replies import Reply
from hotclaude_kernel.record.queries import all_turns
from hotclaude_kernel.record.store import Store

from ..support.frontend import open_notebook, shows
from ..support.locks import locked

if TYPE_CHECKING:
    from hotclaude_kernel.modelserver.request import Request
    from hotclaude_kernel.modelserver.server import ModelServer

    from ..support.frontend import Cell, Message, Notebook

pytestmark = [pytest.mark.kernel, pytest.mark.long]

WRITTEN_DOWN = "Written down, not yet recorded"


def answered(request: Request) -> Reply:
    return Reply(f"answer to {request.prompt}")


@pytest.fixture
def on_disk(env: dict[str, str]) -> dict[str, str]:
    path = Path(env["HOME"], "work", "book.ipynb")
    path.write_text(json.dumps({"cells": [{"id": cell, "source": ""} for cell in "abcd"]}))
    return env | {"JPY_SESSION_NAME": str(path), "HOTCLAUDE_STORE": str(path.parent / "store.db")}


def run(notebook: Notebook, *cells: str) -> list[Cell]:
    return [notebook.run(f"prompt {cell}", cell_id=cell) for cell in cells]


def run_and_interrupt(notebook: Notebook, cell: str) -> Cell:
    """Run a cell; once its answer is shown, ask for a completion, and then interrupt."""
    asked = notebook.send(f"prompt {cell}", cell_id=cell)
    completed: list[str] = []

    def hook(message: Message) -> None:
        if shows(f"answer to prompt {cell}")(message) and not completed:
            completed.append(notebook.client.complete("%mo"))
            # The reply of the cell has not come: it waits for the record.
            assert notebook.reply(completed[0]).content["matches"] == ["%model"]
            notebook.interrupt()

    found = notebook.collect(asked, hook)
    assert completed
    return found


def test_cells_are_answered_and_replayed_and_no_turn_is_lost(
    on_disk: dict[str, str], server: ModelServer
) -> None:
    server.model = answered
    store = on_disk["HOTCLAUDE_STORE"]
    with open_notebook(on_disk) as notebook:
        run(notebook, "a")
        with locked(store):
            ended = run_and_interrupt(notebook, "b")
            assert ended.status == "ok"
            assert WRITTEN_DOWN in ended.plain
            [third] = run(notebook, "c")
            assert (third.status, third.markdown) == ("ok", "answer to prompt c")
            assert notebook.run("%status").status == "ok"
            asked = len(server.requests)
            notebook.restart()
            replayed = run(notebook, "a", "b", "c")
            assert [cell.status for cell in replayed] == ["ok"] * 3
            assert len(server.requests) == asked
        [fourth] = run(notebook, "d")
        assert WRITTEN_DOWN not in fourth.plain
    with closing(Store(store)) as record:
        turns = [record.turn(node) for node in all_turns(record)]
    assert [turn.answer for turn in turns] == [f"answer to prompt {cell}" for cell in "abcd"]
