"""The one seam to the `claude` process: frames in, frames out, a bounded end.

`spawn` is plain synchronous code on the standard library, so that the process can be started before
an event loop, or ipykernel, exists; both then start up together. `ProcessTransport` takes it over.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from . import protocol
from .errors import ClaudeNotFound, ClaudeUnusable, ProcessDied

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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

# What a process needs to serve a notebook, unless the user's environment says otherwise.
PROCESS_ENV = {
    "CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS": "1",  # `idle` ends a turn
    "CLAUDE_CODE_STARTUP_FAILURE_RESULTS": "1",  # a refused start says why
    "CLAUDE_CODE_ENABLE_SDK_FILE_CHECKPOINTING": "true",
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",  # a turn's work ends within the turn
    "CLAUDE_CODE_MAX_RETRIES": "4",  # about 9 s to failure; the binary's own 10 take three minutes
    "DISABLE_AUTOUPDATER": "1",
}
# Set by a surrounding Claude Code session; with them the process would think it is inside it.
FOREIGN_ENV = ("CLAUDECODE", "CLAUDE_CODE_ENTRYPOINT", "CLAUDE_CODE_SSE_PORT")

STEP_S = 2.0  # how long each step of the close ladder may take
NOW_S = 1.0  # ... where it must be over before Jupyter kills the kernel, which it does after 2.5 s
READ_SIZE = 1 << 18
STDERR_KEPT = 1 << 16


class Transport(Protocol):
    """What a session needs of the far side."""

    @property
    def pid(self) -> int | None:
        """The process id, `None` where there is no process."""

    async def open(self) -> None:
        """Be ready to read and write."""

    async def read(self) -> list[protocol.Frame]:
        """Return the next frames, at least one; an empty list at the end."""

    def write(self, frame: Mapping[str, Any]) -> None:
        """Send one frame."""

    def death(self) -> ProcessDied:
        """Say how the far side ended."""

    async def close(self, *, now: bool = False) -> None:
        """End it; `now` skips the wait for a turn that is still running. Bounded, idempotent."""


def find_claude(configured: str = "") -> str:
    """Return the binary: the configured one, `HOTCLAUDE_CLI`, `claude` on PATH, or the bundled one.

    The bundled one lies in the wheel of claude-agent-sdk, which is located but not imported
    (importing it costs 1.8 s and 65 MB).
    """
    named = configured or os.environ.get("HOTCLAUDE_CLI", "")
    if named:
        found = shutil.which(Path(named).expanduser())
        if not found:
            raise ClaudeNotFound(
                f"There is no claude binary at {named}",
                hint="Correct HOTCLAUDE_CLI (or the `cli` setting), then restart the kernel.",
            )
        return found
    found = shutil.which("claude") or _bundled_claude()
    if not found:
        raise ClaudeNotFound(
            "No claude binary was found",
            hint="Run `pip install 'hotclaude-kernel[bundled]'`, or install Claude Code, "
            "or set HOTCLAUDE_CLI; then restart the kernel.",
        )
    return found


def _bundled_claude() -> str | None:
    # A plain look along sys.path: importlib.util would do the same and import more.
    for folder in sys.path:
        path = Path(folder, "claude_agent_sdk", "_bundled", "claude")
        if path.is_file():
            return str(path)
    return None


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything that starts one process; two equal launches start equal processes."""

    argv: tuple[str, ...]
    cwd: str
    env: tuple[tuple[str, str], ...] = ()


