"""The manners in which a golden notebook is run, and what each one shows.

Nothing of `hotclaude_kernel` is imported here: a kernel is spoken to over ZMQ, a command is run as
a program. So this file holds whatever becomes of the modules.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from nbclient import NotebookClient

from ..support.environment import isolated_env
from ..support.frontend import open_notebook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..support.frontend import Message, Notebook

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
    (folder / "notebooks").mkdir(parents=True, exist_ok=True)
    env = isolated_env(folder / "home", url, "")
    del env["HOTCLAUDE_CLI"]
    return env | {"TZ": "UTC", "HOTCLAUDE_STORE": str(folder / "store.db")}


# --- the data --------------------------------------------------------------------------------


def saved(name: str, manner: str = "") -> Path:
    """Return the notebook whose outputs a manner must show: one of its own, or the golden one."""
    own = HERE / f"{name}.{manner}.ipynb"
    return own if manner and own.exists() else HERE / f"{name}.ipynb"


def tape(name: str) -> Path:
    """Return the cassette of a notebook."""
    return HERE / f"{name}.hotclaude.jsonl"


def rebuild(folder: Path) -> Path:
    """Make the record again from its dump, with its notebooks in `folder/notebooks`."""
    path = folder / "store.db"
    connection = sqlite3.connect(path)
    connection.executescript(DUMP.read_text(encoding="utf-8"))
    for name in NOTEBOOKS:
        there = str(folder / "notebooks" / f"{name}.ipynb")
        here = f"%/{name}.ipynb"
        connection.execute("update notebook set path = ? where path like ?", (there, here))
    connection.commit()
    connection.close()
    return path


def lay_out(folder: Path, name: str, source: str) -> Path:
    """Put a notebook into `folder/notebooks`, and beside it what its turns come from."""
    work = folder / "notebooks"
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
                cell.outputs = shown(lab, cell.source, cell.id)
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
    client.execute(env=env, cwd=str(Path(env["HOME"]).parent / "notebooks"))


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


@contextmanager
def open_lab(env: dict[str, str], *arguments: str, at_once: bool = False) -> Iterator[Notebook]:
    """Run a kernel in an environment, in the folder `work` beside its home.

    One that has no process of its own can be ended at once.
    """
    folder = Path(env["HOME"]).parent / "notebooks"
    with open_notebook(env, *arguments, cwd=folder, now=at_once) as lab:
        yield lab


def shown(
    lab: Notebook, source: str, cell_id: str, *, hook: Callable[[Message], None] | None = None
) -> list[Any]:
    """Run a cell as JupyterLab does, and return its outputs as the page would save them."""
    ran = lab.run(source, cell_id=cell_id, allow_stdin=True, hook=hook)
    return [nbformat.from_dict(output) for output in ran.saved]


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
        shutil.copytree(
            folder / "cassette" / "notebooks", folder / "store" / "notebooks", dirs_exist_ok=True
        )
    for path in (folder / "store" / "notebooks").glob("*.hotclaude.jsonl"):
        path.unlink()
    rebuild(folder / "store")
    running = [(words, _started(folder, *words)) for words in _commands()]
    text = "".join(_transcript(words, process) for words, process in running)
    for name in NOTEBOOKS:
        exported = folder / "store" / "notebooks" / f"{name}.hotclaude.jsonl"
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
        cwd=folder / place / "notebooks",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )


def _transcript(words: tuple[str, ...], process: subprocess.Popen[str]) -> str:
    text, _ = process.communicate(timeout=DEADLINE_S)
    place, *command = words
    return f"== {place}: hotclaude {' '.join(command)} -> {process.returncode}\n{text}\n"
