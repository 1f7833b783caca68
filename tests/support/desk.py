"""A kernel that several tests share, each in a conversation of its own."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hotclaude_kernel.modelserver.script import Script
from hotclaude_kernel.modelserver.server import ModelServer
from hotclaude_kernel.page.text import MARK

from .environment import isolated_env
from .frontend import Cell, Notebook, open_notebook

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hotclaude_kernel.modelserver.request import Request


class Desk:
    """A kernel that several tests share, each in a conversation of its own."""

    def __init__(self, notebook: Notebook, server: ModelServer, home: Path) -> None:
        self.notebook = notebook
        self.server = server
        self.home = home

    def run(self, code: str, cell: str = "magic") -> Cell:
        return self.notebook.run(code, cell_id=cell)

    def begin(self, name: str, *cells: str) -> None:
        """Begin a conversation; its prompts are those of no other test."""
        self.server.model = Script()
        assert self.run("%new").status == "ok"
        self.name = name
        self.ask(*cells)

    def ask(self, *cells: str) -> None:
        """Ask a prompt in each of these cells."""
        for cell in cells:
            assert self.run(f"{self.name} {cell}", f"{self.name}-{cell}").status == "ok"

    def history(self, request: Request | None = None) -> str:
        """The cells that a request holds, by default the last one."""
        asked = (request or self.server.requests[-1]).turns
        return "".join(turn.prompt.removeprefix(f"{self.name} ") for turn in asked)

    def kept(self, cell: Cell) -> str:
        """The branch that a line has named for what it left."""
        found = re.search(r"branch (branch-\d+)$", said(cell))
        assert found, said(cell)
        return found[1]

    def tree(self) -> list[str]:
        """The lines of this conversation in the tree."""
        lines = self.run("%tree").plain.splitlines()
        return [line.replace(f"{self.name} ", "") for line in lines if f"{self.name} " in line]


@contextmanager
def open_desk(binary: str, home: Path, *arguments: str) -> Iterator[Desk]:
    with (
        ModelServer(Script()).in_thread() as server,
        open_notebook(isolated_env(home, server.url, binary), *arguments) as notebook,
    ):
        yield Desk(notebook, server, home)


def said(cell: Cell) -> str:
    """The first line of ours that a cell shows, without the mark that it begins with."""
    assert cell.status == "ok", cell.reply["content"]
    text = str(cell.outputs[0]["text/plain"])
    assert text.startswith(MARK)
    return text.removeprefix(MARK).lstrip()


def value(cell: Cell) -> str:
    """What a line that was asked for a value says."""
    [result] = cell.contents("execute_result")
    return str(result["data"]["text/plain"])


def rows(cell: Cell) -> dict[str, str]:
    """The rows of the tables that a cell shows, by their first column."""
    found = {}
    for line in cell.markdown.splitlines():
        first, *rest = (part.strip() for part in line.strip("| ").split(" |"))
        found[first] = " | ".join(part for part in rest if part)
    return found


def completed(notebook: Notebook, code: str) -> list[str]:
    return list(notebook.reply(notebook.client.complete(code)).content["matches"])


def claude_pid(notebook: Notebook) -> int:
    """The pid that %status tells."""
    status = notebook.run("%status").plain
    return int(status.split("pid ")[1].split(",")[0])
