"""The record from a shell: cassettes, audits, lists of turns, and what nobody holds any more."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..errors import StoreError, UsageError
from ..notebooks.check import unreproduced
from ..notebooks.file import read_notebook
from ..notebooks.verify import Sources, existing, notebook_faults, shown, taped
from ..page.text import visible, without_ansi
from ..record import archive, cassette, garbage, leaks, places, queries
from ..record.resume import store_path
from ..record.store import Store
from ..record.verify import store_faults

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable

    from ..notebooks.file import Notebook
    from ..record.archive import Recorded

LOGGED = 20  # turns that `logs` lists


def register(commands: Any) -> None:
    """Add the commands to the command line."""

    def add(run: Callable[[argparse.Namespace], int], name: str, help_: str) -> Any:
        command = commands.add_parser(name, help=help_)
        command.add_argument("--store", metavar="FILE", default="", help="the record, if not yours")
        command.set_defaults(run=lambda options, rest: run(options))
        return command

    export_ = add(export, "export", "write the cassette of a notebook, to be committed beside it")
    export_.add_argument("notebook")
    export_.add_argument("-o", "--output", metavar="FILE", help="where to (beside the notebook)")
    export_.add_argument("--allow-leaks", action="store_true", help="write it whatever it tells")
    export_.add_argument(
        "--stamp", action="store_true", help="name the cassette and the versions in the notebook"
    )
    import__ = add(import_, "import", "take the turns of a cassette into the record")
    import__.add_argument("cassette")
    verify_ = add(verify, "verify", "derive anew what names each turn, and compare what is shown")
    verify_.add_argument("file", nargs="?", help="a notebook or a cassette; else all of the record")
    check_ = add(check, "check", "tell whether running all cells would reproduce a notebook")
    check_.add_argument("notebook")
    logs_ = add(logs, "logs", "list the newest turns")
    logs_.add_argument("notebook", nargs="?", help="only of this notebook")
    logs_.add_argument("-n", type=int, metavar="N", default=LOGGED, help="how many (%(default)s)")
    show_ = add(show, "show", "print a conversation up to a turn, as Markdown")
    show_.add_argument("turn", help="the beginning of its node or its key")
    gc_ = add(gc, "gc", "delete what no notebook and no key holds")
    gc_.add_argument("--dry-run", action="store_true", help="only say what that would free")


# --- cassettes -------------------------------------------------------------------------------


def export(options: argparse.Namespace) -> int:
    """Write the cassette of a notebook, unless it tells what is nobody else's business."""
    path = Path(options.notebook)
    notebook = read_notebook(path)
    target = Path(options.output) if options.output else places.beside(path)
    store = existing(options.store or store_path())
    for there in places.found(str(path)):
        with contextlib.suppress(StoreError):  # what is damaged is written anew
            cassette.load(store, cassette.text_of(there))
    stand = queries.stand_of(store, _paths(path))
    nodes = [str(cell.about.get("node")) for cell in notebook.answered]
    if not nodes and stand is not None and stand.node is not None:
        nodes = [stand.node]
    if not nodes:
        raise UsageError(f"{path} has no answers that are recorded", hint="Run its cells first.")
    text = cassette.write(store, nodes)
    if found := leaks.lint(text):
        _print(found, file=sys.stderr)
        if not options.allow_leaks:
            print(
                "hotclaude: nothing was written. Change the cells that these come from, or write "
                "it all the same by --allow-leaks.",
                file=sys.stderr,
            )
            return 1
    _write(target, text)
    if options.stamp:
        head = next(turn for turn in cassette.read(text) if turn.node == nodes[-1])
        branch = stand.branch if stand is not None else ""
        _stamp(notebook, head, branch=branch, tape=target, digest=cassette.digest(text))
    print(f"{text.count(chr(10)) - 1} turns written to {target}")
    return 0


def _paths(path: Path) -> list[str]:
    """Return the names that a notebook may be recorded under."""
    return list({str(path.absolute()), str(path.resolve())})


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(path)
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror}") from error


def _stamp(notebook: Notebook, head: Recorded, *, branch: str, tape: Path, digest: str) -> None:
    """Write into the notebook what its answers came from."""
    folder = notebook.path.resolve().parent
    relative = os.path.relpath(tape.resolve(), folder).replace(os.sep, "/")
    versions = {"hotclaude": __version__, "cli": head.cli, "python": platform.python_version()}
    stamp: dict[str, Any] = {
        "v": 1,
        "head": head.node,
        "cassette": {"path": relative, "digest": digest},
        "versions": versions,
    }
    if branch:
        stamp["branch"] = branch
    if git := _git(folder, (notebook.path, tape)):
        stamp["git"] = git
    notebook.content.setdefault("metadata", {})["hotclaude"] = stamp
    _write(notebook.path, json.dumps(notebook.content, indent=1, ensure_ascii=False) + "\n")


