"""What the server reads out of a request, and what the demonstration answers."""

from __future__ import annotations

from typing import Any

import pytest

from hotclaude_kernel.modelserver.demo import demo_model
from hotclaude_kernel.modelserver.replies import (
    Reply,
    Text,
    Thinking,
    ToolUse,
)
from hotclaude_kernel.modelserver.request import Exchange, Request

from ..support.messages import request


def reminder(text: str) -> dict[str, str]:
    return {"type": "text", "text": f"<system-reminder>\n{text}\n</system-reminder>\n"}


class TestRequest:
    def test_reminders_beside_the_prompt_are_not_the_users(self) -> None:
        content = [reminder("rules"), {"type": "text", "text": "remember 42"}]
        asked = request(
            {"role": "user", "content": content},
            {"role": "system", "content": "# Environment"},
            {"role": "assistant", "content": [{"type": "text", "text": "noted"}]},
            {"role": "user", "content": "recall"},
        )
        assert asked.turns == (
            Exchange(prompt="remember 42", answer="noted"),
            Exchange(prompt="recall"),
        )
        assert asked.prompt == "recall"
        assert not asked.is_first_turn

    def test_tags_that_the_user_typed_stay(self) -> None:
        text = "what is <system-reminder>this</system-reminder>?"
        assert request(text).prompt == text

    def test_local_commands_are_not_prompts(self) -> None:
        texts = [
            "<local-command-caveat>The command below</local-command-caveat>",
            "<command-name>/context</command-name>\n<command-args></command-args>",
            "<local-command-stdout>## Context</local-command-stdout>\n",
            "and now?",
        ]
        content = [{"type": "text", "text": text} for text in texts]
        assert request({"role": "user", "content": content}).prompt == "and now?"

    def test_tool_results_name_their_call(self) -> None:
        use = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}}
        result = {"type": "tool_result", "tool_use_id": "t1", "content": "a\nb", "is_error": False}
        asked = request(
            "list",
            {"role": "assistant", "content": [use]},
            {"role": "user", "content": [result]},
        )
        (found,) = asked.tool_results
        assert (found.name, found.text, found.input) == ("Bash", "a\nb", {"command": "ls"})
        assert asked.prompt == "list"

    @pytest.mark.parametrize(
        ("asked", "kind"),
        [
            (request("hi"), None),
            (request("<session>", output_config={"format": {}}, tools=[]), None),
            (request("<session>", output_config={"format": {"type": "json_schema"}}), "title"),
            (request("[SUGGESTION MODE: suggest]"), "suggestion"),
            (request("CRITICAL: Respond with TEXT ONLY. Do"), "compact"),
            (
                request(
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "text",
                                "text": "<system-reminder>This is a side question from the user."
                                "</system-reminder>",
                            },
                            {"type": "text", "text": "six?"},
                        ],
                    }
                ),
                "side_question",
            ),
        ],
    )
    def test_what_is_not_a_turn_is_told(self, asked: Request, kind: str | None) -> None:
        assert asked.auxiliary == kind

    @pytest.mark.parametrize("value", [{}, {"messages": 3}, {"messages": [{}, 1]}])
    def test_odd_bodies_do_not_raise(self, value: dict[str, Any]) -> None:
        asked = Request(body=b"", json=value)
        assert (asked.prompt, asked.turns, asked.tool_results, asked.auxiliary) == (
            "",
            (),
            (),
            None,
        )


def said(reply: Reply) -> str:
    return "".join(block.text for block in reply.blocks if isinstance(block, Text))


def called(reply: Reply) -> ToolUse:
    (use,) = [block for block in reply.blocks if isinstance(block, ToolUse)]
    return use


TOOLS = [{"name": name} for name in ("Bash", "Write", "AskUserQuestion")]


class TestDemo:
    @pytest.mark.parametrize("prompt", ["hi", "count to 3", "remember 42", "recall", "tool", ""])
    def test_the_first_words_say_that_it_is_not_claude(self, prompt: str) -> None:
        assert said(demo_model(request(prompt))).startswith("*This is a demonstration, not Claude")

    def test_later_turns_do_not_repeat_it(self) -> None:
        assert "not Claude" not in said(demo_model(request("hi", "x", "hi")))

    @pytest.mark.parametrize(
        ("first", "later", "expected"),
        [
            ("remember 42", "recall", "42"),
            ("Please remember that my name is Ada.", "what is my name?", "my name is Ada"),
            ("remember this: tea\nand go on", "What did I ask you to remember?", "tea"),
        ],
    )
    def test_it_recalls_from_the_history(self, first: str, later: str, expected: str) -> None:
        assert f"**{expected}**" in said(demo_model(request(first, "Noted.", later)))

    def test_it_recalls_nothing_that_was_not_sent(self) -> None:
        assert "Nothing yet" in said(demo_model(request("hi", "x", "recall")))

    @pytest.mark.parametrize(
        ("prompt", "name"),
        [
            ("list the files here", "Bash"),
            ("use a tool", "Bash"),
            ("write a file", "Write"),
            ("ask me a question", "AskUserQuestion"),
        ],
    )
    def test_tools(self, prompt: str, name: str) -> None:
        assert called(demo_model(request(prompt, tools=TOOLS))).name == name
        assert "not on offer" in said(demo_model(request(prompt)))

    def test_the_name_of_the_file_is_the_users(self) -> None:
        use = called(demo_model(request("write a file notes.md", tools=TOOLS)))
        assert use.input["file_path"] == "notes.md"

    def test_it_shows_markdown(self) -> None:
        shown = said(demo_model(request("show me what you can do")))
        assert all(mark in shown for mark in ("\n## ", "|:--", "```python", "\\(x", "$ax", "1. "))

    @pytest.mark.parametrize(
        ("prompt", "words"), [("count to 200", 200), ("write 321 words", 321), ("a long one", 500)]
    )
    def test_long_answers(self, prompt: str, words: int) -> None:
        assert len(said(demo_model(request("hi", "x", prompt))).split()) == words

    def test_a_greeting_is_one_line(self) -> None:
        reply = said(demo_model(request("hi", "x", "Say hello in one line.")))
        assert (reply.startswith("Hello"), "\n" in reply) == (True, False)

    def test_anything_else_is_echoed_shortened_with_a_menu(self) -> None:
        reply = said(demo_model(request("hi", "x", "why? " * 100)))
        assert "small script" in reply
        assert "…`" in reply
        assert "`count to 200`" in reply

    def test_text_is_paced(self) -> None:
        blocks = demo_model(request("hi")).blocks
        assert all(block.words_per_s == 60 for block in blocks if isinstance(block, Text))

    def test_thinking_comes_before_the_answer(self) -> None:
        reply = demo_model(request("hi", "x", "think about six times seven"))
        assert isinstance(reply.blocks[0], Thinking)
