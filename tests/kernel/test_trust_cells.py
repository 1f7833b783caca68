"""The question about a folder over ZMQ: by buttons, by input, and where nobody can be asked."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.modelserver.replies import Gate, Reply, Wait
from hotclaude_kernel.modelserver.script import Script
from hotclaude_kernel.questions.trust import BOX, CODE

from ..hostile import violations
from ..support.book import sent
from ..support.desk import rows
from ..support.frontend import Notebook, open_notebook, shows_widget
from ..support.intruder import PROMPT, Intruder, put
from ..support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hotclaude_kernel.modelserver.server import ModelServer

    from ..support.frontend import Cell, Message

pytestmark = pytest.mark.kernel
# The attributes of the question's own HTML.
OURS = (
    "class='hotclaude tex2jax_ignore mathjax_ignore'",
    f"style='{CODE}'",
    f"style='{BOX}'",
)
TRUST, WITHOUT = ("Trust this folder", None), ("Go on without", None)


@pytest.fixture
def intruder(home: Path, env: dict[str, str]) -> Intruder:
    """What the kernel of `notebook` finds in its folder. It is made before the kernel."""
    return Intruder(home / "work")


@pytest.fixture
def notebook(env: dict[str, str], intruder: Intruder) -> Iterator[Notebook]:
    with open_notebook(env) as running:
        yield running


def folder_row(notebook: Notebook) -> str:
    return rows(notebook.run("%status", cell_id="status"))["folder"]


class TestByButtons:
    def test_trust(self, notebook: Notebook, intruder: Intruder, server: ModelServer) -> None:
        """The process that was there is replaced before the prompt is sent, which is sent once."""
        assert folder_row(notebook).startswith("not trusted; left out: 2 servers, 3 hooks")
        before = rows(notebook.run("%status"))["process"].split(",")[0]
        cell = notebook.run("hello", hook=notebook.pressing(TRUST))
        assert cell.status == "ok"
        assert len(server.requests) == 1
        assert "MARKTEXT" in sent(server.requests[0])
        until(lambda: {"SessionStart", "server", "server-above"} <= intruder.ran, "it acts")
        assert intruder.made_by(int(before.removeprefix("pid "))) == []
        assert "widget-view" not in str(cell.outputs)
        assert cell.outputs[0]["text/plain"].startswith("❖ Trusted: this folder")
        assert folder_row(notebook) == "trusted (by you)"
        assert "Trust" not in str(notebook.run("again", cell_id="b").outputs)
        assert notebook.run(PROMPT, cell_id="c").status == "ok"
        assert "command" in intruder.ran

    @pytest.mark.long
    def test_go_on_without(
        self, notebook: Notebook, intruder: Intruder, server: ModelServer
    ) -> None:
        cell = notebook.run("hello", hook=notebook.pressing(WITHOUT))
        assert cell.status == "ok"
        assert "since it is not trusted: 2 servers, 3 hooks" in str(cell.outputs[0])
        assert "MARK" not in sent(server.requests[0])
        cell = notebook.run(PROMPT, cell_id="b", hook=notebook.pressing(WITHOUT))
        assert cell.status == "error"
        assert "Trust this folder" in str(cell.contents("error"))
        assert len(server.requests) == 1
        assert intruder.ran == set()

    @pytest.mark.long
    def test_an_interrupt_withdraws_the_question(
        self, notebook: Notebook, intruder: Intruder, server: ModelServer
    ) -> None:
        message_id = notebook.send("hello")
        stopped: list[float] = []

        def interrupt(message: Message) -> None:
            if shows_widget(message) and not stopped:
                stopped.append(notebook.interrupt())

        cell = notebook.collect(message_id, interrupt)
        assert cell.status == "error"
        assert "widget-view" not in str(cell.outputs)
        assert len(server.requests) == 0
        assert notebook.run("hello", hook=notebook.pressing(TRUST)).status == "ok"

    @pytest.mark.long
    def test_a_restarted_kernel_acts_at_once_and_asks_nothing(
        self, notebook: Notebook, intruder: Intruder
    ) -> None:
        notebook.run("hello", hook=notebook.pressing(TRUST))
        until(lambda: {"SessionStart", "server"} <= intruder.ran, "it acts")
        for path in intruder.marks.iterdir():
            path.unlink()
        notebook.restart()
        until(lambda: {"SessionStart", "server"} <= intruder.ran, "it acts")
        assert notebook.run("hello again", cell_id="z").status == "ok"


class TestText:
    """A folder that brings only text blocks nothing."""

    @pytest.fixture
    def intruder(self, home: Path, env: dict[str, str]) -> None:
        put(home / "work/CLAUDE.md", "MARKTEXT")
        put(home / "work/.claude/commands/hello.md", "MARKCOMMAND")

    def test_one_line_with_a_button(self, notebook: Notebook, server: ModelServer) -> None:
        """Pressed while the cell runs, it is for the next one: this one is asked without."""
        gate = Gate()
        server.model = Script([Reply("before", Wait(gate), "after")])
        press = notebook.pressing(TRUST)
        closed: list[str] = []

        def hook(message: Message) -> None:
            press(message)
            if message.kind == "comm_close" and not closed:
                closed.append(message.kind)
                gate.open()

        cell = notebook.run("hello", hook=hook)
        assert closed
        assert "MARK" not in sent(server.requests[0])
        assert cell.markdown == "beforeafter"
        assert cell.outputs[0]["text/plain"].startswith(
            "❖ Trusted, from the next cell on: this folder"
        )
        assert "widget-view" not in str(cell.outputs)
        cell = notebook.run("/hello", cell_id="b")
        assert "MARKCOMMAND" in sent(server.requests[-1])
        assert "MARKTEXT" in sent(server.requests[-1])
        assert "rust" not in str(cell.outputs)

    @pytest.mark.long
    def test_the_button_goes_and_the_line_stays(
        self, notebook: Notebook, server: ModelServer
    ) -> None:
        cell = notebook.run("hello")
        assert "widget-view" not in str(cell.outputs)
        line = cell.outputs[0]["text/plain"]
        assert "not trusted: CLAUDE.md, 1 command. `hotclaude trust` in it trusts it" in line
        assert os.sep not in line
        assert "rust" not in str(notebook.run("again", cell_id="b").outputs)
        cell = notebook.run("/hello", cell_id="c", hook=notebook.pressing(TRUST))
        assert cell.status == "ok"
        assert "MARKCOMMAND" in sent(server.requests[-1])


@pytest.mark.long
class TestByInput:
    """A console."""

    def ask(self, notebook: Notebook, code: str, answer: str) -> Cell:
        message_id = notebook.send(code, cell_id=None, allow_stdin=True)
        assert notebook.question().startswith("❖ Trust this folder, with all that is listed above?")
        notebook.answer(answer)
        return notebook.collect(message_id)

    def test_no_and_yes(self, notebook: Notebook, intruder: Intruder, server: ModelServer) -> None:
        cell = self.ask(notebook, "hello", "n")
        assert "hook SessionStart: echo $PPID" in cell.stdout
        assert "MARK" not in sent(server.requests[-1])
        assert self.ask(notebook, PROMPT, "n").status == "error"
        assert intruder.ran == set()
        assert self.ask(notebook, PROMPT, "y").status == "ok"
        assert "MARKCOMMAND" in sent(server.requests[-1])


@pytest.mark.long
def test_where_nobody_can_be_asked_it_is_said_on_stderr_alone(
    env: dict[str, str],
    intruder: Intruder,
    server: ModelServer,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with open_notebook(env) as notebook:
        cells = [notebook.run(code, cell_id=None, allow_stdin=False) for code in ("hello", "again")]
        command = notebook.run(PROMPT, cell_id=None, allow_stdin=False)
    assert [cell.status for cell in cells] == ["ok", "ok"]
    assert "rust" not in str([cell.outputs for cell in cells])
    said = [line for line in capfd.readouterr().err.splitlines() if "rust" in line]
    assert len(said) == 1
    assert said[0].startswith("hotclaude: Without what this folder brings")
    assert "`hotclaude trust /" in said[0]
    assert "which is not trusted" in str(command.contents("error"))
    assert len(server.requests) == 2
    assert intruder.ran == set()


@pytest.mark.long
@pytest.mark.parametrize("answer", ["never", "always"])
def test_the_configuration_answers(env: dict[str, str], intruder: Intruder, answer: str) -> None:
    with open_notebook(env, f"--HotClaudeKernel.trust={answer}") as notebook:
        cell = notebook.run("hello")
        assert cell.status == "ok"
        assert "rust" not in str(cell.outputs)
        if answer == "always":
            assert folder_row(notebook) == "trusted (by the kernel's configuration)"
            until(lambda: "server" in intruder.ran, "it acts")
    assert bool(intruder.ran) is (answer == "always")


@pytest.mark.long
def test_a_wrong_value_is_said_in_each_cell(env: dict[str, str], intruder: Intruder) -> None:
    with open_notebook(env | {"HOTCLAUDE_TRUST": "yes"}) as notebook:
        for cell in (notebook.run("hello"), notebook.run("%status")):
            assert "the setting trust, is yes" in str(cell.contents("error"))
    assert intruder.ran == set()


@pytest.mark.long
def test_a_folder_named_to_deceive(env: dict[str, str], home: Path, server: ModelServer) -> None:
    """What a folder brings is data in the question, with every escape spelled."""
    nasty = "<img src=x onerror=alert(1)>\u202e\x1b[2K`**x**`"
    work = home / "work"
    put(work / ".claude/commands/x.md", f"!`{nasty.replace('`', '')}`")
    put(work / ".claude" / "settings.json", '{"env": {"<script>\\u001b[1A": "\\u202e$x$"}}')
    shown: list[str] = []

    def look(message: Message) -> None:
        state = message.content.get("data", {})
        if message.kind == "comm_open" and "Trust the folder" in str(state):
            shown.append(str(state["state"]["value"]))

    with open_notebook(env) as notebook:
        press = notebook.pressing(WITHOUT)

        def hook(message: Message) -> None:
            look(message)
            press(message)

        cell = notebook.run("hello", hook=hook)
        assert cell.status == "ok"
    (html,) = shown
    assert {said for said in violations(html, card=True) if not said.endswith(OURS)} == set()
    assert "&lt;img" in html
    assert "␛" in html
    assert "⟨U+202E⟩" in html
    assert "\x1b" not in html + str(cell.outputs)
    assert os.sep in html
