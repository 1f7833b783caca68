"""Tool uses as cards: what each shows, how it is completed, and that nothing breaks out of it."""

from __future__ import annotations

import html
import itertools
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotclaude_kernel.claude.events import Block, ToolResult
from hotclaude_kernel.page.cards import TITLE_CHARACTERS, Card, language_of
from hotclaude_kernel.page.document import Aside
from hotclaude_kernel.page.markdown import render as markdown
from hotclaude_kernel.page.sections import MOST_CHARACTERS

from ..hostile import brief, corpus, entry, violations
from ..support.examples import times
from .test_sections import PIXEL

if TYPE_CHECKING:
    from hotclaude_kernel.claude.frames import Frame

HOSTILE = corpus()

TOOLS = (
    "Bash", "Read", "Write", "Edit", "MultiEdit", "NotebookEdit", "Glob", "Grep", "WebFetch",
    "WebSearch", "TodoWrite", "Task", "Agent", "AskUserQuestion", "ExitPlanMode", "mcp__x__y",
    "Later",
)  # fmt: skip

any_text = st.text(st.characters(exclude_categories=[]), max_size=40)
#: Keys that some tool reads, and values of every type that JSON has.
KEYS = (
    "command", "file_path", "notebook_path", "path", "pattern", "url", "query", "description",
    "old_string", "new_string", "new_source", "content", "edits", "todos", "plan", "questions",
    "question", "status", "prompt", "structuredPatch", "lines", "answers", "file", "filePath",
    "text", "skill", "subject", "oldStart",
)  # fmt: skip
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=10,
)


def use(name: Any, given: Any = None, **values: Any) -> Card:
    content = {"type": "tool_use", "id": "t1", "name": name, "input": given or values}
    return Card(Block(uuid="u", message_id="m", kind="tool_use", content=content))


def returned(text: str = "", **fields: Any) -> ToolResult:
    given: dict[str, Any] = {"is_error": False} | fields
    return ToolResult(uuid="u", tool_use_id="t1", text=text, **given)


def ended(card: Card, text: str = "", **fields: Any) -> Card:
    card.end(returned(text, **fields))
    return card


def shown(card: Card) -> str:
    """The card's HTML, once it is known to be safe."""
    drawn = card.render({})
    assert violations(drawn, card=True) == []
    return drawn


