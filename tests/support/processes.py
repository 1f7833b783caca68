"""Processes of the system, as /proc shows them."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def exists(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return "State:\tZ" not in (PROC / str(pid) / "status").read_text()
    except OSError:
        return False


def pids() -> list[int]:
    """Return all processes."""
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal()]


def environ(pid: int) -> list[bytes]:
    """Return the environment of a process, nothing if it is no more, or somebody else's."""
    try:
        return (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def running(home: Path) -> list[int]:
    """Return the processes that live in a home."""
    mark = f"HOME={home}".encode()
    return [pid for pid in pids() if mark in environ(pid) and exists(pid)]


def family(pid: int) -> dict[int, str]:
    """Return a process and all below it, each with its start time, which tells it from a later."""
    parents = {found: told for found in pids() if (told := _parent_and_start(found))}
    kin = {pid}
    while more := {child for child, (parent, _) in parents.items() if parent in kin} - kin:
        kin |= more
    return {member: parents[member][1] for member in kin if member in parents}


def end(kin: dict[int, str], grace_s: float = 3.0) -> list[int]:
    """Kill those of a family that do not end by themselves, and return them."""
    deadline = time.monotonic() + grace_s
    while (left := _left(kin)) and time.monotonic() < deadline:
        time.sleep(0.01)
    for pid in left:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    return left


def _left(kin: dict[int, str]) -> list[int]:
    now = {pid: _parent_and_start(pid) for pid in kin if exists(pid)}
    return [pid for pid, told in now.items() if told and told[1] == kin[pid]]


def _parent_and_start(pid: int) -> tuple[int, str] | None:
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[1]), fields[19]
