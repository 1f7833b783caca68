"""The kernel over ZMQ, as a front end drives it, on the real binary."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hotclaude_kernel.modelserver.demo import demo_model
from hotclaude_kernel.modelserver.replies import (
    Disconnect,
    Failure,
    Gate,
    Hold,
    Reply,
    Text,
    ToolUse,
    Wait,
)
from hotclaude_kernel.modelserver.script import Script

from ..conftest import Cell, Notebook, open_notebook, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from hotclaude_kernel.modelserver.server import ModelServer

pytestmark = pytest.mark.kernel


def claude_pid(notebook: Notebook) -> int:
    """The pid that %status tells."""
    status = notebook.run("%status").plain
    return int(status.split("pid ")[1].split(",")[0])


def exists(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


class TestConversation:
    def test_cells_are_turns_of_one_process(self, notebook: Notebook, server: ModelServer) -> None:
        """The seed's test: remember 42, recall 42, one session id, one pid."""
        server.model = demo_model
        assert notebook.run("remember 42", cell_id="a").status == "ok"
        before = notebook.run("%status").plain
        recalled = notebook.run("recall", cell_id="b")
        assert "42" in recalled.markdown
        after = notebook.run("%status").plain
        for row in ("| session id |", "| process |"):
            lines = [
                next(line for line in text.splitlines() if line.startswith(row))
                for text in (before, after)
            ]
            assert lines[0] == lines[1]
        assert len(server.requests) == 2

    def test_run_all_sends_every_cell_in_order(
        self, notebook: Notebook, server: ModelServer
    ) -> None:
        ids = [notebook.send(f"prompt {n}", cell_id=f"c{n}") for n in range(5)]
        cells = [notebook.collect(message_id) for message_id in ids]
        assert [cell.status for cell in cells] == ["ok"] * 5
        sent = [exchange.prompt for exchange in server.requests[-1].turns]
        assert sent == [f"prompt {n}" for n in range(5)]
        assert len(server.requests) == 5

    def test_run_all_stops_at_the_first_error(
        self, notebook: Notebook, server: ModelServer
    ) -> None:
        server.model = lambda r: Failure(400) if "prompt 1" in r.prompt else Reply("fine")
        ids = [notebook.send(f"prompt {n}", cell_id=f"c{n}") for n in range(4)]
        statuses = []
        for message_id in ids:
            while True:
                reply = notebook.client.get_shell_msg(timeout=30)
                if reply["parent_header"]["msg_id"] == message_id:
                    statuses.append(reply["content"]["status"])
                    break
        assert statuses == ["ok", "error", "aborted", "aborted"]
        assert not any("prompt 2" in r.prompt for r in server.requests)

    @pytest.mark.parametrize(
        "options", [{"silent": True, "store_history": False}, {"store_history": False}]
    )
    def test_what_a_front_end_runs_itself_is_not_sent(
        self, notebook: Notebook, server: ModelServer, options: dict[str, Any]
    ) -> None:
        assert notebook.run("import os", **options).status == "ok"
        assert server.requests == []

    @pytest.mark.parametrize("code", ["", "  \n\n ", "\n"])
    def test_an_empty_cell_is_nothing(
        self, notebook: Notebook, server: ModelServer, code: str
    ) -> None:
        cell = notebook.run(code)
        assert (cell.status, cell.outputs) == ("ok", [])
        assert server.requests == []

    def test_the_prompt_is_sent_as_it_stands(self, notebook: Notebook, server: ModelServer) -> None:
        prompt = 'A "quote", a \\ and\n\n```python\nx = 1\n```\nשלום 😀'
        notebook.run(prompt)
        assert server.requests[-1].prompt == prompt


