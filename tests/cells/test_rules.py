"""Rules of a session, with the real binary: what they let run unasked, and where they hold."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.conversation.conversation import Conversation
from hotclaude_kernel.errors import Crashed
from hotclaude_kernel.modelserver.replies import Reply, ToolUse
from hotclaude_kernel.modelserver.script import Script
from hotclaude_kernel.questions.decide import Choice, Verdict
from hotclaude_kernel.turns.settings import Settings

from ..support.askers import Bystander
from ..support.book import QUIET
from ..support.waiting import eventually
from .test_run import Host

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hotclaude_kernel.claude.session import PermissionRequest
    from hotclaude_kernel.modelserver.request import Request
    from hotclaude_kernel.modelserver.script import Model
    from hotclaude_kernel.modelserver.server import ModelServer
    from hotclaude_kernel.questions.rules import Rule

pytestmark = [pytest.mark.wire, pytest.mark.usefixtures("isolated")]

TOUCH = "touch aa"
RULE = "The rule of this session for `touch aa *`"


class Lasting(Bystander):
    """A user who allows things for the session where that is offered, and else refuses.

    With `once` they allow everything, but nothing for the session.
    """

    once = False

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.offered: list[str] = []

    async def permission(
        self, request: PermissionRequest, about: str, rule: Rule | None
    ) -> Verdict:
        self.asked.append(request.tool_input["command"])
        self.offered.append(rule.text if rule else "")
        lasts = rule is not None and not self.once
        return Verdict(allow=lasts or self.once, lasts=lasts)

    async def plan(self, plan: str) -> Verdict:
        return Verdict(allow=True)

    async def choice(self, choice: Choice) -> str:
        return ""


class Desk(Host):
    """A host of cells whose model calls Bash, and a user who is asked about it."""

    def __init__(self, server: ModelServer) -> None:
        super().__init__(Conversation(Settings(), limits=QUIET))
        self.server = server
        self.asker = self.user = Lasting()

    async def bash(self, *commands: str, id_: str = "a", then: Model | str = "ok") -> str:
        """Run a cell in which the model calls Bash; return what the cell shows."""
        uses = [
            Reply(ToolUse("Bash", {"command": command, "description": "d"}, id=f"toolu_{id_}{n}"))
            for n, command in enumerate(commands)
        ]
        self.server.model = Script([*uses, then])
        self.user.asked.clear()
        self.user.offered.clear()
        await self.run(f"run {commands[0]}", id_=id_)
        return self.outputs.plain + self.outputs.markdown

    @property
    def holding(self) -> list[str]:
        return [rule.text for rule in self.conversation.position.rules.holding]


@pytest.fixture
def work(home: Path) -> Path:
    """The folder that claude works in."""
    return home / "work"


@pytest.fixture
async def desk(server: ModelServer, work: Path) -> AsyncIterator[Desk]:
    made = Desk(server)
    yield made
    await made.conversation.close()


class TestWhatRuns:
    async def test_a_rule_allows_what_it_says_and_the_card_names_it(
        self, desk: Desk, work: Path
    ) -> None:
        shown = await desk.bash(TOUCH, "touch aa bb", "touch aa; touch cc", id_="a")
        assert "allowed for this session: \\`touch aa \\*\\`" in shown
        assert desk.user.asked == [TOUCH, "touch aa; touch cc"]
        assert desk.user.offered == ["`touch aa *`", "`touch aa; touch cc`"]
        assert "allowed by the rule of this session for \\`touch aa \\*\\`, done" in shown
        await desk.bash("touch aa dd", "rm -rf dd", id_="b")
        assert desk.user.asked == ["rm -rf dd"]
        assert (work / "bb").exists()
        assert not (work / ".claude").exists()

    @pytest.mark.parametrize(
        "command",
        [
            "touch $(echo bb)",
            pytest.param("cd /tmp && touch zz; true", marks=pytest.mark.long),
            pytest.param("cat <<E > f\nhi\nE", marks=pytest.mark.long),
        ],
    )
    async def test_what_has_no_honest_rule_offers_none(self, command: str, desk: Desk) -> None:
        await desk.bash(command, "mkdir -p x; rm -rf y")
        assert desk.user.asked == [command, "mkdir -p x; rm -rf y"]
        assert desk.user.offered[0] == ""

    @pytest.mark.long
    async def test_a_script_on_standard_input_is_no_other_script(self, desk: Desk) -> None:
        """By the rule that claude suggests for the first, the second would run."""
        one, two = (f"python - <<'E'\nprint({n})\nE" for n in (1, 2))
        await desk.bash(one, two)
        assert desk.user.asked == [one, two]

    @pytest.mark.long
    async def test_a_new_process_has_the_same_rules(self, desk: Desk) -> None:
        await desk.bash(TOUCH, id_="a")
        pid = desk.conversation.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: desk.conversation.pid != pid, "it is gone")
        await desk.bash("touch aa bb", "touch bb", id_="b")
        assert desk.conversation.pid != pid
        assert desk.user.asked == ["touch bb"]


class TestWhereTheyHold:
    @pytest.mark.long
    async def test_revoked_it_is_asked_again(self, desk: Desk) -> None:
        await desk.bash(TOUCH, id_="a")
        await desk.run("%revoke 1")
        assert desk.holding == []
        await desk.bash(TOUCH, id_="b")
        assert desk.user.asked == [TOUCH]

    async def test_a_rewind_to_before_it_withdraws_it_and_says_so(self, desk: Desk) -> None:
        await desk.bash(TOUCH, id_="a")
        pid = desk.conversation.pid
        shown = await desk.bash("touch aa bb", id_="a")
        assert f"{RULE} does not hold here" in shown
        assert desk.user.asked == ["touch aa bb"]
        # The new turn has made it anew.
        assert desk.holding == ["`touch aa *`"]
        assert desk.conversation.pid == pid

    @pytest.mark.long
    async def test_a_turn_that_comes_out_the_same_has_only_its_own_rules(self, desk: Desk) -> None:
        """Its node is the one of before, in which the user had allowed more."""
        await desk.bash(TOUCH, id_="a")
        await desk.bash(TOUCH, id_="b")
        assert desk.user.asked == []

        first, _ = desk.conversation.branches.path
        desk.user.once = True
        await desk.bash(TOUCH, id_="a")
        assert desk.user.asked == [TOUCH]
        assert desk.conversation.branches.path == [first]
        assert desk.holding == []

    @pytest.mark.long
    async def test_they_follow_the_conversation_to_its_branches(self, desk: Desk) -> None:
        await desk.bash(TOUCH, id_="a")
        await desk.run("%new")
        assert f"{RULE} does not hold here" in desk.outputs.plain
        assert desk.holding == []
        await desk.bash("touch bb", id_="b")
        [old] = set(desk.conversation.branches.branches) - {desk.conversation.branches.current}
        await desk.run(f"%checkout {old}")
        assert f"{RULE} holds here again" in desk.outputs.plain
        assert desk.holding == ["`touch aa *`"]
        await desk.run("%goto start")
        await desk.run("%revoke")  # also where the conversation is not
        await desk.run(f"%checkout {old}")
        assert desk.holding == []

    @pytest.mark.long
    async def test_a_replayed_turn_allows_nothing(self, desk: Desk) -> None:
        await desk.bash(TOUCH, id_="a")
        await desk.run("%new")
        await desk.run(f"run {TOUCH}", id_="c")
        assert desk.conversation.turns[-1].replayed
        assert desk.holding == []

    @pytest.mark.long
    async def test_a_turn_that_left_nothing_takes_its_rules_with_it(self, desk: Desk) -> None:

        def dies(request: Request) -> Reply:
            os.kill(desk.conversation.pid or 0, signal.SIGKILL)
            return Reply("too late")

        with pytest.raises(Crashed):
            await desk.bash(TOUCH, then=dies)
        assert f"{RULE} does not hold here" in desk.outputs.plain
        assert desk.holding == []
        await desk.bash(TOUCH)
        assert desk.user.asked == [TOUCH]

    @pytest.mark.long
    async def test_they_hold_in_one_folder(self, desk: Desk, work: Path) -> None:
        await desk.bash(TOUCH, id_="a")
        (work / "sub").mkdir()
        await desk.run("%cwd sub")
        assert desk.holding == []
        await desk.run("%cwd ..")
        assert desk.holding == ["`touch aa *`"]
