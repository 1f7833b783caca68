"""Journals: what a kernel could not yet write to the record, a file beside it for each kernel.

A journal is a list of jobs as JSON lines. Each append is one write and is on disk when it returns.
The kernel removes its journal once the record has all of it. If the kernel dies before, the next
kernel that opens the record does the jobs. A line that is torn was never replied to.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from ...claude.files import PRIVATE, SAFELY, write_new
from ...claude.processes import runs
from ...errors import StoreError, StoreUnavailable
from ...turns.tree import MAIN, Branches
from .. import notebooks
from ..database import MEMORY
from ..resume import private_folder
from .jobs import Add, Branch, Copy, Job, Join, Leave, Seat, Stand

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from ...turns.tree import Node
    from ...turns.turn import Recorded
    from ..notebooks import Notebook
    from ..store import Store

log = logging.getLogger(__name__)

MARK = ".unwritten-"
DAMAGED = ".damaged"
_numbers = itertools.count()
_open: set[Path] = set()  # the journals of this process that are in use


class Journal:
    """The journal of one kernel, for one record. The file is made by the first append."""

    def __init__(self, store: str, kernel: str) -> None:
        pid_and_start = kernel.replace(":", "-")
        self.path: Path | None = None
        self._store = store
        self._name = f"{MARK}{pid_and_start}-{next(_numbers)}"

    def append(self, jobs: Sequence[Job]) -> None:
        """Write jobs to the file; it is in a private temporary folder if it can't be at the record.

        Raises `OSError` if it can be written nowhere.
        """
        # A line that a full disk has cut off must not spoil the one after it.
        data = b"".join(b"\n" + msgspec.json.encode(job) for job in jobs) + b"\n"
        if self.path is not None:
            _append(self.path, data)
            return
        try:
            self._begin(_beside(self._store), data)
        except OSError:
            self._begin(_elsewhere(self._store), data)

    def _begin(self, stem: Path, data: bytes) -> None:
        path = stem.with_name(stem.name + self._name)
        _open.add(path)
        try:
            write_new(str(path), b"")  # refuses a link that somebody has put there
            _append(path, data)
            _sync(path.parent)
        except OSError:
            _open.discard(path)
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        self.path = path

    def remove(self) -> None:
        """Delete the file: all that is in it is in the record."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()
        self.close()

    def close(self) -> None:
        """Leave the file, if there is one, to the next kernel."""
        if self.path is not None:
            _open.discard(self.path)
        self.path = None


