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
    Reply,
    Text,
    Wait,
)
from hotclaude_kernel.modelserver.script import Script

from ..support.desk import claude_pid
from ..support.frontend import Notebook, open_notebook
from ..support.processes import exists

if TYPE_CHECKING:
    from hotclaude_kernel.modelserver.server import ModelServer

pytestmark = pytest.mark.kernel


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
        statuses = [notebook.reply(message_id).content["status"] for message_id in ids]
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

    @pytest.mark.parametrize("options", [{}, {"silent": True, "store_history": False}])
    def test_expressions_are_answered_name_by_name(
        self, notebook: Notebook, options: dict[str, Any]
    ) -> None:
        asked = {"a": "1 + 1", "b": "topic"}
        reply = notebook.reply(notebook.send("%rerun", user_expressions=asked, **options))
        assert reply.content["status"] == "ok"
        found = reply.content["user_expressions"]
        assert {name: answer["status"] for name, answer in found.items()} == {
            "a": "error",
            "b": "error",
        }

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


class TestImages:
    PNG = (
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00"
        b"\x00\x1f\x15\xc4\x89\x00\x00\x00\rIDATx\x9cc\xf8\xcf\xc0\xf0\x1f\x00\x05\x00\x01\xff\x89\x99"
        b"=\x1d\x00\x00\x00\x00IEND\xaeB`\x82"
    )

    @pytest.mark.long
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
    @pytest.mark.long
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

    @pytest.mark.long
    def test_the_footer_has_tokens_and_times_but_no_dollars(self, notebook: Notebook) -> None:
        footer = notebook.run("hello").outputs[-1]["text/plain"]
        assert "tokens in" in footer
        assert "first text" in footer
        assert "$" not in footer

    @pytest.mark.long
    def test_the_configuration_of_the_command_line(
        self, env: dict[str, str], server: ModelServer
    ) -> None:
        with open_notebook(env, "--HotClaudeKernel.effort=low") as notebook:
            assert "low" in notebook.run("%effort").contents("execute_result")[0]["data"].values()
            notebook.run("hello")
            assert server.requests[-1].json["output_config"]["effort"] == "low"

    @pytest.mark.long
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
