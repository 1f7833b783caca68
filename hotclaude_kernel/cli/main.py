"""`hotclaude`: JupyterLab with the kernel, runs without a page, the demonstration, installation."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from .. import __version__
from ..claude.launch import find_claude
from ..errors import HotClaudeError, UsageError
from . import record

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

USAGE = 5  # exit code: what was asked can't be done as it was written
# The demonstration asks nothing of any other machine, not even for news of Jupyter.
NO_UPDATES = "jupyterlab.handlers.announcements.NeverCheckForUpdate"
EXAMPLE = "first-conversation.ipynb"
# What would lead claude to an account, a cloud or another endpoint; the demonstration has none.
ACCOUNT_ENV = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_CUSTOM_HEADERS",
    "ANTHROPIC_MODEL",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_FOUNDRY",
    "CLAUDE_CODE_USE_VERTEX",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    arguments, rest = _split(list(sys.argv[1:] if argv is None else argv))
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options, rest))
    except HotClaudeError as error:
        print(f"hotclaude: {error.message}", file=sys.stderr)
        if error.hint:
            print(error.hint, file=sys.stderr)
        return USAGE if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        return 130


class _Parser(argparse.ArgumentParser):
    """A parser whose errors have an exit code of their own."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments, and end."""
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: error: {message}\n")


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    """Cut off what stands after `--`: it belongs to Jupyter."""
    if "--" not in argv:
        return argv, []
    at = argv.index("--")
    return argv[:at], argv[at + 1 :]


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="hotclaude", description="Notebook cells as turns of one live claude process."
    )
    parser.add_argument("--version", action="version", version=f"hotclaude {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    lab_ = commands.add_parser("lab", help="open JupyterLab with the kernel, on your own login")
    lab_.add_argument("notebook", nargs="?", help="a notebook or folder to open")
    lab_.add_argument("--base-url", help="an Anthropic-compatible endpoint, such as a local server")
    lab_.add_argument("--model", help="the model that conversations begin with")
    lab_.set_defaults(run=lab)

    run_ = commands.add_parser("run", help="run a notebook from top to bottom, without a page")
    run_.add_argument("notebook")
    run_.add_argument("-o", "--output", help="where to write it (NAME-run.ipynb beside it)")
    for flags, name, help_ in (
        (("-p", "--param"), "NAME=VALUE", "a parameter; JSON, or text"),
        (("-f", "--file"), "FILE", "parameters in YAML or JSON"),
        (("--set",), "NAME=VALUE", "a setting of the kernel"),
    ):
        run_.add_argument(*flags, metavar=name, action="append", default=[], help=help_)
    run_.add_argument("--record", metavar="MODE", help="none, once, new_episodes, all or off")
    run_.add_argument("--pace", metavar="PACE", help="of what is recorded: instant or recorded")
    run_.add_argument("--timeout", metavar="S", type=int, help="seconds that a cell may take")
    run_.add_argument("--no-progress", action="store_true", help="show no progress bar")
    run_.set_defaults(run=run)

    record.register(commands)

    demo_ = commands.add_parser("demo", help="try it without an account, on a demonstration model")
    demo_.add_argument("--folder", help="where to put the example notebook (a temporary one)")
    demo_.add_argument("--serve", action="store_true", help="only serve the demonstration model")
    demo_.add_argument("--port", type=int, default=0, help="the model server's port (any free one)")
    demo_.set_defaults(run=demo)

    install_ = commands.add_parser("install", help="register the kernel for this Python")
    where = install_.add_mutually_exclusive_group()
    where.add_argument("--user", action="store_true", help="for the current user (the default)")
    where.add_argument("--sys-prefix", action="store_true", help="in this Python environment")
    where.add_argument("--prefix", help="below this folder")
    install_.set_defaults(run=install)

    bench_ = commands.add_parser("bench", help="hot against cold, on your own login")
    bench_.add_argument("--turns", type=int, default=5, help="how many of each (%(default)s)")
    bench_.add_argument("--model", help="the model to ask")
    bench_.add_argument("--yes", action="store_true", help="spend the tokens without asking first")
    bench_.set_defaults(run=bench)
    return parser


# --- JupyterLab ------------------------------------------------------------------------------


def lab(options: argparse.Namespace, rest: list[str]) -> int:
    """Open JupyterLab with the user's own login, or on an endpoint of theirs."""
    find_claude()  # better said now than in the first cell
    env = dict(os.environ)
    if options.base_url:
        env["ANTHROPIC_BASE_URL"] = options.base_url
        # A local server asks for no key, but claude won't start a turn without one.
        env.setdefault("ANTHROPIC_API_KEY", "local")
    if options.model:
        env["ANTHROPIC_MODEL"] = options.model
    opened = [options.notebook] if options.notebook else []
    return _jupyterlab([*opened, *rest], env)


def demo(options: argparse.Namespace, rest: list[str]) -> int:
    """Open JupyterLab on the example, with the real binary on the demonstration model."""
    from ..modelserver import ModelServer, demo_model

    with ModelServer(demo_model, port=options.port).in_thread() as server:
        print(f"The demonstration model (not Claude) answers at {server.url}", flush=True)
        if options.serve:
            return _until_interrupted()
        find_claude()
        with _demo_folder(options.folder) as folder, tempfile.TemporaryDirectory() as config:
            notebook = folder / EXAMPLE
            if not notebook.exists():
                shutil.copy(example_path(), notebook)
            print(f"The example notebook is {notebook}", flush=True)
            quiet = ["--LabApp.news_url=None", f"--LabApp.check_for_updates_class={NO_UPDATES}"]
            # In a container one is root, and there is nothing here to protect from it.
            root = ["--allow-root"] if _is_root() else []
            arguments = [str(notebook), f"--ServerApp.root_dir={folder}", *quiet, *root, *rest]
            _without_news(Path(config))
            return _jupyterlab(arguments, demo_env(server.url, config))


def _without_news(config: Path) -> None:
    """Configure JupyterLab not to ask, over the page, whether to fetch its news."""
    (config / "labconfig").mkdir()
    settings = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    (config / "labconfig" / "page_config.json").write_text(json.dumps(settings), encoding="utf-8")


def demo_env(url: str, config_dir: str) -> dict[str, str]:
    """Return an environment in which claude has no account and knows no other endpoint."""
    env = {name: value for name, value in os.environ.items() if name not in ACCOUNT_ENV}
    return env | {
        "ANTHROPIC_API_KEY": "demo",
        "ANTHROPIC_BASE_URL": url,
        "CLAUDE_CONFIG_DIR": config_dir,
        # Its answers must not stand in the user's record, where the same prompts would find them.
        "HOTCLAUDE_STORE": str(Path(config_dir, "hotclaude", "store.db")),
        "JUPYTER_CONFIG_PATH": config_dir,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }


def example_path() -> Path:
    """Return the example notebook: of the installed package, or of the source tree."""
    here = Path(__file__).parents[1]
    installed = here / "examples" / EXAMPLE
    return installed if installed.exists() else here.parent / "examples" / EXAMPLE


def _jupyterlab(arguments: list[str], env: dict[str, str]) -> int:
    if importlib.util.find_spec("jupyterlab") is None:
        raise HotClaudeError(
            "JupyterLab is not installed in this environment",
            hint="Run `pip install 'hotclaude-kernel[lab]'`, or start a Jupyter you have "
            "after `hotclaude install`.",
        )
    process = subprocess.Popen([sys.executable, "-m", "jupyterlab", *arguments], env=env)
    # Whoever ends us means the server too; it ends its kernels, and they their processes.
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            # Jupyter got it too; it asks whether to stop, and its answer is the end.
            continue


def _until_interrupted() -> int:
    import threading

    print("Set ANTHROPIC_BASE_URL to it, and ANTHROPIC_API_KEY to anything. Ctrl-C ends it.")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        return 0
    return 0


@contextmanager
def _demo_folder(named: str | None) -> Iterator[Path]:
    if named:
        folder = Path(named).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="hotclaude-demo-") as temporary:
        yield Path(temporary)


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def run(options: argparse.Namespace, rest: list[str]) -> int:
    """Run a notebook without a page."""
    from ..notebooks import run as headless

    return headless.run(options)


