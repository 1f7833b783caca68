"""The start of a kernel before anything is imported: the claude process, and the ports.

Nothing but `subprocess`, `json` and `socket` is imported here: importing `asyncio` would delay the
process by 40 ms, `ipykernel` by 160. The ports listen early because ZMQ tries a refused connection
again only after 100 ms or more: a client that was there first would miss the first messages.
"""

from __future__ import annotations

import os
import subprocess
import sys

from ..errors import ClaudeNotFound
from ..record import resume

TYPE_CHECKING = False  # `typing` is an import too
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

CONFIG_NAME = "hotclaude_config"
NOTEBOOK_ENV = "JPY_SESSION_NAME"  # the notebook's path, from Jupyter Server
TOKEN_ENV = "HOTCLAUDE_PROCESS"
MODEL_ENV = "ANTHROPIC_MODEL"  # the model that conversations begin with

BASE_ARGV = (
    "-p",
    "--input-format",
    "stream-json",
    "--output-format",
    "stream-json",
    "--verbose",
    "--include-partial-messages",
    "--permission-prompt-tool",
    "stdio",
)
# What `Settings().argv()` returns; a test holds the two together.
DEFAULT_FLAGS = ("--permission-mode", "default", "--thinking-display", "summarized")

# What a process needs to serve a notebook, unless the user's environment says otherwise.
PROCESS_ENV = {
    "CLAUDE_CODE_STARTUP_FAILURE_RESULTS": "1",  # a refused start says why
    "CLAUDE_CODE_ENABLE_SDK_FILE_CHECKPOINTING": "true",
    "CLAUDE_CODE_MAX_RETRIES": "4",  # about 9 s to failure; the binary's own 10 take three minutes
    "DISABLE_AUTOUPDATER": "1",
}
# What the kernel can't do without, whatever the environment says.
REQUIRED_ENV = {
    "CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS": "1",  # `idle` ends a turn
    # A turn's work ends within the turn: what came later would stand in another cell's answer.
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
}
# Set by a surrounding Claude Code session; with them the process would think it is inside it.
FOREIGN_ENV = ("CLAUDECODE", "CLAUDE_CODE_ENTRYPOINT", "CLAUDE_CODE_SSE_PORT")

CHANNELS = ("shell", "iopub", "control", "stdin")  # the heartbeat binds its own way
BACKLOG = 100


class Prespawned:
    """A process that was started before anyone asked, and how it was started.

    `turn` is the recorded turn that it goes on from, `file` the transcript made for it; a new
    conversation has neither.
    """

    def __init__(
        self,
        flags: tuple[str, ...],
        session_id: str,
        *,
        cwd: str,
        turn: int | None = None,
        file: str = "",
    ) -> None:
        self.flags = flags
        self.cwd = cwd
        self.session_id = session_id
        self.turn = turn
        self.file = file
        self.token = new_token()
        where = ("--resume", file) if file else ("--session-id", session_id)
        argv = (find_claude(), *BASE_ARGV, *flags, *where)
        self.process = start_process(argv, cwd, process_env(os.environ, self.token))


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
    turn, settings, holder, entries = head
    if holder and resume.runs(holder):
        return None  # another kernel's: the first cell forks it
    import json

    cwd, *flags = json.loads(settings)
    file = resume.write_transcript(resume.sessions_folder(store), entries, session_id)
    return Prespawned(tuple(flags), session_id, cwd=cwd or os.getcwd(), turn=turn, file=file)


def new_id() -> str:
    """Return a random UUID; `uuid` takes 8 ms to import."""
    hexes = os.urandom(16).hex()
    return f"{hexes[:8]}-{hexes[8:12]}-4{hexes[13:16]}-a{hexes[17:20]}-{hexes[20:]}"


def new_token() -> str:
    """Return what tells a process and its children from every other, in their environment."""
    return os.urandom(16).hex()


def start_process(argv: Sequence[str], cwd: str, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start the process in a session of its own, to end with us.

    Jupyter interrupts the kernel's whole process group, and SIGINT ends `claude`: hence the
    session. Call it from the main thread: Linux sends the parent-death signal when the *thread*
    that started the process ends.
    """
    return subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=env,
        start_new_session=True,
        preexec_fn=_parent_death_signal(),
        bufsize=0,
    )


def _parent_death_signal() -> Any:
    """Return what the child calls before it becomes `claude`; `None` where there is no such signal.

    SIGTERM rather than SIGKILL: on it `claude` also ends the commands it has running.
    """
    if sys.platform != "linux":
        return None
    import ctypes
    import signal

    prctl, set_death_signal = ctypes.CDLL(None).prctl, 1
    return lambda: prctl(set_death_signal, signal.SIGTERM)


def process_env(environ: Mapping[str, str], token: str = "") -> dict[str, str]:
    """Return the environment of the process: the user's, ours below and above, without foreign."""
    env = {**PROCESS_ENV, **environ, **REQUIRED_ENV, TOKEN_ENV: token}
    for name in FOREIGN_ENV:
        env.pop(name, None)
    return env


def find_claude(named: str = "") -> str:
    """Return the binary: the named one, `HOTCLAUDE_CLI`, `claude` on PATH, or the bundled one.

    The bundled one lies in the wheel of claude-agent-sdk, which is located but not imported
    (importing it costs 1.8 s and 65 MB).
    """
    named = named or os.environ.get("HOTCLAUDE_CLI", "")
    if named:
        found = _which(os.path.expanduser(named))
        if not found:
            raise ClaudeNotFound(
                f"There is no claude binary at {named}",
                hint="Correct HOTCLAUDE_CLI (or the `cli` setting), then restart the kernel.",
            )
        return found
    found = _which("claude") or _bundled_claude()
    if not found:
        raise ClaudeNotFound(
            "No claude binary was found",
            hint="Run `pip install 'hotclaude-kernel[bundled]'`, or install Claude Code, "
            "or set HOTCLAUDE_CLI; then restart the kernel.",
        )
    return found


def _which(name: str) -> str | None:
    """`shutil.which` without `shutil`, which takes 8 ms to import."""
    folders = [""] if os.sep in name else os.get_exec_path()
    paths = (os.path.join(folder, name) for folder in folders)
    return next((path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)), None)


def _bundled_claude() -> str | None:
    # A plain look along sys.path: importlib.util would do the same and import more.
    paths = (os.path.join(folder, "claude_agent_sdk", "_bundled", "claude") for folder in sys.path)
    return next(filter(os.path.isfile, paths), None)


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
