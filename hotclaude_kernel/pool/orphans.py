"""End orphans: the processes of kernels that died, and the commands of a process that died.

A process is ended only if this record has it and three things agree: its pid, its start time, and
the token in its environment. Its commands inherit the token. A process's name proves nothing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..claude import arguments
from ..claude.launch import TOKEN_ENV
from ..claude.processes import runs, started
from ..errors import StoreError
from ..record.resume import private_parents
from ..record.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..record.notebook import Record
    from ..record.store import Process

GRACE_S = 1.0
LOOK_S = 0.02
PROC = Path("/proc")


def clear(record: Record) -> int:
    """End and remove what kernels of this record left when they died; blocks.

    That is their processes with the transcripts, and the folders of arguments. What older versions
    left in the record that is secret is removed too. Return how many processes were still running.
    """
    with contextlib.suppress(OSError):
        arguments.sweep(private_parents(record.file))
    with contextlib.suppress(StoreError):
        if record.store.unsealed():
            record.changes.put(Store.seal)
        return sweep(record.store.orphans(), record.changes.forget_process)
    return 0


def sweep(left: Iterable[Process], forget: Callable[[str], None]) -> int:
    """End the processes that kernels left when they died, and remove their transcripts; blocks.

    `forget` is called with the token of each. Return how many were still running.
    """
    ended = 0
    for process in left:
        if not PROC.is_dir() and runs(f"{process.pid}:0"):
            continue  # nothing tells whether it is ours: it is left, and not forgotten
        if _is_same(process.pid, process.started, process.token):
            ended += 1
        end_all(process.token)
        if process.file:
            Path(process.file).unlink(missing_ok=True)
        forget(process.token)
    return ended


def end_all(token: str) -> None:
    """End every process with a token in its environment: SIGTERM, then SIGKILL; blocks.

    Each signal is given `GRACE_S` seconds. Without `/proc` no process is found.
    """
    for signum in (signal.SIGTERM, signal.SIGKILL):
        found = carriers(token)
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signum)
        deadline = time.monotonic() + GRACE_S
        while any(_is_same(pid, began, token) for pid, began in found.items()):
            if time.monotonic() > deadline:
                break
            time.sleep(LOOK_S)
        else:
            return


def carriers(token: str) -> dict[int, int]:
    """Return the processes with a token in their environment: start times by pid.

    A start time is in clock ticks since boot. Without `/proc` none is found.
    """
    if not token or not PROC.is_dir():
        return {}
    pids = [int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal()]
    return {pid: started(pid) for pid in pids if pid != os.getpid() and _carries(pid, token)}


def _is_same(pid: int, began: int, token: str) -> bool:
    return started(pid) == began and _carries(pid, token)


def _carries(pid: int, token: str) -> bool:
    try:
        environ = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    return f"{TOKEN_ENV}={token}".encode() in environ.split(b"\0")
