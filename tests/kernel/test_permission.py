"""Questions of Claude over ZMQ: by input, by buttons, and the modes that answer them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hotclaude_kernel.modelserver.replies import (
    Reply,
    ToolUse,
)
from hotclaude_kernel.modelserver.script import Script

from ..support.frontend import Cell, Notebook, open_notebook, shows_widget

if TYPE_CHECKING:
    from pathlib import Path

    from hotclaude_kernel.modelserver.server import ModelServer
pytestmark = pytest.mark.kernel


class TestPermissionByInput:
    """A console can be asked by `input_request`; its cells have no ids."""

    USE = ToolUse("Write", {"file_path": "made.txt", "content": "hello"})

    def asked(self, notebook: Notebook, server: ModelServer, answer: str) -> tuple[Cell, str]:
        server.model = Script([Reply(self.USE)], default="went on")
        message_id = notebook.send("write it", cell_id=None, allow_stdin=True)
        question = notebook.question()
        notebook.answer(answer)
        return notebook.collect(message_id), question

    def test_allow(self, notebook: Notebook, server: ModelServer, home: Path) -> None:
        cell, question = self.asked(notebook, server, "y")
        assert "Write" in question
        assert "hello" in cell.stdout.split("allowed once")[0]
        assert (home / "work" / "made.txt").read_text() == "hello"
        assert "went on" in cell.stdout

    @pytest.mark.long
    def test_deny_with_a_reason(self, notebook: Notebook, server: ModelServer, home: Path) -> None:
        cell, _ = self.asked(notebook, server, "use another name")
        assert not (home / "work" / "made.txt").exists()
        assert "denied (use another name)" in cell.stdout
        assert "use another name" in server.requests[-1].tool_results[0].text

    @pytest.mark.long
    def test_nobody_to_ask_denies_and_says_so(
        self, notebook: Notebook, server: ModelServer, home: Path
    ) -> None:
        server.model = Script([Reply(self.USE)], default="went on")
        cell = notebook.run("write it", allow_stdin=False, cell_id=None)
        assert cell.status == "ok"
        assert "nobody can be asked" in cell.markdown
        assert not (home / "work" / "made.txt").exists()

    @pytest.mark.long
    def test_an_interrupt_withdraws_the_question(
        self, notebook: Notebook, server: ModelServer, home: Path
    ) -> None:
        server.model = Script([Reply(self.USE)], default="next")
        message_id = notebook.send("write it", cell_id=None, allow_stdin=True)
        notebook.question()
        notebook.interrupt()
        assert notebook.collect(message_id).status == "error"
        assert notebook.run("after", cell_id="b").markdown == "next"
        assert not (home / "work" / "made.txt").exists()

    @pytest.mark.long
    def test_a_question_of_claudes_own(self, notebook: Notebook, server: ModelServer) -> None:
        asked = {
            "question": "Which colour?",
            "header": "Colour",
            "multiSelect": False,
            "options": [
                {"label": "Red", "description": "warm"},
                {"label": "Blue", "description": "cold"},
            ],
        }
        server.model = Script([Reply(ToolUse("AskUserQuestion", {"questions": [asked]}))])
        message_id = notebook.send("ask me", cell_id=None, allow_stdin=True)
        question = notebook.question()
        assert "1) Red" in question
        notebook.answer("2")
        notebook.collect(message_id)
        assert "Blue" in server.requests[-1].tool_results[0].text


class TestPermissionByButtons:
    """What a page does with widgets, over the protocol."""

    USE = ToolUse("Write", {"file_path": "made.txt", "content": "hello"})

    def press(self, notebook: Notebook, message_id: str, label: str) -> Cell:
        """Collect the cell and press the button of this label as soon as it is shown."""
        return notebook.collect(message_id, notebook.pressing((label, None)))

    def test_allow_once(self, notebook: Notebook, server: ModelServer, home: Path) -> None:
        server.model = Script([Reply(self.USE)], default="went on")
        cell = self.press(notebook, notebook.send("write it"), "Allow once")
        assert cell.status == "ok"
        assert (home / "work" / "made.txt").read_text() == "hello"
        assert "allowed once" in cell.markdown
        assert "widget-view" not in str(cell.outputs)
        assert all(data.get("text/html") for data in cell.outputs)

    @pytest.mark.long
    def test_shown_again_it_still_says_what_was_decided(
        self, notebook: Notebook, server: ModelServer
    ) -> None:
        server.model = Script([Reply(self.USE)], default="went on")
        first = self.press(notebook, notebook.send("write it", cell_id="a"), "Allow once")
        reloaded = notebook.reloaded()
        again = reloaded.run("write it", cell_id="a")
        assert again.markdown == first.markdown
        assert "allowed once" in again.markdown
        reloaded.close()

    @pytest.mark.long
    def test_deny(self, notebook: Notebook, server: ModelServer, home: Path) -> None:
        server.model = Script([Reply(self.USE)], default="went on")
        cell = self.press(notebook, notebook.send("write it"), "Deny")
        assert "denied" in cell.markdown
        assert not (home / "work" / "made.txt").exists()

    @pytest.mark.long
    def test_allow_for_the_session_asks_no_more_until_it_is_revoked(
        self, notebook: Notebook, server: ModelServer, home: Path
    ) -> None:
        made, settings = home / "work" / "made.txt", home / "work" / ".claude"
        two, three = (
            Reply(ToolUse("Write", {"file_path": "made.txt", "content": text}))
            for text in ("two", "three")
        )
        server.model = Script([Reply(self.USE), two, "went on", three], default="went on")
        label = "Allow changes to `made.txt` for this session"
        cell = self.press(notebook, notebook.send("write it"), label)
        assert "allowed for this session: changes to" in cell.markdown
        assert "allowed by the rule of this session for changes to" in cell.markdown
        assert made.read_text() == "two"
        [status] = notebook.run("%status").contents("display_data")
        assert "1: changes to `made.txt`" in status["data"]["text/markdown"]
        completion = notebook.reply(notebook.client.complete("%revoke "))
        assert completion.content["matches"] == ["1"]
        notebook.run("%revoke 1")
        cell = self.press(notebook, notebook.send("write more"), "Deny")
        assert "denied" in cell.markdown
        assert made.read_text() == "two"
        assert not settings.exists()

    @pytest.mark.long
    def test_a_reloaded_page_finds_the_question_again(
        self, notebook: Notebook, server: ModelServer, home: Path
    ) -> None:
        server.model = Script([Reply(self.USE)], default="went on")
        first = notebook.send("write it", cell_id="a")
        notebook.wait(first, shows_widget, Cell())
        reloaded = notebook.reloaded()
        assert reloaded.reply(reloaded.client.comm_info()).content["comms"]
        message_id = reloaded.send("write it", cell_id="a")
        shown: list[str] = []

        def hook(message: dict[str, Any]) -> None:
            shown.append(str(message["content"].get("data", "")))
            if "widget-view" in shown[-1]:
                notebook.interrupt()

        cell = reloaded.collect(message_id, hook)
        assert any("widget-view" in data for data in shown)
        assert cell.status == "error"
        assert first != message_id
        assert len(server.requests) == 1
        reloaded.close()


class TestModes:
    @pytest.mark.long
    def test_an_approved_plan_ends_plan_mode(self, notebook: Notebook, server: ModelServer) -> None:
        plan = ToolUse("ExitPlanMode", {"plan": "1. Do *it*."})
        server.model = Script([Reply(plan)], default="carried out")
        message_id = notebook.send("%permission-mode plan\nplan it", cell_id="a")
        cell = TestPermissionByButtons().press(notebook, message_id, "Approve the plan")
        assert "Do *it*." in cell.markdown
        assert "approved" in cell.markdown
        mode = notebook.run("%permission-mode").contents("execute_result")
        assert mode[0]["data"]["text/plain"] == "default"

    @pytest.mark.long
    def test_a_restricted_kernel_reads_and_no_more(
        self, env: dict[str, str], server: ModelServer, home: Path
    ) -> None:
        use = ToolUse("Write", {"file_path": "made.txt", "content": "hello"})
        server.model = Script([Reply(use)], default="went on")
        with open_notebook(env, "--HotClaudeKernel.restricted=True") as notebook:
            for line in ("%permission-mode acceptEdits", "%tools Bash", "%cwd /"):
                assert notebook.run(line).reply["content"]["ename"] == "UsageError"
            notebook.run("write it")
            assert not (home / "work" / "made.txt").exists()
            assert {tool["name"] for tool in server.requests[0].json["tools"]} <= {
                "Glob",
                "Grep",
                "Read",
                "DeferredToolPlaceholder",
                "ToolSearch",
            }
