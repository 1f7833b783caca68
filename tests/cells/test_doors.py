"""Who sends a cell: a page, VS Code, a console, a build without a page; and where it is asked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.cells.run import SHOWN_AGAIN, Cell, Cells, Outcome
from hotclaude_kernel.conversation.conversation import Conversation
from hotclaude_kernel.page.notebook import NotebookPage
from hotclaude_kernel.turns.cellids import UNKNOWN
from hotclaude_kernel.turns.settings import Settings

from ..support.book import QUIET, prompts, written
from ..turns.test_cellids import vscode
from .test_run import Outputs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hotclaude_kernel.modelserver.server import ModelServer

pytestmark = [pytest.mark.wire, pytest.mark.long, pytest.mark.usefixtures("isolated")]


class Kernel:
    """A kernel at a notebook that can be restarted, and the cells that clients send it."""

    def __init__(self, path: Path | None, server: ModelServer) -> None:
        self.path = path
        self.server = server
        self.open()

    def open(self) -> None:
        path = str(self.path) if self.path else None
        self.conversation = Conversation(Settings(), notebook=path, limits=QUIET)
        self.cells = Cells(self.conversation)

    async def restart(self) -> None:
        await self.conversation.close()
        self.open()

    async def run(
        self, code: str, cell: str | None = None, *, client: str = "page", stdin: bool = True
    ) -> Outcome:
        self.outputs = Outputs()
        asked = Cell(code=code, id=cell, client=client, stdin=stdin)
        return await self.cells.run(asked, NotebookPage(self.outputs))

    async def run_page(self, *cells: str) -> None:
        """Run cells of a page whose ids last."""
        for cell in cells:
            await self.run(f"prompt {cell}", cell)

    async def build(self, *codes: str, client: str = "build") -> list[bool]:
        """Run cells as MyST does; return of each prompt whether it was replayed."""
        ran = [await self.run(code, client=client, stdin=False) for code in codes]
        return [outcome.turn.replayed for outcome in ran if outcome.turn]

    @property
    def last(self) -> list[str]:
        """The prompts of the last request."""
        return prompts(self.server.requests[-1])


def without_ids(path: Path) -> None:
    """Make a notebook one of nbformat 4.4."""
    path.write_text(json.dumps({"nbformat_minor": 4, "cells": [{"source": ""}]}))


@pytest.fixture
def path(home: Path) -> Path:
    return written(home / "work" / "book.ipynb")


@pytest.fixture
async def kernel(path: Path, server: ModelServer) -> AsyncIterator[Kernel]:
    made = Kernel(path, server)
    yield made
    await made.conversation.close()


class TestBuilds:
    """MyST and Jupyter Book send the notebook's path, but no ids, and answer no questions."""

    async def test_an_unchanged_page_replays_however_often_it_is_built(
        self, kernel: Kernel, server: ModelServer
    ) -> None:
        assert await kernel.build("remember 31", "count") == [False, False]
        for _ in range(2):
            await kernel.restart()
            assert await kernel.build("remember 31", "count") == [True, True]
            assert "Another kernel" not in kernel.outputs.plain
        assert len(server.requests) == 2

    async def test_a_changed_cell_goes_on_after_the_unchanged_ones(self, kernel: Kernel) -> None:
        await kernel.build("one", "two", "three")
        await kernel.restart()
        assert await kernel.build("one", "other", "three") == [True, False, False]
        assert kernel.last == ["one", "other", "three"]

    async def test_the_notebook_keeps_its_place(self, kernel: Kernel) -> None:
        await kernel.run_page("a", "b")
        await kernel.restart()
        await kernel.build("one", "two")
        assert kernel.last == ["one", "two"]
        assert "Goes on" not in kernel.outputs.plain
        await kernel.restart()
        await kernel.run_page("c")
        assert kernel.last == ["prompt a", "prompt b", "prompt c"]

    async def test_in_the_kernel_of_an_open_page(self, kernel: Kernel) -> None:
        await kernel.run_page("a")
        assert await kernel.build("one", client="first") == [False]
        assert await kernel.build("one", "two", client="second") == [True, False]
        await kernel.run_page("b")
        assert kernel.last == ["prompt a", "prompt b"]
        await kernel.restart()
        await kernel.run_page("c")
        assert kernel.last == ["prompt a", "prompt b", "prompt c"]

    async def test_the_settings_of_the_page_are_not_those_of_a_build(
        self, kernel: Kernel, server: ModelServer
    ) -> None:
        await kernel.run("%system You are terse.\nprompt a", "a")
        await kernel.restart()
        await kernel.build("%model haiku", "one")
        assert "You are terse." not in server.requests[-1].system
        assert "haiku" in server.requests[-1].model
        await kernel.run_page("b")
        assert "You are terse." in server.requests[-1].system
        assert "haiku" not in server.requests[-1].model
        await kernel.restart()
        assert await kernel.build("%model haiku", "one") == [True]

    async def test_a_line_alone_moves_nothing(self, kernel: Kernel) -> None:
        await kernel.run_page("a")
        await kernel.restart()
        await kernel.build("%status")
        assert "goes on after turn 1" in kernel.outputs.plain
        await kernel.run_page("b")
        assert kernel.last == ["prompt a", "prompt b"]

    async def test_without_a_path_there_is_nothing_to_keep(self, server: ModelServer) -> None:
        kernel = Kernel(None, server)
        try:
            await kernel.build("one", client="first")
            await kernel.build("two", client="second")
            assert kernel.last == ["one", "two"]
        finally:
            await kernel.conversation.close()


