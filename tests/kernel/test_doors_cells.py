"""Who sends a cell, over ZMQ: builds with the notebook's path, VS Code's ids, odd ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hotclaude_kernel.modelserver.demo import demo_model

from ..support.desk import rows
from ..support.frontend import open_notebook
from ..support.notebooks import executed, notebook_of
from ..turns.test_cellids import vscode

if TYPE_CHECKING:
    from hotclaude_kernel.modelserver.server import ModelServer

pytestmark = [pytest.mark.kernel, pytest.mark.long]


@pytest.fixture
def path(env: dict[str, str]) -> Path:
    path = Path(env["HOME"], "work", "book.ipynb")
    path.write_text(json.dumps({"cells": [{"id": cell, "source": ""} for cell in "abc"]}))
    return path


@pytest.fixture
def named(env: dict[str, str], path: Path) -> dict[str, str]:
    """The environment in which Jupyter Server starts the notebook's kernel."""
    return env | {"JPY_SESSION_NAME": str(path)}


def test_a_page_that_is_built_twice_is_the_same_and_asked_once(
    named: dict[str, str], server: ModelServer
) -> None:
    server.model = demo_model
    with open_notebook(named) as notebook:
        notebook.run("remember 6", cell_id="a")
    built = [executed(notebook_of("remember 31", "recall"), named) for _ in range(2)]
    assert len(server.requests) == 3
    first, second = ([cell.outputs for cell in nb.cells] for nb in built)
    assert first == second
    assert "31" in str(first[1])
    with open_notebook(named) as notebook:
        assert "6" in notebook.run("recall", cell_id="b").markdown


def test_a_request_without_an_id_after_a_restart_moves_nothing(
    named: dict[str, str], server: ModelServer
) -> None:
    with open_notebook(named) as notebook:
        notebook.run("one", cell_id="a")
    with open_notebook(named) as notebook:
        stands = rows(notebook.run("%status", cell_id=None))["stands"]
        assert stands == "on branch main, goes on after turn 1, from the record"
        notebook.run("typed", cell_id=None, allow_stdin=True)
        notebook.run("two", cell_id="b")
    assert [turn.prompt for turn in server.requests[-1].turns] == ["one", "typed", "two"]


def test_vs_code_reopens_a_notebook(env: dict[str, str], path: Path, server: ModelServer) -> None:
    with open_notebook(env) as notebook:
        for number, text in enumerate("abc"):
            assert notebook.run(text, cell_id=vscode(str(path), number)).status == "ok"
        assert "forget" not in rows(notebook.run("%status", cell_id=vscode(str(path), 9)))["stands"]
    with open_notebook(env) as notebook:
        cell = notebook.run("c", cell_id=vscode(str(path), 1))
        assert "Rewound" not in cell.plain
        assert len(server.requests) == 3
        assert notebook.run("d", cell_id=vscode(str(path), 4)).status == "ok"
    assert [turn.prompt for turn in server.requests[-1].turns] == ["a", "b", "c", "d"]


def test_odd_ids_do_no_harm(named: dict[str, str], server: ModelServer) -> None:
    odd: list[Any] = [5, ["a"], {"a": 1}, "", "x" * 1_000_000, "a\0b", "vscode-notebook-cell://[#"]
    with open_notebook(named) as notebook:
        for number, cell_id in enumerate(odd):
            cell = notebook.run(f"odd {number}", cell_id=cell_id, allow_stdin=True)
            assert cell.status == "ok", cell_id
        notebook.run("in the end", cell_id="a")
    assert len(server.requests[-1].turns) == len(odd) + 1
