"""One turn on one leased process: what becomes of the turn, and of the process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from hotclaude_kernel.claude.events import Block, Decided, ToolResult
from hotclaude_kernel.claude.transport import spawn
from hotclaude_kernel.conversation import live as live_module
from hotclaude_kernel.conversation.live import Live
from hotclaude_kernel.errors import Interrupted
from hotclaude_kernel.modelserver.replies import Failure, Gate, Reply, ToolUse, Wait
from hotclaude_kernel.modelserver.script import Script
from hotclaude_kernel.pool.pool import Pool
from hotclaude_kernel.pool.warm import Limits, Place
from hotclaude_kernel.record.notebook import Record
from hotclaude_kernel.turns.identity import turn_key
from hotclaude_kernel.turns.prompt import Prompt
from hotclaude_kernel.turns.settings import Settings
from hotclaude_kernel.turns.turn import Turn

from ..support.book import Book, prompts
from ..support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hotclaude_kernel.claude.events import Event
    from hotclaude_kernel.modelserver.server import ModelServer
    from hotclaude_kernel.pool.warm import Warm

pytestmark = [pytest.mark.wire, pytest.mark.usefixtures("isolated")]

PLACE = Place(Settings())


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[Pool, Record]]:
    """A pool, and the record that it starts processes from; no conversation."""
    record = Record()
    pool = Pool(record, limits=Limits(spares=0, processes=0))
    try:
        yield pool, record
    finally:
        await pool.close()
        record.close()


def asked(pool: Pool, text: str, events: list[Event] | None = None, **options: Any) -> Live:
    turn = Turn(prompt=Prompt(text=text), uuid=str(uuid.uuid4()), number=1)
    return Live(pool, PLACE, turn, (events if events is not None else []).append, **options)


class TestAtOnce:
    @pytest.mark.long
    async def test_turns_at_one_place_are_asked_side_by_side_and_move_nothing(
        self, server: ModelServer
    ) -> None:
        gate = Gate()
        server.model = lambda request: Reply(f"said {request.prompt}", Wait(gate))
        async with opened() as (pool, record):
            lives = [asked(pool, text) for text in "abc"]
            running = [asyncio.ensure_future(live.ask()) for live in lives]
            await eventually(lambda: len(server.requests) == 3, "all three are asked")
            assert len({warm.session.pid for warm in pool.leased}) == 3
            gate.open()
            turns = await asyncio.gather(*running)
            assert [turn.text for turn in turns] == ["said a", "said b", "said c"]
            assert all(prompts(request) == [request.prompt] for request in server.requests)
            assert (pool.leased, len(pool.parked)) == ([], 3)
            assert record.branches.head is None

    async def test_the_turn_has_all_that_is_recorded_of_it(self) -> None:
        async with opened() as (pool, record):
            turn = await asked(pool, "hello").ask()
            assert turn.recorded is not None
            assert turn.recorded.node.uuid == turn.uuid
            assert turn.recorded.answer == turn.text == "ok"
            assert turn.recorded.entries
            assert record.branches.nodes == {}


class TestTheProcess:
    async def test_it_is_parked_after_a_turn_and_knows_it(self) -> None:
        async with opened() as (pool, _):
            turn = await asked(pool, "hello").ask()
            (warm,) = pool.parked
            assert warm.ids == (turn.node,)

    async def test_a_prompt_without_an_answer_is_cut_out_of_its_history(
        self, server: ModelServer
    ) -> None:
        server.model = lambda request: Failure(400) if "bad" in request.prompt else Reply("fine")
        async with opened() as (pool, _):
            turn = await asked(pool, "bad").ask()
            assert (turn.status, turn.cut, turn.recorded) == ("error", True, None)
            (warm,) = pool.parked
            await asked(pool, "good").ask()
            assert pool.parked == [warm]
            assert prompts(server.requests[-1]) == ["good"]

    async def test_one_that_dies_in_the_turn_is_gone(self, server: ModelServer) -> None:
        gate = Gate()
        server.model = Script([Reply("half", Wait(gate))])
        async with opened() as (pool, _):
            events: list[Event] = []
            running = asyncio.ensure_future(asked(pool, "hello", events).ask())
            await eventually(lambda: events, "it answers")
            os.kill(pool.leased[0].session.pid or 0, signal.SIGKILL)
            turn = await running
            assert (turn.status, turn.lost, turn.recorded) == ("crashed", True, None)
            assert (pool.leased, pool.parked) == ([], [])
            gate.open()

    async def test_one_whose_turn_is_given_up_is_ended(self, server: ModelServer) -> None:
        gate = Gate()
        server.model = Script([Reply("half", Wait(gate))])
        async with opened() as (pool, _):
            live = asked(pool, "hello")
            running = asyncio.ensure_future(live.ask())
            await eventually(lambda: live.running, "it is asked")
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert (live.turn.status, live.turn.lost) == ("interrupted", True)
            assert (pool.leased, pool.parked) == ([], [])
            gate.open()

    @pytest.mark.parametrize("where", ["recorded", "outcome"])
    async def test_no_exception_keeps_it(self, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """A failure of ours while the turn is closed: nobody knows what the process holds."""

        def broken(*_: Any, **__: Any) -> Any:
            raise ZeroDivisionError

        async with opened() as (pool, _):
            with monkeypatch.context() as patch:
                patch.setattr(live_module, where, broken)
                with pytest.raises(ZeroDivisionError):
                    await asked(pool, "hello").ask()
            assert (pool.leased, pool.parked) == ([], [])
            assert (await asked(pool, "again").ask()).text == "ok"

    async def test_an_exception_of_the_page_does_not_either(self) -> None:
        def broken(_: Event) -> None:
            raise ZeroDivisionError

        async with opened() as (pool, _):
            turn = Turn(prompt=Prompt(text="hello"), uuid=str(uuid.uuid4()), number=1)
            with pytest.raises(ZeroDivisionError):
                await Live(pool, PLACE, turn, broken).ask()
            assert (pool.leased, pool.parked) == ([], [])

    async def test_a_lease_that_ends_well_lends_the_same_process_again(self) -> None:
        async with opened() as (pool, _):
            lent: list[Warm] = []
            for _ in range(2):
                async with pool.lease(PLACE) as warm:
                    assert pool.leased == [warm]
                    lent.append(warm)
            assert lent[0] is lent[1]


class TestStopping:
    @pytest.mark.long
    async def test_what_was_said_so_far_stays(self, server: ModelServer) -> None:
        gate = Gate()
        server.model = Script([Reply("half", Wait(gate))])
        async with opened() as (pool, _):
            events: list[Event] = []
            live = asked(pool, "hello", events)
            running = asyncio.ensure_future(live.ask())
            await eventually(lambda: any("half" in repr(e) for e in events), "it answers")
            await live.interrupt()
            turn = await running
            assert isinstance(turn.error, Interrupted)
            assert turn.recorded is not None
            assert turn.recorded.node.status == "interrupted"
            assert len(pool.parked) == 1
            gate.open()

    @pytest.mark.long
    async def test_before_it_is_asked_there_is_nothing_to_stop(self) -> None:
        async with opened() as (pool, _):
            live = asked(pool, "hello")
            await live.interrupt()
            assert (await live.ask()).status == "ok"


USE = ToolUse("Bash", {"command": "touch made", "description": "make it"})


class TestDeciding:
    async def test_what_the_user_decided_is_an_event_of_the_turn(self, server: ModelServer) -> None:
        server.model = Script([Reply(USE), Reply("went on")])

        async def permit(_: Any) -> tuple[dict[str, Any], str]:
            return {"behavior": "deny", "message": "no"}, "Denied"

        async with opened() as (pool, _):
            events: list[Event] = []
            turn = await asked(pool, "make it", events, permit=permit).ask()
            assert turn.recorded is not None
            for heard in (events, turn.events, turn.recorded.events):
                kinds = [e for e in heard if isinstance(e, Decided | ToolResult)]
                assert [type(e) for e in kinds] == [Decided, ToolResult]
                assert kinds[0] == Decided(tool_use_id=kinds[0].tool_use_id, decision="Denied")

    @pytest.mark.long
    async def test_where_nobody_can_be_asked_it_is_denied(self, server: ModelServer) -> None:
        server.model = Script([Reply(USE), Reply("went on")])
        async with opened() as (pool, _):
            turn = await asked(pool, "make it").ask()
            (result,) = [e for e in turn.events if isinstance(e, ToolResult)]
            assert result.is_error
            assert not any(isinstance(e, Block) and e.error for e in turn.events)


class TestTheKey:
    async def test_a_file_that_changes_during_the_turn_changes_no_key(
        self, server: ModelServer, home: Path, notebook_path: Path
    ) -> None:
        """It is stored under the key that it was asked under, and so replays under it."""
        config = home / "work" / "mcp.json"
        config.write_text(json.dumps({"mcpServers": {}}))
        settings = Settings(mcp_config=str(config))
        key = turn_key(parent=None, prompt=Prompt(text="hello"), settings=settings)

        def model(_: Any) -> Reply:
            config.write_text(json.dumps({"mcpServers": {"s": {"command": "true"}}}))
            return Reply("changed")

        server.model = model
        book = Book(notebook_path)
        book.conversation.position.settings = settings
        try:
            turn = await book.run("a", "hello")
            assert turn.key.turn == key
            assert [found.node for found in book.conversation.record.candidates(key)] == [turn.node]
        finally:
            await book.conversation.close()


class TestThreads:
    def test_a_process_is_started_on_the_main_thread_only(self, tmp_path: Path) -> None:
        """Its parent-death signal comes when the thread ends that started it."""
        raised: list[BaseException] = []

        def start() -> None:
            try:
                spawn(["/bin/true"], str(tmp_path))
            except RuntimeError as error:
                raised.append(error)

        thread = threading.Thread(target=start)
        thread.start()
        thread.join()
        assert "main thread" in str(raised[0])
