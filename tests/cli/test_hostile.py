"""Names and texts of others can't act on the terminal, whichever subcommand prints them.

Each subcommand is driven with hostile file names, arguments and content; a new one must be added.
"""

from __future__ import annotations

import argparse
import ast
import json
import logging
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import hotclaude_kernel
from hotclaude_kernel.cli import lab, main
from hotclaude_kernel.kernel.app import HarmlessFormatter, HotClaudeApp
from hotclaude_kernel.notebooks import run as runs
from hotclaude_kernel.page.terminal import say, say_text
from hotclaude_kernel.turns.settings import Settings

from ..support.notebooks import notebook_of
from .test_record import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: A title, a colour by a control character of one byte, a bidi override, a line of its own.
HOSTILE = "a\x1b]0;title\x07b\x9b31mc\u202ed\x85e\nforged"
ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

PACKAGE = Path(hotclaude_kernel.__file__).parent


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """A recorded notebook of a hostile name, with hostile prompts, answers and models."""
    monkeypatch.chdir(tmp_path)
    made = Page(tmp_path, monkeypatch)
    made.path = tmp_path / f"{HOSTILE}.ipynb"
    made.tape = tmp_path / f"{HOSTILE}.hotclaude.jsonl"
    text = {"type": "text", "text": HOSTILE}
    # Recorded under that path, for `logs`.
    made.book = type(made.book)(made.store, str(made.path))
    made.add(HOSTILE, text, asked_under=Settings(model=HOSTILE))
    made.add(f"read /home/{'alice'}/{HOSTILE}", {"type": "text", "text": "ok"})
    made.save()
    yield made
    made.store.close()


def exports(page: Page) -> list[list[str]]:
    (page.path.parent / f"{HOSTILE} folder").mkdir()
    notebook = str(page.path)
    return [
        ["export", notebook],
        ["export", notebook, "--allow-leaks"],
        ["export", notebook, "--allow-leaks", "-o", f"{HOSTILE} folder"],
        ["export", f"no {HOSTILE}"],
        ["export", notebook, "--store", f"no {HOSTILE}"],
    ]


def imports(page: Page) -> list[list[str]]:
    main.main(["export", str(page.path), "--allow-leaks"])
    lines = page.tape.read_text().split("\n")
    damaged = json.loads(lines[1]) | {"settings": {HOSTILE: 1}}
    Path(f"damaged {HOSTILE}").write_text(f"{lines[0]}\n{json.dumps(damaged)}\n")
    Path(f"none {HOSTILE}").write_text(HOSTILE)
    names = (str(page.tape), f"damaged {HOSTILE}", f"none {HOSTILE}", f"no {HOSTILE}")
    return [["import", name] for name in names]


def verifies(page: Page) -> list[list[str]]:
    imported = [["verify", *words[1:]] for words in imports(page)]
    page.cells[0]["outputs"] = [page.output({"text/plain": "x"}, {"node": HOSTILE})]
    page.save()
    return [["verify"], ["verify", str(page.path)], *imported]


def checks(page: Page) -> list[list[str]]:
    page.cell(f"%attach {HOSTILE.partition(chr(10))[0]}.png\nlook")
    page.cells[0]["source"] = f"%cwd {HOSTILE}"
    page.save()
    return [["check", str(page.path)], ["check", f"no {HOSTILE}"]]


def logs(page: Page) -> list[list[str]]:
    return [["logs"], ["logs", str(page.path)], ["logs", "-n", HOSTILE]]


def shows(page: Page) -> list[list[str]]:
    return [["show", page.book.nodes[-1].id], ["show", HOSTILE]]


def gcs(_: Page) -> list[list[str]]:
    return [["gc"], ["gc", "--dry-run"], ["gc", "--store", HOSTILE]]


def run(_: Page) -> list[list[str]]:
    notebook = f"{HOSTILE}.ipynb"
    Path(notebook).write_text(json.dumps(notebook_of("say {{topic}}")))
    Path(f"{HOSTILE}.yaml").write_text(f"a: [\n{HOSTILE}")
    words = [
        [],
        ["--no-progress"],
        ["-o", f"{HOSTILE}/none/x"],
        ["-p", f"{HOSTILE}=1"],
        ["-p", HOSTILE],
        ["-f", f"{HOSTILE}.yaml"],
        ["-f", f"no {HOSTILE}"],
        ["--set", HOSTILE],
        ["--set", f"{HOSTILE}=1"],
        ["--set", f"effort={HOSTILE}", "--set", f"max_turns={HOSTILE}"],
        ["--record", HOSTILE],
        ["--pace", HOSTILE],
        ["--timeout", HOSTILE],
    ]
    return [["run", f"no {HOSTILE}"], *(["run", notebook, *more] for more in words)]


def labs(_: Page) -> list[list[str]]:
    return [["lab", HOSTILE], ["lab", "--model", HOSTILE, "--base-url", HOSTILE]]


def demos(_: Page) -> list[list[str]]:
    return [["demo", "--folder", HOSTILE], ["demo", "--port", HOSTILE], ["demo", HOSTILE]]


def installs(page: Page) -> list[list[str]]:
    return [["install", "--prefix", str(page.path.parent / HOSTILE)], ["install", HOSTILE]]


def benches(_: Page) -> list[list[str]]:
    return [["bench", "--yes", "--model", HOSTILE], ["bench", "--turns", HOSTILE]]