# --- the others ------------------------------------------------------------------------------


def install(options: argparse.Namespace, rest: list[str]) -> int:
    """Register the kernel under this very Python, for Jupyters of other environments."""
    from jupyter_client.kernelspec import KernelSpecManager

    prefix = sys.prefix if options.sys_prefix else options.prefix
    with tempfile.TemporaryDirectory() as temporary:
        spec = Path(temporary, "hotclaude")
        shutil.copytree(kernelspec_path(), spec)
        kernel = json.loads((spec / "kernel.json").read_text(encoding="utf-8"))
        kernel["argv"][0] = sys.executable
        (spec / "kernel.json").write_text(json.dumps(kernel, indent=2) + "\n", encoding="utf-8")
        where = KernelSpecManager().install_kernel_spec(
            str(spec), "hotclaude", user=prefix is None, prefix=prefix
        )
    print(f"Installed the kernel Hot Claude in {where}")
    return 0


def kernelspec_path() -> Path:
    """Return the kernelspec: of the installed package, or of the source tree."""
    installed = Path(sys.prefix, "share", "jupyter", "kernels", "hotclaude")
    source = Path(__file__).parents[2] / "kernelspec"
    return source if (source / "kernel.json").exists() else installed


def bench(options: argparse.Namespace, rest: list[str]) -> int:
    """Measure hot against cold turns on the user's own login, once they agree to the cost."""
    from .bench import measure, notice

    if not options.yes:
        print(notice(options.turns))
        if input("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
            return 0
    print(measure(options.turns, model=options.model))
    return 0


if __name__ == "__main__":
    sys.exit(main())
