"""Running one cell: its `%` lines first, then its prompt as one turn.

The host (the Jupyter kernel, or a Python notebook) gives a page for the answer and an asker for
questions. It gets an `Outcome` back and makes its own reply of it. Nothing here knows of Jupyter's
messages, sockets or kernels.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct, field

from ..claude.frames import whole
from ..errors import UsageError
from ..page.parts import footer
from ..questions import decide
from ..turns.prompt import Prompt
from . import attachments, parameters
from .lines import refuse_leaving, split
from .magics import registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..claude.folders import Look
    from ..claude.frames import Frame
    from ..claude.session import PermissionRequest
    from ..conversation.conversation import Conversation
    from ..page.base import Page
    from ..questions.decide import Asker
    from ..turns.prompt import Attachment
    from ..turns.turn import Turn
    from .lines import Line
    from .magics.registry import Answer

SHOWN_AGAIN = (
    "Shown again: this cell was answered on another page of this notebook, or on this one before "
    "it was reloaded. Nothing was sent; run it once more to ask again."
)
SAME_AGAIN = "The answer is the same as before: nothing was left, and no branch is made"


class Cell(Struct, frozen=True, kw_only=True):
    """A cell to run.

    `id` is the cell's id in the notebook, `None` if the front end sends none. `client` is the
    session id of the front end that runs the cell; a reloaded browser page has a new one. `stdin`
    says whether the front end can be asked for a line of input.
    """

    code: str
    id: str | None = None
    client: str = ""
    stdin: bool = False


class Outcome(Struct, frozen=True, kw_only=True):
    """The result of a cell.

    `value` is its answer as text, for the history: the turn's text, or the value of the last `%`
    line. `help_pages` are for the front end's pager. `turn` was asked, replayed or shown again by
    the cell; it is `None` if the cell has only `%` lines.
    """

    value: str = ""
    help_pages: tuple[str, ...] = ()
    turn: Turn | None = None


class _Request(Struct):
    """The prompt of a cell, and what its `%` lines have added to it."""

    text: str
    value: str = ""
    help_pages: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    refresh: bool = False


class Cells:
    """Runs the cells of one conversation, one at a time.

    With `footer`, a turn's numbers are shown below its answer.
    """

    def __init__(self, conversation: Conversation, *, footer: bool = True) -> None:
        self.conversation = conversation
        self.footer = footer
        self._shown_to: defaultdict[str, set[str]] = defaultdict(set)  # clients, by a turn's uuid
        self._clients: set[str] = set()  # clients that show the running cell

    async def run(self, cell: Cell, page: Page, asker: Asker | None = None) -> Outcome:
        """Run a cell on a page of its own; `asker` is `None` if nobody can be asked.

        Raises a `HotClaudeError` if a `%` line fails or the turn does not finish. The outputs up
        to then stay on the page.
        """
        self._clients = {cell.client}
        try:
            return await self._run(cell, page, asker)
        finally:
            page.close()  # all of the answer is shown before the record is waited for
            await self.conversation.settle()
            self._say_notices(page)

    async def _run(self, cell: Cell, page: Page, asker: Asker | None) -> Outcome:
        lines, text = split(whole(cell.code))
        if cell.stdin and cell.id is None:
            refuse_leaving(text)
        # The conversation must be this notebook's before a `%` line moves its position.
        await self.conversation.enter(
            cell.id, cell.client, stdin=cell.stdin, asks=bool(text.strip())
        )
        self._say_notices(page)
        request = await self._follow(lines, text, page)
        prompt = self._prompt(request, cell)
        if prompt is not None:
            self._say_notices(page)
        turn = None
        if prompt is not None:
            turn = await self._answer(prompt, page, asker, cell.client, refresh=request.refresh)
        return Outcome(
            value=request.value if turn is None else turn.text,
            help_pages=tuple(request.help_pages),
            turn=turn,
        )

    def move_to(self, client: str) -> None:
        """Note that another client shows the running cell, too, from its beginning."""
        self._clients.add(client)

    # --- the `%` lines and the prompt --------------------------------------------------------

    async def _follow(self, lines: Sequence[Line], text: str, page: Page) -> _Request:
        """Carry out the `%` lines in their order; return the cell's prompt with what they add."""
        request = _Request(text)
        for line in lines:
            answer = await registry.run(line, self.conversation)
            request.value = answer.value
            request.images += [answer.attach] if answer.attach else []
            request.help_pages += [answer.page] if answer.page else []
            request.refresh |= answer.refresh
            request.text = _with_prompt(request.text, answer)
            _show(answer, page)
        return request

    def _prompt(self, request: _Request, cell: Cell) -> Prompt | None:
        """Return the prompt with its parameters filled in and its images, `None` if it is blank."""
        text = parameters.render(request.text, self.conversation.parameters)
        if text.strip():
            text, images = self._collect(text, request.images)
            text = whole(text)
            cell_id = self.conversation.position.cell_of(cell.id, cell.client, text)
            return Prompt(text=text, cell_id=cell_id, attachments=images)
        if request.images:
            raise UsageError("There is no prompt to send the image with", hint="Write one below.")
        return None

    def _collect(self, text: str, named: list[str]) -> tuple[str, tuple[Attachment, ...]]:
        folder = Path(self.conversation.settings.cwd or Path.cwd())
        return attachments.collect(text, folder, named)

    # --- the answer --------------------------------------------------------------------------

    async def _answer(
        self, prompt: Prompt, page: Page, asker: Asker | None, client: str, *, refresh: bool
    ) -> Turn:
        """Ask the prompt, or show its answer again to a page that does not have it."""
        known = self._known(prompt)
        if known is not None and not refresh and client not in self._shown_to[known.uuid]:
            await self._show_again(known, page)
            return known
        turn = await self._ask(prompt, page, asker, again=refresh or known is not None)
        self._foot(turn, page)
        return turn

    async def _ask(self, prompt: Prompt, page: Page, asker: Asker | None, *, again: bool) -> Turn:
        """Ask the prompt. Even if it fails, close the page and show the notices."""
        self._permit_by(asker, page)
        self._consent_by(asker, page)
        asked = len(self.conversation.turns)
        try:
            return await self.conversation.ask(
                prompt, page.take, again=again, placed=lambda live: self._placed(page, live)
            )
        finally:
            for line in self.conversation.position.take_withdrawn():
                page.withdraw(line, SAME_AGAIN)
            if asker is not None:
                await asker.withdraw()
            page.close()
            for turn in self.conversation.turns[asked:]:
                # The set itself, not a copy: `move_to` may add a client until the host replies.
                self._shown_to[turn.uuid] = self._clients
            self._say_notices(page)

    def _known(self, prompt: Prompt) -> Turn | None:
        """Return the turn that answered this very question of the cell in this kernel's life.

        It must be on the path to the notebook's position. If a page is reloaded while a cell runs,
        it silently loses the rest of the answer. The reloaded page is a new client, to which the
        answer has not been shown. So is another person's page. A page does not tell which it is.
        """
        if prompt.cell_id is None:
            return None
        turns = (t for t in reversed(self.conversation.turns) if t.prompt.cell_id == prompt.cell_id)
        turn = next(turns, None)
        if turn is None or turn.status != "ok" or turn.prompt != prompt:
            return None
        now = self.conversation.position.askings(prompt)
        if turn.key.settings not in [asking.key.settings for asking in now]:
            return None  # it was another question
        on_path = any(node.id == turn.node for node in self.conversation.branches.path)
        return turn if on_path else None

    async def _show_again(self, turn: Turn, page: Page) -> None:
        for event in await self.conversation.events_of(turn):
            page.take(event)
        page.close()
        self._shown_to[turn.uuid] |= self._clients
        self._foot(turn, page)
        page.note(SHOWN_AGAIN)

    def _foot(self, turn: Turn, page: Page) -> None:
        numbers = footer(turn, dollars=turn.priced) if self.footer else ""
        page.footer(numbers, turn.about)

    # --- notices and permission requests -----------------------------------------------------

    def _placed(self, page: Page, live: bool) -> None:
        """Show the notices about the turn's place, and whether the turn waits for a process."""
        self._say_notices(page)
        if live and not self.conversation.ready:
            page.status("Starting claude…")

    def _say_notices(self, page: Page) -> None:
        for notice in self.conversation.take_notices():
            page.note(notice)

    def _permit_by(self, asker: Asker | None, page: Page) -> None:
        """Have the permission requests of the next turn decided on its page, one at a time."""
        one_at_a_time = asyncio.Lock()

        async def permit(request: PermissionRequest) -> tuple[Frame, str]:
            rules = self.conversation.position.rules
            async with one_at_a_time:  # the answer to another question may have made a rule
                if allowed := decide.by_rule(request, rules):
                    return allowed
                card = page.card(request.tool_use_id)
                if asker is not None:
                    page.asking(request.tool_use_id, decide.in_text(request, card))
                return await decide.decide(request, asker, card, rules)

        self.conversation.permit = permit

    def _consent_by(self, asker: Asker | None, page: Page) -> None:
        """Have the folder of the next turn asked about on its page; nobody asked, on stderr."""
        consent = self.conversation.consent

        async def ask(look: Look, command: str) -> bool:
            from ..questions import trust  # few folders bring anything that is asked about

            assert asker is not None
            return await trust.ask(look, command, asker, page)

        def tell(look: Look) -> None:
            from ..questions import trust

            if asker is not None:
                trust.offer(look, lambda: consent.accept(look), asker, page)
            else:
                _log(f"hotclaude: {trust.told(look)}\n")

        consent.asks, consent.tells = (None if asker is None else ask), tell


def _log(line: str) -> None:
    """Write a line to the terminal or log of this process, and not into the notebook's outputs.

    ipykernel puts all into the outputs that is written to `sys.stderr`, and to descriptor 2.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.write(sys.stderr.fileno(), line.encode())


def _with_prompt(text: str, answer: Answer) -> str:
    """Return the prompt that a `%` line sends (`%compact`), else `text`.

    Raises `UsageError` if the cell has both.
    """
    if not answer.prompt:
        return text
    if text.strip():
        raise UsageError(
            f"{answer.prompt.split()[0]} is a turn of its own",
            hint="Write the prompt in a cell below.",
        )
    return answer.prompt


def _show(answer: Answer, page: Page) -> None:
    """Show the answer of a `%` line."""
    if answer.clear:
        page.clear()
    if answer.value:
        page.value(answer.value)
    if answer.warning:
        page.warn(answer.warning)
    if answer.note:
        page.note(answer.note)
    if answer.display:
        page.display(answer.display)
    if answer.report:
        page.report(answer.report)
    if answer.said:
        page.said(answer.said)
