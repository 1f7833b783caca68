"""Find the `claude` binary and start it, with the standard library's lightest modules.

A kernel starts the process before it imports anything heavy, so each import here delays the start.
"""

from __future__ import annotations

import os
import subprocess
import sys

from ..errors import ClaudeNotFound
from . import arguments

TYPE_CHECKING = False  # `typing` is an import too
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

TOKEN_ENV = "HOTCLAUDE_PROCESS"

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
# Equal to `Settings().argv()`, as a test checks; importing `Settings` here would be slow.
DEFAULT_FLAGS = ("--permission-mode", "default", "--thinking-display", "summarized")

# Defaults for the process. The user's environment overrides them.
PROCESS_ENV = {
    "CLAUDE_CODE_STARTUP_FAILURE_RESULTS": "1",  # a refused start says why
    "CLAUDE_CODE_ENABLE_SDK_FILE_CHECKPOINTING": "true",
    "CLAUDE_CODE_MAX_RETRIES": "4",  # about 9 s to failure; the binary's own 10 take three minutes
    "DISABLE_AUTOUPDATER": "1",
}
# The kernel depends on these. They override the user's environment.
REQUIRED_ENV = {
    "CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS": "1",  # `idle` ends a turn
    # The output of a task that outlived its turn would be shown in another cell's answer.
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
}
# A surrounding Claude Code session sets these. They are removed, because the process would take
# itself for a part of that session.
FOREIGN_ENV = ("CLAUDECODE", "CLAUDE_CODE_ENTRYPOINT", "CLAUDE_CODE_SSE_PORT")


class Prespawned:
    """A claude process that is started before the first cell runs, and the arguments it got.

    `held` are those that withhold the folder, empty if it is trusted; see `trust`.

    `node` is the recorded turn after which it resumes, `file` the transcript written for it. For a
    new conversation `node` is `None` and `file` is empty. `folder` holds the arguments that it got
    by file, in one of `parents`; it is empty if there are none (see `arguments`).
    """

    def __init__(
        self,
        flags: tuple[str, ...],
        session_id: str,
        *,
        cwd: str,
        node: str | None = None,
        file: str = "",
        held: tuple[str, ...] = (),
        parents: Iterable[str] = (),
    ) -> None:
        self.flags = flags
        self.cwd = cwd
        self.session_id = session_id
        self.node = node
        self.file = file
        self.held = held
        self.token = new_token()
        where = ("--resume", file) if file else ("--session-id", session_id)
        binary = find_claude()
        handed, self.folder = arguments.hand_over(flags, parents)
        argv = (binary, *BASE_ARGV, *handed, *where, *held)
        try:
            self.process = start_process(argv, cwd, process_env(os.environ, self.token))
        except BaseException:
            arguments.remove(self.folder)
            raise


def new_id() -> str:
    """Return a random UUID; `uuid` takes 8 ms to import."""
    hexes = os.urandom(16).hex()
    return f"{hexes[:8]}-{hexes[8:12]}-4{hexes[13:16]}-a{hexes[17:20]}-{hexes[20:]}"


def new_token() -> str:
    """Return a random value for `TOKEN_ENV`, which marks a process and all its children."""
    return os.urandom(16).hex()


def start_process(argv: Sequence[str], cwd: str, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start the process in a session of its own. On Linux it gets SIGTERM when the kernel dies.

    The session keeps Jupyter's interrupt away: Jupyter sends SIGINT to the kernel's whole process
    group, and SIGINT ends `claude`. Call this on the main thread: Linux sends the parent-death
    signal when the *thread* that started the process ends.
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
    """Return the `preexec_fn` that requests a parent-death signal; `None` if not on Linux.

    The signal is SIGTERM, not SIGKILL: on SIGTERM `claude` also ends the commands it is running.
    """
    if sys.platform != "linux":
        return None
    import ctypes
    import signal

    prctl, set_death_signal = ctypes.CDLL(None).prctl, 1
    return lambda: prctl(set_death_signal, signal.SIGTERM)


def process_env(environ: Mapping[str, str], token: str = "") -> dict[str, str]:
    """Return the environment of the process.

    `environ` overrides `PROCESS_ENV`, `REQUIRED_ENV` overrides both, `FOREIGN_ENV` is removed.
    """
    env = {**PROCESS_ENV, **environ, **REQUIRED_ENV, TOKEN_ENV: token}
    for name in FOREIGN_ENV:
        env.pop(name, None)
    return env


def find_claude(named: str = "") -> str:
    """Return the binary: the named one, `HOTCLAUDE_CLI`, `claude` on PATH, or the bundled one.

    The bundled one is in the wheel of claude-agent-sdk, which is located but not imported
    (importing it costs 1.8 s and 65 MB). Raises `ClaudeNotFound`.
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
    """Do as `shutil.which` does, without `shutil`, which takes 8 ms to import."""
    folders = [""] if os.sep in name else os.get_exec_path()
    paths = (os.path.join(folder, name) for folder in folders)
    return next((path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)), None)


def _bundled_claude() -> str | None:
    # importlib.util would search sys.path in the same way, but import more.
    paths = (os.path.join(folder, "claude_agent_sdk", "_bundled", "claude") for folder in sys.path)
    return next(filter(os.path.isfile, paths), None)
