"""The pipes of a process: connected together, and closed whatever happens meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.claude.transport import ProcessTransport, spawn

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("steps", range(4))
async def test_an_opening_that_is_cancelled_leaves_no_pipe_open(tmp_path: Path, steps: int) -> None:
    process = spawn(["/bin/cat"], str(tmp_path))
    transport = ProcessTransport(process)
    opening = asyncio.create_task(transport.open())
    for _ in range(steps + 1):
        await asyncio.sleep(0)
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    await transport.close(now=True)
    await asyncio.sleep(0)  # a transport closes its file in the loop's next step
    pipes = (process.stdin, process.stdout, process.stderr)
    assert [pipe.closed for pipe in pipes if pipe] == [True] * 3
