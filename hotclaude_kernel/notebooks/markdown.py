"""A notebook of prompts as clean Markdown, for `jupyter nbconvert --to hotclaude-markdown`.

nbconvert's own `--to markdown` prefers `text/html`, so it would write HTML. It prints a cell's
source in a fence of three backticks, which a fence in the prompt would close.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbconvert.exporters import Exporter

from ..page.text import MARK, unmarked, without_ansi

if TYPE_CHECKING:
    from nbformat import NotebookNode


class MarkdownExporter(Exporter):
    """Writes prompts as quotations, and answers as their own Markdown."""

    file_extension = ".md"
    output_mimetype = "text/markdown"
    export_from_notebook = "Markdown (Hot Claude)"

    def from_notebook_node(  # type: ignore[override]  # as every text exporter of theirs does
        self, nb: NotebookNode, resources: Any = None, **kwargs: Any
    ) -> tuple[str, dict[str, Any]]:
        """Return the Markdown, and nbconvert's resources."""
        nb, resources = super().from_notebook_node(nb, resources, **kwargs)
        parts = [_cell(cell) for cell in nb.cells]
        text = "\n\n".join(part for part in parts if part) + "\n"
        # The file may be shown in a terminal. The marks of the kernel's own parts stay.
        return MARK.join(map(without_ansi, text.split(MARK))), resources


def _cell(cell: NotebookNode) -> str:
    source = unmarked(str(cell.source))
    if cell.cell_type != "code":
        return source.strip()
    prompt = "\n".join(f"> {line}".rstrip() for line in source.splitlines())
    # An answer's outputs are cut between blocks and hold their own line ends: join them unchanged.
    said = "".join(_output(output) for output in cell.outputs).strip()
    return "\n\n".join(part for part in (prompt, said) if part)


def _output(output: NotebookNode) -> str:
    match output.output_type:
        case "stream":
            return _fenced(str(output.text))
        case "error":
            return _fenced("\n".join(output.traceback) or f"{output.ename}: {output.evalue}")
        case "execute_result":
            return _fenced(str(output.data.get("text/plain", "")))
    return str(output.data.get("text/markdown", ""))


def _fenced(text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"\n\n{fence}\n{text.rstrip()}\n{fence}\n\n"
