"""Questions on the cell's input line (`input_request`), for consoles."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ..page.text import marked, visible
from .decide import Choice, Verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..claude.frames import Frame
    from ..claude.session import PermissionRequest
    from ..page.parts import Data
    from .rules import Rule


POLL_S = 0.03  # between two looks at the stdin socket
YES = ("y", "yes", "allow")
LASTS = ("s", "session", "always")
NO = ("", "n", "no", "deny")


class LineAsker:
    """Asks on the standard input of a cell."""

    def __init__(self, kernel: Any, *, parent: Frame, ident: Any) -> None:
        self._kernel = kernel
        self._parent = parent
        self._ident = ident

    async def permission(
        self, request: PermissionRequest, about: str, rule: Rule | None
    ) -> Verdict:
        """Ask in one line; the call is on the page above."""
        # The page shows the whole call; a line here could show only a part of it.
        name = visible(request.tool_name)
        reasons = [visible(text) for text in (request.blocked_path, request.reason) if text]
        why = f" ({'; '.join(reasons)})" if reasons else ""
        session = f"s = allow {rule.text} for this session, " if rule else ""
        question = f"Allow {name}, as shown above{why}? [y = once, {session}n, or why not] "
        verdict = await self._verdict(question)
        while verdict.lasts and not rule:
            verdict = await self._verdict(f"It can't be allowed for the session. {question}")
        return verdict

    async def plan(self, plan: str) -> Verdict:
        """Ask in one line; the plan is on the page above."""
        return await self._verdict("Carry out this plan? [y / n / what to change] ")

    async def choice(self, choice: Choice) -> str:
        """Ask with numbered options; the answer is a number, several of them, or any text."""
        listed = "  ".join(f"{n}) {visible(label)}" for n, label in enumerate(choice.labels, 1))
        several = " (several: 1,2)" if choice.several else ""
        said = (
            await self._line(f"Claude asks: {visible(choice.question)}  {listed}{several}  > ")
        ).strip()
        return _chosen(said, choice)

    async def trust(self, about: Data, show: Callable[[Data], None]) -> bool:
        """Ask in one line; what the folder brings is on the page above."""
        said = await self._line("Trust this folder, with all that is listed above? [y / n] ")
        return said.strip().lower() in YES

    def offer(
        self, line: Data, show: Callable[[Data], None], trust: Callable[[], Awaitable[None]]
    ) -> None:
        """Do nothing: the line is shown, and a console has no buttons."""

    async def withdraw(self) -> None:
        """Do nothing: nothing was offered."""

    async def _verdict(self, question: str) -> Verdict:
        said = (await self._line(question)).strip()
        if said.lower() in (*YES, *LASTS):
            return Verdict(allow=True, lasts=said.lower() in LASTS)
        return Verdict(allow=False, reason="" if said.lower() in NO else said)

    async def _line(self, prompt: str) -> str:
        """Ask the front end for a line of input, and keep the event loop running meanwhile.

        ipykernel's `raw_input` would block the loop, and so the process's stream. An answer to an
        earlier question is dropped: an interrupt leaves that question's input box on the page.
        """
        socket, session = self._kernel.stdin_socket, self._kernel.session
        content = {"prompt": marked(prompt), "password": False}
        sent = session.send(socket, "input_request", content, self._parent, ident=self._ident)
        while True:
            if socket.poll(0):
                _, reply = session.recv(socket)
                if reply and _answers(reply, sent["header"]["msg_id"]):
                    return str(reply["content"]["value"])
            await asyncio.sleep(POLL_S)


def _answers(reply: Frame, request_id: str) -> bool:
    # jupyter console sends no parent; any other front end names the request that it answers.
    return bool(reply["parent_header"].get("msg_id", request_id) == request_id)


def _chosen(said: str, choice: Choice) -> str:
    picked = said.replace(" ", "").split(",") if choice.several else [said]
    if picked and all(p.isdecimal() and 1 <= int(p) <= len(choice.labels) for p in picked):
        return ", ".join(choice.labels[int(p) - 1] for p in picked)
    return said
