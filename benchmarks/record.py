"""What the record costs: a replayed cell, a turn's bytes in the file, many writers at once."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hotclaude_kernel.record.notebooks import notebook_at
from hotclaude_kernel.record.store import Store
from hotclaude_kernel.turns.prompt import Prompt
from hotclaude_kernel.turns.settings import Settings
from hotclaude_kernel.turns.tree import Node
from hotclaude_kernel.turns.turn import Recorded

from .frontend import Cell, Frontend, new_notebook, open_frontend
from .latency import new_word

if TYPE_CHECKING:
    from .arena import Arena
    from .numbers import Samples

CELLS = 20
WRITERS = 32
TURNS = 50  # of each writer; half of them every other writer writes too


def replay(arena: Arena, samples: Samples, runs: int) -> None:
    """Cells that are replayed after a restart, against cells that do nothing but answer."""
    notebook, words = new_notebook(arena, CELLS), [new_word() for _ in range(CELLS)]
    with open_frontend(arena, "ours", notebook=notebook) as front:
        front.ready()
        for cell_id, word in zip(notebook.cells, words, strict=True):
            _time(front, f"say {word}", cell_id)
    for _ in range(runs):
        with open_frontend(arena, "ours", notebook=notebook) as front:
            front.ready()
            front.told("%record none")
            for cell_id, word in zip(notebook.cells, words, strict=True):
                replayed = _time(front, f"say {word}", cell_id)
                samples.add("ours replayed: send to idle", replayed)
                samples.add("ours nothing: send to idle", _time(front, "%record", "line"))


def _time(front: Frontend, code: str, cell_id: str) -> float:
    sent = front.now()
    return front.finish(front.ask(code, cell_id), Cell()).at - sent


def store(arena: Arena, samples: Samples, runs: int) -> None:
    """Many processes that write one file at once; the bytes that a turn takes in it."""
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder, "store.db"))
            Store(path).close()
            command = [sys.executable, "-m", "benchmarks.record", path]
            began = time.monotonic()
            writers = [subprocess.Popen([*command, str(n)]) for n in range(WRITERS)]
            failed = sum(writer.wait() != 0 for writer in writers)
            spent = time.monotonic() - began
            record = Store(path)
            with record.read() as db:
                (turns,) = db.execute("select count(*) from turn").fetchone()
                db.execute("pragma wal_checkpoint(truncate)")
            record.close()
            expected = WRITERS * TURNS // 2 + TURNS // 2
            assert (failed, turns) == (0, expected), f"{failed} failed, {turns} of {expected} turns"
            samples.add("writers: turns per second", WRITERS * TURNS / spent)
            samples.add("file: bytes per turn", os.path.getsize(path) / turns)  # noqa: PTH202


def _write(path: str, writer: int) -> None:
    """Write as one of many: half of the turns are everybody's, half are this writer's own."""
    record = Store(path)
    notebook = notebook_at(record, f"/writer-{writer}.ipynb").id
    for number in range(TURNS):
        name = f"shared-{number}" if number % 2 else f"{writer}-{number}"
        node = Node(
            id=name,
            parent=None,
            number=1,
            prompt=name,
            status="ok",
            key=name,
            settings="",
            ended=time.time(),
        )
        # As much as a turn of some hundred words takes.
        lines = os.urandom(1500).hex().encode()
        turn = Recorded(
            node=node,
            prompt=Prompt(text=name),
            settings=Settings(),
            entries=lines,
            frames=lines[:1500],
        )
        record.save(notebook, turn, branch="main")
    record.close()


if __name__ == "__main__":
    _write(sys.argv[1], int(sys.argv[2]))
