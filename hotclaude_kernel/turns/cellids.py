"""The ids that front ends give to cells: which of them last, and which cell has one that does not.

JupyterLab and Notebook send the ids in the notebook file, and these last. VS Code sends the address
of the cell in its window, which it numbers anew at each opening. Notebooks before nbformat 4.5 and
text notebooks hold no ids, so their front ends make new ones at each opening. A cell whose id does
not last has a name in the kernel that is never recorded; it is recognised by its prompt.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..claude.frames import whole
from .tree import SNIPPET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .tree import Branches, Node

VSCODE = "vscode-notebook-cell"
PASSING = "passing:"  # the first letters of our names for cells whose ids do not last
LONGEST = 4096  # nbformat's ids have at most 64 characters, VS Code's hold the notebook's path
ON_DISK = (b"file", b"vscode-remote")  # the schemes in VS Code's ids of notebooks that are files

UNKNOWN = "Cell ids do not last here: a cell whose prompt was changed is taken for a new one"


def taken(value: object) -> str | None:
    """Return a cell id out of a request's metadata; `None` if it can't be one."""
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST:
        return None
    return whole(value)


def lasting(cell_id: str | None) -> str | None:
    """Return a cell id if its form is that of one that lasts, else `None`."""
    if cell_id is None or cell_id.startswith((f"{VSCODE}:", PASSING)):
        return None
    return cell_id


def path_of(cell_id: str) -> str | None:
    """Return the notebook's absolute path in a VS Code id; `None` if it is not a file's."""
    from base64 import urlsafe_b64decode
    from urllib.parse import unquote, urlsplit

    try:
        address = urlsplit(cell_id)
        # The fragment is a number and the scheme of the notebook's own address: W0s<base64>.
        _, _, encoded = unquote(address.fragment).partition("s")
        if address.scheme != VSCODE or urlsafe_b64decode(encoded) not in ON_DISK:
            return None
    except ValueError:
        return None
    path = unquote(address.path)
    if path[:1] == "/" and path[1:2].isalpha() and path[2:3] == ":":
        return path[1:]  # /c:/Users
    return path if path.startswith("/") else None


def is_file(path: str) -> bool:
    """Return whether a path, which may be anything, is that of a file."""
    return os.path.isfile(path)  # noqa: PTH113 - `Path.is_file` raises if a name is too long


def is_gone(path: str) -> bool:
    """Return whether nothing lies at a path; not if that can't be seen."""
    try:
        os.stat(path)  # noqa: PTH116 - as above
    except OSError as error:
        return error.errno in (errno.ENOENT, errno.ENOTDIR)
    except ValueError:  # not a path
        return True
    return False


def ids_in(notebook: str) -> set[str] | None:
    """Return the ids of the cells in a notebook file, empty if it can't be read.

    Return `None` if its cells have no ids that last: in a text notebook, or before nbformat 4.5.
    """
    if not notebook.endswith(".ipynb"):
        return None if is_file(notebook) else set()
    try:
        nb = json.loads(Path(notebook).read_bytes())
        ids = {cell["id"] for cell in nb["cells"] if isinstance(cell.get("id"), str)}
        old = (nb.get("nbformat", 4), nb.get("nbformat_minor", 5)) < (4, 5)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return set()
    return None if old and not ids else ids


class Passing:
    """The cells whose ids do not last, by the client that sends them.

    `full` returns the whole prompt of a turn.
    """

    def __init__(self, full: Callable[[Node], str]) -> None:
        self._full = full
        self._names: dict[tuple[str, str], str] = {}
        self._known: dict[str, set[str]] = {}  # the cells that a client has run, by their names
        self._told: set[str] = set()  # the clients that were told `UNKNOWN`

    def name(self, cell_id: str, client: str, prompt: str, tree: Branches) -> tuple[str, str]:
        """Return the name of the cell that sends a prompt, and a notice, mostly empty.

        A cell that a client runs for the first time is that of the turn with its prompt, if there
        is only one that it can be. Then the turn in the tree gets its name.
        """
        # VS Code counts anew in each window; ids from other front ends are random.
        key = ("" if lasting(cell_id) else client, cell_id)
        known = self._known.setdefault(client, set())
        notice = ""
        if key not in self._names:
            self._names[key], notice = self._recognised(client, prompt, tree, known)
        known.add(self._names[key])
        return self._names[key], notice

    def _recognised(
        self, client: str, prompt: str, tree: Branches, known: set[str]
    ) -> tuple[str, str]:
        new = f"{PASSING}{len(self._names) + 1}"
        unclaimed = [node for node in tree.path if node.cell_id not in known]
        found = list(self._with(prompt, unclaimed))
        # A turn that followed before the conversation was rewound replays without being recognised.
        head = tree.head.id if tree.head else None
        following = [node for node in tree.nodes.values() if node.parent == head]
        next_ones = [node for node in self._with(prompt, following) if node.cell_id not in known]
        if len(found) == 1 and not next_ones:
            (turn,) = found
            return tree.named(turn, turn.cell_id or new), ""
        if found:
            return new, _ambiguous([*found, *next_ones], tree)
        if next_ones or not unclaimed or client in self._told:
            return new, ""
        self._told.add(client)
        return new, UNKNOWN

    def _with(self, prompt: str, nodes: Iterable[Node]) -> Iterable[Node]:
        """Yield the turns that asked a prompt."""
        for node in nodes:
            if node.prompt == prompt[:SNIPPET] and (
                len(prompt) < SNIPPET or self._full(node) == prompt
            ):
                yield node


def _ambiguous(nodes: list[Node], tree: Branches) -> str:
    *others, last = [str(number) for number in sorted({node.number for node in nodes})]
    turns = f"turns {', '.join(others)} and {last} ask"
    place = f"it follows turn {tree.head.number}" if tree.head else "it is the first turn"
    return f"Cell ids do not last here, and {turns} this: the cell is taken for a new one, {place}"
