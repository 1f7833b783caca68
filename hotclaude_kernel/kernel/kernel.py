"""The Jupyter face: cells in, outputs out; interrupts, completion, inspection, shutdown."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..claude.events import Decided, ToolResult
from ..claude.frames import whole
from ..conversation.conversation import Conversation
from ..errors import HotClaudeError, Interrupted, UsageError
from ..turns.prompt import Prompt
from ..turns.settings import RESTRICTED_LOCKS
from .output import CellOutput
from .preload import preload
from .startup import NOTEBOOK_ENV
from .traits import ConfiguredKernel

if TYPE_CHECKING:
    from ..cells.magics import registry
    from ..claude.frames import Frame
    from ..claude.session import PermissionRequest
    from ..page.base import Page
    from ..questions import decide
    from ..turns.turn import Turn

CLOSE_S = 6.0

SHOWN_AGAIN = (
    "Shown again: this cell was answered before the page was reloaded. Nothing was sent; "
    "run it once more to ask again."
)


class HotClaudeKernel(ConfiguredKernel):
    """A kernel whose cells are turns of one conversation with one live claude process."""

    implementation = "hotclaude"
    implementation_version = __version__
    banner = "Hot Claude: each cell is a message to one live claude process. %help tells more."
    # A known name: highlighted prompts and jupytext round trips. Never "python": VS Code would run
    # its start-up code, which is to say send it as prompts.
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
        self.conversation = Conversation(
            self.settings(),
            binary=self.cli,
            stall_timeout_s=self.stall_timeout,
            prespawned=getattr(self.parent, "prespawned", None),
            notebook=os.environ.get(NOTEBOOK_ENV),
            store=self.store,
            limits=self.limits(),
            rerun=self.rerun,
        )
        if self.restricted:
            self.conversation.locked = RESTRICTED_LOCKS
        self._refused: UsageError | None = None  # a configuration that no cell can run under
        try:
            self.conversation.mode, self.conversation.pace = self.mode(), self.playing()
        except UsageError as error:
            self._refused = error
        self._history: list[tuple[int, int, str, str]] = []
        self._work: asyncio.Task[Frame] | None = None
        self._reply: asyncio.Future[Frame] | None = None
        self._output: CellOutput | None = None
        self._page: Page | None = None
        self._shown_to: dict[str, set[str]] = {}
        self._decided: dict[str, str] = {}  # what was decided on a tool use

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
        """Run a cell: its `%` lines first, then its prompt as one turn.

        What a front end executes on its own (silent, or kept out of the history) is not a message
        of the user's and never reaches Claude.
        """
        if silent or not store_history or not code.strip():
            return self._ok()
        parent = self.get_parent("shell")
        output = CellOutput(self, parent)
        if threading.current_thread() is not threading.main_thread():
            error = UsageError("Cells can't run in a subshell: a conversation has one order")
            return self._error(output, error)
        self.executing, self._output = parent, output
        self._reply = asyncio.get_running_loop().create_future()
        self._work = asyncio.ensure_future(
            self._execute(code, output, cell_id=cell_id, allow_stdin=allow_stdin)
        )
        reply = await self._outcome(self._work, output)
        self._reply.set_result(reply)
        self._work = self.executing = self._output = self._page = None
        return reply

    async def _outcome(self, work: asyncio.Task[Frame], output: CellOutput) -> Frame:
        """Return the reply, whatever happens: without one the front end would wait for ever."""
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

    async def _execute(
        self, code: str, output: CellOutput, *, cell_id: str | None, allow_stdin: bool
    ) -> Frame:
        if self._refused is not None:
            raise self._refused
        from ..cells import parameters
        from ..cells.magics import registry

        lines, text = registry.split(code)
        self._page = page = _page(output, cell_id, allow_stdin)
        # Before any line moves in the tree: it must be this notebook's.
        self.conversation.recognise(cell_id)
        self._say_notices(page)
        reply = self._ok()
        value = ""
        images = []
        refresh = False
        for line in lines:
            answer = await registry.run(line, self.conversation)
            value = answer.value
            images += [answer.attach] if answer.attach else []
            refresh |= answer.refresh
            text = _with_prompt(text, answer)
            _show_answer(answer, page, output, reply)
        text = parameters.render(text, self.conversation.parameters)
        if text.strip():
            prompt = self._prompt(text, images, cell_id)
            value = (await self._ask(prompt, page, allow_stdin, refresh=refresh)).text
        elif images:
            raise UsageError("There is no prompt to send the image with", hint="Write one below.")
        page.close()
        self._history.append((0, self.execution_count, code, value))
        return reply

    def _prompt(self, text: str, images: list[str], cell_id: str | None) -> Prompt:
        from ..cells import attachments

        folder = Path(self.conversation.settings.cwd or Path.cwd())
        text, attached = attachments.collect(text, folder, images)
        return Prompt(text=whole(text), cell_id=cell_id, attachments=attached)

    async def _ask(
        self, prompt: Prompt, page: Page, allow_stdin: bool, *, refresh: bool = False
    ) -> Turn:
        """Ask the prompt, or show its answer again to a page that has lost it."""
        parent = self.get_parent("shell")
        client = parent["header"].get("session", "")
        known = self._known(prompt)
        if known is not None and client not in self._shown_to.get(known.uuid, ()):
            self._show_again(known, page)
            self._shown_to[known.uuid].add(client)
            return known
        self._permit_by(page, self._asker(page, prompt, parent, allow_stdin))
        again = refresh or known is not None
        asked = len(self.conversation.turns)
        try:
            turn = await self.conversation.ask(
                prompt, page.take, again=again, placed=lambda live: self._placed(page, live)
            )
        finally:
            page.close()
            for turn in self.conversation.turns[asked:]:
                self._shown_to.setdefault(turn.uuid, set()).add(client)
            self._say_notices(page)
        self._foot(turn, page)
        return turn

    def _foot(self, turn: Turn, page: Page) -> None:
        from ..page.parts import footer

        numbers = footer(turn, dollars=turn.priced) if self.footer else ""
        page.footer(numbers, turn.about)

    def _placed(self, page: Page, live: bool) -> None:
        """Say what the turn's place has left behind, and what it waits for."""
        self._say_notices(page)
        if live and not self.conversation.ready:
            page.status("Starting claude…")

    def _say_notices(self, page: Page) -> None:
        for notice in self.conversation.take_notices():
            page.note(notice)

    def _known(self, prompt: Prompt) -> Turn | None:
        """Return the finished turn that this unchanged cell has had in this kernel's life.

        A front end that is reloaded while a cell runs loses what comes later, and says nothing of
        it; but it comes back as another client, which has not had it yet.
        """
        if prompt.cell_id is None:
            return None
        turns = (t for t in reversed(self.conversation.turns) if t.prompt.cell_id == prompt.cell_id)
        turn = next(turns, None)
        if turn is None or turn.status != "ok" or turn.prompt != prompt:
            return None
        stands = any(node.id == turn.node for node in self.conversation.branches.path)
        return turn if stands else None

    def _show_again(self, turn: Turn, page: Page) -> None:
        for event in self.conversation.events_of(turn):
            page.take(event)
            if isinstance(event, ToolResult) and (said := self._decided.get(event.tool_use_id)):
                page.decided(event.tool_use_id, said)
        page.close()
        self._foot(turn, page)
        page.note(SHOWN_AGAIN)

    def _asker(
        self, page: Page, prompt: Prompt, parent: Frame, allow_stdin: bool
    ) -> decide.Asker | None:
        """Return the best way to ask in this front end, `None` where there is none."""
        from ..questions import buttons, stdin

        if prompt.cell_id is not None:
            return buttons.ButtonAsker(page.ask, page.asked)
        if allow_stdin:
            ident = self._get_shell_context_var(self._shell_parent_ident)
            return stdin.LineAsker(self, parent=parent, ident=ident)
        return None

    def _permit_by(self, page: Page, asker: decide.Asker | None) -> None:
        """Have the questions of the next turn asked in its cell, one at a time."""
        one_at_a_time = asyncio.Lock()

        async def permit(request: PermissionRequest) -> Frame:
            from ..questions import decide

            # This runs in the context of the process's reader; its widgets belong to the cell.
            self._shell_parent.set(self.executing or {})
            async with one_at_a_time:
                if asker is not None:
                    page.asking(request.tool_use_id)
                card = page.card(request.tool_use_id)
                decision, said = await decide.decide(request, asker, card)
            self._decided[request.tool_use_id] = said
            decided = Decided(tool_use_id=request.tool_use_id, decision=said)
            self.conversation.decided(decided)
            page.take(decided)
            return decision

        self.conversation.permit = permit

    # --- a page that was reloaded while its cell runs --------------------------------------------

    def rejoins(self, request: Frame) -> bool:
        """Whether a new page runs the unchanged cell that is running."""
        running, page = self.executing, self._page
        if running is None or page is None or self._reply is None:
            return False
        if request["header"].get("session") == running["header"].get("session"):
            return False
        cell_id = request["metadata"].get("cellId")
        if cell_id is None or cell_id != running["metadata"].get("cellId"):
            return False
        code = self.session.unpack(request["content"]).get("code")
        return bool(code == running["content"]["code"])

    async def rejoin(self, request: Frame) -> Frame:
        """Show the running cell on the new page, as far as it is, and go on there."""
        assert self._output is not None
        assert self._page is not None
        assert self._reply is not None
        self._output.parent = self.executing = request
        for turn in self.conversation.turns[-1:]:
            self._shown_to.setdefault(turn.uuid, set()).add(request["header"].get("session", ""))
        self._page.show_again()
        return await asyncio.shield(self._reply)

    def _ok(self) -> Frame:
        return {
            "status": "ok",
            "execution_count": self.execution_count,
            "payload": [],
            "user_expressions": {},
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
        """Take over the process as soon as the loop runs, and load what the first answer needs."""
        super().start()
        threading.Thread(target=preload, daemon=True, name="preload").start()
        self.io_loop.add_callback(self._begin)

    def _begin(self) -> None:
        self.conversation.warm()
        self._sweeping = asyncio.ensure_future(self.conversation.sweep())

    def interrupt(self) -> None:
        """Stop the turn, or whatever the cell waits for before it."""
        if self._work is None:
            return
        if self.conversation.running:
            self._interrupting = asyncio.ensure_future(self.conversation.interrupt())
        else:
            self._work.cancel()

    async def do_shutdown(self, restart: bool) -> Frame:
        """End the process before the kernel ends."""
        closing = asyncio.run_coroutine_threadsafe(self.conversation.close(), self.loop)
        try:
            async with asyncio.timeout(CLOSE_S):
                await asyncio.wrap_future(closing)
        except TimeoutError:
            self.log.warning("the claude process did not end in time")
        return {"status": "ok", "restart": restart}

    # --- editing ---------------------------------------------------------------------------

    async def do_complete(self, code: str, cursor_pos: int | None) -> Frame:
        """Complete `%` lines and their values, `/commands` and `@files`."""
        from ..cells import completion as editing

        at = len(code) if cursor_pos is None else cursor_pos
        completion = editing.complete(code, at, self.conversation)
        return {
            "status": "ok",
            "matches": completion.matches,
            "cursor_start": completion.start,
            "cursor_end": at,
            "metadata": {},
        }

    async def do_inspect(
        self, code: str, cursor_pos: int, detail_level: int = 0, omit_sections: Any = ()
    ) -> Frame:
        """Say what the `%` line or `/command` under the cursor does."""
        from ..cells import completion as editing

        text = editing.describe(code, cursor_pos, self.conversation)
        data = {"text/plain": text} if text else {}
        return {"status": "ok", "found": bool(text), "data": data, "metadata": {}}

    async def do_is_complete(self, code: str) -> Frame:
        """Tell a console whether the prompt may be sent."""
        from ..cells import completion as editing

        status = editing.completeness(code)
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
        """Return cells of this kernel's life."""
        from ..cells import completion as editing

        wanted = editing.HistoryQuery(
            kind=hist_access_type,
            session=session,
            start=start,
            stop=stop,
            n=n,
            pattern=pattern,
            unique=unique,
        )
        found = editing.history(self._history, wanted)
        history = [(s, line, (code, said) if output else code) for s, line, code, said in found]
        return {"status": "ok", "history": history}


def _page(output: CellOutput, cell_id: str | None, allow_stdin: bool) -> Page:
    """Return the page for the front end: a console can be asked, but its cells have no ids."""
    from ..page.console import ConsolePage
    from ..page.notebook import NotebookPage

    return ConsolePage(output) if cell_id is None and allow_stdin else NotebookPage(output)


def _with_prompt(text: str, answer: registry.Answer) -> str:
    """Return the cell's prompt: its own, or the one that a `%` line of it stands for."""
    if not answer.prompt:
        return text
    if text.strip():
        raise UsageError(
            f"{answer.prompt.split()[0]} is a turn of its own",
            hint="Write the prompt in a cell below.",
        )
    return answer.prompt


def _show_answer(answer: registry.Answer, page: Page, output: CellOutput, reply: Frame) -> None:
    if answer.clear:
        page.clear()
    if answer.value:
        page.value(answer.value)
    if answer.warning:
        output.stream(answer.warning + "\n", "stderr")
    if answer.note:
        page.note(answer.note)
    if answer.display:
        page.display(answer.display)
    if answer.report:
        page.report(answer.report)
    if answer.page:
        data = {"text/plain": answer.page}
        reply["payload"].append({"source": "page", "data": data, "start": 0})
