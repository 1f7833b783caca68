"""The Jupyter kernel: runs cells, and answers interrupt, completion, inspection and shutdown."""

from __future__ import annotations

import asyncio
import os
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..claude.folders import Folders
from ..claude.frames import whole
from ..claude.trust import NEVER, Policy
from ..conversation.conversation import Conversation
from ..errors import HotClaudeError, Interrupted, UsageError
from ..turns import cellids
from ..turns.settings import RESTRICTED_LOCKS
from .output import CellOutput
from .preload import preload
from .startup import NOTEBOOK_ENV, SCOPE_ENV
from .traits import ConfiguredKernel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..cells.completion import Ran
    from ..cells.run import Cell, Cells
    from ..claude.frames import Frame
    from ..page.base import Page
    from ..questions.decide import Asker

# Modules that only a cell needs are imported where they are used, to keep the start short.
# `preload` loads them in a thread.

CLOSE_S = 6.0


class HotClaudeKernel(ConfiguredKernel):
    """A kernel whose cells are turns of one conversation with one live claude process."""

    implementation = "hotclaude"
    implementation_version = __version__
    banner = "Hot Claude: each cell is a message to one live claude process. %help tells more."
    # Front ends and jupytext know "markdown". It can't be "python": VS Code would run its start-up
    # code in the kernel, and so send it as prompts.
    language_info = {  # noqa: RUF012 - the base class declares a plain attribute
        "name": "markdown",
        "version": __version__,
        "mimetype": "text/x-markdown",
        "codemirror_mode": "markdown",
        "pygments_lexer": "markdown",
        "file_extension": ".md",
        "nbconvert_exporter": "hotclaude-markdown",
    }

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._refused: UsageError | None = None  # a configuration that no cell can run under
        try:
            trusts = self.trusts()
        except UsageError as error:
            trusts, self._refused = Policy(NEVER), error
        self.conversation = Conversation(
            self.settings(),
            binary=self.cli,
            stall_timeout_s=self.stall_timeout,
            prespawned=getattr(self.parent, "prespawned", None),
            notebook=os.environ.get(NOTEBOOK_ENV),
            store=self.store,
            limits=self.limits(),
            rerun=self.rerun,
            scope=os.environ.get(SCOPE_ENV),
            folders=Folders(trusts),
        )
        if self.restricted:
            self.conversation.position.locked = RESTRICTED_LOCKS
        try:
            self.conversation.mode, self.conversation.pace = self.mode(), self.playing()
        except UsageError as error:
            self._refused = error
        self._history: list[Ran] = []
        self._work: asyncio.Task[Frame] | None = None
        self._reply: asyncio.Future[Frame] | None = None
        self._output: CellOutput | None = None
        self._page: Page | None = None
        self._told = 0  # how many of the conversation's turns the replies have told of

    @cached_property
    def cells(self) -> Cells:
        """The runner of this kernel's cells, made when the first one runs."""
        from ..cells.run import Cells

        return Cells(self.conversation, footer=self.footer)

    # --- a cell ------------------------------------------------------------------------------

    async def do_execute(
        self,
        code: str,
        silent: bool,
        store_history: bool = True,
        user_expressions: Frame | None = None,
        allow_stdin: bool = False,
        *,
        cell_meta: Frame | None = None,
        cell_id: str | None = None,
    ) -> Frame:
        """Run a cell as a task, which an interrupt can cancel, and return the reply.

        A silent request, or one that is kept out of the history, comes from the front end and not
        from the user. It never reaches Claude.
        """
        unevaluated = _unevaluated(user_expressions)
        if silent or not store_history or not code.strip():
            return self._ok() | unevaluated
        parent = self.get_parent("shell")
        output = CellOutput(self, parent)
        if threading.current_thread() is not threading.main_thread():
            error = UsageError("Cells can't run in a subshell: a conversation has one order")
            return self._error(output, error)
        from ..cells.run import Cell

        cell_id = cellids.taken(cell_id)
        cell = Cell(code=code, id=cell_id, client=_client(parent), stdin=allow_stdin)
        page = _page(output, cell_id, allow_stdin)
        asker = self._asker(page, parent, cell_id, allow_stdin)
        self.executing, self._output, self._page = parent, output, page
        self._reply = asyncio.get_running_loop().create_future()
        self._work = asyncio.ensure_future(self._run(cell, page, asker))
        reply = await self._replied(self._work, output)
        self._reply.set_result(reply)
        self._work = self.executing = self._output = self._page = None
        return reply | unevaluated if reply["status"] == "ok" else reply

    async def _run(self, cell: Cell, page: Page, asker: Asker | None) -> Frame:
        if self._refused is not None:
            raise self._refused
        outcome = await self.cells.run(cell, page, asker)
        self._history.append((0, self.execution_count, cell.code, outcome.value))
        return self._ok(outcome.help_pages)

    async def _replied(self, work: asyncio.Task[Frame], output: CellOutput) -> Frame:
        """Return the reply, also after any error: without one the front end would wait for ever."""
        try:
            return await work
        except asyncio.CancelledError:
            return self._error(output, Interrupted("Interrupted", hint="Nothing was sent."))
        except HotClaudeError as error:
            return self._error(output, error)
        except Exception as bug:
            self.log.exception("a cell failed unexpectedly")
            text = f"hotclaude itself failed: {type(bug).__name__}: {bug}"
            hint = "The kernel's log has the details."
            return self._error(output, HotClaudeError(text, hint=hint))

    def _asker(
        self, page: Page, parent: Frame, cell_id: str | None, allow_stdin: bool
    ) -> Asker | None:
        """Return the asker for this front end, `None` if nobody can be asked.

        Only notebooks send cell ids, and notebooks show widgets.
        """
        from ..questions import buttons, stdin

        if cell_id is not None:
            return buttons.ButtonAsker(page.ask, page.asked, enter=self._enter_cell)
        if allow_stdin:
            ident = self._get_shell_context_var(self._shell_parent_ident)
            return stdin.LineAsker(self, parent=parent, ident=ident)
        return None

    def _enter_cell(self) -> None:
        """Make the running cell the parent of the widgets that are made next in this context."""
        self._shell_parent.set(self.executing or {})

    # --- a page that was reloaded while its cell runs --------------------------------------------

    def rejoins(self, request: Frame) -> bool:
        """Return whether a reloaded page asks to run the cell that is running, unchanged."""
        running, page = self.executing, self._page
        if running is None or page is None or self._reply is None:
            return False
        if request["header"].get("session") == running["header"].get("session"):
            return False
        cell_id = request["metadata"].get("cellId")
        if cell_id is None or cell_id != running["metadata"].get("cellId"):
            return False
        code = self.session.unpack(request["content"]).get("code")
        return isinstance(code, str) and whole(code) == running["content"]["code"]

    async def rejoin(self, request: Frame) -> Frame:
        """Move the running cell's outputs to the reloaded page; return the cell's reply."""
        assert self._output is not None
        assert self._page is not None
        assert self._reply is not None
        self._output.parent = self.executing = request
        self.cells.move_to(_client(request))
        self._page.show_again()
        return await asyncio.shield(self._reply)

    def finish_metadata(self, parent: Frame, metadata: Frame, reply_content: Frame) -> Frame:
        """Tell in the reply which turns the cell had, and where each is replayed from.

        A reply's metadata is not saved in the notebook, which is the same live and replayed.
        """
        turns = self.conversation.turns[self._told :]
        self._told += len(turns)
        if turns:
            told = [{"source": turn.source, "absent": turn.absent} for turn in turns]
            metadata["hotclaude"] = {"turns": told}
        return metadata

    def _ok(self, help_pages: Iterable[str] = ()) -> Frame:
        payload = [
            {"source": "page", "data": {"text/plain": text}, "start": 0} for text in help_pages
        ]
        return {
            "status": "ok",
            "execution_count": self.execution_count,
            "payload": payload,
        }

    def _error(self, output: CellOutput, error: HotClaudeError) -> Frame:
        from ..page.parts import error_lines

        lines = error_lines(error)
        content = {
            "ename": type(error).__name__,
            "evalue": lines[0].partition(": ")[2],
            "traceback": lines,
        }
        output.error(content)
        return {"status": "error", "execution_count": self.execution_count, **content}

    # --- interrupt and shutdown --------------------------------------------------------------

    def start(self) -> None:
        """Start serving, load in a thread what the first answer needs, then warm the process."""
        super().start()
        threading.Thread(target=preload, daemon=True, name="preload").start()
        self.io_loop.add_callback(self._begin)

    async def _begin(self) -> None:
        await self.conversation.open(whole=False)
        self.conversation.warm()
        await self.conversation.sweep()

    def interrupt(self) -> None:
        """Interrupt the running turn; before the turn, cancel the cell."""
        if self._work is None:
            return
        if self.conversation.running:
            self._interrupting = asyncio.ensure_future(self.conversation.interrupt())
        else:
            self._work.cancel()

    async def do_shutdown(self, restart: bool) -> Frame:
        """Close the conversation, and with it its processes; wait at most 6 s."""
        closing = asyncio.run_coroutine_threadsafe(self.conversation.close(), self.loop)
        try:
            async with asyncio.timeout(CLOSE_S):
                await asyncio.wrap_future(closing)
        except TimeoutError:
            self.log.warning("the claude process did not end in time")
        return {"status": "ok", "restart": restart}

    # --- completion, inspection, is_complete, history ----------------------------------------

    async def do_complete(self, code: str, cursor_pos: int | None) -> Frame:
        """Complete `%` lines and their values, `/commands` and `@files`."""
        at = len(code) if cursor_pos is None else cursor_pos
        from ..cells import completion

        found = completion.complete(code, at, self.conversation)
        return {
            "status": "ok",
            "matches": found.matches,
            "cursor_start": found.start,
            "cursor_end": at,
            "metadata": {},
        }

    async def do_inspect(
        self, code: str, cursor_pos: int, detail_level: int = 0, omit_sections: Any = ()
    ) -> Frame:
        """Return the help of the `%` line or `/command` at the cursor."""
        from ..cells import completion

        text = completion.describe(code, cursor_pos, self.conversation)
        data = {"text/plain": text} if text else {}
        return {"status": "ok", "found": bool(text), "data": data, "metadata": {}}

    async def do_is_complete(self, code: str) -> Frame:
        """Tell a console whether the prompt may be sent."""
        from ..cells import completion

        status = completion.completeness(code)
        return {"status": status} | ({"indent": ""} if status == "incomplete" else {})

    async def do_history(
        self,
        hist_access_type: str,
        output: bool,
        raw: bool,
        session: int | None = None,
        start: int | None = None,
        stop: int | None = None,
        n: int | None = None,
        pattern: str | None = None,
        unique: bool = False,
    ) -> Frame:
        """Return cells that this kernel has run; a restart empties the history."""
        from ..cells import completion

        wanted = completion.HistoryQuery(
            kind=hist_access_type,
            session=session,
            start=start,
            stop=stop,
            n=n,
            pattern=pattern,
            unique=unique,
        )
        found = completion.history(self._history, wanted)
        history = [(s, line, (code, said) if output else code) for s, line, code, said in found]
        return {"status": "ok", "history": history}


def _client(request: Frame) -> str:
    """Return the session id of the front end that sent a request."""
    return str(request["header"].get("session", ""))


def _unevaluated(expressions: Frame | None) -> Frame:
    """Return the part of a reply that answers expressions: none can be evaluated here.

    Each name gets an answer of its own: MyST and Quarto end a build that lacks one.
    """
    error = {
        "status": "error",
        "ename": "UsageError",
        "evalue": "A conversation evaluates no expressions",
        "traceback": [],
    }
    names = expressions if isinstance(expressions, dict) else {}
    return {"user_expressions": dict.fromkeys(names, error)}


def _page(output: CellOutput, cell_id: str | None, allow_stdin: bool) -> Page:
    """Return the page for the front end: a console allows stdin, and its cells have no ids."""
    from ..page.console import ConsolePage
    from ..page.notebook import NotebookPage

    return ConsolePage(output) if cell_id is None and allow_stdin else NotebookPage(output)
