"""A call as the user is asked about it: all of it is in view, once, and each character is seen."""

from __future__ import annotations

import html as entities
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotclaude_kernel.questions import asked
from hotclaude_kernel.questions.asked import MOST_CHARACTERS, html, plan, source

from ..hostile import brief, violations
from ..page.test_cards import KEYS, TOOLS, anything

if TYPE_CHECKING:
    from hotclaude_kernel.claude.frames import Frame


def shown(name: str, values: Frame) -> str:
    """The form's HTML, once it is known to be safe."""
    drawn = html(name, values)
    assert drawn is not None
    assert violations(drawn, card=True) == []
    return drawn


def words(drawn: str) -> str:
    return entities.unescape(re.sub(r"<[^>]+>", "", drawn))


#: A call of each kind, longer than any title, with something that no title shows.
LONG_PATH = "/" + "folder/" * 30 + "secret.txt"
EDIT = {"old_string": "was", "new_string": "becomes"}
WAITING: list[tuple[str, Frame, list[str]]] = [
    ("Bash", {"command": "echo " + "x" * 200 + " && rm secret"}, ["rm secret"]),
    ("Bash", {"command": "ls\rrm secret"}, ["rm secret"]),
    ("Bash", {"command": "ls\u2028rm secret"}, ["rm secret"]),
    ("Bash", {"command": "\u200b" * 60 + "rm secret"}, ["rm secret"]),
    ("Bash", {"command": "ls\nrm secret"}, ["rm secret"]),
    ("Bash", {"command": "ls", "dangerouslyDisableSandbox": True}, ["dangerouslyDisableSandbox"]),
    ("Read", {"file_path": LONG_PATH}, ["secret.txt"]),
    ("Write", {"file_path": LONG_PATH, "content": "secret text"}, ["secret.txt", "secret text"]),
    ("Edit", {"file_path": LONG_PATH, **EDIT}, ["secret.txt", "was", "becomes"]),
    ("Edit", {"file_path": "a", **EDIT, "replace_all": True}, ["replace_all"]),
    ("MultiEdit", {"file_path": "a", "edits": [EDIT]}, ["was", "becomes"]),
    ("NotebookEdit", {"notebook_path": "a", "cell_id": "c7", "new_source": "code"}, ["c7", "code"]),
    ("Glob", {"pattern": "*", "path": "/secret"}, ["*", "/secret"]),
    ("Grep", {"pattern": "x", "path": "/secret", "glob": "*.key"}, ["/secret", "*.key"]),
    ("WebFetch", {"url": f"https://{'x' * 200}.invalid", "prompt": "tell"}, [".invalid", "tell"]),
    ("WebSearch", {"query": "x", "allowed_domains": ["a.invalid"]}, ["a.invalid"]),
    ("Task", {"description": "d", "prompt": "secret", "subagent_type": "x1"}, ["secret", "x1"]),
    ("ExitPlanMode", {"plan": "the plan"}, ["the plan"]),
    ("mcp__mail__send", {"command": "x", "to": "secret"}, ["to", "secret"]),
]  # fmt: skip


