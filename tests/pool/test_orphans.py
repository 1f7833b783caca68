"""What a dead kernel left is ended, and nothing that only looks like it."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.claude import arguments
from hotclaude_kernel.claude.launch import TOKEN_ENV
from hotclaude_kernel.claude.processes import started, this_kernel
from hotclaude_kernel.pool import orphans
from hotclaude_kernel.record.notebook import Record
from hotclaude_kernel.record.store import Process, Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEAD = "999999999:1"  # a kernel that is no more
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "


@pytest.fixture
def store() -> Iterator[Store]:
    with closing(Store()) as made:
        yield made


@pytest.fixture
def token() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def sleeper(token: str, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """A process that carries the token, and has said that it runs."""
    program = f"{getattr(request, 'param', '')}print('on', flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env={TOKEN_ENV: token},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    process.stdout.readline()
    with process:
        yield process
        process.kill()


def noted(store: Store, process: subprocess.Popen[str], token: str, **changes: object) -> None:
    """Write a process down as a dead kernel did."""
    given = {"token": token, "pid": process.pid, "started": started(process.pid), "kernel": DEAD}
    store.note_process(Process(**(given | changes)))  # type: ignore[arg-type]


def test_the_process_of_a_dead_kernel_ends_and_its_transcript_goes(
    store: Store, token: str, sleeper: subprocess.Popen[str], tmp_path: Path
) -> None:
    file = tmp_path / "transcript.jsonl"
    file.touch()
    noted(store, sleeper, token, file=str(file))
    assert orphans.sweep(store.orphans(), store.forget_process) == 1
    assert sleeper.wait(10) == -15
    assert not file.exists()
    assert store.orphans() == []


@pytest.mark.parametrize("sleeper", [STUBBORN], indirect=True)
def test_one_that_ignores_the_first_signal_gets_another(
    token: str, sleeper: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "GRACE_S", 0.05)
    orphans.end_all(token)
    assert sleeper.wait(10) == -9


def test_that_of_a_kernel_that_runs_is_left_alone(
    store: Store, token: str, sleeper: subprocess.Popen[str]
) -> None:
    noted(store, sleeper, token, kernel=this_kernel())
    assert orphans.sweep(store.orphans(), store.forget_process) == 0
    assert sleeper.poll() is None


def test_a_pid_that_is_another_process_by_now_is_left_alone(
    store: Store, sleeper: subprocess.Popen[str]
) -> None:
    noted(store, sleeper, "another token")
    assert orphans.sweep(store.orphans(), store.forget_process) == 0
    assert sleeper.poll() is None
    assert store.orphans() == []


def test_only_those_with_the_very_token_carry_it(
    token: str, sleeper: subprocess.Popen[str]
) -> None:
    assert orphans.carriers(token) == {sleeper.pid: started(sleeper.pid)}
    assert orphans.carriers(token[:-1]) == {}
    assert orphans.carriers("") == {}


def test_this_process_itself_is_never_among_them(
    token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "_carries", lambda pid, _: pid == os.getpid())
    assert orphans.carriers(token) == {}


def test_the_arguments_of_a_dead_kernels_processes_go_when_a_later_one_starts(
    tmp_path: Path,
) -> None:
    """Whatever killed it, and whether or not it had recorded the process."""
    left = tmp_path / "sessions" / f"{arguments.FOLDER}{DEAD.replace(':', '-')}-abc"
    left.mkdir(parents=True)
    (left / "1").write_text("secret")
    record = Record(store=str(tmp_path / "store.db"))
    with closing(record):
        flags = ["--system-prompt", "secret"]
        _, mine = arguments.hand_over(flags, [str(tmp_path / "sessions")])
        assert orphans.clear(record) == 0
        assert [str(path) for path in (tmp_path / "sessions").iterdir()] == [mine]
