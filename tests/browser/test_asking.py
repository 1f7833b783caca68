"""Questions in the cell, answered by clicks: permissions, Claude's own questions, plans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from playwright.sync_api import expect

from hotclaude_kernel.modelserver.replies import Gate, Reply, ToolUse, Wait

from .frontend import LAB, NOTEBOOK_7, WAIT_MS

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Desk

pytestmark = pytest.mark.browser


def writing(name: str, content: str = "hello\n") -> ToolUse:
    return ToolUse("Write", {"file_path": name, "content": content})


def question(text: str, *labels: str, several: bool = False) -> dict[str, Any]:
    options = [{"label": label, "description": f"about {label}"} for label in labels]
    return {"question": text, "header": "Choose", "multiSelect": several, "options": options}


def made(desk: Desk, name: str) -> Path:
    return desk.server.root / name


class EverywhereTests:
    """What is worth seeing in both front ends."""

    def test_a_reload_while_a_question_is_pending_loses_nothing(
        self, desk: Desk, shots: Path
    ) -> None:
        name = f"{desk.notebook}.txt"
        desk.answers(Reply("I write it. ", writing(name)), "It is written.")
        sheet = desk.open(["Write"])
        sheet.start_again(0)
        sheet.wait_asked(0, "Claude wants to use Write")
        sheet.reload()
        assert "I write it." not in sheet.text(0)
        sheet.start_again(0)
        sheet.wait_asked(0, "Claude wants to use Write")
        assert "I write it." in sheet.text(0)
        assert not made(desk, name).exists()
        sheet.shoot(shots, f"{desk.front.name}-asked-again")
        sheet.press(0, "Allow once")
        sheet.wait_done(0)
        sheet.wait_unasked(0)
        assert "It is written." in sheet.text(0)
        assert "allowed once, done" in sheet.text(0)
        assert made(desk, name).read_text() == "hello\n"
        # The prompt and the tool's result: nothing was asked twice.
        assert len(desk.requests) == 2
        assert "widget" not in nbformat.writes(sheet.save(desk.notebook, desk.server))

    def test_claudes_own_questions(self, desk: Desk, shots: Path) -> None:
        questions = [
            question("Which colour?", "Red", "Blue"),
            question("Which fruits?", "Apple", "Pear", "Quince", several=True),
            question("Which name?", "Ada", "Grace"),
        ]
        desk.answers(Reply(ToolUse("AskUserQuestion", {"questions": questions})), "Thank you.")
        sheet = desk.open()
        at = sheet.start("Ask me")
        sheet.wait_asked(at, "Which colour?")
        expect(sheet.question(at).get_by_role("button", name="Blue")).to_have_attribute(
            "title", "about Blue"
        )
        sheet.shoot(shots, f"{desk.front.name}-question-single")
        sheet.press(at, "Blue")
        sheet.wait_asked(at, "Which fruits?")
        for fruit in ("Apple", "Quince"):
            sheet.question(at).get_by_label(fruit).check()
        sheet.shoot(shots, f"{desk.front.name}-question-several")
        sheet.press(at, "Answer")
        sheet.wait_asked(at, "Which name?")
        sheet.say(at, "Hypatia")
        sheet.page.keyboard.press("Enter")
        sheet.wait_done(at)
        sheet.wait_unasked(at)
        sheet.shoot(shots, f"{desk.front.name}-question-answered")
        [result] = desk.requests[-1].tool_results
        for answer in ("Blue", "Apple, Quince", "Hypatia"):
            assert answer in result.text
            assert answer in sheet.text(at)
        assert "Thank you." in sheet.text(at)


class TestAskingInNotebook7(EverywhereTests):
    front = NOTEBOOK_7


class TestAskingInLab(EverywhereTests):
    front = LAB

    def test_allowed_for_the_session_is_asked_once_and_written_nowhere(
        self, desk: Desk, shots: Path
    ) -> None:
        name = "allowed-for-this-session.txt"
        first, second, third = (Reply(writing(name, f"{n}\n")) for n in range(3))
        other = "allowed-for-this-session-not.txt"
        desk.answers(first, second, "Both.", third, "The third.", Reply(writing(other)), "Not so.")
        sheet = desk.open()
        at = sheet.ask_permission("Write it twice")
        label = f"Allow changes to `{name}` for this session"
        button = sheet.question(at).get_by_role("button", name=label, exact=True)
        assert button.evaluate("it => it.scrollWidth <= it.clientWidth")  # nothing is cut off
        sheet.shoot(shots, "allow-for-this-session")
        sheet.press(at, label)
        sheet.wait_done(at)
        assert f"allowed for this session: changes to `{name}`, done" in sheet.text(at)
        by_rule = f"allowed by the rule of this session for changes to `{name}`, done"
        assert by_rule in sheet.text(at)
        assert "Both." in sheet.text(at)
        assert by_rule in sheet.run("Once more")
        assert made(desk, name).read_text() == "2\n"
        at = sheet.ask_permission("Write another")
        sheet.press(at, "Deny")
        sheet.wait_done(at)
        assert not made(desk, other).exists()
        assert not made(desk, ".claude").exists()

    def test_a_plan_is_discussed_and_approved(self, desk: Desk, shots: Path) -> None:
        plans = [
            Reply("I plan. ", ToolUse("ExitPlanMode", {"plan": f"# Plan {n}\n\n1. Do *it*."}))
            for n in (1, 2)
        ]
        desk.answers(*plans, "Carried out.")
        sheet = desk.open()
        at = sheet.start("%permission-mode plan\nPlan it")
        sheet.wait_asked(at, "Plan 1")
        sheet.shoot(shots, "plan")
        sheet.say(at, "shorter, please")
        sheet.press(at, "Keep planning")
        sheet.wait_asked(at, "Plan 2")
        assert "not approved (shorter, please)" in sheet.text(at)
        assert "shorter, please" in desk.requests[-1].tool_results[0].text
        sheet.press(at, "Approve the plan")
        sheet.wait_done(at)
        sheet.wait_unasked(at)
        assert "approved, done" in sheet.text(at)
        assert "Carried out." in sheet.text(at)
        sheet.shoot(shots, "plan-approved")
        assert "default" in sheet.run("%permission-mode")

    def test_parallel_uses_are_asked_one_after_the_other(self, desk: Desk, shots: Path) -> None:
        names = [f"{desk.notebook}-{letter}.txt" for letter in "abc"]
        look = ToolUse("Bash", {"command": "echo looked around", "description": "Look"})
        desk.answers(Reply("Four at once. ", look, *(writing(name) for name in names)), "Done.")
        sheet = desk.open()
        at = sheet.start("Write three")
        for number, name in enumerate(names):
            sheet.wait_asked(at, name)
            expect(sheet.question(at)).to_have_count(1)
            expect(sheet.output(at).locator("details", has_text="looked around")).to_have_count(1)
            assert [made(desk, name).exists() for name in names[number:]] == [False] * (3 - number)
            sheet.shoot(shots, f"parallel-{number}")
            if number == 1:
                sheet.press(at, "Deny")
            else:
                sheet.press(at, "Allow once")
        sheet.wait_done(at)
        sheet.wait_unasked(at)
        assert [made(desk, name).exists() for name in names] == [True, False, True]
        results = desk.requests[-1].tool_results
        assert [result.is_error for result in results] == [False, False, True, False]
        assert "Done." in sheet.text(at)

    def test_a_decision_stands_on_its_card_and_is_there_after_a_reload(self, desk: Desk) -> None:
        gate = Gate()
        name = f"{desk.notebook}.txt"
        first = Reply("Before. ", writing(name))
        desk.answers(first, Reply("The first half. ", Wait(gate), "The second half."))
        sheet = desk.open(["Write"])
        sheet.start_again(0)
        sheet.wait_asked(0, "Claude wants to use Write")
        card = sheet.output(0).locator("summary", has_text="Write")
        expect(card).to_contain_text("waiting for your answer")
        sheet.press(0, "Allow once")
        sheet.wait_text(0, "The first half.")
        sheet.wait_unasked(0)
        expect(card).to_contain_text("allowed once, done", timeout=WAIT_MS)
        gate.open()
        sheet.wait_done(0)
        assert "The first half. The second half." in sheet.text(0)
        sheet.reload()
        sheet.start_again(0)
        sheet.wait_text(0, "Shown again")
        expect(card).to_contain_text("allowed once, done", timeout=WAIT_MS)
        assert len(desk.requests) == 2

    def test_a_subagents_use_is_asked_about_too(self, desk: Desk, shots: Path) -> None:
        name = f"{desk.notebook}.txt"
        task = {
            "description": "Write it",
            "prompt": "Write it for me.",
            "subagent_type": "general-purpose",
            "run_in_background": False,
        }
        desk.answers(Reply(ToolUse("Agent", task)), Reply(writing(name)), "Written.", "Done.")
        sheet = desk.open()
        at = sheet.ask_permission("Delegate")
        agent = sheet.output(at).locator("details", has_text="Write it for me.").first
        nested = agent.locator("details", has_text=name)
        expect(nested.locator("summary")).to_be_visible()
        expect(nested).to_contain_text("waiting for your answer")
        expect(sheet.question(at)).to_contain_text(name)
        sheet.shoot(shots, "subagent-asks")
        sheet.press(at, "Allow once")
        sheet.wait_done(at)
        sheet.wait_unasked(at)
        expect(nested).to_contain_text("allowed once, done")
        assert made(desk, name).exists()
        assert "Done." in sheet.text(at)
