"""Replaying recorded turns: the same events without a process, then going on live."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import pytest

from hotclaude_kernel.claude.events import Block, Delta, Event, ToolResult
from hotclaude_kernel.errors import ReplayMiss
from hotclaude_kernel.modelserver.demo import demo_model
from hotclaude_kernel.modelserver.replies import Reply, Text, Thinking, ToolUse
from hotclaude_kernel.modelserver.script import Script
from hotclaude_kernel.turns.prompt import Attachment, Prompt

from ..support.book import Book, prompts, sent, written

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hotclaude_kernel.modelserver.server import ModelServer
    from hotclaude_kernel.turns.turn import Turn

pytestmark = [pytest.mark.wire, pytest.mark.usefixtures("isolated")]

RICH = (
    Thinking("let me see"),
    Text("First **this**.", chunk=4),
    ToolUse("Bash", {"command": "echo from-bash", "description": "say it"}),
)


class Replayer(Book):
    """A notebook whose cells are run as after a restart: what is recorded is replayed."""

    def __init__(self, path: Path | None, **options: Any) -> None:
        super().__init__(path, **options)
        self.events: list[Event] = []

    async def run(self, cell: str | None, text: str, **more: Any) -> Turn:
        prompt = Prompt(text=text, cell_id=cell, **more)
        try:
            return await self.conversation.ask(prompt, self.events.append)
        finally:
            await self.conversation.settle()

    def shown(self) -> list[Event]:
        """What lasts of what was shown, without what names a moment."""
        found: list[Event] = []
        for event in self.events:
            match event:
                case Block():
                    found.append(Block(**fields(event) | {"uuid": ""}))
                case ToolResult():
                    found.append(ToolResult(**fields(event) | {"uuid": ""}))
        return found


def fields(event: Any) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__slots__}


@pytest.fixture
async def book(home: Path) -> AsyncIterator[Replayer]:
    made = Replayer(written(home / "work" / "book.ipynb"))
    yield made
    await made.conversation.close()


class TestReplay:
    async def test_all_cells_after_a_restart_without_a_request_or_a_process(
        self, book: Replayer, server: ModelServer
    ) -> None:
        server.model = Script([Reply(*RICH), "done", "second"])
        first = [await book.run("a", "go"), await book.run("b", "more")]
        live, requests = book.shown(), len(server.requests)
        await book.restart()
        book.events = []
        again = [await book.run("a", "go"), await book.run("b", "more")]
        assert book.shown() == live
        assert len(server.requests) == requests
        assert book.conversation.pool.tally.spawned == 0
        for then, now in zip(first, again, strict=True):
            assert now.replayed
            assert (now.text, now.usage, now.model) == (then.text, then.usage, then.model)
            assert now.first_text_s == then.first_text_s
            assert now.total_s == then.total_s

    @pytest.mark.long
    async def test_it_makes_no_branches(self, book: Replayer) -> None:
        await book.run_all("a", "b", "c")
        await book.restart()
        await book.run_all("a", "b", "c")
        assert list(book.branches) == ["main"]
        assert len(book.branches["main"]) == 3
        assert "Rewound" not in book.said()

    @pytest.mark.long
    async def test_from_the_first_changed_cell_it_is_live_on_the_same_bytes(
        self, book: Replayer, server: ModelServer
    ) -> None:
        server.model = Script([Reply(*RICH), "done"], default="fine")
        await book.run_all("a", "b")
        await book.run("c", "the third")
        original = sent(server.requests[-1])
        await book.restart()
        await book.run_all("a", "b")
        count = len(server.requests)
        await book.run("c", "the third, edited")
        assert len(server.requests) == count + 1
        assert sent(server.requests[-1]) == original.replace("the third", "the third, edited")

    @pytest.mark.long
    async def test_an_edit_in_the_middle_makes_what_follows_live(
        self, book: Replayer, server: ModelServer
    ) -> None:
        server.model = lambda request: Reply(f"answer to {request.prompt}")
        await book.run_all("a", "b", "c")
        await book.restart()
        count = len(server.requests)
        await book.run_all("a")
        assert len(server.requests) == count
        await book.run("b", "edited b")
        await book.run_all("c")
        assert len(server.requests) == count + 2
        assert prompts(server.requests[-1]) == ["prompt a", "edited b", "prompt c"]

    async def test_another_notebook_is_asked_the_same_cells_anew(
        self, book: Replayer, server: ModelServer, home: Path
    ) -> None:
        """Even beside it: "run the tests" is another question in another notebook."""
        server.model = Script(["one", "two"], default="fine")
        await book.run("a", "prompt a")
        other = Replayer(written(home / "work" / "other.ipynb", "uvw"))
        try:
            assert (await other.run("u", "prompt a")).text == "two"
        finally:
            await other.conversation.close()
        await book.restart()
        assert (await book.run("a", "prompt a")).text == "one"
        assert len(server.requests) == 2

    async def test_asked_again_the_newest_answer_replays(
        self, book: Replayer, server: ModelServer
    ) -> None:
        server.model = Script(["one", "two"])
        prompt = Prompt(text="say", cell_id="a")
        await book.run("a", "say")
        await book.conversation.ask(prompt, book.events.append, again=True)
        await book.restart()
        assert (await book.run("a", "say")).text == "two"
        assert len(server.requests) == 2

    @pytest.mark.long
    async def test_pictures_are_part_of_what_is_asked(
        self, book: Replayer, server: ModelServer
    ) -> None:
        def picture(data: bytes) -> tuple[Attachment, ...]:
            return (Attachment(name="p.png", media_type="image/png", data=data),)

        await book.run("a", "look", attachments=picture(b"\x89PNG\r\n\x1a\n1"))
        await book.restart()
        await book.run("a", "look", attachments=picture(b"\x89PNG\r\n\x1a\n1"))
        assert len(server.requests) == 1
        await book.restart()
        await book.run("a", "look", attachments=picture(b"\x89PNG\r\n\x1a\n2"))
        assert len(server.requests) == 2

    @pytest.mark.long
    async def test_at_the_recorded_pace_the_deltas_come_again(
        self, book: Replayer, server: ModelServer
    ) -> None:
        server.model = Script([Reply(Text("one two three four", words_per_s=100))])
        await book.run("a", "count")
        live = [e.text for e in book.events if isinstance(e, Delta)]
        await book.restart()
        book.events, book.conversation.pace = [], "recorded"
        turn = await book.run("a", "count")
        assert [e.text for e in book.events if isinstance(e, Delta)] == live
        assert len(live) > 1
        assert turn.text == "one two three four"

    @pytest.mark.long
    async def test_an_interrupted_turn_is_not_replayed(
        self, book: Replayer, server: ModelServer
    ) -> None:
        server.model = demo_model

        async def stop_at_text(event: Event) -> None:
            if isinstance(event, Delta):
                await book.conversation.interrupt()

        stopping: list[Any] = []

        def show(event: Event) -> None:
            import asyncio

            stopping.append(asyncio.ensure_future(stop_at_text(event)))

        with pytest.raises(Exception, match="Interrupted"):
            await book.conversation.ask(Prompt(text="count to 500", cell_id="a"), show)
        await book.restart()
        server.model = Script([], default="fresh")
        assert (await book.run("a", "count to 500")).text == "fresh"


class TestModes:
    async def test_none_never_asks(self, book: Replayer, server: ModelServer) -> None:
        await book.run_all("a")
        await book.restart()
        book.conversation.mode = "none"
        await book.run_all("a")
        with pytest.raises(ReplayMiss, match="nothing is asked"):
            await book.run_all("b")
        assert len(server.requests) == 1
        assert book.conversation.pool.tally.spawned == 0

    async def test_once_records_a_new_notebook_and_then_only_replays(
        self, book: Replayer, server: ModelServer
    ) -> None:
        book.conversation.mode = "once"
        await book.run_all("a", "b")
        await book.restart()
        book.conversation.mode = "once"
        await book.run_all("a", "b")
        with pytest.raises(ReplayMiss):
            await book.run_all("c")
        assert len(server.requests) == 2

    async def test_all_asks_always_and_records(self, book: Replayer, server: ModelServer) -> None:
        server.model = Script(["one", "two"])
        book.conversation.mode = "all"
        await book.run("a", "say")
        await book.run("a", "say")
        await book.restart()
        assert (await book.run("a", "say")).text == "two"
        assert len(server.requests) == 2

    @pytest.mark.long
    async def test_off_records_nothing_and_remembers_all_the_same(
        self, book: Replayer, server: ModelServer
    ) -> None:
        book.conversation.mode = "off"
        await book.run_all("a", "b")
        await book.run("b", "another b")
        assert prompts(server.requests[-1]) == ["prompt a", "another b"]
        with book.conversation.record.store.read() as db:
            assert db.execute("select count(*) from turn").fetchone() == (0,)
        await book.restart()
        await book.run_all("a")
        assert len(server.requests) == 4


class TestMisses:
    async def test_a_changed_prompt_is_shown_as_a_difference(self, book: Replayer) -> None:
        await book.run("a", "tell me\nof cats")
        await book.restart()
        book.conversation.mode = "none"
        with pytest.raises(ReplayMiss, match="its prompt differs") as caught:
            await book.run("a", "tell me\nof dogs")
        assert "-of cats" in caught.value.details
        assert "+of dogs" in caught.value.details
        assert "--record new_episodes" in caught.value.hint

    @pytest.mark.long
    async def test_changed_settings_are_listed(self, book: Replayer) -> None:
        await book.run_all("a")
        await book.restart()
        await book.conversation.change(model="haiku")
        book.conversation.mode = "none"
        with pytest.raises(ReplayMiss, match="its settings differ") as caught:
            await book.run_all("a")
        assert caught.value.details == ("model: recorded None, now 'haiku'",)

    @pytest.mark.long
    async def test_the_earlier_cell_that_changed_is_named(
        self, book: Replayer, server: ModelServer
    ) -> None:
        server.model = lambda request: Reply(f"answer to {request.prompt}")
        await book.run_all("a", "b")
        await book.restart()
        await book.run("a", "edited a")
        book.conversation.mode = "none"
        with pytest.raises(ReplayMiss, match="earlier cell changed: turn 1") as caught:
            await book.run_all("b")
        assert "-prompt a" in caught.value.details
        assert "+edited a" in caught.value.details

    async def test_a_prompt_that_was_recorded_earlier_is_not_called_a_change(
        self, book: Replayer
    ) -> None:
        await book.run_all("a", "b")
        book.conversation.mode = "none"
        why = "it was recorded as the first turn, and is asked after turn 2"
        with pytest.raises(ReplayMiss, match=why) as caught:
            await book.run("c", "prompt a")
        assert "+prompt a" in caught.value.details

    async def test_what_was_never_asked_is_said_so(self, book: Replayer) -> None:
        book.conversation.mode = "none"
        with pytest.raises(ReplayMiss, match="nothing like it"):
            await book.run_all("a")


class TestWithoutTheTranscript:
    @pytest.mark.long
    async def test_it_goes_on_from_what_the_recordings_say(
        self, book: Replayer, server: ModelServer
    ) -> None:
        server.model = Script([Reply(*RICH), "tools done"], default="fine")
        await book.run_all("a", "b")
        with book.conversation.record.store.write() as db:
            db.execute("insert into blob values ('none', 0, ?)", (zlib.compress(b""),))
            db.execute("update turn set entries = 'none'")
        await book.restart()
        await book.run_all("a", "b", "c")
        request = server.requests[-1]
        assert prompts(request) == ["prompt a", "prompt b", "prompt c"]
        assert [turn.answer for turn in request.turns[:2]] == [
            "First **this**.\n\ntools done",
            "fine",
        ]
        assert "from-bash" in request.body.decode()
        assert "rebuilt from their recordings" in book.said()
        # What is rebuilt can be rewound like anything else.
        await book.run("c", "another c")
        assert prompts(server.requests[-1]) == ["prompt a", "prompt b", "another c"]
