"""Requests to the model server, as the API has them."""

from __future__ import annotations

import json
from typing import Any

from hotclaude_kernel.modelserver.request import Request


def body(*messages: str | dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A request; strings are prompts and answers in turn."""
    roles = ("user", "assistant")
    given = [
        m if isinstance(m, dict) else {"role": roles[at % 2], "content": m}
        for at, m in enumerate(messages)
    ]
    return {"model": "some-model", "max_tokens": 99, "messages": given, **fields}


def request(*messages: str | dict[str, Any], **fields: Any) -> Request:
    value = body(*messages, **fields)
    return Request(body=json.dumps(value).encode(), json=value)
