"""The shape of the package: which room may know which, what a room shows, what a start loads."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import hotclaude_kernel

PACKAGE = Path(hotclaude_kernel.__file__).parent
GUIDE = PACKAGE.parent / "DEVELOPMENT.md"
TESTS = Path(__file__).parent

#: From left to right; a module imports from its own room and from rooms on floors to its left.
#: Rooms on one floor don't know each other.
FLOORS = (
    ("__init__", "errors"),
    ("claude",),
    ("turns",),
    ("record", "page", "python"),
    ("pool", "questions"),
    ("conversation",),
    ("experiments",),
    ("widgets",),
    ("cells",),
    ("kernel", "ipython"),
    ("notebooks",),
    ("cli",),
    ("__main__",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
#: A room beside the house: it knows nothing of it, and only the command line knows it.
LEAF = "modelserver"

MOST_LINES = 450
MOST_LINES_OF_A_TEST = 600
MOST_MODULES = 14


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def named(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def dotted(path: Path) -> str:
    """The module's name inside the package; that of a folder for its `__init__`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and parts[1:] else parts)


def room_of(name: str) -> str:
    return name.partition(".")[0]


def imported_by(source: str, path: Path) -> set[tuple[str, str]]:
    """The modules of the package that this one imports, for types only or not, and the names."""
    package = ["hotclaude_kernel", *path.relative_to(PACKAGE).parent.parts]
    found: set[tuple[str, str]] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {(alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            found |= {_source(origin, alias.name) for alias in node.names}
    ours = {(name.removeprefix("hotclaude_kernel"), what) for name, what in found if _ours(name)}
    return {(name.removeprefix(".") or "__init__", what) for name, what in ours}


def _ours(name: str) -> bool:
    return name.partition(".")[0] == "hotclaude_kernel"


def _source(origin: str, name: str) -> tuple[str, str]:
    """What `from origin import name` imports: a module, or a name of one."""
    at = PACKAGE.parent.joinpath(*origin.split("."), name)
    is_module = at.is_dir() or at.with_suffix(".py").exists()
    return (f"{origin}.{name}", "") if is_module else (origin, name)


def allowed(importer: str, imported: str) -> bool:
    mine, theirs = room_of(importer), room_of(imported)
    if mine == theirs:
        return True
    if LEAF in (mine, theirs):
        return mine == "cli"
    return FLOOR[theirs] < FLOOR[mine]


def rooms() -> list[Path]:
    """The folders that hold modules, the package's own left out."""
    return sorted({path.parent for path in modules()} - {PACKAGE})


class TestReadingImports:
    """The reader below all that follows."""

    @pytest.mark.parametrize(
        ("source", "found"),
        [
            ("from . import session", {("claude.session", "")}),
            ("from .. import __version__", {("__init__", "__version__")}),
            ("from ..turns.turn import Turn", {("turns.turn", "Turn")}),
            ("from hotclaude_kernel.turns.turn import Turn", {("turns.turn", "Turn")}),
            ("from hotclaude_kernel.turns import turn", {("turns.turn", "")}),
            ("import hotclaude_kernel.turns.turn as t", {("turns.turn", "")}),
            ("import hotclaude_kernel", {("__init__", "")}),
            ("def f():\n    from .session import Session", {("claude.session", "Session")}),
            ("if TYPE_CHECKING:\n    from ..errors import Crashed", {("errors", "Crashed")}),
            ("import os.path\nfrom json import dumps", set()),
        ],
    )
    def test_every_way_to_import_is_seen(self, source: str, found: set[tuple[str, str]]) -> None:
        assert imported_by(source, PACKAGE / "claude" / "x.py") == found

    @pytest.mark.parametrize(
        ("importer", "imported", "may"),
        [
            ("turns.turn", "claude.events", True),
            ("claude.session", "turns.turn", False),
            ("record.store", "page.parts", False),
            ("claude.session", "claude.transport", True),
            ("cli.lab", "modelserver", True),
            ("kernel.app", "modelserver", False),
            ("modelserver.demo", "errors", False),
        ],
    )
    def test_the_rule_tells_left_from_right(self, importer: str, imported: str, may: bool) -> None:
        assert allowed(importer, imported) is may


class TestRooms:
    def test_every_module_is_in_a_room(self) -> None:
        assert {room_of(dotted(path)) for path in modules()} <= {*FLOOR, LEAF}

    def test_imports_go_to_the_left_only(self) -> None:
        upward = {
            (dotted(path), name)
            for path in modules()
            if path != PACKAGE / "__init__.py"  # the public door opens on every room
            for name, _ in imported_by(path.read_text(), path)
            if not allowed(dotted(path), name)
        }
        assert not upward

    def test_inside_a_room_there_is_no_circle(self) -> None:
        graph = {
            dotted(path): {name for name, _ in imported_by(path.read_text(), path)}
            for path in modules()
            if path != PACKAGE / "__init__.py"
        }
        TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle

    def test_no_private_name_is_used_outside_its_room(self) -> None:
        assert not {named(path): used for path in modules() if (used := foreign_private(path))}

    @pytest.mark.parametrize("room", rooms(), ids=named)
    def test_the_sign_at_the_door_is_a_docstring_and_nothing_else(self, room: Path) -> None:
        (only,) = ast.parse((room / "__init__.py").read_text()).body
        assert isinstance(only, ast.Expr)
        assert isinstance(only.value, ast.Constant)

    def test_the_guides_table_shows_the_signs(self) -> None:
        table = dict(re.findall(r"^\| `([\w/]+)` \| (.+?) \|$", GUIDE.read_text(), re.MULTILINE))
        assert table == {named(room): sign(room) for room in rooms()}

    @pytest.mark.parametrize("room", rooms(), ids=named)
    def test_a_room_is_not_too_large_to_know(self, room: Path) -> None:
        assert len([path for path in room.glob("*.py") if path.stem != "__init__"]) <= MOST_MODULES

    def test_no_module_is_too_long_to_read(self) -> None:
        lines = {named(path): len(path.read_text().splitlines()) for path in modules()}
        assert not {name: count for name, count in lines.items() if count > MOST_LINES}

    def test_no_test_module_is_too_long_to_read(self) -> None:
        lines = {path: len(path.read_text().splitlines()) for path in TESTS.rglob("*.py")}
        assert lines[Path(__file__)] > 200  # they are counted
        assert not {path for path, count in lines.items() if count > MOST_LINES_OF_A_TEST}


def foreign_private(path: Path) -> set[str]:
    """The private names of other rooms that a module imports, or reaches through a module."""
    tree, here = ast.parse(path.read_text()), room_of(dotted(path))
    imports = imported_by(path.read_text(), path)
    foreign = {name for name, what in imports if not what and room_of(name) != here}
    last = {name.rpartition(".")[2] for name in foreign}
    found = {what for name, what in imports if room_of(name) != here and _private(what)}
    return found | {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if node.value.id in last and _private(node.attr)
    }


def _private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def sign(room: Path) -> str:
    """The first line of a room's docstring."""
    docstring = ast.get_docstring(ast.parse((room / "__init__.py").read_text()))
    return (docstring or "").splitlines()[0]


def loaded_by(module: str) -> set[str]:
    """All that a fresh interpreter has loaded once it has imported a module of ours."""
    program = f"import sys, {module}; print('\\n'.join(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return set(run.stdout.split())


class TestWhatAStartLoads:
    def test_the_process_is_spawned_before_anything_heavy_is_imported(self) -> None:
        loaded = loaded_by("hotclaude_kernel.kernel.startup")
        assert "hotclaude_kernel.errors" in loaded
        heavy = {"ipykernel", "IPython", "asyncio", "dataclasses", "typing", "pathlib", "shutil"}
        assert not loaded & heavy

    def test_a_kernel_loads_nothing_that_it_needs_only_later_or_never(self) -> None:
        loaded = loaded_by("hotclaude_kernel.kernel.kernel")
        assert "ipykernel" in loaded
        # IPython itself imports `pygments` and its token and style names, some 3 ms; the costly
        # parts of it, like the rest here, come with the first answer or not at all.
        late = {
            "markdown_it",
            "linkify_it",
            "mdit_py_plugins",
            "pygments.lexers",
            "pygments.lexer",
            "pygments.formatters",
            "nbconvert",
            "numpy",
            "pandas",
            "matplotlib",
            "claude_agent_sdk",
            "debugpy",
            "ipywidgets",
        }
        assert not loaded & late

    def test_the_command_lines_model_server_is_not_loaded_by_a_kernel(self) -> None:
        loaded = loaded_by("hotclaude_kernel.kernel.kernel")
        assert not any(name.startswith(f"hotclaude_kernel.{LEAF}") for name in loaded)
