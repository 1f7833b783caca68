"""The lock of another process on the record."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HOLD = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("begin immediate")
print("locked", flush=True)
input()
db.execute("rollback")
"""


class Lock:
    """A process that holds the write lock of a record."""

    def __init__(self, file: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", HOLD, file],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        assert self._process.stdout.readline() == "locked\n"

    def release(self) -> None:
        """Let go; a second call does nothing."""
        if self._process.returncode is None:
            self._process.communicate("\n", timeout=30)


@contextmanager
def locked(file: str) -> Iterator[Lock]:
    """Hold the write lock for as long as the block lasts."""
    lock = Lock(file)
    try:
        yield lock
    finally:
        lock.release()