class TestStreaming:
    def test_the_first_words_are_shown_before_the_turn_ends(
        self, notebook: Notebook, server: ModelServer
    ) -> None:
        gate = Gate()
        server.model = Script([Reply("the beginning ", Wait(gate), "and the end")])
        seen: list[str] = []

        def hook(message: dict[str, Any]) -> None:
            data = message["content"].get("data", {})
            seen.append(data.get("text/html", ""))
            if "beginning" in seen[-1]:
                gate.open()

        cell = notebook.run("tell", hook=hook)
        assert cell.markdown == "the beginning and the end"

    def test_the_notebook_holds_exactly_the_answer(
        self, notebook: Notebook, server: ModelServer
    ) -> None:
        answer = (Path(__file__).parents[1] / "answer.md").read_text()
        server.model = Script([Reply(Text(answer, chunk=5))])
        cell = notebook.run("show me everything")
        assert cell.markdown == answer
        assert len(cell.outputs) > 2

    def test_a_retried_stream_leaves_no_ghost(
        self, notebook: Notebook, server: ModelServer
    ) -> None:
        ghost = "Ghost paragraph of some length.\n\n" * 100
        server.model = Script([Reply(Text(ghost), Disconnect())], default="The answer.")
        cell = notebook.run("go")
        assert cell.markdown == "The answer."
        assert "Ghost" not in str(cell.outputs)

    def test_an_answer_in_messages_bytes_and_outputs(
        self, notebook: Notebook, server: ModelServer
    ) -> None:
        """100,000 characters at full speed stay far below what the server would drop."""
        server.model = Script([Reply(Text("A sentence of some words. " * 4 + "\n\n", chunk=5))])
        long = "".join(f"Paragraph {n} says a few words more.\n\n" for n in range(2600))
        server.model = Script([Reply(Text(long, chunk=5))])
        cell = notebook.run("long")
        assert cell.markdown == long
        assert len(cell.outputs) <= 45
        assert len(cell.messages) <= 400

    def test_a_console_gets_plain_text(self, notebook: Notebook, server: ModelServer) -> None:
        server.model = Script(["Some *Markdown* \x1b[31mtext"])
        cell = notebook.run("go", cell_id=None, allow_stdin=True)
        assert cell.stdout.startswith("Some *Markdown* text\n")
        assert cell.outputs == []


class TestInterrupt:
    def interrupted(self, notebook: Notebook, server: ModelServer, how: Callable[[], None]) -> Cell:
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
        cell = self.interrupted(notebook, server, notebook.manager.interrupt_kernel)
        assert cell.status == "error"
        assert cell.reply["content"]["ename"] == "Interrupted"
        assert "half" in cell.markdown
        assert notebook.run("after", cell_id="b").markdown == "next"
        assert claude_pid(notebook) == pid

    def test_by_signal_too(self, notebook: Notebook, server: ModelServer) -> None:
        pid = notebook.pid
        notebook.run("first", cell_id="a")

        def how() -> None:
            os.killpg(pid, signal.SIGINT)

        assert self.interrupted(notebook, server, how).reply["content"]["ename"] == "Interrupted"
        assert notebook.run("after", cell_id="b").status == "ok"

    def test_before_the_first_word(self, notebook: Notebook, server: ModelServer) -> None:
        notebook.run("first", cell_id="a")
        server.model = Script([Hold()], default="next")
        message_id = notebook.send("go", cell_id="b")
        server.wait_for_requests(2)
        notebook.manager.interrupt_kernel()
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
            notebook.manager.interrupt_kernel()
            assert notebook.collect(message_id).status == "error"
            until(lambda: not exists(pid), "the command is gone")

    def test_while_idle_is_harmless(self, notebook: Notebook) -> None:
        client = notebook.client
        client.control_channel.send(client.session.msg("interrupt_request", {}))
        assert client.get_control_msg(timeout=10)["content"]["status"] == "ok"
        assert notebook.run("go").status == "ok"

    def test_stops_run_all(self, notebook: Notebook, server: ModelServer) -> None:
        gate = Gate()
        server.model = Script([Reply("half ", Wait(gate))])
        ids = [notebook.send(f"prompt {n}", cell_id=f"c{n}") for n in range(3)]
        server.wait_for_requests(1)
        notebook.manager.interrupt_kernel()
        statuses = []
        for message_id in ids:
            while True:
                reply = notebook.client.get_shell_msg(timeout=30)
                if reply["parent_header"]["msg_id"] == message_id:
                    statuses.append(reply["content"]["status"])
                    break
        assert statuses == ["error", "aborted", "aborted"]


