"""One front end for all that needs a kernel: tests, faults, benchmarks, makers of examples.

It does over ZMQ what a page of JupyterLab does. Messages are read from the channels' own sockets,
so that the moment they come and what they weigh on the wire are known.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zmq
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from . import processes
from .waiting import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IOPUB_S = 0.2  # as in jupyter_client; iopub may connect after shell
_numbers = count(os.getpid() * 101)  # of ports; other processes count from elsewhere
LOOK_S = 0.1  # how often a silent kernel is looked at


class KernelDied(Exception):
    """The kernel has ended before its answer."""


class NoAnswer(AssertionError):
    """What should have come from the kernel did not come in time."""


class Message(dict[str, Any]):
    """A message of the kernel's, with the moment it came and what it weighed."""

    def __init__(self, content: dict[str, Any], *, at: float, size_bytes: int) -> None:
        super().__init__(content)
        self.at = at
        self.size_bytes = size_bytes

    @property
    def kind(self) -> str:
        """Its type."""
        return str(self["header"]["msg_type"])

    @property
    def parent(self) -> str:
        """The id of the request that it belongs to."""
        return str(self["parent_header"].get("msg_id", ""))

    @property
    def content(self) -> dict[str, Any]:
        """What it says."""
        content: dict[str, Any] = self["content"]
        return content


class Outputs(list[dict[str, Any]]):
    """The outputs of a cell as a page would save them: updates applied, clears obeyed."""

    def __init__(self, messages: list[Message]) -> None:
        super().__init__()
        self._shown: dict[str, dict[str, Any]] = {}
        self._clears = False
        for message in messages:
            self._take(message.kind, message.content)

    def _take(self, kind: str, content: dict[str, Any]) -> None:
        at = str((content.get("transient") or {}).get("display_id", ""))
        if kind == "clear_output":
            self._clears = True
            if not content["wait"]:
                self._clear()
        elif kind == "update_display_data":
            if shown := self._shown.get(at):
                shown.update(data=content["data"], metadata=content["metadata"])
        elif kind in ("display_data", "execute_result", "stream", "error"):
            self._clear()
            self._add({"output_type": kind, **_saved(content)}, at)

    def _clear(self) -> None:
        if self._clears:
            self.clear()
            self._shown, self._clears = {}, False

    def _add(self, output: dict[str, Any], at: str) -> None:
        last = self[-1] if self else {}
        if "text" in output and last.get("name") == output["name"]:
            last["text"] += output["text"]
            return
        self.append(output)
        if at:
            self._shown[at] = output


def _saved(content: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name != "transient"}


class Cell:
    """What came of one executed cell: every iopub message of it, and the reply."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.reply: Any = None

    @property
    def status(self) -> str:
        """How it ended."""
        return str(self.reply["content"]["status"])

    @property
    def size_bytes(self) -> int:
        """What all messages weigh."""
        return sum(message.size_bytes for message in self.messages)

    def contents(self, kind: str) -> list[dict[str, Any]]:
        """Return what all messages of a type say."""
        return [message.content for message in self.messages if message.kind == kind]

    @property
    def saved(self) -> Outputs:
        """The outputs as a notebook would save them."""
        return Outputs(self.messages)

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """The bundles of what is displayed in the end."""
        return [shown["data"] for shown in self.saved if shown["output_type"] == "display_data"]

    @property
    def markdown(self) -> str:
        """The answer as the saved notebook holds it."""
        return "".join(data.get("text/markdown", "") for data in self.outputs)

    @property
    def plain(self) -> str:
        """All that the saved notebook holds as plain text."""
        return "\n".join(data.get("text/plain", "") for data in self.outputs)

    @property
    def stdout(self) -> str:
        """All that was printed."""
        return "".join(c["text"] for c in self.contents("stream") if c["name"] == "stdout")


class Manager(KernelManager):
    """A kernel manager that notes when it starts the process."""

    launched = 0.0

    async def _async_launch_kernel(self, kernel_cmd: list[str], **options: Any) -> None:
        self.launched = time.monotonic()
        await super()._async_launch_kernel(kernel_cmd, **options)

    @property
    def pid(self) -> int:
        """The kernel's own process."""
        pid = getattr(self.provisioner, "pid", None)
        assert isinstance(pid, int)
        return pid


def start_kernel(
    env: dict[str, str], *arguments: str, name: str = "hotclaude", cwd: Path | None = None
) -> Manager:
    """Start a kernel in an environment, by default in the folder `work` of its home."""
    home = Path(env["HOME"])
    connection = home / f"kernel-{uuid.uuid4()}.json"
    manager = Manager(kernel_name=name, connection_file=str(connection))
    folder = str(cwd or home / "work")
    for channel in ("shell", "iopub", "stdin", "hb", "control"):
        setattr(manager, f"{channel}_port", _free_port())
    manager.start_kernel(env=env, cwd=folder, extra_arguments=list(arguments))
    return manager


