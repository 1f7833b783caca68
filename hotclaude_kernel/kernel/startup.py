"""The start of a kernel before any heavy import: spawn the claude process, listen on the ports.

This module imports little: `asyncio` would delay the process by 40 ms, `ipykernel` by 160. The
ports listen early because ZMQ retries a refused connection only after 100 ms or more. A client
that connected too early would miss the kernel's first messages.
"""

from __future__ import annotations

import os
import sys

from ..claude import processes, trust
from ..claude.launch import DEFAULT_FLAGS, Prespawned, new_id
from ..errors import ClaudeNotFound, UsageError
from ..record import resume

TYPE_CHECKING = False  # `typing` is an import too
if TYPE_CHECKING:
    from collections.abc import Mapping


CONFIG_NAME = "hotclaude_config"
NOTEBOOK_ENV = "JPY_SESSION_NAME"  # Jupyter Server sets it to the notebook's path
SCOPE_ENV = "HOTCLAUDE_SCOPE"  # the path of the notebook whose answers replay in a headless run
MODEL_ENV = "ANTHROPIC_MODEL"  # the model of new conversations
CHANNELS = ("shell", "iopub", "control", "stdin")  # without the heartbeat, which binds by itself
BACKLOG = 100


def prespawn(argv: list[str]) -> Prespawned | None:
    """Start the claude process that the first cell will probably need.

    The process resumes the notebook's conversation, or begins one under default settings. Return
    `None` if any setting is configured: then the process is started after traitlets has read it.
    Return `None` also if nothing may be asked, or if the binary fails; the first cell shows that
    error. Nobody was asked yet about the folder, so the process is without it unless it is trusted.
    """
    if configured(argv) or replays_only(os.environ):
        return None
    session_id = new_id()
    model = os.environ.get(MODEL_ENV)
    flags = (*(("--model", model) if model else ()), *DEFAULT_FLAGS)
    try:
        said = trust.policy(os.environ.get(trust.TRUST_ENV))
        early = _prespawn_resumed(session_id, said)
        if early is None:
            cwd = os.getcwd()
            early = Prespawned(flags, session_id, cwd=cwd, held=_held(cwd, said))
    except (ClaudeNotFound, UsageError, OSError, ValueError):
        return None
    return early


def _held(folder: str, said: trust.Policy) -> tuple[str, ...]:
    """Return the arguments that withhold a folder from the process, none if it is trusted."""
    found = trust.quick(folder, said)
    return () if found.trusted else trust.held_back(None, found.servers)


def replays_only(environ: Mapping[str, str]) -> bool:
    """Return whether the environment allows only replay; then no process is started."""
    in_ci = environ.get("CI", "").lower() not in ("", "0", "false")
    return environ.get("HOTCLAUDE_RECORD") == "none" or (
        in_ci and not environ.get("HOTCLAUDE_RECORD")
    )


def _prespawn_resumed(session_id: str, said: trust.Policy) -> Prespawned | None:
    notebook = os.environ.get(NOTEBOOK_ENV)
    store = resume.store_path()
    head = resume.head_of(notebook, store) if notebook else None
    if head is None:
        return None
    node, settings, holder, entries = head
    if holder and processes.runs(holder):
        return None  # another kernel runs the conversation: the first cell forks it
    import json

    recorded = json.loads(settings)
    flags = resume.resumed_flags(recorded, model=os.environ.get(MODEL_ENV))
    cwd = recorded.get("cwd") or os.getcwd()
    held = _held(cwd, said)
    file = resume.write_transcript(resume.sessions_folder(store), entries, session_id)
    try:
        parents = resume.private_parents(store)
        return Prespawned(
            flags, session_id, cwd=cwd, node=node, file=file, held=held, parents=parents
        )
    except BaseException:
        os.unlink(file)
        raise


def configured(argv: list[str]) -> bool:
    """Return whether an argument or a configuration file sets anything.

    The files are looked for in Jupyter's folders, without importing traitlets or jupyter_core.
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
    """Listen on the TCP ports of the connection file; return the descriptor of each port.

    ipykernel binds all other ports itself: those that can't be listened on, and those that the
    connection file leaves to chance (0).
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
    """Stop listening; a client that has connected tries again by itself."""
    while listening:
        os.close(listening.popitem()[1])
