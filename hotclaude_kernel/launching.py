"""Starting the claude process before ipykernel is imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .conversation import Prespawned, prespawn
from .errors import HotClaudeError
from .turn import Settings

CONFIG_NAME = "hotclaude_config"


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