def _free_port() -> int:
    """Return a port that nothing listens on, and that the system gives to nobody by itself.

    jupyter_client takes ports that the system picks, and lets them go until the kernel listens.
    Meanwhile any connection of another test may be given one.
    """
    while True:
        port = 10_000 + next(_numbers) % 20_000  # below those that the system picks
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port


def end_kernel(manager: Manager, *, now: bool = False) -> None:
    """Shut a kernel down; kill what is left of all that it started, and fail if anything was."""
    kin = processes.family(manager.pid) if manager.has_kernel else {}
    try:
        manager.shutdown_kernel(now=now)
    finally:
        left = processes.end(kin)
    assert not left, f"the kernel has ended, and these had to be killed: {left}"


class Notebook:
    """A page: a client of a running kernel that runs cells as a front end does."""

    deadline_s = DEADLINE_S

    def __init__(self, manager: Manager, *, wait: bool = True) -> None:
        self.manager = manager
        # A client of its own making has its own session id, as each page of a front end has.
        self.client = BlockingKernelClient()
        self.client.load_connection_info(manager.get_connection_info())
        self.client.start_channels(hb=False)
        self._sockets = {
            "shell": self.client.shell_channel.socket,
            "iopub": self.client.iopub_channel.socket,
            "control": self.client.control_channel.socket,
            "stdin": self.client.stdin_channel.socket,
        }
        if wait:
            try:
                self.wait_until_ready()
            except BaseException:
                self.close()
                raise

    @property
    def pid(self) -> int:
        """The kernel's own process."""
        return self.manager.pid

    @property
    def alive(self) -> bool:
        """Whether the kernel's process runs."""
        return processes.exists(self.pid)

    def reloaded(self) -> Notebook:
        """Return another page on the same kernel."""
        return Notebook(self.manager)

    def wait_until_ready(self) -> float:
        """Wait for the kernel's info and for iopub, as a front end does; return when.

        The client's own `wait_for_ready` takes a heartbeat that is late for a death.
        """
        deadline = time.monotonic() + self.deadline_s
        while time.monotonic() < deadline:
            asked = self.client.kernel_info()
            if self.receive("shell", asked, deadline - time.monotonic()) is None:
                continue
            if self.receive("iopub", asked, IOPUB_S) is not None:
                return time.monotonic()
        raise NoAnswer("the kernel does not get ready")

    # --- cells -----------------------------------------------------------------------------------

    def send(
        self, code: str, *, cell_id: str | None = "cell", allow_stdin: bool = False, **content: Any
    ) -> str:
        """Request an execution as JupyterLab does where there is an id; return the message's id."""
        body = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": allow_stdin,
            "stop_on_error": True,
        } | content
        metadata = {} if cell_id is None else {"cellId": cell_id}
        return self._send("shell", "execute_request", body, metadata)

    def wait(
        self,
        message_id: str,
        wanted: Callable[[Message], bool],
        cell: Cell,
        hook: Callable[[Message], None] | None = None,
    ) -> Message:
        """Read iopub into `cell` until a wanted message of this request comes, and return it."""
        deadline = time.monotonic() + self.deadline_s
        while time.monotonic() < deadline:
            message = self._answer("iopub", message_id, deadline - time.monotonic())
            if message is not None:
                cell.messages.append(message)
                if hook:
                    hook(message)
                if wanted(message):
                    return message
        raise NoAnswer(f"not within {self.deadline_s:g} s: the cell gets on")

    def finish(
        self, message_id: str, cell: Cell, hook: Callable[[Message], None] | None = None
    ) -> Message:
        """Read the rest of a cell, its reply included; return its idle status."""
        idle = self.wait(message_id, is_idle, cell, hook)
        cell.reply = self.reply(message_id)
        return idle

    def collect(self, message_id: str, hook: Callable[[Message], None] | None = None) -> Cell:
        """Return what came of a request, up to its idle status."""
        cell = Cell()
        self.finish(message_id, cell, hook)
        return cell

    def run(
        self, code: str, *, hook: Callable[[Message], None] | None = None, **options: Any
    ) -> Cell:
        """Run a cell to its end."""
        return self.collect(self.send(code, **options), hook)

    # --- all else that a page does ---------------------------------------------------------------

    def reply(self, message_id: str, channel: str = "shell") -> Message:
        """Wait for the reply to a request; those to others are passed over."""
        message = self._answer(channel, message_id, self.deadline_s)
        if message is None:
            raise NoAnswer(f"not within {self.deadline_s:g} s: a reply")
        return message

    def question(self) -> str:
        """Wait until the kernel asks for input, and return what it asks."""
        message = self.receive("stdin", None, self.deadline_s)
        if message is None:
            raise NoAnswer(f"not within {self.deadline_s:g} s: a question")
        return str(message.content["prompt"])

    def answer(self, text: str) -> None:
        """Type an answer to a question."""
        self.client.input(text)

    def tell(self, widget: str, data: dict[str, Any]) -> None:
        """Send a widget what the page's half of it would send."""
        self._send("shell", "comm_msg", {"comm_id": widget, "data": data})

    def pressing(self, *presses: tuple[str, Any]) -> Person:
        """Return somebody who presses these buttons, a hook for `run` and `collect`."""
        return Person(self, presses)

    def interrupt(self) -> float:
        """Ask for an interrupt on this client's control channel; return when.

        A manager's `interrupt_kernel` would use another client's message ids again.
        """
        sent = time.monotonic()
        self._send("control", "interrupt_request", {})
        return sent

    def restart(self) -> None:
        """Restart the kernel and wait for it."""
        self.manager.restart_kernel()
        self.wait_until_ready()

    def close(self) -> None:
        """Leave the kernel, as a closed page does."""
        self.client.stop_channels()
        self.client.context.destroy()

    # --- the wire --------------------------------------------------------------------------------

    def receive(self, channel: str, parent: str | None, timeout_s: float) -> Message | None:
        """Return the next message on a channel, of this request if there is one, or nothing."""
        socket = self._sockets[channel]
        deadline = time.monotonic() + timeout_s
        while (left_s := deadline - time.monotonic()) > 0:
            if not socket.poll(left_s * 1000, zmq.POLLIN):
                break
            message = self._read(socket.recv_multipart(), time.monotonic())
            if parent in (None, message.parent):
                return message
        return None

    def _answer(self, channel: str, message_id: str, timeout_s: float) -> Message | None:
        """Receive, but do not wait for a kernel that is no more."""
        deadline = time.monotonic() + timeout_s
        while (left_s := deadline - time.monotonic()) > 0:
            message = self.receive(channel, message_id, min(LOOK_S, left_s))
            if message is None and not self.alive:
                message = self.receive(channel, message_id, LOOK_S)  # what it said before
                if message is None:
                    raise KernelDied
            if message is not None:
                return message
        return None

    def _read(self, frames: list[bytes], at: float) -> Message:
        session = self.client.session
        _, parts = session.feed_identities(frames)
        size_bytes = sum(map(len, frames))
        return Message(session.deserialize(parts), at=at, size_bytes=size_bytes)

    def _send(self, channel: str, kind: str, content: dict[str, Any], metadata: Any = None) -> str:
        message = self.client.session.msg(kind, content, metadata=metadata)
        getattr(self.client, f"{channel}_channel").send(message)
        return str(message["header"]["msg_id"])


