"""A notebook on disk and a conversation about it, for the tests of this room."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..support.book import Book, written

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
def notebook_path(home: Path) -> Path:
    """A notebook on disk, of the cells a to f."""
    return written(home / "work" / "book.ipynb")


@pytest.fixture
async def book(notebook_path: Path) -> AsyncIterator[Book]:
    """A conversation about that notebook."""
    made = Book(notebook_path)
    yield made
    await made.conversation.close()
