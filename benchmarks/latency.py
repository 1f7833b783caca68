"""How long a person waits: for the first word, for the end, after an interrupt, after a crash.

Every round runs the contenders one after the other. A word that is asked for is said only once in a
run, so no output of another turn can be taken for the answer.
"""

from __future__ import annotations

import itertools
import os
import signal
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

from . import machine
from .frontend import Cell, Frontend, is_idle, open_frontend, shows
from .pipe import Pipe, cold_turn, is_text
from .pipe import is_idle as is_idle_frame
from .pipe import is_result as is_result_frame

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .arena import Arena
    from .numbers import Samples

HOT_TURNS = 8
LONG = "write 2000 words"
LONG_BEGINS = "Section"
_numbers = itertools.count(1)


def new_word() -> str:
    """Return a word that nobody has said yet."""
    return f"word{next(_numbers)}x"


@contextmanager
def open_pipe(arena: Arena, *where: str) -> Iterator[Pipe]:
    """Run a hot process; it is ended when the block is left."""
    pipe = Pipe(arena, "raw", *where)
    try:
        yield pipe
    finally:
        pipe.close()


# --- start ---------------------------------------------------------------------------------------


def start(arena: Arena, samples: Samples, runs: int) -> None:
    """From nothing to the first word: a raw process, one process per turn, a kernel."""
    for run in range(runs + 1):
        found = {
            "raw": _start_raw(arena),
            "cold": _start_cold(arena),
            "ours": _start_ours(arena),
            "ours, patient client": _start_patient(arena),
        }
        if run:  # the first round made the homes
            for name, values in found.items():
                samples.add_all(name, values)


def _start_raw(arena: Arena) -> dict[str, float]:
    with open_pipe(arena) as pipe:
        pipe.ask(f"say {new_word()}")
        return {"start": pipe.wait(is_text) - pipe.began}


def _start_cold(arena: Arena) -> dict[str, float]:
    prompt = f"say {new_word()}"
    turn = cold_turn(arena, "cold", str(uuid.uuid4()), prompt, resume=False)
    return {"start": turn["first text"]}


def _start_ours(arena: Arena) -> dict[str, float]:
    """Send the first cell as soon as the kernel has told what it is."""
    with open_frontend(arena, "ours") as front:
        ready = front.ready()
        text = _first_text(front)
        return {
            "start": text - front.began,
            "start from Popen": text - front.manager.launched,
            "kernel ready from Popen": ready - front.manager.launched,
            "ready to text": text - ready,
        }


def _start_patient(arena: Arena) -> dict[str, float]:
    """`wait_for_ready` of jupyter_client ends with 0.2 s of silence; nbclient and tests use it."""
    with open_frontend(arena, "ours") as front:
        front.client.wait_for_ready(timeout=60)
        return {"start": _first_text(front) - front.began}


def _first_text(front: Frontend) -> float:
    word, cell = new_word(), Cell()
    request = front.ask(f"say {word}")
    at = front.wait(request, shows(word), cell).at
    front.finish(request, cell)
    return at


# --- hot turns -----------------------------------------------------------------------------------


def hot(arena: Arena, samples: Samples, runs: int) -> None:
    """Turns of a conversation that has begun; each contender's turn in turn."""
    session_id = str(uuid.uuid4())
    with open_pipe(arena) as pipe, open_frontend(arena, "ours") as front:
        front.ready()
        cold_turn(arena, "cold", session_id, "say hello", resume=False)
        for turn in range(runs * HOT_TURNS + 1):
            found = {"raw": _hot_raw(pipe), "ours": _hot_ours(front)}
            if turn:  # the first turn of a process is slower
                for name, values in found.items():
                    samples.add_all(name, values)
            if turn and turn % HOT_TURNS == 0:
                _hot_cold(arena, session_id, samples)


def _hot_raw(pipe: Pipe) -> dict[str, float]:
    sent = pipe.ask(f"say {new_word()}")
    return {
        "hot first text": pipe.wait(is_text) - sent,
        "hot idle": pipe.wait(is_idle_frame) - sent,
    }


def _hot_cold(arena: Arena, session_id: str, samples: Samples) -> None:
    turn = cold_turn(arena, "cold", session_id, f"say {new_word()}", resume=True)
    samples.add_all("cold", {"hot first text": turn["first text"], "hot idle": turn["end"]})


def _hot_ours(front: Frontend) -> dict[str, float]:
    word, cell = new_word(), Cell()
    sent = front.now()
    request = front.ask(f"say {word}")
    first = front.wait(request, shows(word), cell).at
    idle = front.finish(request, cell).at
    return {"hot first text": first - sent, "hot idle": idle - sent}


# --- interrupt -----------------------------------------------------------------------------------


def interrupt(arena: Arena, samples: Samples, runs: int) -> None:
    """From the interrupt, in the middle of a long answer, to idle; the process must stay."""
    with open_pipe(arena) as pipe, open_frontend(arena, "ours") as front:
        front.ready()
        _first_text(front)
        for _ in range(runs * 2):
            samples.add_all("raw", _interrupt_raw(pipe))
            samples.add_all("ours", _interrupt_ours(front))


def _interrupt_raw(pipe: Pipe) -> dict[str, float]:
    pipe.ask(LONG)
    pipe.wait(is_text)
    sent = pipe.interrupt()
    return {
        "interrupt to result": pipe.wait(is_result_frame) - sent,
        "interrupt to idle": pipe.wait(is_idle_frame) - sent,
    }


def _interrupt_ours(front: Frontend) -> dict[str, float]:
    claude = machine.child(front.pid, "claude")
    cell = Cell()
    request = front.ask(LONG)
    front.wait(request, shows(LONG_BEGINS), cell)
    sent = front.interrupt()
    idle = front.finish(request, cell).at
    assert claude == machine.child(front.pid, "claude"), "the process did not survive an interrupt"
    return {"interrupt to idle": idle - sent}


# --- crash ---------------------------------------------------------------------------------------


def crash(arena: Arena, samples: Samples, runs: int) -> None:
    """`kill -9` in the middle of a turn, then the next answer of the same conversation."""
    for _ in range(runs):
        samples.add_all("raw", _crash_raw(arena))
        samples.add_all("ours", _crash_ours(arena))


def _crash_raw(arena: Arena) -> dict[str, float]:
    session_id = str(uuid.uuid4())
    with open_pipe(arena, "--session-id", session_id) as pipe:
        pipe.ask("say hello")
        pipe.wait(is_idle_frame)
        pipe.ask(LONG)
        pipe.wait(is_text)
        killed = pipe.kill()
        pipe.drain()
    with open_pipe(arena, "--resume", session_id) as pipe:
        pipe.ask(f"say {new_word()}")
        return {"kill to next text": pipe.wait(is_text) - killed}


def _crash_ours(arena: Arena) -> dict[str, float]:
    with open_frontend(arena, "ours") as front:
        front.ready()
        _first_text(front)
        claude, cell = machine.child(front.pid, "claude"), Cell()
        request = front.ask(LONG)
        front.wait(request, shows(LONG_BEGINS), cell)
        killed = front.now()
        os.kill(claude, signal.SIGKILL)
        failed = front.wait(request, is_idle, cell).at
        assert any(message.kind == "error" for message in cell.messages), "a crash went unsaid"
        return {
            "kill to error": failed - killed,
            "kill to next text": _first_text(front) - killed,
        }