def _append(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | SAFELY, PRIVATE)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    """Have a new file's name reach the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _beside(store: str) -> Path:
    return Path(store).absolute()


def _elsewhere(store: str) -> Path:
    digest = hashlib.blake2b(str(_beside(store)).encode(), digest_size=8).hexdigest()
    return Path(private_folder(), digest)


# --- the journals of kernels that are no more ------------------------------------------------


def left(store: str) -> list[Path]:
    """Return the journals that kernels of this record left when they ended, the oldest first."""
    if store == MEMORY:
        return []
    stems = [_beside(store)]
    with contextlib.suppress(OSError):
        stems.append(_elsewhere(store))
    found = [path for stem in stems for path in _with_mark(stem) if not _in_use(path)]
    return sorted(found, key=_changed)


def _with_mark(stem: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError):
        for entry in os.scandir(stem.parent):
            if entry.name.startswith(f"{stem.name}{MARK}") and not entry.name.endswith(DAMAGED):
                yield Path(entry.path)


def _in_use(path: Path) -> bool:
    if path in _open:
        return True
    pid, _, rest = path.name.rpartition(MARK)[2].partition("-")
    return pid != str(os.getpid()) and runs(f"{pid}:{rest.partition('-')[0]}")


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0  # another kernel has drained it


def read(path: Path) -> tuple[list[Job], bool]:
    """Return the jobs of a journal, and whether all of its lines could be read.

    A last line without its end is no damage. Raises `OSError` if the file can't be read.
    """
    *lines, _ = path.read_bytes().split(b"\n")
    jobs: list[Job] = []
    for line in filter(None, lines):
        try:
            jobs.append(msgspec.json.decode(line, type=Job))
        except (msgspec.MsgspecError, ValueError):
            log.warning("a line of %s can't be read", path)
    return jobs, len(jobs) == sum(map(bool, lines))


def drain(path: Path, store: Store) -> str:
    """Do the jobs of a journal that was left, and remove it; return what went wrong, if anything.

    A journal with a job that can't be done is kept under another name.
    """
    with store.write():
        try:
            # Read under the lock: another kernel may be about to do the same.
            jobs, whole = read(path)
        except FileNotFoundError:
            return ""
        rows: dict[int, int] = {}
        names: dict[tuple[int, str], Branch] = {}
        for job in jobs:
            whole &= _done(store, _named(job, names), rows)
    if whole:
        path.unlink(missing_ok=True)
        return ""
    kept = path.with_name(path.name + DAMAGED)
    path.replace(kept)
    return f"Not all that an earlier kernel had written down could be recorded: it is in {kept}"


def _named(job: Job, names: dict[tuple[int, str], Branch]) -> Job:
    """Return a job that shares its branches with the others: one may get another name."""

    def one(branch: Branch) -> Branch:
        return names.setdefault((job.seat.number, branch.name), branch)

    match job:
        case Add():
            return replace(job, branch=one(job.branch))
        case Join(branch=Branch() as branch):
            return replace(job, branch=one(branch))
        case Stand():
            moves = [replace(move, branch=one(move.branch)) for move in job.moves]
            current = one(job.current) if job.current else None
            return replace(job, moves=moves, current=current)
    return job


def _placed(db: sqlite3.Connection, seat: Seat, rows: dict[int, int]) -> Seat:
    """Return a seat with the row of its notebook, which is made if there is none."""
    if seat.number not in rows:
        rows[seat.number] = notebooks.row_at(db, seat.row, seat.path, seat.folder)
    return replace(seat, row=rows[seat.number])


def _done(store: Store, job: Job, rows: dict[int, int]) -> bool:
    """Do a job in the notebook that it names; return whether that went well."""
    try:
        with store.write() as db:
            placed: Job = replace(job, seat=_placed(db, job.seat, rows))
            if isinstance(placed, Add | Join):
                placed = replace(placed, scope=_placed(db, placed.scope, rows))
            placed(store)
    except StoreUnavailable:
        raise
    except StoreError as error:
        log.warning("a job of a journal can't be done: %s", error)
        return False
    return True


def applied(
    store: Store, notebook: Notebook, paths: Sequence[Path], turns: dict[str, Recorded]
) -> Notebook:
    """Return a notebook as it will be once journals are in the record; add their turns to `turns`.

    The record can't be written now, so nothing is drained yet.
    """
    tree = notebook.branches
    row, nodes = notebook.id, dict(tree.nodes)
    ends, marks, current = dict(tree.branches), dict(tree.checkpoints), tree.current
    for path in paths:
        with contextlib.suppress(OSError):
            for job in read(path)[0]:
                if job.seat.path is None or job.seat.path != notebook.path:
                    continue
                match job:
                    # What follows a turn whose line is damaged is left out: it can't be shown.
                    case Add() if job.turn.node.parent in (None, *nodes):
                        node = job.turn.node
                        nodes[node.id], turns[node.id] = node, job.turn
                        ends[job.branch.name] = node.id
                    case Join():
                        joined = _lineage(store, job, nodes)
                        nodes |= {node.id: node for node in joined}
                        if job.branch is not None and joined:
                            ends[job.branch.name] = job.node
                    case Stand():
                        current = job.current.name if job.current else current
                        moved = {move.branch.name: move.end for move in job.moves}
                        ends |= {name: end for name, end in moved.items() if end in (None, *nodes)}
                        ends.pop(job.deleted, None)
                        marks |= {n: end for n, end in job.checkpoints.items() if end in nodes}
                    case Copy():
                        nodes |= notebooks.whole_notebook(store, job.origin).branches.nodes
                    case Leave():
                        row, nodes, ends, marks, current = 0, {}, {}, {}, MAIN
    branches = Branches(nodes.values(), current=current, branches=ends, checkpoints=marks)
    return replace(notebook, id=row, branches=branches)


def _lineage(store: Store, job: Join, nodes: dict[str, Node]) -> list[Node]:
    """Return a joined turn, and the turns before it that are not in `nodes`; none if one lacks."""
    found: list[Node] = []
    at: str | None = job.node
    while at is not None and (not found or at not in nodes):
        node = store.node(at, job.cell_id if at == job.node else None)
        if node is None:
            return []
        found.append(node)
        at = node.parent
    return found
