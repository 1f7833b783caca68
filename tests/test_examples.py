"""The examples: a notebook that ships with its answers runs where there is nothing to ask."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from hotclaude_kernel.cli.main import main

if TYPE_CHECKING:
    from hotclaude_kernel.modelserver.server import ModelServer

pytestmark = pytest.mark.kernel

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def colleague(isolated: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of somebody without an account, a network or `claude`, who was sent the files."""
    work = Path(isolated["HOME"], "work")
    for name in ("replay.ipynb", "replay.hotclaude.jsonl"):
        shutil.copy(EXAMPLES / name, work / name)
    monkeypatch.setenv("HOTCLAUDE_CLI", "/nonexistent/claude")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    return work


def outputs(path: Path) -> list[Any]:
    return [cell.get("outputs") for cell in nbformat.read(path, as_version=4).cells]


class TestReplay:
    def test_it_runs_without_anything_and_is_the_same_file(
        self, colleague: Path, server: ModelServer
    ) -> None:
        shipped = colleague / "replay.ipynb"
        made = colleague / "again.ipynb"
        command = ["run", str(shipped), "-o", str(made), "--record", "none", "--no-progress"]
        assert main(command) == 0
        assert outputs(made) == outputs(shipped)
        first = made.read_bytes()
        assert main(command) == 0
        assert made.read_bytes() == first
        assert server.requests == []

    def test_a_changed_parameter_is_a_miss_that_says_why(
        self, colleague: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = ["run", str(colleague / "replay.ipynb"), "-o", str(colleague / "other.ipynb")]
        assert main([*command, "--record", "none", "--no-progress", "-p", "thing=the cat"]) == 3
        assert "+remember that the cat are under the mat" in capsys.readouterr().err

    def test_it_holds_what_it_says(self, colleague: Path) -> None:
        assert main(["import", str(colleague / "replay.hotclaude.jsonl")]) == 0
        assert main(["check", str(colleague / "replay.ipynb")]) == 0
        assert main(["verify", str(colleague / "replay.ipynb")]) == 0
        assert main(["verify", str(colleague / "replay.hotclaude.jsonl")]) == 0