class Person:
    """Somebody at a page who presses buttons in turn, each as soon as its question is shown.

    A press is a button's label, and what is done first: a text that is typed into the field of the
    question, or a list of boxes that are ticked.
    """

    def __init__(self, notebook: Notebook, presses: tuple[tuple[str, Any], ...]) -> None:
        self.notebook = notebook
        self.pending = list(presses)
        self._widgets: dict[str, str] = {}
        self._fields: list[str] = []

    def __call__(self, message: Message) -> None:
        """Look at a message, and press what it shows."""
        if message.kind == "comm_open":
            state, widget = message.content["data"].get("state", {}), message.content["comm_id"]
            if name := state.get("description"):
                self._widgets[name] = widget
            elif state.get("placeholder"):
                self._fields.append(widget)
        if self.pending and shows_widget(message):
            self._press(*self.pending.pop(0))
            self._widgets.clear()
            self._fields.clear()

    def _press(self, label: str, first: Any) -> None:
        if isinstance(first, str):
            self._set(self._fields[0], first)
        for box in first if isinstance(first, list) else ():
            self._set(self._widgets[box], True)
        self.notebook.tell(
            self._widgets[label], {"method": "custom", "content": {"event": "click"}}
        )

    def _set(self, widget: str, value: Any) -> None:
        self.notebook.tell(widget, {"method": "update", "state": {"value": value}})


def is_idle(message: Message) -> bool:
    """Whether the kernel is done with the request."""
    return bool(message.content.get("execution_state") == "idle")


def shows_widget(message: Message) -> bool:
    """Whether a message brings a widget's view."""
    shown = message.kind in ("display_data", "update_display_data")
    return shown and "application/vnd.jupyter.widget-view+json" in message.content["data"]


def shows(text: str) -> Callable[[Message], bool]:
    """Return whether a message brings an output with this text."""

    def wanted(message: Message) -> bool:
        if message.kind not in ("display_data", "update_display_data"):
            return False
        return any(text in value for value in message.content["data"].values())

    return wanted


@contextmanager
def open_notebook(
    env: dict[str, str], *arguments: str, cwd: Path | None = None, now: bool = False
) -> Iterator[Notebook]:
    """Run a kernel in an isolated environment, with a page; end it, at once if told so."""
    manager = start_kernel(env, *arguments, cwd=cwd)
    try:
        notebook = Notebook(manager)
        try:
            yield notebook
        finally:
            notebook.close()
    finally:
        end_kernel(manager, now=now)
