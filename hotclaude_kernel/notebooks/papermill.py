"""Parameters for papermill: its `-p` writes a `%%params` cell.

papermill has entry points for engines but none for translators, and it loads every engine when it
is imported. So this module is registered as an engine (papermill's own), and registers the
translator when it is loaded. Import papermill first: the other order is a circular import.
"""

from __future__ import annotations

import json
from typing import Any

from papermill.engines import NBClientEngine
from papermill.models import Parameter
from papermill.translators import papermill_translators

from ..cells import parameters
from ..errors import UsageError

__all__ = ["NBClientEngine", "Translator"]


class Translator:
    """Writes and reads `%%params` cells for papermill, by the interface of its translators."""

    @staticmethod
    def codify(values: dict[str, Any], comment: str = "") -> str:
        """Return the source of the cell that papermill inserts below that tagged `parameters`."""
        return parameters.cell_of(values)

    @staticmethod
    def inspect(cell: Any) -> list[Any]:
        """Return the parameters that the tagged cell sets; papermill warns of all others."""
        try:
            declared = parameters.declared(cell["source"])
        except UsageError:
            return []  # running the cell shows the error
        return [
            Parameter(name, type(value).__name__, json.dumps(value, ensure_ascii=False), "")
            for name, value in declared.items()
        ]


for name in ("hotclaude", "markdown"):  # by the kernel's name, or else by its language
    papermill_translators.register(name, Translator)
