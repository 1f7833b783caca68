"""`hotclaude run`: running all cells of a notebook in order, without a front end.

nbclient runs the cells, as it does for nbconvert and papermill. The file that is written depends
only on the notebook and the answers: it has no times and no random ids. It is written after every
cell, so that a failure leaves all earlier answers.
"""

from __future__ import annotations

import asyncio
import difflib
import json
import os
import signal
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cells import parameters
from ..claude.trust import TRUST_ENV
from ..conversation.modes import MODES, PACES
from ..errors import HotClaudeError, UsageError
from ..kernel.startup import NOTEBOOK_ENV, SCOPE_ENV
from ..page.terminal import say
from ..page.text import visible
from ..page.words import counted, listed, told, uncompared
from .file import KERNEL, runnable, write

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping, Sequence

FAILED = 1
EXIT_CODES = {"ReplayMiss": 3, "BudgetReached": 4, "UsageError": 5}  # by the error's class

RECORD_ENV = "HOTCLAUDE_RECORD"
PACE_ENV = "HOTCLAUDE_PACE"
QUIET = "--HotClaudeApp.log_level=ERROR"  # the kernel's warnings would break the progress bar
INJECTED = "injected-parameters"  # papermill's tag, and the id of our cell


@dataclass(slots=True, kw_only=True)
class Run:
    """One notebook to run. `nb` is changed in place, and written to `output` after each cell.

    `folder` is the kernel's working directory, `env` its environment and `arguments` its command
    line. `timeout_s` is the time for one cell, `None` for any.
    """

    nb: Any
    output: Path
    folder: Path
    env: dict[str, str] = field(default_factory=dict)
    arguments: list[str] = field(default_factory=list)
    timeout_s: int | None = None
    progress: bool = True
    error: list[str] = field(default_factory=list)  # the failed cell's error, in lines
    stopped_by: int = 0  # the number of the signal that stopped the run
    sources: list[str] = field(default_factory=list)  # of each turn, as in `turns.turn.Turn`
    absent: list[str] = field(default_factory=list)  # files that replayed turns mention

    @property
    def cells(self) -> int:
        """The number of cells to run: code cells that are not blank."""
        return sum(cell.cell_type == "code" and bool(cell.source.strip()) for cell in self.nb.cells)

    def save(self) -> None:
        """Write the notebook as it is now. Raises `UsageError` if it can't be written."""
        write(self.output, import_module("nbformat").writes(self.nb) + "\n")


def run(options: argparse.Namespace) -> int:
    """Carry out `hotclaude run`; return the exit code. Raises `HotClaudeError` before the run."""
    path = Path(options.notebook)
    for module in ("nbclient", "nbformat", "tqdm", "yaml"):
        _needed(module)
    nb = runnable(path)
    values = given(options.file, options.param)
    prepare(nb, values)
    job = Run(
        nb=nb,
        output=_output(path, options.output),
        folder=path.resolve().parent,
        env=environment(os.environ, record=options.record, pace=options.pace)
        | {SCOPE_ENV: str(path.resolve())}
        | ({TRUST_ENV: json.dumps([str(path.resolve().parent)])} if options.trust else {}),
        arguments=kernel_arguments(options.set),
        timeout_s=options.timeout,
        progress=not options.no_progress,
    )
    job.save()  # fail before the first answer if the file can't be written
    code = asyncio.run(execute(job))
    say(f"Written to {job.output}")
    if job.sources:
        say(f"{counted(len(job.sources), 'turn')}: {told(job.sources)}")
    if job.absent:
        say(f"Files {uncompared(job.absent)}")
    return code


def _output(path: Path, named: str | None) -> Path:
    """Return where the notebook at `path` is written to."""
    if named is None:
        return path.with_name(f"{path.stem}-run.ipynb")
    # A notebook that is run in its place may be reached by a link, which stays.
    return path.resolve() if Path(named) == path else Path(named)


