"""`hotclaude run`, papermill and nbconvert: notebooks of prompts without a page, by command."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from hotclaude_kernel import errors
from hotclaude_kernel.cli import main
from hotclaude_kernel.errors import UsageError
from hotclaude_kernel.kernel.startup import NOTEBOOK_ENV
from hotclaude_kernel.modelserver.replies import Failure, Hold
from hotclaude_kernel.modelserver.script import Script
from hotclaude_kernel.notebooks import file
from hotclaude_kernel.notebooks import run as notebook_run

from ..support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hotclaude_kernel.modelserver.server import ModelServer

KERNELSPEC = {"name": "hotclaude", "display_name": "Hot Claude", "language": "markdown"}
PARAMETERS = ("%params topic=cats n=3", "parameters")
STILL = ("--set", "footer=false", "--record", "off")  # what depends on the clock is left out


def notebook_of(*cells: str | tuple[str, str], minor: int = 5) -> Any:
    """A notebook of prompts, some of them with a tag."""
    nb = nbformat.v4.new_notebook(metadata={"kernelspec": KERNELSPEC}, nbformat_minor=minor)
    for number, cell in enumerate(cells):
        source, tags = (cell, []) if isinstance(cell, str) else (cell[0], [cell[1]])
        nb.cells.append(nbformat.v4.new_code_cell(source, metadata={"tags": tags}, id=f"c{number}"))
        if minor < 5:
            del nb.cells[-1]["id"]
    return nb


def written(path: Path, *cells: str | tuple[str, str]) -> Path:
    """Such a notebook, as a file."""
    nbformat.write(notebook_of(*cells), path)
    return path


def command(env: dict[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end in the isolated environment."""
    return subprocess.run(
        [str(argument) for argument in arguments],
        env=env,
        cwd=env["HOME"],
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )


def run(
    env: dict[str, str], path: Path, *arguments: str | Path
) -> subprocess.CompletedProcess[str]:
    return command(env, sys.executable, "-m", "hotclaude_kernel.cli.main", "run", path, *arguments)


def names(cell: Any) -> list[str]:
    """The errors that a cell has."""
    return [output.ename for output in cell.outputs if output.output_type == "error"]


def prompts(server: ModelServer) -> list[str]:
    return [request.prompt for request in server.requests]


@pytest.fixture
def work(env: dict[str, str], home: Path) -> Path:
    """The folder of the notebooks."""
    return home / "work"


