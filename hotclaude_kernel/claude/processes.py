"""Identify a process by its pid and start time, and check whether it still runs."""

from __future__ import annotations

import os


def this_kernel() -> str:
    """Return the identity of this process, as `pid:start`; a pid alone can be used again."""
    return f"{os.getpid()}:{started(os.getpid())}"


def started(pid: int) -> int:
    """Return when a process started, in clock ticks since boot; 0 if unknown.

    It is field 22 of `/proc/PID/stat` (see proc(5)), so it is unknown without `/proc`.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b") ")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


def runs(kernel: str) -> bool:
    """Return whether the process still runs whose `this_kernel` is `kernel`."""
    pid, _, ticks = kernel.partition(":")
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        pass  # the process runs, under another user
    except (OSError, ValueError):
        return False
    return ticks in ("0", str(started(int(pid)))) and not _zombie(int(pid))


def _zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2][:1] == b"Z"
    except OSError:
        return False