def words(card: Card) -> str:
    """The words on the card, entities read, runs of space made one."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", shown(card))).split())


def is_open(card: Card) -> bool:
    return shown(card).startswith("<details open ")


def body(card: Card) -> str:
    return card.render({}).partition("</summary>")[2].removesuffix("</details>")


class TestTitle:
    @pytest.mark.parametrize(
        ("name", "values", "line"),
        [
            ("Bash", {"command": "ls -l"}, "Bash: ls -l"),
            ("Read", {"file_path": "/a/b.py", "limit": 3}, "Read: /a/b.py"),
            ("NotebookEdit", {"notebook_path": "/a/b.ipynb"}, "NotebookEdit: /a/b.ipynb"),
            ("Grep", {"pattern": "x+"}, "Grep: x+"),
            ("WebFetch", {"url": "https://a.invalid"}, "WebFetch: https://a.invalid"),
            ("WebSearch", {"query": "cats"}, "WebSearch: cats"),
            ("Task", {"description": "Look", "prompt": "look at it"}, "Task: Look"),
            ("Task", {"prompt": "look"}, "Task"),
            ("Bash", {"command": "\n  first\nsecond"}, "Bash: first…"),
            ("Bash", {"command": "  "}, "Bash"),
            ("Bash", {}, "Bash"),
            ("Bash", None, "Bash"),
            ("", {}, "tool"),
            (None, {}, "tool"),
        ],
    )
    def test_it_is_the_name_and_what_it_is_about(self, name: Any, values: Any, line: str) -> None:
        content = {"type": "tool_use", "id": "t1", "name": name, "input": values}
        card = Card(Block(uuid="u", message_id="m", kind="tool_use", content=content))
        assert card.line == line

    def test_without_anything_it_is_a_tool(self) -> None:
        assert Card(Block(uuid="u", message_id="m", kind="tool_use", content={})).line == "tool"

    def test_a_long_one_is_cut(self) -> None:
        assert use("Bash", command="x" * 1000).about == "x" * TITLE_CHARACTERS + "…"

    @given(any_text, any_text)
    def test_it_is_one_visible_line_whatever_the_model_wrote(self, name: str, value: str) -> None:
        line = use(name, command=value).line
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", line)

    def test_in_markdown_it_can_not_break_out(self) -> None:
        """A name is bold, a subject code, a decision plain; none is anything else."""
        for name, text in HOSTILE.items():
            with entry(name):
                card = use("x" + text, {"command": f"x{text}"})
                card.decide(text)
                head = markdown.render(card.source.partition("\n\n")[0])
                assert violations(head) == []
                # A bare address is a link.
                head = re.sub(r'<a href="(?:http|mailto)[^>]*>([^<]*)</a>', r"\1", head)
                outside = re.sub(r"<(strong|code)>[^<]*</\1>", "", head)
                assert re.fullmatch(r'(<p dir="auto">)?[^<]*(</p>\n)?', outside), head

    @pytest.mark.parametrize("name", ["a*b", "a**b", "`a", "[a](b)", "<b>", "_a_", "a$b$", "a\\"])
    def test_in_markdown_a_name_reads_as_it_stands(self, name: str) -> None:
        head = markdown.render(use(name).source.partition("\n\n")[0])
        assert html.unescape(head).startswith(f'<p dir="auto">⟨U+2756⟩ <strong>{name}</strong>')

    @pytest.mark.parametrize("command", ["`", "``", "a `b` c", "` `", "a`"])
    def test_backquotes_do_no_harm_in_it(self, command: str) -> None:
        head = markdown.render(use("Bash", command=command).source.partition("\n\n")[0])
        assert "`" not in re.sub(r"<[^>]+>", "", head)
        assert head.endswith("· running…</p>\n")


class TestStates:
    def test_it_runs_until_it_is_done(self) -> None:
        card = use("Bash", command="ls")
        assert card.state == "running…"
        assert "running…" in words(card)
        ended(card, "total 0")
        assert card.state == "done"
        assert words(card) == "❖ Bash ls · donetotal 0"

    def test_a_failed_one_says_so_and_why(self) -> None:
        card = ended(use("Write", file_path="a.py", content="x = 1"), "no room", is_error=True)
        assert card.state == "failed"
        assert "no room" in words(card)
        assert "no room" in card.source

    def test_one_that_the_turn_did_not_wait_for_was_stopped(self) -> None:
        card = use("Bash", command="sleep 9")
        shown(card)
        card.stop()
        assert card.state == "stopped"
        assert "running" not in words(card)

    def test_a_finished_one_is_not_stopped(self) -> None:
        card = ended(use("Bash", command="ls"), "x")
        card.stop()
        assert card.state == "done"

    def test_one_that_waits_is_only_its_title(self) -> None:
        """The question shows all of the call."""
        card = use("Bash", command="ls\npwd")
        assert "pwd" in words(card)
        card.wait()
        assert not is_open(card)
        assert body(card) == ""
        assert card.state == "waiting for your answer"
        card.decide("allowed once")
        assert "pwd" in words(card)
        assert card.state == "allowed once, running…"
        ended(card, "x")
        assert card.state == "allowed once, done"

    def test_one_that_a_rule_allowed_says_by_which_and_is_never_open(self) -> None:
        card = use("Bash", command="touch aa")
        decision = "allowed by the rule of this session for `touch *`"
        card.decide(decision)
        assert not is_open(card)
        ended(card, "x")
        assert card.state == f"{decision}, done"
        assert f"{decision}, done" in words(card)
        # The rule's text is no code in the Markdown, whatever it holds.
        assert "for \\`touch \\*\\`, done" in card.source

    def test_a_denied_one_keeps_the_decision_and_the_reason(self) -> None:
        card = use("Bash", command="rm -rf /")
        card.wait()
        card.decide("denied (too much)")
        ended(card, "The user denied this: too much", is_error=True)
        assert card.state == "denied (too much), failed"
        assert "denied (too much), failed" in words(card)

    def test_one_that_waited_when_the_turn_was_stopped_waits_no_more(self) -> None:
        card = use("Bash", command="ls")
        card.wait()
        card.stop()
        assert card.state == "stopped"

    def test_it_is_drawn_once_for_each_change(self, monkeypatch: pytest.MonkeyPatch) -> None:
        card = use("Task", prompt="look")
        drawn: list[str] = []
        render = markdown.render

        def counted(text: str) -> str:
            drawn.append(text)
            return render(text)

        monkeypatch.setattr(markdown, "render", counted)
        for _ in range(3):
            card.render({})
        assert drawn == ["look"]

    def test_its_size_is_that_of_the_call(self) -> None:
        card = use("Bash", command="x" * 500)
        size = card.size
        assert 500 < size < 1000
        assert ended(card, "y" * 5000).size == size
        assert use("Write", content="x" * 10**6).size == MOST_CHARACTERS


PATCH = [
    {
        "oldStart": 1,
        "oldLines": 2,
        "newStart": 1,
        "newLines": 2,
        "lines": [" same", "-old", "+new", "\\ No newline at end of file"],
    }
]


class TestBash:
    def test_a_short_command_stands_in_the_title_alone(self) -> None:
        card = ended(use("Bash", command="ls"), "total 0\n")
        assert card.sections() == []
        assert "<code>ls</code>" in shown(card)
        assert card.source == "❖ **Bash** `ls` · done\n\n```\ntotal 0\n```\n\n"

    @pytest.mark.parametrize("command", ["x" * 101, "a\nb", "for x in y; do\n  z\ndone\n"])
    def test_a_long_one_or_one_of_many_lines_stands_whole_below(self, command: str) -> None:
        card = use("Bash", command=command)
        assert " ".join(command.split()) in words(card)
        assert f"```bash\n{command.rstrip()}\n```\n\n" in card.source

    def test_colours_in_the_output_are_shown_and_kept_out_of_markdown(self) -> None:
        card = ended(use("Bash", command="ls"), "\x1b[34mfolder\x1b[0m \x1b[2Jfile")
        assert '<span style="color:#2b7fd9">folder</span> file' in shown(card)
        assert "```\nfolder file\n```" in card.source

    def test_much_output_is_folded(self) -> None:
        card = ended(use("Bash", command="ls"), "line\n" * 100)
        assert "80 more lines" in words(card)


class TestFiles:
    def test_a_text_is_shown_in_the_language_of_its_name(self) -> None:
        detail = {"type": "text", "file": {"filePath": "/a/b.py", "content": "x = 1\n"}}
        card = ended(use("Read", file_path="/a/b.py"), "     1→x = 1", detail=detail)
        assert "1→" not in words(card)
        assert '<span class="m">1</span>' in shown(card)
        assert "```python\nx = 1\n```" in card.source

    def test_without_detail_it_is_shown_as_it_came(self) -> None:
        assert "1→x = 1" in words(ended(use("Read", file_path="/a/b.py"), "1→x = 1"))

    def test_an_image_is_shown(self) -> None:
        card = ended(use("Read", file_path="/a/b.png"), "[image]", pictures=(("image/png", PIXEL),))
        assert f'<img src="data:image/png;base64,{PIXEL}"' in shown(card)
        assert PIXEL not in card.source
        assert "image/png" in card.source

    def test_several_images_are_shown_one_below_the_other(self) -> None:
        pictures = (("image/png", PIXEL), ("image/svg+xml", PIXEL), ("image/gif", PIXEL))
        card = ended(use("mcp__x__shot"), "[image]", pictures=pictures)
        assert shown(card).count("<img ") == 2
        assert "[image/svg+xml, not shown]" in words(card)

    def test_a_new_file_is_shown_whole(self) -> None:
        card = use("Write", file_path="/a/b.py", content="x = 1\n")
        before = body(card)
        detail = {"type": "create", "structuredPatch": [], "content": "x = 1\n"}
        ended(card, "File created successfully", detail=detail)
        assert body(card) == before
        assert "```python\nx = 1\n```" in card.source
        assert "successfully" not in words(card)

    def test_a_changed_one_is_shown_as_its_change(self) -> None:
        card = use("Write", file_path="/a/b.py", content="same\nnew")
        ended(card, "updated", detail={"type": "update", "structuredPatch": PATCH})
        assert (
            "```diff\n--- /a/b.py\n+++ /a/b.py\n@@ -1,2 +1,2 @@\n same\n-old\n+new\n" in card.source
        )
        assert '<span class="s">-old' in shown(card)
        assert '<span class="m">+new' in shown(card)

    def test_an_edit_is_shown_before_it_is_made_and_as_it_was_made(self) -> None:
        card = use("Edit", file_path="/a/b.py", old_string="a\nold", new_string="a\nnew")
        assert "--- /a/b.py\n+++ /a/b.py\n@@ -1,2 +1,2 @@\n a\n-old\n+new\n" in card.source
        ended(card, "edited", detail={"structuredPatch": PATCH})
        assert " same\n-old\n+new\n" in card.source
        assert "edited" not in words(card)

    def test_all_of_several_edits_are_shown(self) -> None:
        edits = [{"old_string": "one", "new_string": "1"}, {"old_string": "two", "new_string": "2"}]
        card = use("MultiEdit", file_path="/a/b.py", edits=edits)
        for line in ("-one", "+1", "-two", "+2"):
            assert f"{line}\n" in card.source
            assert line in words(card)

    def test_a_notebooks_cell_is_shown(self) -> None:
        card = use("NotebookEdit", notebook_path="/a/b.ipynb", new_source="x = 1")
        assert "x = 1" in words(card)
        assert "Updated" not in words(ended(card, "Updated cell"))

    @pytest.mark.parametrize(
        ("path", "language"),
        [
            ("a.py", "python"),
            ("A.PY", "python"),
            ("a", ""),
            ("", ""),
            ("a.xyz", ""),
            ("/a.d/b", ""),
        ],
    )
    def test_a_language_is_known_by_the_name(self, path: str, language: str) -> None:
        assert language_of(path) == language


class TestFinding:
    @pytest.mark.parametrize("name", ["Glob", "Grep"])
    def test_what_was_found_is_shown_as_it_came(self, name: str) -> None:
        card = ended(use(name, pattern="*.py"), "a.py\nb.py")
        assert card.sections() == []
        assert "```\na.py\nb.py\n```" in card.source
        assert "a.py b.py" in words(card)

    @pytest.mark.parametrize("name", ["WebFetch", "WebSearch"])
    def test_what_the_web_says_is_prose(self, name: str) -> None:
        card = ended(use(name, url="https://a.invalid"), "# Title\n\nSome *words*")
        assert "<em>words</em>" in shown(card)
        assert "> # Title\n>\n> Some *words*\n\n" in card.source


class TestShown:
    def test_a_checklist_is_open_and_ticked(self) -> None:
        todos = [
            {"content": "one", "status": "completed", "activeForm": "doing one"},
            {"content": "two", "status": "in_progress"},
            {"content": "three", "status": "pending"},
        ]
        card = ended(use("TodoWrite", todos=todos), "Todos have been modified")
        assert is_open(card)
        assert shown(card).count('<input type="checkbox" disabled checked>') == 1
        assert shown(card).count('<input type="checkbox" disabled>') == 2
        assert "<strong>two</strong>" in shown(card)
        assert "> - [x] one\n> - [ ] **two**\n> - [ ] three\n\n" in card.source
        assert "modified" not in words(card)

    def test_a_plan_is_open_and_rendered(self) -> None:
        card = use("ExitPlanMode", plan="## Plan\n\n1. *Do* it")
        assert is_open(card)
        assert "<em>Do</em>" in shown(card)
        assert "> ## Plan\n>\n> 1. *Do* it\n\n" in card.source

    def test_questions_are_open_and_answered_in_place(self) -> None:
        questions = [{"question": "Which?", "options": [{"label": "A"}]}, {"question": "Why?"}]
        card = use("AskUserQuestion", questions=questions)
        assert is_open(card)
        assert "- Which? **…**" in card.source
        ended(card, "User has answered", detail={"answers": {"Which?": "A", "Why?": "so"}})
        assert "- Which? **A**\n> - Why? **so**\n" in card.source
        assert "<strong>so</strong>" in shown(card)
        assert "User has answered" not in words(card)


class TestAgents:
    @pytest.mark.parametrize("name", ["Task", "Agent"])
    def test_its_steps_stand_between_the_prompt_and_the_report(self, name: str) -> None:
        card = use(name, description="Look", prompt="Look *there*")
        step = use("Read", file_path="/a/b.py")
        card.add(step)
        card.add(Aside("> Hm.\n\n", html="<p>Hm.</p>"))
        ended(step, "the file")
        detail = {
            "content": [
                {"type": "text", "text": "It *is* there."},
                {"type": "text", "text": "<tools-used>\nRead: 1\n</tools-used>"},
            ]
        }
        ended(card, "It *is* there.\n<tools-used>…", detail=detail)
        for said in (words(card), card.source):
            assert "tools-used" not in said
            places = [said.index(word) for word in ("Look", "Read", "the file", "Hm.", "there.")]
            assert places == sorted(places)
        assert "<em>is</em>" in shown(card)
        assert shown(card).count("<details") == 2

    def test_without_detail_the_report_is_what_was_returned(self) -> None:
        assert "It is." in words(ended(use("Task", prompt="look"), "It is."))

    def test_a_change_far_down_reaches_the_card_on_the_page(self) -> None:
        cards = [use("Task", prompt=f"look {n}") for n in range(4)]
        for above, below in itertools.pairwise(cards):
            shown(cards[0])
            above.add(below)
        assert "look 3" in words(cards[0])
        ended(cards[3], "found at last")
        assert "found at last" in words(cards[0])
        assert {card.root for card in cards} == {cards[0]}


class TestUnknown:
    @pytest.mark.parametrize("name", ["mcp__server__tool", "ALaterTool"])
    def test_its_input_is_json_and_its_output_text(self, name: str) -> None:
        card = ended(use(name, {"to": "Ada", "count": 3, "é": ["ü"]}), "sent\n```")
        assert (
            '```json\n{\n  "to": "Ada",\n  "count": 3,\n  "é": [\n    "ü"\n  ]\n}\n```'
            in card.source
        )
        assert '"count": 3' in words(card)
        assert "````\nsent\n```\n````" in card.source


class TestSafety:
    @pytest.mark.parametrize("name", TOOLS)
    def test_nothing_hostile_is_anything_but_text(self, name: str) -> None:
        for text in brief().values():
            self.check_all_of(name, text)

    @pytest.mark.long
    @pytest.mark.parametrize("name", TOOLS)
    def test_nothing_of_the_whole_corpus_is(self, name: str) -> None:
        for text in HOSTILE.values():
            self.check_all_of(name, text)

    def check_all_of(self, name: str, text: str) -> None:
        # What no tool of ours reads is shown as JSON, for which one key is like another.
        values: Frame = {} if name in ("mcp__x__y", "Later") else dict.fromkeys(KEYS, text)
        values |= {
            text: text,
            "edits": [{"old_string": text, "new_string": "x" + text}],
            "todos": [{"content": text, "status": "in_progress"}],
            "questions": [{"question": text}],
        }
        hunk = {"oldStart": text, "oldLines": 1, "newStart": 1, "newLines": text, "lines": [text]}
        detail = {
            "structuredPatch": [hunk],
            "answers": {text: text},
            "file": {"filePath": text, "content": text},
            "content": [{"type": "text", "text": text}],
        }
        card = use(name, values)
        card.wait()
        self.check(card)
        card.decide(text)
        self.check(ended(card, text, detail=detail))
        self.check(ended(card, text, is_error=True))
        self.check(ended(card, text, pictures=((text, text),)))

    def test_nor_is_it_in_a_name(self) -> None:
        for name, text in HOSTILE.items():
            with entry(name):
                card = use(text, {text: text})
                card.add(use(text, {text: text}))
                self.check(ended(card, text))

    def check(self, card: Card) -> None:
        assert violations(card.render({}), card=True) == []
        shown = markdown.render(card.source + "*after*")
        assert violations(shown) == []
        assert shown.endswith('<p dir="auto"><em>after</em></p>\n')

    @given(st.sampled_from(TOOLS) | any_text, anything, anything, any_text, st.booleans())
    @times(2)
    def test_no_types_make_it_fail_and_it_can_always_be_sent(
        self, name: str, values: Any, detail: Any, text: str, waits: bool
    ) -> None:
        content = {"type": "tool_use", "id": "t1", "name": name, "input": values}
        card = Card(Block(uuid="u", message_id="m", kind="tool_use", content=content))
        if waits:
            card.wait()
        for end in (False, True):
            if end:
                card.end(returned(text, detail=detail))
            assert card.size > 0
            said = [shown(card), card.source, card.line]
            json.dumps(said, ensure_ascii=False).encode()
            assert not re.search("[\x1b\u202e]", "".join(said))
