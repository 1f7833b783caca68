"""The shape of the package: which module may know which, how large one is, what a start loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import hotclaude_kernel

PACKAGE = Path(hotclaude_kernel.__file__).parent

#: From the bottom to the top. A module imports from those before it only.
ORDER = (
    "__init__",
    "errors",
    "resuming",
    "launching",
    "protocol",
    "parsing",
    "recording",
    "turn",
    "keys",
    "budget",
    "blocks",
    "markdown",
    "transport",
    "session",
    "replaying",
    "outcome",
    "stall",
    "tree",
    "treeview",
    "rebuilding",
    "schema",
    "database",
    "store",
    "archive",
    "cassette",
    "record",
    "misses",
    "orphans",
    "transcript",
    "warm",
    "pool",
    "standing",
    "conversation",
    "document",
    "parts",
    "sections",
    "cards",
    "page",
    "display",
    "asking",
    "buttons",
    "attachments",
    "lines",
    "parameters",
    "settingmagics",
    "treemagics",
    "lifemagics",
    "magics",
    "editing",
    "serving",
    "configured",
    "cell",
    "kernel",
    "app",
    "exporter",
    "latency",
    "leaks",
    "auditing",
    "recordcommands",
    "headless",
    "papermill",
    "cli",
    "__main__",
)

#: A package beside the order: it knows nothing of the kernel, and only the command line knows it.
LEAF = "modelserver"

MOST_LINES = 450


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    """The module's name inside the package: `turn`, or `modelserver` for all of a subpackage."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_by(source: str, path: Path) -> set[str]:
    """The modules of the package that this one imports, for types only or not."""
    package = ["hotclaude_kernel", *path.relative_to(PACKAGE).parent.parts]
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {inside(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            if origin == "hotclaude_kernel":
                found |= {submodule(alias.name) for alias in node.names}
            else:
                found.add(inside(origin))
    return found - {""}


def inside(name: str) -> str:
    """The part of a dotted name that is ours; empty where it is not."""
    top, _, rest = name.partition(".")
    if top != "hotclaude_kernel":
        return ""
    return rest.partition(".")[0] or "__init__"


def submodule(name: str) -> str:
    """What `from hotclaude_kernel import name` imports: a module, or something of the package."""
    exists = (PACKAGE / f"{name}.py").exists() or (PACKAGE / name).is_dir()
    return name if exists else "__init__"


class TestReadingImports:
    """The reader below all that follows."""

    @pytest.mark.parametrize(
        ("source", "names"),
        [
            ("from . import protocol", {"protocol"}),
            ("from . import __version__, protocol", {"__init__", "protocol"}),
            ("from .turn import Turn", {"turn"}),
            ("from hotclaude_kernel.turn import Turn", {"turn"}),
            ("from hotclaude_kernel import turn", {"turn"}),
            ("import hotclaude_kernel.turn as t", {"turn"}),
            ("import hotclaude_kernel", {"__init__"}),
            ("from .modelserver.script import Script", {"modelserver"}),
            ("def f():\n    from .kernel import App", {"kernel"}),
            ("if TYPE_CHECKING:\n    from .turn import Turn", {"turn"}),
            ("import os.path\nfrom json import dumps", set()),
        ],
    )
    def test_every_way_to_import_is_seen(self, source: str, names: set[str]) -> None:
        assert imported_by(source, PACKAGE / "x.py") == names

    def test_dots_count_from_where_the_module_stands(self) -> None:
        path = PACKAGE / LEAF / "x.py"
        assert imported_by("from .. import turn", path) == {"turn"}
        assert imported_by("from ..turn import Turn", path) == {"turn"}
        assert imported_by("from . import script", path) == {LEAF}


class TestLayers:
    def test_every_module_is_in_the_order(self) -> None:
        assert {name_of(path) for path in modules()} <= {*ORDER, LEAF}

    @pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
    def test_imports_run_strictly_downward(self, path: Path) -> None:
        name = name_of(path)
        known = imported_by(path.read_text(), path)
        if name == LEAF:
            assert known <= {LEAF}
        else:
            below = {*ORDER[: ORDER.index(name)]} | ({LEAF} if name == "cli" else set())
            assert known <= below

    @pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
    def test_no_module_is_too_long_to_read(self, path: Path) -> None:
        assert len(path.read_text().splitlines()) <= MOST_LINES


def loaded_by(module: str) -> set[str]:
    """All that a fresh interpreter has loaded once it has imported a module of ours."""
    program = f"import sys, {module}; print('\\n'.join(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return set(run.stdout.split())


class TestWhatAStartLoads:
    def test_the_process_is_spawned_before_anything_heavy_is_imported(self) -> None:
        loaded = loaded_by("hotclaude_kernel.launching")
        assert "hotclaude_kernel.errors" in loaded
        heavy = {"ipykernel", "IPython", "asyncio", "dataclasses", "typing", "pathlib", "shutil"}
        assert not loaded & heavy

    def test_a_kernel_loads_nothing_that_it_needs_only_later_or_never(self) -> None:
        loaded = loaded_by("hotclaude_kernel.kernel")
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
        loaded = loaded_by("hotclaude_kernel.kernel")
        assert not any(name.startswith(f"hotclaude_kernel.{LEAF}") for name in loaded)
