from __future__ import annotations

import http.client
import json
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

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
from hotclaude_kernel.modelserver.script import Script
from hotclaude_kernel.modelserver.server import ModelServer, serve_in_thread
from hotclaude_kernel.modelserver.stream import Due, events

from ..support.messages import body, request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotclaude_kernel.modelserver.request import Request

DEADLINE_S = 30.0


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

    @pytest.mark.long
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
