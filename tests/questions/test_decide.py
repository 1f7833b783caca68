"""Permissions and questions, answered by a user, or by nobody."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any

import pytest

from hotclaude_kernel.claude.events import Block
from hotclaude_kernel.claude.session import PermissionRequest
from hotclaude_kernel.page.cards import Card
from hotclaude_kernel.questions.decide import Choice, Verdict, by_rule, card_of, decide, in_text
from hotclaude_kernel.questions.rules import Rule
from hotclaude_kernel.questions.stdin import LineAsker

from ..hostile import corpus, entry, violations
from ..support.askers import Bystander

if TYPE_CHECKING:
    from hotclaude_kernel.claude.frames import Frame

HOSTILE = corpus()
PARENT: Frame = {"header": {"msg_id": "cell"}}
TOUCH: Frame = {"command": "touch made.txt", "description": "make file"}
NPM = Rule("commands", "npm run")

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
    """A front end whose user gives these answers on standard input, one after the other."""

    def __init__(self, *answers: str, names_parent: bool = True) -> None:
        self.asked: list[str] = []
        self.content: list[Frame] = []
        self.replies: list[Frame] = []
        self._answers = list(answers)
        self._names_parent = names_parent
        self.session = self.stdin_socket = self

    @property
    def asker(self) -> LineAsker:
        return LineAsker(self, parent=PARENT, ident=b"ident")

    def send(self, socket: Any, kind: str, content: Frame, parent: Frame, ident: bytes) -> Frame:
        assert (socket, kind, parent, ident) == (self, "input_request", PARENT, b"ident")
        self.asked.append(content["prompt"])
        self.content.append(content)
        sent: Frame = {"header": {"msg_id": f"q{len(self.asked)}"}}
        named = sent["header"] if self._names_parent else {}
        self.replies.append({"parent_header": named, "content": {"value": self._answers.pop(0)}})
        return sent

    def poll(self, timeout: int) -> bool:
        return bool(self.replies)

    def recv(self, socket: Any) -> tuple[None, Frame]:
        return None, self.replies.pop(0)


class Fixed(Bystander):
    """An asker that has made up its mind, and notes what it is shown."""

    def __init__(self, verdict: Verdict | None = None, *answers: str) -> None:
        super().__init__()
        self.verdict = verdict or Verdict(allow=True)
        self.shown: list[str] = []
        self.choices: list[Choice] = []
        self.offered: list[Rule | None] = []
        self._answers = list(answers)

    async def permission(
        self, request: PermissionRequest, about: str, rule: Rule | None
    ) -> Verdict:
        self.shown.append(about)
        self.offered.append(rule)
        return self.verdict

    async def plan(self, plan: str) -> Verdict:
        self.shown.append(plan)
        return self.verdict

    async def choice(self, choice: Choice) -> str:
        self.choices.append(choice)
        return self._answers.pop(0)


class Rules:
    """Rules of a session, of which each call offers the same one."""

    def __init__(self, offers: Rule | None) -> None:
        self.offers = offers
        self.made: list[Rule] = []

    def allowing(self, request: PermissionRequest) -> Rule | None:
        return self.made[0] if self.made else None

    def offered(self, request: PermissionRequest) -> Rule | None:
        return self.offers

    def allow(self, rule: Rule) -> None:
        self.made.append(rule)


def request(name: str = "Bash", values: Frame | None = None, **fields: Any) -> PermissionRequest:
    return PermissionRequest(tool_name=name, tool_input=values or TOUCH, **fields)


class TestPermission:
    @pytest.mark.parametrize("answer", ["y", "Y", " yes ", "allow", "YES"])
    async def test_yes_allows_this_one_use_with_its_input_unchanged(self, answer: str) -> None:
        suggestion = {"type": "addRules", "destination": "localSettings"}
        decision, said = await decide(request(suggestions=(suggestion,)), User(answer).asker)
        # Nothing but this: a rule would be written to the project's settings.
        assert decision == {"behavior": "allow", "updatedInput": TOUCH}
        assert said == "allowed once"

    @pytest.mark.parametrize("answer", ["n", "N", "no", "deny", "", "   "])
    async def test_no_denies_and_so_does_an_empty_line(self, answer: str) -> None:
        decision, said = await decide(request(), User(answer).asker)
        assert decision == {"behavior": "deny", "message": "The user denied this."}
        assert said == "denied"

    async def test_anything_else_is_a_reason_against_it_that_claude_hears(self) -> None:
        decision, said = await decide(request(), User("use mkdir instead").asker)
        assert decision == {
            "behavior": "deny",
            "message": "The user denied this: use mkdir instead",
        }
        assert said == "denied (use mkdir instead)"

    @pytest.mark.parametrize("name", ["Bash", "AskUserQuestion", "ExitPlanMode"])
    async def test_with_nobody_to_ask_everything_is_denied_and_said_so(self, name: str) -> None:
        decision, said = await decide(request(name), None)
        assert decision["behavior"] == "deny"
        assert decision["message"]
        assert "nobody can be asked" in said

    async def test_the_question_says_what_and_why(self) -> None:
        """On a line: the call itself stands in full on the page above."""
        user = User("n")
        asks = request(
            description="make file", reason="needs approval", blocked_path="/etc/made.txt"
        )
        await decide(asks, user.asker)
        [question] = user.asked
        for words in ("Allow Bash, as shown above", "needs approval", "/etc/made.txt", "y ="):
            assert words in question

    async def test_a_form_says_what_and_why_in_full(self) -> None:
        form = Fixed()
        asks = request(
            description="make <file>", reason="needs approval", blocked_path="/etc/made.txt"
        )
        await decide(asks, form)
        [about] = form.shown
        for words in ("touch made.txt", "make &lt;file&gt;", "needs approval", "/etc/made.txt"):
            assert words in about
        assert violations(about, card=True) == []

    @pytest.mark.parametrize(
        ("name", "values", "words"),
        [
            ("Bash", {"command": "x" * 200 + "\nrm secret"}, "rm secret"),
            ("Bash", {"command": "ls\rrm secret"}, "rm secret"),
            ("Bash", {"command": "ls", "dangerouslyDisableSandbox": True}, "Sandbox"),
            ("WebFetch", {"url": "https://a.invalid/" + "x" * 200, "prompt": "tell"}, "tell"),
            ("Read", {"file_path": "/" + "x/" * 100 + "secret"}, "secret"),
            ("mcp__mail__send", {"command": "x", "to": "Ada"}, "Ada"),
        ],
    )
    async def test_nothing_of_the_call_is_left_out(
        self, name: str, values: Frame, words: str
    ) -> None:
        form = Fixed()
        await decide(request(name, values), form)
        assert words in re.sub(r"<[^>]+>", "", form.shown[0])

    async def test_what_is_shown_is_what_the_answer_allows(self) -> None:
        """Not what the card shows, should the two differ."""
        content = {"type": "tool_use", "name": "Bash", "input": {"command": "ls"}}
        card = Card(Block(uuid="", message_id="", kind="tool_use", content=content))
        form = Fixed()
        decision, _ = await decide(request("Bash", {"command": "rm x"}), form, card)
        assert "rm x" in form.shown[0]
        assert decision["updatedInput"] == {"command": "rm x"}
        assert "rm x" in in_text(request("Bash", {"command": "rm x"}), card)

    @pytest.mark.parametrize("name", ["Bash", "ExitPlanMode", "mcp__x__y"])
    async def test_what_can_not_be_shown_in_full_can_not_be_allowed(self, name: str) -> None:
        form = Fixed(Verdict(allow=True))
        long = "x" * 1_000_001
        decision, said = await decide(request(name, {"command": long, "plan": long}), form)
        assert form.shown == []
        assert decision["behavior"] == "deny"
        assert "1,000,000 characters" in decision["message"]
        assert said == "denied, since it can't be shown in full"

    async def test_a_description_is_claudes_and_said_once(self) -> None:
        said = "Asked because: it matches your own rule"
        form = Fixed()
        await decide(request("Bash", {"command": "ls", "description": said}), form)
        await decide(request("Bash", {"command": "ls"}, description=said), form)
        await decide(request("Write", {"file_path": "/a/made.txt"}, description="made.txt"), form)
        assert "Claude describes" not in form.shown[2]
        for about in form.shown[:2]:
            plain = html.unescape(re.sub(r"<[^>]+>", "", about))
            assert plain.count(said) == plain.count(f"Claude describes it as: {said}") == 1

    async def test_nothing_hostile_is_anything_but_text(self) -> None:
        for name, text in HOSTILE.items():
            with entry(name):
                for tool in ("Bash", "Write", text, "ExitPlanMode"):
                    form = Fixed()
                    values = dict.fromkeys(("command", "content", "file_path", "plan", text), text)
                    asks = request(tool, values, description=text, reason=text, blocked_path=text)
                    await decide(asks, form)
                    assert violations(form.shown[0], card=True) == []

    @pytest.mark.parametrize("answer", ["s", "session", "Always", " S "])
    async def test_it_can_be_allowed_for_the_session_by_a_rule_that_is_named(
        self, answer: str
    ) -> None:
        user, rules = User(answer), Rules(NPM)
        decision, said = await decide(request(), user.asker, rules=rules)
        assert "[y = once, s = allow `npm run *` for this session, n, " in user.asked[0]
        assert said == "allowed for this session: `npm run *`"
        assert rules.made == [NPM]
        # The process gets no rule.
        assert decision == {"behavior": "allow", "updatedInput": TOUCH}

    async def test_without_an_honest_rule_it_can_not(self) -> None:
        user, rules = User("session", "s", "y"), Rules(None)
        decision, said = await decide(request(), user.asker, rules=rules)
        assert len(user.asked) == 3
        assert "for this session" not in user.asked[0]
        assert user.asked[1] == f"❖ It can't be allowed for the session. {user.asked[0][2:]}"
        assert decision == {"behavior": "allow", "updatedInput": TOUCH}
        assert (said, rules.made) == ("allowed once", [])

    @pytest.mark.parametrize(
        "verdict",
        [
            Verdict(allow=True),
            Verdict(allow=False),
            Verdict(allow=False, lasts=True),
        ],
    )
    async def test_no_other_answer_makes_a_rule(self, verdict: Verdict) -> None:
        rules, form = Rules(NPM), Fixed(verdict)
        _, said = await decide(request(), form, rules=rules)
        assert form.offered == [NPM]
        assert rules.made == []
        assert "session" not in said

    async def test_nobody_makes_a_rule(self) -> None:
        rules = Rules(NPM)
        await decide(request(), None, rules=rules)
        assert rules.made == []

    async def test_what_a_rule_allows_says_by_which(self) -> None:
        rules = Rules(NPM)
        assert by_rule(request(), rules) is None
        rules.allow(NPM)
        assert by_rule(request(), rules) == (
            {"behavior": "allow", "updatedInput": TOUCH},
            "allowed by the rule of this session for `npm run *`",
        )

    async def test_an_answer_to_another_question_is_dropped(self) -> None:
        user = User("n")
        user.replies.append({"parent_header": {"msg_id": "old"}, "content": {"value": "y"}})
        decision, _ = await decide(request(), user.asker)
        assert decision["behavior"] == "deny"

    async def test_an_answer_that_names_no_question_counts(self) -> None:
        decision, _ = await decide(request(), User("y", names_parent=False).asker)
        assert decision["behavior"] == "allow"

    async def test_what_is_typed_is_shown(self) -> None:
        user = User("y")
        await decide(request(), user.asker)
        assert user.content[0]["password"] is False

    async def test_a_card_of_its_own_shows_all_of_a_request(self) -> None:
        card = card_of(request("Grep", {"pattern": "x", "path": "/secret"}))
        assert card.waiting
        assert "/secret" in card.source

    async def test_the_question_is_one_line_without_tricks(self) -> None:
        user = User("n")
        asks = request(
            values={"command": "\x1b[2Jrm -rf /\u202e"}, description="a\nAllow? [y] \x1b[1A"
        )
        await decide(asks, user.asker)
        [question] = user.asked
        assert not any(sign in question for sign in "\n\x1b\u202e")

    async def test_the_line_that_records_it_has_no_tricks_either(self) -> None:
        _, said = await decide(request(), User("no\u202e way").asker)
        assert "\u202e" not in said


class TestPlans:
    def card(self, plan: str) -> Card:
        content = {"type": "tool_use", "name": "ExitPlanMode", "input": {"plan": plan}}
        return Card(Block(uuid="", message_id="", kind="tool_use", content=content))

    async def test_a_plan_is_taken_from_its_card_where_the_request_has_none(self) -> None:
        form = Fixed()
        asks = PermissionRequest(tool_name="ExitPlanMode", tool_input={})
        decision, said = await decide(asks, form, self.card("1. *Do* it <b>"))
        assert "<em>Do</em> it &lt;b&gt;" in form.shown[0]
        assert decision == {"behavior": "allow", "updatedInput": {}}
        assert said == "approved"

    async def test_it_is_kept_from_being_carried_out_with_what_to_change(self) -> None:
        user = User("test first")
        decision, said = await decide(request("ExitPlanMode", {"plan": "x"}), user.asker)
        assert user.asked == ["❖ Carry out this plan? [y / n / what to change] "]
        assert decision == {"behavior": "deny", "message": "The user denied this: test first"}
        assert said == "not approved (test first)"


class TestQuestions:
    async def answers(self, *answers: str) -> tuple[Any, list[str]]:
        user = User(*answers)
        decision, said = await decide(request("AskUserQuestion", QUESTIONS), user.asker)
        assert decision["behavior"] == "allow"
        assert decision["updatedInput"]["questions"] == QUESTIONS["questions"]
        assert said == "answered"
        return decision["updatedInput"]["answers"], user.asked

    async def test_each_is_put_with_its_options_numbered(self) -> None:
        _, asked = await self.answers("1", "1")
        assert asked == [
            "❖ Claude asks: Which colour?  1) Red  2) Blue  > ",
            "❖ Claude asks: How many?  1) One  2) Two  > ",
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
            request("AskUserQuestion", {"questions": [{"question": "Name?"}]}), User("Ada").asker
        )
        assert decision["updatedInput"]["answers"] == {"Name?": "Ada"}

    async def test_no_questions_are_no_answers(self) -> None:
        decision, _ = await decide(request("AskUserQuestion", {"questions": None}), User().asker)
        assert decision["updatedInput"]["answers"] == {}

    async def test_several_answers_are_given_by_their_numbers(self) -> None:
        question = QUESTIONS["questions"][0] | {"multiSelect": True}
        user = User("2, 1", "1,9", "Red and blue")
        asks = request("AskUserQuestion", {"questions": [question]})
        found = [await decide(asks, user.asker) for _ in range(3)]
        answers = [decision["updatedInput"]["answers"]["Which colour?"] for decision, _ in found]
        assert answers == ["Blue, Red", "1,9", "Red and blue"]
        assert user.asked[0] == "❖ Claude asks: Which colour?  1) Red  2) Blue (several: 1,2)  > "

    async def test_a_form_gets_labels_and_tips(self) -> None:
        form = Fixed(None, "Red", "One")
        await decide(request("AskUserQuestion", QUESTIONS), form)
        assert form.choices == [
            Choice(question="Which colour?", labels=("Red", "Blue"), tips=("warm", "")),
            Choice(question="How many?", labels=("One", "Two"), tips=("", "")),
        ]

    async def test_a_question_is_one_line_without_tricks(self) -> None:
        user = User("1")
        tricky = {"question": "a\n\x1b[2Jb\u202e", "options": [{"label": "c\nd"}]}
        await decide(request("AskUserQuestion", {"questions": [tricky]}), user.asker)
        assert not any(sign in user.asked[0] for sign in "\n\x1b\u202e")
