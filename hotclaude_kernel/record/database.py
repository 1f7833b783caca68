"""The record's SQLite file: readable by its user only, migrated when opened, written under a lock.

It has two connections. In WAL mode a reader never waits for a writer, so reads go on while another
process holds the write lock.

Every writing transaction begins with `begin immediate`. With a plain `begin`, SQLite lets two
writers read first; the second one's write then fails at once, whatever the busy time-out.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import zlib
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..claude.files import NEW, PRIVATE, SAFELY
from ..errors import StoreError, StoreTooNew, StoreUnavailable
from .schema import MIGRATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

BUSY_S = 30.0
MEMORY = ":memory:"
TRANSACTION = ("begin immediate", "commit", ("rollback",))
PART = ("savepoint part", "release part", ("rollback to part", "release part"))
# Failures of the caller and not of the file: the same call would fail again.
WRONG = (sqlite3.IntegrityError, sqlite3.ProgrammingError, OverflowError, UnicodeEncodeError)
# Of a damaged file, even SQLite's message may be no text.
FAILURES = (sqlite3.Error, zlib.error, UnicodeDecodeError, *WRONG)


class Database:
    """The record's SQLite database, in a file or in memory. Safe to call from any thread.

    `busy_s` is how many seconds a call waits for a lock of another process. Opening it and every
    call raise `StoreError` if the file can't be used; `StoreUnavailable` if the same call may
    succeed later. Opening raises `StoreTooNew` if a newer hotclaude wrote the file.
    """

    def __init__(self, path: str = MEMORY, *, busy_s: float = BUSY_S) -> None:
        self.path = path
        self._writing_lock = self._reading_lock = threading.RLock()
        try:
            with ExitStack() as unless_done:
                self._writing = self._reading = _open(path, busy_s)
                unless_done.callback(self._writing.close)
                self._writing.execute("pragma journal_mode = wal")
                self._migrate()
                if path != MEMORY:
                    self._reading, self._reading_lock = _open(path, busy_s), threading.RLock()
                unless_done.pop_all()
        except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
            raise StoreError(
                f"The record {path} can't be used: {error}",
                hint="Turns are answered but not recorded. Repair the file, restart the kernel.",
            ) from error

    def close(self) -> None:
        """Close the connections."""
        with self._reading_lock, self._writing_lock:
            self._reading.close()
            self._writing.close()

    def set_patience(self, busy_s: float) -> None:
        """Set how many seconds a write waits for a lock of another process."""
        with self.lend() as db:
            db.execute(f"pragma busy_timeout = {round(busy_s * 1000)}")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Run the block in a transaction: all of its changes are made, or none.

        Within another such block, it is a part of that transaction.
        """
        with self.lend() as db:
            begin, end, undo = TRANSACTION if not db.in_transaction else PART
            db.execute(begin)
            try:
                yield db
                db.execute(end)
            except BaseException:
                if db.in_transaction:
                    for statement in undo:
                        db.execute(statement)
                raise

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Lend the reading connection to the block; other reading threads wait."""
        with self._reading_lock, self._failing():
            yield self._reading

    @contextmanager
    def lend(self) -> Iterator[sqlite3.Connection]:
        """Lend the writing connection to the block, outside a transaction; other writers wait."""
        with self._writing_lock, self._failing():
            yield self._writing

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except FAILURES as error:
            text = f"The record {self.path} failed: {error}"
            if isinstance(error, WRONG):
                raise StoreError(text, hint="The record is as it was before.") from error
            hint = (
                "The turn is kept in this kernel's memory and is recorded as soon as the record "
                "can be written."
            )
            raise StoreUnavailable(text, hint=hint) from error

    def _migrate(self) -> None:
        db = self._writing
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


def _open(path: str, busy_s: float) -> sqlite3.Connection:
    if path != MEMORY:
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite would create the file with the umask's rights; this file is private from the start.
        # One that exists is not opened: closing it would drop this process's SQLite locks on it.
        with suppress(FileExistsError):
            os.close(os.open(path, NEW | SAFELY, PRIVATE))
    connection = sqlite3.connect(
        path, timeout=busy_s, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("pragma synchronous = normal")
        connection.execute("pragma foreign_keys = on")
    except BaseException:
        connection.close()
        raise
    return connection
