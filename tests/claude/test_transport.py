"""The pipes of a process: connected together, and closed whatever happens meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hotclaude_kernel.claude.transport import ProcessTransport, spawn


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


async def test_what_a_dying_process_says_shows_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is shown in a cell and saved with the notebook."""
    key = "sk-ant-" + "api03-" + "x1" * 20
    monkeypatch.setenv("SOME_TOKEN", "the-token-of-the-user")
    servers = '{"mcpServers":{"s":{"command":"s","env":{"PASSWORD":"quite hushed"}}}}'
    lines = f"first the-token-of-the-user\nlast {key} quite hushed {Path.home()}/x"
    process = spawn(["/bin/sh", "-c", f"echo '{lines}' >&2; exit 3"], str(tmp_path))
    transport = ProcessTransport(process, ["--mcp-config", servers])
    await transport.open()
    assert await transport.read() == []
    death = transport.death()
    await transport.close(now=True)
    assert death.message == "The claude process ended with exit code 3: last sk-ant-… … ~/x"
    assert death.stderr == "first …\nlast sk-ant-… … ~/x"
