from __future__ import annotations

import http.client
import json
import queue
import subprocess
import threading
import urllib.error
import urllib.request
import uuid
from contextlib import contextmanager
from itertools import pairwise
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
    Gate,
    Hold,
    Malformed,
    Pause,
    Reply,
    Stall,
    StreamError,
    Text,
    Thinking,
    ToolUse,
    Usage,
    Wait,
)
from hotclaude_kernel.modelserver.request import Exchange, Request
from hotclaude_kernel.modelserver.script import Script
from hotclaude_kernel.modelserver.server import ModelServer, serve_in_thread
from hotclaude_kernel.modelserver.stream import Due, events

if TYPE_CHECKING:
    from collections.abc import Iterator

DEADLINE_S = 30.0


def body(*messages: str | dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A request; strings are prompts and answers in turn."""
    roles = ("user", "assistant")
    given = [
        m if isinstance(m, dict) else {"role": roles[at % 2], "content": m}
        for at, m in enumerate(messages)
    ]
    return {"model": "some-model", "max_tokens": 99, "messages": given, **fields}


def request(*messages: str | dict[str, Any], **fields: Any) -> Request:
    value = body(*messages, **fields)
    return Request(body=json.dumps(value).encode(), json=value)


def post(
    server: ModelServer, value: Any, path: str = "/v1/messages?beta=true"
) -> tuple[int, dict[str, str], bytes]:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    headers = {"content-type": "application/json", "x-api-key": "secret"}
    asked = urllib.request.Request(server.url + path, data=data, headers=headers)
    try:
        with urllib.request.urlopen(asked, timeout=DEADLINE_S) as response:
            return response.status, lower(response.headers), response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, lower(error.headers), error.read()


def lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def parse(sse: bytes) -> list[dict[str, Any]]:
    datas = [line[6:] for line in sse.split(b"\n") if line.startswith(b"data: ")]
    return [json.loads(data) for data in datas]


def stream(server: ModelServer, *messages: str, **fields: Any) -> list[dict[str, Any]]:
    return parse(post(server, body(*messages, stream=True, **fields))[2])


def text_of(found: list[dict[str, Any]]) -> str:
    deltas = [event["delta"] for event in found if event["type"] == "content_block_delta"]
    return "".join(delta.get("text", "") for delta in deltas)


@contextmanager
def reading(server: ModelServer, value: dict[str, Any]) -> Iterator[http.client.HTTPConnection]:
    """A connection on which the request is sent and nothing is read yet."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_S)
    try:
        connection.request("POST", "/v1/messages", json.dumps(value))
        yield connection
    finally:
        connection.close()


class TestStream:
    def test_events_come_in_the_order_of_the_api(self) -> None:
        with serve_in_thread(Script([Reply(Text("one two"))])) as server:
            found = stream(server, "hi")
        assert [event["type"] for event in found] == [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
        assert text_of(found) == "one two"
        assert found[-2]["delta"]["stop_reason"] == "end_turn"

    def test_parallel_tool_uses_have_indices_and_ids_of_their_own(self) -> None:
        reply = Reply(ToolUse("Bash", {"command": "ls"}), ToolUse("Bash", {"command": "pwd"}))
        with serve_in_thread(Script([reply])) as server:
            found = stream(server, "hi")
        starts = [e for e in found if e["type"] == "content_block_start"]
        assert [e["index"] for e in starts] == [0, 1]
        assert len({e["content_block"]["id"] for e in starts}) == 2
        inputs = ["", ""]
        for event in found:
            if event["type"] == "content_block_delta":
                inputs[event["index"]] += event["delta"]["partial_json"]
        assert [json.loads(i)["command"] for i in inputs] == ["ls", "pwd"]
        assert found[-2]["delta"]["stop_reason"] == "tool_use"

    def test_thinking_ends_with_its_signature(self) -> None:
        with serve_in_thread(Script([Reply(Thinking("hm"), Text("yes"))])) as server:
            found = stream(server, "hi")
        deltas = [e["delta"]["type"] for e in found if e["type"] == "content_block_delta"]
        assert deltas == ["thinking_delta", "signature_delta", "text_delta"]

    def test_texts_around_a_pause_share_one_block(self) -> None:
        with serve_in_thread(Script([Reply("a ", Pause(0), "b")])) as server:
            found = stream(server, "hi")
        assert sum(e["type"] == "content_block_start" for e in found) == 1
        assert text_of(found) == "a b"

    def test_a_gate_holds_the_answer_in_mid_sentence(self) -> None:
        gate = Gate()
        server = ModelServer(Script([Reply("before ", Wait(gate), "after")]))
        with server.in_thread(), reading(server, body("hi", stream=True)) as connection:
            response = connection.getresponse()
            start = response.read1()
            assert gate.wait_reached()
            assert b"after" not in start
            gate.open()
            assert text_of(parse(start + response.read())) == "before after"

    def test_an_open_gate_lets_pass(self) -> None:
        gate = Gate()
        gate.open()
        with serve_in_thread(Script([Reply("a", Wait(gate))])) as server:
            assert text_of(stream(server, "hi")) == "a"

    def test_unicode_and_lone_surrogates_survive(self) -> None:
        text = "é \N{SNOWMAN} \U0001f40d \u2028 \ud800"
        with serve_in_thread(Script([Reply(text)])) as server:
            assert text_of(stream(server, text)) == text

    def test_200_000_characters_in_small_deltas(self) -> None:
        text = "abcd " * 40_000
        with serve_in_thread(Script([Reply(Text(text, chunk=5))])) as server:
            found = stream(server, "hi")
        assert text_of(found) == text
        assert sum(e["type"] == "content_block_delta" for e in found) == 40_000

    def test_pace_is_counted_from_the_start_of_the_text(self) -> None:
        steps = list(events(Reply(Text("a " * 400, words_per_s=200)), request("hi")))
        dues = [step.after_s for step in steps if isinstance(step, Due)]
        assert dues[0] == 0
        assert dues[-1] == pytest.approx(399 / 200)
        assert all(later > earlier for earlier, later in pairwise(dues))

    def test_ids_differ_between_attempts_at_one_body(self) -> None:
        with serve_in_thread() as server:
            ids = [stream(server, "hi")[0]["message"]["id"] for _ in range(2)]
        assert ids[0] != ids[1]


class TestPlain:
    def test_without_stream_the_reply_is_one_object(self) -> None:
        reply = Reply(Thinking("hm"), "a ", Pause(0), "b", ToolUse("Read", {"file_path": "x"}))
        with serve_in_thread(Script([reply])) as server:
            message = json.loads(post(server, body("hi"))[2])
        assert [block["type"] for block in message["content"]] == ["thinking", "text", "tool_use"]
        assert message["content"][1]["text"] == "a b"
        assert message["stop_reason"] == "tool_use"

    @pytest.mark.parametrize(
        ("fault", "status"), [(StreamError(), 529), (StreamError("api_error"), 500)]
    )
    def test_an_error_event_is_a_status(self, fault: StreamError, status: int) -> None:
        with serve_in_thread(Script([Reply("half", fault)])) as server:
            found, _, data = post(server, body("hi"))
        assert found == status
        assert json.loads(data)["error"]["type"] == fault.error_type

    def test_a_disconnect_gives_no_response(self) -> None:
        with (
            serve_in_thread(Script([Reply("half", Disconnect())])) as server,
            reading(server, body("hi")) as connection,
            pytest.raises(http.client.RemoteDisconnected),
        ):
            connection.getresponse()
        assert server.aborted == 0


class TestFaults:
    def test_a_failure_has_the_shape_of_the_api(self) -> None:
        failure = Failure(429, message="slow down", headers={"retry-after": "7"})
        with serve_in_thread(Script([failure])) as server:
            status, headers, data = post(server, body("hi", stream=True))
        assert status == 429
        assert headers["retry-after"] == "7"
        assert json.loads(data)["error"] == {"type": "rate_limit_error", "message": "slow down"}

    def test_end_of_stream_lacks_message_stop(self) -> None:
        with serve_in_thread(Script([Reply("half", EndOfStream())])) as server:
            found = stream(server, "hi")
        assert found[-1]["type"] == "content_block_delta"

    def test_a_disconnect_breaks_the_body(self) -> None:
        with (
            serve_in_thread(Script([Reply("half", Disconnect())])) as server,
            pytest.raises(http.client.IncompleteRead),
        ):
            stream(server, "hi")
        assert server.aborted == 0

    def test_malformed_is_not_json(self) -> None:
        with serve_in_thread(Script([Reply("half", Malformed())])) as server:
            _, _, data = post(server, body("hi", stream=True))
        with pytest.raises(json.JSONDecodeError):
            parse(data)

    def test_an_error_event_ends_the_stream(self) -> None:
        with serve_in_thread(Script([Reply("half", StreamError())])) as server:
            last = stream(server, "hi")[-1]
        assert last == {
            "type": "error",
            "error": {"type": "overloaded_error", "message": "Overloaded"},
        }

    def test_empty_and_html_are_sent_as_they_are(self) -> None:
        with serve_in_thread(Script([EMPTY, HTML])) as server:
            empty = post(server, body("hi", stream=True))
            html = post(server, body("hi", stream=True))
        assert (empty[0], empty[2]) == (200, b"")
        assert html[1]["content-type"] == "text/html"

    @pytest.mark.parametrize("answer", [Reply("half", Stall()), Hold()])
    def test_a_stall_lasts_until_the_client_leaves(self, answer: Answer) -> None:
        with serve_in_thread(Script([answer])) as server:
            with reading(server, body("hi", stream=True)):
                server.wait_for_requests(1)
            server.wait_for_aborted()
        assert server.aborted == 1

    @pytest.mark.parametrize("answer", [Reply("half", Stall()), Hold()])
    def test_closing_the_server_ends_a_stall(self, answer: Answer) -> None:
        server = ModelServer(Script([answer]))
        with server.in_thread():
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_S)
            connection.request("POST", "/v1/messages", json.dumps(body("hi", stream=True)))
            server.wait_for_requests(1)
        assert server.aborted == 0
        connection.close()

    def test_held_headers_come_when_the_gate_opens(self) -> None:
        gate = Gate()
        server = ModelServer(Script([Hold(gate=gate, answer=Failure(403))]))
        with server.in_thread(), reading(server, body("hi")) as connection:
            assert gate.wait_reached()
            gate.open()
            response = connection.getresponse()
            assert response.status == 403
            response.read()

    def test_a_model_that_raises_is_a_400(self, caplog: pytest.LogCaptureFixture) -> None:
        def broken(request: Request) -> Answer:
            raise KeyError("no")

        with serve_in_thread(broken) as server:
            status, _, data = post(server, body("hi"))
        assert status == 400
        assert "KeyError" in json.loads(data)["error"]["message"]
        assert "the model raised" in caplog.text


class TestServer:
    def test_other_addresses(self) -> None:
        with serve_in_thread() as server:
            with urllib.request.urlopen(server.url, timeout=DEADLINE_S) as response:
                assert response.status == 200
            status, _, data = post(server, {}, "/v1/nothing")
            count = post(server, body("x" * 400), "/v1/messages/count_tokens?beta=true")
        assert status == 404
        assert json.loads(data)["error"]["type"] == "not_found_error"
        assert json.loads(count[2])["input_tokens"] >= 100
        assert [path for _, path in server.other] == [
            "/",
            "/v1/nothing",
            "/v1/messages/count_tokens",
        ]
        assert server.requests == []

    def test_head_is_answered(self) -> None:
        with serve_in_thread() as server:
            asked = urllib.request.Request(f"{server.url}/api/hello", method="HEAD")
            with urllib.request.urlopen(asked, timeout=DEADLINE_S) as response:
                assert response.status == 200

    @pytest.mark.parametrize("data", [b"{no", b"[1]", b"\xff"])
    def test_a_body_that_is_no_object_is_a_400(self, data: bytes) -> None:
        with serve_in_thread() as server:
            assert post(server, data)[0] == 400

    def test_keys_are_not_kept(self) -> None:
        with serve_in_thread() as server:
            stream(server, "hi")
        kept = server.requests[0]
        assert kept.headers["x-api-key"] == "redacted"
        assert "secret" not in repr(kept.headers)

    def test_the_model_can_be_replaced_while_it_serves(self) -> None:
        with serve_in_thread(Script(default="one")) as server:
            assert text_of(stream(server, "hi")) == "one"
            server.model = Script(default="two")
            assert text_of(stream(server, "hi")) == "two"

    def test_an_async_model_may_wait(self) -> None:
        gate = Gate()
        gate.open()

        async def model(request: Request) -> Answer:
            await gate.passed()
            return Reply(request.prompt)

        with serve_in_thread(model) as server:
            assert text_of(stream(server, "echo")) == "echo"

    def test_a_script_falls_back_to_its_default(self) -> None:
        script = Script(["one", lambda request: Reply(request.model)], default="rest")
        with serve_in_thread(script) as server:
            assert [text_of(stream(server, "hi")) for _ in range(4)] == [
                "one",
                "some-model",
                "rest",
                "rest",
            ]

    def test_waiting_for_requests_that_do_not_come_says_what_came(self) -> None:
        with serve_in_thread() as server, pytest.raises(TimeoutError, match="0 requests"):
            server.wait_for_requests(1, timeout_s=0.01)

    def test_it_starts_again_on_the_same_port(self) -> None:
        server = ModelServer()
        with server.in_thread():
            url = server.url
        with server.in_thread():
            assert server.url == url
            assert text_of(stream(server, "hi")) == "ok"

    def test_a_taken_port_is_an_error_of_the_caller(self) -> None:
        with (
            serve_in_thread() as server,
            pytest.raises(OSError, match="in use"),
            ModelServer(port=server.port).in_thread(),
        ):
            pass

    async def test_it_serves_on_the_callers_loop(self) -> None:
        from tornado.httpclient import AsyncHTTPClient

        client = AsyncHTTPClient(force_instance=True)
        async with ModelServer() as server:
            data = json.dumps(body("hi", stream=True))
            response = await client.fetch(f"{server.url}/v1/messages", method="POST", body=data)
            assert text_of(parse(response.body)) == "ok"
        client.close()
        await server.close()

    def test_no_thread_is_left(self) -> None:
        with serve_in_thread():
            pass
        assert not [t for t in threading.enumerate() if t.name == "model-server"]


class TestUsage:
    def test_the_first_turn_writes_the_cache_and_the_second_reads_it(self) -> None:
        with serve_in_thread() as server:
            first = json.loads(post(server, body("x" * 4000))[2])["usage"]
            second = json.loads(post(server, body("x" * 4000, "ok", "y"))[2])["usage"]
        assert first["cache_creation_input_tokens"] > 1000
        assert first["cache_read_input_tokens"] == 0
        assert second["cache_read_input_tokens"] > 1000
        assert second["cache_creation_input_tokens"] < 50

    def test_given_numbers_win(self) -> None:
        reply = Reply("a", usage=Usage(input_tokens=7, cache_read_input_tokens=0))
        with serve_in_thread(Script([reply])) as server:
            usage = stream(server, "x")[0]["message"]["usage"]
        assert usage["input_tokens"] == 7


def reminder(text: str) -> dict[str, str]:
    return {"type": "text", "text": f"<system-reminder>\n{text}\n</system-reminder>\n"}


class TestRequest:
    def test_reminders_beside_the_prompt_are_not_the_users(self) -> None:
        content = [reminder("rules"), {"type": "text", "text": "remember 42"}]
        asked = request(
            {"role": "user", "content": content},
            {"role": "system", "content": "# Environment"},
            {"role": "assistant", "content": [{"type": "text", "text": "noted"}]},
            {"role": "user", "content": "recall"},
        )
        assert asked.turns == (
            Exchange(prompt="remember 42", answer="noted"),
            Exchange(prompt="recall"),
        )
        assert asked.prompt == "recall"
        assert not asked.is_first_turn

    def test_tags_that_the_user_typed_stay(self) -> None:
        text = "what is <system-reminder>this</system-reminder>?"
        assert request(text).prompt == text

    def test_local_commands_are_not_prompts(self) -> None:
        texts = [
            "<local-command-caveat>The command below</local-command-caveat>",
            "<command-name>/context</command-name>\n<command-args></command-args>",
            "<local-command-stdout>## Context</local-command-stdout>\n",
            "and now?",
        ]
        content = [{"type": "text", "text": text} for text in texts]
        assert request({"role": "user", "content": content}).prompt == "and now?"

    def test_tool_results_name_their_call(self) -> None:
        use = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}}
        result = {"type": "tool_result", "tool_use_id": "t1", "content": "a\nb", "is_error": False}
        asked = request(
            "list",
            {"role": "assistant", "content": [use]},
            {"role": "user", "content": [result]},
        )
        (found,) = asked.tool_results
        assert (found.name, found.text, found.input) == ("Bash", "a\nb", {"command": "ls"})
        assert asked.prompt == "list"

    @pytest.mark.parametrize(
        ("asked", "kind"),
        [
            (request("hi"), None),
            (request("<session>", output_config={"format": {}}, tools=[]), None),
            (request("<session>", output_config={"format": {"type": "json_schema"}}), "title"),
            (request("[SUGGESTION MODE: suggest]"), "suggestion"),
            (request("CRITICAL: Respond with TEXT ONLY. Do"), "compact"),
            (
                request(
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "text",
                                "text": "<system-reminder>This is a side question from the user."
                                "</system-reminder>",
                            },
                            {"type": "text", "text": "six?"},
                        ],
                    }
                ),
                "side_question",
            ),
        ],
    )
    def test_what_is_not_a_turn_is_told(self, asked: Request, kind: str | None) -> None:
        assert asked.auxiliary == kind

    @pytest.mark.parametrize("value", [{}, {"messages": 3}, {"messages": [{}, 1]}])
    def test_odd_bodies_do_not_raise(self, value: dict[str, Any]) -> None:
        asked = Request(body=b"", json=value)
        assert (asked.prompt, asked.turns, asked.tool_results, asked.auxiliary) == (
            "",
            (),
            (),
            None,
        )