def trusts(_: Page) -> list[list[str]]:
    folder = Path(f"{HOSTILE} folder", ".claude")
    (folder / "commands").mkdir(parents=True)
    (folder / "commands" / f"{HOSTILE}.md").write_text(f"!`{HOSTILE}`")
    hooks = [{"matcher": HOSTILE, "hooks": [{"type": "command", "command": HOSTILE}]}]
    settings = {"hooks": {"Stop": hooks}, "env": {HOSTILE: HOSTILE}, "apiKeyHelper": HOSTILE}
    (folder / "settings.json").write_text(json.dumps(settings))
    inside = str(folder.parent)
    again = ["trust", "--yes", inside]
    return [["trust", inside], again, again, ["trust", f"no {HOSTILE}"]]


ATTEMPTS: dict[str, Callable[[Page], list[list[str]]]] = {
    "bench": benches,
    "check": checks,
    "demo": demos,
    "export": exports,
    "gc": gcs,
    "import": imports,
    "install": installs,
    "lab": labs,
    "logs": logs,
    "run": run,
    "show": shows,
    "trust": trusts,
    "verify": verifies,
}


def subcommands() -> set[str]:
    """Those that the command line knows."""
    (found,) = (
        action
        for action in main._parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    return set(found.choices)


def test_each_subcommand_is_tried() -> None:
    assert set(ATTEMPTS) == subcommands()


class FailingClient:
    """Runs a notebook as nbclient does, up to a failure with a hostile text."""

    code_cells_executed = 1
    kernel_name = HOSTILE

    def __init__(self, job: Any) -> None:
        self.job = job

    async def async_execute(self, **_: Any) -> None:
        from nbclient.exceptions import CellExecutionError

        self.job.error = ["ApiError: no", HOSTILE]
        self.job.sources, self.job.absent = [f"cassette {HOSTILE}"], [HOSTILE]
        raise CellExecutionError("", HOSTILE, HOSTILE)


@pytest.mark.parametrize("name", sorted(ATTEMPTS))
def test_nothing_that_acts_on_the_terminal_is_printed(
    name: str, page: Page, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(page.path.parent / "data"))
    monkeypatch.setenv("XDG_DATA_HOME", str(page.path.parent / "data"))
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(page.path.parent / "config"))
    monkeypatch.setattr(runs, "_client", lambda job, bar: FailingClient(job))
    monkeypatch.setattr(lab, "_jupyterlab", lambda *_: 0)
    binary = sys.executable if name == "demo" else HOSTILE
    monkeypatch.setenv("HOTCLAUDE_CLI", binary)
    attempts = ATTEMPTS[name](page)
    capsys.readouterr()
    for words in [*attempts, [name, f"--{HOSTILE}"], [name, "--help"]]:
        with suppress(SystemExit):  # argparse refuses the words, or prints the help
            main.main(words)
        printed = "".join(capsys.readouterr()).replace("\r", "")  # the progress bar's
        assert printed, words
        assert ACTING.findall(printed) == [], words
        if name != "show":  # it prints whole texts
            assert "\nforged" not in printed, words


def test_neither_do_unknown_words_and_failures_of_ours(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError(HOSTILE)

    with pytest.raises(SystemExit):
        main.main([HOSTILE])
    monkeypatch.setattr(lab, "find_claude", fail)
    assert main.main(["lab"]) == 1
    printed = "".join(capsys.readouterr())
    assert "ValueError" in printed
    assert ACTING.findall(printed) == []


def test_a_text_keeps_its_lines_and_a_line_stays_one(capsys: pytest.CaptureFixture[str]) -> None:
    say("one\ntwo\tthree")
    say_text("one\n\ttwo\x1b[31m é\n", error=True)
    captured = capsys.readouterr()
    assert captured.out == "one␊two␉three\n"
    assert captured.err == "one\n\ttwo é\n"


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Each call in the package: its module, the name that is called, itself."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                named = node.func
                name = named.attr if isinstance(named, ast.Attribute) else getattr(named, "id", "")
                yield str(path.relative_to(PACKAGE)), name, node


def writes(name: str, call: ast.Call) -> bool:
    """Whether a call writes a file."""
    if name in ("write_text", "write_bytes", "copy2", "copyfile"):
        return True
    if name != "open":
        return False
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    modes = [word.value for word in given if isinstance(word, ast.Constant)]
    by_mode = any(
        isinstance(mode, str) and re.fullmatch("[rb]*[wxa+][wxab+]*", mode) for mode in modes
    )
    return by_mode or "os.O_WRONLY" in ast.unparse(call) or "NEW" in ast.unparse(call)


#: The modules that open files for writing: one for all; a pipe; the one that appends; SQLite's.
WRITERS = {
    "claude/files.py",
    "notebooks/file.py",
    "record/writing/journal.py",
    "record/database.py",
}


def test_one_function_prints_and_one_module_writes_files() -> None:
    printing: set[str] = set()
    writing: set[str] = set()
    for module, name, call in calls():
        if name in ("print", "print_exc", "print_exception"):
            printing.add(f"{module}:{call.lineno}")
        if writes(name, call):
            writing.add(module)
    assert printing == set()
    assert writing == WRITERS


def test_the_kernels_log_is_as_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    """Jupyter Server shows it in its terminal."""
    app = HotClaudeApp()
    config = app.get_default_logging_config()
    assert config["loggers"]["hotclaude_kernel"]["handlers"] == ["console"]
    formatter = config["formatters"]["console"]
    assert formatter["class"].endswith("app.HarmlessFormatter")
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        record = logging.LogRecord("n", 40, "p", 1, HOSTILE, (), sys.exc_info())
    text = HarmlessFormatter("%(message)s").format(record)
    assert "Traceback" in text
    assert ACTING.findall(text) == []
