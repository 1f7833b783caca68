"""The contender with a kernel: what a front end does, over ZMQ, with nothing between.

Messages are read from the channels' own sockets, so that the moment they come and what they weigh
on the wire are known.
"""

from __future__ import annotations

import json
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import zmq
from jupyter_client.manager import KernelManager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .arena import Arena

DEADLINE_S = 60.0
IOPUB_S = 0.2  # as in jupyter_client; iopub may connect after shell


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the kernel's: when it came and what it weighed."""

    kind: str
    parent: str
    content: dict[str, Any]
    at: float
    size_bytes: int


@dataclass(slots=True)
class Cell:
    """What came of one cell on iopub, and its reply."""

    messages: list[Message] = field(default_factory=list)
    reply: Message | None = None

    @property
    def outputs(self) -> int:
        """How many outputs a notebook holds in the end."""
        shown = 0
        for message in self.messages:
            if message.kind == "clear_output":
                shown = 0
            shown += message.kind in ("display_data", "stream", "error", "execute_result")
        return shown

    @property
    def plain(self) -> str:
        """All plain text that was displayed, without later changes of it."""
        shown = (m.content["data"] for m in self.messages if m.kind == "display_data")
        return "\n".join(data.get("text/plain", "") for data in shown)

    @property
    def size_bytes(self) -> int:
        """What all messages weigh."""
        return sum(message.size_bytes for message in self.messages)


class TimedManager(KernelManager):
    """A kernel manager that notes when it starts the process."""

    launched = 0.0

    async def _async_launch_kernel(self, kernel_cmd: list[str], **options: Any) -> None:
        self.launched = time.monotonic()
        await super()._async_launch_kernel(kernel_cmd, **options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notebook:
    """A notebook on disk, and the ids of its cells, which no other notebook has."""

    path: Path
    cells: tuple[str, ...]

    @property
    def env(self) -> dict[str, str]:
        """What tells a kernel, in its environment, which notebook it serves."""
        return {"JPY_SESSION_NAME": str(self.path)}


def new_notebook(arena: Arena, cells: int) -> Notebook:
    """Write a notebook of so many cells."""
    name = uuid.uuid4().hex
    ids = tuple(f"{name}-{number}" for number in range(1, cells + 1))
    path = arena.folder / f"{name}.ipynb"
    path.write_text(json.dumps({"cells": [{"id": cell_id} for cell_id in ids]}))
    return Notebook(path=path, cells=ids)


class Frontend:
    """A kernel and a client of it. `began` is when its start was asked for."""

    def __init__(
        self,
        arena: Arena,
        name: str,
        kernel_name: str,
        *arguments: str,
        notebook: Notebook | None = None,
    ) -> None:
        connection = arena.folder / f"{uuid.uuid4().hex}.json"
        self.manager = TimedManager(kernel_name=kernel_name, connection_file=str(connection))
        env = arena.env(name) | (notebook.env if notebook else {})
        self.began = time.monotonic()
        self.manager.start_kernel(env=env, cwd=arena.work(name), extra_arguments=list(arguments))
        self.client = self.manager.client()
        self.client.start_channels(hb=False)
        self._channels = {
            "shell": self.client.shell_channel.socket,
            "iopub": self.client.iopub_channel.socket,
            "control": self.client.control_channel.socket,
        }

    @property
    def pid(self) -> int:
        """The kernel process."""
        provisioner: Any = self.manager.provisioner
        return int(provisioner.pid)

    @staticmethod
    def now() -> float:
        """Return the clock that messages are stamped with."""
        return time.monotonic()

    def ready(self) -> float:
        """Wait for the kernel's info and for iopub, as a front end does; return when."""
        until = time.monotonic() + DEADLINE_S
        while time.monotonic() < until:
            asked = self.client.kernel_info()
            if self._receive("shell", asked, DEADLINE_S) is None:
                continue
            if self._receive("iopub", asked, IOPUB_S) is not None:
                return time.monotonic()
        raise TimeoutError("the kernel does not get ready")

    def ask(self, code: str, cell_id: str | None = None) -> str:
        """Send a cell, as JupyterLab does where it has an id; return the id of the request."""
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": True,
        }
        metadata = {} if cell_id is None else {"cellId": cell_id}
        message = self.client.session.msg("execute_request", content, metadata=metadata)
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def run(self, code: str, cell_id: str | None = None) -> Cell:
        """Run a cell to its end; it must not fail."""
        cell = Cell()
        self.finish(self.ask(code, cell_id), cell)
        assert cell.reply is not None
        assert cell.reply.content["status"] == "ok", cell.reply.content
        return cell

    def wait(self, request: str, wanted: Callable[[Message], bool], cell: Cell) -> Message:
        """Read iopub into `cell` until a wanted message of this request comes, and return it."""
        until = time.monotonic() + DEADLINE_S
        while time.monotonic() < until:
            message = self._receive("iopub", request, until - time.monotonic())
            if message is not None:
                cell.messages.append(message)
                if wanted(message):
                    return message
        raise TimeoutError("the cell does not get on")

    def finish(self, request: str, cell: Cell) -> Message:
        """Read the rest of a cell, its reply included; return its idle status."""
        idle = self.wait(request, is_idle, cell)
        cell.reply = self._receive("shell", request, DEADLINE_S)
        return idle

    def interrupt(self) -> float:
        """Send an interrupt on the control channel and return when."""
        message = self.client.session.msg("interrupt_request", {})
        sent = time.monotonic()
        self.client.control_channel.send(message)
        return sent

    def close(self) -> None:
        """Shut the kernel down as a front end does."""
        self.client.stop_channels()
        self.manager.shutdown_kernel()
        self.manager.context.destroy()

    def _receive(self, channel: str, request: str, timeout_s: float) -> Message | None:
        """Return the next message of this request on a channel; skip those of others."""
        socket = self._channels[channel]
        until = time.monotonic() + timeout_s
        while (left_s := until - time.monotonic()) > 0:
            if not socket.poll(left_s * 1000, zmq.POLLIN):
                break
            frames = socket.recv_multipart()
            message = self._read(frames, time.monotonic())
            if message.parent == request:
                return message
        return None

    def _read(self, frames: list[bytes], at: float) -> Message:
        session = self.client.session
        _, parts = session.feed_identities(frames)
        message = session.deserialize(parts)
        return Message(
            kind=message["header"]["msg_type"],
            parent=message["parent_header"].get("msg_id", ""),
            content=message["content"],
            at=at,
            size_bytes=sum(map(len, frames)),
        )


def is_idle(message: Message) -> bool:
    """Whether the kernel is done with the request."""
    return bool(message.content.get("execution_state") == "idle")


def shows(text: str) -> Callable[[Message], bool]:
    """Return whether a message brings an output with this text."""

    def wanted(message: Message) -> bool:
        if message.kind not in ("display_data", "update_display_data"):
            return False
        return any(text in value for value in message.content["data"].values())

    return wanted


@contextmanager
def open_frontend(
    arena: Arena,
    name: str,
    kernel_name: str = "hotclaude",
    *arguments: str,
    notebook: Notebook | None = None,
) -> Iterator[Frontend]:
    """Run a kernel with a client; it is shut down at the end, whatever happens."""
    frontend = Frontend(arena, name, kernel_name, *arguments, notebook=notebook)
    try:
        yield frontend
    finally:
        frontend.close()
