"""`hotclaude trust`, and a run that trusts its folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.claude.folders import Folders
from hotclaude_kernel.claude.trust import TRUST_ENV, Policy
from hotclaude_kernel.cli.main import main
from hotclaude_kernel.notebooks import run

from ..support.intruder import put

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_DATA_HOME", "CLAUDE_CONFIG_DIR", TRUST_ENV):
        monkeypatch.delenv(name, raising=False)
    put(tmp_path / "work" / ".claude/settings.json", json.dumps({"apiKeyHelper": "a\x1b[2Kb"}))
    put(tmp_path / "work" / "CLAUDE.md", "text")
    return tmp_path / "work"


def trusted(folder: Path) -> bool:
    return Folders(Policy()).look(str(folder)).trusted


def test_it_lists_what_would_run_and_trusts_with_yes_only(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trust", str(folder)]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        f"apiKeyHelper: a\u241b[2Kb  ({folder}/.claude/settings.json)",
        "also loaded: CLAUDE.md",
    ]
    assert "Not trusted" in err
    assert not trusted(folder)
    assert main(["trust", str(folder), "--yes"]) == 0
    assert trusted(folder)
    assert main(["trust", str(folder)]) == 0
    assert capsys.readouterr().out.endswith(f"{folder} is trusted already (by you)\n")


def test_text_needs_no_yes(folder: Path) -> None:
    (folder / ".claude/settings.json").unlink()
    assert main(["trust", str(folder)]) == 0
    assert trusted(folder)


def test_a_folder_that_is_not_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trust", str(folder / "gone")]) == 5
    assert "There is no folder" in capsys.readouterr().err


@pytest.mark.parametrize("asked", [True, False])
def test_a_run_trusts_the_notebooks_folder_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, asked: bool
) -> None:
    notebook = folder / "a:b.ipynb"
    notebook.write_text(
        json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    )
    jobs: list[run.Run] = []

    async def execute(job: run.Run) -> int:
        jobs.append(job)
        return 0

    monkeypatch.setattr(run, "execute", execute)
    assert main(["run", str(notebook), *(["--trust"] if asked else [])]) == 0
    said = jobs[0].env.get(TRUST_ENV)
    assert said == (json.dumps([str(folder)]) if asked else None)
