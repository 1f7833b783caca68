"""A line of many megabytes: how much memory is held for it while it is read, and after."""

from __future__ import annotations

import asyncio
import sys
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.claude.session import Session
from hotclaude_kernel.claude.transport import ProcessTransport, spawn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hotclaude_kernel.claude.frames import Frame

SIZE = 16 * 2**20
# Greets, writes one long line, and waits until its stdin is closed.
WRITER = f"""
import sys
sys.stdin.readline()
print('{{"type":"control_response","response":{{"subtype":"success","request_id":"hotclaude-1",'
      '"response":{{"claude_code_version":"2.1.330"}}}}}}', flush=True)
print('{{"type":"from_the_future","text":"' + "x" * {SIZE} + '"}}')
print('{{"type":"control_request","request_id":"r","request":{{}}}}', flush=True)
sys.stdin.read()
"""


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced")
async def test_it_is_held_as_bytes_and_as_text_and_then_not_at_all(tmp_path: Path) -> None:
    transport = ProcessTransport(spawn([sys.executable, "-c", WRITER], str(tmp_path)))
    session = Session(transport)
    answered = asyncio.Event()
    write = transport.write

    def written(frame: Frame) -> None:
        write(frame)
        if frame["type"] == "control_response":
            answered.set()

    transport.write = written  # type: ignore[method-assign, assignment]
    before, _ = tracemalloc.get_traced_memory()
    await session.start()
    async with asyncio.timeout(60):
        await answered.wait()  # then the long line has been read, and the session waits for more
    now, peak = tracemalloc.get_traced_memory()
    await session.close()
    assert peak - before < 3.5 * SIZE  # as bytes, and twice as text
    assert now - before < 0.2 * SIZE
