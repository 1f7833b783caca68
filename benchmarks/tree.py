"""Going about in a conversation: a cell run again, another branch, a new conversation.

Each is compared to a hot turn of the same kernel and to what a raw pipe would do for it. A process
that the kernel starts in advance is waited for, as a reader would without knowing.
"""

from __future__ import annotations

import re
import time
import uuid
from typing import TYPE_CHECKING

from .frontend import DEADLINE_S, Cell, Frontend, new_notebook, open_frontend, shows
from .latency import new_word, open_pipe
from .pipe import Pipe, is_idle, is_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .arena import Arena
    from .numbers import Samples

TURNS = 6
MIDDLE = 4
SPARE = "spare"
HELD = "after turn"
POLL_S = 0.05
SETTLED_S = 0.5  # a process does some more after it has said that it is ready
POOL_ROW = re.compile(r"^\| \d+ \| (?P<stands>[^|]+) \|", re.MULTILINE)


# --- what rounds are made of ---------------------------------------------------------------------


def ask(front: Frontend, cell_id: str | None = None, line: str = "") -> dict[str, float]:
    """Run a cell, with a `%` line above its prompt or without; return what it took, in seconds."""
    word, cell = new_word(), Cell()
    sent = front.now()
    request = front.ask(f"{line}\nsay {word}".lstrip(), cell_id)
    first = front.wait(request, shows(word), cell).at
    idle = front.finish(request, cell).at
    return {"first text": first - sent, "idle": idle - sent}


def ask_raw(pipe: Pipe, since: float | None = None) -> dict[str, float]:
    """Ask the raw process; return what it took since it was asked, or since another moment."""
    sent = pipe.ask(f"say {new_word()}")
    since = sent if since is None else since
    return {"first text": pipe.wait(is_text) - since, "idle": pipe.wait(is_idle) - since}


def tell(front: Frontend, cells: Iterable[str]) -> None:
    """Run these cells."""
    for cell_id in cells:
        ask(front, cell_id)


def told_raw(arena: Arena, turns: int = TURNS) -> str:
    """Return the session of a raw conversation that has so many turns and no process."""
    session_id = str(uuid.uuid4())
    with open_pipe(arena, "--session-id", session_id) as pipe:
        for _ in range(turns):
            ask_raw(pipe)
    return session_id


def resume_raw(arena: Arena, session_id: str) -> dict[str, float]:
    """Resume a raw conversation and ask one more turn; return what it took since the spawn."""
    with open_pipe(arena, "--resume", session_id) as pipe:
        return ask_raw(pipe, pipe.began)


def ready_raw(arena: Arena, *where: str) -> dict[str, float]:
    """Ask the first turn of a raw process that has long been ready; return what it took.

    The first turn of any process is slower: no process that waits can be quicker than this.
    """
    with open_pipe(arena, *where) as pipe:
        pipe.greet()
        time.sleep(SETTLED_S)
        return ask_raw(pipe)


def wait_for_pool(front: Frontend, stands: str, count: int = 1) -> None:
    """Wait until so many processes stand there, as `%pool` tells it, and have come to rest."""
    until = time.monotonic() + DEADLINE_S
    while time.monotonic() < until:
        rows = POOL_ROW.findall(front.told("%pool").plain)
        if sum(row.startswith(stands) for row in rows) >= count:
            time.sleep(SETTLED_S)
            return
        time.sleep(POLL_S)
    raise TimeoutError(f"no {count} processes that stand {stands}")


# --- a cell run again ----------------------------------------------------------------------------


def rewind(arena: Arena, samples: Samples, runs: int) -> None:
    """An edited cell in the middle of the conversation; the cells below it are run again too."""
    notebook = new_notebook(arena, TURNS)
    with open_pipe(arena) as pipe, open_frontend(arena, "ours", notebook=notebook) as front:
        front.ready()
        tell(front, notebook.cells)
        for _ in notebook.cells:
            ask_raw(pipe)
        wait_for_pool(front, SPARE)
        for run in range(runs * 2 + 1):
            found = {
                "raw rewound": ask_raw(pipe, pipe.rewind(MIDDLE)),
                "ours rewound": ask(front, notebook.cells[MIDDLE - 1]),
            }
            for cell_id in notebook.cells[MIDDLE:]:
                found |= {"raw hot": ask_raw(pipe), "ours hot": ask(front, cell_id)}
            if run:  # the first rewind of a process is slower
                for name, values in found.items():
                    samples.add_all(name, values)


# --- branches ------------------------------------------------------------------------------------


def branch(arena: Arena, samples: Samples, runs: int) -> None:
    """To a branch that no process stands on, back to the one before, and to one made ready."""
    for run in range(runs + 1):
        found = {
            "raw resumed": resume_raw(arena, told_raw(arena)),
            "raw ready": ready_raw(arena, "--resume", told_raw(arena)),
            **_switch(arena),
            "ours, made ready": _switch_to_ready(arena),
        }
        if run:  # the first round made the homes
            for name, values in found.items():
                samples.add_all(name, values)


def _switch(arena: Arena) -> dict[str, dict[str, float]]:
    with open_frontend(arena, "ours", notebook=(notebook := new_notebook(arena, TURNS))) as front:
        _grow_two(front, notebook.cells)
        return {
            "ours hot": ask(front),
            "ours, switched": ask(front, line="%checkout branch-1"),
            "ours, switched back": ask(front, line="%checkout main"),
        }


def _switch_to_ready(arena: Arena) -> dict[str, float]:
    with open_frontend(arena, "ours", notebook=(notebook := new_notebook(arena, TURNS))) as front:
        _grow_two(front, notebook.cells)
        front.told("%branches")
        wait_for_pool(front, HELD, 2)
        return ask(front, line="%checkout branch-1")


def _grow_two(front: Frontend, cells: tuple[str, ...]) -> None:
    """Make `main` and `branch-1` of as many turns each, and stand on `main`."""
    front.ready()
    tell(front, cells)
    tell(front, cells[MIDDLE - 1 :])
    wait_for_pool(front, SPARE)


# --- a new conversation --------------------------------------------------------------------------


def new(arena: Arena, samples: Samples, runs: int) -> None:
    """`%new` and its first prompt, with a spare ready."""
    with open_frontend(arena, "ours", notebook=new_notebook(arena, 1)) as front:
        front.ready()
        ask(front)
        for run in range(runs + 1):
            wait_for_pool(front, SPARE)
            with open_pipe(arena) as pipe:
                cold = ask_raw(pipe, pipe.began)
            found = {
                "raw cold": cold,
                "raw ready": ready_raw(arena),
                "ours hot": ask(front),
                "ours new": ask(front, line="%new"),
            }
            if run:  # the first round made the homes
                for name, values in found.items():
                    samples.add_all(name, values)
