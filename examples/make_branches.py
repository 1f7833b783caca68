"""Make branches.ipynb: a conversation whose third cell is edited, and which goes on two ways.

`python -m examples.make_branches` runs the real binary on the demonstration model, in a throw-away
home. A saved notebook holds one version of a cell; so here the edited cell stands below the first
six as a cell of its own. It is run under the third cell's id, as a page runs an edited cell.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import nbformat

from hotclaude_kernel.modelserver.demo import demo_model
from hotclaude_kernel.modelserver.server import ModelServer
from tests.support.frontend import open_notebook
from tests.support.machine import told_by

from .make_gallery import LANGUAGE, environment, run

NOTEBOOK = Path(__file__).with_name("branches.ipynb")

TITLE = """# Branches

*Answered by a demonstration model, a small script, not by Claude. The process is the real one.*

Six prompts, then the third is edited and run again: the conversation is rewound to just before it,
and what followed stays as a branch. Made by `make_branches.py`."""

PROMPTS = {
    "c1": "remember that we plan a walk",
    "c2": "remember that it may rain",
    "c3": "remember that we take the train",
    "c4": "what did I ask you to remember?",
    "c5": "remember that we are back by six",
    "c6": "recall",
}
EDITED = "remember that we take the bikes"

EDIT = """## The third cell, edited and run again

In a notebook you edit the cell in place; here the second version stands below the first, so that
both can be seen. The line above the answer says what became of the rest."""

SAME = """The model was sent the same history both times: the requests before and after the edit are
equal in all {size:,} bytes of system prompt, tools and messages, but for the prompt itself. So what
the API has in its prompt cache holds."""

ON = "## It goes on from there"
BACK = "## And back on the branch that was left"


def sent(request: Any) -> bytes:
    """Return what a request holds, without the last prompt and the marks of the cache."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: clean(v) for name, v in value.items() if name != "cache_control"}
        return [clean(item) for item in value] if isinstance(value, list) else value

    kept = {name: request.json[name] for name in ("system", "tools", "messages")}
    text = json.dumps(clean(kept), ensure_ascii=False)
    assert text.count(request.prompt) == 1
    return text.replace(request.prompt, "").encode()


def main() -> None:
    """Run the cells as a person would, compare the requests, and write the notebook."""
    spec = {"name": "hotclaude", "display_name": "Hot Claude", "language": "markdown"}
    made = nbformat.v4.new_notebook(metadata={"kernelspec": spec, "language_info": LANGUAGE})

    def markdown(name: str, text: str) -> None:
        made.cells.append(nbformat.v4.new_markdown_cell(text, id=name))

    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        server = stack.enter_context(ModelServer(demo_model).in_thread())
        env = environment(Path(folder), server.url)
        page = stack.enter_context(open_notebook(env, "--HotClaudeKernel.footer=False"))

        def code(name: str, source: str, under: str = "") -> None:
            cell = nbformat.v4.new_code_cell(source, id=name)
            # A page runs an edited cell under the id of the cell.
            run(page, cell, cell_id=under or name)
            made.cells.append(cell)

        markdown("title", TITLE)
        for name, prompt in PROMPTS.items():
            code(name, prompt)
        before = next(r for r in server.requests if r.prompt == PROMPTS["c3"])
        markdown("edit", EDIT)
        code("c3-edited", EDITED, under="c3")
        after = next(r for r in server.requests if r.prompt == EDITED)
        assert sent(before) == sent(after), "the history is another one"
        markdown("same", SAME.format(size=len(sent(after))))
        markdown("on", ON)
        code("c7", "what did I ask you to remember so far?")
        code("tree", "%tree")
        markdown("back", BACK)
        code("checkout", "%checkout branch-1")
        code("c8", "what did I ask you to remember on this branch?")
        code("tree-2", "%tree")
        code("context", "%context")
    written = nbformat.writes(made)
    found = told_by(written, str(folder))
    assert not found, f"of this machine: {found}"
    NOTEBOOK.write_text(written + "\n")


if __name__ == "__main__":
    main()
