"""A loopback Anthropic Messages API: scripted for tests, rule-based for `hotclaude demo`.

`ModelServer` speaks HTTP and SSE on 127.0.0.1 and asks a *model*, a plain function from `Request`
to `Reply` (or to one of the failures in `replies`), what to answer. The real `claude` binary talks
to it when `ANTHROPIC_BASE_URL` holds its `url`.
"""

from __future__ import annotations

from .demo import demo_model
from .replies import (
    EMPTY,
    HTML,
    Answer,
    Block,
    Disconnect,
    EndOfStream,
    Failure,
    Gate,
    Hold,
    Malformed,
    Pause,
    Raw,
    Reply,
    Stall,
    StreamError,
    Text,
    Thinking,
    ToolUse,
    Usage,
    Wait,
)
from .request import Exchange, Request, ToolResult
from .script import Model, Script
from .server import ModelServer, serve_in_thread

__all__ = [
    "EMPTY",
    "HTML",
    "Answer",
    "Block",
    "Disconnect",
    "EndOfStream",
    "Exchange",
    "Failure",
    "Gate",
    "Hold",
    "Malformed",
    "Model",
    "ModelServer",
    "Pause",
    "Raw",
    "Reply",
    "Request",
    "Script",
    "Stall",
    "StreamError",
    "Text",
    "Thinking",
    "ToolResult",
    "ToolUse",
    "Usage",
    "Wait",
    "demo_model",
    "serve_in_thread",
]
