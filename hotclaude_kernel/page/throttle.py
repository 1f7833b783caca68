"""Updates of a page, at most so many a second."""

from __future__ import annotations

import asyncio
import time
from typing import Any

UPDATE_S = 0.05


class Throttle:
    """Calls `flush` at once, then at most once an interval, never losing the last call."""

    def __init__(self, flush: Any) -> None:
        self._flush = flush
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def poke(self, interval_s: float) -> None:
        """Something changed."""
        now = time.monotonic()
        if now >= self._due:
            self.fire(interval_s)
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._due - now, self.fire, interval_s)

    def fire(self, interval_s: float) -> None:
        """Flush now."""
        self.cancel()
        self._flush()
        self._due = time.monotonic() + interval_s

    def cancel(self) -> None:
        """Forget what is due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
