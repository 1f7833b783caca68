"""Cutting a cell into its `%` lines and the prompt below them."""

from __future__ import annotations

import re
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hotclaude_kernel.cells.lines import WHITE, Line, refuse_leaving, split
from hotclaude_kernel.errors import UsageError


class TestSplit:
    def test_lines_at_the_top_are_settings_and_the_rest_is_the_prompt(self) -> None:
        assert split("%model opus\n%effort high\nHello\nthere\n") == (
            [Line("model", "opus"), Line("effort", "high")],
            "Hello\nthere",
        )

    def test_blank_lines_between_them_do_not_end_them(self) -> None:
        lines, prompt = split("\n%model opus\n\n  \n%new\n\nHello")
        assert [line.name for line in lines] == ["model", "new"]
        assert prompt == "Hello"

    def test_blank_lines_around_the_prompt_go_and_those_in_it_stay(self) -> None:
        assert split("\n\n  one\n\ntwo\n\n\n") == ([], "  one\n\ntwo")

    @pytest.mark.parametrize(
        "text",
        [
            "\xa0%effort low",
            "\ufeff%effort low",
            "%effort\xa0low",
            "\u200b%eff\u200bort\u2003low\u200b",
            "\u2060 %\u200deffort \u3000low\u200b \ufeff",
        ],
    )
    def test_unseen_signs_and_other_blanks_do_not_make_a_prompt_of_a_line(self, text: str) -> None:
        assert split(text) == ([Line("effort", "low")], "")

    def test_white_space_is_that_of_unicode(self) -> None:
        assert {sign for sign in map(chr, range(sys.maxunicode)) if sign.isspace()} == set(WHITE)

    def test_an_argument_keeps_its_joiners(self) -> None:
        text = "Greet with \U0001f468\u200d\U0001f469."
        assert split(f"%system {text}")[0] == [Line("system", text)]

    @pytest.mark.parametrize("cell", ["\u200b", "\ufeff\n \u2060\n", "\xa0\u3000\xad"])
    def test_a_cell_of_nothing_visible_has_no_prompt(self, cell: str) -> None:
        assert split(cell) == ([], "")

    @pytest.mark.parametrize(
        ("cell", "named", "anyway"),
        [
            ("% status", "% status has a blank", r"\% status"),
            ("%\xa0model opus", "%\xa0model has a blank", "\\%\xa0model"),
            ("%model opus\n\n% effort low", "% effort has a blank", r"\% effort"),
            ("Hello\n%status", "%status stands below text", r"\%status"),
            ("Hello\n\n%permission_mode plan\nyou", "%permission_mode stands", r"\%permission_m"),
            ("Hello\n%%refresh", "%%refresh stands below text", r"\%%refresh"),
            ("```\n%new\n```\n%new", "%new stands below text", r"\%new"),
        ],
    )
    def test_what_can_only_be_a_mistake_is_refused_and_can_be_sent_anyway(
        self, cell: str, named: str, anyway: str
    ) -> None:
        with pytest.raises(UsageError, match=re.escape(named)) as caught:
            split(cell)
        assert anyway in caught.value.hint
        line = caught.value.message.split(" has a ")[0].split(" stands ")[0]
        before, _, after = cell.rpartition(line)
        sent = split(f"{before}\\{line}{after}")[1]
        assert sent == cell.removeprefix("%model opus\n\n")

    @pytest.mark.parametrize(
        "text",
        [
            "Hello\n%matplotlib inline",
            "Hello\n  %status",
            "Hello\n% status of the text",
            "Why does\n```\n%new\n\\%new\n```\nfail?",
            "Hello\n\\%d",
        ],
    )
    def test_other_lines_with_a_percent_sign_are_text(self, text: str) -> None:
        assert split(text) == ([], text)

    @pytest.mark.parametrize("word", ["exit", "quit()"])
    def test_a_console_is_not_left_by_a_prompt(self, word: str) -> None:
        with pytest.raises(UsageError, match="would be sent") as caught:
            refuse_leaving(f" {word}\n")
        assert f"`\\{word}`" in caught.value.hint
        assert split(f"\\{word}") == ([], word)
        refuse_leaving("exit the loop")

    @pytest.mark.parametrize("cell", ["", "\n", "  \n\t\n"])
    def test_a_blank_cell_has_no_prompt(self, cell: str) -> None:
        assert split(cell) == ([], "")

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("%model", Line("model")),
            ("  %model   opus  ", Line("model", "opus")),
            ("%model\topus", Line("model", "opus")),
            ("%model?", Line("model", ask=True)),
            ("%permission-mode plan", Line("permission-mode", "plan")),
            ("%permission_mode plan", Line("permission_mode", "plan")),
            ("%system You are terse. 100% so.", Line("system", "You are terse. 100% so.")),
        ],
    )
    def test_a_line_is_a_name_and_an_argument(self, text: str, line: Line) -> None:
        assert split(text) == ([line], "")

    @pytest.mark.parametrize("text", ["% of what?", "%5 is little", "100 % sure", "%", "%-)"])
    def test_a_percent_sign_without_a_name_begins_a_prompt(self, text: str) -> None:
        assert split(text) == ([], text)

    @pytest.mark.parametrize(
        ("cell", "prompt"),
        [
            ("\\%model opus", "%model opus"),
            ("%new\n\n\\%d is a format", "%d is a format"),
            ("\\%%latex", "%%latex"),
            ("\\\\%x", "\\\\%x"),
            ("\\alpha", "\\alpha"),
            ("Hello \\%", "Hello \\%"),
        ],
    )
    def test_a_backslash_lets_a_prompt_begin_with_a_percent_sign(
        self, cell: str, prompt: str
    ) -> None:
        assert split(cell)[1] == prompt

    @pytest.mark.parametrize("cell", ["%%latex\nx", "%%", "  %%time", "%model opus\n\n%%bash\nls"])
    def test_a_cell_magic_is_refused(self, cell: str) -> None:
        with pytest.raises(UsageError, match="no cell magic %%") as caught:
            split(cell)
        assert "%help" in caught.value.hint

    def test_lines_may_end_as_on_windows(self) -> None:
        assert split("%model opus\r\n\r\nHello\r\nthere\r\n") == (
            [Line("model", "opus")],
            "Hello\nthere",
        )

    @given(st.lists(st.sampled_from(["%new", "%model opus", "", "  "]), max_size=5), st.text())
    @example(["%new"], "\\%")
    def test_a_prompt_comes_through_whatever_stands_above_it(
        self, above: list[str], prompt: str
    ) -> None:
        prompt = f"Say: {prompt}".rstrip("\n").replace("\r\n", "\n")
        lines, rest = split("\n".join([*above, prompt]))
        assert rest == prompt
        assert len(lines) == sum(bool(line.strip()) for line in above)
