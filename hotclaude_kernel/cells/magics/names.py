"""The names of the `%` lines and of the cell magics."""

from __future__ import annotations

# The function of each magic, as `module.function` in this room. `%help` keeps this order.
MAGICS: dict[str, str] = {
    "model": "settings.model",
    "effort": "settings.effort",
    "system": "settings.system",
    "cwd": "settings.cwd",
    "tools": "settings.tools",
    "permission-mode": "settings.permission_mode",
    "revoke": "status.revoke",
    "attach": "settings.attach",
    "params": "settings.params",
    "record": "settings.record",
    "tree": "tree.tree",
    "branches": "tree.branches",
    "goto": "tree.goto",
    "fork": "tree.fork",
    "checkout": "tree.checkout",
    "checkpoint": "tree.checkpoint",
    "rerun": "tree.rerun",
    "rewind-files": "tree.rewind_files",
    "new": "tree.new",
    "compact": "tree.compact",
    "aside": "tree.aside",
    "context": "status.context",
    "budget": "status.budget_",
    "pool": "status.pool",
    "status": "status.status",
    "clear": "settings.clear",
    "help": "registry.help_",
}

# The same for what begins with `%%` and stands on the first line of a cell.
CELL_MAGICS: dict[str, str] = {
    "params": "settings.params_cell",
    "system": "settings.system_cell",
    "refresh": "settings.refresh_cell",
}

# For each cell magic, whether it takes the rest of the cell; if not, the rest is a usual cell.
TAKES_REST = {"params": True, "system": True, "refresh": False}
