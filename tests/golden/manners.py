"""The manners in which a golden notebook is run, and what each one shows.

Nothing of `hotclaude_kernel` is imported here: a kernel is spoken to over ZMQ, a command is run as
a program. So this file holds whatever becomes of the modules.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
DUMP = HERE / "store.sql"
PICTURE = HERE / "plot.png"
PRINTED = HERE / "printed.txt"
DEADLINE_S = 60.0

#: A server of tools, as the cells of `tools` were asked with. The secret is no part of a key.
MCP_CONFIG = json.dumps(
    {
        "mcpServers": {
            "weather": {"command": "python3", "args": ["weather.py"], "env": {"PLACE": "Delft"}}
        }
    }
)
#: The notebooks, and the arguments that their kernels are started with.
NOTEBOOKS: dict[str, tuple[str, ...]] = {
    "tools": (
        f"--HotClaudeKernel.mcp_config={MCP_CONFIG}",
        "--HotClaudeKernel.fallback_model=haiku",
    ),
    "words": (),
    "tree": (),
    "moves": (),
}
#: How a notebook is run, and from where its turns come.
MANNERS = ("nbclient-store", "lab-store", "nbclient-cassette", "lab-cassette")

Outputs = list[dict[str, Any]]


def environment(folder: Path, url: str) -> dict[str, str]:
    """Return all of the environment of a process: a home below `folder`, no account, no network."""
    (folder / "home").mkdir(parents=True, exist_ok=True)
    (folder / "work").mkdir(exist_ok=True)
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(folder / "home"),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "CLAUDE_CONFIG_DIR": str(folder / "home" / ".claude"),
        "ANTHROPIC_API_KEY": "dummy",
        "ANTHROPIC_BASE_URL": url,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "HOTCLAUDE_STORE": str(folder / "store.db"),
        "IPYTHONDIR": str(folder / "home" / ".ipython"),
        "JUPYTER_CONFIG_DIR": str(folder / "home" / ".jupyter"),
    }


# --- the data --------------------------------------------------------------------------------


def saved(name: str, manner: str = "") -> Path:
    """Return the notebook whose outputs a manner must show: one of its own, or the golden one."""
    own = HERE / f"{name}.{manner}.ipynb"
    return own if manner and own.exists() else HERE / f"{name}.ipynb"


def tape(name: str) -> Path:
    """Return the cassette of a notebook."""
    return HERE / f"{name}.hotclaude.jsonl"


def rebuild(folder: Path) -> Path:
    """Make the record again from its dump, with its notebooks in `folder/work`."""
    path = folder / "store.db"
    connection = sqlite3.connect(path)
    connection.executescript(DUMP.read_text(encoding="utf-8"))
    for name in NOTEBOOKS:
        there = str(folder / "work" / f"{name}.ipynb")
        here = f"%/{name}.ipynb"
        connection.execute("update notebook set path = ? where path like ?", (there, here))
    connection.commit()
    connection.close()
    return path


def lay_out(folder: Path, name: str, source: str) -> Path:
    """Put a notebook into `folder/work`, and beside it what its turns come from."""
    work = folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    shutil.copy(PICTURE, work)
    if source == "store":
        rebuild(folder)
    else:
        shutil.copy(tape(name), work)
    return Path(shutil.copy(saved(name), work))


# --- running ---------------------------------------------------------------------------------


def replay(folder: Path, name: str, manner: str, env: dict[str, str]) -> list[Outputs]:
    """Run all cells of a golden notebook in a manner, and return their outputs."""
    how, source = manner.split("-")
    path = lay_out(folder, name, source)
    notebook = nbformat.read(path, as_version=4)
    env = env | {"HOTCLAUDE_RECORD": "none"}
    if how == "nbclient":
        _run_by_nbclient(notebook, env, NOTEBOOKS[name])
    else:
        env["JPY_SESSION_NAME"] = str(path)
        with open_lab(env, *NOTEBOOKS[name], at_once=True) as lab:
            for cell in code_cells(notebook):
                cell.outputs = lab.run(cell.source, cell.id)
    return outputs_of(notebook)


def _run_by_nbclient(notebook: Any, env: dict[str, str], arguments: tuple[str, ...]) -> None:
    for cell in code_cells(notebook):
        cell.outputs = []
    client = NotebookClient(
        notebook,
        kernel_name="hotclaude",
        timeout=int(DEADLINE_S),
        allow_errors=True,
        record_timing=False,
        shutdown_kernel="immediate",
        extra_arguments=list(arguments),
    )
    client.execute(env=env, cwd=str(Path(env["HOME"]).parent / "work"))


def code_cells(notebook: Any) -> list[Any]:
    """Return the cells that are run."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs_of(notebook: Any) -> list[Outputs]:
    """Return the outputs of each code cell, without the numbers of executions."""
    cells = json.loads(nbformat.writes(notebook))["cells"]
    outputs = [cell["outputs"] for cell in cells if cell["cell_type"] == "code"]
    for output in (output for cell in outputs for output in cell):
        output.pop("execution_count", None)
    return outputs


def golden(name: str, manner: str = "") -> list[Outputs]:
    """Return what a manner must show."""
    return outputs_of(nbformat.read(saved(name, manner), as_version=4))


