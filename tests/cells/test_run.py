"""Running one cell without a kernel: a conversation, a page and outputs that are kept."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.cells.run import SHOWN_AGAIN, Cell, Cells, Outcome
from hotclaude_kernel.conversation.conversation import Conversation
from hotclaude_kernel.errors import Interrupted, ReplayMiss, UsageError
from hotclaude_kernel.modelserver.replies import Gate, Hold, Reply, ToolUse, Wait
from hotclaude_kernel.modelserver.script import Script
from hotclaude_kernel.page.notebook import NotebookPage
from hotclaude_kernel.questions.decide import Choice, Verdict
from hotclaude_kernel.record.database import MEMORY
from hotclaude_kernel.turns.settings import Settings

from ..support.askers import Bystander

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hotclaude_kernel.claude.frames import Frame
    from hotclaude_kernel.claude.session import PermissionRequest
    from hotclaude_kernel.modelserver.server import ModelServer
    from hotclaude_kernel.page.parts import Data
    from hotclaude_kernel.questions.decide import Asker
    from hotclaude_kernel.questions.rules import Rule

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
WRITE = ToolUse("Write", {"file_path": "made.txt", "content": "hello"})


@dataclass
class Outputs:
    """One cell's outputs, as a notebook would save them."""

    shown: dict[str, Data] = field(default_factory=dict)
    about: list[Frame] = field(default_factory=list)
    streams: list[tuple[str, str]] = field(default_factory=list)
    results: list[str] = field(default_factory=list)

    def show(
        self, data: Data, display_id: str, *, update: bool = False, about: Frame | None = None
    ) -> None:
        assert update == (display_id in self.shown)
        self.shown[display_id] = data
        self.about += [about] if about else []

    def stream(self, text: str, name: str = "stdout") -> None:
        self.streams.append((name, text))

    def result(self, text: str) -> None:
        self.results.append(text)

    def clear(self) -> None:
        self.shown.clear()

    @property
    def markdown(self) -> str:
        return "".join(data.get("text/markdown", "") for data in self.shown.values())

    @property
    def plain(self) -> str:
        return "\n".join(data.get("text/plain", "") for data in self.shown.values())


