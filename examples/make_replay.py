"""Make replay.ipynb and its cassette: a notebook that runs again anywhere, without an account.

`python -m examples.make_replay` asks the demonstration model once, by the commands that README
names, in a throw-away home.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat

from hotclaude_kernel.modelserver.demo import demo_model
from hotclaude_kernel.modelserver.server import ModelServer

from .make_gallery import LANGUAGE, environment

HERE = Path(__file__).parent
NAME = "replay"

TITLE = """# A notebook with its answers

*Answered by a demonstration model, a small script, not by Claude.*

`replay.hotclaude.jsonl` beside this notebook holds its recorded turns. Run all cells: nothing is
asked, and the outputs are the same, byte for byte. Change one: from there on it goes on live."""

PROMPTS = {
    "parameters": "%params thing=the-keys",
    "first": "remember that {{thing}} are under the mat",
    "second": "show me what you can do",
    "third": "think about six times seven",
    "fourth": "list the files here",
    "fifth": "what did I ask you to remember?",
}


def notebook() -> Any:
    """Return the notebook, not yet run."""
    spec = {"name": "hotclaude", "display_name": "Hot Claude", "language": "markdown"}
    made = nbformat.v4.new_notebook(metadata={"kernelspec": spec, "language_info": LANGUAGE})
    made.cells = [nbformat.v4.new_markdown_cell(TITLE, id="title")]
    made.cells += [nbformat.v4.new_code_cell(text, id=name) for name, text in PROMPTS.items()]
    made.cells[1].metadata["tags"] = ["parameters"]
    return made


def main() -> None:
    """Run the notebook live, then write its cassette."""
    with tempfile.TemporaryDirectory() as folder, ModelServer(demo_model).in_thread() as server:
        env = environment(Path(folder), server.url)
        work = Path(folder, "work")
        for path in work.iterdir():
            path.unlink()
        nbformat.write(notebook(), work / f"{NAME}.ipynb")
        command = [sys.executable, "-m", "hotclaude_kernel.cli.main"]
        run = [*command, "run", f"{NAME}.ipynb", "-o", f"{NAME}.ipynb", "--no-progress"]
        subprocess.run(run, cwd=work, env=env, check=True)
        subprocess.run([*command, "export", f"{NAME}.ipynb"], cwd=work, env=env, check=True)
        for made in (f"{NAME}.ipynb", f"{NAME}.hotclaude.jsonl"):
            assert folder not in (work / made).read_text()
            shutil.copy(work / made, HERE / made)


if __name__ == "__main__":
    main()
