"""One request of the client: its prompts, tool results and tools.

The shape is that of requests that the `claude` binary was seen to send. A user message is a string
or a list of blocks; the newest one is a list because it has `cache_control`. Reminders, each
wrapped in `<system-reminder>`, are text blocks *before* the prompt in the first user message and in
the first one after `/compact`. So are the traces of local commands such as `/context`. The
environment is a message of the role `system` after the first prompt. A block is left out only as a
whole, so the user's own text stays unchanged, tags included.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

# Text blocks that the client adds to the user's own.
_ADDED = re.compile(
    r"\s*<(system-reminder|local-command-caveat|command-name|local-command-stdout"
    r"|local-command-stderr)>.*</(?:\1|command-args)>\s*",
    re.DOTALL,
)
_SECRET_HEADERS = {"x-api-key", "authorization", "proxy-authorization", "cookie"}
# The beginning of the prompt in each request that the client makes by itself (`Request.auxiliary`).
_AUXILIARY = {
    "suggestion": "[SUGGESTION MODE:",
    "compact": "CRITICAL: Respond with TEXT ONLY.",
}
_SIDE_QUESTION = "<system-reminder>This is a side question"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One prompt of the user, and the assistant's text after it so far."""

    prompt: str
    answer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """The result of a tool call, with the call's name and input."""

    id: str
    name: str
    input: dict[str, Any]
    text: str
    is_error: bool


@dataclass(frozen=True, kw_only=True)
class Request:
    """A POST to the Messages API: its `body`, the same parsed (`json`), headers without secrets.

    `number` counts the requests of a server from 1.
    """

    body: bytes = field(repr=False)
    json: dict[str, Any] = field(repr=False)
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    number: int = 1
    path: str = "/v1/messages"

    @property
    def model(self) -> str:
        """The name of the model that the client asks."""
        return str(self.json.get("model", ""))

    @property
    def stream(self) -> bool:
        """Whether the client wants server-sent events."""
        return bool(self.json.get("stream"))

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation as sent, `system` messages included."""
        messages = self.json.get("messages")
        return [m for m in messages if isinstance(m, dict)] if isinstance(messages, list) else []

    @property
    def system(self) -> str:
        """The system prompt, its blocks joined."""
        return "\n".join(_texts(self.json.get("system")))

    @property
    def tools(self) -> tuple[str, ...]:
        """The names of the tools on offer."""
        return tuple(str(tool.get("name", "")) for tool in self.json.get("tools") or ())

    @cached_property
    def turns(self) -> tuple[Exchange, ...]:
        """The user's own prompts, each with the assistant's text; the last is the current one."""
        turns: list[Exchange] = []
        for message in self.messages:
            text = _own_text(message.get("content"))
            if message.get("role") == "user" and text:
                turns.append(Exchange(prompt=text))
            elif message.get("role") == "assistant" and text and turns:
                answer = f"{turns[-1].answer}\n\n{text}".strip()
                turns[-1] = Exchange(prompt=turns[-1].prompt, answer=answer)
        return tuple(turns)

    @property
    def prompt(self) -> str:
        """The user's last prompt, without the blocks that the client adds."""
        return self.turns[-1].prompt if self.turns else ""

    @property
    def is_first_turn(self) -> bool:
        """Whether the conversation begins with this prompt."""
        return len(self.turns) <= 1

    @cached_property
    def tool_results(self) -> tuple[ToolResult, ...]:
        """The tool results in the last user message; empty if it is a prompt."""
        calls = {str(block.get("id")): block for block in self._blocks("assistant", "tool_use")}
        last = [message for message in self.messages if message.get("role") == "user"][-1:]
        blocks = [
            b for m in last for b in _blocks(m.get("content")) if b.get("type") == "tool_result"
        ]
        return tuple(_tool_result(block, calls) for block in blocks)

    @property
    def auxiliary(self) -> str | None:
        """The kind of a request that the client makes by itself, `None` for a turn.

        It is `title`, `suggestion`, `compact` or `side_question`.
        """
        if (self.json.get("output_config") or {}).get("format") and not self.tools:
            return "title"
        last = _texts(self.messages[-1].get("content")) if self.messages else []
        if any(text.startswith(_SIDE_QUESTION) for text in last):
            return "side_question"
        return next(
            (kind for kind, mark in _AUXILIARY.items() if self.prompt.startswith(mark)), None
        )

    def _blocks(self, role: str, kind: str) -> list[dict[str, Any]]:
        messages = [message for message in self.messages if message.get("role") == role]
        return [b for m in messages for b in _blocks(m.get("content")) if b.get("type") == kind]


def redacted(headers: list[tuple[str, str]]) -> dict[str, str]:
    """Return headers by lower-case name, with `redacted` for the values of keys and tokens."""
    pairs = [(name.lower(), value) for name, value in headers]
    return {name: "redacted" if name in _SECRET_HEADERS else value for name, value in pairs}


def _blocks(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [b for b in content if isinstance(b, dict)] if isinstance(content, list) else []


def _texts(content: Any) -> list[str]:
    return [str(b.get("text", "")) for b in _blocks(content) if b.get("type") == "text"]


def _own_text(content: Any) -> str:
    return "\n\n".join(text for text in _texts(content) if not _ADDED.fullmatch(text)).strip()


def _tool_result(block: dict[str, Any], calls: dict[str, dict[str, Any]]) -> ToolResult:
    call = calls.get(str(block.get("tool_use_id")), {})
    return ToolResult(
        id=str(block.get("tool_use_id")),
        name=str(call.get("name", "")),
        input=call.get("input") or {},
        text="\n".join(_texts(block.get("content"))),
        is_error=bool(block.get("is_error")),
    )
