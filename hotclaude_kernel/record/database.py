"""The record's SQLite file: readable by its user only, migrated when opened, written under a lock.

Every writing transaction begins with `begin immediate`. With a plain `begin`, SQLite lets two
writers read first; the second one's write then fails at once, whatever the busy time-out.
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
    """The record's SQLite database, in a file or in memory. Safe to call from any thread.

    Opening it and every call raise `StoreError` if the file can't be used. Opening raises
    `StoreTooNew` if a newer hotclaude wrote the file.
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
                hint="Turns are answered but not recorded. Repair the file, restart the kernel.",
            ) from error

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Run the block in a transaction: all of its changes are made, or none."""
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
        """Lend the connection to the block; other threads wait."""
        with self._lock:
            try:
                yield self._connection
            except (sqlite3.Error, zlib.error) as error:
                raise StoreError(
                    f"The record {self.path} failed: {error}",
                    hint="The turn is kept in this kernel's memory and is recorded with the next "
                    "one that can be written.",
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
            # Another kernel may have migrated the file meanwhile.
            (version,) = db.execute("pragma user_version").fetchone()
            for number, migration in enumerate(MIGRATIONS[version:], version + 1):
                for statement in filter(str.strip, migration.split(";")):
                    db.execute(statement)
                db.execute(f"pragma user_version = {number}")


def _open(path: str) -> sqlite3.Connection:
    if path != MEMORY:
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite would create the file with the umask's rights; this file is private from the start.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    return sqlite3.connect(
        path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False
    )


def _configure(connection: sqlite3.Connection) -> None:
    connection.execute(f"pragma busy_timeout = {BUSY_MS}")
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = normal")
    connection.execute("pragma foreign_keys = on")
