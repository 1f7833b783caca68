"""The values that a user can choose from: of `rerun`, `mode` and `pace`."""

from __future__ import annotations

RERUNS = ("fork", "append")
MODES = ("none", "once", "new_episodes", "all", "off")
PACES = ("instant", "recorded")
