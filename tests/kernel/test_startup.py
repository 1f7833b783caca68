"""Whether anything is configured, found out without Jupyter's own code."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from jupyter_core.paths import jupyter_config_path

from hotclaude_kernel.claude import launch
from hotclaude_kernel.kernel.startup import configured
from hotclaude_kernel.pool.written import Written
from hotclaude_kernel.record import resume
from hotclaude_kernel.turns.settings import Settings

ARGV = ["-f", "/run/kernel-1.json"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home, and a Python, in which nothing is configured."""
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_CONFIG_PATH", "JUPYTER_NO_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "python"))
    return tmp_path


def write(folder: Path, name: str = "hotclaude_config.py") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("")


class TestConfigured:
    def test_a_fresh_home_is_not(self) -> None:
        assert not configured(ARGV)

    def test_arguments_for_others_do_not_count(self) -> None:
        assert not configured([*ARGV, "--IPKernelApp.log_level=10", "HotClaudeKernel.model=opus"])

    def test_an_argument_for_the_kernel_counts(self) -> None:
        assert configured([*ARGV, "--HotClaudeKernel.model=opus"])

    @pytest.mark.parametrize("name", ["hotclaude_config.py", "hotclaude_config.json"])
    def test_a_file_in_the_users_folder_counts(self, home: Path, name: str) -> None:
        write(home / ".jupyter", name)
        assert configured(ARGV)

    @pytest.mark.parametrize("name", ["jupyter_config.py", "hotclaude_config.py.bak"])
    def test_a_file_of_another_name_does_not(self, home: Path, name: str) -> None:
        write(home / ".jupyter", name)
        assert not configured(ARGV)

    def test_the_users_folder_can_be_elsewhere(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(home / "elsewhere"))
        write(home / ".jupyter")
        assert not configured(ARGV)
        write(home / "elsewhere")
        assert configured(ARGV)

    def test_so_does_one_in_any_folder_of_the_path(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("JUPYTER_CONFIG_PATH", f"{home / 'one'}:{home / 'two'}")
        assert not configured(ARGV)
        write(home / "two")
        assert configured(ARGV)

    def test_and_one_beside_the_python_that_runs(self, home: Path) -> None:
        write(home / "python" / "etc" / "jupyter")
        assert configured(ARGV)

    def test_it_looks_wherever_jupyter_does(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.undo()
        looked: list[Path] = []
        monkeypatch.setattr(os.path, "exists", lambda path: looked.append(Path(path)))
        assert not configured(ARGV)
        folders = {path.parent for path in looked}
        assert {Path(folder) for folder in jupyter_config_path()} <= folders


def test_the_default_flags_are_those_of_default_settings() -> None:
    """They are written out so that the process can be started before `turn` is imported."""
    assert list(launch.DEFAULT_FLAGS) == Settings().argv()


class TestEnvironment:
    def test_the_users_own_settings_count(self) -> None:
        assert (
            launch.process_env({"CLAUDE_CODE_MAX_RETRIES": "9"})["CLAUDE_CODE_MAX_RETRIES"] == "9"
        )

    def test_but_not_over_what_the_kernel_needs(self) -> None:
        env = launch.process_env(dict.fromkeys(launch.REQUIRED_ENV, "0"))
        assert set(env.values()) & {"0"} == set()

    def test_a_surrounding_session_is_not_inherited(self) -> None:
        env = launch.process_env(dict.fromkeys(launch.FOREIGN_ENV, "1"))
        assert not set(launch.FOREIGN_ENV) & set(env)


def test_a_turn_recorded_behind_the_same_one_of_another_process_is_hung_behind_it(
    tmp_path: Path,
) -> None:
    """Its own entries name the parent that it had there; those that are known stay."""
    first = b'{"type":"user","uuid":"a1","parentUuid":null,"sessionId":"old"}\n'
    second = (
        b'{"type":"user","uuid":"b1","parentUuid":"elsewhere","sessionId":"other"}\n'
        b'{"type":"assistant","uuid":"b2","parentUuid":"b1","sessionId":"other"}\n'
    )
    path = resume.write_transcript(str(tmp_path), [first, second], "new")
    entries = [json.loads(line) for line in Path(path).read_text().splitlines()]
    assert [entry["parentUuid"] for entry in entries] == [None, "a1", "b1"]
    assert {entry["sessionId"] for entry in entries} == {"new"}


class TestPrespawned:
    """The first process gets private arguments by file, as all others do."""

    @pytest.fixture
    def binary(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A binary that says which arguments it got."""
        path = home / "claude"
        path.write_text('#!/bin/sh\necho "$@"\n')
        path.chmod(0o755)
        monkeypatch.setenv("HOTCLAUDE_CLI", str(path))
        return path

    def prespawned(self, home: Path) -> launch.Prespawned:
        flags = ("--system-prompt", "Be kind.")
        parents = resume.private_parents(str(home / "store.db"))
        return launch.Prespawned(flags, "s", cwd=str(home), parents=parents)

    @pytest.mark.usefixtures("binary")
    def test_the_files_are_the_records_and_go_with_it(self, home: Path) -> None:
        made = self.prespawned(home)
        told, _ = made.process.communicate()
        assert made.flags == ("--system-prompt", "Be kind.")  # what the pool compares
        assert b"--system-prompt-file" in told
        assert b"Be kind." not in told
        (file,) = Path(made.folder).iterdir()
        assert file.read_text() == "Be kind."
        assert file.is_relative_to(home / "sessions")
        Written(transcript=made.file, folder=made.folder).remove()
        assert list((home / "sessions").iterdir()) == []

    def test_nothing_is_left_of_one_that_cant_be_started(self, home: Path, binary: Path) -> None:
        binary.write_text("#!/nowhere/sh\n")
        with pytest.raises(OSError, match="No such file"):
            self.prespawned(home)
        assert list((home / "sessions").iterdir()) == []
