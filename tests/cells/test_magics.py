"""The `%` lines of a cell: where they end, what they do, and what they refuse."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from msgspec import structs

from hotclaude_kernel.cells.magics import registry, settings
from hotclaude_kernel.cells.magics.names import MAGICS
from hotclaude_kernel.cells.magics.registry import Answer, split
from hotclaude_kernel.claude.events import Usage
from hotclaude_kernel.claude.session import Greeting
from hotclaude_kernel.errors import ControlError, ProcessDied, UsageError
from hotclaude_kernel.page.markdown import render as markdown
from hotclaude_kernel.page.words import counted
from hotclaude_kernel.pool.warm import Limits, Place, Tally
from hotclaude_kernel.pool.withholding import Withholding
from hotclaude_kernel.questions.rules import Rule
from hotclaude_kernel.turns.prompt import Prompt
from hotclaude_kernel.turns.settings import EFFORTS, PERMISSION_MODES, Settings
from hotclaude_kernel.turns.tree import Branches, Node
from hotclaude_kernel.turns.turn import Clock, Turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hotclaude_kernel.claude.frames import Frame
    from hotclaude_kernel.conversation.conversation import Conversation

GREETING = Greeting(
    version="2.1.330",
    models=({"value": "default"}, {"value": "opus"}, {"value": "sonnet"}, {"value": "opus"}),
)


class FakeSession:
    """A process that answers one question."""

    pid = 4242
    greeting = GREETING

    def __init__(self, use: Frame | None) -> None:
        self._use = use

    async def control(self, subtype: str, **fields: Any) -> Frame:
        assert subtype == "get_context_usage"
        if self._use is None:
            raise ControlError("Unsupported control request subtype")
        return self._use


class FakeRules:
    """Rules of a session that hold wherever the conversation is."""

    def __init__(self) -> None:
        self.holding: list[Rule] = []

    def revoke(self, rule: Rule | None = None) -> None:
        self.holding = [held for held in self.holding if rule is not None and held != rule]


class FakeConversation:
    """A conversation that notes what is asked of it."""

    def __init__(self, **settings: Any) -> None:
        self.settings = Settings(**settings)
        self.greeting: Greeting | None = None
        self.turns: list[Turn] = []
        self.parameters: dict[str, Any] = {}
        self.tools: tuple[str, ...] = ("Bash", "ExitPlanMode")
        self.session_id = "893541a6"
        self.model = ""
        self.resumes = 0
        self.renewed = 0
        self.dead: ProcessDied | None = None
        self.branches = Branches()
        self.mode = "new_episodes"
        self.position = SimpleNamespace(rules=FakeRules())
        self.prepared: list[Place] = []
        self.pool = SimpleNamespace(
            asleep=False,
            tally=Tally(),
            limits=Limits(),
            prepare=self.prepared.append,
            withholding=Withholding(),
        )
        self.record = SimpleNamespace(
            path="/book.ipynb", store=SimpleNamespace(path="/data/store.db"), opened=True
        )
        self.use: Frame | None = {"totalTokens": 12_345, "maxTokens": 200_000, "percentage": 6}

    @asynccontextmanager
    async def session(self) -> AsyncIterator[FakeSession]:
        if self.dead:
            raise self.dead
        self.greeting = GREETING
        yield FakeSession(self.use)

    async def change(self, **changes: Any) -> None:
        self.settings = replace(self.settings, **changes)

    async def renew(self) -> str:
        self.renewed += 1
        return ""


def real(fake: FakeConversation) -> Conversation:
    return cast("Conversation", fake)


async def run(line: str, conversation: FakeConversation) -> Answer:
    """Run a cell of one line."""
    [parsed], rest = split(line)
    assert rest == ""
    return await registry.run(parsed, real(conversation))


@pytest.fixture(autouse=True)
def own_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """No endpoint of the user's own, which would take any model's name."""
    monkeypatch.delenv("ANTHROPIC_BASE_URL", raising=False)


@pytest.fixture
def conversation() -> FakeConversation:
    return FakeConversation()


class TestFinding:
    @pytest.mark.parametrize("name", MAGICS)
    def test_each_has_help_that_begins_with_how_it_is_written(self, name: str) -> None:
        assert registry.help_text(name).startswith((f"`%{name}`:", f"`%{name} "))

    def test_a_name_that_does_not_exist_suggests_the_nearest(self) -> None:
        with pytest.raises(UsageError, match="There is no %modle") as caught:
            registry.find("modle")
        assert "Did you mean %model?" in caught.value.hint
        assert "write \\%" in caught.value.hint

    def test_one_that_is_like_no_other_names_none(self) -> None:
        with pytest.raises(UsageError) as caught:
            registry.find("matplotlib")
        assert caught.value.hint.startswith("`%help` lists what there is.")

    def test_an_underscore_is_as_good_as_a_hyphen(self) -> None:
        assert registry.find("permission_mode") is settings.permission_mode

    async def test_a_question_mark_asks_for_the_help_and_changes_nothing(
        self, conversation: FakeConversation
    ) -> None:
        answer = await run("%new?", conversation)
        assert answer == Answer(page=registry.help_text("new"))
        assert conversation.renewed == 0


class TestRefusing:
    @pytest.mark.parametrize(
        ("line", "listed"),
        [
            ("%model gpt", ["default", "opus", "sonnet", "claude-"]),
            ("%effort extreme", ["default", *EFFORTS]),
            ("%effort High", ["high"]),
            ("%permission-mode yolo", list(PERMISSION_MODES)),
            ("%permission-mode ask me", list(PERMISSION_MODES)),
            ("%tools Read Hammer", ["all", "none", "Bash", "ExitPlanMode", "Read"]),
            ("%tools all Read", ["all", "none", "Read"]),
        ],
    )
    async def test_a_wrong_value_is_refused_with_the_right_ones(
        self, line: str, listed: list[str], conversation: FakeConversation
    ) -> None:
        with pytest.raises(UsageError, match="there is no") as caught:
            await run(line, conversation)
        for value in listed:
            assert value in caught.value.hint
        assert conversation.settings == Settings()

    async def test_the_nearest_value_is_named_and_not_all_of_many(
        self, conversation: FakeConversation
    ) -> None:
        conversation.tools = tuple(f"Tool{number}" for number in range(30))
        with pytest.raises(UsageError) as caught:
            await run("%tools Reed", conversation)
        assert caught.value.hint.startswith("Did you mean Read? There are all, none, ")
        assert caught.value.hint.endswith(" more.")
        assert caught.value.hint.count(",") < 12

    @pytest.mark.parametrize("line", ["%new now", "%clear all", "%status x"])
    async def test_a_value_where_none_is_taken_is_refused(
        self, line: str, conversation: FakeConversation
    ) -> None:
        with pytest.raises(UsageError, match="takes no value") as caught:
            await run(line, conversation)
        assert "alone" in caught.value.hint
        assert conversation.renewed == 0

    @pytest.mark.parametrize("folder", ["missing", "file.txt", "~nobody-at-all/x", "a\0b"])
    async def test_a_folder_that_does_not_exist_is_refused_with_those_that_do(
        self, folder: str, tmp_path: Path
    ) -> None:
        (tmp_path / "project").mkdir()
        (tmp_path / ".hidden").mkdir()
        (tmp_path / "file.txt").write_text("")
        conversation = FakeConversation(cwd=str(tmp_path))
        with pytest.raises(UsageError, match="there is no folder") as caught:
            await run(f"%cwd {folder}", conversation)
        assert "project" in caught.value.hint
        assert "hidden" not in caught.value.hint
        assert "file.txt" not in caught.value.hint
        assert conversation.settings.cwd == str(tmp_path)

    async def test_in_an_empty_folder_that_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError) as caught:
            await run("%cwd missing", FakeConversation(cwd=str(tmp_path)))
        assert "has no folders" in caught.value.hint

    @pytest.mark.parametrize("name", ["mdl", "%nothing", "help me"])
    async def test_help_on_what_does_not_exist_is_refused(
        self, name: str, conversation: FakeConversation
    ) -> None:
        with pytest.raises(UsageError):
            await run(f"%help {name}", conversation)


class TestChanging:
    @pytest.mark.parametrize(
        ("line", "field", "value", "note"),
        [
            ("%model opus", "model", "opus", "model: opus"),
            ("%effort max", "effort", "max", "effort: max"),
            ("%system You are terse.", "system", "You are terse.", "system prompt: You are terse."),
            (
                "%%system\n\nYou are terse.\n\n  Always.\n",
                "system",
                "You are terse.\n\n  Always.",
                "system prompt: You are terse.… (3 lines, 25 characters)",
            ),
            ("%permission-mode plan", "permission_mode", "plan", "permission mode: plan"),
            ("%tools Read, Grep Read", "tools", ("Read", "Grep"), "tools: Read Grep"),
            ("%tools mcp__nb__add", "tools", ("mcp__nb__add",), "tools: mcp__nb__add"),
            ("%tools none", "tools", (), "tools: none"),
        ],
    )
    async def test_a_right_value_is_taken_and_noted(
        self, line: str, field: str, value: Any, note: str, conversation: FakeConversation
    ) -> None:
        answer = await run(line, conversation)
        assert conversation.settings == Settings().changed(**{field: value})
        assert answer.note == note
        assert answer.warning == ""

    async def test_a_full_model_id_is_taken_as_it_stands(
        self, conversation: FakeConversation
    ) -> None:
        assert (await run("%model claude-new-9", conversation)).note == "model: claude-new-9"
        assert conversation.settings.model == "claude-new-9"

    @pytest.mark.parametrize(
        ("line", "field"),
        [
            ("%model default", "model"),
            ("%effort default", "effort"),
            ("%system default", "system"),
            ("%tools all", "tools"),
            ("%tools default", "tools"),
        ],
    )
    async def test_default_takes_a_setting_back(self, line: str, field: str) -> None:
        given: Any = ("Read",) if field == "tools" else "high"
        conversation = FakeConversation(**{field: given})
        await run(line, conversation)
        assert conversation.settings == Settings()

    @pytest.mark.parametrize(
        ("line", "value"),
        [
            ("%model", "default"),
            ("%effort", "default"),
            ("%system", "default"),
            ("%permission-mode", "default"),
            ("%tools", "all"),
        ],
    )
    async def test_a_name_alone_says_what_is_set(
        self, line: str, value: str, conversation: FakeConversation
    ) -> None:
        assert await run(line, conversation) == Answer(value=value)
        assert conversation.settings == Settings()

    @pytest.mark.parametrize(("tools", "value"), [((), "none"), (("Read", "Grep"), "Read Grep")])
    async def test_tools_alone_says_which(self, tools: tuple[str, ...], value: str) -> None:
        assert await run("%tools", FakeConversation(tools=tools)) == Answer(value=value)

    async def test_with_an_endpoint_of_your_own_any_model_goes_with_a_warning(
        self, conversation: FakeConversation, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:1")
        answer = await run("%model local-llama", conversation)
        assert conversation.settings.model == "local-llama"
        assert "does not list" in answer.warning

    async def test_a_folder_is_taken_from_where_claude_works(self, tmp_path: Path) -> None:
        (tmp_path / "a b").mkdir()
        conversation = FakeConversation(cwd=str(tmp_path))
        answer = await run("%cwd a b", conversation)
        assert conversation.settings.cwd == str((tmp_path / "a b").resolve())
        assert answer.note.endswith("a b")
        assert (await run("%cwd", conversation)).value.endswith("a b")
        await run("%cwd ..", conversation)
        assert conversation.settings.cwd == str(tmp_path)

    async def test_new_begins_a_new_conversation(self, conversation: FakeConversation) -> None:
        assert (await run("%new", conversation)).note == "new conversation"
        assert conversation.renewed == 1

    async def test_clear_clears_and_changes_nothing(self, conversation: FakeConversation) -> None:
        assert await run("%clear", conversation) == Answer(clear=True)
        assert conversation.settings == Settings()


def turn(*, hot: bool, first_text: float | None = 0.25, status: str = "ok") -> Turn:
    first = None if first_text is None else 100 + first_text
    return Turn(
        prompt=Prompt(text="x"),
        uuid="u",
        number=1,
        status=status,
        clock=Clock(hot=hot, sent=100, first_text=first, ended=110),
        usage=Usage(input_tokens=1000, cache_read_tokens=500, output_tokens=20),
    )


class TestAttaching:
    @pytest.mark.parametrize("name", ["plot.png", "my plot.png", "/a/b.png", "~/x.gif"])
    async def test_it_names_an_image_of_the_cells_prompt(
        self, name: str, conversation: FakeConversation
    ) -> None:
        assert await run(f"%attach {name}", conversation) == Answer(attach=name)

    async def test_without_a_name_it_is_refused(self, conversation: FakeConversation) -> None:
        with pytest.raises(UsageError, match="%attach names no image"):
            await run("%attach", conversation)


class TestReports:
    async def rows(self, conversation: FakeConversation) -> dict[str, str]:
        report = (await run("%status", conversation)).report
        assert "<table" in markdown.render(report)
        cells = [line.strip("| ").split(" | ") for line in report.splitlines()[2:]]
        return dict(cells)

    async def test_status_says_what_a_restart_forgets(self, conversation: FakeConversation) -> None:
        at = "on branch main, before the first turn"
        assert (await self.rows(conversation))["stands"] == at
        conversation.record.path = None
        assert (await self.rows(conversation))[
            "stands"
        ] == f"{at}; path unknown: a restart forgets it"
        for cell, kept in (("passing:1", ""), ("abc", "run a cell that has a turn first")):
            node = Node(id=cell, parent=None, number=1, prompt="", status="ok", cell_id=cell)
            conversation.branches = Branches([node], branches={"main": cell})
            assert kept in (await self.rows(conversation))["stands"]

    async def test_status_before_the_first_turn(self, conversation: FakeConversation) -> None:
        rows = await self.rows(conversation)
        assert rows["model"] == "default"
        assert rows["process"] == "pid 4242, claude 2.1.330"
        assert rows["turns"] == "none yet"
        assert rows["context"] == "12,345 tokens of 200,000 (6 %)"
        assert rows["first text, hot"] == rows["first text, cold"] == "none yet"

    async def test_status_says_who_really_answered(self, conversation: FakeConversation) -> None:
        conversation.model = "claude-opus-5-5"
        conversation.turns = [structs.replace(turn(hot=True), model="local-llama")]
        rows = await self.rows(conversation)
        assert rows["model"] == "default (claude-opus-5-5), answered by local-llama"

    async def test_status_keeps_hot_and_cold_apart(self, conversation: FakeConversation) -> None:
        conversation.model = "claude-opus-5-5"
        conversation.resumes = 2
        conversation.turns = [
            turn(hot=False, first_text=0.5),
            turn(hot=True, first_text=0.25),
            turn(hot=True, first_text=0.75),
            turn(hot=True, first_text=None, status="error"),
        ]
        rows = await self.rows(conversation)
        assert rows["model"] == "default (claude-opus-5-5)"
        assert rows["process"].endswith(", resumed 2 times")
        assert rows["turns"] == "3 ok, 1 error"
        assert rows["tokens"] == "6,000 in (2,000 from the cache), 80 out"
        assert rows["first text, hot"] == "0.500 s (median of 2)"
        assert rows["first text, cold"] == "0.500 s (median of 1)"

    async def test_status_tells_replayed_from_live_turns_and_from_where(
        self, conversation: FakeConversation
    ) -> None:
        sources = ["cassette nb.hotclaude.jsonl", "", "record", "outputs", "folder", "", "record"]
        conversation.turns = [structs.replace(turn(hot=True), source=at) for at in sources]
        conversation.turns[0].absent = ("notes.txt", "a.txt")
        conversation.turns[2].absent = ("notes.txt",)
        assert (await self.rows(conversation))["answers"] == (
            "1 replayed from the cassette nb.hotclaude.jsonl, 2 replayed from the record, "
            "1 replayed from the notebook's saved outputs, 1 replayed from another notebook here, "
            "2 asked; not compared, since not here: notes.txt, a.txt"
        )

    @pytest.mark.parametrize(
        ("back", "stands"),
        [
            (1, "after turn 1 of 3; turns 2–3 are ahead: any other turn leaves them as a branch"),
            (2, "after turn 2 of 3; turn 3 is ahead: any other turn leaves it as a branch"),
            (3, "after turn 3"),
        ],
    )
    async def test_status_and_branches_tell_of_turns_ahead(
        self, back: int, stands: str, conversation: FakeConversation
    ) -> None:
        conversation.turns = [turn(hot=True)]
        tree = conversation.branches
        for number in (1, 2, 3):
            parent = f"n{number - 1}" if number > 1 else None
            tree.grow(Node(id=f"n{number}", parent=parent, number=number, prompt="hi", status="ok"))
        tree.step_back(tree.path[back - 1])
        rows = await self.rows(conversation)
        assert rows["stands"] == f"on branch main, {stands}"
        here = f"here after turn {back} | 3 " if back < 3 else "here | 3 "
        assert f"| main | branch, {here}" in (await run("%branches", conversation)).report
        left_out = f"{counted(3 - back, 'turn')} ahead, " if back < 3 else ""
        report = (await run("%context", conversation)).report
        assert f"| left out | {left_out}0 turns of other branches, 1 that" in report

    @pytest.mark.parametrize("use", [None, {}, {"totalTokens": None}])
    async def test_an_older_binary_does_not_know_its_context(
        self, use: Frame | None, conversation: FakeConversation
    ) -> None:
        conversation.use = use
        assert (await self.rows(conversation))["context"] == "unknown"

    async def test_a_process_that_is_gone_is_a_row_and_no_error(
        self, conversation: FakeConversation
    ) -> None:
        conversation.dead = ProcessDied("claude ended with exit code 1 | here")
        report = (await run("%status", conversation)).report
        assert "claude ended with exit code 1 \\| here" in report
        assert "| context | unknown |" in report

    async def test_help_lists_every_magic_in_one_line_each(
        self, conversation: FakeConversation
    ) -> None:
        report = (await run("%help", conversation)).report
        for name in MAGICS:
            assert f"- `%{name}" in report

    @pytest.mark.parametrize("line", ["%help model", "%help %model"])
    async def test_help_on_one_tells_more(self, line: str, conversation: FakeConversation) -> None:
        assert (await run(line, conversation)).report == registry.help_text("model")


class TestRules:
    NPM, GIT = Rule("commands", "npm run"), Rule("command", "a | b")

    @pytest.fixture(autouse=True)
    def rules(self, conversation: FakeConversation) -> None:
        conversation.position.rules.holding = [self.NPM, self.GIT]

    async def test_status_lists_them(self, conversation: FakeConversation) -> None:
        report = (await run("%status", conversation)).report
        assert "| rules of this session | 1: `npm run *`; 2: `a \\| b` |" in report
        conversation.position.rules.revoke()
        report = (await run("%status", conversation)).report
        assert "| rules of this session | none |" in report

    async def test_one_is_withdrawn(self, conversation: FakeConversation) -> None:
        answer = await run("%revoke 2", conversation)
        assert answer.note == "withdrawn: the rule of this session for `a | b`"
        assert conversation.position.rules.holding == [self.NPM]

    async def test_all_are_withdrawn(self, conversation: FakeConversation) -> None:
        assert "no rules of this session are left" in (await run("%revoke", conversation)).note
        assert conversation.position.rules.holding == []

    @pytest.mark.parametrize("number", ["0", "3", "-1", "all", "1 2", "²", "01"])
    async def test_another_number_is_refused(
        self, number: str, conversation: FakeConversation
    ) -> None:
        with pytest.raises(UsageError) as caught:
            await run(f"%revoke {number}", conversation)
        assert caught.value.hint == "There are 1, 2."
        assert conversation.position.rules.holding == [self.NPM, self.GIT]

    async def test_without_rules_that_is_said(self, conversation: FakeConversation) -> None:
        conversation.position.rules.holding = []
        with pytest.raises(UsageError) as caught:
            await run("%revoke 1", conversation)
        assert caught.value.hint == "There are no rules of this session."

    def test_their_numbers_are_completed(self, conversation: FakeConversation) -> None:
        assert registry.values_of("revoke", real(conversation)) == ("1", "2")


class TestValues:
    def test_models_are_those_the_process_lists_each_once(
        self, conversation: FakeConversation
    ) -> None:
        assert registry.values_of("model", real(conversation)) == ("default",)
        conversation.greeting = GREETING
        assert registry.values_of("model", real(conversation)) == ("default", "opus", "sonnet")

    @pytest.mark.parametrize("name", ["permission-mode", "permission_mode"])
    def test_modes_are_known_under_both_spellings(
        self, name: str, conversation: FakeConversation
    ) -> None:
        assert registry.values_of(name, real(conversation)) == PERMISSION_MODES

    def test_tools_are_the_built_in_ones_and_the_sessions(
        self, conversation: FakeConversation
    ) -> None:
        values = registry.values_of("tools", real(conversation))
        assert values[:2] == ("all", "none")
        assert {"Read", "ExitPlanMode"} <= set(values)

    @pytest.mark.parametrize("name", ["system", "new", "nothing"])
    def test_where_any_text_will_do_there_are_none(
        self, name: str, conversation: FakeConversation
    ) -> None:
        assert registry.values_of(name, real(conversation)) == ()
