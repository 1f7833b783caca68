"""Notebooks of prompts, run by nbclient."""

from __future__ import annotations

from typing import Any

import nbformat
from nbclient import NotebookClient

KERNELSPEC = {"name": "hotclaude", "display_name": "Hot Claude", "language": "markdown"}


def notebook_of(*prompts: str) -> Any:
    """A notebook of prompts."""
    nb = nbformat.v4.new_notebook(metadata={"kernelspec": KERNELSPEC})
    nb.cells = [nbformat.v4.new_code_cell(prompt) for prompt in prompts]
    return nb


def executed(nb: Any, env: dict[str, str]) -> Any:
    """Run it by nbclient, in the isolated environment."""
    NotebookClient(nb, timeout=60).execute(env=env, cwd=f"{env['HOME']}/work")
    return nb
