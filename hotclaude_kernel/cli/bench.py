"""`hotclaude bench`: the times of hot and cold turns, on the user's own login or endpoint.

A hot turn is asked of a live process. A cold one is `claude -p --resume`, a new process each time.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from ..claude import frames
from ..claude.events import Block, Delta, Event
from ..claude.launch import find_claude, process_env
from ..claude.parsing import parse
from ..conversation.conversation import Conversation
from ..errors import HotClaudeError
from ..pool.withholding import Withholding
from ..turns.prompt import Prompt
from ..turns.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

QUESTION = "Answer with the single word ok."
COLD_FLAGS = ("--output-format", "stream-json", "--verbose", "--include-partial-messages")


def notice(turns: int) -> str:
    """Return a text that tells the user how many requests a measurement takes."""
    return (
        f"This asks {turns} short questions of one hot process and {turns} of a cold one each,\n"
        f"after one of each that does not count: {2 * turns + 2} requests in all, on your own\n"
        "login or key. Each reads Claude Code's system prompt (cached after the first) and writes\n"
        "one word."
    )


def measure(turns: int, *, model: str | None = None) -> str:
    """Return a Markdown table of hot and cold turns: median seconds to the first text and the end.

    Raises `HotClaudeError` if a turn fails.
    """
    settings = Settings(model=model)
    hot = asyncio.run(_hot(turns, settings))
    cold = _cold(turns, settings)
    rows = [("hot process", hot), ("cold `claude -p --resume`", cold)]
    lines = ["| turn | first text | end |", "|---|---|---|"]
    for name, pairs in rows:
        first, end = (statistics.median(column) for column in zip(*pairs, strict=True))
        lines.append(f"| {name} | {first:.3f} s | {end:.3f} s |")
    gain = statistics.median(c[0] for c in cold) - statistics.median(h[0] for h in hot)
    lines.append(f"\nA hot turn answers {gain:.3f} s sooner (medians of {turns} turns).")
    return "\n".join(lines)


async def _hot(turns: int, settings: Settings) -> Sequence[tuple[float, float]]:
    conversation = Conversation(settings, mode="off")  # a recorded turn would be replayed
    try:
        await conversation.ask(Prompt(text=QUESTION), lambda _: None)  # pays for the start
        for _ in range(turns):
            await conversation.ask(Prompt(text=QUESTION), lambda _: None)
    finally:
        await conversation.close()
    asked = conversation.turns[1:]
    return [(turn.first_text_s or turn.total_s, turn.total_s) for turn in asked]


def _cold(turns: int, settings: Settings) -> Sequence[tuple[float, float]]:
    session_id = str(uuid.uuid4())
    settings = settings.changed(extra_args=_without_folder(settings))
    _cold_turn(settings, ("--session-id", session_id))
    return [_cold_turn(settings, ("--resume", session_id)) for _ in range(turns)]


def _without_folder(settings: Settings) -> tuple[str, ...]:
    """Return what leaves the folder out, as the hot process does; nothing if it is trusted."""
    withholding = Withholding()
    withholding.look(settings)
    return withholding.arguments(settings)


def _cold_turn(settings: Settings, where: tuple[str, ...]) -> tuple[float, float]:
    argv = [find_claude(), "-p", QUESTION, *COLD_FLAGS, *settings.argv(), *where]
    start = time.monotonic()
    first = 0.0
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=Path.cwd(),
        env=process_env(os.environ),
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            events = parse(frames.loads(line) or {})
            if not first and any(_is_text(event) for event in events):
                first = time.monotonic() - start
    if process.returncode:
        raise HotClaudeError(
            f"claude -p ended with exit code {process.returncode}",
            hint="Run `claude -p hello` in a terminal to see why.",
        )
    end = time.monotonic() - start
    return first or end, end


def _is_text(event: Event) -> bool:
    return isinstance(event, Delta | Block) and event.kind == "text"
