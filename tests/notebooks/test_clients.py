"""Without a page: nbclient, nbconvert, jupytext, the console, papermill."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jupytext
import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

from hotclaude_kernel.modelserver.demo import demo_model
from hotclaude_kernel.modelserver.replies import Failure, Reply, Text
from hotclaude_kernel.modelserver.script import Script
from hotclaude_kernel.notebooks.markdown import MarkdownExporter

from ..hostile import corpus
from ..support.notebooks import executed, notebook_of

if TYPE_CHECKING:
    from hotclaude_kernel.modelserver.server import ModelServer

pytestmark = [pytest.mark.kernel, pytest.mark.long]

ANSWER = Path(__file__).parents[1] / "answer.md"


def answer_of(cell: Any) -> str:
    """The answer as the notebook holds it."""
    return "".join(o.data.get("text/markdown", "") for o in cell.outputs if "data" in o)


class TestNbclient:
    def test_cells_are_turns(self, env: dict[str, str], server: ModelServer) -> None:
        server.model = demo_model
        nb = executed(notebook_of("remember 42", "recall"), env)
        assert "42" in answer_of(nb.cells[1])

    def test_the_answer_is_saved_exactly(self, env: dict[str, str], server: ModelServer) -> None:
        server.model = Script([Reply(Text(ANSWER.read_text(), chunk=7))])
        nb = executed(notebook_of("show everything"), env)
        assert answer_of(nb.cells[0]) == ANSWER.read_text()
        nbformat.validate(nb)

    def test_a_failed_turn_fails_the_run(self, env: dict[str, str], server: ModelServer) -> None:
        server.model = lambda _: Failure(400, message="no")
        with pytest.raises(CellExecutionError, match="ApiError"):
            executed(notebook_of("go", "never"), env)
        assert not any("never" in request.prompt for request in server.requests)


class TestExports:
    @pytest.fixture
    def nb(self, env: dict[str, str], server: ModelServer) -> Any:
        server.model = Script([Reply(Text(ANSWER.read_text(), chunk=50))])
        return executed(notebook_of("show:\n\n```\na fence\n```"), env)

    def test_html_shows_the_answer(self, nb: Any) -> None:
        html, _ = HTMLExporter().from_notebook_node(nb)
        assert "An answer with everything" in html
        assert '<a href="https://example.org/far"' in html
        assert "<th" in html

    def test_our_markdown_is_the_answer_as_it_was(self, nb: Any) -> None:
        text, _ = MarkdownExporter().from_notebook_node(nb)
        assert ANSWER.read_text().strip() in text
        assert text.startswith("> show:\n>\n> ```\n> a fence\n> ```\n\n# An answer")
        assert "<div" not in text

    def test_as_a_script_it_is_that_markdown_too(
        self, nb: Any, env: dict[str, str], tmp_path: Path
    ) -> None:
        path = tmp_path / "nb.ipynb"
        nbformat.write(nb, path)
        convert = ["jupyter", "nbconvert", "--to", "script", str(path)]
        subprocess.run(convert, env=env, check=True, capture_output=True)
        assert ANSWER.read_text().strip() in path.with_suffix(".md").read_text()

    def test_nbconvert_knows_it_by_name(self, nb: Any, env: dict[str, str], tmp_path: Path) -> None:
        path = tmp_path / "nb.ipynb"
        nbformat.write(nb, path)
        convert = ["jupyter", "nbconvert", "--to", "hotclaude-markdown", str(path)]
        subprocess.run(convert, env=env, check=True, capture_output=True)
        assert ANSWER.read_text().strip() in path.with_suffix(".md").read_text()

    def test_no_hostile_answer_gets_an_element_into_the_html(
        self, env: dict[str, str], server: ModelServer
    ) -> None:
        server.model = Script([Reply("\n\n".join(corpus().values()))])
        html, _ = HTMLExporter().from_notebook_node(executed(notebook_of("go"), env))
        body = html.split("<main", 1)[1].lower()
        for tag in ("<script>window", "<iframe", "<img", "<svg", "<object", "onerror=alert"):
            assert tag not in body


class TestJupytext:
    @pytest.mark.parametrize("form", ["md", "md:myst"])
    def test_prompts_survive_the_round_trip(self, form: str) -> None:
        nb = notebook_of("plain", "with a fence:\n\n```python\nx = 1\n```", "%model opus\nhello")
        nb.metadata["language_info"] = {"name": "markdown"}
        again = jupytext.reads(jupytext.writes(nb, fmt=form), fmt=form)
        assert [c.source for c in again.cells] == [c.source for c in nb.cells]
        assert {c.cell_type for c in again.cells} == {"code"}


class TestPapermill:
    def test_runs_without_parameters(
        self, env: dict[str, str], server: ModelServer, tmp_path: Path
    ) -> None:
        given, done = tmp_path / "in.ipynb", tmp_path / "out.ipynb"
        nbformat.write(notebook_of("one", "two"), given)
        run = ["papermill", str(given), str(done), "--no-progress-bar"]
        subprocess.run(run, env=env, check=True, capture_output=True)
        nb = nbformat.read(done, as_version=4)
        assert [answer_of(cell) for cell in nb.cells] == ["ok", "ok"]


class TestConsole:
    def test_jupyter_console_prints_the_answer(
        self, env: dict[str, str], server: ModelServer
    ) -> None:
        server.model = Script(["It says *this*."])
        console = ["jupyter", "console", "--kernel", "hotclaude", "--simple-prompt"]
        done = subprocess.run(
            console,
            env=env | {"TERM": "dumb"},
            input="hello\n",
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert "It says *this*." in done.stdout
        assert len(server.requests) == 1


def test_the_environment_of_the_tests_is_not_the_users(env: dict[str, str]) -> None:
    assert env["ANTHROPIC_BASE_URL"].startswith("http://127.0.0.1:")
    assert env["HOME"] != os.environ.get("HOME")