class TestWhileACellRuns:
    def test_everything_else_is_answered(self, notebook: Notebook, server: ModelServer) -> None:
        gate = Gate()
        server.model = Script([Reply("half ", Wait(gate), "done")])
        message_id = notebook.send("go")
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
        while asked:
            reply = client.get_shell_msg(timeout=10)
            kind = asked.pop(reply["parent_header"]["msg_id"], None)
            if kind is None:
                continue  # asked before, while the kernel was getting ready
            assert reply["header"]["msg_type"] == kind
            assert reply["content"]["status"] in ("ok", "complete")
        gate.open()
        assert notebook.collect(message_id).markdown == "half done"

    def test_a_reloaded_page_gets_the_answer_without_asking_again(
        self, notebook: Notebook, server: ModelServer
    ) -> None:
        gate = Gate()
        server.model = Script([Reply("half ", Wait(gate), "done")], default="another")
        first = notebook.send("go", cell_id="a")
        server.wait_for_requests(1)
        reloaded = Notebook(notebook.manager)
        again = reloaded.send("go", cell_id="a")
        gate.open()
        cell = reloaded.collect(again)
        assert cell.markdown == "half done"
        assert notebook.collect(first).status == "ok"
        assert len(server.requests) == 1
        assert reloaded.run("go", cell_id="a").markdown == "another"
        reloaded.close()

    def test_a_page_that_comes_after_the_end_gets_it_too(
        self, notebook: Notebook, server: ModelServer
    ) -> None:
        notebook.run("go", cell_id="a")
        reloaded = Notebook(notebook.manager)
        cell = reloaded.run("go", cell_id="a")
        assert cell.markdown == "ok"
        assert "Nothing was sent" in cell.plain
        assert len(server.requests) == 1
        reloaded.close()

    def test_a_changed_cell_is_asked_even_after_a_reload(
        self, notebook: Notebook, server: ModelServer
    ) -> None:
        notebook.run("go", cell_id="a")
        reloaded = Notebook(notebook.manager)
        reloaded.run("go on", cell_id="a")
        assert len(server.requests) == 2
        reloaded.close()


class TestErrors:
    def test_a_crash_is_an_error_and_the_next_cell_remembers(
        self, notebook: Notebook, server: ModelServer
    ) -> None:
        notebook.run("first", cell_id="a")
        pid = claude_pid(notebook)
        server.model = Script([Reply("half ", Wait(Gate()))], default="next")

        def hook(message: dict[str, Any]) -> None:
            if "half" in str(message["content"].get("data", "")) and exists(pid):
                os.kill(pid, signal.SIGKILL)

        cell = notebook.run("crash", cell_id="b", hook=hook)
        assert cell.reply["content"]["ename"] == "Crashed"
        after = notebook.run("second", cell_id="c")
        assert after.markdown == "next"
        assert "without the unfinished turn 2" in after.plain
        sent = [exchange.prompt for exchange in server.requests[-1].turns]
        assert sent == ["first", "second"]

    def test_an_error_is_one_line_and_one_hint(
        self, notebook: Notebook, server: ModelServer
    ) -> None:
        server.model = lambda _: Failure(400, message="boom \x1b[31m\u202ered")
        cell = notebook.run("go")
        content = cell.contents("error")[0]
        assert cell.status == "error"
        assert len(content["traceback"]) == 2
        assert "boom" in content["evalue"]
        assert "\x1b" not in str(content["traceback"])
        assert "Traceback" not in str(content)

    def test_a_retry_is_shown_while_it_lasts(self, notebook: Notebook, server: ModelServer) -> None:
        server.model = Script([Failure(529)], default="fine")
        shown: list[str] = []

        def hook(message: dict[str, Any]) -> None:
            shown.append(str(message["content"].get("data", "")))

        cell = notebook.run("go", hook=hook)
        assert any("asking again" in text for text in shown)
        assert cell.markdown == "fine"
        assert "asking again" not in str(cell.outputs)

    def test_without_a_binary_the_cell_says_so(self, env: dict[str, str]) -> None:
        with open_notebook(env | {"HOTCLAUDE_CLI": "/nowhere"}) as notebook:
            cell = notebook.run("go")
            assert cell.reply["content"]["ename"] == "ClaudeNotFound"
            assert "HOTCLAUDE_CLI" in str(cell.contents("error"))

    def test_a_wrong_magic_sends_nothing(self, notebook: Notebook, server: ModelServer) -> None:
        cell = notebook.run("%modle opus\nhello")
        assert cell.reply["content"]["ename"] == "UsageError"
        assert "%model" in str(cell.contents("error"))
        assert server.requests == []


