"""What a process is started without, by the folder's trust and the user's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.claude.folders import Folders
from hotclaude_kernel.claude.trust import TRUST_ENV, Policy
from hotclaude_kernel.pool.withholding import Withholding
from hotclaude_kernel.turns.settings import RESTRICTED, Settings

from ..support.intruder import Intruder

if TYPE_CHECKING:
    from pathlib import Path

WITHOUT = ("--setting-sources", "user")


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_DATA_HOME", "CLAUDE_CONFIG_DIR", TRUST_ENV):
        monkeypatch.delenv(name, raising=False)
    Intruder(tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def test_a_folder_that_was_not_looked_at_is_left_out(work: Path) -> None:
    withholding = Withholding(Folders(Policy("always")))
    assert withholding.arguments(Settings()) == WITHOUT
    withholding.look(Settings())
    assert withholding.arguments(Settings()) == ()


def test_it_is_decided_for_the_folder_of_the_start(work: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    withholding = Withholding(Folders(Policy(folders=[str(other)])))
    there = Settings(cwd=str(other))
    assert not withholding.look(Settings()).trusted
    # The server above both is in no folder of the list.
    (tmp_path / ".mcp.json").unlink()
    assert withholding.look(there).trusted
    assert withholding.arguments(Settings()) == WITHOUT
    assert withholding.arguments(there) == ()


def test_a_restricted_kernel_leaves_it_out_by_itself(work: Path) -> None:
    withholding = Withholding()
    settings = Settings().changed(**RESTRICTED)
    withholding.look(settings)
    assert not withholding.held_back(settings)
    assert withholding.arguments(settings) == ()
    assert withholding.effective(settings) is settings


def test_what_is_withheld_is_in_no_setting(work: Path) -> None:
    """What a turn is keyed and recorded by is what the user set, whatever is withheld."""
    withholding = Withholding()
    settings = Settings()
    withholding.look(settings)
    assert withholding.arguments(settings) == WITHOUT
    assert withholding.effective(settings).setting_sources == ("user",)
    assert settings == Settings()


def test_the_kernels_folder_was_deleted(work: Path) -> None:
    withholding = Withholding(Folders(Policy("always")))
    before = withholding.look(Settings())
    for path in sorted(work.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    work.rmdir()
    assert withholding.folder(Settings()) == before.ground.asked
    assert withholding.look(Settings()).trusted
