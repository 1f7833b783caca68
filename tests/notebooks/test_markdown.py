"""Exported Markdown can be shown in a terminal."""

from __future__ import annotations

import re

import nbformat
from nbformat import v4

from hotclaude_kernel.notebooks.markdown import MarkdownExporter
from hotclaude_kernel.page.text import MARK

HOSTILE = "a\x1b]0;title\x07b\x9b31mc\u202ed\x00e"


def test_it_holds_no_byte_that_acts_on_a_terminal() -> None:
    data = {"text/markdown": f"An *answer* {HOSTILE}", "text/plain": HOSTILE}
    outputs = [
        v4.new_output("display_data", data),
        v4.new_output("stream", text=f"printed\t{HOSTILE}\n  indented\n"),
        v4.new_output("error", ename="E", evalue="v", traceback=[f"E: \x1b[31mv\x1b[0m {HOSTILE}"]),
        v4.new_output("execute_result", {"text/plain": f"value {HOSTILE}"}),
    ]
    cell = v4.new_code_cell(f"a prompt {HOSTILE}", outputs=outputs)
    nb = v4.new_notebook(cells=[v4.new_markdown_cell(f"# Text {HOSTILE}"), cell])
    nbformat.validate(nb)
    text, _ = MarkdownExporter().from_notebook_node(nb)
    assert re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text) == []
    assert "An *answer* ab" in text
    assert "printed\tab" in text
    assert "\n  indented\n" in text
    assert "E: v ab" in text


def test_the_kernels_own_parts_keep_their_mark_and_nothing_else_has_it() -> None:
    data = {"text/markdown": f"{MARK} **Bash** `ls` · done\n\n", "text/plain": ""}
    cell = v4.new_code_cell(f"{MARK} a &#x2756; prompt")
    cell.outputs = [v4.new_output("display_data", data=data)]
    nb = v4.new_notebook(cells=[v4.new_markdown_cell(f"{MARK} text"), cell])
    text, _ = MarkdownExporter().from_notebook_node(nb)
    assert [line for line in text.splitlines() if MARK in line] == [f"{MARK} **Bash** `ls` · done"]
    assert "&#x2756;" not in text