class TestWhole:
    @pytest.mark.parametrize(("name", "values", "expected"), WAITING)
    def test_nothing_of_the_call_is_left_out(
        self, name: str, values: Frame, expected: list[str]
    ) -> None:
        said = source(name, values)
        assert said is not None
        for text in expected:
            assert text in words(shown(name, values))
            assert text in said

    @pytest.mark.parametrize("name", TOOLS)
    def test_long_values_are_shown_to_their_end_and_nothing_is_folded(self, name: str) -> None:
        lines = [f"line {n}" for n in range(600)]
        values = {key: f"{key}{key}\n" + "\n".join(lines) for key in KEYS}
        drawn = shown(name, values | {"x": "y" * 30_000})
        assert "<details" not in drawn
        said = words(drawn)
        assert "y" * 30_000 in said
        for key in set(KEYS) - {"old_string"}:
            at = said.index(f"{key}{key}")
            assert said.find("line 599", at) > 0

    @pytest.mark.parametrize(
        ("hidden", "seen"),
        [
            ("ls\rrm x", "ls␍rm x"),
            ("ls\x1b[8mrm x", "ls␛[8mrm x"),
            ("a\u200bb", "a⟨U+200B⟩b"),
            ("a\u202eb", "a⟨U+202E⟩b"),
            ("a\u2028b", "a⟨U+2028⟩b"),
            ("❖ x", "⟨U+2756⟩ x"),
            ("a  b\tc\n\n d", "a  b\tc\n\n d"),
        ],
    )
    def test_each_character_is_seen(self, hidden: str, seen: str) -> None:
        for values in ({"command": hidden}, {"command": "x", "other": hidden}):
            assert seen in words(shown("Bash", values))
            assert seen in (source("Bash", values) or "")

    def test_a_long_field_scrolls_in_its_box_and_says_so(self) -> None:
        command = "\n".join(f"echo {n}" for n in range(45))
        drawn = shown("Bash", {"command": command})
        assert "45 lines" in words(drawn)
        assert "scroll to read all" in words(drawn)
        assert drawn.count("max-height:22em;overflow:auto") == 1
        assert "scroll" not in shown("Bash", {"command": "ls"})

    def test_a_field_is_shown_once(self) -> None:
        for command in ("touch unique", "touch unique\n" + "x" * 200, "y" * 200 + "unique"):
            assert words(shown("Bash", {"command": command})).count("unique") == 1

    def test_a_change_is_shown_with_all_its_lines(self) -> None:
        old = "\n".join(f"line {n}" for n in range(40))
        said = words(shown("Edit", {"file_path": "a", "old_string": old, "new_string": old + "!"}))
        assert " line 0\n line 1\n" in said
        assert "-line 39\n+line 39!" in said

    @pytest.mark.parametrize(
        ("old", "new", "seen"),
        [
            ("a", "a\n", " a\n+"),
            ("a\nb", "a\r\nb", "-a\n+a␍\n b"),
            ("a", "a", " a"),
            ("", "new", "-\n+new"),
        ],
    )
    def test_a_change_of_line_ends_alone_is_seen(self, old: str, new: str, seen: str) -> None:
        values = {"file_path": "a", "old_string": old, "new_string": new}
        assert re.search(rf"change: ?{re.escape(seen)}", words(shown("Edit", values)))

    def test_a_very_long_change_is_all_of_it_taken_away_and_added(self) -> None:
        old, new = "a\n" * 3_000, "b\n" * 3_000
        said = words(shown("Edit", {"file_path": "a", "old_string": old, "new_string": new}))
        assert said.count("-a\n") == said.count("+b\n") == 3_000


class TestWhose:
    def test_a_description_is_claudes(self) -> None:
        values = {"command": "ls", "description": "Asked because: it matches your own rule"}
        assert "Claude describes it as: Asked because: it matches your own rule" in words(
            shown("Bash", values)
        )

    def test_no_field_bears_the_mark(self) -> None:
        for name in TOOLS:
            assert "❖" not in shown(name, {"❖ Claude wants": "❖", "command": "❖ [Allow]"})


class TestNotShown:
    def deep(self, levels: int) -> Any:
        value: Any = "x"
        for _ in range(levels):
            value = [value]
        return value

    @pytest.mark.parametrize("name", TOOLS)
    def test_what_is_too_long_is_not_shown_in_part(self, name: str) -> None:
        assert html(name, {"command": "x" * MOST_CHARACTERS}) is None
        assert source(name, {"command": "x" * MOST_CHARACTERS}) is None

    def test_what_is_nested_too_deep_is_not_shown(self) -> None:
        assert html("mcp__x__y", {"x": self.deep(20)}) is not None
        assert html("mcp__x__y", {"x": self.deep(100_000)}) is None

    def test_a_plan_is_shown_whole_or_not(self) -> None:
        assert "the end" in (plan("word " * 100_000 + "the end") or "")
        assert plan("x" * (MOST_CHARACTERS + 1)) is None

    def test_what_a_rendered_plan_hides_is_below_it(self) -> None:
        hiding = "Read [this][a].\n\n[a]: https://a.invalid 'and delete all'\n[b]: x 'hidden'"
        assert "hidden" in words(plan(hiding) or "")
        assert "<details" not in (plan("1. *Do* it") or "")


class TestSafety:
    @pytest.mark.parametrize("name", TOOLS)
    def test_nothing_hostile_is_anything_but_text(self, name: str) -> None:
        for text in brief().values():
            shown(name, {**dict.fromkeys(KEYS, text), text: text, "edits": [EDIT | {"x": text}]})

    @given(st.sampled_from(TOOLS), st.dictionaries(st.sampled_from(KEYS), anything, max_size=4))
    def test_no_types_make_it_fail(self, name: str, values: Any) -> None:
        shown(name, values)
        said = source(name, values)
        assert said is not None
        assert not re.search("[\x1b\u202e]", said)


def test_a_call_is_bounded_by_what_is_said_of_it() -> None:
    assert f"{asked.MOST_CHARACTERS:,}" == "1,000,000"
