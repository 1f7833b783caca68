"""The one thread that writes a record: it does jobs one after another, in the order they came.

A job that can't be done now (another process holds the lock, the disk is full) stays the first and
is tried again. What waits can be written down in a journal meanwhile.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from ...errors import StoreError, StoreUnavailable
from .jobs import Job

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..store import Store
    from .journal import Journal

# A write waits for a lock of another process for so long, then again after a pause.
BUSY_S = 0.2
PAUSE_S = 0.2


class _Task(Struct, eq=False):
    """A job, and what will come of it."""

    job: Callable[[Store], Any]
    future: Future[Any]
    journaled: bool = False


class Writer:
    """Does jobs on a store, in a thread of its own, which the first job starts.

    `failure` says why the first job can't be done now, `None` if nothing hinders it. `journal` is
    `None` if what waits can be written down nowhere.
    """

    def __init__(self, store: Store, journal: Journal | None = None) -> None:
        self.failure: StoreUnavailable | None = None
        self._store = store
        self._journal = journal
        self._tasks: deque[_Task] = deque()
        self._changed = threading.Condition()
        # Held while the journal is written, and while a task that may be in it is removed. The
        # event loop never takes it.
        self._journaling = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = self._stopped = False

    def put(self, job: Callable[[Store], Any]) -> Future[Any]:
        """Add a job, and return its future: a value, or a `StoreError` that no try can mend."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()  # whoever waits for it can't cancel it
        with self._changed:
            if self._closed:
                future.set_exception(StoreError("The record is closed"))
                return future
            self._tasks.append(_Task(job, future))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True, name="record")
                self._thread.start()
            self._changed.notify_all()
        return future

    @property
    def last(self) -> Future[Any] | None:
        """The future of the newest job that is not done, `None` if all are."""
        with self._changed:
            return self._tasks[-1].future if self._tasks else None

    @property
    def jobs(self) -> list[Callable[[Store], Any]]:
        """The jobs that are not done, the oldest first."""
        with self._changed:
            return [task.job for task in self._tasks]

    def write_down(self) -> bool:
        """Write what waits to the journal, by one append; return whether anything waits.

        Raises `OSError` if the journal can't be written.
        """
        with self._journaling:
            with self._changed:
                tasks = [task for task in self._tasks if isinstance(task.job, Job)]
            if self._journal is None or not tasks:
                return False
            new = [task for task in tasks if not task.journaled]
            if new:
                self._journal.append([task.job for task in new if isinstance(task.job, Job)])
            for task in new:
                task.journaled = True
            return True

    def close(self, patience_s: float) -> None:
        """Give the jobs that many seconds, then write them down and end the thread; blocks.

        A second call does nothing.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._tasks, patience_s)
        with suppress(OSError):  # the cells have said so
            self.write_down()
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        if self._journal is not None:
            self._journal.close()

    # --- the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        while (task := self._first()) is not None:
            try:
                result = task.job(self._store)
            except StoreUnavailable as error:
                self._pause(error)
            except Exception as error:
                self._remove(task)
                task.future.set_exception(error)
            else:
                self._remove(task)
                task.future.set_result(result)

    def _first(self) -> _Task | None:
        """Return the next task, `None` once there is none and no more come."""
        with self._changed:
            self._changed.wait_for(lambda: self._tasks or self._closed)
            return self._tasks[0] if self._tasks and not self._stopped else None

    def _pause(self, error: StoreUnavailable) -> None:
        with self._changed:
            self.failure = error
            self._changed.notify_all()
            if not self._closed:
                self._changed.wait(PAUSE_S)

    def _remove(self, task: _Task) -> None:
        """Forget a task that is done; the journal goes with the last task that is in it."""
        with self._journaling, self._changed:
            self.failure = None
            self._tasks.popleft()
            if task.journaled and not any(task.journaled for task in self._tasks):
                assert self._journal is not None
                self._journal.remove()
            self._changed.notify_all()
