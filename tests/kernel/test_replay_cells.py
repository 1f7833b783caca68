"""Replaying in a kernel: what the saved notebook holds, and what is started and sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hotclaude_kernel.modelserver.replies import Reply, Text, Thinking, ToolUse
from hotclaude_kernel.modelserver.script import Script

from ..support.frontend import open_notebook
from ..support.notebooks import executed, notebook_of

if TYPE_CHECKING:
    from hotclaude_kernel.modelserver.server import ModelServer

    from ..support.frontend import Cell, Notebook

pytestmark = [pytest.mark.kernel, pytest.mark.long]

RICH = (
    Thinking("let me see"),
    Text("First **this**, a table:\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n", chunk=4),
    ToolUse("Bash", {"command": "echo from-bash", "description": "say it"}),
)


def model() -> Script:
    return Script([Reply(*RICH), Reply(Text("and *done*.", chunk=3))], default="fine")


@pytest.fixture
def on_disk(env: dict[str, str]) -> dict[str, str]:
    """The environment of a kernel that Jupyter Server starts for a notebook of the cells a to c."""
    path = Path(env["HOME"], "work", "book.ipynb")
    path.write_text(json.dumps({"cells": [{"id": cell, "source": ""} for cell in "abc"]}))
    return env | {"JPY_SESSION_NAME": str(path)}


def saved(cell: Cell) -> list[dict[str, Any]]:
    """The outputs as a notebook holds them: bundles and metadata, no display ids."""
    shown: dict[str, dict[str, Any]] = {}
    for message in cell.messages:
        content = message["content"]
        if message["header"]["msg_type"] in ("display_data", "update_display_data"):
            at = content["transient"]["display_id"]
            metadata = content["metadata"] or shown.get(at, {}).get("metadata", {})
            shown[at] = {"data": content["data"], "metadata": metadata}
    return list(shown.values())


def run_all(notebook: Notebook) -> list[list[dict[str, Any]]]:
    return [saved(notebook.run(f"prompt {cell}", cell_id=cell)) for cell in "abc"]


class TestRestartAndRunAll:
    def test_the_outputs_are_the_same_and_nothing_is_sent(
        self, on_disk: dict[str, str], server: ModelServer
    ) -> None:
        server.model = model()
        with open_notebook(on_disk) as notebook:
            live = run_all(notebook)
        count = len(server.requests)
        with open_notebook(on_disk) as notebook:
            first = notebook.run("%status", cell_id="s").plain
            assert "goes on after turn 3" in first
            replayed = [saved(notebook.run(f"prompt {cell}", cell_id=cell)) for cell in "bc"]
            status = notebook.run("%status", cell_id="s").plain
        assert replayed == live[1:]
        assert "2 replayed from the record" in status
        assert len(server.requests) == count

    def test_where_nothing_may_be_asked_no_process_is_started(
        self, on_disk: dict[str, str], server: ModelServer
    ) -> None:
        server.model = model()
        with open_notebook(on_disk) as notebook:
            live = run_all(notebook)
        count = len(server.requests)
        offline = on_disk | {
            "HOTCLAUDE_RECORD": "none",
            "HOTCLAUDE_CLI": "/nonexistent/claude",
            "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
        }
        with open_notebook(offline) as notebook:
            assert run_all(notebook) == live
            assert run_all(notebook) == live  # a second time too: it may not ask
            missed = notebook.run("something else", cell_id="d")
            assert missed.reply["content"]["ename"] == "ReplayMiss"
        assert len(server.requests) == count

    def test_each_answer_says_which_turn_it_is(
        self, on_disk: dict[str, str], server: ModelServer
    ) -> None:
        server.model = model()
        with open_notebook(on_disk) as notebook:
            cells = run_all(notebook)
        about = [output["metadata"]["hotclaude"] for cell in cells for output in cell[-1:]]
        assert [turn["parent"] for turn in about] == [None, about[0]["node"], about[1]["node"]]
        assert len({turn["key"] for turn in about}) == 3

    def test_a_cell_that_is_run_again_or_refreshed_asks_again(
        self, on_disk: dict[str, str], server: ModelServer
    ) -> None:
        with open_notebook(on_disk) as notebook:
            notebook.run("prompt a", cell_id="a")
            notebook.run("prompt a", cell_id="a")
            assert len(server.requests) == 2
        with open_notebook(on_disk) as notebook:
            notebook.run("prompt a", cell_id="a")
            assert len(server.requests) == 2
            notebook.run("%%refresh\nprompt a", cell_id="a")
            assert len(server.requests) == 3


class TestModes:
    def test_a_wrong_name_is_refused(self, env: dict[str, str], server: ModelServer) -> None:
        with open_notebook(env | {"HOTCLAUDE_RECORD": "sometimes"}) as notebook:
            content = notebook.run("hello").reply["content"]
            assert (content["ename"], content["status"]) == ("UsageError", "error")
            assert "new_episodes" in "\n".join(content["traceback"])
        assert server.requests == []

    def test_in_ci_nothing_is_asked_unless_it_is_said(
        self, env: dict[str, str], server: ModelServer
    ) -> None:
        with open_notebook(env | {"CI": "true"}) as notebook:
            assert notebook.run("hello").reply["content"]["ename"] == "ReplayMiss"
            assert notebook.run("%record").contents("execute_result")[0]["data"] == {
                "text/plain": "none"
            }
        assert server.requests == []
        with open_notebook(env | {"CI": "true", "HOTCLAUDE_RECORD": "new_episodes"}) as notebook:
            assert notebook.run("hello").status == "ok"

    def test_a_miss_shows_the_difference(self, env: dict[str, str]) -> None:
        with open_notebook(env) as notebook:
            notebook.run("tell me of cats", cell_id=None)
        with open_notebook(env | {"HOTCLAUDE_RECORD": "none"}) as notebook:
            lines = notebook.run("tell me of dogs", cell_id=None).reply["content"]["traceback"]
            assert "-tell me of cats" in lines
            assert "+tell me of dogs" in lines


class TestHeadless:
    def test_two_runs_are_the_same_and_the_second_asks_nothing(
        self, env: dict[str, str], server: ModelServer
    ) -> None:
        server.model = model()
        first = executed(notebook_of("go", "more"), env)
        count = len(server.requests)
        second = executed(notebook_of("go", "more"), env)
        assert [cell.outputs for cell in first.cells] == [cell.outputs for cell in second.cells]
        assert len(server.requests) == count
