"""The real binary on the model server."""

from __future__ import annotations

import json
import queue
import subprocess
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hotclaude_kernel.modelserver.demo import demo_model
from hotclaude_kernel.modelserver.replies import (
    EMPTY,
    HTML,
    Answer,
    Disconnect,
    EndOfStream,
    Failure,
    Hold,
    Malformed,
    Reply,
    Stall,
    StreamError,
    Thinking,
    ToolUse,
)
from hotclaude_kernel.modelserver.script import Script
from hotclaude_kernel.modelserver.server import ModelServer, serve_in_thread

from ..support.waiting import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Iterator


class Claude:
    """The real binary on pipes, pointed at a model server, in an environment of its own."""

    ARGUMENTS = (
        "-p --input-format stream-json --output-format stream-json --verbose"
        " --include-partial-messages --permission-prompt-tool stdio"
    )

    def __init__(self, binary: Path, url: str, folder: Path) -> None:
        home, cwd = folder / "home", folder / "work"
        home.mkdir()
        cwd.mkdir()
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(home),
            "CLAUDE_CONFIG_DIR": str(home / "config"),
            "ANTHROPIC_API_KEY": "dummy",
            "ANTHROPIC_BASE_URL": url,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_MAX_RETRIES": "2",
            "DISABLE_AUTOUPDATER": "1",
        }
        self.cwd = cwd
        self.frames: queue.Queue[dict[str, Any]] = queue.Queue()
        self.process = subprocess.Popen(
            [str(binary), *self.ARGUMENTS.split()],
            env=environment,
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.frames.put(json.loads(line))

    def write(self, frame: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(frame).encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, prompt: str) -> None:
        message = {"role": "user", "content": prompt}
        self.write({"type": "user", "message": message, "uuid": str(uuid.uuid4())})

    def until(self, kind: str) -> list[dict[str, Any]]:
        """The frames up to the first of this type."""
        frames: list[dict[str, Any]] = []
        while not frames or frames[-1]["type"] != kind:
            frames.append(self.frames.get(timeout=DEADLINE_S))
        return frames

    def turn(self, prompt: str) -> dict[str, Any]:
        self.ask(prompt)
        return self.until("result")[-1]

    def interrupt(self) -> None:
        asked = {"subtype": "interrupt"}
        self.write({"type": "control_request", "request_id": "r1", "request": asked})
        self.until("result")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture(scope="module")
def model_server() -> Iterator[ModelServer]:
    with serve_in_thread() as running:
        yield running


@pytest.fixture
def server(model_server: ModelServer) -> ModelServer:
    """The model server, which has been asked nothing yet."""
    model_server.requests.clear()
    model_server.aborted = 0
    return model_server


@pytest.fixture(scope="module")
def claude(
    model_server: ModelServer, tmp_path_factory: pytest.TempPathFactory, binary: str
) -> Iterator[Claude]:
    """One process for all tests: what it is told in one is history in the next."""
    running = Claude(Path(binary), model_server.url, tmp_path_factory.mktemp("claude"))
    yield running
    running.close()


@pytest.mark.wire
class TestRealBinary:
    @pytest.mark.long
    def test_the_demonstration_remembers_over_turns(
        self, server: ModelServer, claude: Claude
    ) -> None:
        server.model = demo_model
        assert "not Claude" in claude.turn("remember 42")["result"]
        assert "**42**" in claude.turn("recall")["result"]
        assert [r.prompt for r in server.requests] == ["remember 42", "recall"]
        assert server.requests[1].turns[-2].prompt == "remember 42"
        assert all(r.auxiliary is None for r in server.requests)
        assert server.other == []
        assert server.requests[0].headers["x-api-key"] == "redacted"

    @pytest.mark.long
    def test_memory_survives_compaction(self, server: ModelServer, claude: Claude) -> None:
        server.model = demo_model
        claude.turn("remember seventeen")
        claude.turn("hello")
        claude.turn("/compact")
        assert server.requests[-1].auxiliary == "compact"
        assert "seventeen" in claude.turn("recall")["result"]

    def test_a_tool_call_runs(self, server: ModelServer, claude: Claude) -> None:
        server.model = demo_model
        (claude.cwd / "here.txt").write_text("x")
        assert "here.txt" in claude.turn("list the files")["result"]
        (result,) = server.requests[-1].tool_results
        assert (result.name, result.text) == ("Bash", "here.txt")

    @pytest.mark.long
    def test_writing_a_file_asks_for_permission(self, server: ModelServer, claude: Claude) -> None:
        server.model = demo_model
        claude.ask("write a file notes.md")
        question = claude.until("control_request")[-1]
        assert question["request"]["tool_name"] == "Write"
        claude.write(
            {
                "type": "control_response",
                "response": {
                    "subtype": "success",
                    "request_id": question["request_id"],
                    "response": {
                        "behavior": "allow",
                        "updatedInput": question["request"]["input"],
                    },
                },
            }
        )
        assert not claude.until("result")[-1]["is_error"]
        assert (claude.cwd / "notes.md").read_text().startswith("Written by the demonstration")

    @pytest.mark.long
    def test_a_question_reaches_the_user(self, server: ModelServer, claude: Claude) -> None:
        server.model = demo_model
        claude.ask("ask me a question")
        question = claude.until("control_request")[-1]
        assert question["request"]["tool_name"] == "AskUserQuestion"
        claude.interrupt()

    @pytest.mark.long
    def test_thinking_and_parallel_tools(self, server: ModelServer, claude: Claude) -> None:
        calls = [ToolUse("Bash", {"command": f"echo {name}"}) for name in ("one", "two")]
        server.model = Script([Reply(Thinking("hm"), "both", *calls), "done"])
        assert claude.turn("go")["result"] == "done"
        assert {r.text for r in server.requests[-1].tool_results} == {"one", "two"}

    @pytest.mark.long
    @pytest.mark.parametrize(
        "fault",
        [
            Failure(500),
            Failure(529),
            Failure(429, headers={"retry-after": "0"}),
            Reply("half", Disconnect()),
            Reply("half", EndOfStream()),
            Reply("half", Malformed()),
            Reply("half", StreamError()),
            EMPTY,
            HTML,
        ],
        ids=lambda fault: str(fault)[:60],
    )
    def test_it_recovers_from(self, server: ModelServer, claude: Claude, fault: Answer) -> None:
        server.model = Script([fault], default="recovered")
        result = claude.turn("go")
        assert not result["is_error"]
        assert result["result"] == "recovered"
        assert len(server.requests) == 2

    @pytest.mark.long
    @pytest.mark.parametrize(
        ("fault", "status"),
        [
            (Failure(400, message="no such thing"), 400),
            (Failure(401), 401),
            (Failure(403), 403),
            (Failure(404), 404),
            (Failure(429, headers={"retry-after": "120"}), 429),
            (Failure(500), 500),
            (Reply("half", StreamError()), 529),
            (Reply("half", Disconnect()), None),
        ],
        ids=lambda value: str(value)[:60],
    )
    def test_it_gives_up_on(
        self, server: ModelServer, claude: Claude, fault: Answer, status: int | None
    ) -> None:
        server.model = lambda request: fault
        result = claude.turn("go")
        assert result["is_error"]
        assert result.get("api_error_status") == status
        server.model = Script(default="recovered")
        assert claude.turn("again")["result"] == "recovered"

    @pytest.mark.long
    @pytest.mark.parametrize(
        "stall", [Reply("half a sentence ", Stall()), Hold()], ids=["in mid-stream", "headers"]
    )
    def test_an_interrupt_cuts_a_stall(
        self, server: ModelServer, claude: Claude, stall: Answer
    ) -> None:
        server.model = Script([stall], default="recovered")
        claude.ask("go")
        server.wait_for_requests(1)
        claude.interrupt()
        server.wait_for_aborted(1)
        assert claude.turn("again")["result"] == "recovered"