class Yes(Bystander):
    """A user who allows everything, and how often they were asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    async def permission(
        self, request: PermissionRequest, about: str, rule: Rule | None
    ) -> Verdict:
        self.asked.append(request.tool_name)
        return Verdict(allow=True)

    async def plan(self, plan: str) -> Verdict:
        return Verdict(allow=True)

    async def choice(self, choice: Choice) -> str:
        return choice.labels[0]


class Host:
    """The least that a host of cells does: an output and a page for each of them."""

    def __init__(self, conversation: Conversation, *, footer: bool = True) -> None:
        self.conversation = conversation
        self.cells = Cells(conversation, footer=footer)
        self.outputs = Outputs()
        self.asker: Asker | None = None

    async def run(self, code: str, *, id_: str | None = "a", client: str = "page") -> Outcome:
        """Run a cell; `outputs` are those of the cell that was run last."""
        self.outputs = Outputs()
        cell = Cell(code=code, id=id_, client=client)
        return await self.cells.run(cell, NotebookPage(self.outputs), self.asker)


class TestWithoutAProcess:
    """Where turns are only replayed, nothing is started and nothing needs to be installed."""

    @pytest.fixture
    async def host(self) -> AsyncIterator[Host]:
        conversation = Conversation(Settings(), mode="none", store=MEMORY)
        yield Host(conversation)
        await conversation.close()

    async def test_a_miss_is_raised_and_shows_nothing(self, host: Host) -> None:
        with pytest.raises(ReplayMiss):
            await host.run("hello")
        assert host.outputs == Outputs()
        assert host.conversation.turns == []
        assert host.conversation.pid is None

    async def test_a_line_alone_is_no_turn(self, host: Host) -> None:
        outcome = await host.run("%rerun append\n%rerun")
        assert outcome == Outcome(value="append")
        assert host.outputs.results == ["append"]
        assert host.outputs.plain == "❖ a cell that is run again: append"

    async def test_help_goes_to_the_pager(self, host: Host) -> None:
        outcome = await host.run("%rerun?\n%new?")
        assert [page.partition(":")[0] for page in outcome.help_pages] == [
            "`%rerun append`",
            "`%new`",
        ]
        assert host.outputs == Outputs()

    async def test_clear_takes_away_what_the_lines_above_showed(self, host: Host) -> None:
        await host.run("%rerun append\n%clear\n%rerun fork")
        assert host.outputs.plain == "❖ a cell that is run again: fork"

    async def test_lines_before_a_wrong_one_are_carried_out(self, host: Host) -> None:
        with pytest.raises(UsageError, match="There is no %modle"):
            await host.run("%rerun append\n%modle opus\n%rerun fork\nhello")
        assert host.conversation.position.rerun == "append"

    @pytest.mark.parametrize(
        ("code", "said"),
        [
            ("%%bash\nls", "There is no cell magic %%bash"),
            ("%attach plot.png", "There is no prompt to send the image with"),
            ("%attach plot.png\nWhat is this?", "The image plot.png can't be read"),
            ("%params a=1\nSay {{b}}", "There is no parameter b"),
            ("%compact\nhello", "/compact is a turn of its own"),
        ],
    )
    async def test_what_can_not_be_followed_asks_nothing(
        self, host: Host, code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(UsageError) as caught:
            await host.run(code)
        assert said in caught.value.message
        assert host.conversation.turns == []

    async def test_only_a_console_takes_exit_for_a_mistake(self, host: Host) -> None:
        page = NotebookPage(host.outputs)
        with pytest.raises(UsageError, match="exit would be sent to Claude"):
            await host.cells.run(Cell(code="exit", stdin=True), page)
        with pytest.raises(ReplayMiss):
            await host.run("exit")


@pytest.mark.wire
@pytest.mark.usefixtures("isolated")
class TestTurns:
    @pytest.fixture
    async def host(self) -> AsyncIterator[Host]:
        conversation = Conversation(Settings())
        yield Host(conversation)
        await conversation.close()

    async def test_a_prompt(self, host: Host, server: ModelServer) -> None:
        server.model = Script(["Hello **there**."])
        outcome = await host.run("greet me")
        assert outcome.value == "Hello **there**."
        assert outcome.turn is host.conversation.turns[0]
        assert outcome.help_pages == ()
        assert host.outputs.markdown == "Hello **there**."
        assert server.requests[0].turns[-1].prompt == "greet me"

    async def test_the_footer_has_the_numbers_and_names_the_turn(
        self, host: Host, server: ModelServer
    ) -> None:
        outcome = await host.run("one", id_="a")
        assert outcome.turn is not None
        assert "tokens in" in host.outputs.plain
        assert host.outputs.about == [outcome.turn.about]
        host.cells.footer = False
        outcome = await host.run("two", id_="b")
        assert outcome.turn is not None
        assert "tokens in" not in host.outputs.plain
        assert host.outputs.about == [outcome.turn.about]

    @pytest.mark.long
    async def test_a_line_and_a_prompt(self, host: Host, server: ModelServer) -> None:
        outcome = await host.run("%model mine\nhello")
        assert server.requests[-1].model == "mine"
        assert outcome.value == "ok"
        assert [name for name, _ in host.outputs.streams] == ["stderr"]  # it is in no list
        assert host.outputs.plain.startswith("❖ model: mine")

    async def test_a_parameter(self, host: Host, server: ModelServer) -> None:
        await host.run("%params topic=cats\nSay {{topic}}", id_="a")
        await host.run("Again, {{topic}}", id_="b")
        prompts = [exchange.prompt for exchange in server.requests[-1].turns]
        assert prompts == ["Say cats", "Again, cats"]

    @pytest.mark.long
    async def test_an_image(self, host: Host, server: ModelServer, home: Path) -> None:
        (home / "work" / "plot.png").write_bytes(PNG)
        outcome = await host.run("%attach plot.png\nWhat is this?")
        assert outcome.turn is not None
        assert [image.name for image in outcome.turn.prompt.attachments] == ["plot.png"]
        content = server.requests[-1].messages[0]["content"]
        sent = [block["source"]["media_type"] for block in content if block["type"] == "image"]
        assert sent == ["image/png"]

    async def test_refresh_asks_what_is_recorded_again(
        self, host: Host, server: ModelServer
    ) -> None:
        server.model = Script(["first", "second"])
        await host.run("hello")
        outcome = await host.run("%%refresh\nhello")
        assert outcome.value == "second"
        assert len(server.requests) == 2
        assert "Rewound before turn 1; turn 1 is branch branch-1" in host.outputs.plain

    @pytest.mark.long
    async def test_the_same_answer_again_shows_what_it_showed_and_leaves_nothing(
        self, host: Host, server: ModelServer
    ) -> None:
        host.cells.footer = False
        server.model = Script(["first", "second", "first"])
        await host.run("one", id_="a")
        shown = list(host.outputs.shown.values())
        await host.run("two", id_="b")
        await host.run("one", id_="a")
        assert len(server.requests) == 3
        assert list(host.outputs.shown.values()) == shown
        assert list(host.conversation.branches.branches) == ["main"]
        await host.run("three", id_="c")
        assert "Rewound before turn 2; turn 2 is branch branch-1" in host.outputs.plain

    @pytest.mark.long
    async def test_another_page_that_refreshes_asks_again(
        self, host: Host, server: ModelServer
    ) -> None:
        server.model = Script(["first", "second"])
        await host.run("hello", client="page")
        outcome = await host.run("%%refresh\nhello", client="reloaded")
        assert outcome.value == "second"
        assert SHOWN_AGAIN not in host.outputs.plain
        assert len(server.requests) == 2

    @pytest.mark.long
    @pytest.mark.parametrize("line", ["%effort high", "%system Be brief.", "%tools none"])
    async def test_another_page_that_changes_a_setting_asks_another_question(
        self, host: Host, server: ModelServer, line: str
    ) -> None:
        server.model = Script(["first", "second"])
        await host.run("hello", client="page")
        outcome = await host.run(f"{line}\nhello", client="reloaded")
        assert outcome.value == "second"
        assert SHOWN_AGAIN not in host.outputs.plain
        assert len(server.requests) == 2

    async def test_settings_of_a_cell_of_their_own_make_another_question_too(
        self, host: Host, server: ModelServer
    ) -> None:
        server.model = Script(["first", "second"])
        await host.run("hello", client="page")
        await host.run("%effort high", id_="b", client="reloaded")
        assert (await host.run("hello", client="reloaded")).value == "second"
        assert len(server.requests) == 2

    async def test_where_turns_are_appended_another_page_is_shown_the_answer_too(
        self, host: Host, server: ModelServer
    ) -> None:
        host.conversation.position.rerun = "append"
        first = await host.run("hello", client="page")
        assert (await host.run("hello", client="reloaded")).turn is first.turn
        assert len(server.requests) == 1

    @pytest.mark.long
    async def test_another_client_is_shown_the_answer_once(
        self, host: Host, server: ModelServer
    ) -> None:
        server.model = Script(["first", "second"])
        first = await host.run("hello", client="page")
        markdown = host.outputs.markdown
        again = await host.run("hello", client="reloaded")
        assert again.turn is first.turn
        assert host.outputs.markdown == markdown
        assert SHOWN_AGAIN in host.outputs.plain
        assert len(server.requests) == 1
        assert (await host.run("hello", client="reloaded")).value == "second"

    @pytest.mark.long
    async def test_a_client_that_came_while_it_ran_has_had_the_answer(
        self, host: Host, server: ModelServer
    ) -> None:
        gate = Gate()
        server.model = Script([Reply(Wait(gate), "first"), "second"])
        running = asyncio.create_task(host.run("hello", client="page"))
        await asyncio.to_thread(gate.wait_reached)
        host.cells.move_to("reloaded")
        gate.open()
        assert (await running).value == "first"
        assert (await host.run("hello", client="reloaded")).value == "second"

    async def test_a_permission_is_asked_and_its_decision_shown_again(
        self, host: Host, server: ModelServer, home: Path
    ) -> None:
        server.model = Script([Reply(WRITE)], default="went on")
        host.asker = Yes()
        await host.run("write it", client="page")
        assert host.asker.asked == ["Write"]
        assert (home / "work" / "made.txt").read_text() == "hello"
        markdown = host.outputs.markdown
        assert markdown.count("allowed once") == 1
        await host.run("write it", client="reloaded")
        assert host.outputs.markdown == markdown
        assert host.asker.asked == ["Write"]

    @pytest.mark.long
    async def test_where_nobody_can_be_asked_it_is_denied(
        self, host: Host, server: ModelServer, home: Path
    ) -> None:
        server.model = Script([Reply(WRITE)], default="went on")
        outcome = await host.run("write it")
        assert outcome.value == "went on"
        assert "nobody can be asked here" in host.outputs.markdown
        assert not (home / "work" / "made.txt").exists()

    async def test_an_interrupt_ends_the_turn_and_the_next_goes_on(
        self, host: Host, server: ModelServer
    ) -> None:
        gate = Gate()
        server.model = Script([Reply("half ", Wait(gate))], default="went on")
        running = asyncio.create_task(host.run("hello", id_="a"))
        await asyncio.to_thread(gate.wait_reached)
        await host.conversation.interrupt()
        with pytest.raises(Interrupted):
            await running
        assert (await host.run("and now?", id_="b")).value == "went on"

    @pytest.mark.long
    async def test_a_cancelled_cell_leaves_nothing(self, host: Host, server: ModelServer) -> None:
        server.model = Script([Hold()], default="went on")
        running = asyncio.create_task(host.run("never answered", id_="a"))
        await asyncio.to_thread(server.wait_for_requests, 1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert host.conversation.branches.path == []
        assert not host.conversation.running
        assert (await host.run("and now?", id_="b")).value == "went on"
        prompts = [exchange.prompt for exchange in server.requests[-1].turns]
        assert prompts == ["and now?"]
        assert "without the unfinished turn" in host.outputs.plain
