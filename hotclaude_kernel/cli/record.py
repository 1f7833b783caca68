"""The commands on the record: export, import, verify, check, logs, show and gc."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..errors import StoreError, UsageError
from ..notebooks.check import unreproduced
from ..notebooks.file import read_notebook, write, write_notebook
from ..notebooks.verify import Sources, existing, notebook_faults, shown, taped
from ..page.terminal import say, say_text
from ..record import garbage, queries
from ..record.answers import Scope
from ..record.cassettes import archive, cassette, leaks, places
from ..record.resume import store_path
from ..record.scope import saved_nodes
from ..record.store import Store
from ..record.verify import store_faults

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator

    from ..notebooks.file import Notebook
    from ..turns.turn import Recorded

LOGGED = 20  # turns that `logs` lists by default


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
    """Write the cassette of a notebook, unless it gives away secrets or private names."""
    path = Path(options.notebook)
    notebook = read_notebook(path)
    target = Path(options.output) if options.output else places.beside(path)
    with closing(existing(options.store or store_path())) as store:
        for there in places.found(str(path)):
            with suppress(StoreError):  # a damaged cassette is written anew
                cassette.load(store, cassette.text_of(there))
        stand = queries.stand_of(store, _paths(path))
        nodes = [str(cell.about.get("node")) for cell in notebook.answered]
        if not nodes and stand is not None and stand.node is not None:
            nodes = [stand.node]
        if not nodes:
            raise UsageError(
                f"{path} has no answers that are recorded", hint="Run its cells first."
            )
        text = cassette.write(store, nodes)
    if found := leaks.lint(text):
        for line in found:
            say(line, error=True)
        if not options.allow_leaks:
            say(
                "hotclaude: nothing was written. Change the cells that these come from, or write "
                "it all the same by --allow-leaks.",
                error=True,
            )
            return 1
    write(target, text)
    if options.stamp:
        head = next(turn for turn in cassette.read(text) if turn.node.id == nodes[-1])
        branch = stand.branch if stand is not None else ""
        _stamp(notebook, head, branch=branch, tape=target, digest=cassette.digest(text))
    say(f"{text.count(chr(10)) - 1} turns written to {target}")
    return 0


def _paths(path: Path) -> list[str]:
    """Return the paths that a notebook may be recorded under: with and without symbolic links."""
    return list({str(path.absolute()), str(path.resolve())})


def _stamp(notebook: Notebook, head: Recorded, *, branch: str, tape: Path, digest: str) -> None:
    """Write the last turn's node, cassette, versions and commit into the notebook's metadata."""
    folder = notebook.path.resolve().parent
    relative = os.path.relpath(tape.resolve(), folder).replace(os.sep, "/")
    versions = {"hotclaude": __version__, "cli": head.cli, "python": platform.python_version()}
    stamp: dict[str, Any] = {
        "v": 1,
        "head": head.node.id,
        "cassette": {"path": relative, "digest": digest},
        "versions": versions,
    }
    if branch:
        stamp["branch"] = branch
    if git := _git(folder, (notebook.path, tape)):
        stamp["git"] = git
    notebook.content.setdefault("metadata", {})["hotclaude"] = stamp
    write_notebook(notebook)


def _git(folder: Path, written: Iterable[Path]) -> dict[str, Any] | None:
    """Return the commit, and whether tracked files other than `written` differ from it."""
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
    with closing(Store(options.store or store_path())) as store:
        new = cassette.load(store, text)
    say(f"{new} new turns from {options.cassette}")
    return 0


# --- audits ----------------------------------------------------------------------------------


def verify(options: argparse.Namespace) -> int:
    """List the faults of the record, a cassette or a notebook; return 1 if there are any."""
    if options.file is None:
        with closing(_recorded(options)) as store:
            return _verdict(store_faults(store), "The record is sound.")
    path = Path(options.file)
    if path.suffix != ".ipynb":
        count = len(cassette.read(cassette.text_of(path)))
        say(f"{path}: all {count} turns are sound.")
        return 0
    notebook = read_notebook(path)
    count = len(notebook.answered)
    with _sources(options, path) as sources:
        faults = notebook_faults(notebook, sources)
        return _verdict(faults, f"{path}: all {count} answers are what is recorded.")


def check(options: argparse.Namespace) -> int:
    """List why a run of all cells would not reproduce a notebook; return 1 if there is a reason."""
    path = Path(options.notebook)
    notebook = read_notebook(path)
    with _sources(options, path) as sources:
        missing = unreproduced(notebook, sources)
        return _verdict(missing, f"{path}: running all cells reproduces it.")


def _verdict(faults: Iterable[str], sound: str) -> int:
    found = list(faults)
    for line in found or [sound]:
        say(line)
    return 1 if found else 0


@contextmanager
def _sources(options: argparse.Namespace, notebook: Path) -> Iterator[Sources]:
    texts = [cassette.text_of(path) for path in places.found(str(notebook))]
    with closing(existing(options.store or store_path())) as store:
        row = queries.row_at(store, _paths(notebook)) or 0
        scope = Scope(notebook=row, shown=saved_nodes([str(notebook)]))
        yield Sources(store, taped(texts), scope)


def _recorded(options: argparse.Namespace) -> Store:
    """Return the record. Raises `UsageError` if its file doesn't exist."""
    file = options.store or store_path()
    if not Path(file).exists():
        raise UsageError(f"There is no record at {file}", hint="Run a notebook first.")
    return Store(file)


