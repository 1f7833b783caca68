"""Starting the claude process before ipykernel is imported."""

from __future__ import annotations

import os
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import HotClaudeError
from .transport import Launch, base_launch, find_claude, spawn
from .turn import Settings

if TYPE_CHECKING:
    import subprocess

CONFIG_NAME = "hotclaude_config"


class Prespawned:
    """A process that was started before anyone asked, for the launch it was started with."""

    def __init__(self, launch: Launch, session_id: str, process: subprocess.Popen[bytes]) -> None:
        self.launch = launch
        self.session_id = session_id
        self.process = process


def prespawn(settings: Settings, binary: str = "") -> Prespawned:
    """Start a process for a new conversation, before there is an event loop."""
    session_id = str(uuid.uuid4())
    launch = launch_of(settings, find_claude(binary), ("--session-id", session_id))
    return Prespawned(launch, session_id, spawn(launch))


def launch_of(settings: Settings, binary: str, where: tuple[str, ...]) -> Launch:
    """Return the launch of a process with these settings, on the conversation that `where` says."""
    cwd = settings.cwd or str(Path.cwd())
    return base_launch(binary, (*settings.argv(), *where), cwd)


def prespawn_default(argv: list[str]) -> Prespawned | None:
    """Start a process of default settings, if those will be the settings.

    Where something is configured, the process is started once traitlets has read it. What is wrong
    with the binary is told in the first cell, where it is seen.
    """
    if configured(argv):
        return None
    try:
        return prespawn(Settings())
    except HotClaudeError:
        return None


def configured(argv: list[str]) -> bool:
    """Return whether any setting is configured.

    Looks where Jupyter looks, without importing traitlets or jupyter_core.
    """
    if any(argument.startswith("--HotClaudeKernel.") for argument in argv):
        return True
    folders = [os.environ.get("JUPYTER_CONFIG_DIR") or str(Path.home() / ".jupyter")]
    folders += os.environ.get("JUPYTER_CONFIG_PATH", "").split(os.pathsep)
    folders += [f"{sys.prefix}/etc/jupyter", "/usr/local/etc/jupyter", "/etc/jupyter"]
    names = [Path(folder, CONFIG_NAME) for folder in folders if folder]
    return any(name.with_suffix(end).exists() for name in names for end in (".py", ".json"))
