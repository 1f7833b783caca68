"""Processes by pid: which one this is, whether another still runs."""

from __future__ import annotations

import os


def this_kernel() -> str:
    """Return what tells this process from every other: its pid, and when it started."""
    return f"{os.getpid()}:{started(os.getpid())}"


def started(pid: int) -> int:
    """Return when a process started, in clock ticks since the boot; 0 where that can't be told."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b") ")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


def runs(kernel: str) -> bool:
    """Return whether the process of a `this_kernel` is still there."""
    pid, _, ticks = kernel.partition(":")
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        pass  # it is somebody else's, but it is there
    except (OSError, ValueError):
        return False
    return ticks in ("0", str(started(int(pid)))) and not _zombie(int(pid))


def _zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2][:1] == b"Z"
    except OSError:
        return False
