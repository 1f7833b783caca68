"""Facts of the machine, and what the kernel of the system knows of a process."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PACKAGES = ("hotclaude-kernel", "ipykernel", "jupyter_client", "pyzmq")


def facts(binary: str) -> dict[str, str | float]:
    """Return what numbers depend on."""
    claude = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True)
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "claude": claude.stdout.split()[0],
        **{name: version(name) for name in PACKAGES},
    }


def cpu_s(pid: int) -> float:
    """Return the processor time a process has used, its threads included."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def children(pid: int) -> dict[int, str]:
    """Return the children of a process, each with the command that it runs."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if int(_stat(int(entry.name))[1]) == pid:
                found[int(entry.name)] = (entry / "comm").read_text().strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def child(pid: int, name: str) -> int:
    """Return the child of a process that runs the command `name`."""
    for found, command in children(pid).items():
        if command == name:
            return found
    raise LookupError(f"process {pid} has no child {name}")


def memory_mb(pid: int) -> dict[str, float]:
    """Return resident (`rss`), proportional (`pss`) and private (`uss`) memory in MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kb = {name.rstrip(":"): int(rest[0]) for name, *rest in map(str.split, lines)}
    private = kb["Private_Clean"] + kb["Private_Dirty"]
    return {"rss": kb["Rss"] / 1024, "pss": kb["Pss"] / 1024, "uss": private / 1024}


def _stat(pid: int) -> list[str]:
    """Return the fields of `/proc/<pid>/stat` that follow the name, which may hold spaces."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
