"""The mark: all that the kernel itself says begins with it, and no text from outside shows it."""

from __future__ import annotations

import html as entities
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotclaude_kernel.claude.events import Block, BlockStarted, Delta, Notice, Retry, ToolResult
from hotclaude_kernel.page.markdown.render import render
from hotclaude_kernel.page.text import MARK, exact, tame, unmarked, visible, without_ansi

from ..hostile import FORGERIES, corpus, entry
from ..hostile import MARK as KNOWN

if TYPE_CHECKING:
    from hotclaude_kernel.page.console import ConsolePage
    from hotclaude_kernel.page.notebook import NotebookPage

    from ..support.paper import Shown

HOSTILE = corpus()
SPELLED = "⟨U+2756⟩"
#: Pieces of Markdown around every way to write the mark.
PIECES = (
    MARK, "&#x2756;", "&#10070;", "&#X002756;", "&#x2756", "&#010070;", "&#x27", "56;", "&", "#",
    ";", "\\", "`", "**", "[", "](x '", "')", "> ", "- ", "\n", "\n\n", "    ", "$", "\\(", "\\)",
    "<b>", "| a |\n|---|\n| ", "[x]: y '", "'", "\x1b[31m", "\u202e", "Bash",
)  # fmt: skip
marks = st.lists(st.sampled_from(PIECES), max_size=14).map("".join) | st.text(max_size=30)


def said(text: str) -> Block:
    return Block(uuid="u", message_id="m", kind="text", content={"text": text})


def seen(shown: Shown) -> list[str]:
    """Each form of each output as a reader sees it, and all that was streamed."""
    forms = [form for data in shown.outputs.values() for form in data.values()]
    return [*map(entities.unescape, forms), shown.streamed]


def test_it_is_one_sign_that_every_function_for_text_from_outside_spells() -> None:
    assert MARK == KNOWN
    assert len(MARK) == 1
    for function in (tame, visible, without_ansi, exact, unmarked):
        assert function(f"a{MARK}b") == f"a{SPELLED}b"


@given(marks)
def test_no_markdown_makes_it(text: str) -> None:
    assert MARK not in entities.unescape(render(text))


@given(marks)
def test_no_source_of_markdown_makes_it_where_another_program_renders_it(text: str) -> None:
    from markdown_it import MarkdownIt

    source = unmarked(text)
    assert MARK not in entities.unescape(MarkdownIt("commonmark").render(source))
    assert MARK not in entities.unescape(source)


@given(st.text(max_size=40))
def test_an_answer_without_it_is_saved_unchanged(text: str) -> None:
    kept = re.sub(f"{MARK}|&#", "", text)
    assert unmarked(kept) == kept


@pytest.mark.parametrize("name", FORGERIES)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_an_answer_shows_it_in_no_form(
    name: str, size: int, page: NotebookPage, console: ConsolePage, shown: Shown
) -> None:
    text = HOSTILE[name]
    for target in (page, console):
        target.take(BlockStarted(index=0, kind="text"))
        for at in range(0, len(text), size):
            target.take(Delta(index=0, kind="text", text=text[at : at + size]))
        target.take(said(text))
        target.close()
    assert shown.outputs
    assert shown.streamed
    assert [form for form in seen(shown) if MARK in form] == []


@pytest.mark.parametrize("name", FORGERIES)
def test_an_answer_that_is_of_no_turn_and_what_is_named_in_our_own_words_show_none(
    name: str, page: NotebookPage, console: ConsolePage, shown: Shown
) -> None:
    text = f"{HOSTILE[name]} {MARK} \x1b]0;x\x07 &#x2756;"
    for target in (page, console):
        target.said(text)
        target.warn(text)
        target.close()
    forms = seen(shown)
    assert len(forms) == 4
    page.report(text)
    console.report(text)
    assert [form for form in forms if MARK in form or "\x1b" in form] == []
    assert [form for form in seen(shown) if form.count(MARK) > 1 or "\x1b" in form] == []


def test_each_of_the_kernels_own_parts_begins_with_it_in_every_form(
    page: NotebookPage, shown: Shown
) -> None:
    use = {"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": "ls"}}
    for show in (
        lambda: page.note("a note"),
        lambda: page.footer("a footer", {}),
        lambda: page.report("| a |\n|---|\n"),
        lambda: page.display({"text/html": "<p>tree</p>", "text/plain": "tree"}),
        lambda: page.take(Notice(kind="model", text="a notice")),
        lambda: page.take(Block(uuid="u", message_id="m", kind="tool_use", content=use)),
        lambda: page.close(),
    ):
        show()
    assert len(shown.outputs) == 5
    for data in shown.outputs.values():
        for form in data.values():
            assert re.sub(r"<[^>]+>", "", form).startswith(f"{MARK} "), form
    answer = list(shown.outputs.values())[-1]
    assert answer["text/markdown"].count(MARK) == 2
    assert answer["text/html"].count(MARK) == 2


def test_each_line_of_the_kernels_own_begins_with_it_in_a_console(
    console: ConsolePage, shown: Shown
) -> None:
    use = {"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": f"{MARK} x"}}
    console.take(Block(uuid="u", message_id="m", kind="tool_use", content=use))
    console.take(ToolResult(uuid="u", tool_use_id="t", text="no", is_error=True))
    console.decided("t", "allowed once")
    console.note("a note")
    console.take(Retry(attempt=1, max_retries=2, delay_s=1.0, status=500, error="boom"))
    console.close()
    lines = shown.streamed.splitlines()
    assert len(lines) == 5
    assert all(line.startswith(f"{MARK} [") and line.count(MARK) == 1 for line in lines)


def test_what_a_character_reference_names_is_seen_too() -> None:
    for sign in ("\u202e", "\u2066", "\x1b", "\x9b", "\U000e0041", MARK):
        for reference in (f"&#{ord(sign)};", f"&#x{ord(sign):x};", f"[x](y '&#{ord(sign)};')"):
            with entry(reference):
                assert sign not in entities.unescape(render(f"a {reference} b"))
