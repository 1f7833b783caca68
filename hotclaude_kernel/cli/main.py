"""`hotclaude`: JupyterLab with the kernel, runs without a page, the demonstration, installation."""

from __future__ import annotations

import argparse
import sys
import traceback
from typing import TYPE_CHECKING, Any, NoReturn

from .. import __version__
from ..errors import HotClaudeError, UsageError
from ..page.terminal import say, say_text
from . import record, trust
from .install import install
from .lab import demo, lab

if TYPE_CHECKING:
    from collections.abc import Sequence

USAGE = 5  # the exit code for arguments, or for a file, that can't be used


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    A `HotClaudeError` is printed to stderr. Its code is 5 for a `UsageError`, else 1. Ctrl-C gives
    130, as in a shell. Of any other error, which is a fault of ours, the traceback is printed.
    """
    arguments, rest = _split(list(sys.argv[1:] if argv is None else argv))
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options, rest))
    except HotClaudeError as error:
        say(f"hotclaude: {error.message}", error=True)
        if error.hint:
            say(error.hint, error=True)
        return USAGE if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        return 130
    except Exception:
        # Python would print it with whatever the error's text holds.
        say_text(traceback.format_exc(), error=True)
        return 1


class _Parser(argparse.ArgumentParser):
    """A parser that exits with 5 for wrong arguments; argparse would exit with 2."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and the error, and exit."""
        self.print_usage(sys.stderr)
        say(f"{self.prog}: error: {message}", error=True)
        self.exit(USAGE)

    def _print_message(self, message: str, file: Any = None) -> None:
        # All else that argparse prints goes through here: usage, help and version.
        if message:
            say_text(message, error=file is sys.stderr)


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    """Return our arguments, and those after `--`, which are for Jupyter."""
    if "--" not in argv:
        return argv, []
    at = argv.index("--")
    return argv[:at], argv[at + 1 :]


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="hotclaude", description="Notebook cells as turns of one live claude process."
    )
    parser.add_argument("--version", action="version", version=f"hotclaude {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    lab_ = commands.add_parser("lab", help="open JupyterLab with the kernel, on your own login")
    lab_.add_argument("notebook", nargs="?", help="a notebook or folder to open")
    lab_.add_argument("--base-url", help="an Anthropic-compatible endpoint, such as a local server")
    lab_.add_argument("--model", help="the model that conversations begin with")
    lab_.set_defaults(run=lab)

    run_ = commands.add_parser("run", help="run a notebook from top to bottom, without a page")
    run_.add_argument("notebook")
    run_.add_argument("-o", "--output", help="where to write it (NAME-run.ipynb beside it)")
    for flags, name, help_ in (
        (("-p", "--param"), "NAME=VALUE", "a parameter; JSON, or text"),
        (("-f", "--file"), "FILE", "parameters in YAML or JSON"),
        (("--set",), "NAME=VALUE", "a setting of the kernel"),
    ):
        run_.add_argument(*flags, metavar=name, action="append", default=[], help=help_)
    run_.add_argument("--record", metavar="MODE", help="none, once, new_episodes, all or off")
    run_.add_argument("--pace", metavar="PACE", help="of what is recorded: instant or recorded")
    run_.add_argument("--trust", action="store_true", help="trust the folder for this run")
    run_.add_argument("--timeout", metavar="S", type=int, help="seconds that a cell may take")
    run_.add_argument("--no-progress", action="store_true", help="show no progress bar")
    run_.set_defaults(run=run)

    record.register(commands)
    trust.register(commands)

    demo_ = commands.add_parser("demo", help="try it without an account, on a demonstration model")
    demo_.add_argument("--folder", help="where to put the example notebook (a temporary one)")
    demo_.add_argument("--serve", action="store_true", help="only serve the demonstration model")
    demo_.add_argument("--port", type=int, default=0, help="the model server's port (any free one)")
    demo_.set_defaults(run=demo)

    install_ = commands.add_parser("install", help="register the kernel for this Python")
    where = install_.add_mutually_exclusive_group()
    where.add_argument("--user", action="store_true", help="for the current user (the default)")
    where.add_argument("--sys-prefix", action="store_true", help="in this Python environment")
    where.add_argument("--prefix", help="below this folder")
    install_.set_defaults(run=install)

    bench_ = commands.add_parser("bench", help="hot against cold, on your own login")
    bench_.add_argument("--turns", type=int, default=5, help="how many of each (%(default)s)")
    bench_.add_argument("--model", help="the model to ask")
    bench_.add_argument("--yes", action="store_true", help="spend the tokens without asking first")
    bench_.set_defaults(run=bench)
    return parser


# --- commands that load their modules late ---------------------------------------------------


def run(options: argparse.Namespace, rest: list[str]) -> int:
    """Carry out `hotclaude run`."""
    from ..notebooks.run import run as run_notebook

    return run_notebook(options)


def bench(options: argparse.Namespace, rest: list[str]) -> int:
    """Carry out `hotclaude bench`, after the user has agreed to its cost."""
    from .bench import measure, notice

    if not options.yes:
        say_text(notice(options.turns))
        if input("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
            return 0
    say_text(measure(options.turns, model=options.model))
    return 0


if __name__ == "__main__":
    sys.exit(main())