class TestPermissionByInput:
    """A console can be asked by `input_request`; its cells have no ids."""

    USE = ToolUse("Write", {"file_path": "made.txt", "content": "hello"})

    def asked(self, notebook: Notebook, server: ModelServer, answer: str) -> tuple[Cell, str]:
        server.model = Script([Reply(self.USE)], default="went on")
        message_id = notebook.send("write it", cell_id=None, allow_stdin=True)
        question = notebook.client.get_stdin_msg(timeout=30)
        notebook.client.input(answer)
        return notebook.collect(message_id), question["content"]["prompt"]

    def test_allow(self, notebook: Notebook, server: ModelServer, home: Path) -> None:
        cell, question = self.asked(notebook, server, "y")
        assert "Write" in question
        assert "hello" in cell.stdout.split("allowed once")[0]
        assert (home / "work" / "made.txt").read_text() == "hello"
        assert "went on" in cell.stdout

    def test_deny_with_a_reason(self, notebook: Notebook, server: ModelServer, home: Path) -> None:
        cell, _ = self.asked(notebook, server, "use another name")
        assert not (home / "work" / "made.txt").exists()
        assert "denied (use another name)" in cell.stdout
        assert "use another name" in server.requests[-1].tool_results[0].text

    def test_nobody_to_ask_denies_and_says_so(
        self, notebook: Notebook, server: ModelServer, home: Path
    ) -> None:
        server.model = Script([Reply(self.USE)], default="went on")
        cell = notebook.run("write it", allow_stdin=False, cell_id=None)
        assert cell.status == "ok"
        assert "nobody can be asked" in cell.markdown
        assert not (home / "work" / "made.txt").exists()

    def test_an_interrupt_withdraws_the_question(
        self, notebook: Notebook, server: ModelServer, home: Path
    ) -> None:
        server.model = Script([Reply(self.USE)], default="next")
        message_id = notebook.send("write it", cell_id=None, allow_stdin=True)
        notebook.client.get_stdin_msg(timeout=30)
        notebook.manager.interrupt_kernel()
        assert notebook.collect(message_id).status == "error"
        assert notebook.run("after", cell_id="b").markdown == "next"
        assert not (home / "work" / "made.txt").exists()

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
        question = notebook.client.get_stdin_msg(timeout=30)["content"]["prompt"]
        assert "1) Red" in question
        notebook.client.input("2")
        notebook.collect(message_id)
        assert "Blue" in server.requests[-1].tool_results[0].text


class TestPermissionByButtons:
    """What a page does with widgets, over the protocol."""

    USE = ToolUse("Write", {"file_path": "made.txt", "content": "hello"})

    def press(self, notebook: Notebook, message_id: str, label: str) -> Cell:
        """Collect the cell and press the button of this label as soon as it is shown."""
        models: dict[str, str] = {}

        def hook(message: dict[str, Any]) -> None:
            content = message["content"]
            if message["header"]["msg_type"] == "comm_open":
                state = content["data"].get("state", {})
                if state.get("_model_name") == "ButtonModel":
                    models[state["description"]] = content["comm_id"]
            if "widget-view" in str(content.get("data", "")):
                press = {"method": "custom", "content": {"event": "click"}}
                body = {"comm_id": models[label], "data": press}
                message = notebook.client.session.msg("comm_msg", body)
                notebook.client.shell_channel.send(message)

        return notebook.collect(message_id, hook)

    def test_allow_once(self, notebook: Notebook, server: ModelServer, home: Path) -> None:
        server.model = Script([Reply(self.USE)], default="went on")
        cell = self.press(notebook, notebook.send("write it"), "Allow once")
        assert cell.status == "ok"
        assert (home / "work" / "made.txt").read_text() == "hello"
        assert "allowed once" in cell.markdown
        assert "widget-view" not in str(cell.outputs)
        assert all(data.get("text/html") for data in cell.outputs)

    def test_shown_again_it_still_says_what_was_decided(
        self, notebook: Notebook, server: ModelServer
    ) -> None:
        server.model = Script([Reply(self.USE)], default="went on")
        first = self.press(notebook, notebook.send("write it", cell_id="a"), "Allow once")
        reloaded = Notebook(notebook.manager)
        again = reloaded.run("write it", cell_id="a")
        assert again.markdown == first.markdown
        assert "allowed once" in again.markdown
        reloaded.close()

    def test_deny(self, notebook: Notebook, server: ModelServer, home: Path) -> None:
        server.model = Script([Reply(self.USE)], default="went on")
        cell = self.press(notebook, notebook.send("write it"), "Deny")
        assert "denied" in cell.markdown
        assert not (home / "work" / "made.txt").exists()

    def test_allow_for_the_session_asks_no_more_and_writes_no_settings(
        self, notebook: Notebook, server: ModelServer, home: Path
    ) -> None:
        second = ToolUse("Write", {"file_path": "second.txt", "content": "two"})
        server.model = Script([Reply(self.USE), Reply(second)], default="went on")
        cell = self.press(notebook, notebook.send("write it"), "Allow for this session")
        assert "allowed for this session" in cell.markdown
        assert (home / "work" / "second.txt").exists()
        assert not list((home / "work").glob(".claude/*"))

    def test_a_reloaded_page_finds_the_question_again(
        self, notebook: Notebook, server: ModelServer, home: Path
    ) -> None:
        server.model = Script([Reply(self.USE)], default="went on")
        first = notebook.send("write it", cell_id="a")
        until(lambda: "widget-view" in str(notebook.client.get_iopub_msg(timeout=30)), "asked")
        reloaded = Notebook(notebook.manager)
        restored = reloaded.client.comm_info()
        while (reply := reloaded.client.get_shell_msg(timeout=30))["parent_header"][
            "msg_id"
        ] != restored:
            pass
        assert reply["content"]["comms"]
        message_id = reloaded.send("write it", cell_id="a")
        shown: list[str] = []

        def hook(message: dict[str, Any]) -> None:
            shown.append(str(message["content"].get("data", "")))
            if "widget-view" in shown[-1]:
                notebook.manager.interrupt_kernel()

        cell = reloaded.collect(message_id, hook)
        assert any("widget-view" in data for data in shown)
        assert cell.status == "error"
        assert first != message_id
        assert len(server.requests) == 1
        reloaded.close()


