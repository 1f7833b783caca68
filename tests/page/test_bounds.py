"""Hostile text takes time that grows with its length and no faster: steps are counted, not time.

A step is a line of Python that is executed; the parser is Python, so what it does can be counted.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from hotclaude_kernel.claude.events import Block, BlockStarted, Delta
from hotclaude_kernel.page.document import Document
from hotclaude_kernel.page.markdown import grammar
from hotclaude_kernel.page.markdown.grammar import MOST_COLUMNS
from hotclaude_kernel.page.markdown.render import DEEPEST_BRACKETS, render

from ..support.steps import steps

if TYPE_CHECKING:
    from hotclaude_kernel.page.notebook import NotebookPage

    from ..support.paper import FakeTime, Shown

#: The most steps a character, for any text.
MOST_STEPS = 2_000


def split(text: str) -> None:
    """Have a document cut the text as it streams."""
    document = Document()
    for at in range(0, len(text), 64):
        document.append(text[at : at + 64])
    document.end_text()


def repeated(unit: str, size: int) -> str:
    return (unit * (size // len(unit) + 1))[:size]


UNITS = (
    "\t", "\t\n", "\tx\n", "- ", "-\t", "> ", "> a\n", "- a\n\n", "- a\n\n\tb\n\n", "  - a\n",
    "1. a\n", "> # a\nb\n", "> > # a\nb\n", "> ```\nb\n", "> - a\nb\n", "- > # a\nb\n",
    "> | a\nb\n", ">\tx\n", "![", "![\n", "[", "[a](", "[a]: b\n", "[a]: b\n\n", "[a]: <",
    "*a **b ", "_a", "~~a", "`", "`a``", "$a ", "$$\n", "$$a ", "\\[\na\n\n", "\\(a", "\\[", "&",
    "&#", "<", "<!--\n", "http://a", "mailto:", "```\n", "- ```\n", "~~~\n", "|a", "|a\n",
    "a\n\n", "a\n", "---\n", "a  \n", "a\r", "\\", "a@", "![" * 60 + "\n\n",
    "[" * 60 + "]" * 60 + "\n\n", "- " * 20 + "x\n", "❖", "&#x2756;",
)  # fmt: skip


def some(number: int, unit: str) -> Any:
    """Every sixth is tried in the everyday run."""
    return pytest.param(unit, marks=[pytest.mark.long] if number % 6 else [], id=repr(unit)[:24])


@pytest.mark.parametrize("unit", [some(number, unit) for number, unit in enumerate(UNITS)])
def test_any_repeated_text_takes_linear_time(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grammar, "FREELY_QUOTED", 1_000)
    render("`warm` $x$")
    for act in (render, split):
        small, large = (steps(partial(act, repeated(unit, n))) / n for n in (500, 1_500))
        assert large <= 1.5 * small + 30, act
        assert large <= MOST_STEPS, act


def test_quotes_that_rise_and_fall_take_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grammar, "FREELY_QUOTED", 1_000)
    unit = "".join(f"{'>' * depth} x\n" for depth in range(40))
    small, large = (steps(partial(render, unit * n)) / (len(unit) * n) for n in (2, 6))
    assert large <= 1.5 * small + 30


def test_a_text_whose_quotes_are_read_too_often_is_shown_as_source() -> None:
    tangled = "> # a\nb\n" * 1_500
    assert render(tangled) == "<pre>" + tangled.replace(">", "&gt;") + "</pre>\n"
    assert "<blockquote" in render("> # a\nb\n" * 100)
    assert "<blockquote" in render("> a\n> b\n>\n> > c\n\n" * 200)


def test_a_wide_table_is_not_filled_up_with_empty_cells() -> None:
    for columns, made in ((MOST_COLUMNS, True), (MOST_COLUMNS + 2, False)):
        table = "|a" * columns + "|\n" + "|-" * columns + "|\n" + "|a\n" * 100
        assert ("<table" in render(table)) is made
        assert len(render(table)) < 150 * len(table)


def test_brackets_that_are_open_at_once_are_few() -> None:
    inside = "[x](https://a.invalid)"
    for depth, made in ((DEEPEST_BRACKETS - 20, True), (DEEPEST_BRACKETS + 1, False)):
        text = "[" * depth + inside
        assert ("<a " in render(text)) is made
    assert render("[x](a) " * 140).count("<a ") == 140


def test_100_000_deltas_are_shown_whole_in_few_messages(
    page: NotebookPage, shown: Shown, time: FakeTime
) -> None:
    """Many one-word deltas over ten seconds: all of it is there, and little else was sent."""
    words = ["w " if at % 60 else "w\n\n" for at in range(100_000)]
    page.take(BlockStarted(index=0, kind="text"))
    for at, word in enumerate(words):
        page.take(Delta(index=0, kind="text", text=word))
        if at % 100 == 0:
            time.pass_by(0.012)
    text = "".join(words)
    page.take(Block(uuid="u", message_id="m", kind="text", content={"text": text}))
    page.close()
    assert shown.markdown == text
    assert len(shown.messages) <= 250
    assert shown.size_bytes <= 12 * len(text)
    said = "".join(re.sub(r"<[^>]+>", "", data["text/html"]) for data in shown.outputs.values())
    assert said.count("w") == len(words)
