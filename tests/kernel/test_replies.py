"""Every request gets a reply: a client waits for one, and a notebook shows `[*]` until it comes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from hotclaude_kernel.modelserver.server import ModelServer

    from ..support.frontend import Message, Notebook

pytestmark = pytest.mark.kernel


def asked(notebook: Notebook, channel: str, kind: str, content: dict[str, Any]) -> Message:
    """Send a request of any kind, and return the reply."""
    message = notebook.client.session.msg(kind, content)
    getattr(notebook.client, f"{channel}_channel").send(message)
    return notebook.reply(message["header"]["msg_id"], channel)


def test_whatever_a_request_holds(notebook: Notebook, server: ModelServer) -> None:
    # A browser sends half an emoji as its escape; jupyter_client's packer refuses it.
    notebook.client.session.pack = lambda message: json.dumps(message, default=str).encode()
    cell = notebook.run("Half an emoji: \ud83d, and a whole one: \ud83d\ude00.")
    assert cell.status == "ok"
    wanted = "Half an emoji: \ufffd, and a whole one: 😀."
    assert [shown["code"] for shown in cell.contents("execute_input")] == [wanted]
    assert server.requests[-1].prompt == wanted

    reply = asked(notebook, "control", "debug_request", {"seq": 7, "command": "debugInfo"})
    assert (reply.content["request_seq"], reply.content["success"]) == (7, False)

    for kind, content in (
        ("execute_request", {"code": 5}),
        ("execute_request", {}),
        ("complete_request", {"code": 5, "cursor_pos": "x"}),
        ("inspect_request", {"code": None, "cursor_pos": 0}),
    ):
        reply = asked(notebook, "shell", kind, content)
        assert reply.kind == kind.replace("request", "reply")
        assert reply.content["status"] == "error"
    assert notebook.run("Still there?").status == "ok"
    assert len(server.requests) == 2