def said(reply: Reply) -> str:
    return "".join(block.text for block in reply.blocks if isinstance(block, Text))


def called(reply: Reply) -> ToolUse:
    (use,) = [block for block in reply.blocks if isinstance(block, ToolUse)]
    return use


TOOLS = [{"name": name} for name in ("Bash", "Write", "AskUserQuestion")]


class TestDemo:
    @pytest.mark.parametrize("prompt", ["hi", "count to 3", "remember 42", "recall", "tool", ""])
    def test_the_first_words_say_that_it_is_not_claude(self, prompt: str) -> None:
        assert said(demo_model(request(prompt))).startswith("*This is a demonstration, not Claude")

    def test_later_turns_do_not_repeat_it(self) -> None:
        assert "not Claude" not in said(demo_model(request("hi", "x", "hi")))

    @pytest.mark.parametrize(
        ("first", "later", "expected"),
        [
            ("remember 42", "recall", "42"),
            ("Please remember that my name is Ada.", "what is my name?", "my name is Ada"),
            ("remember this: tea\nand go on", "What did I ask you to remember?", "tea"),
        ],
    )
    def test_it_recalls_from_the_history(self, first: str, later: str, expected: str) -> None:
        assert f"**{expected}**" in said(demo_model(request(first, "Noted.", later)))

    def test_it_recalls_nothing_that_was_not_sent(self) -> None:
        assert "Nothing yet" in said(demo_model(request("hi", "x", "recall")))

    @pytest.mark.parametrize(
        ("prompt", "name"),
        [
            ("list the files here", "Bash"),
            ("use a tool", "Bash"),
            ("write a file", "Write"),
            ("ask me a question", "AskUserQuestion"),
        ],
    )
    def test_tools(self, prompt: str, name: str) -> None:
        assert called(demo_model(request(prompt, tools=TOOLS))).name == name
        assert "not on offer" in said(demo_model(request(prompt)))

    def test_the_name_of_the_file_is_the_users(self) -> None:
        use = called(demo_model(request("write a file notes.md", tools=TOOLS)))
        assert use.input["file_path"] == "notes.md"

    def test_it_shows_markdown(self) -> None:
        shown = said(demo_model(request("show me what you can do")))
        assert all(mark in shown for mark in ("\n## ", "|:--", "```python", "\\(x", "$ax", "1. "))

    @pytest.mark.parametrize(
        ("prompt", "words"), [("count to 200", 200), ("write 321 words", 321), ("a long one", 500)]
    )
    def test_long_answers(self, prompt: str, words: int) -> None:
        assert len(said(demo_model(request("hi", "x", prompt))).split()) == words

    def test_anything_else_is_echoed_shortened_with_a_menu(self) -> None:
        reply = said(demo_model(request("hi", "x", "why? " * 100)))
        assert "small script" in reply
        assert "…`" in reply
        assert "`count to 200`" in reply

    def test_text_is_paced(self) -> None:
        blocks = demo_model(request("hi")).blocks
        assert all(block.words_per_s == 60 for block in blocks if isinstance(block, Text))

    def test_thinking_comes_before_the_answer(self) -> None:
        reply = demo_model(request("hi", "x", "think about six times seven"))
        assert isinstance(reply.blocks[0], Thinking)


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

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with serve_in_thread() as running:
        yield running


