"""The one seam to the `claude` process: frames in, frames out, a bounded end.

`launch` starts the process, possibly before an event loop exists; `ProcessTransport` takes it over.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import ClaudeUnusable, ProcessDied
from .frames import LineFramer, dumps, framed
from .launch import process_env, start_process

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence

    from .frames import Frame

STEP_S = 2.0  # how long each step of `close` (EOF, SIGTERM, SIGKILL) may take
NOW_S = 1.0  # ... with `now`, which has two steps: Jupyter kills the kernel after 2.5 s
READ_SIZE = 1 << 18
STDERR_KEPT = 1 << 16


class Transport(Protocol):
    """The connection to a process, as `Session` needs it."""

    @property
    def pid(self) -> int | None:
        """The process id, `None` if the far side is no process."""

    async def open(self) -> None:
        """Make ready to read and write."""

    async def read(self) -> list[Frame]:
        """Return the next frames, at least one; an empty list at the end."""

    def write(self, frame: Mapping[str, Any]) -> None:
        """Send one frame."""

    def kill(self) -> None:
        """End the far side before it does anything more; `close` is needed all the same."""

    def death(self) -> ProcessDied:
        """Return the error that says how the far side ended."""

    async def close(self, *, now: bool = False) -> None:
        """End the far side, in bounded time; a second call is harmless.

        `now` does not wait for a turn that is still running.
        """


def spawn(argv: Sequence[str], cwd: str, token: str = "") -> subprocess.Popen[bytes]:
    """Start a process (see `launch.start_process`), on the main thread only.

    Raises `ClaudeUnusable` if it can't be started, `RuntimeError` on another thread.
    """
    if threading.current_thread() is not threading.main_thread():
        # The process would get its parent-death signal when this thread ends.
        raise RuntimeError("claude is started on the main thread only")
    if not Path(cwd).is_dir():
        raise ClaudeUnusable(
            f"The working directory {cwd} is gone",
            hint="Create it again, or choose another with `%cwd`.",
        )
    try:
        return start_process(argv, cwd, process_env(os.environ, token))
    except OSError as error:
        raise ClaudeUnusable(
            f"{argv[0]} can't be started: {error.strerror}",
            hint="Check that it is an executable of this platform.",
        ) from error


class ProcessTransport:
    """A `claude` process, connected by its stdin, stdout and stderr.

    `flags` are the arguments it got; `death` keeps back the secrets in them.
    """

    def __init__(self, process: subprocess.Popen[bytes], flags: Sequence[str] = ()) -> None:
        self._process = process
        self._flags = flags
        self._framer = LineFramer()
        self._stderr = bytearray()
        self._tasks: list[asyncio.Task[None]] = []
        self._pipes: list[asyncio.BaseTransport] = []
        self._connected: list[Any] = []  # the files that the pipes own
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
        self._connected.append(self._process.stdin)

    async def _reader(self, pipe: Any) -> asyncio.StreamReader:
        reader = asyncio.StreamReader(limit=READ_SIZE)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        self._pipes.append(transport)
        self._connected.append(pipe)
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

    async def read(self) -> list[Frame]:
        """Return the frames that came since the last call; wait if none did."""
        while chunk := await self._stdout.read(READ_SIZE):
            if frames := self._frames(chunk):
                return frames
        with contextlib.suppress(TimeoutError):  # so that `death` can tell the return code
            await asyncio.wait_for(asyncio.shield(self._exited), STEP_S)
        return []

    def _frames(self, chunk: bytes) -> list[Frame]:
        """Return the frames that `chunk` completes, without lines that are no frames: noise."""
        lines = self._framer.feed(chunk)
        return [found for line in lines if (found := framed(line))]

    def write(self, frame: Mapping[str, Any]) -> None:
        """Send one frame. It is lost if the process has ended; the reader notices that end."""
        if self._stdin is not None and not self._stdin.is_closing():
            self._stdin.write(dumps(frame))

    def kill(self) -> None:
        """Send SIGKILL. Its commands and servers run on, each in a session of its own."""
        if not self._exited.done():
            self._process.kill()

    def death(self) -> ProcessDied:
        """Return the error that says how the process ended, with the last line of its stderr.

        Private things in stderr are masked: the error is shown in a cell, and saved.
        """
        from .arguments import secrets
        from .masks import masked

        said = self._stderr.decode("utf-8", "replace").strip()
        stderr = masked(said, secrets(self._flags)) if said else ""
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

        At EOF `claude` first finishes a running turn, tools included. `now` is for a turn that
        nobody will read: SIGTERM ends the turn and its commands.
        """
        if now and self._closing is not None and not self._exited.done():
            self._process.send_signal(signal.SIGTERM)  # what is under way may still wait for EOF
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
        # `open` may have been cancelled before it connected them all.
        for file in (self._process.stdin, self._process.stdout, self._process.stderr):
            if file is not None and file not in self._connected:
                file.close()


def _exit_text(returncode: int) -> str:
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    return f"was killed by {signal.Signals(-returncode).name}"


def kill_unadopted(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that no transport took over."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            pipe.close()
