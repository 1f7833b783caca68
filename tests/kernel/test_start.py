"""What a kernel's start loads and opens, counted: its time follows from that.

The numbers are the true ones, so that whatever is added is seen here and thought about.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from hotclaude_kernel.claude.folders import Folders
from hotclaude_kernel.claude.trust import Policy

from ..support.environment import isolated_env
from ..support.frontend import open_notebook
from ..support.intruder import Intruder
from ..support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

OURS = "hotclaude_kernel."

# Run up to the moment at which the claude process would be started, and tell what that took.
BEFORE_THE_SPAWN = """
import json, os, sys
known, opened, listed = set(sys.modules), [], []
def hear(event, args):
    if event == "open" and isinstance(args[0], str):
        opened.append(args[0])
    elif event in ("os.listdir", "os.scandir"):
        listed.append(args[0])
    elif event == "subprocess.Popen":
        os.write(1, json.dumps([sorted(set(sys.modules) - known), opened, listed]).encode())
        os._exit(0)
sys.addaudithook(hear)
from hotclaude_kernel.__main__ import main
main()
"""

# As `__main__` does it, but for the process and the loop.
READY = """
import json, os, sys
from hotclaude_kernel.kernel.app import HotClaudeApp
app = HotClaudeApp.instance()
app.initialize(["-f", sys.argv[1]])
loaded = sorted(name for name in sys.modules)
with open(sys.argv[2], "w") as file:
    json.dump(loaded, file)
os._exit(0)
"""

# Put where Python finds it as `sitecustomize`: at a signal a kernel tells what it has loaded.
TELL = """
import json, os, signal, sys
def tell(*_):
    with open({path!r} + ".new", "w") as file:
        json.dump(sorted(sys.modules), file)
    os.replace({path!r} + ".new", {path!r})
signal.signal(signal.SIGUSR1, tell)
"""

#: Of ours, what a kernel that is ready has loaded beyond what it has before the spawn.
LOADED = {
    "claude.events", "claude.files", "claude.folders", "claude.frames", "claude.parsing",
    "claude.session", "claude.shapes", "claude.transport",
    "conversation", "conversation.consent", "conversation.conversation", "conversation.live",
    "conversation.lookup",
    "conversation.modes",
    "conversation.position", "conversation.settings", "conversation.stall",
    "kernel.app", "kernel.kernel", "kernel.output", "kernel.preload", "kernel.serving",
    "kernel.traits",
    "pool", "pool.orphans", "pool.pool", "pool.tending", "pool.warm", "pool.withholding",
    "pool.written",
    "record.answers", "record.claim", "record.database", "record.notebook", "record.notebooks",
    "record.schema", "record.store", "record.transcripts", "record.writing",
    "record.writing.changes", "record.writing.jobs", "record.writing.journal",
    "record.writing.writer",
    "turns", "turns.budget", "turns.cellids", "turns.conditions", "turns.identity",
    "turns.outcome", "turns.prompt",
    "turns.settings", "turns.tape", "turns.tree", "turns.turn",
}  # fmt: skip
#: Of ours, what is loaded before the spawn.
FIRST = {
    "claude", "claude.arguments", "claude.launch", "claude.private", "claude.processes",
    "claude.trust", "errors", "kernel", "kernel.startup", "record", "record.resume",
}  # fmt: skip

#: Loaded at the first tool card, `%` line, question, replay, search or export, and not before.
LATE = {
    "cells.completion", "cells.magics.settings", "cells.magics.status", "cells.magics.tree",
    "conversation.misses", "conversation.rules",
    "page.cards", "page.sections", "page.treeview", "questions.rules", "questions.trust",
    "record.cassettes.archive", "record.cassettes.cassette", "record.cassettes.leaks",
    "record.garbage", "record.queries", "record.verify",
}  # fmt: skip
LATE_OF_OTHERS = {"difflib", "ipywidgets", "psutil", "statistics"}

#: Modules of the standard library that `subprocess` and ours bring along before the spawn, at the
#: most; Python's versions differ by some.
MOST_OTHERS = 21


def run(program: str, *arguments: str, env: dict[str, str], cwd: Path | None = None) -> str:
    """Run it in a fresh interpreter, twice: the first time may compile what it imports."""
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-P", "-c", program, *arguments],
            env=env,
            cwd=cwd,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    return done.stdout


def trust_file(home: Path) -> str:
    return f"{home}/.local/share/hotclaude/trust.json"


def others(opened: list[str]) -> list[str]:
    """Of the files that were opened, those that are no modules."""
    return [path for path in opened if not path.endswith((".pyc", ".so"))]


def inside(listed: list[str], home: Path) -> list[str]:
    """Of the folders that were listed, those below the test's own, where no modules are."""
    return [path for path in listed if str(path).startswith(str(home))]