@pytest.fixture
def claude(server: ModelServer, tmp_path: Path, binary: str) -> Iterator[Claude]:
    running = Claude(Path(binary), server.url, tmp_path)
    yield running
    running.close()


@pytest.mark.wire
class TestRealBinary:
    def test_the_demonstration_remembers_over_turns(
        self, server: ModelServer, claude: Claude
    ) -> None:
        server.model = demo_model
        assert "not Claude" in claude.turn("remember 42")["result"]
        assert "**42**" in claude.turn("recall")["result"]
        assert [r.prompt for r in server.requests] == ["remember 42", "recall"]
        assert server.requests[1].turns[0].prompt == "remember 42"
        assert all(r.auxiliary is None for r in server.requests)
        assert server.other == []
        assert server.requests[0].headers["x-api-key"] == "redacted"

    def test_memory_survives_compaction(self, server: ModelServer, claude: Claude) -> None:
        server.model = demo_model
        claude.turn("remember 42")
        claude.turn("hello")
        claude.turn("/compact")
        assert server.requests[-1].auxiliary == "compact"
        assert "**42**" in claude.turn("recall")["result"]

    def test_a_tool_call_runs(self, server: ModelServer, claude: Claude) -> None:
        server.model = demo_model
        (claude.cwd / "here.txt").write_text("x")
        assert "here.txt" in claude.turn("list the files")["result"]
        (result,) = server.requests[-1].tool_results
        assert (result.name, result.text) == ("Bash", "here.txt")

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

    def test_a_question_reaches_the_user(self, server: ModelServer, claude: Claude) -> None:
        server.model = demo_model
        claude.ask("ask me a question")
        question = claude.until("control_request")[-1]
        assert question["request"]["tool_name"] == "AskUserQuestion"

    def test_thinking_and_parallel_tools(self, server: ModelServer, claude: Claude) -> None:
        calls = [ToolUse("Bash", {"command": f"echo {name}"}) for name in ("one", "two")]
        server.model = Script([Reply(Thinking("hm"), "both", *calls), "done"])
        assert claude.turn("go")["result"] == "done"
        assert {r.text for r in server.requests[-1].tool_results} == {"one", "two"}

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

    @pytest.mark.parametrize(
        "stall", [Reply("half a sentence ", Stall()), Hold()], ids=["in mid-stream", "headers"]
    )
    def test_an_interrupt_cuts_a_stall(
        self, server: ModelServer, claude: Claude, stall: Answer
    ) -> None:
        server.model = Script([stall], default="recovered")
        claude.ask("go")
        server.wait_for_requests(1)
        interrupt = {"subtype": "interrupt"}
        claude.write({"type": "control_request", "request_id": "r1", "request": interrupt})
        claude.until("result")
        server.wait_for_aborted(1)
        assert claude.turn("again")["result"] == "recovered"