def _needed(module: str) -> None:
    try:
        import_module(module)
    except ImportError as error:
        raise HotClaudeError(
            f"`hotclaude run` needs {error.name}",
            hint="Run `pip install 'hotclaude-kernel[run]'`.",
        ) from error


# --- parameters and settings -----------------------------------------------------------------


def given(files: Iterable[str], words: Iterable[str]) -> dict[str, Any]:
    """Return the parameters in YAML or JSON files, then those in words like `topic=cats`.

    Later ones replace earlier ones. Raises `UsageError`.
    """
    values: dict[str, Any] = {}
    for name in files:
        values |= _from_file(Path(name))
    return values | parameters.of_words(words)


def _from_file(path: Path) -> dict[str, Any]:
    yaml = import_module("yaml")
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from error
    except (ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{path} can't be read: {error}") from error
    return parameters.of_mapping({} if values is None else values)


def prepare(nb: Any, values: Mapping[str, Any]) -> None:
    """Clear the outputs of an earlier run, and insert a cell of parameters as papermill does.

    Raises `UsageError` for a parameter that the notebook neither sets nor uses: it would change
    nothing, so it is probably a typing error.
    """
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    for cell in code:
        cell.outputs, cell.execution_count = [], None
        cell.metadata.pop("execution", None)
    nb.metadata.pop("widgets", None)
    if not values:
        return
    sources = [cell.source for cell in code if INJECTED not in _tags(cell)]
    names = [name for source in sources for name in _names_of(source)]
    for name in values:
        parameters.known(name, dict.fromkeys(names))
    _inject(nb, values)


def _names_of(source: str) -> list[str]:
    try:
        declared = parameters.declared(source)
    except UsageError:
        declared = {}  # running the cell shows the error
    return [*declared, *parameters.names_in(source)]


def _inject(nb: Any, values: Mapping[str, Any]) -> None:
    v4 = import_module("nbformat.v4")
    cell = v4.new_code_cell(parameters.cell_of(values), metadata={"tags": [INJECTED]}, id=INJECTED)
    if nb.nbformat_minor < 5:
        del cell["id"]
    tags = [_tags(cell) for cell in nb.cells]
    injected = [at for at, found in enumerate(tags) if INJECTED in found]
    tagged = [at for at, found in enumerate(tags) if "parameters" in found]
    if injected:
        nb.cells[injected[0]] = cell
    else:
        nb.cells.insert(tagged[0] + 1 if tagged else 0, cell)


def _tags(cell: Any) -> list[str]:
    return list(cell.metadata.get("tags", ()))


def environment(
    environ: Mapping[str, str], *, record: str | None = None, pace: str | None = None
) -> dict[str, str]:
    """Return the kernel's environment, without the notebook's path: each run begins anew.

    Raises `UsageError` for an unknown record mode or pace.
    """
    env = {name: value for name, value in environ.items() if name != NOTEBOOK_ENV}
    for option, name, value, there in (
        ("--record", RECORD_ENV, record, MODES),
        ("--pace", PACE_ENV, pace, PACES),
    ):
        if value is None:
            continue
        if value not in there:
            raise UsageError(f"{option}: there is no {value}", hint=f"There are {listed(there)}.")
        env[name] = value
    return env


def kernel_arguments(words: Sequence[str]) -> list[str]:
    """Return the kernel's arguments for words like `model=opus`.

    Raises `UsageError` for an unknown setting and for a value that it doesn't take.
    """
    if not words:
        return []
    from ..kernel.traits import ConfiguredKernel

    traits = ConfiguredKernel.class_own_traits(config=True)
    texts: dict[str, list[str]] = {}
    for word in words:
        name, equals, text = word.partition("=")
        name = name.replace("-", "_")
        if not equals:
            raise UsageError(f"A setting is written name=value, and {word} is not")
        if name not in traits:
            near = difflib.get_close_matches(name, traits, n=1)
            hint = f"Did you mean {near[0]}? " if near else ""
            raise UsageError(
                f"There is no setting {name}", hint=f"{hint}There are {listed(sorted(traits))}."
            )
        texts.setdefault(name, []).append(text)
    for name, given_texts in texts.items():
        _check(traits[name], given_texts)
    return [f"--HotClaudeKernel.{name}={text}" for name in texts for text in texts[name]]


def _check(trait: Any, texts: list[str]) -> None:
    """Parse texts as the kernel's trait will. Raises `UsageError` if the kernel would not start."""
    import traitlets

    try:
        if hasattr(trait, "from_string_list"):
            value = trait.from_string_list(texts)
        else:
            (text,) = texts
            value = trait.from_string(text)
        if not (value is None and trait.allow_none):
            trait.validate(traitlets.HasTraits(), value)
    except (traitlets.TraitError, ValueError) as error:
        raise UsageError(
            f"The setting {trait.name} can't be {' and '.join(texts)}",
            hint=f"It takes {trait.info()}: {trait.help}",
        ) from error


# --- running ---------------------------------------------------------------------------------


async def execute(job: Run) -> int:
    """Run the cells in order up to the first error; return the exit code.

    The code is 0, that of the error in `EXIT_CODES`, 1 for any other error, or 128 plus the number
    of the signal that stopped the run.
    """
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient.exceptions import CellExecutionError
    from tqdm import tqdm

    bar = tqdm(
        total=job.cells, unit="cell", desc=visible(job.output.name), disable=not job.progress
    )
    client = _client(job, bar)
    code, said = 0, list[str]()
    try:
        await client.async_execute(env=job.env, cwd=str(job.folder))
    except CellExecutionError as error:
        code, said = EXIT_CODES.get(error.ename, FAILED), job.error
    except NoSuchKernel:
        code, said = FAILED, [f"the kernel {client.kernel_name} is not installed"]
    except (RuntimeError, asyncio.CancelledError) as error:  # nbclient raises it for a dead kernel
        code, said = FAILED, str(error).splitlines()
    finally:
        bar.close()
        job.save()
    if said:
        at = client.code_cells_executed
        first = f"hotclaude: {f'cell {at}: ' if at else ''}{said[0]}"
        for line in (first, *said[1:]):
            say(line, error=True)
    return 128 + job.stopped_by if job.stopped_by else code


def _client(job: Run, bar: Any) -> Any:
    from nbclient import NotebookClient

    def ran(execute_reply: dict[str, Any], **_: Any) -> None:
        job.save()
        about = execute_reply["metadata"].get("hotclaude", {})
        job.sources += [turn["source"] for turn in about.get("turns", ())]
        job.absent += [path for turn in about.get("turns", ()) for path in turn["absent"]]
        bar.update(execute_reply["content"]["status"] == "ok")

    def failed(execute_reply: dict[str, Any], **_: Any) -> None:
        content = execute_reply["content"]
        job.error = list(content["traceback"])
        if content["ename"] == "Interrupted" and not job.stopped_by:
            job.error.append(f"It took longer than --timeout allows, {job.timeout_s} s.")

    def begins(**_: Any) -> None:
        if job.stopped_by:
            raise asyncio.CancelledError

    client = NotebookClient(
        job.nb,
        kernel_name=job.nb.metadata.get("kernelspec", {}).get("name", KERNEL),
        timeout=job.timeout_s,
        interrupt_on_timeout=True,  # the turn ends, and the answer so far stays
        record_timing=False,
        extra_arguments=[QUIET, *job.arguments],
        on_cell_start=begins,
        on_cell_executed=ran,
        on_cell_error=failed,
    )
    client.on_notebook_start = lambda **_: _take_signals(job, client)
    return client


def _take_signals(job: Run, client: Any) -> None:
    """On SIGINT or SIGTERM, interrupt the running cell and end the run; on a second one, cancel it.

    This replaces nbclient's handlers, which would end the kernel under the running cell.
    """
    task = asyncio.current_task()
    assert task is not None
    interrupting: set[asyncio.Future[Any]] = set()

    def stop(number: int) -> None:
        if job.stopped_by:
            task.cancel()
        job.stopped_by = number
        interrupting.add(asyncio.ensure_future(client.km.interrupt_kernel()))

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
