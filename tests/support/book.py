"""A notebook without a kernel: cells by id, asked of a conversation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hotclaude_kernel.conversation.conversation import Conversation
from hotclaude_kernel.modelserver.replies import Usage
from hotclaude_kernel.pool.warm import Limits
from hotclaude_kernel.turns.prompt import Prompt
from hotclaude_kernel.turns.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from hotclaude_kernel.modelserver.request import Request
    from hotclaude_kernel.turns.turn import Turn


QUIET = Limits(spares=0)


NUMBERS = Usage(
    input_tokens=1000,
    output_tokens=100,
    cache_read_input_tokens=0,
    cache_creation_input_tokens=0,
)


class Book:
    """A notebook: cells by id, asked of a conversation that can be closed and opened again."""

    def __init__(self, path: Path | None, **options: Any) -> None:
        self.path = path
        self.settings = options.pop("settings", Settings())
        self.options = {"limits": QUIET} | options
        self.open()

    def open(self) -> None:
        notebook = str(self.path) if self.path else None
        self.conversation = Conversation(self.settings, notebook=notebook, **self.options)

    async def run(self, cell: str | None, text: str) -> Turn:
        prompt = Prompt(text=text, cell_id=cell)
        return await self.conversation.ask(prompt, lambda _: None, again=True)

    async def run_all(self, *cells: str) -> None:
        for cell in cells:
            await self.run(cell, f"prompt {cell}")

    async def restart(self) -> None:
        await self.conversation.close()
        self.open()

    def said(self) -> str:
        return "\n".join(self.conversation.take_notices())

    @property
    def branches(self) -> dict[str, list[str]]:
        tree = self.conversation.branches
        ends = tree.branches.items()
        return {name: [node.prompt for node in tree.path_to(at)] for name, at in ends}


def written(path: Path, cells: str = "abcdef") -> Path:
    path.write_text(json.dumps({"cells": [{"id": cell, "source": ""} for cell in cells]}))
    return path


def prompts(request: Request) -> list[str]:
    return [exchange.prompt for exchange in request.turns]


def sent(request: Request) -> str:
    """All that reaches the model, but for the marks of the cache and the session's own id."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: clean(v) for k, v in value.items() if k != "cache_control"}
        return [clean(item) for item in value] if isinstance(value, list) else value

    return json.dumps(clean({k: v for k, v in request.json.items() if k != "metadata"}))
