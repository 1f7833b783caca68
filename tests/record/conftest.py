"""A shelf of notebooks, for the tests of this room."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .test_notebook import Shelf

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    made = Shelf(tmp_path)
    yield made
    for record in made.records:
        record.close()