def _git(folder: Path, written: Iterable[Path]) -> dict[str, Any] | None:
    """Return the commit, and whether other files than those that we write differ from it."""
    others = [f":(exclude){os.path.relpath(path.resolve(), folder)}" for path in written]
    commit = _git_says(folder, "rev-parse", "HEAD")
    state = _git_says(folder, "status", "--porcelain", "-uno", "--", ":/", *others)
    return None if commit is None else {"commit": commit, "dirty": bool(state)}


def _git_says(folder: Path, *words: str) -> str | None:
    command = ["git", "--no-optional-locks", "-C", str(folder), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def import_(options: argparse.Namespace) -> int:
    """Take the turns of a cassette into the record."""
    text = cassette.text_of(Path(options.cassette))
    new = cassette.load(Store(options.store or store_path()), text)
    print(f"{new} new turns from {options.cassette}")
    return 0


# --- audits ----------------------------------------------------------------------------------


def verify(options: argparse.Namespace) -> int:
    """Derive everything anew; list what does not come out as it is recorded, or shown."""
    if options.file is None:
        return _verdict(store_faults(_recorded(options)), "The record is sound.")
    path = Path(options.file)
    if path.suffix != ".ipynb":
        count = len(cassette.read(cassette.text_of(path)))
        print(f"{path}: all {count} turns are sound.")
        return 0
    notebook = read_notebook(path)
    faults = notebook_faults(notebook, _sources(options, path))
    count = len(notebook.answered)
    return _verdict(faults, f"{path}: all {count} answers are what is recorded.")


def check(options: argparse.Namespace) -> int:
    """List why running all cells would not reproduce a notebook."""
    path = Path(options.notebook)
    notebook = read_notebook(path)
    missing = unreproduced(notebook, _sources(options, path))
    return _verdict(missing, f"{path}: running all cells reproduces it.")


def _verdict(faults: Iterable[str], sound: str) -> int:
    found = list(faults)
    _print(found or [sound])
    return 1 if found else 0


def _sources(options: argparse.Namespace, notebook: Path) -> Sources:
    store = existing(options.store or store_path())
    texts = [cassette.text_of(path) for path in places.found(str(notebook))]
    return Sources(store, taped(texts))


def _recorded(options: argparse.Namespace) -> Store:
    """Return the record, which must be there."""
    file = options.store or store_path()
    if not Path(file).exists():
        raise UsageError(f"There is no record at {file}", hint="Run a notebook first.")
    return Store(file)


# --- looking ---------------------------------------------------------------------------------


def logs(options: argparse.Namespace) -> int:
    """List the newest turns, the newest last."""
    paths = _paths(Path(options.notebook)) if options.notebook else None
    for turn in queries.newest(_recorded(options), options.n, paths):
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(turn.ended))
        tokens = f"{turn.tokens:,} tokens"
        state = "" if turn.status == "ok" else f"  ({turn.status})"
        asked = next(iter(turn.prompt.strip().splitlines()), "")
        columns = (when, turn.node[:8], Path(turn.notebook).name or "-", f"turn {turn.number}")
        _print(["  ".join((*columns, turn.model, tokens, asked)) + state])
    return 0


def show(options: argparse.Namespace) -> int:
    """Print a conversation up to a turn, as Markdown."""
    store = _recorded(options)
    found = queries.turns_named(store, options.turn)
    if not found:
        raise UsageError(f"No turn begins with {options.turn}", hint="`hotclaude logs` lists some.")
    if len(found) > 1:
        names = ", ".join(archive.turn_at(store, at).node for at in found[:5])
        raise UsageError(f"Several turns begin with {options.turn}", hint=f"Such as {names}.")
    for at in archive.lineage(store, found):
        print(without_ansi(_markdown(archive.turn_at(store, at))))
    return 0


def _markdown(turn: Recorded) -> str:
    quoted = "".join(f"> {line}".rstrip() + "\n" for line in turn.prompt.splitlines())
    said = "".join(data.get("text/markdown", "") for data in shown(turn.frames)).strip()
    head = f"## Turn {turn.number}\n\nnode {turn.node}, key {turn.key}, {turn.model}"
    ended = "" if turn.status == "ok" else f"\n\n*{turn.status}*"
    return f"{head}\n\n{quoted}\n{said}{ended}\n"


def gc(options: argparse.Namespace) -> int:
    """Delete what nobody holds, and say how much that was."""
    store = _recorded(options)
    freed = garbage.forget_unheld(store, dry_run=options.dry_run)
    if not options.dry_run:
        garbage.compact(store)
    would = "would be " if options.dry_run else ""
    print(f"{freed.turns} turns and {freed.blobs} blobs {would}deleted: {freed.size_bytes:,} bytes")
    return 0


def _print(rows: Iterable[str], file: Any = None) -> None:
    """Print lines that hold what others wrote."""
    for row in rows:
        print(visible(row), file=file or sys.stdout)
