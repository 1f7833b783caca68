"""What a document is tested with: texts, and the pieces that they come in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from hotclaude_kernel.page.markdown import render as markdown

if TYPE_CHECKING:
    import pytest

    from hotclaude_kernel.page.document import (
        Document,
    )

LINES = [
    "# Heading\n",
    "A paragraph with *emphasis*, `code` and 😀.\n",
    "- one\n- two\n",
    "- loose\n\n  with a paragraph\n",
    "| a | b |\n|---|--:|\n| 1 | 2 |\n",
    "```python\nx = 1\n\ny = 2\n```\n",
    "```\n",
    "$$\nx^2\n\n",
    "> quote\n",
    "see [one]\n",
    "[one]: https://example.invalid/1\n",
    "مرحبا بالعالم\n",
    "\r\n",
    "\n",
    "\n",
    "no newline ",
    "long " * 200 + "\n\n",
]


texts = st.lists(st.sampled_from(LINES), max_size=14).map("".join)


sizes_of_chunks = st.lists(st.integers(1, 60), min_size=1, max_size=5)


def pieces_of(text: str, sizes: list[int]) -> list[str]:
    """Cut a text into pieces of the sizes given, over and over."""
    pieces = []
    at = step = 0
    while at < len(text):
        size = sizes[step % len(sizes)]
        pieces.append(text[at : at + size])
        at, step = at + size, step + 1
    return pieces


def shape(document: Document) -> list[list[str]]:
    """The pieces of each segment."""
    return [[piece.source for piece in segment.pieces] for segment in document.segments]


def joined(document: Document) -> str:
    return "".join(segment.source for segment in document.segments)


def whole_html(document: Document) -> str:
    return "".join(segment.html(document.references) for segment in document.segments)


def prose(characters: int) -> str:
    """Paragraphs, lists and fences of about this length."""
    blocks = [
        f"Paragraph {n} says something in some *words*, with `code` and a little more.\n\n"
        if n % 5
        else f"- item {n}\n- item\n\n```python\nx = {n}\n```\n\n"
        for n in range(characters // 40 + 1)
    ]
    return "".join(blocks)[:characters]


class Drawing:
    """Counts the characters that are rendered, through the real renderer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.characters = 0
        self._render = markdown.render
        monkeypatch.setattr(markdown, "render", self)

    def __call__(self, text: str, **options: Any) -> str:
        self.characters += len(text)
        return self._render(text, **options)


#: Text with a link definition in a block that is finished.
VOID = "[a]: https://void.invalid\n\nVoid.\n\nAnd more.\n"