def process_env(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the process: the user's, with ours below and without foreign."""
    env = {**PROCESS_ENV, **environ}
    for name in FOREIGN_ENV:
        env.pop(name, None)
    return env


def spawn(launch: Launch) -> subprocess.Popen[bytes]:
    """Start the process in a session of its own, to end with us.

    Jupyter interrupts the kernel's whole process group, and SIGINT ends `claude`: hence the
    session. Call it from the main thread: Linux sends the parent-death signal when the *thread*
    that started the process ends.
    """
    if not Path(launch.cwd).is_dir():
        raise ClaudeUnusable(
            f"The working directory {launch.cwd} is gone",
            hint="Create it again, or choose another with `%cwd`.",
        )
    try:
        return subprocess.Popen(
            launch.argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=launch.cwd,
            env={**process_env(os.environ), **dict(launch.env)},
            start_new_session=True,
            preexec_fn=_parent_death_signal(),
            bufsize=0,
        )
    except OSError as error:
        raise ClaudeUnusable(
            f"{launch.argv[0]} can't be started: {error.strerror}",
            hint="Check that it is an executable of this platform.",
        ) from error


def _parent_death_signal() -> Any:
    """Return what the child calls before it becomes `claude`; `None` where there is no such signal.

    SIGTERM rather than SIGKILL: on it `claude` also ends the commands it has running.
    """
    if sys.platform != "linux":
        return None
    import ctypes

    prctl, set_death_signal = ctypes.CDLL(None).prctl, 1
    return lambda: prctl(set_death_signal, signal.SIGTERM)


class ProcessTransport:
    """A `claude` process on three pipes."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._framer = protocol.LineFramer()
        self._stderr = bytearray()
        self._tasks: list[asyncio.Task[None]] = []
        self._pipes: list[asyncio.BaseTransport] = []
        self._stdin: asyncio.WriteTransport | None = None
        self._closing: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id."""
        return self._process.pid

    async def open(self) -> None:
        """Connect the pipes to the running loop."""
        loop = asyncio.get_running_loop()
        self._exited: asyncio.Future[int] = loop.create_future()
        threading.Thread(target=self._wait, args=(loop,), daemon=True, name="claude-wait").start()
        self._stdout = await self._reader(self._process.stdout)
        stderr = await self._reader(self._process.stderr)
        self._tasks.append(loop.create_task(self._drain(stderr)))
        stdin, _ = await loop.connect_write_pipe(asyncio.Protocol, self._process.stdin)
        self._stdin = stdin
        self._pipes.append(stdin)

    async def _reader(self, pipe: Any) -> asyncio.StreamReader:
        reader = asyncio.StreamReader(limit=READ_SIZE)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        self._pipes.append(transport)
        return reader

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        returncode = self._process.wait()
        with contextlib.suppress(RuntimeError):  # the loop may be gone before the process is
            loop.call_soon_threadsafe(self._note_exit, returncode)

    def _note_exit(self, returncode: int) -> None:
        if not self._exited.done():
            self._exited.set_result(returncode)

    async def _drain(self, stderr: asyncio.StreamReader) -> None:
        """Keep the tail of stderr; an undrained pipe would block the process."""
        while chunk := await stderr.read(READ_SIZE):
            self._stderr += chunk
            del self._stderr[:-STDERR_KEPT]

    async def read(self) -> list[protocol.Frame]:
        """Return the frames that came since the last call; wait for one if there is none."""
        while chunk := await self._stdout.read(READ_SIZE):
            lines = self._framer.feed(chunk)
            frames = [frame for line in lines if (frame := protocol.loads(line)) is not None]
            if frames:
                return frames
        with contextlib.suppress(TimeoutError):  # so that `death` can tell the return code
            await asyncio.wait_for(asyncio.shield(self._exited), STEP_S)
        return []

    def write(self, frame: Mapping[str, Any]) -> None:
        """Send one frame; a process that is gone is noticed by the reader, not here."""
        if self._stdin is not None and not self._stdin.is_closing():
            self._stdin.write(protocol.dumps(frame))

    def death(self) -> ProcessDied:
        """Say how the process ended, with the last line it wrote to stderr."""
        stderr = self._stderr.decode("utf-8", "replace").strip()
        returncode = self._process.poll()
        how = "ended" if returncode is None else _exit_text(returncode)
        last = stderr.splitlines()[-1] if stderr else ""
        return ProcessDied(
            f"The claude process {how}" + (f": {last}" if last else ""),
            returncode=returncode,
            stderr=stderr,
        )

    async def close(self, *, now: bool = False) -> None:
        """End the process: EOF, then SIGTERM, then SIGKILL. `now` begins with SIGTERM.

        At EOF it finishes a running turn first, tools included; so a turn that nobody will read
        is ended with SIGTERM, which also ends its commands.
        """
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close(now=now))
        await asyncio.shield(self._closing)

    async def _close(self, *, now: bool) -> None:
        if self._stdin is not None:
            self._stdin.close()
        ladder = (signal.SIGTERM, signal.SIGKILL)
        for signum in ladder if now else (None, *ladder):
            if signum and not self._exited.done():
                self._process.send_signal(signum)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._exited), NOW_S if now else STEP_S)
                break
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for pipe in self._pipes:
            pipe.close()


def _exit_text(returncode: int) -> str:
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    return f"was killed by {signal.Signals(-returncode).name}"


def kill_unadopted(process: subprocess.Popen[bytes]) -> None:
    """End a process that no transport took over."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            pipe.close()


def base_launch(binary: str, flags: Sequence[str], cwd: str) -> Launch:
    """Return the launch of `binary` with the flags that every process has, and `flags`."""
    return Launch(argv=(binary, *BASE_ARGV, *flags), cwd=cwd)
