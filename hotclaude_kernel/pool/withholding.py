"""Which processes are started without their folder, as long as the user does not trust it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..claude.folders import Folders
from ..claude.trust import held_back, reads_folder, sources_of

if TYPE_CHECKING:
    from ..claude.folders import Look
    from ..turns.settings import Settings


class Withholding:
    """What the processes of one kernel are started without; decided anew for each start."""

    def __init__(self, folders: Folders | None = None) -> None:
        self.folders = folders or Folders()
        self._here = os.curdir

    def folder(self, settings: Settings) -> str:
        """Return the folder in which a process works under these settings.

        If the kernel's own was deleted, it is the path that it had.
        """
        if settings.cwd:
            return settings.cwd
        with contextlib.suppress(FileNotFoundError):
            self._here = str(Path.cwd())
        return self._here

    def held_back(self, settings: Settings) -> bool:
        """Return whether a process that starts under these settings now must leave its folder out.

        If the settings leave it out themselves, nothing more is withheld.
        """
        return reads_folder(_sources(settings)) and self.folders.withheld(self.folder(settings))

    def arguments(self, settings: Settings) -> tuple[str, ...]:
        """Return the arguments that leave the folder out; none if it is trusted."""
        if not self.held_back(settings):
            return ()
        look = self.folders.seen(self.folder(settings))
        return held_back(_sources(settings), look.servers if look else "")

    def effective(self, settings: Settings) -> Settings:
        """Return settings that say what a process reads that starts under `settings` now."""
        if not self.held_back(settings):
            return settings
        return settings.changed(setting_sources=("user",))

    def look(self, settings: Settings) -> Look:
        """Look at the folder, and decide anew whether it is left out; blocks."""
        return self.folders.look(self.folder(settings))


def _sources(settings: Settings) -> tuple[str, ...] | None:
    sources = sources_of(settings.setting_sources, settings.extra_args)
    return None if sources is None else tuple(sources)
