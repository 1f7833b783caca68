"""A notebook whose kernel was restarted, killed or moved goes on where it was."""

from __future__ import annotations

import json
import os
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ..support.desk import rows, said
from ..support.frontend import Cell, Notebook, open_notebook
from ..support.processes import running
from ..support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotclaude_kernel.modelserver.server import ModelServer

pytestmark = [pytest.mark.kernel, pytest.mark.long]


class Book:
    """A notebook on disk, as Jupyter Server names it to its kernel."""

    def __init__(self, env: dict[str, str], name: str = "book") -> None:
        self.home = Path(env["HOME"])
        self.path = self.home / "work" / f"{name}.ipynb"
        cells = [{"id": cell, "source": ""} for cell in "abcdef"]
        self.path.write_text(json.dumps({"cells": cells}))
        self.env = env

    @contextmanager
    def open(self) -> Iterator[Notebook]:
        with open_notebook(self.env | {"JPY_SESSION_NAME": str(self.path)}) as notebook:
            yield notebook


@pytest.fixture
def book(env: dict[str, str]) -> Book:
    return Book(env)


def run(notebook: Notebook, *cells: str) -> Cell:
    for cell in cells:
        ran = notebook.run(f"prompt {cell}", cell_id=cell)
        assert ran.status == "ok"
    return ran


def history(server: ModelServer) -> str:
    return "".join(turn.prompt.removeprefix("prompt ") for turn in server.requests[-1].turns)


class TestRestart:
    def test_it_goes_on_and_says_so_once(self, book: Book, server: ModelServer) -> None:
        with book.open() as notebook:
            run(notebook, "a", "b")
            notebook.run("%fork side", cell_id="x")
            run(notebook, "c")
        until(lambda: not running(book.home), "nothing is left running")
        with book.open() as notebook:
            first = run(notebook, "d")
            assert said(first) == "Goes on after turn 3, from the record"
            assert history(server) == "abcd"
            again = run(notebook, "e")
            assert "Goes on" not in again.plain
            notebook.run("%checkout main", cell_id="x")
            run(notebook, "f")
            assert history(server) == "abf"
        until(lambda: not running(book.home), "nothing is left running")

    def test_the_status_says_so_before_the_first_turn(
        self, book: Book, server: ModelServer
    ) -> None:
        with book.open() as notebook:
            run(notebook, "a", "b")
        with book.open() as notebook:
            cell = notebook.run("%status", cell_id="unsaved")
            stands = "on branch main, goes on after turn 2, from the record"
            assert rows(cell)["stands"] == stands
            assert rows(cell)["session id"] == "none yet"
            run(notebook, "c")
            assert history(server) == "abc"
            cell = notebook.run("%status", cell_id="unsaved")
            assert rows(cell)["stands"] == "on branch main, after turn 3"
            assert ", resumed 1 time" in rows(cell)["process"]

    def test_replays_go_along_the_branch_and_the_first_new_turn_leaves_the_rest(
        self, book: Book, server: ModelServer
    ) -> None:
        with book.open() as notebook:
            run(notebook, *"abcdef")
        count = len(server.requests)
        with book.open() as notebook:
            assert run(notebook, "a").outputs[0]["text/plain"] == "ok"
            stands = rows(notebook.run("%status", cell_id="x"))["stands"]
            assert stands == (
                "on branch main, after turn 1 of 6; turns 2–6 are ahead: any other turn leaves "
                "them as a branch"
            )
            assert notebook.run("%tree", cell_id="x").plain.splitlines() == [
                "❖ Hot Claude",
                "",
                "◉ 1  prompt a  replayed from the record  ← you are here",
                *(f"○ {at}  prompt {cell}" for at, cell in enumerate("bcde", 2)),
                "○ 6  prompt f  [main]",
            ]
            os.kill(notebook.pid, signal.SIGKILL)
            until(lambda: not running(book.home), "claude ends with its kernel")
        with book.open() as notebook:
            stands = rows(notebook.run("%status", cell_id="x"))["stands"]
            assert stands == "on branch main, goes on after turn 6, from the record"
            run(notebook, "a", "b", "c")
            assert len(server.requests) == count
            found = rows(notebook.run("%branches", cell_id="x"))
            assert found["main"].startswith("branch, here after turn 3 | 6 | `prompt f` | ")
            assert "branch-1" not in found
            cell = run(notebook, "new")
            assert said(cell) == "Rewound before turn 4; turns 4–6 are branch branch-1"
            assert history(server) == "abcnew"
            notebook.run("%goto branch-1", cell_id="x")
            run(notebook, "g")
            assert history(server) == "abcdefg"

    def test_a_turn_ahead_can_be_gone_to(self, book: Book, server: ModelServer) -> None:
        with book.open() as notebook:
            run(notebook, "a", "b", "c")
        with book.open() as notebook:
            run(notebook, "a")
            line = said(notebook.run("%goto 2", cell_id="x"))
            assert line == "on branch main, after turn 2; what was beyond is branch branch-1"
            run(notebook, "d")
            assert history(server) == "abd"

    def test_a_killed_kernel_leaves_nothing_and_the_next_can_rewind(
        self, book: Book, server: ModelServer
    ) -> None:
        with book.open() as notebook:
            run(notebook, "a", "b")
            os.kill(notebook.pid, signal.SIGKILL)
            until(lambda: not running(book.home), "claude ends with its kernel")
        with book.open() as notebook:
            cell = notebook.run("prompt B", cell_id="b")
            line = cell.outputs[0]["text/plain"]
            assert line == "❖ Rewound before turn 2; turn 2 is branch branch-1"
            assert history(server) == "aB"
        until(lambda: not running(book.home), "nothing is left running")

    def test_a_moved_notebook_has_its_tree_before_its_first_prompt(
        self, book: Book, server: ModelServer
    ) -> None:
        with book.open() as notebook:
            run(notebook, "a", "b")
        book.path = book.path.rename(book.path.with_name("moved.ipynb"))
        with book.open() as notebook:
            assert "◉ 2  prompt b  [main]" in notebook.run("%tree", cell_id="c").plain
            notebook.run("%fork side", cell_id="c")
            run(notebook, "d")
            assert history(server) == "abd"
            assert "[side]  ← you are here" in notebook.run("%tree", cell_id="c").plain
