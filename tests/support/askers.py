"""An asker for tests that are not about trust."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hotclaude_kernel.page.parts import Data


class Bystander:
    """Trusts no folder; `about` has what it was asked about and offered, as plain text."""

    trusts = False

    def __init__(self) -> None:
        self.about: list[str] = []

    async def trust(self, about: Data, show: Callable[[Data], None]) -> bool:
        self.about.append(about["text/plain"])
        return self.trusts

    def offer(
        self, line: Data, show: Callable[[Data], None], trust: Callable[[], Awaitable[None]]
    ) -> None:
        self.about.append(line["text/plain"])

    async def withdraw(self) -> None:
        pass