# --- lists of turns --------------------------------------------------------------------------


def logs(options: argparse.Namespace) -> int:
    """List the newest turns, the newest last."""
    paths = _paths(Path(options.notebook)) if options.notebook else None
    with closing(_recorded(options)) as store:
        newest = queries.newest(store, options.n, paths)
    for node, notebook in newest:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(node.ended))
        tokens = f"{node.usage.prompt_tokens + node.usage.output_tokens:,} tokens"
        state = "" if node.status == "ok" else f"  ({node.status})"
        asked = next(iter(node.prompt.strip().splitlines()), "")
        columns = (when, node.id[:8], Path(notebook).name or "-", f"turn {node.number}")
        say("  ".join((*columns, node.model, tokens, asked)) + state)
    return 0


def show(options: argparse.Namespace) -> int:
    """Print a conversation up to a turn, as Markdown."""
    with closing(_recorded(options)) as store:
        for node in archive.lineage(store, [_named(store, options.turn)]):
            say_text(_markdown(store.turn(node)) + "\n")
    return 0


def _named(store: Store, beginning: str) -> str:
    """Return the id of the one turn whose node id or key begins so. Raises `UsageError`."""
    found = queries.turns_named(store, beginning)
    if not found:
        raise UsageError(f"No turn begins with {beginning}", hint="`hotclaude logs` lists some.")
    if len(found) > 1:
        raise UsageError(
            f"Several turns begin with {beginning}", hint=f"Such as {', '.join(found[:5])}."
        )
    return found[0]


def _markdown(turn: Recorded) -> str:
    node = turn.node
    quoted = "".join(f"> {line}".rstrip() + "\n" for line in turn.prompt.text.splitlines())
    said = "".join(
        data.get("text/markdown", "") for data in shown(turn.frames, elsewhere=turn.elsewhere)
    ).strip()
    head = f"## Turn {node.number}\n\nnode {node.id}, key {node.key}, {node.model}"
    ended = "" if node.status == "ok" else f"\n\n*{node.status}*"
    return f"{head}\n\n{quoted}\n{said}{ended}\n"


def gc(options: argparse.Namespace) -> int:
    """Delete the turns and blobs that no notebook and no key refers to; print how many."""
    with closing(_recorded(options)) as store:
        freed = garbage.forget_unheld(store, dry_run=options.dry_run)
        if not options.dry_run:
            garbage.compact(store)
    would = "would be " if options.dry_run else ""
    say(f"{freed.turns} turns and {freed.blobs} blobs {would}deleted: {freed.size_bytes:,} bytes")
    return 0
