"""Turns on the real binary: memory, interrupts, settings, and everything that goes wrong."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from typing import TYPE_CHECKING, Any

import pytest

from hotclaude_kernel.claude.events import Block, Delta, Event, Retry, ToolResult
from hotclaude_kernel.conversation import conversation as conversation_module
from hotclaude_kernel.conversation.conversation import Conversation
from hotclaude_kernel.errors import (
    ApiError,
    ClaudeNotFound,
    ClaudeUnusable,
    ConversationLost,
    Crashed,
    Interrupted,
    NotLoggedIn,
    PromptTooLong,
    TransportError,
    UsageError,
)
from hotclaude_kernel.modelserver.demo import demo_model
from hotclaude_kernel.modelserver.replies import (
    EMPTY,
    Disconnect,
    EndOfStream,
    Failure,
    Gate,
    Hold,
    Malformed,
    Reply,
    Stall,
    StreamError,
    Text,
    ToolUse,
    Usage,
    Wait,
)
from hotclaude_kernel.modelserver.script import Script
from hotclaude_kernel.record.transcripts import transcript_path
from hotclaude_kernel.turns.prompt import Prompt
from hotclaude_kernel.turns.settings import Settings

from ..support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hotclaude_kernel.claude import frames
    from hotclaude_kernel.modelserver.request import Request
    from hotclaude_kernel.modelserver.server import ModelServer
    from hotclaude_kernel.turns.turn import Turn

    from ..support.book import Book

pytestmark = [pytest.mark.wire, pytest.mark.usefixtures("isolated")]

LONG = pytest.mark.long  # tests/modelserver asks the same of the binary daily

FAST_FAILURE = {"CLAUDE_CODE_MAX_RETRIES": "1"}


class Asked:
    """A conversation with a short way to ask, and what it showed."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.events: list[Event] = []

    async def __call__(self, text: str) -> Turn:
        return await self.conversation.ask(Prompt(text=text), self.events.append)

    def kinds(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
async def ask() -> AsyncIterator[Asked]:
    conversation = Conversation(Settings())
    yield Asked(conversation)
    await conversation.close()


async def ask_once(**settings: Any) -> None:
    """Ask in a conversation of its own, which is closed whatever comes of it."""
    conversation = Conversation(Settings(**settings))
    try:
        await conversation.ask(Prompt(text="go"), lambda _: None)
    finally:
        await conversation.close()


def prompts(server: ModelServer) -> list[str]:
    """What the newest request holds as prompts, old and new."""
    return [exchange.prompt for exchange in server.requests[-1].turns]


class TestMemory:
    @pytest.mark.long
    async def test_what_an_old_turn_said_is_in_the_record_only(
        self, book: Book, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(conversation_module, "KEPT_TURNS", 1)
        await book.run_all("a", "b")
        old, new = book.conversation.turns
        assert old.recorded is not None
        assert new.recorded is not None
        assert (old.events, old.recorded.frames, old.recorded.entries) == ([], b"", b"")
        assert new.recorded.frames
        said = [e.text for e in await book.conversation.events_of(old) if isinstance(e, Block)]
        assert said == ["ok"]
        assert old.about["node"] == old.node


class TestTurns:
    async def test_one_process_remembers(self, ask: Asked, server: ModelServer) -> None:
        server.model = demo_model
        first = await ask("remember 42")
        second = await ask("recall")
        assert "42" in second.text
        assert first.session_pid == second.session_pid
        assert first.session_id == second.session_id == ask.conversation.session_id

    async def test_the_first_turn_is_cold_and_the_next_is_hot(self, ask: Asked) -> None:
        turns = [await ask("one"), await ask("two")]
        assert [turn.hot for turn in turns] == [False, True]
        assert all(turn.first_text_s is not None for turn in turns)

    @pytest.mark.long
    async def test_deltas_come_before_the_block_and_agree_with_it(self, ask: Asked) -> None:
        await ask("hello")
        deltas = "".join(d.text for d in ask.kinds(Delta))
        blocks = [b.text for b in ask.kinds(Block)]
        assert blocks == [deltas]

    @pytest.mark.long
    async def test_a_line_of_megabytes_arrives_whole(self, ask: Asked, server: ModelServer) -> None:
        long = "word " * 400_000
        server.model = Script([Reply(Text(long, chunk=5000))])
        turn = await ask("be long")
        assert turn.text == long

    @pytest.mark.long
    async def test_a_split_emoji_arrives_whole(self, ask: Asked, server: ModelServer) -> None:
        server.model = Script([Reply(Text("a😀b", chunk=1))])
        assert (await ask("smile")).text == "a😀b"

    @pytest.mark.long
    async def test_usage_is_the_turns_own(self, ask: Asked, server: ModelServer) -> None:
        usage = Usage(input_tokens=7, output_tokens=3, cache_read_input_tokens=100)
        server.model = Script([Reply("a", usage=usage), Reply("b", usage=usage)])
        await ask("one")
        turn = await ask("two")
        assert (turn.usage.input_tokens, turn.usage.output_tokens) == (7, 3)
        assert turn.usage.cache_read_tokens == 100

    @pytest.mark.long
    async def test_a_tool_runs_and_its_result_is_kept(
        self, ask: Asked, server: ModelServer
    ) -> None:
        use = ToolUse("Bash", {"command": "echo from-bash", "description": "say it"})
        server.model = Script([Reply(use), Reply("done")])
        await ask("run it")
        assert [r.text for r in ask.kinds(ToolResult)] == ["from-bash"]

    async def test_an_unknown_control_request_is_refused_not_left_open(
        self, ask: Asked, server: ModelServer
    ) -> None:
        """A permission question that fails to be asked must not block the turn."""

        async def broken(_: Any) -> tuple[frames.Frame, str]:
            raise RuntimeError("no front end")

        ask.conversation.permit = broken
        use = ToolUse("Bash", {"command": "touch made", "description": "make it"})
        server.model = Script([Reply(use), Reply("went on")])
        assert (await ask("make it")).text == "went on"


class TestBackground:
    @pytest.mark.long
    @pytest.mark.parametrize("background", [True, False])
    async def test_a_subagent_ends_within_its_turn(
        self,
        ask: Asked,
        server: ModelServer,
        monkeypatch: pytest.MonkeyPatch,
        background: bool,
    ) -> None:
        """Even where it was asked to go on by itself, and the environment allows it."""
        monkeypatch.setenv("CLAUDE_CODE_DISABLE_BACKGROUND_TASKS", "0")
        use = ToolUse(
            "Task",
            {
                "description": "look around",
                "prompt": "SUB please look",
                "subagent_type": "general-purpose",
                "run_in_background": background,
            },
        )

        def model(request: Request) -> Reply:
            if "SUB please" in request.prompt:
                return Reply("the report of the subagent")
            return Reply("done") if request.tool_results else Reply(use)

        server.model = model
        turn = await ask("delegate")
        assert turn.text == "done"
        assert "the report of the subagent" in ask.kinds(ToolResult)[-1].text
        server.model = Script([], default="fine")
        assert (await ask("next")).text == "fine"
        assert ask.conversation.take_notices() == []


class TestInterrupt:
    async def test_the_partial_text_stays_and_the_process_too(
        self, ask: Asked, server: ModelServer
    ) -> None:
        await ask("first")
        pid = ask.conversation.pid
        server.model = Script([Reply("half a sentence ", Wait(Gate()))], default="again")
        with pytest.raises(Interrupted):
            await self._ask_and_interrupt(ask)
        turn = ask.conversation.turns[-1]
        assert turn.status == "interrupted"
        assert turn.text.startswith("half ")
        assert (await ask("and now")).text == "again"
        assert ask.conversation.pid == pid

    async def _ask_and_interrupt(self, ask: Asked) -> None:
        spoke = asyncio.Event()

        def show(event: Event) -> None:
            if isinstance(event, Delta):
                spoke.set()

        asking = asyncio.create_task(ask.conversation.ask(Prompt(text="tell me"), show))
        await spoke.wait()
        await ask.conversation.interrupt()
        await asking

    @pytest.mark.long
    async def test_while_idle_it_does_nothing(self, ask: Asked) -> None:
        await ask("first")
        await ask.conversation.interrupt()
        assert (await ask("second")).status == "ok"


@pytest.mark.long
class TestFailures:
    @pytest.mark.parametrize(
        ("failure", "error", "status"),
        [
            (Failure(401, "authentication_error"), NotLoggedIn, 401),
            pytest.param(Failure(403, "permission_error"), NotLoggedIn, 403, marks=LONG),
            pytest.param(
                Failure(429, "rate_limit_error", headers={"retry-after": "600"}),
                ApiError,
                429,
                marks=LONG,
            ),
            (Failure(400, "invalid_request_error", "boom"), ApiError, 400),
            pytest.param(Failure(404, "not_found_error"), ApiError, 404, marks=LONG),
            (Failure(500, "api_error"), ApiError, 500),
            pytest.param(Failure(529, "overloaded_error"), ApiError, 529, marks=LONG),
        ],
    )
    async def test_the_api_fails_for_good(
        self,
        ask: Asked,
        server: ModelServer,
        monkeypatch: pytest.MonkeyPatch,
        failure: Failure,
        error: type[ApiError],
        status: int,
    ) -> None:
        for name, value in FAST_FAILURE.items():
            monkeypatch.setenv(name, value)
        await ask("before")
        server.model = lambda _: failure
        with pytest.raises(error) as caught:
            await ask("this fails")
        assert caught.value.status == status
        assert "\n" not in caught.value.message
        assert caught.value.hint
        server.model = Script([], default="after")
        assert (await ask("next")).text == "after"
        assert prompts(server) == ["before", "next"]

    async def test_a_failure_that_passes_is_retried_and_said(
        self, ask: Asked, server: ModelServer
    ) -> None:
        server.model = Script([Failure(529), Failure(500)], default="fine")
        turn = await ask("go")
        assert turn.text == "fine"
        assert [retry.status for retry in ask.kinds(Retry)] == [529, 500]

    async def test_a_short_retry_after_is_waited_for(self, ask: Asked, server: ModelServer) -> None:
        server.model = Script([Failure(429, headers={"retry-after": "1"})], default="fine")
        assert (await ask("go")).text == "fine"

    @pytest.mark.parametrize(
        "fault",
        [
            Disconnect(),
            StreamError(),
            pytest.param(EndOfStream(), marks=LONG),
            pytest.param(Malformed(), marks=LONG),
        ],
    )
    async def test_a_broken_stream_is_asked_again(
        self, ask: Asked, server: ModelServer, fault: Any
    ) -> None:
        server.model = Script([Reply("ghost text ", fault)], default="the answer")
        turn = await ask("go")
        assert turn.text == "the answer"

    async def test_an_empty_answer_is_asked_again(self, ask: Asked, server: ModelServer) -> None:
        server.model = Script([EMPTY], default="the answer")
        assert (await ask("go")).text == "the answer"

    async def test_a_stall_in_the_stream_ends(self, ask: Asked, server: ModelServer) -> None:
        ask.conversation.stall_timeout_s = 1.0
        server.model = Script([Reply("some text ", Stall())], default="after")
        with pytest.raises(ApiError, match="silent for 1 s"):
            await ask("go")
        assert (await ask("next")).text == "after"

    async def test_a_stall_before_the_stream_ends(self, ask: Asked, server: ModelServer) -> None:
        ask.conversation.stall_timeout_s = 1.0
        server.model = Script([Hold()], default="after")
        with pytest.raises(ApiError, match="silent for 1 s"):
            await ask("go")
        assert (await ask("next")).text == "after"

    async def test_a_silent_tool_is_no_stall(self, ask: Asked, server: ModelServer) -> None:
        ask.conversation.stall_timeout_s = 1.0
        use = ToolUse("Bash", {"command": "sleep 2", "description": "wait"})
        server.model = Script([Reply(use)], default="slept")
        assert (await ask("wait")).text == "slept"

    async def test_a_refused_connection(
        self, server: ModelServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CLAUDE_CODE_MAX_RETRIES", "1")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
        conversation = Conversation(Settings())
        with pytest.raises(ApiError, match="refused") as caught:
            await conversation.ask(Prompt(text="go"), lambda _: None)
        assert "ANTHROPIC_BASE_URL" in caught.value.hint
        await conversation.close()

    async def test_without_a_login(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("ANTHROPIC_API_KEY")
        conversation = Conversation(Settings())
        with pytest.raises(NotLoggedIn) as caught:
            await conversation.ask(Prompt(text="go"), lambda _: None)
        assert "/login" in caught.value.hint
        await conversation.close()

    async def test_a_prompt_over_the_window_is_not_sent(
        self, ask: Asked, server: ModelServer
    ) -> None:
        await ask("first")
        sent = len(server.requests)
        with pytest.raises(PromptTooLong):
            await ask("word " * 1_000_000)
        assert len(server.requests) == sent
        assert (await ask("short")).status == "ok"

    async def test_a_first_prompt_over_the_window(self, ask: Asked, server: ModelServer) -> None:
        with pytest.raises(PromptTooLong):
            await ask("word " * 1_000_000)
        assert server.requests == []


class TestTheBinary:
    async def test_there_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOTCLAUDE_CLI", "/nowhere/claude")
        with pytest.raises(ClaudeNotFound) as caught:
            await ask_once()
        assert "HOTCLAUDE_CLI" in caught.value.hint

    async def test_it_is_too_old(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        script = home / "old-claude"
        answer = (
            '{"type":"control_response","response":{"subtype":"success",'
            '"request_id":"hotclaude-1","response":{"claude_code_version":"1.0.3"}}}'
        )
        script.write_text(f"#!/bin/sh\nread line\necho '{answer}'\ncat >/dev/null\n")
        script.chmod(0o755)
        monkeypatch.setenv("HOTCLAUDE_CLI", str(script))
        with pytest.raises(ClaudeUnusable, match=r"1\.0\.3 is too old"):
            await ask_once()

    async def test_it_is_no_program(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        script = home / "text"
        script.write_text("no program")
        script.chmod(0o755)
        monkeypatch.setenv("HOTCLAUDE_CLI", str(script))
        with pytest.raises(ClaudeUnusable, match="can't be started"):
            await ask_once()

    async def test_it_refuses_its_arguments(self) -> None:
        with pytest.raises(TransportError, match="no-such-flag"):
            await ask_once(extra_args=("--no-such-flag",))

    async def test_the_working_directory_is_gone(self, ask: Asked, home: Path) -> None:
        await ask("first")
        shutil.rmtree(home / "work")
        assert (await ask("second")).status == "ok"

    async def test_the_working_directory_was_never_there(self, home: Path) -> None:
        with pytest.raises(ClaudeUnusable, match="gone") as caught:
            await ask_once(cwd=str(home / "nowhere"))
        assert "%cwd" in caught.value.hint


class TestCrash:
    async def test_in_the_middle_of_a_turn(self, ask: Asked, server: ModelServer) -> None:
        await ask("remember the sea")
        pid = ask.conversation.pid
        assert pid
        gate = Gate()
        server.model = Script([Reply("half ", Wait(gate))], default="all there")

        def kill(event: Event) -> None:
            if isinstance(event, Delta):
                os.kill(pid, signal.SIGKILL)

        with pytest.raises(Crashed, match="SIGKILL"):
            await ask.conversation.ask(Prompt(text="the half turn"), kill)
        assert ask.conversation.turns[-1].status == "crashed"
        turn = await ask("the next")
        assert turn.text == "all there"
        assert prompts(server) == ["remember the sea", "the next"]
        assert ask.conversation.pid != pid
        assert "without the unfinished turn 2" in ask.conversation.take_notices()[0]

    @pytest.mark.long
    async def test_between_turns(self, ask: Asked, server: ModelServer) -> None:
        await ask("remember the sea")
        pid = ask.conversation.pid
        assert pid
        os.kill(pid, signal.SIGKILL)
        assert (await ask("the next")).status == "ok"
        assert prompts(server) == ["remember the sea", "the next"]

    @pytest.mark.long
    async def test_in_the_first_turn_there_is_nothing_to_lose(
        self, ask: Asked, server: ModelServer
    ) -> None:
        server.model = Script([Reply("half ", Wait(Gate()))], default="fresh")

        def kill(event: Event) -> None:
            if isinstance(event, Delta) and ask.conversation.pid:
                os.kill(ask.conversation.pid, signal.SIGKILL)

        with pytest.raises(Crashed):
            await ask.conversation.ask(Prompt(text="first"), kill)
        assert (await ask("second")).text == "fresh"
        assert prompts(server) == ["second"]

    @pytest.mark.long
    async def test_a_lost_transcript_is_made_again_from_the_record(
        self, ask: Asked, server: ModelServer, home: Path
    ) -> None:
        await ask("first")
        path = transcript_path(home / ".claude", ask.conversation.session_id)
        assert path
        path.unlink()
        assert ask.conversation.pid
        os.kill(ask.conversation.pid, signal.SIGKILL)
        assert (await ask("second")).status == "ok"
        assert prompts(server) == ["first", "second"]

    @pytest.mark.long
    async def test_what_the_record_has_lost_is_said_and_nothing_is_sent(
        self, ask: Asked, server: ModelServer
    ) -> None:
        await ask("first")
        await ask.conversation.settle()
        with ask.conversation.record.store.write() as db:
            db.execute("update blob set data = x'00'")
        assert ask.conversation.pid
        os.kill(ask.conversation.pid, signal.SIGKILL)
        sent = len(server.requests)
        with pytest.raises(ConversationLost, match="can't be resumed") as caught:
            await ask("second")
        assert "%new" in caught.value.hint
        assert len(server.requests) == sent
        await ask.conversation.renew()
        assert (await ask("third")).status == "ok"
        assert prompts(server) == ["third"]


@pytest.mark.long
class TestSettings:
    async def test_model_and_effort_change_in_the_running_process(
        self, ask: Asked, server: ModelServer
    ) -> None:
        await ask("one")
        pid = ask.conversation.pid
        await ask.conversation.change(model="haiku", effort="high")
        await ask("two")
        assert ask.conversation.pid == pid
        assert "haiku" in server.requests[-1].model
        assert server.requests[0].model != server.requests[-1].model

    async def test_effort_reaches_the_request(self, ask: Asked, server: ModelServer) -> None:
        await ask.conversation.change(effort="low")
        await ask("go")
        assert server.requests[-1].json["output_config"]["effort"] == "low"

    async def test_a_refused_mode_changes_nothing(self, ask: Asked) -> None:
        await ask("one")
        with pytest.raises(UsageError):
            await ask.conversation.change(permission_mode="bypassPermissions")
        assert ask.conversation.settings.permission_mode == "default"

    async def test_a_system_prompt_goes_on_in_a_new_process(
        self, ask: Asked, server: ModelServer
    ) -> None:
        await ask("one")
        pid = ask.conversation.pid
        await ask.conversation.change(system="Answer in Latin.")
        await ask("two")
        assert ask.conversation.pid != pid
        assert prompts(server) == ["one", "two"]
        assert "Answer in Latin." in server.requests[-1].system
        await ask.conversation.change(system=None)
        await ask("three")
        assert prompts(server) == ["one", "two", "three"]
        assert "Answer in Latin." not in server.requests[-1].system

    async def test_no_tools_makes_the_smallest_requests(
        self, ask: Asked, server: ModelServer
    ) -> None:
        await ask.conversation.change(tools=())
        await ask("go")
        assert not server.requests[-1].tools

    async def test_another_folder_keeps_the_conversation(
        self, ask: Asked, server: ModelServer, home: Path
    ) -> None:
        (home / "other").mkdir()
        await ask("one")
        await ask.conversation.change(cwd=str(home / "other"))
        use = ToolUse("Bash", {"command": "pwd", "description": "where"})
        server.model = Script([Reply(use)], default="there")
        await ask("two")
        assert prompts(server)[:2] == ["one", "two"]
        assert ask.kinds(ToolResult)[-1].text == str(home / "other")

    async def test_new_forgets(self, ask: Asked, server: ModelServer) -> None:
        await ask("one")
        old = ask.conversation.session_id
        await ask.conversation.renew()
        await ask("two")
        assert prompts(server) == ["two"]
        assert ask.conversation.session_id != old


class TestNothingIsLeft:
    async def test_closing_ends_the_process(self) -> None:
        conversation = Conversation(Settings())
        await conversation.ask(Prompt(text="go"), lambda _: None)
        pid = conversation.pid
        assert pid
        await conversation.close()
        until(lambda: not _exists(pid), "the process is gone")

    async def test_closing_while_it_starts(self) -> None:
        conversation = Conversation(Settings())
        conversation.warm()
        await conversation.close()
        assert conversation.pid is None


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
