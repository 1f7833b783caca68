"""Interrupts, and what else a kernel does while a cell runs and once it ends."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hotclaude_kernel.modelserver.replies import (
    Gate,
    Hold,
    Reply,
    ToolUse,
    Wait,
)
from hotclaude_kernel.modelserver.script import Script

from ..support.desk import claude_pid
from ..support.frontend import Cell, Notebook, open_notebook
from ..support.processes import exists
from ..support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from hotclaude_kernel.modelserver.server import ModelServer
pytestmark = pytest.mark.kernel


class TestInterrupt:
    def interrupted(
        self, notebook: Notebook, server: ModelServer, how: Callable[[], object]
    ) -> Cell:
        """Interrupt a cell, once, when its first words are shown."""
        server.model = Script([Reply("half a sentence ", Wait(Gate()))], default="next")
        done: list[bool] = []

        def hook(message: dict[str, Any]) -> None:
            if "half" in str(message["content"].get("data", "")) and not done:
                done.append(True)
                how()

        return notebook.run("go", hook=hook)

    def test_keeps_the_text_the_process_and_the_conversation(
        self, notebook: Notebook, server: ModelServer
    ) -> None:
        notebook.run("first", cell_id="a")
        pid = claude_pid(notebook)
        cell = self.interrupted(notebook, server, notebook.interrupt)
        assert cell.status == "error"
        assert cell.reply["content"]["ename"] == "Interrupted"
        assert "half" in cell.markdown
        assert notebook.run("after", cell_id="b").markdown == "next"
        assert claude_pid(notebook) == pid

    @pytest.mark.long
    def test_by_signal_too(self, notebook: Notebook, server: ModelServer) -> None:
        pid = notebook.pid
        notebook.run("first", cell_id="a")

        def how() -> None:
            os.killpg(pid, signal.SIGINT)

        assert self.interrupted(notebook, server, how).reply["content"]["ename"] == "Interrupted"
        assert notebook.run("after", cell_id="b").status == "ok"

    @pytest.mark.long
    def test_before_the_first_word(self, notebook: Notebook, server: ModelServer) -> None:
        notebook.run("first", cell_id="a")
        server.model = Script([Hold()], default="next")
        message_id = notebook.send("go", cell_id="b")
        server.wait_for_requests(2)
        notebook.interrupt()
        assert notebook.collect(message_id).status == "error"
        assert notebook.run("after", cell_id="c").markdown == "next"

    def test_a_tool_is_stopped_with_its_command(
        self, server: ModelServer, env: dict[str, str]
    ) -> None:
        mark = Path(env["HOME"], "work", "pid")
        use = ToolUse("Bash", {"command": f"echo $$ > {mark}; sleep 600", "description": "wait"})
        server.model = Script([Reply(use)], default="next")
        with open_notebook(env, "--HotClaudeKernel.allowed_tools=Bash") as notebook:
            message_id = notebook.send("go")
            pid = int(until(lambda: mark.exists() and mark.read_text().strip(), "it runs"))
            notebook.interrupt()
            assert notebook.collect(message_id).status == "error"
            until(lambda: not exists(pid), "the command is gone")

    @pytest.mark.long
    def test_while_idle_is_harmless(self, notebook: Notebook) -> None:
        notebook.interrupt()
        reply = notebook.receive("control", None, 10)
        assert reply
        assert reply.content["status"] == "ok"
        assert notebook.run("go").status == "ok"

    def test_stops_run_all(self, notebook: Notebook, server: ModelServer) -> None:
        gate = Gate()
        server.model = Script([Reply("half ", Wait(gate))])
        ids = [notebook.send(f"prompt {n}", cell_id=f"c{n}") for n in range(3)]
        server.wait_for_requests(1)
        notebook.interrupt()
        statuses = [notebook.reply(message_id).content["status"] for message_id in ids]
        assert statuses == ["error", "aborted", "aborted"]


class TestWhileACellRuns:
    def test_everything_else_is_answered(self, notebook: Notebook, server: ModelServer) -> None:
        gate = Gate()
        server.model = Script([Reply("half ", Wait(gate), "done")])
        running = notebook.send("go")
        server.wait_for_requests(1)
        client = notebook.client
        asked = {
            client.complete("%mo"): "complete_reply",
            client.inspect("%model", 3): "inspect_reply",
            client.kernel_info(): "kernel_info_reply",
            client.comm_info(): "comm_info_reply",
            client.is_complete("x"): "is_complete_reply",
            client.history(hist_access_type="tail", n=1): "history_reply",
        }
        for message_id, kind in asked.items():
            reply = notebook.reply(message_id)
            assert reply.kind == kind
            assert reply.content["status"] in ("ok", "complete")
        gate.open()
        assert notebook.collect(running).markdown == "half done"

    def test_a_reloaded_page_gets_the_answer_without_asking_again(
        self, notebook: Notebook, server: ModelServer
    ) -> None:
        gate = Gate()
        server.model = Script([Reply("half ", Wait(gate), "done")], default="another")
        first = notebook.send("go", cell_id="a")
        server.wait_for_requests(1)
        reloaded = notebook.reloaded()
        again = reloaded.send("go", cell_id="a")
        gate.open()
        cell = reloaded.collect(again)
        assert cell.markdown == "half done"
        assert notebook.collect(first).status == "ok"
        assert len(server.requests) == 1
        assert reloaded.run("go", cell_id="a").markdown == "another"
        reloaded.close()

    @pytest.mark.long
    def test_a_page_that_comes_after_the_end_gets_it_too(
        self, notebook: Notebook, server: ModelServer
    ) -> None:
        notebook.run("go", cell_id="a")
        reloaded = notebook.reloaded()
        cell = reloaded.run("go", cell_id="a")
        assert cell.markdown == "ok"
        assert "Nothing was sent" in cell.plain
        assert len(server.requests) == 1
        reloaded.close()

    @pytest.mark.long
    def test_a_changed_cell_is_asked_even_after_a_reload(
        self, notebook: Notebook, server: ModelServer
    ) -> None:
        notebook.run("go", cell_id="a")
        reloaded = notebook.reloaded()
        reloaded.run("go on", cell_id="a")
        assert len(server.requests) == 2
        reloaded.close()


class TestNothingIsLeft:
    @pytest.mark.long
    def test_after_a_shutdown(self, env: dict[str, str]) -> None:
        with open_notebook(env) as notebook:
            notebook.run("hello")
            pid = claude_pid(notebook)
        until(lambda: not exists(pid), "claude is gone")

    @pytest.mark.long
    def test_after_a_shutdown_in_a_turn(self, env: dict[str, str], server: ModelServer) -> None:
        server.model = Script([Hold()])
        with open_notebook(env) as notebook:
            pid = claude_pid(notebook)
            notebook.send("go")
            server.wait_for_requests(1)
        until(lambda: not exists(pid), "claude is gone")

    def test_after_the_kernel_was_killed(self, env: dict[str, str], server: ModelServer) -> None:
        server.model = Script([Hold()])
        with open_notebook(env) as notebook:
            pid = claude_pid(notebook)
            notebook.send("go")
            server.wait_for_requests(1)
            os.kill(notebook.pid, signal.SIGKILL)
            until(lambda: not exists(pid), "claude is gone")

    @pytest.mark.long
    def test_after_a_restart(self, notebook: Notebook) -> None:
        notebook.run("hello")
        pid = claude_pid(notebook)
        notebook.restart()
        until(lambda: not exists(pid), "claude is gone")
        assert notebook.run("hello again").status == "ok"
