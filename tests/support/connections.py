"""A warning for each SQLite connection that nobody closes, as Python gives from 3.13 on."""

from __future__ import annotations

import os
import sqlite3
import sys
import warnings
from functools import partial
from typing import Any

connect = sqlite3.connect


class Watched(sqlite3.Connection):
    """A connection that complains where it goes unclosed."""

    _closed = False
    _opened_in = ""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._opened_in = os.environ.get("PYTEST_CURRENT_TEST", "no test")

    def close(self) -> None:
        self._closed = True
        super().close()

    def __del__(self) -> None:
        if not self._closed:
            message = f"unclosed database, opened in {self._opened_in}"
            warnings.warn(message, ResourceWarning, stacklevel=1, source=self)


def watch() -> None:
    """Have each connection of this process complain; a test turns the warning into an error."""
    if sys.version_info < (3, 13):
        sqlite3.connect = partial(connect, factory=Watched)  # type: ignore[assignment]
