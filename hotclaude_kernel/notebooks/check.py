"""Checking whether a run of all cells, from the top, would reproduce a notebook."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cells import lines, parameters
from ..cells.attachments import collect, named_image
from ..errors import HotClaudeError
from ..turns.prompt import Prompt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..turns.turn import Recorded
    from .file import CodeCell, Notebook
    from .verify import Sources


STALE = "Run the cells from here on once more, or all of them."
# The `%` lines that move the position: the next cell need not follow the one above.
MOVING = frozenset({"goto", "checkout"})


def unreproduced(notebook: Notebook, sources: Sources) -> Iterator[str]:
    """Yield each reason why a run of all cells would not reproduce the notebook, with its cell."""
    walk = _Walk(notebook, sources)
    for cell in notebook.cells:
        try:
            said = list(walk.step(cell))
        except HotClaudeError as error:
            said = [error.message]
        yield from (f"cell {cell.number}: {why}" for why in said)


class _Walk:
    """Goes through the cells in their order, as a run of all of them would."""

    def __init__(self, notebook: Notebook, sources: Sources) -> None:
        self._folder = notebook.path.resolve().parent
        self._sources = sources
        self._values: dict[str, Any] = {}
        self._last: str | None = None  # the node that the next cell should follow
        self._seen: set[str | None] = {None}
        self._moved = False

    def step(self, cell: CodeCell) -> Iterator[str]:
        """Yield the reasons of the next cell. Raises what its `%` lines and images raise."""
        written, text = lines.split(cell.source)
        said = {line.name.replace("_", "-"): line.argument for line in written if not line.ask}
        self._values |= parameters.declared(cell.source)
        if "new" in said:
            self._last, self._moved = None, False
        self._moved |= bool(said.keys() & MOVING)
        if said.get("cwd"):
            self._folder = self._folder / Path(said["cwd"]).expanduser()
        if "compact" in said:
            yield from self._turn(cell, Prompt(text=f"/compact {said['compact']}".strip()))
        elif text.strip():
            text = parameters.render(text, self._values)
            named = [named_image(line.argument) for line in written if line.name == "attach"]
            prompt, images = collect(text, self._folder, named)
            yield from self._turn(cell, Prompt(text=prompt, attachments=images))

    def _turn(self, cell: CodeCell, prompt: Prompt) -> Iterator[str]:
        if not cell.about:
            yield "it has no answer that is recorded"
            return
        node = str(cell.about.get("node"))
        turn = self._sources.turn(node)
        if turn is None:
            yield f"its turn {node[:12]} is not recorded"
        else:
            yield from self._differing(turn, prompt)
            if turn.node.parent not in (self._seen if self._moved else {self._last}):
                yield f"it does not follow the cell above. {STALE}"
        self._last, self._moved = node, False
        self._seen.add(node)

    def _differing(self, turn: Recorded, prompt: Prompt) -> Iterator[str]:
        if _plain(turn.prompt.text) != _plain(prompt.text):
            yield "it was edited since it was answered"
        if [i.data for i in turn.prompt.attachments] != [i.data for i in prompt.attachments]:
            yield "its images are others than when it was answered"
        if self._sources.replayed(turn.node.key) != turn.node.id:
            yield "another answer replays than the one that it shows"


def _plain(prompt: str) -> str:
    return prompt.replace("\r\n", "\n").removesuffix("\n")
