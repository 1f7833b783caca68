"""A conversation that outlives its process, and its kernel: both come back where it ended.

Every round adds a turn to both contenders' conversations, so that they stay of one length.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from . import machine
from .frontend import DEADLINE_S, Cell, Frontend, new_notebook, open_frontend, shows
from .latency import new_word
from .tree import POLL_S, TURNS, ask, resume_raw, tell, told_raw

if TYPE_CHECKING:
    from .arena import Arena
    from .frontend import File
    from .numbers import Samples

IDLE_S = 0.5


def wake(arena: Arena, samples: Samples, runs: int) -> None:
    """The next cell after the process was ended because it was idle."""
    notebook, session_id = new_notebook(arena, TURNS), told_raw(arena)
    timeout = f"--HotClaudeKernel.idle_timeout={IDLE_S}"
    with open_frontend(arena, "ours", "hotclaude", timeout, notebook=notebook) as front:
        front.ready()
        tell(front, notebook.cells)
        for run in range(runs + 1):
            raw = resume_raw(arena, session_id)
            _wait_asleep(front)
            ours = ask(front)
            if run:  # the first round made the homes
                samples.add_all("raw", raw)
                samples.add_all("ours", ours)


def _wait_asleep(front: Frontend) -> None:
    until = time.monotonic() + DEADLINE_S
    while machine.children(front.pid):
        if time.monotonic() > until:
            raise TimeoutError("the kernel does not end its idle process")
        time.sleep(POLL_S)


def restart(arena: Arena, samples: Samples, runs: int) -> None:
    """A kernel started on a notebook whose conversation is recorded, to its first answer."""
    notebook, session_id = new_notebook(arena, TURNS), told_raw(arena)
    with open_frontend(arena, "ours", notebook=notebook) as front:
        front.ready()
        tell(front, notebook.cells)
    for run in range(runs + 1):
        raw = resume_raw(arena, session_id)
        ours = _restart(arena, notebook)
        if run:  # the first round made the homes
            samples.add("raw: Popen to first text", raw["first text"])
            samples.add_all("ours", ours)


def _restart(arena: Arena, notebook: File) -> dict[str, float]:
    word, cell = new_word(), Cell()
    with open_frontend(arena, "ours", notebook=notebook) as front:
        ready = front.ready()
        request = front.ask(f"say {word}", f"{notebook.cells[0]}-{word}")
        first = front.wait(request, shows(word), cell).at
        front.finish(request, cell)
    assert "Goes on after turn" in cell.plain, "the conversation was not gone on with"
    return {
        "Popen to first text": first - front.manager.launched,
        "Popen to kernel ready": ready - front.manager.launched,
    }