class Lab:
    """A kernel, and a client that speaks to it as JupyterLab does."""

    def __init__(self, manager: Any) -> None:
        self.client = BlockingKernelClient()
        self.client.load_connection_info(manager.get_connection_info())
        self.client.start_channels()
        deadline = time.monotonic() + DEADLINE_S
        replied = heard = False
        while not (replied and heard):
            assert time.monotonic() < deadline, "the kernel does not get ready"
            self.client.kernel_info()
            with suppress(queue.Empty):
                replied |= bool(self.client.get_shell_msg(timeout=1))
                heard |= bool(self.client.get_iopub_msg(timeout=1))

    def run(
        self, source: str, cell_id: str, *, hook: Callable[[Any], None] | None = None
    ) -> list[Any]:
        """Run a cell and return its outputs as the page would save them."""
        content = {
            "code": source,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": True,
            "stop_on_error": True,
        }
        message = self.client.session.msg("execute_request", content)
        message["metadata"]["cellId"] = cell_id
        self.client.shell_channel.send(message)
        asked = message["header"]["msg_id"]
        page = Page()
        while True:
            got = self.client.get_iopub_msg(timeout=DEADLINE_S)
            if hook:
                hook(got)
            if got["parent_header"].get("msg_id") != asked:
                continue
            page.take(got)
            if got["content"].get("execution_state") == "idle":
                break
        reply = self.client.get_shell_msg(timeout=DEADLINE_S)
        while reply["parent_header"].get("msg_id") != asked:
            reply = self.client.get_shell_msg(timeout=DEADLINE_S)
        return page.outputs

    def interrupt(self) -> None:
        """Interrupt the running cell."""
        self.client.control_channel.send(self.client.session.msg("interrupt_request", {}))

    def tell(self, widget: str, data: dict[str, Any]) -> None:
        """Send a widget what the page's half of it would send."""
        message = self.client.session.msg("comm_msg", {"comm_id": widget, "data": data})
        self.client.shell_channel.send(message)

    def close(self) -> None:
        """Leave the kernel."""
        self.client.stop_channels()
        self.client.context.destroy()


class Page:
    """The outputs of one cell: updates applied, clears obeyed."""

    def __init__(self) -> None:
        self.outputs: list[Any] = []
        self._shown: dict[str, Any] = {}
        self._clears = False

    def take(self, message: Any) -> None:
        """Take a message of the kernel's."""
        kind, content = message["header"]["msg_type"], message["content"]
        if kind == "clear_output":
            self._clears = True
        elif kind == "update_display_data":
            if shown := self._shown.get(content["transient"]["display_id"]):
                new = nbformat.v4.new_output("display_data", content["data"])
                shown.data, shown.metadata = new.data, nbformat.from_dict(content["metadata"])
        elif kind in ("display_data", "execute_result", "stream", "error"):
            self._add(kind, message)

    def _add(self, kind: str, message: Any) -> None:
        if self._clears:
            self.outputs, self._shown, self._clears = [], {}, False
        output = nbformat.v4.output_from_msg(message)
        last = self.outputs[-1] if self.outputs else None
        if kind == "stream" and last and last.get("name") == output.name:
            last.text += output.text
            return
        self.outputs.append(output)
        if at := message["content"].get("transient", {}).get("display_id"):
            self._shown[at] = output


@contextmanager
def open_lab(env: dict[str, str], *arguments: str, at_once: bool = False) -> Iterator[Lab]:
    """Run a kernel in an environment, in the folder `work` beside its home.

    One that has no process of its own can be ended at once.
    """
    manager = KernelManager(kernel_name="hotclaude")
    cwd = Path(env["HOME"]).parent / "work"
    manager.start_kernel(env=env, cwd=str(cwd), extra_arguments=list(arguments))
    try:
        lab = Lab(manager)
    except BaseException:
        manager.shutdown_kernel(now=True)
        raise
    try:
        yield lab
    finally:
        lab.close()
        manager.shutdown_kernel(now=at_once)


def hotclaude() -> str:
    """Return the path of the program that stands beside this Python."""
    return os.fspath(Path(sys.executable).with_name("hotclaude"))


# --- the command line ------------------------------------------------------------------------


def printed(folder: Path) -> str:
    """Return what the commands on notebooks, cassettes and the record print, and how they end.

    Some are run where the record is and some where the cassettes are. What is exported from the
    record is compared with the cassette here, since it says nothing that could be kept.
    """
    for name in NOTEBOOKS:
        lay_out(folder / "cassette", name, "cassette")
        shutil.copytree(folder / "cassette" / "work", folder / "store" / "work", dirs_exist_ok=True)
    for path in (folder / "store" / "work").glob("*.hotclaude.jsonl"):
        path.unlink()
    rebuild(folder / "store")
    running = [(words, _started(folder, *words)) for words in _commands()]
    text = "".join(_transcript(words, process) for words, process in running)
    for name in NOTEBOOKS:
        exported = folder / "store" / "work" / f"{name}.hotclaude.jsonl"
        assert exported.read_bytes() == tape(name).read_bytes(), f"the cassette of {name}"
    return text


def _commands() -> Iterator[tuple[str, ...]]:
    yield "store", "verify"
    yield "store", "logs", "-n", "1000"
    yield "store", "show", _last_node("tools")
    yield "cassette", "verify", "tools.hotclaude.jsonl"
    for name in NOTEBOOKS:
        yield "store", "export", f"{name}.ipynb"
        yield "store", "check", f"{name}.ipynb"
        yield "cassette", "verify", f"{name}.ipynb"


def _last_node(name: str) -> str:
    outputs = [output for cell in golden(name) for output in cell if "metadata" in output]
    return str([o["metadata"]["hotclaude"]["node"] for o in outputs if o["metadata"]][-1])


def _started(folder: Path, place: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [hotclaude(), *words],
        env=environment(folder / place, "http://127.0.0.1:9"),
        cwd=folder / place / "work",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )


def _transcript(words: tuple[str, ...], process: subprocess.Popen[str]) -> str:
    text, _ = process.communicate(timeout=DEADLINE_S)
    place, *command = words
    return f"== {place}: hotclaude {' '.join(command)} -> {process.returncode}\n{text}\n"
