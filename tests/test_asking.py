"""Permissions and questions, answered by a user, or by nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hotclaude_kernel.asking import decide
from hotclaude_kernel.session import PermissionRequest

if TYPE_CHECKING:
    from hotclaude_kernel.protocol import Frame

TOUCH: Frame = {"command": "touch made.txt", "description": "make file"}

QUESTIONS: Frame = {
    "questions": [
        {
            "question": "Which colour?",
            "header": "Colour",
            "options": [{"label": "Red", "description": "warm"}, {"label": "Blue"}],
        },
        {"question": "How many?", "options": [{"label": "One"}, {"label": "Two"}]},
    ]
}


class User:
    """Someone who gives these answers, one after the other."""

    def __init__(self, *answers: str) -> None:
        self.asked: list[str] = []
        self._answers = list(answers)

    async def __call__(self, question: str) -> str:
        self.asked.append(question)
        return self._answers.pop(0)


def request(name: str = "Bash", values: Frame | None = None, **fields: Any) -> PermissionRequest:
    return PermissionRequest(tool_name=name, tool_input=values or TOUCH, **fields)


class TestPermission:
    @pytest.mark.parametrize("answer", ["y", "Y", " yes ", "allow", "YES"])
    async def test_yes_allows_this_one_use_with_its_input_unchanged(self, answer: str) -> None:
        suggestion = {"type": "addRules", "destination": "localSettings"}
        decision, said = await decide(request(suggestions=(suggestion,)), User(answer))
        # Nothing but this: a rule would be written to the project's settings.
        assert decision == {"behavior": "allow", "updatedInput": TOUCH}
        assert said == "Allowed once: Bash: touch made.txt"

    @pytest.mark.parametrize("answer", ["n", "N", "no", "deny", "", "   "])
    async def test_no_denies_and_so_does_an_empty_line(self, answer: str) -> None:
        decision, said = await decide(request(), User(answer))
        assert decision == {"behavior": "deny", "message": "The user denied this."}
        assert said == "Denied: Bash: touch made.txt"

    async def test_anything_else_is_a_reason_against_it_that_claude_hears(self) -> None:
        decision, said = await decide(request(), User("use mkdir instead"))
        assert decision == {
            "behavior": "deny",
            "message": "The user denied this: use mkdir instead",
        }
        assert said == "Denied (use mkdir instead): Bash: touch made.txt"

    @pytest.mark.parametrize("name", ["Bash", "AskUserQuestion", "ExitPlanMode"])
    async def test_with_nobody_to_ask_everything_is_denied_and_said_so(self, name: str) -> None:
        decision, said = await decide(request(name), None)
        assert decision["behavior"] == "deny"
        assert decision["message"]
        assert "nobody can be asked" in said

    async def test_the_question_says_what_and_why(self) -> None:
        user = User("n")
        asks = request(
            description="make file", reason="needs approval", blocked_path="/etc/made.txt"
        )
        await decide(asks, user)
        [question] = user.asked
        for words in (
            "Bash: touch made.txt",
            "make file",
            "needs approval",
            "/etc/made.txt",
            "y =",
        ):
            assert words in question

    async def test_the_question_is_one_line_without_tricks(self) -> None:
        user = User("n")
        asks = request(
            values={"command": "\x1b[2Jrm -rf /\u202e"}, description="a\nAllow? [y] \x1b[1A"
        )
        await decide(asks, user)
        [question] = user.asked
        assert not any(sign in question for sign in "\n\x1b\u202e")

    async def test_the_line_that_records_it_has_no_tricks_either(self) -> None:
        _, said = await decide(request(), User("no\u202e way"))
        assert "\u202e" not in said


class TestQuestions:
    async def answers(self, *answers: str) -> tuple[Any, list[str]]:
        user = User(*answers)
        decision, said = await decide(request("AskUserQuestion", QUESTIONS), user)
        assert decision["behavior"] == "allow"
        assert decision["updatedInput"]["questions"] == QUESTIONS["questions"]
        assert said == "Answered"
        return decision["updatedInput"]["answers"], user.asked

    async def test_each_is_put_with_its_options_numbered(self) -> None:
        _, asked = await self.answers("1", "1")
        assert asked == [
            "Which colour?  1) Red  2) Blue  > ",
            "How many?  1) One  2) Two  > ",
        ]

    async def test_a_number_chooses_an_option(self) -> None:
        chosen, _ = await self.answers("2", " 1 ")
        assert chosen == {"Which colour?": "Blue", "How many?": "One"}

    async def test_any_text_is_an_answer_too(self) -> None:
        chosen, _ = await self.answers("green, please", "Two")
        assert chosen == {"Which colour?": "green, please", "How many?": "Two"}

    @pytest.mark.parametrize("said", ["0", "3", "-1", "²", ""])
    async def test_a_number_that_is_no_options_is_text(self, said: str) -> None:
        chosen, _ = await self.answers(said, "1")
        assert chosen["Which colour?"] == said

    async def test_one_without_options_takes_text(self) -> None:
        decision, _ = await decide(
            request("AskUserQuestion", {"questions": [{"question": "Name?"}]}), User("Ada")
        )
        assert decision["updatedInput"]["answers"] == {"Name?": "Ada"}

    async def test_no_questions_are_no_answers(self) -> None:
        decision, _ = await decide(request("AskUserQuestion", {"questions": None}), User())
        assert decision["updatedInput"]["answers"] == {}
