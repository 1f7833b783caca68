"""The environment of everything that is started: made from nothing, so that no account is reached.

There is a throw-away home, a dummy key, and a base URL on loopback.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

DUMMY_KEY = "dummy"


def isolated_env(home: Path, url: str, binary: str) -> dict[str, str]:
    """Return all of the environment of a process under test, and make its home."""
    (home / "work").mkdir(parents=True, exist_ok=True)
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "CLAUDE_CONFIG_DIR": str(home / ".claude"),
        "ANTHROPIC_API_KEY": DUMMY_KEY,
        "ANTHROPIC_BASE_URL": url,
        "HOTCLAUDE_ENDPOINT": "tests",  # whatever the port
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "HOTCLAUDE_CLI": binary,
        "IPYTHONDIR": str(home / ".ipython"),
        "JUPYTER_CONFIG_DIR": str(home / ".jupyter"),
    }


@contextmanager
def entered(env: dict[str, str], folder: Path) -> Iterator[None]:
    """Put this process itself into an environment and a folder."""
    before, where = dict(os.environ), Path.cwd()
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(where)
        os.environ.clear()
        os.environ.update(before)
