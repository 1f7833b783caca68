"""Whether a folder's own settings and commands may act: asked before the first process that may.

A replayed turn needs no process, so it asks nothing. If nobody can be asked, the folder is left
out.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..claude import trust
from ..errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..claude.folders import Look
    from ..pool.pool import Pool
    from ..pool.warm import Place
    from ..turns.settings import Settings


class Consent:
    """Asks the user about folders. `asks` and `tells` are set for each cell.

    `asks` gets what the folder brings and the `/command` that wants it, if any; it is `None` if
    nobody can be asked. `tells` says once that a folder is left out.
    """

    def __init__(self, pool: Pool, notice: Callable[[str], None]) -> None:
        self.asks: Callable[[Look, str], Awaitable[bool]] | None = None
        self.tells: Callable[[Look], None] = lambda look: None
        self._pool = pool
        self._notice = notice
        self._folders = pool.withholding.folders
        self._declined: set[str] = set()
        self._told: set[str] = set()

    async def settle(self, text: str, settings: Settings, place: Place) -> bool:
        """Ask about the folder of a prompt if it must be asked; return whether trust has changed.

        `place` is one whose process knows the commands that are not the folder's. Raises
        `UsageError` if the prompt is a `/command` of the folder, and that is not trusted.
        """
        self._pool.fit_trust()
        look = self._folders.seen(self._pool.withholding.folder(settings))
        if look is None or not self._pool.withholding.held_back(settings):
            return False
        command = await self._command(text, look, place)
        if self._asks_about(look, command):
            assert self.asks is not None
            if await self.asks(look, command):
                if why := await self.accept(look):
                    self._notice(f"The folder is trusted in this kernel only: {why}")
                self._pool.fit_trust()
                return True
            self._declined.add(look.digest)
        elif look.acts or look.texts:
            self._tell_once(look)
        if command:
            raise UsageError(
                f"/{command} is a command of this folder, which is not trusted",
                hint="Nothing was sent. Run the cell again and choose *Trust this folder*, or run "
                "`hotclaude trust` in the folder.",
            )
        return False

    async def _command(self, text: str, look: Look, place: Place) -> str:
        """Return the command of the folder that a prompt calls, empty if it calls none."""
        word = text.split(maxsplit=1)[0] if text.strip() else ""
        if not word.startswith("/") or word[1:] not in look.commands:
            return ""
        async with self._pool.lease(place) as warm:
            greeting = warm.session.greeting
            others = greeting.commands if greeting else ()
        return "" if any(other.get("name") == word[1:] for other in others) else word[1:]

    def _asks_about(self, look: Look, command: str) -> bool:
        if self.asks is None or self._folders.said.kind == trust.NEVER or look.home:
            return False
        return bool(command) or (bool(look.acts) and look.digest not in self._declined)

    def _tell_once(self, look: Look) -> None:
        key = f"{look.ground.folder}\0{look.digest}"
        if key not in self._told and self._folders.said.kind != trust.NEVER:
            self._told.add(key)
            if not look.home:
                self.tells(look)

    async def accept(self, look: Look) -> str:
        """Trust a folder with what was seen of it; return why it is not kept, if it is not."""
        why = await asyncio.to_thread(self._folders.accept, look)
        await asyncio.to_thread(self._folders.look, look.ground.asked)
        return why
