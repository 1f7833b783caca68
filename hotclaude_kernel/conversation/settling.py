"""Waiting until what a cell has changed is recorded, without waiting on the event loop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..record.notebook import Record

SETTLE_S = 2.0


class Settling:
    """Waits for the record; an interrupt ends the waiting, and nothing is lost by it."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._over = asyncio.Event()

    async def wait(self) -> None:
        """Wait until all changes are recorded, for 2 s at most; then write them down."""
        changes = self._record.changes
        last = changes.last
        if last is not None:
            loop = asyncio.get_running_loop()
            last.add_done_callback(lambda _: loop.call_soon_threadsafe(self._over.set))
            with contextlib.suppress(TimeoutError):
                # Once something had to be written down, no cell waits for it again.
                async with asyncio.timeout(0.0 if changes.behind else SETTLE_S):
                    await self._over.wait()
            if changes.last is not None:
                await asyncio.to_thread(changes.write_down)
        self._record.collect()

    @property
    def running(self) -> bool:
        """Whether the waiting can be ended; it always can."""
        return True

    async def interrupt(self) -> None:
        """End the waiting."""
        self._over.set()