class TestModes:
    def test_an_approved_plan_ends_plan_mode(self, notebook: Notebook, server: ModelServer) -> None:
        plan = ToolUse("ExitPlanMode", {"plan": "1. Do *it*."})
        server.model = Script([Reply(plan)], default="carried out")
        message_id = notebook.send("%permission-mode plan\nplan it", cell_id="a")
        cell = TestPermissionByButtons().press(notebook, message_id, "Approve the plan")
        assert "Do *it*." in cell.markdown
        assert "approved" in cell.markdown
        mode = notebook.run("%permission-mode").contents("execute_result")
        assert mode[0]["data"]["text/plain"] == "default"

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


class TestImages:
    PNG = (
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00"
        b"\x00\x1f\x15\xc4\x89\x00\x00\x00\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\x00\x05\x00\x01\xff\x89\x99"
        b"=\x1d\x00\x00\x00\x00IEND\xaeB`\x82"
    )

    @pytest.mark.parametrize("code", ["What is @plot.png?", "%attach plot.png\nWhat is it?"])
    def test_an_image_goes_with_the_prompt(
        self, notebook: Notebook, server: ModelServer, home: Path, code: str
    ) -> None:
        (home / "work" / "plot.png").write_bytes(self.PNG)
        assert notebook.run(code).status == "ok"
        blocks = server.requests[-1].messages[0]["content"]
        assert [b["source"]["media_type"] for b in blocks if b["type"] == "image"] == ["image/png"]

    def test_a_missing_image_sends_nothing(self, notebook: Notebook, server: ModelServer) -> None:
        cell = notebook.run("What is @nowhere.png?")
        assert cell.reply["content"]["ename"] == "UsageError"
        assert server.requests == []


class TestVsCode:
    """It sends cell ids that are document addresses, and never asks to stop on an error."""

    CELL = "vscode-notebook-cell:/home/user/nb.ipynb#W0sZmlsZQ"

    def test_it_gets_the_page_of_a_notebook(self, notebook: Notebook, server: ModelServer) -> None:
        server.model = Script(["Some *Markdown*."])
        cell = notebook.run("go", cell_id=self.CELL, allow_stdin=True, stop_on_error=False)
        assert cell.markdown == "Some *Markdown*."
        assert "<em>Markdown</em>" in cell.outputs[0]["text/html"]
        assert cell.stdout == ""

    def test_run_all_goes_on_after_an_error(self, notebook: Notebook, server: ModelServer) -> None:
        server.model = lambda r: Failure(400) if r.prompt == "prompt 1" else Reply("fine")
        ids = [
            notebook.send(f"prompt {n}", cell_id=f"{self.CELL}{n}", stop_on_error=False)
            for n in range(3)
        ]
        assert [notebook.collect(i).status for i in ids] == ["ok", "error", "ok"]

    def test_the_metadata_of_outputs_never_changes(
        self, notebook: Notebook, server: ModelServer
    ) -> None:
        """It would draw the whole cell anew."""
        server.model = Script([Reply(Text("word " * 2000, chunk=5))])
        cell = notebook.run("go", cell_id=self.CELL)
        updated = cell.contents("update_display_data")
        assert updated
        assert all(content["metadata"] == {} for content in updated)
        first = {c["transient"]["display_id"]: c["metadata"] for c in cell.contents("display_data")}
        assert all(first[content["transient"]["display_id"]] == {} for content in updated)


