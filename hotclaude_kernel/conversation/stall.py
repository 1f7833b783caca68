"""Watch for an API that falls silent while it owes an answer.

The binary itself would wait five minutes. A running tool may be silent for any time.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from ..claude.events import Notice

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..claude.events import Event
    from ..claude.session import Session
    from ..turns.turn import Turn

NOTICE_S = 10.0
LOOK_S = 0.5


async def watch(
    session: Session,
    turn: Turn,
    show: Callable[[Event], None],
    *,
    timeout_s: float,
    stop: Callable[[Session], Awaitable[None]],
) -> None:
    """Notify the user if the API is silent for long; `stop` the turn after `timeout_s` seconds.

    Runs until it is cancelled, or has marked the turn as stalled and stopped it.
    """
    said = 0.0
    while True:
        await asyncio.sleep(LOOK_S)
        silent = time.monotonic() - max(session.last_frame, turn.patience_until)
        if not turn.awaiting_api or silent < min(NOTICE_S, timeout_s):
            continue
        if silent >= timeout_s:
            turn.stalled = True
            await stop(session)
            return
        if silent - said >= 1 or silent < said:
            said = silent
            text = (
                f"No data from the API for {silent:.0f} s; giving up in {timeout_s - silent:.0f} s"
            )
            show(Notice(kind="stall", text=text))