class TestConsoles:
    async def test_one_at_a_running_notebook_appends(self, kernel: Kernel) -> None:
        await kernel.run_page("a")
        await kernel.run("typed", client="console")
        await kernel.run_page("b")
        assert kernel.last == ["prompt a", "typed", "prompt b"]

    async def test_one_after_a_restart_goes_on_and_the_notebook_after_it(
        self, kernel: Kernel
    ) -> None:
        await kernel.run_page("a")
        await kernel.restart()
        await kernel.run("%status", client="console")
        await kernel.run("typed", client="console")
        assert "Goes on after turn 1, from the record" in kernel.outputs.plain
        await kernel.restart()
        await kernel.run_page("b")
        assert kernel.last == ["prompt a", "typed", "prompt b"]

    async def test_a_page_that_sends_no_id_for_once_stays_a_page(self, kernel: Kernel) -> None:
        await kernel.run_page("a")
        await kernel.run("asked by an extension", stdin=False)
        assert kernel.last == ["prompt a", "asked by an extension"]


class TestIdsThatDoNotLast:
    @pytest.fixture
    async def code(self, path: Path, server: ModelServer) -> AsyncIterator[Kernel]:
        """VS Code, which sends no path, and has run three cells of a notebook on disk."""
        kernel = Kernel(None, server)
        for number, text in enumerate("abc"):
            await kernel.run(text, vscode(str(path), number))
        yield kernel
        await kernel.conversation.close()

    async def test_vs_code_numbers_anew_and_an_unchanged_cell_is_known(
        self, code: Kernel, path: Path, server: ModelServer
    ) -> None:
        await code.restart()
        outcome = await code.run("c", vscode(str(path), 1))
        assert outcome.turn
        assert outcome.turn.replayed
        assert "Rewound" not in code.outputs.plain
        assert len(server.requests) == 3
        await code.run("other b", vscode(str(path), 0))
        assert code.last == ["a", "b", "c", "other b"]
        assert UNKNOWN in code.outputs.plain
        await code.run("c again", vscode(str(path), 1))
        assert code.last == ["a", "b", "c again"]

    async def test_within_a_kernels_life_they_hold(self, code: Kernel, path: Path) -> None:
        await code.run("other b", vscode(str(path), 1))
        assert code.last == ["a", "other b"]

    async def test_a_new_notebook_inherits_nothing(self, server: ModelServer) -> None:
        kernel = Kernel(None, server)
        try:
            for text in "ab":
                await kernel.run(text, vscode("Untitled-1.ipynb", 1, "untitled"))
                await kernel.restart()
                assert kernel.last == [text]
        finally:
            await kernel.conversation.close()

    async def test_an_old_notebook_is_reopened(
        self, kernel: Kernel, path: Path, server: ModelServer
    ) -> None:
        without_ids(path)
        for text in "abc":
            await kernel.run(text, f"first-{text}", client="first")
        await kernel.run("c", "second-c", client="second")  # the page was opened again
        assert SHOWN_AGAIN in kernel.outputs.plain
        await kernel.restart()
        outcome = await kernel.run("c", "third-c", client="third")
        assert outcome.turn
        assert outcome.turn.replayed
        assert len(server.requests) == 3
        await kernel.run("new", "third-new", client="third")
        assert kernel.last == ["a", "b", "c", "new"]

    async def test_equal_prompts_are_told_and_appended(self, kernel: Kernel, path: Path) -> None:
        without_ids(path)
        for number, text in enumerate(("go", "b", "go")):
            await kernel.run(text, f"first-{number}", client="first")
        await kernel.restart()
        await kernel.run("go", "second-1", client="second")
        assert kernel.last == ["go", "b", "go", "go"]
        assert "turns 1 and 3 ask this: the cell is taken for a new one" in kernel.outputs.plain
