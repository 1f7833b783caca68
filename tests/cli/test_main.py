"""The command line: what it sets up, what it asks, what it leaves alone."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import nbformat
import pytest

from hotclaude_kernel.cli import lab, main
from hotclaude_kernel.errors import HotClaudeError

from ..support.frontend import open_notebook

if TYPE_CHECKING:
    from pathlib import Path

    from hotclaude_kernel.modelserver.server import ModelServer


def hotclaude(
    env: dict[str, str], *arguments: str, said: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the command in an isolated environment."""
    return subprocess.run(
        [sys.executable, "-m", "hotclaude_kernel.cli.main", *arguments],
        env=env,
        cwd=env["HOME"],
        input=said,
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )


class TestInstall:
    def test_it_names_this_python(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
        assert main.main(["install", "--prefix", str(tmp_path)]) == 0
        spec = tmp_path / "share" / "jupyter" / "kernels" / "hotclaude"
        kernel = json.loads((spec / "kernel.json").read_text())
        assert kernel["argv"][0] == sys.executable
        assert kernel["argv"][1:4] == ["-P", "-m", "hotclaude_kernel"]
        assert kernel["interrupt_mode"] == "message"
        names = {path.name for path in spec.iterdir()}
        assert {"logo-64x64.png", "logo-32x32.png", "logo-svg.svg"} <= names


class TestDemo:
    def test_its_environment_knows_no_account(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in lab.ACCOUNT_ENV:
            monkeypatch.setenv(name, "from-the-user")
        env = lab.demo_env("http://127.0.0.1:1", "/nowhere/config")
        assert "from-the-user" not in env.values()
        assert env["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:1"
        assert env["CLAUDE_CONFIG_DIR"] == "/nowhere/config"

    def test_its_jupyterlab_asks_no_other_machine(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened: list[list[str]] = []

        def jupyterlab(arguments: list[str], env: dict[str, str]) -> int:
            opened.append(arguments)
            return 0

        monkeypatch.setattr(lab, "_jupyterlab", jupyterlab)
        monkeypatch.setenv("HOTCLAUDE_CLI", sys.executable)  # any program will do
        assert main.main(["demo", "--folder", str(tmp_path)]) == 0
        assert {
            "--LabApp.news_url=None",
            f"--LabApp.check_for_updates_class={lab.NO_UPDATES}",
            "--LabApp.extension_manager=readonly",
        } <= {*opened[0]}
        assert opened[0][0] == str(tmp_path / lab.EXAMPLE)

    def test_the_example_is_a_notebook_of_this_kernel(self) -> None:
        nb = nbformat.read(lab.example_path(), as_version=4)
        nbformat.validate(nb)
        assert nb.metadata.kernelspec.name == "hotclaude"
        assert not any(cell.get("outputs") for cell in nb.cells)


class TestLab:
    def test_it_says_what_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        with pytest.raises(HotClaudeError, match="JupyterLab is not installed"):
            lab._jupyterlab([], {})

    def test_an_endpoint_of_ones_own_is_told_by_the_environment(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened: list[tuple[list[str], dict[str, str]]] = []

        def jupyterlab(arguments: list[str], env: dict[str, str]) -> int:
            opened.append((arguments, env))
            return 0

        monkeypatch.setattr(lab, "_jupyterlab", jupyterlab)
        monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
        monkeypatch.setenv("HOTCLAUDE_CLI", sys.executable)  # any program will do
        url = "http://localhost:11434"
        command = ["lab", "nb.ipynb", "--base-url", url, "--model", "qwen3", "--", "--no-browser"]
        assert main.main(command) == 0
        arguments, env = opened[0]
        assert arguments == ["nb.ipynb", "--no-browser"]
        assert (env["ANTHROPIC_BASE_URL"], env["ANTHROPIC_MODEL"]) == (url, "qwen3")
        assert env["ANTHROPIC_API_KEY"]

    @pytest.mark.kernel
    def test_the_model_reaches_the_endpoint(self, env: dict[str, str], server: ModelServer) -> None:
        with open_notebook(env | {"ANTHROPIC_MODEL": "qwen3"}) as notebook:
            assert notebook.run("hello").status == "ok"
        assert server.requests[-1].model == "qwen3"


@pytest.mark.wire
class TestBench:
    def test_it_asks_first_and_a_no_sends_nothing(
        self, env: dict[str, str], server: ModelServer
    ) -> None:
        done = hotclaude(env, "bench", "--turns", "2", said="n\n")
        assert done.returncode == 0
        assert "6 requests in all" in done.stdout
        assert server.requests == []

    @pytest.mark.long
    def test_it_measures_hot_against_cold(self, env: dict[str, str], server: ModelServer) -> None:
        done = hotclaude(env, "bench", "--turns", "1", "--yes")
        assert done.returncode == 0, done.stderr
        assert "| hot process |" in done.stdout
        assert "cold `claude -p --resume`" in done.stdout
        assert len(server.requests) == 4

    def test_what_goes_wrong_is_one_line(self, env: dict[str, str]) -> None:
        done = hotclaude(env | {"HOTCLAUDE_CLI": "/nowhere"}, "bench", "--yes")
        assert done.returncode == 1
        assert "no claude binary at /nowhere" in done.stderr
        assert "Traceback" not in done.stderr
