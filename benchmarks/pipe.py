"""The contenders without a kernel: the hot process on bare pipes, and one process per turn.

This is the least that any client can do: a blocking read, a line, a parse.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from typing import TYPE_CHECKING, Any

import orjson

from hotclaude_kernel.claude.frames import request_frame, user_frame
from hotclaude_kernel.claude.launch import BASE_ARGV, PROCESS_ENV, REQUIRED_ENV
from hotclaude_kernel.turns.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from .arena import Arena

Frame = dict[str, Any]


def is_text(frame: Frame) -> bool:
    """Whether a frame brings text of the answer."""
    event = frame.get("event") or {}
    return bool((event.get("delta") or {}).get("type") == "text_delta")


def is_result(frame: Frame) -> bool:
    """Whether a frame is the end of a turn."""
    return frame.get("type") == "result"


def is_idle(frame: Frame) -> bool:
    """Whether the process says that it is idle."""
    return frame.get("subtype") == "session_state_changed" and frame.get("state") == "idle"


def is_answer(frame: Frame) -> bool:
    """Whether a frame answers a control request."""
    return frame.get("type") == "control_response"


def is_rewound(frame: Frame) -> bool:
    """Whether a frame answers a rewind, which must not be refused."""
    if not is_answer(frame):
        return False
    assert (frame["response"].get("response") or {}).get("rewound"), f"no rewind: {frame}"
    return True


class Pipe:
    """A hot process; every wait returns the moment (monotonic) of what was waited for."""

    def __init__(self, arena: Arena, name: str, *where: str) -> None:
        argv = (arena.binary, *BASE_ARGV, *Settings().argv(), *where)
        self.asked: list[str] = []  # the uuid of each prompt in the history, since its start
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=arena.work(name),
            env=PROCESS_ENV | arena.env(name) | REQUIRED_ENV,
            start_new_session=True,
            bufsize=1 << 18,
        )

    def send(self, frame: Any) -> float:
        """Write a frame and return when."""
        assert self.process.stdin is not None
        sent = time.monotonic()
        self.process.stdin.write(orjson.dumps(frame) + b"\n")
        self.process.stdin.flush()
        return sent

    def ask(self, prompt: str) -> float:
        """Send a prompt and return when."""
        self.asked.append(str(uuid.uuid4()))
        return self.send(user_frame(prompt, self.asked[-1]))

    def greet(self) -> float:
        """Wait until the process is ready, as the kernel does; return when it was asked."""
        sent = self.send(request_frame("greet", "initialize", {"hooks": None}))
        self.wait(is_answer)
        return sent

    def rewind(self, turn: int) -> float:
        """Cut the history before a turn, counted from 1, and wait; return when it was sent."""
        fields = {
            "target_message_uuid": self.asked[turn - 1],
            "last_seen_user_message_uuid": self.asked[-1],
            "interrupt_if_running": False,
        }
        sent = self.send(request_frame("rewind", "rewind_conversation", fields))
        self.wait(is_rewound)
        del self.asked[turn - 1 :]
        return sent

    def interrupt(self) -> float:
        """Send an interrupt and return when."""
        return self.send(request_frame("stop", "interrupt", {"cancel_queued": True}))

    def wait(self, wanted: Callable[[Frame], bool]) -> float:
        """Read until a wanted frame comes and return when it did."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if wanted(orjson.loads(line)):
                return time.monotonic()
        raise EOFError("the process ended before what was waited for")

    def drain(self) -> None:
        """Read to the end."""
        assert self.process.stdout is not None
        self.process.stdout.read()

    def kill(self) -> float:
        """Kill the process, which is our own child, and return when."""
        killed = time.monotonic()
        os.kill(self.process.pid, signal.SIGKILL)
        return killed

    def close(self) -> None:
        """End the process; the pipes end with it."""
        self.process.kill()
        with self.process:
            pass


def cold_turn(arena: Arena, name: str, session_id: str, prompt: str, *, resume: bool) -> Frame:
    """Ask one prompt of a process of its own; return the seconds to the first text and the end."""
    where = ("--resume" if resume else "--session-id", session_id)
    flags = ("--output-format", "stream-json", "--verbose", "--include-partial-messages")
    began = time.monotonic()
    process = subprocess.Popen(
        [arena.binary, "-p", *flags, *where, prompt],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=arena.work(name),
        env=PROCESS_ENV | arena.env(name) | REQUIRED_ENV,
        start_new_session=True,
    )
    first = 0.0
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            if not first and is_text(orjson.loads(line)):
                first = time.monotonic() - began
    return {"first text": first, "end": time.monotonic() - began}
