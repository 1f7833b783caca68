"""A limit to how often a page sends updates."""

from __future__ import annotations

import asyncio
import time
from typing import Any

UPDATE_S = 0.05  # the shortest interval between two updates


class Throttle:
    """Calls `flush` at once, then at most once an interval; the last change is always flushed."""

    def __init__(self, flush: Any) -> None:
        self._flush = flush
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def poke(self, interval_s: float) -> None:
        """Flush now, or as soon as the interval since the last flush is over."""
        now = time.monotonic()
        if now >= self._due:
            self.fire(interval_s)
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._due - now, self.fire, interval_s)

    def fire(self, interval_s: float) -> None:
        """Flush now; the next `poke` waits `interval_s`."""
        self.cancel()
        self._flush()
        self._due = time.monotonic() + interval_s

    def cancel(self) -> None:
        """Cancel the flush that is due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
