"""Parameters: how they are written, what a prompt with places for them becomes, what is refused."""

from __future__ import annotations

import datetime
import json
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotclaude_kernel.cells import completion, parameters
from hotclaude_kernel.cells.lines import Line, split
from hotclaude_kernel.cells.magics import registry
from hotclaude_kernel.cells.magics.names import CELL_MAGICS, TAKES_REST
from hotclaude_kernel.cells.parameters import (
    cell_of,
    declared,
    names_in,
    of_cell,
    of_line,
    of_mapping,
    of_words,
    render,
    spelled,
)
from hotclaude_kernel.errors import UsageError
from hotclaude_kernel.page.markdown import render as markdown

if TYPE_CHECKING:
    from hotclaude_kernel.cells.magics.answer import Answer

names = st.from_regex(parameters.NAME, fullmatch=True)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
several = st.dictionaries(names, json_values, min_size=1, max_size=4)
braces = st.text(st.sampled_from("{}\\ ax"), max_size=12)


class TestRendering:
    @pytest.mark.parametrize(
        ("text", "rendered"),
        [
            ("Say {{topic}}.", "Say cats."),
            ("Say {{ topic }}.", "Say cats."),
            ("{{n}} {{topic}}, {{n}}", "3 cats, 3"),
            ("{{tags}} {{on}} {{no}}", '["a", "é"] true null'),
            ("{{{topic}}}", "{cats}"),
            (r"\{{topic}}", "{{topic}}"),
            (r"\{{{{topic}}", "{{cats"),
            ("{topic} {{}} {{ }} {{x + 1}} {{#if}} {{a.b}}", None),
            ("{{\ntopic}}", None),
        ],
    )
    def test_names_in_double_braces_become_values(self, text: str, rendered: str | None) -> None:
        values = {"topic": "cats", "n": 3, "tags": ["a", "é"], "on": True, "no": None}
        assert render(text, values) == (text if rendered is None else rendered)

    @given(st.text() | braces)
    def test_without_parameters_nothing_is_a_template(self, text: str) -> None:
        assert render(text, {}) == text

    @given(st.text() | braces)
    def test_any_text_can_be_sent_as_it_stands(self, text: str) -> None:
        assert render(text.replace("{{", r"\{{"), {"a": "never"}) == text

    @given(names, st.text() | braces | st.just("{{a}}"))
    def test_a_value_is_not_rendered_in_its_turn(self, name: str, value: str) -> None:
        assert (
            render(f"<{{{{{name}}}}}>", {name: value, "a": "never"} | {name: value}) == f"<{value}>"
        )

    def test_an_unknown_name_is_refused_with_the_nearest(self) -> None:
        with pytest.raises(UsageError, match="There is no parameter topik") as caught:
            render("Say {{topik}}", {"topic": "cats", "n": 3})
        assert caught.value.hint == (
            r"Did you mean topic? There are topic, n. Braces of your own are written \{{."
        )

    def test_names_in_a_text_are_each_told_once(self) -> None:
        assert names_in(r"{{b}} {{ a }} {{b}} \{{c}} {d}") == ["b", "a"]


class TestLine:
    @pytest.mark.parametrize(
        ("line", "values"),
        [
            ("topic=cats n=3", {"topic": "cats", "n": 3}),
            ("topic='cats and dogs'", {"topic": "cats and dogs"}),
            ("'topic=cats and dogs' x=1", {"topic": "cats and dogs", "x": 1}),
            ("x= y=a=b", {"x": "", "y": "a=b"}),
            ("x=true y=null z=True", {"x": True, "y": None, "z": "True"}),
            ("""'tags=["a", "b"]'""", {"tags": ["a", "b"]}),
            ("""x='"3"'""", {"x": "3"}),
            ("x=-1.5 y=0.0", {"x": -1.5, "y": 0.0}),
            ("n=1 n=2", {"n": 2}),
            ("größe=1 a-b=2 _c=3", {"größe": 1, "a-b": 2, "_c": 3}),
        ],
    )
    def test_values_are_json_or_text(self, line: str, values: dict[str, Any]) -> None:
        assert of_line(line) == values

    @pytest.mark.parametrize("text", ["3.10", "1e3", "1E400", "007", "-0", "NaN", "Infinity", "+1"])
    def test_a_number_goes_into_a_prompt_as_it_was_written(self, text: str) -> None:
        assert render("{{x}}", of_line(f"x={text}")) == text

    @pytest.mark.parametrize("text", ["1" * 5000, "[" * 100_000], ids=["digits", "brackets"])
    def test_what_python_can_not_read_is_text(self, text: str) -> None:
        assert of_words([f"x={text}"]) == {"x": text}

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("topic", "written name=value, and topic is not"),
            ("name=O'Brien", "no closing quotation"),
            ("=3", "can't be named by nothing"),
            ("1a=3", "can't be named 1a"),
            ("a.b=3", "can't be named a.b"),
        ],
    )
    def test_what_can_not_be_read_is_refused(self, line: str, said: str) -> None:
        with pytest.raises(UsageError, match=re.escape(said)):
            of_line(line)


