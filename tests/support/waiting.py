"""Waiting for a condition, with a deadline."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE_S = 30.0
LOOK_S = 0.005


def until(condition: Callable[[], Any], what: str, timeout_s: float = DEADLINE_S) -> Any:
    """Wait for a condition and return its value; fail naming it."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(LOOK_S)
    raise AssertionError(f"not within {timeout_s:g} s: {what}")


async def reached(condition: Callable[[], Any], timeout_s: float = DEADLINE_S) -> bool:
    """Wait for a condition while the loop runs; return whether it came true in time."""
    deadline = time.monotonic() + timeout_s
    # A condition of the system: nobody tells of it.
    while not (found := condition()) and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(LOOK_S)
    return bool(found)


async def eventually(condition: Callable[[], Any], what: str) -> None:
    """Wait for a condition while the loop runs; fail naming it."""
    assert await reached(condition), f"not within {DEADLINE_S:g} s: {what}"
