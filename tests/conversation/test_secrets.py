"""What is secret is in no argument that others can read, and in nothing that is recorded."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.claude.events import ToolResult
from hotclaude_kernel.modelserver.replies import Reply, ToolUse
from hotclaude_kernel.modelserver.script import Script
from hotclaude_kernel.record.cassettes import cassette
from hotclaude_kernel.turns.prompt import Prompt
from hotclaude_kernel.turns.settings import Settings

from ..support.book import Book
from ..support.processes import PROC

if TYPE_CHECKING:
    from hotclaude_kernel.modelserver.server import ModelServer

pytestmark = [pytest.mark.wire, pytest.mark.usefixtures("isolated")]

HUSHED, SAID = "quite-hushed-password", "Speak of the blue elephant."
PIXEL = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763"
        "60f8ffff3f0005fe02fedccc59e70000000049454e44ae426082"
    )
).decode()
# An MCP server whose tool returns an image, and says whether it was given the password.
PROGRAM = f"""
import json, os, sys
INFO = {{"name": "s", "version": "1"}}
TOOL = {{"name": "shot", "description": "d", "inputSchema": {{"type": "object"}}}}
KNOWS = f"it knows: {{os.environ.get('PASSWORD') == {HUSHED!r}}}"
IMAGE = {{"type": "image", "data": {PIXEL!r}, "mimeType": "image/png"}}
for line in sys.stdin:
    message = json.loads(line)
    result = {{}}
    if message.get("method") == "initialize":
        result = {{"capabilities": {{"tools": {{}}}}, "serverInfo": INFO}}
        result["protocolVersion"] = message["params"]["protocolVersion"]
    elif message.get("method") == "tools/list":
        result = {{"tools": [TOOL]}}
    elif message.get("method") == "tools/call":
        result = {{"content": [{{"type": "text", "text": KNOWS}}, IMAGE]}}
    if "id" in message:
        print(json.dumps({{"jsonrpc": "2.0", "id": message["id"], "result": result}}), flush=True)
"""
SERVERS = {
    "s": {"command": sys.executable, "args": ["-c", PROGRAM], "env": {"PASSWORD": HUSHED}},
    "web": {"type": "http", "url": "http://127.0.0.1:9", "headers": {"X-Key": HUSHED}},
}
SETTINGS = Settings(
    system=SAID,
    append_system=SAID[::-1],
    mcp_config=json.dumps({"mcpServers": SERVERS}),
    allowed_tools=("mcp__s__shot",),
)


def written_below(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_secrets_are_in_no_argument_and_are_not_recorded(
    notebook_path: Path, server: ModelServer
) -> None:
    server.model = Script([Reply(ToolUse("mcp__s__shot", {})), Reply("seen")])
    book = Book(notebook_path, settings=SETTINGS)
    try:
        turn = await book.run("a", "go")
        (result,) = [event for event in turn.events if isinstance(event, ToolResult)]
        assert result.text == "it knows: True\n[image]"
        assert "/tool-results/" not in str(turn.events)
        assert SAID in server.requests[-1].system
        assert SAID[::-1] in server.requests[-1].system

        command = (PROC / str(book.conversation.pid) / "cmdline").read_bytes().decode()
        assert "--mcp-config" in command
        assert not [secret for secret in (HUSHED, SAID, SAID[::-1]) if secret in command]

        record = Path(book.conversation.record.file).parent
        (folder,) = (record / "sessions").iterdir()
        assert HUSHED.encode() in written_below(folder)
        modes = {path.stat().st_mode & 0o777 for path in folder.iterdir()}
        assert (folder.stat().st_mode & 0o777, modes) == (0o700, {0o600})

        store = book.conversation.record.store
        text = cassette.write(store, [str(turn.node)])
        assert not [secret for secret in (HUSHED, "/tool-results/") if secret in text]
        assert store.turn(str(turn.node)).fault() == ""

        await book.restart()
        assert not list((record / "sessions").iterdir())
        asked = len(server.requests)
        again = await book.conversation.ask(Prompt(text="go", cell_id="a"), lambda _: None)
        assert (again.replayed, len(server.requests)) == (True, asked)
        assert HUSHED.encode() not in written_below(record)
    finally:
        await book.conversation.close()


@pytest.mark.parametrize(
    ("config", "how"),
    [
        (None, "without them"),
        pytest.param('{"mcpServers":{}}', "with others", marks=pytest.mark.long),
        pytest.param(SETTINGS.mcp_config, "", marks=pytest.mark.long),
    ],
)
@pytest.mark.long
async def test_a_restart_says_which_servers_it_lacks(
    notebook_path: Path, config: str | None, how: str
) -> None:
    """Of the servers only a digest is recorded."""
    book = Book(notebook_path, settings=Settings(mcp_config=SETTINGS.mcp_config))
    try:
        await book.run("a", "one")
        book.settings = Settings(mcp_config=config)
        await book.restart()
        await book.run("b", "two")
        assert (f"`mcp_config`) does not have; it goes on {how}" in book.said()) is bool(how)
        await book.run("c", "three")
        assert "mcp_config" not in book.said()
    finally:
        await book.conversation.close()


@pytest.mark.long
async def test_a_system_prompt_may_be_longer_than_an_argument(
    book: Book, server: ModelServer
) -> None:
    long = "Be kind. " * 20_000
    await book.conversation.change(system=long)
    assert (await book.run("a", "one")).status == "ok"
    assert long in server.requests[-1].system
    await book.restart()
    assert (await book.run("b", "two")).status == "ok"
    assert long in server.requests[-1].system
