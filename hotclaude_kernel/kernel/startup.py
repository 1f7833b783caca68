"""The start of a kernel before anything heavy is imported: the claude process, and the ports.

Nothing but `subprocess`, `json` and `socket` is imported here: importing `asyncio` would delay the
process by 40 ms, `ipykernel` by 160. The ports listen early because ZMQ tries a refused connection
again only after 100 ms or more: a client that was there first would miss the first messages.
"""

from __future__ import annotations

import os
import sys

from ..claude import processes
from ..claude.launch import DEFAULT_FLAGS, Prespawned, new_id
from ..errors import ClaudeNotFound
from ..record import resume

TYPE_CHECKING = False  # `typing` is an import too
if TYPE_CHECKING:
    from collections.abc import Mapping


CONFIG_NAME = "hotclaude_config"
NOTEBOOK_ENV = "JPY_SESSION_NAME"  # the notebook's path, from Jupyter Server
MODEL_ENV = "ANTHROPIC_MODEL"  # the model that conversations begin with
CHANNELS = ("shell", "iopub", "control", "stdin")  # the heartbeat binds its own way
BACKLOG = 100


def prespawn(argv: list[str]) -> Prespawned | None:
    """Start the process that the first cell will want, as far as that can be told by now.

    It goes on where the notebook's conversation ended, or begins one of default settings. Where
    something is configured, the process is started once traitlets has read it. What is wrong with
    the binary is told in the first cell, where it is seen.
    """
    if configured(argv) or replays_only(os.environ):
        return None
    session_id = new_id()
    model = os.environ.get(MODEL_ENV)
    flags = (*(("--model", model) if model else ()), *DEFAULT_FLAGS)
    try:
        return _prespawn_resumed(session_id) or Prespawned(flags, session_id, cwd=os.getcwd())
    except (ClaudeNotFound, OSError):
        return None


def replays_only(environ: Mapping[str, str]) -> bool:
    """Return whether the environment forbids to ask anything: then no process is started."""
    in_ci = environ.get("CI", "").lower() not in ("", "0", "false")
    return environ.get("HOTCLAUDE_RECORD") == "none" or (
        in_ci and not environ.get("HOTCLAUDE_RECORD")
    )


def _prespawn_resumed(session_id: str) -> Prespawned | None:
    notebook = os.environ.get(NOTEBOOK_ENV)
    store = resume.store_path()
    head = resume.head_of(notebook, store) if notebook else None
    if head is None:
        return None
    node, settings, holder, entries = head
    if holder and processes.runs(holder):
        return None  # another kernel's: the first cell forks it
    import json

    cwd, *flags = json.loads(settings)
    file = resume.write_transcript(resume.sessions_folder(store), entries, session_id)
    return Prespawned(tuple(flags), session_id, cwd=cwd or os.getcwd(), node=node, file=file)


def configured(argv: list[str]) -> bool:
    """Return whether any setting is configured.

    Looks where Jupyter looks, without importing traitlets or jupyter_core.
    """
    if any(argument.startswith("--HotClaudeKernel.") for argument in argv):
        return True
    home = os.path.expanduser("~")
    folders = [os.environ.get("JUPYTER_CONFIG_DIR") or os.path.join(home, ".jupyter")]
    folders += os.environ.get("JUPYTER_CONFIG_PATH", "").split(os.pathsep)
    folders += [f"{sys.prefix}/etc/jupyter", "/usr/local/etc/jupyter", "/etc/jupyter"]
    names = [os.path.join(folder, CONFIG_NAME) for folder in folders if folder]
    return any(os.path.exists(name + end) for name in names for end in (".py", ".json"))


def listen(argv: list[str]) -> dict[int, int]:
    """Listen on the ports of the connection file; return the descriptor of each port.

    Returns nothing where that can't be done, or need not be: then ipykernel binds as always.
    """
    import json
    import socket

    listening: dict[int, int] = {}
    try:
        with open(argv[argv.index("-f") + 1], encoding="utf-8") as file:
            info = json.load(file)
        ports = [info[f"{name}_port"] for name in CHANNELS] if info["transport"] == "tcp" else []
        for port in filter(None, ports):
            server = socket.create_server((info["ip"], port), backlog=BACKLOG)
            server.setblocking(False)
            listening[port] = server.detach()
    except (ValueError, KeyError, IndexError, OSError):
        pass
    return listening


def let_go(listening: dict[int, int]) -> None:
    """Stop listening; a client that was there tries again by itself."""
    while listening:
        os.close(listening.popitem()[1])