@pytest.mark.kernel
@pytest.mark.long
class TestRunning:
    def test_parameters_settings_progress_and_where_it_runs(
        self, env: dict[str, str], server: ModelServer, work: Path
    ) -> None:
        path = written(work / "nb.ipynb", PARAMETERS, "Say {{topic}}, {{ n }}, {{day}}.", "%cwd")
        given = work / "given.yaml"
        given.write_text("topic: birds\nn: [1, 2]\nday: 2026-11-23\n")
        done = run(
            env, path, "-f", given, "-p", "topic=dogs", "-o", work / "out.ipynb",
            "--set", "model=claude-haiku-4-5", "--set", "allowed_tools=Read",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert prompts(server) == ["Say dogs, [1, 2], 2026-11-23."]
        assert server.requests[0].model == "claude-haiku-4-5"
        assert "4/4" in done.stderr
        assert "WARNING" not in done.stderr
        assert done.stdout == f"Written to {work / 'out.ipynb'}\n1 turn: 1 asked\n"
        nb = nbformat.read(work / "out.ipynb", as_version=4)
        nbformat.validate(nb)
        assert [cell.execution_count for cell in nb.cells] == [1, 2, 3, 4]
        assert nb.cells[1].metadata.tags == ["injected-parameters"]
        assert nb.cells[3].outputs[0].data["text/plain"] == str(work)

    def test_two_runs_are_byte_identical(
        self, env: dict[str, str], server: ModelServer, work: Path
    ) -> None:
        path = written(work / "nb.ipynb", PARAMETERS, "Say {{topic}}", "again")
        for name in ("a", "b"):
            done = run(env, path, "-p", "n=4", "-o", work / f"{name}.ipynb", *STILL)
            assert done.returncode == 0, done.stderr
        assert (work / "a.ipynb").read_bytes() == (work / "b.ipynb").read_bytes()
        assert prompts(server) == ["Say cats", "again"] * 2

    def test_a_signal_interrupts_the_cell_and_ends_the_run(
        self, env: dict[str, str], server: ModelServer, work: Path
    ) -> None:
        server.model = Script([Hold()])
        path = written(work / "nb.ipynb", "wait", "never")
        process = subprocess.Popen(
            [sys.executable, "-m", "hotclaude_kernel.cli.main", "run", path],
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(lambda: server.requests, "a request")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        nb = nbformat.read(work / "nb-run.ipynb", as_version=4)
        assert [names(c) for c in nb.cells] == [["Interrupted"], []]


@pytest.mark.kernel
@pytest.mark.long
@pytest.mark.usefixtures("isolated")
class TestEndings:
    """By `main` in this process, which saves the second that importing nbclient takes."""

    @pytest.mark.parametrize(
        ("cell", "options", "code", "error"),
        [
            ("fail", (), 1, "ApiError"),
            ("new", ("--record", "none"), 3, "ReplayMiss"),
            ("%budget 0 tokens\ngo", (), 4, "BudgetReached"),
            ("%params a=1\nSay {{b}}", (), 5, "UsageError"),
        ],
    )
    def test_the_first_error_ends_it_and_is_told_by_the_exit_code(
        self,
        cell: str,
        options: Sequence[str],
        code: int,
        error: str,
        server: ModelServer,
        work: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        server.model = lambda _: Failure(400, message="no")
        written(work / "nb.ipynb", "%help", cell, "never")
        assert main.main(["run", "nb.ipynb", *options]) == code
        said = capsys.readouterr().err
        assert f"hotclaude: cell 2: {error}: " in said
        assert "1/3" in said
        nb = nbformat.read(work / "nb-run.ipynb", as_version=4)
        assert nb.cells[0].outputs
        assert [names(c) for c in nb.cells] == [[], [error], []]
        assert "never" not in prompts(server)

    def test_it_tells_how_many_were_replayed_up_to_the_error(
        self, server: ModelServer, work: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        written(work / "nb.ipynb", "one", "%help", "two")
        assert main.main(["run", "nb.ipynb", "--no-progress"]) == 0
        assert capsys.readouterr().out.endswith("\n2 turns: 2 asked\n")
        written(work / "nb.ipynb", "one", "%help", "two", "three", "never")
        server.model = lambda _: Failure(400, message="no")
        assert main.main(["run", "nb.ipynb", "--no-progress"]) == 1
        told = "3 turns: 2 replayed from the record, 1 asked"
        assert capsys.readouterr().out.splitlines()[-1] == told
        assert "2 replayed" not in (work / "nb-run.ipynb").read_text()

    def test_it_names_the_cassette_that_turns_were_replayed_from(
        self,
        work: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        written(work / "nb.ipynb", "see @Notes.txt", "two")
        (work / "Notes.txt").write_text("notes")
        assert main.main(["run", "nb.ipynb", "-o", "nb.ipynb", "--no-progress"]) == 0
        assert main.main(["export", "nb.ipynb"]) == 0
        (work / "Notes.txt").unlink()
        monkeypatch.setenv("HOTCLAUDE_STORE", str(work / "another.db"))
        capsys.readouterr()
        again = ["--record", "none", "-o", "again.ipynb", "--no-progress"]
        assert main.main(["run", "nb.ipynb", *again]) == 0
        assert capsys.readouterr().out.splitlines()[-2:] == [
            "2 turns: 2 replayed from the cassette nb.hotclaude.jsonl",
            "Files not compared, since not here: Notes.txt",
        ]
        assert (work / "again.ipynb").read_bytes() == (work / "nb.ipynb").read_bytes()

    def test_a_cell_that_takes_too_long_is_interrupted(
        self, server: ModelServer, work: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        server.model = Script([Hold()])
        written(work / "nb.ipynb", "wait", "never")
        assert main.main(["run", "nb.ipynb", "--timeout", "1"]) == 1
        assert "It took longer than --timeout allows, 1 s." in capsys.readouterr().err
        nb = nbformat.read(work / "nb-run.ipynb", as_version=4)
        assert [names(c) for c in nb.cells] == [["Interrupted"], []]

    def test_a_replayed_run_is_byte_identical_to_the_recorded_one(
        self, server: ModelServer, work: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        written(work / "nb.ipynb", "one", "two")
        assert main.main(["run", "nb.ipynb"]) == 0
        asked = len(server.requests)
        capsys.readouterr()
        again = ["--record", "none", "-o", "again.ipynb", "--no-progress"]
        assert main.main(["run", "nb.ipynb", *again]) == 0
        told = "Written to again.ipynb\n2 turns: 2 replayed from the record\n"
        assert capsys.readouterr() == (told, "")
        assert (work / "again.ipynb").read_bytes() == (work / "nb-run.ipynb").read_bytes()
        assert len(server.requests) == asked


@pytest.mark.kernel
@pytest.mark.long
class TestOthers:
    def test_papermill_takes_parameters_with_nothing_to_configure(
        self, env: dict[str, str], server: ModelServer, work: Path
    ) -> None:
        path = written(work / "nb.ipynb", PARAMETERS, "Say {{topic}}, {{n}}.")
        done = command(env, "papermill", path, work / "out.ipynb", "-p", "topic", "dogs")
        assert done.returncode == 0, done.stderr
        assert "unknown parameter" not in done.stderr
        assert prompts(server) == ["Say dogs, 3."]
        nb = nbformat.read(work / "out.ipynb", as_version=4)
        assert nb.cells[1].source == '%%params json\n{\n  "topic": "dogs"\n}'

    def test_nbconvert_runs_it(self, env: dict[str, str], server: ModelServer, work: Path) -> None:
        path = written(work / "nb.ipynb", PARAMETERS, "Say {{topic}}")
        done = command(
            env, "jupyter", "nbconvert", "--to", "notebook", "--execute", path, "--output", "out"
        )
        assert done.returncode == 0, done.stderr
        assert prompts(server) == ["Say cats"]
        nb = nbformat.read(work / "out.ipynb", as_version=4)
        assert nb.cells[1].outputs[0].data["text/markdown"] == "ok"


class TestUsage:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("none.ipynb",), "none.ipynb can't be read: No such file"),
            (("text.md",), "text.md is not a notebook"),
            (("list.json",), "list.json is not a notebook of format 4"),
            (("python.ipynb",), "a notebook of the kernel python3"),
            (("nb.ipynb", "-p", "topic"), "written name=value, and topic is not"),
            (("nb.ipynb", "-p", "topik=dogs"), "Did you mean topic? There are topic, n, m."),
            (("nb.ipynb", "-f", "none.yaml"), "none.yaml can't be read: No such file"),
            (("nb.ipynb", "-f", "list.json"), "Parameters are names with values"),
            (("nb.ipynb", "-f", "bad.yaml"), "bad.yaml can't be read"),
            (("nb.ipynb", "--set", "modle=x"), "Did you mean model? There are allowed_tools,"),
            (("nb.ipynb", "--set", "model"), "written name=value, and model is not"),
            (("nb.ipynb", "--set", "footer=perhaps"), "footer can't be perhaps"),
            (("nb.ipynb", "--set", "permission-mode=yolo"), "permission_mode can't be yolo"),
            (("nb.ipynb", "--set", "max_turns=1.5"), "max_turns can't be 1.5"),
            (("nb.ipynb", "--set", "model=a", "--set", "model=b"), "model can't be a and b"),
            (("nb.ipynb", "--record", "never"), "There are none, once, new_episodes, all, off."),
            (("nb.ipynb", "--pace", "slow"), "There are instant, recorded."),
            (("nb.ipynb", "-o", "no/where.ipynb"), "no/where.ipynb can't be written"),
            (("nb.ipynb", "--timeout", "soon"), "argument --timeout: invalid int value: 'soon'"),
            (("nb.ipynb", "--timout", "3"), "unrecognized arguments: --timout"),
            ((), "the following arguments are required: notebook"),
        ],
    )
    def test_what_can_not_be_done_is_said_before_anything_is_started(
        self,
        arguments: Sequence[str],
        said: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.delattr(notebook_run, "execute")
        written(tmp_path / "nb.ipynb", PARAMETERS, "{{m}}")
        (tmp_path / "text.md").write_text("# no")
        (tmp_path / "list.json").write_text("[]")
        (tmp_path / "bad.yaml").write_text("a: [")
        python = notebook_of("1")
        python.metadata.kernelspec = {"name": "python3", "language": "python", "display_name": "P"}
        nbformat.write(python, tmp_path / "python.ipynb")
        try:
            code = main.main(["run", *arguments])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else -1
        assert code == 5
        assert said in capsys.readouterr().err

    def test_every_exit_code_belongs_to_an_error(self) -> None:
        for name in notebook_run.EXIT_CODES:
            assert issubclass(getattr(errors, name), errors.HotClaudeError)


@pytest.fixture
def inspect_notebook() -> Any:
    """Papermill's, which is not where only the pure ring runs."""
    return pytest.importorskip("papermill.inspection").inspect_notebook


class TestPapermill:
    def test_it_learns_what_a_notebook_takes(self, tmp_path: Path, inspect_notebook: Any) -> None:
        path = written(tmp_path / "nb.ipynb", PARAMETERS, "Say {{topic}}")
        assert inspect_notebook(str(path)) == {
            "topic": {
                "name": "topic",
                "inferred_type_name": "str",
                "default": '"cats"',
                "help": "",
            },
            "n": {"name": "n", "inferred_type_name": "int", "default": "3", "help": ""},
        }

    def test_it_is_not_stopped_by_a_cell_that_can_not_be_read(
        self, tmp_path: Path, inspect_notebook: Any
    ) -> None:
        path = written(tmp_path / "nb.ipynb", ("%params oops", "parameters"))
        assert inspect_notebook(str(path)) == {}


class TestPreparing:
    def test_an_earlier_run_is_cleared_away(self) -> None:
        nb = notebook_of("a")
        nb.cells[0].outputs = [nbformat.v4.new_output("stream", text="old")]
        nb.cells[0].execution_count = 7
        nb.cells[0].metadata.execution = {"iopub.status.busy": "then"}
        notebook_run.prepare(nb, {})
        assert nb == notebook_of("a")

    @pytest.mark.parametrize("minor", [4, 5])
    @pytest.mark.parametrize(
        ("cells", "at"),
        [
            (("{{a}}",), 0),
            (("%model x", ("%params a=1", "parameters"), "{{a}}"), 2),
            ((("%params a=1", "parameters"), "{{a}}", ("%params a=2", "injected-parameters")), 2),
        ],
    )
    def test_parameters_stand_where_papermill_puts_them(
        self, cells: tuple[str | tuple[str, str], ...], at: int, minor: int
    ) -> None:
        nb = notebook_of(*cells, minor=minor)
        notebook_run.prepare(nb, {"a": 3})
        assert nb.cells[at].source == '%%params json\n{\n  "a": 3\n}'
        assert nb.cells[at].get("id") == (None if minor < 5 else "injected-parameters")
        assert [c.source for c in nb.cells].count(nb.cells[at].source) == 1
        nbformat.validate(nb)

    def test_a_parameter_that_nothing_sets_or_uses_is_refused(self) -> None:
        with pytest.raises(UsageError, match="There is no parameter b"):
            notebook_run.prepare(notebook_of("{{a}}"), {"a": 1, "b": 2})

    def test_cells_without_an_id_get_the_same_one_each_time(self, tmp_path: Path) -> None:
        raw = json.loads(nbformat.writes(notebook_of("a", "b", "c")))
        del raw["cells"][0]["id"]
        raw["cells"][2]["id"] = "c1"
        path = tmp_path / "nb.ipynb"
        path.write_text(json.dumps(raw))
        ids = [cell.id for cell in file.runnable(path).cells]
        assert ids[1] == "c1"
        assert len({*ids}) == 3
        # The same each time, and no other notebook's: cells are known by their ids.
        assert ids == [cell.id for cell in file.runnable(path).cells]
        assert not any(name.startswith("cell-") for name in ids)

    def test_the_kernel_is_not_told_which_notebook_it_is(self) -> None:
        env = notebook_run.environment({NOTEBOOK_ENV: "/a.ipynb", "HOME": "/h"}, record="all")
        assert env == {"HOME": "/h", "HOTCLAUDE_RECORD": "all"}
        assert notebook_run.environment({}, pace="recorded") == {"HOTCLAUDE_PACE": "recorded"}

    def test_settings_become_arguments_of_the_kernel(self) -> None:
        words = ["allowed-tools=Read", "model=opus", "allowed_tools=Bash(git *)", "max_turns=None"]
        assert notebook_run.kernel_arguments(words) == [
            "--HotClaudeKernel.allowed_tools=Read",
            "--HotClaudeKernel.allowed_tools=Bash(git *)",
            "--HotClaudeKernel.model=opus",
            "--HotClaudeKernel.max_turns=None",
        ]
