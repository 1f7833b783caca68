"""Which cell ids last, what VS Code's tell, and which cell has one that does not last."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.turns import cellids
from hotclaude_kernel.turns.cellids import UNKNOWN, Passing
from hotclaude_kernel.turns.tree import SNIPPET, Branches, Node

if TYPE_CHECKING:
    from pathlib import Path

LONG = "x" * SNIPPET


def vscode(path: str, number: int = 0, scheme: str = "file") -> str:
    encoded = urlsafe_b64encode(scheme.encode()).decode()
    return f"vscode-notebook-cell:{path}#W{number}s{encoded}"


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        ("abc", "abc"),
        (vscode("/p/nb.ipynb"), vscode("/p/nb.ipynb")),
        ("", None),
        (None, None),
        (5, None),
        (["a"], None),
        ({"a": 1}, None),
        ("x" * 1_000_000, None),
        ("a\ud800b", "a\ufffdb"),
        ("a\0b", "a\0b"),
    ],
)
def test_what_is_taken_for_an_id(sent: object, taken: str | None) -> None:
    assert cellids.taken(sent) == taken


@pytest.mark.parametrize(
    ("cell_id", "path"),
    [
        (vscode("/p/nb.ipynb"), "/p/nb.ipynb"),
        (vscode("/p/nb.ipynb").replace("==", "%3D%3D"), "/p/nb.ipynb"),
        (vscode("/p/my%20b%C3%BCcher.ipynb?jupyter-notebook"), "/p/my bücher.ipynb"),
        (vscode("/c%3A/Users/me/nb.ipynb"), "c:/Users/me/nb.ipynb"),
        (vscode("//ssh-remote%2Bhost/p/nb.ipynb", scheme="vscode-remote"), "/p/nb.ipynb"),
        (vscode("Untitled-1.ipynb", scheme="untitled"), None),
        (vscode("/p/Untitled-1.ipynb", scheme="untitled"), None),
        (vscode("Untitled-1.ipynb"), None),
        (vscode("Interactive-1.interactive", scheme="vscode-interactive"), None),
        ("vscode-notebook-cell:/p/nb.ipynb", None),
        ("vscode-notebook-cell:/p/nb.ipynb#ch0000001", None),
        ("vscode-notebook-cell:/p/nb.ipynb#W0sé", None),
        ("vscode-notebook-cell://[#W0sZmlsZQ==", None),
        ("vscode-notebook-cell:", None),
        ("file:///p/nb.ipynb#W0sZmlsZQ==", None),
    ],
)
def test_the_path_in_an_id_of_vs_code(cell_id: str, path: str | None) -> None:
    assert cellids.path_of(cell_id) == path
    assert (cellids.lasting(cell_id) is None) == cell_id.startswith("vscode-notebook-cell:")


@pytest.mark.parametrize(
    ("name", "content", "ids"),
    [
        ("new.ipynb", {"nbformat_minor": 5, "cells": [{"id": "a"}, {}]}, {"a"}),
        ("empty.ipynb", {"nbformat_minor": 5, "cells": []}, set()),
        ("old.ipynb", {"nbformat": 4, "nbformat_minor": 4, "cells": [{}]}, None),
        ("old_with_ids.ipynb", {"nbformat_minor": 4, "cells": [{"id": "a"}]}, {"a"}),
        ("odd.ipynb", {"nbformat_minor": "x", "cells": [{"id": 5}]}, set()),
        ("broken.ipynb", "{", set()),
        ("deep.ipynb", "[" * 100_000, set()),
        ("text.md", "# prompts", None),
    ],
)
def test_the_ids_in_a_file(
    tmp_path: Path, name: str, content: object, ids: set[str] | None
) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / name).write_text(text)
    assert cellids.ids_in(str(tmp_path / name)) == ids


@pytest.mark.parametrize("path", ["/nowhere.ipynb", "/nowhere.md", "x" * 5000, "a\0b.ipynb", "a\0"])
def test_a_file_that_can_not_be_read_has_no_ids(path: str) -> None:
    assert cellids.ids_in(path) == set()


# --- recognising ---


def tree(*prompts: str, at: int | None = None) -> Branches:
    """A path of these prompts, and the position after the turn `at`."""
    made = Branches()
    for number, prompt in enumerate(prompts, 1):
        parent = made.head.id if made.head else None
        made.grow(
            Node(id=str(number), parent=parent, number=number, prompt=prompt[:SNIPPET], status="ok")
        )
    made.stand(str(at or len(prompts)) if prompts else None)
    return made


class Page:
    """One opening of a notebook: cells with numbers that are given anew."""

    def __init__(self, branches: Branches, *full: str, passing: Passing | None = None) -> None:
        self.branches = branches
        self.passing = passing or Passing(lambda node: full[node.number - 1])
        self.client = str(id(self))

    def run(self, cell: int, prompt: str) -> tuple[int | None, str]:
        """The number of the turn that the cell is taken to have, and the notice."""
        cell_id = vscode("/p/nb.ipynb", cell)
        name, notice = self.passing.name(cell_id, self.client, prompt, self.branches)
        turn = self.branches.turn_of(name)
        return turn.number if turn else None, notice


SAME = "Cell ids do not last here, and {} this: the cell is taken for a new one, it follows turn {}"


@pytest.mark.parametrize(
    ("branches", "prompt", "turn", "notice"),
    [
        (tree("a", "b", "c"), "c", 3, ""),
        (tree("a", "b", "c"), "a", 1, ""),
        (tree("a", "b", "c"), "changed", None, UNKNOWN),
        (tree("go", "b", "go"), "go", None, SAME.format("turns 1 and 3 ask", 3)),
        (tree("go", "go", "go"), "go", None, SAME.format("turns 1, 2 and 3 ask", 3)),
        (tree("a", "b", "c", at=1), "b", None, ""),  # it comes next: it replays
        (tree("go", "b", "go", at=2), "go", None, SAME.format("turns 1 and 3 ask", 2)),
        (tree(), "a", None, ""),
    ],
)
def test_a_cell_is_recognised_where_only_one_can_be_meant(
    branches: Branches, prompt: str, turn: int | None, notice: str
) -> None:
    assert Page(branches).run(0, prompt) == (turn, notice)


def test_long_prompts_are_compared_to_their_ends() -> None:
    full = (f"{LONG} one", f"{LONG} two")
    assert Page(tree(*full), *full).run(0, f"{LONG} two") == (2, "")
    assert Page(tree(*full), *full).run(0, f"{LONG} three") == (None, UNKNOWN)


def test_a_changed_cell_is_told_once_a_page() -> None:
    page = Page(tree("a", "b"))
    assert [page.run(n, f"new {n}")[1] for n in range(3)] == [UNKNOWN, "", ""]


def test_a_known_cell_keeps_its_turn_when_it_changes() -> None:
    page = Page(tree("a", "b", "c"))
    assert page.run(7, "b") == (2, "")
    assert page.run(7, "another") == (2, "")


def test_a_new_cell_with_the_prompt_of_a_known_one_is_new() -> None:
    page = Page(tree("a", "b"))
    assert page.run(0, "a") == (1, "")
    assert page.run(5, "a")[0] is None


def test_another_window_that_numbers_its_cells_anew_is_another_page() -> None:
    branches = tree("a", "b", "c")
    first = Page(branches)
    assert first.run(0, "a") == (1, "")
    assert first.run(9, "c") == (3, "")
    second = Page(branches, passing=first.passing)
    assert second.run(0, "c") == (3, "")
    assert second.run(9, "a") == (1, "")
    assert first.run(9, "c again") == (3, "")


def test_a_turn_that_has_an_id_that_lasts_keeps_it() -> None:
    branches = tree("a", "b")
    branches.named(branches.path[1], "abc")
    assert Page(branches).run(3, "b") == (2, "")
    assert branches.path[1].cell_id == "abc"