class TestCell:
    @given(several)
    def test_what_is_written_is_read_again(self, values: dict[str, Any]) -> None:
        assert declared(cell_of(values)) == values

    @given(several)
    def test_a_value_is_spelled_as_its_cell_has_it(self, values: dict[str, Any]) -> None:
        for value in values.values():
            assert isinstance(value, str) or json.loads(spelled(value)) == value

    @pytest.mark.parametrize(
        ("form", "body", "said"),
        [
            ("yaml", "a: 1", "no form yaml"),
            ("json", "", "not JSON"),
            ("", "{'a': 1}", "not JSON"),
            ("", '{"a": NaN}', "NaN is no number of JSON"),
            ("", '{"a": 1e999}', "1e999 is no number of JSON"),
            ("", '{"a": 1} and more', "not JSON"),
            ("", "[1]", "takes one JSON object"),
            ("", '{"a b": 1}', "can't be named a b"),
        ],
    )
    def test_what_is_no_object_of_names_is_refused(self, form: str, body: str, said: str) -> None:
        with pytest.raises(UsageError, match=re.escape(said)):
            of_cell(form, body)

    def test_a_cell_declares_all_that_it_sets(self) -> None:
        source = '%params a=1 b=2\n%model opus\n%params b=3\n%params?\n%%params\n{"c": 4}'
        assert declared(source) == {"a": 1, "b": 3, "c": 4}

    def test_a_prompt_declares_nothing(self) -> None:
        assert declared("Say\n\\%params a=1") == {}


class TestMapping:
    def test_dates_become_text(self) -> None:
        assert of_mapping({"day": datetime.date(2026, 11, 23)}) == {"day": "2026-11-23"}

    @pytest.mark.parametrize("values", [["a"], "a", 3, {"a": float("nan")}, {1: "a", "b c": 2}])
    def test_other_things_are_refused(self, values: Any) -> None:
        with pytest.raises(UsageError):
            of_mapping(values)


def conversation(**values: Any) -> Any:
    """All that the magics know of a conversation."""
    return SimpleNamespace(parameters=values)


async def run(cell: str, there: Any) -> Answer:
    """Carry out a cell of one line."""
    [line], rest = split(cell)
    assert rest == ""
    return await registry.run(line, there)


class TestSettingThem:
    async def test_later_ones_replace_earlier_ones_name_by_name(self) -> None:
        there = conversation()
        assert (await run("%params topic=cats n=3", there)).note == "parameters: topic, n"
        assert (await run('%%params json\n{"n": 4}', there)).note == "parameters: n"
        assert there.parameters == {"topic": "cats", "n": 4}

    async def test_alone_it_shows_them_all(self) -> None:
        report = (await run("%params", conversation(topic="a|<b>*", tags=[1]))).report
        html = markdown.render(report)
        assert "<code>a|&lt;b&gt;*</code>" in html
        assert "<code>[1]</code>" in html

    async def test_alone_it_says_where_there_are_none(self) -> None:
        assert "no parameters are set" in (await run("%params", conversation())).note

    async def test_what_is_refused_sets_nothing(self) -> None:
        there = conversation(n=1)
        with pytest.raises(UsageError):
            await run("%params n=2 oops", there)
        assert there.parameters == {"n": 1}

    def test_their_names_are_completed(self) -> None:
        there = conversation(topic="cats", n=3)
        assert completion.complete("%params to", 10, there).matches == ["topic="]


class TestCellMagics:
    def test_each_that_is_read_is_carried_out(self) -> None:
        assert CELL_MAGICS.keys() == TAKES_REST.keys()

    @pytest.mark.parametrize("name", CELL_MAGICS)
    def test_each_has_help_and_is_listed(self, name: str) -> None:
        assert registry.help_text(name, cell=True).startswith(f"`%%{name}")

    async def test_help_tells_of_them_under_their_own_names(self) -> None:
        assert "`%%refresh`" in (await run("%help", conversation())).report
        wanted = registry.help_text("params", cell=True)
        assert (await run("%help %%params", conversation())).report == wanted
        assert (await run("%%params?", conversation())).page == wanted
        assert completion.describe("%%params json", 4, conversation()) == wanted

    def test_one_takes_the_rest_of_its_cell(self) -> None:
        assert split('%model x\n%%params json\n{\n"a": 1}') == (
            [Line("model", "x"), Line("params", "json", body='{\n"a": 1}')],
            "",
        )

    async def test_refresh_leaves_it_a_cell_like_any_other(self) -> None:
        lines, prompt = split("%%refresh\n%model x\n\nHello")
        assert lines == [Line("refresh", body=""), Line("model", "x")]
        assert prompt == "Hello"
        assert (await registry.run(lines[0], conversation())).refresh

    async def test_refresh_takes_no_value(self) -> None:
        with pytest.raises(UsageError, match="%%refresh takes no value"):
            await run("%%refresh now", conversation())

    def test_their_names_are_completed(self) -> None:
        names = ["%%params", "%%refresh", "%%system"]
        assert completion.complete("%%", 2, conversation()).matches == names
        assert completion.complete("%%params js", 11, conversation()).matches == []

    @pytest.mark.parametrize(
        ("code", "answer"),
        [
            ("%%params json", "incomplete"),
            ('%%params json\n{"a": 1}', "incomplete"),
            ('%%params json\n{"a": 1}\n', "complete"),
            ("%%params?", "complete"),
            ("%%refresh\nHello", "complete"),
        ],
    )
    def test_a_console_ends_one_with_a_blank_line(self, code: str, answer: str) -> None:
        assert completion.completeness(code) == answer
