"""`hotclaude trust`: trust a folder, after what it brings was listed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..claude.folders import Folders
from ..claude.trust import ASK, Policy
from ..errors import HotClaudeError, UsageError
from ..page.terminal import say
from ..questions import trust as words

if TYPE_CHECKING:
    import argparse


def register(commands: Any) -> None:
    """Add the command to the command line."""
    trust_ = commands.add_parser("trust", help="let a folder's settings, hooks and servers act")
    trust_.add_argument("folder", nargs="?", default=".", help="the folder (the current one)")
    trust_.add_argument("--yes", action="store_true", help="trust it without asking first")
    trust_.set_defaults(run=trust)


def trust(options: argparse.Namespace, rest: list[str]) -> int:
    """List what would run in a folder, and trust it if the user says so."""
    folder = Path(options.folder)
    if not folder.is_dir():
        raise UsageError(f"There is no folder {options.folder}")
    folders = Folders(Policy(ASK))
    look = folders.look(str(folder.resolve()))
    for line in words.lines(look):
        say(line)
    if look.trusted:
        say(f"{words.path_of(look)} is trusted already ({look.by})")
        return 0
    if look.acts and not options.yes:
        question = f"Let this run whenever a notebook is used in {words.path_of(look)}? [y/N] "
        if not sys.stdin.isatty() or input(question).strip().lower() not in ("y", "yes"):
            say("Not trusted (with --yes nothing is asked)", error=True)
            return 1
    if why := folders.accept(look):
        raise HotClaudeError(f"This can't be written down: {why}")
    say(f"Trusted: {words.path_of(look)}")
    return 0
