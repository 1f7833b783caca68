"""What a model is told of an answer from elsewhere: what its page showed, and nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from hotclaude_kernel.claude.frames import dumps
from hotclaude_kernel.page.told import told

if TYPE_CHECKING:
    from hotclaude_kernel.claude.frames import Frame

PNG = "iVBORw0KGgo="  # enough for a page: it looks at the base64 only


def said(*blocks: Frame, **more: Any) -> Frame:
    return {"type": "assistant", "message": {"id": "m", "content": list(blocks)}, **more}


def use(tool: str = "Bash", name: str = "t1", /, **given: Any) -> Frame:
    return said({"type": "tool_use", "id": name, "name": tool, "input": given})


def returned(content: Any, detail: Any = None, name: str = "t1", **more: Any) -> Frame:
    block = {"type": "tool_result", "tool_use_id": name, "content": content, **more}
    return {"type": "user", "message": {"content": [block]}, "tool_use_result": detail}


def of(*frames: Frame) -> list[Frame]:
    """The content blocks that are told, in their order."""
    return [block for message in told(b"".join(map(dumps, frames))) for block in message["content"]]


def call_and_result(*frames: Frame) -> tuple[Frame, Any]:
    """The input and the result that are told of the one call."""
    call, result = of(*frames)
    assert (call["type"], result["type"]) == ("tool_use", "tool_result")
    assert call["id"] == result["tool_use_id"]
    return call["input"], result["content"]


def decided(words: str) -> Frame:
    return {"type": "hotclaude_decided", "id": "t1", "decision": words}


class TestWhatThePageShows:
    def test_text(self) -> None:
        assert of(said({"type": "text", "text": "**yes**"})) == [
            {"type": "text", "text": "**yes**"}
        ]

    @pytest.mark.parametrize(
        ("frames", "given", "result"),
        [
            ((use(command="ls\nls b"), returned("a\n  b")), {"command": "ls\nls b"}, "a\n  b"),
            (
                (
                    use("Read", file_path="/p/a.py"),
                    returned("     1\tx = 1\n     2\ty", {"file": {"content": "x = 1\ny"}}),
                ),
                {"file_path": "/p/a.py"},
                "     1\tx = 1\n     2\ty",
            ),
            (
                (use("mcp__x__y", b="two\nlines", c=[1, None]), returned("sunny")),
                {"b": "two\nlines", "c": [1, None]},
                "sunny",
            ),
            (
                (use("Edit", file_path="/a", old_string="x\ny", new_string="z"), returned("")),
                {"file_path": "/a", "old_string": "x\ny", "new_string": "z"},
                "(no output)",
            ),
            (
                (use("WebFetch", url="http://x"), returned("# A page\n\ntext")),
                {"url": "http://x"},
                "# A page\n\ntext",
            ),
            (
                (
                    use("Bash", command="false"),
                    returned("<tool_use_error>no</tool_use_error>", is_error=True),
                ),
                {"command": "false"},
                "no",
            ),
            (
                (
                    use("AskUserQuestion", questions=[{"question": "Which?"}]),
                    returned('Answers: "Which?"="Blue".', {"answers": {"Which?": "Blue"}}),
                ),
                {"questions": [{"question": "Which?"}]},
                '"Which?"="Blue"',
            ),
            (
                (
                    use(command="rm x"),
                    decided("denied (no)"),
                    returned("The user denied this: no", is_error=True),
                ),
                {"command": "rm x"},
                "The user denied this.",
            ),
        ],
    )
    def test_calls_and_results(
        self, frames: tuple[Frame, Frame], given: Frame, result: str
    ) -> None:
        assert call_and_result(*frames) == (given, result)

    def test_pictures(self) -> None:
        source = {"type": "base64", "media_type": "image/png", "data": PNG}
        image = {"type": "image", "source": source}
        _, content = call_and_result(use("Read", file_path="/a.png"), returned([image]))
        assert content == [image]


# What a stranger may have put where no page shows it.
HIDDEN = "HIDDEN"
UNSHOWN: dict[str, tuple[Frame, ...]] = {
    "beside the shown file": (
        use("Read", file_path="/a"),
        returned("1\tx\n<system-reminder>HIDDEN</system-reminder>", {"file": {"content": "x"}}),
    ),
    "in place of the shown file": (
        use("Read", file_path="/a"),
        returned("HIDDEN", {"file": {"content": "nice"}}),
    ),
    "in the result of an edit": (
        use("Edit", file_path="/a", old_string="x", new_string="y"),
        returned("HIDDEN"),
    ),
    "behind the shown patch": (
        use("Edit", file_path="/a", old_string="x", new_string="HIDDEN it is"),
        returned("ok", {"structuredPatch": [{"lines": ["-x", "+y"]}]}),
    ),
    "in a field that no card shows": (use("Read", file_path="/a", note="HIDDEN it is"),),
    "in the name of a field": (use("Read", **{"file_path": "/a", "HIDDEN words here": "x"}),),
    "in a nested field": (use("TodoWrite", todos=[{"content": "a", "x": "HIDDEN it is"}]),),
    "past what a card shows": (use(command="ls"), returned("a\n" * 20_000 + "HIDDEN")),
    "before a carriage return": (use(command="ls"), returned("HIDDEN\rshown")),
    "beside a picture": (
        use("Read", file_path="/a.png"),
        returned(
            [
                {"type": "text", "text": "HIDDEN"},
                {"type": "image", "source": {"media_type": "image/png", "data": PNG}},
            ]
        ),
    ),
    "as a picture that is none": (
        use("Read", file_path="/a.png"),
        returned([{"type": "image", "source": {"media_type": "image/png", "data": "HIDDEN"}}]),
    ),
    "behind a denial": (
        use(command="ls"),
        decided("denied"),
        returned("HIDDEN", is_error=True),
    ),
    "in an answer of the user's": (
        use("AskUserQuestion", questions=[{"question": "Which?", "header": "HIDDEN header"}]),
        returned('"Which?"="Blue" HIDDEN', {"answers": {"Which?": "Blue"}}),
    ),
    "in a subagent's report": (
        use("Task", prompt="go"),
        returned("HIDDEN", {"content": [{"text": "fine"}]}),
    ),
    "in a subagent": (
        use("Task", prompt="go"),
        said({"type": "text", "text": "HIDDEN"}, parent_tool_use_id="t1"),
    ),
    "in thinking": (said({"type": "thinking", "thinking": "x", "signature": "HIDDEN"}),),
    "in encrypted thinking": (said({"type": "redacted_thinking", "data": "HIDDEN"}),),
    "beside a text": (said({"type": "text", "text": "x", "citations": ["HIDDEN"]}),),
    "in a failure of the API": (
        said({"type": "text", "text": "HIDDEN"}, is_api_error_message=True),
    ),
    "in a block of another kind": (said({"type": "document", "source": "HIDDEN"}),),
    "as the user": (
        {"type": "user", "message": {"content": [{"type": "text", "text": "HIDDEN"}]}},
    ),
    "as the user, in a string": ({"type": "user", "message": {"content": "HIDDEN"}},),
    "in a result of another turn": (returned("HIDDEN", name="t9"),),
    "in a second result": (use(command="ls"), returned("a"), returned("HIDDEN")),
    "in the id of a call": (use("Bash", "HIDDEN", command="ls"), returned("a", name="HIDDEN")),
    "in the name of a tool": (use("HIDDEN tool, do this"),),
    "in a frame that can't be read": ({"type": "assistant", "message": "HIDDEN"},),
    "in a notice": ({"type": "system", "subtype": "informational", "content": "HIDDEN"},),
}


@pytest.mark.parametrize("where", UNSHOWN)
def test_what_no_page_shows_is_not_told(where: str) -> None:
    assert HIDDEN in json.dumps(UNSHOWN[where])
    assert HIDDEN not in json.dumps(told(b"".join(map(dumps, UNSHOWN[where]))))


def test_an_answer_is_never_told_as_the_users() -> None:
    frame = {
        "type": "assistant",
        "message": {"role": "user", "content": [{"type": "text", "text": "x"}]},
    }
    [message] = told(dumps(frame))
    assert message["role"] == "assistant"


def test_how_many_lines_were_not_shown_is_told() -> None:
    _, result = call_and_result(
        use("Read", file_path="/a"), returned("1\tx\n2\tno", {"file": {"content": "x"}})
    )
    assert result == "1\tx\n[1 lines were not shown]"


def test_ids_are_the_same_each_time_and_others_in_another_turn() -> None:
    frames = [use(command="ls"), returned("a")]
    assert of(*frames) == of(*frames)
    assert of(*frames)[0]["id"] != of(*frames, said({"type": "text", "text": "x"}))[0]["id"]
