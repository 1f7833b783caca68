"""What papermill has to know of us: how `-p` becomes a cell.

papermill has entry points for engines and none for translators, but it loads every engine as it is
imported. So this module is registered as one, and registers the translator as it loads; the engine
that it names is papermill's own. (Importing it before papermill would go round in a circle.)
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
    """Cells of parameters, as papermill writes and reads them."""

    @staticmethod
    def codify(values: dict[str, Any], comment: str = "") -> str:
        """Return the source of the cell that papermill puts below the one tagged `parameters`."""
        return parameters.cell_of(values)

    @staticmethod
    def inspect(cell: Any) -> list[Any]:
        """Return what the tagged cell sets; papermill warns of any other name."""
        try:
            declared = parameters.declared(cell["source"])
        except UsageError:
            return []  # it is said where the cell is run
        return [
            Parameter(name, type(value).__name__, json.dumps(value, ensure_ascii=False), "")
            for name, value in declared.items()
        ]


for name in ("hotclaude", "markdown"):  # the kernel's name, and its language under another name
    papermill_translators.register(name, Translator)
