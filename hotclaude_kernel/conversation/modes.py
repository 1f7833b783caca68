"""The names of the modes that a user chooses from."""

from __future__ import annotations

RERUNS = ("fork", "append")
MODES = ("none", "once", "new_episodes", "all", "off")
PACES = ("instant", "recorded")
