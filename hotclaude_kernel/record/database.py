"""The file of the record: opened for one user, brought up to date, written under a lock.

Every writing transaction begins with `begin immediate`; a plain `begin` that reads first and writes
then fails under two writers, whatever the time-out.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import zlib
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import StoreError, StoreTooNew
from .schema import MIGRATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

BUSY_MS = 30_000
MEMORY = ":memory:"


class Database:
    """A file of the record, or one in memory. Safe to call from any thread.

    Raises `StoreError` where the file can't be used, on opening and on every call.
    """

    def __init__(self, path: str = MEMORY) -> None:
        self.path = path
        self._lock = threading.RLock()
        try:
            with ExitStack() as unless_done:
                self._connection = _open(path)
                unless_done.callback(self._connection.close)
                _configure(self._connection)
                self._migrate()
                unless_done.pop_all()
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                f"The record {path} can't be used: {error}",
                hint="Turns are answered and not recorded until a restart finds it mended.",
            ) from error

    def close(self) -> None:
        """Let the file go."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Hold a transaction: all that the block does, or nothing."""
        with self.read() as db:
            db.execute("begin immediate")
            try:
                yield db
                db.execute("commit")
            except BaseException:
                if db.in_transaction:
                    db.execute("rollback")
                raise

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Hold the connection."""
        with self._lock:
            try:
                yield self._connection
            except (sqlite3.Error, zlib.error) as error:
                raise StoreError(
                    f"The record {self.path} failed: {error}",
                    hint="The turn stands in this kernel's memory and is recorded with the next "
                    "one that can be.",
                ) from error

    def _migrate(self) -> None:
        db = self._connection
        (version,) = db.execute("pragma user_version").fetchone()
        if version > len(MIGRATIONS):
            raise StoreTooNew(
                f"The record {self.path} was written by a newer hotclaude",
                hint="Update hotclaude, or name another file by HOTCLAUDE_STORE.",
            )
        if version == len(MIGRATIONS):
            return
        with self.write():
            # Another kernel may have been here in the meantime.
            (version,) = db.execute("pragma user_version").fetchone()
            for number, migration in enumerate(MIGRATIONS[version:], version + 1):
                for statement in filter(str.strip, migration.split(";")):
                    db.execute(statement)
                db.execute(f"pragma user_version = {number}")


def _open(path: str) -> sqlite3.Connection:
    if path != MEMORY:
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Made by us, so that it is nobody else's to read from its first byte on.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    return sqlite3.connect(
        path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False
    )


def _configure(connection: sqlite3.Connection) -> None:
    connection.execute(f"pragma busy_timeout = {BUSY_MS}")
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = normal")
    connection.execute("pragma foreign_keys = on")
