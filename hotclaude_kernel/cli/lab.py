"""`hotclaude lab` and `hotclaude demo`: JupyterLab with this kernel."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..claude.launch import find_claude
from ..errors import HotClaudeError
from ..notebooks.file import write
from ..page.terminal import say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator


# The demonstration sends nothing to other machines, so JupyterLab must not look for updates.
NO_UPDATES = "jupyterlab.handlers.announcements.NeverCheckForUpdate"
EXAMPLE = "first-conversation.ipynb"
# Variables that would give claude an account, a cloud or another endpoint than the demonstration's.
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


def lab(options: argparse.Namespace, rest: list[str]) -> int:
    """Open JupyterLab with the user's own login, or on an endpoint of theirs."""
    find_claude()  # a missing binary is reported here, not in the first cell
    env = dict(os.environ)
    if options.base_url:
        env["ANTHROPIC_BASE_URL"] = options.base_url
        # claude starts no turn without a key, even if the local server needs none.
        env.setdefault("ANTHROPIC_API_KEY", "local")
    if options.model:
        env["ANTHROPIC_MODEL"] = options.model
    opened = [options.notebook] if options.notebook else []
    return _jupyterlab([*opened, *rest], env)


def demo(options: argparse.Namespace, rest: list[str]) -> int:
    """Open JupyterLab on the example, with the real binary on the demonstration model."""
    from ..modelserver.demo import demo_model
    from ..modelserver.server import ModelServer

    with ModelServer(demo_model, port=options.port).in_thread() as server:
        say(f"The demonstration model (not Claude) answers at {server.url}")
        if options.serve:
            return _until_interrupted()
        find_claude()
        with _demo_folder(options.folder) as folder, tempfile.TemporaryDirectory() as config:
            notebook = folder / EXAMPLE
            if not notebook.exists():
                write(notebook, example_path().read_text(encoding="utf-8"))
            say(f"The example notebook is {notebook}")
            quiet = [
                "--LabApp.news_url=None",
                f"--LabApp.check_for_updates_class={NO_UPDATES}",
                "--LabApp.extension_manager=readonly",  # the other one lists what an index offers
            ]
            # Jupyter refuses to run as root, which is usual in a container.
            root = ["--allow-root"] if _is_root() else []
            arguments = [str(notebook), f"--ServerApp.root_dir={folder}", *quiet, *root, *rest]
            _without_news(Path(config))
            return _jupyterlab(arguments, demo_env(server.url, config))


def _without_news(config: Path) -> None:
    """Turn off JupyterLab's pop-up that asks whether to fetch Jupyter's news."""
    (config / "labconfig").mkdir()
    settings = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    write(config / "labconfig" / "page_config.json", json.dumps(settings))


def demo_env(url: str, config_dir: str) -> dict[str, str]:
    """Return an environment in which claude has no account and knows no other endpoint."""
    env = {name: value for name, value in os.environ.items() if name not in ACCOUNT_ENV}
    return env | {
        "ANTHROPIC_API_KEY": "demo",
        "ANTHROPIC_BASE_URL": url,
        "CLAUDE_CONFIG_DIR": config_dir,
        # The server has another port each time, and is the same endpoint.
        "HOTCLAUDE_ENDPOINT": "demo",
        # The user's record must not hold these answers, else the same prompts would replay them.
        "HOTCLAUDE_STORE": str(Path(config_dir, "hotclaude", "store.db")),
        "JUPYTER_CONFIG_PATH": config_dir,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }


def example_path() -> Path:
    """Return the path of the example notebook: in the installed package, or in the source tree."""
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
    # Pass SIGTERM on to Jupyter Server. It shuts down its kernels, and each kernel its processes.
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            # Ctrl-C reaches Jupyter Server too. It asks the user whether to stop; wait for its end.
            continue


def _until_interrupted() -> int:
    import threading

    say("Set ANTHROPIC_BASE_URL to it, and ANTHROPIC_API_KEY to anything. Ctrl-C ends it.")
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
