"""`hotclaude install`: installing the kernelspec."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ..notebooks.file import write
from ..page.terminal import say

if TYPE_CHECKING:
    import argparse


def install(options: argparse.Namespace, rest: list[str]) -> int:
    """Install a kernelspec that starts this Python, also for a Jupyter of another environment."""
    from jupyter_client.kernelspec import KernelSpecManager

    prefix = sys.prefix if options.sys_prefix else options.prefix
    with tempfile.TemporaryDirectory() as temporary:
        spec = Path(temporary, "hotclaude")
        shutil.copytree(kernelspec_path(), spec)
        kernel = json.loads((spec / "kernel.json").read_text(encoding="utf-8"))
        kernel["argv"][0] = sys.executable
        write(spec / "kernel.json", json.dumps(kernel, indent=2) + "\n")
        where = KernelSpecManager().install_kernel_spec(
            str(spec), "hotclaude", user=prefix is None, prefix=prefix
        )
    say(f"Installed the kernel Hot Claude in {where}")
    return 0


def kernelspec_path() -> Path:
    """Return the folder of the kernelspec: in the source tree if there is one, else installed."""
    installed = Path(sys.prefix, "share", "jupyter", "kernels", "hotclaude")
    source = Path(__file__).parents[2] / "kernelspec"
    return source if (source / "kernel.json").exists() else installed
