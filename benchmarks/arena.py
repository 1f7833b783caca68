"""Where everything runs: throw-away homes, an environment made from nothing, the model server.

No process sees the environment of whoever started the benchmarks: there is a dummy key, and a base
URL on loopback.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hotclaude_kernel.claude.launch import find_claude
from tests.support.environment import isolated_env

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Arena:
    """What contenders need to run: the binary, the model server's address, a folder for homes."""

    binary: str
    url: str
    folder: Path

    def env(self, name: str) -> dict[str, str]:
        """Return the whole environment of one contender, with a home of its own."""
        home = self.folder / name
        return isolated_env(home, self.url, self.binary) | {
            "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
            "HOTCLAUDE_RECORD": "all",  # a turn that was asked in an earlier round is asked again
        }

    def work(self, name: str) -> str:
        """Return the working directory of one contender."""
        return self.env(name)["HOME"] + "/work"


@contextmanager
def open_arena() -> Iterator[Arena]:
    """Start the model server in folders that are removed at the end."""
    binary = find_claude()
    with tempfile.TemporaryDirectory(prefix="hotclaude-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        server = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.model"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        with server:
            assert server.stdout is not None
            yield Arena(binary=binary, url=server.stdout.readline().strip(), folder=folder)
            server.communicate()