def ours(loaded: list[str]) -> set[str]:
    return {name.removeprefix(OURS) for name in loaded if name.startswith(OURS)}


@pytest.fixture
def bare(home: Path) -> dict[str, str]:
    """An environment in which no claude is needed, and none is started."""
    return isolated_env(home, "http://127.0.0.1:9", sys.executable)


class TestBeforeTheSpawn:
    @pytest.fixture
    def found(self, bare: dict[str, str], home: Path) -> Any:
        return json.loads(run(BEFORE_THE_SPAWN, env=bare, cwd=home / "work"))

    def test_of_ours_only_what_starts_the_process_is_loaded(self, found: Any) -> None:
        assert ours(found[0]) == FIRST | {"__main__"}

    def test_and_little_else(self, found: Any) -> None:
        others = [name for name in found[0] if not name.startswith("hotclaude_kernel")]
        assert len(others) <= MOST_OTHERS, others

    def test_no_file_is_opened_but_those_modules_and_two_small_ones(
        self, found: Any, home: Path
    ) -> None:
        loaded, opened, listed = found
        assert others(opened) == [f"{home}/.claude/.claude.json", trust_file(home)]
        assert len(opened) <= len(loaded) + 2
        assert inside(listed, home) == []

    def test_nor_in_a_folder_that_is_trusted_with_all_it_brings(
        self, bare: dict[str, str], home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its files are compared by size and time, and each of their folders is listed once."""
        Intruder(home / "work")
        monkeypatch.setenv("HOME", str(home))
        folders = Folders(Policy())
        assert folders.accept(folders.look(str(home / "work"))) == ""
        _, opened, listed = json.loads(run(BEFORE_THE_SPAWN, env=bare, cwd=home / "work"))
        assert others(opened) == [f"{home}/.claude/.claude.json", trust_file(home)]
        dots = str(home / "work" / ".claude")
        below = ["agents", "commands", "skills", "skills/skilled", "workflows"]
        assert sorted(inside(listed, home)) == [f"{dots}/{name}" for name in below]


class TestReady:
    @pytest.fixture
    def loaded(self, bare: dict[str, str], tmp_path: Path) -> list[str]:
        told = tmp_path / "loaded.json"
        run(READY, str(tmp_path / "kernel.json"), str(told), env=bare)
        names: list[str] = json.loads(told.read_text())
        return names

    def test_no_module_of_ours_is_loaded_that_is_not_needed(self, loaded: list[str]) -> None:
        assert ours(loaded) == FIRST | LOADED

    def test_nor_one_of_others(self, loaded: list[str]) -> None:
        assert sorted(LATE_OF_OTHERS & set(loaded)) == []


@pytest.mark.kernel
def test_until_the_first_answer_nothing_is_loaded_that_it_does_not_need(
    env: dict[str, str], tmp_path: Path
) -> None:
    hook, told = tmp_path / "hook", tmp_path / "loaded.json"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(TELL.format(path=str(told)))
    with open_notebook(env | {"PYTHONPATH": str(hook)}) as notebook:
        assert notebook.run("hello").status == "ok"
        os.kill(notebook.pid, signal.SIGUSR1)
        until(told.exists, "the kernel has told what it has loaded")
    loaded = json.loads(told.read_text())
    assert "page.notebook" in ours(loaded)
    assert sorted(LATE & ours(loaded)) == []
    assert sorted(LATE_OF_OTHERS & set(loaded)) == []