class TestMagics:
    def test_a_setting_and_a_prompt_in_one_cell(
        self, notebook: Notebook, server: ModelServer
    ) -> None:
        cell = notebook.run("%model haiku\n%effort low\n\nhello")
        assert "model: haiku" in cell.plain
        assert "haiku" in server.requests[-1].model
        assert server.requests[-1].prompt == "hello"

    def test_a_value_is_asked_for(self, notebook: Notebook) -> None:
        notebook.run("%effort high")
        results = notebook.run("%effort").contents("execute_result")
        assert [r["data"]["text/plain"] for r in results] == ["high"]

    def test_status_and_help(self, notebook: Notebook) -> None:
        notebook.run("hello")
        status = notebook.run("%status").plain
        for row in ("model", "session id", "process", "context", "tokens", "hot", "cold"):
            assert row in status
        assert "%permission-mode" in notebook.run("%help").plain
        payload = notebook.run("%model?").reply["content"]["payload"]
        assert "full model id" in payload[0]["data"]["text/plain"]

    def test_the_footer_has_tokens_and_times_but_no_dollars(self, notebook: Notebook) -> None:
        footer = notebook.run("hello").outputs[-1]["text/plain"]
        assert "tokens in" in footer
        assert "first text" in footer
        assert "$" not in footer

    def test_the_configuration_of_the_command_line(
        self, env: dict[str, str], server: ModelServer
    ) -> None:
        with open_notebook(env, "--HotClaudeKernel.effort=low") as notebook:
            assert "low" in notebook.run("%effort").contents("execute_result")[0]["data"].values()
            notebook.run("hello")
            assert server.requests[-1].json["output_config"]["effort"] == "low"

    def test_the_configuration_file(
        self, env: dict[str, str], server: ModelServer, home: Path
    ) -> None:
        config = home / ".jupyter" / "hotclaude_config.py"
        config.parent.mkdir(parents=True)
        config.write_text("c.HotClaudeKernel.tools = []\nc.HotClaudeKernel.footer = False\n")
        with open_notebook(env) as notebook:
            shown = [data for data in notebook.run("hello").outputs if data["text/html"]]
            assert [data["text/plain"] for data in shown] == ["ok"]
            assert not server.requests[-1].tools


class TestNothingIsLeft:
    def test_after_a_shutdown(self, env: dict[str, str]) -> None:
        with open_notebook(env) as notebook:
            notebook.run("hello")
            pid = claude_pid(notebook)
        until(lambda: not exists(pid), "claude is gone")

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

    def test_after_a_restart(self, notebook: Notebook) -> None:
        notebook.run("hello")
        pid = claude_pid(notebook)
        notebook.manager.restart_kernel()
        notebook.wait_until_ready()
        until(lambda: not exists(pid), "claude is gone")
        assert notebook.run("hello again").status == "ok"


class TestStart:
    def test_the_process_is_started_before_ipykernel_is_imported(self, env: dict[str, str]) -> None:
        """`launching` is all that runs before; it must not drag in what it is to overtake."""
        code = (
            "import sys, hotclaude_kernel.kernel.startup as l\n"
            "p = l.prespawn([])\n"
            "assert p.process.poll() is None\n"
            "assert 'ipykernel' not in sys.modules and 'IPython' not in sys.modules\n"
            "from hotclaude_kernel.claude.transport import kill_unadopted\n"
            "kill_unadopted(p.process)\n"
        )
        python = Path(env["PATH"].split(":")[0], "python")
        subprocess.run([python, "-c", code], env=env, cwd=env["HOME"], check=True)
