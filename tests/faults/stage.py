"""What trials are played on: a throw-away home, the model server, a notebook, ways to ask.

Nothing sees the environment that the trials were started in: it is replaced by one made from
nothing, with a dummy key and a base URL on loopback.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hotclaude_kernel.claude.launch import TOKEN_ENV, find_claude
from hotclaude_kernel.claude.processes import runs, started
from hotclaude_kernel.conversation.conversation import Conversation
from hotclaude_kernel.errors import HotClaudeError
from hotclaude_kernel.kernel.startup import NOTEBOOK_ENV
from hotclaude_kernel.modelserver.replies import Reply, ToolUse
from hotclaude_kernel.modelserver.server import ModelServer
from hotclaude_kernel.pool.warm import Limits
from hotclaude_kernel.record.resume import store_path
from hotclaude_kernel.turns.prompt import Prompt
from hotclaude_kernel.turns.settings import Settings

from ..support.environment import entered, isolated_env
from ..support.frontend import KernelDied, Message, NoAnswer, Notebook, start_kernel
from ..support.processes import environ, running
from ..support.waiting import DEADLINE_S, reached
from .ledger import TOOL, Ledger, answer_to, read_store, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hotclaude_kernel.claude.events import Event
    from hotclaude_kernel.modelserver.replies import Answer
    from hotclaude_kernel.modelserver.request import Request

    from .ledger import Asked

    Fault = Callable[[Request, Reply], Answer]

ORPHANS_S = 3.0
QUICK = {"CLAUDE_CODE_MAX_RETRIES": "1"}  # a failing API fails within a second


@dataclass(slots=True)
class Memory:
    """A model that knows what it is sent: it answers with the words of all prompts.

    To a prompt that asks for a tool it runs `command` first. `fault` may put another answer in the
    place of each; it is called on the server's thread.
    """

    command: str = "echo looked"
    fault: Fault | None = None

    def __call__(self, request: Request) -> Answer:
        if request.auxiliary:
            return Reply("An aside.")
        reply = Reply(answer_to(words(request)))
        if TOOL in request.prompt and not request.tool_results:
            use = ToolUse("Bash", {"command": self.command, "description": "Look"})
            reply = Reply("I look.", use)
        return self.fault(request, reply) if self.fault else reply


@dataclass(slots=True, kw_only=True)
class Stage:
    """Where one trial is played."""

    home: Path
    env: dict[str, str]
    server: ModelServer
    model: Memory
    notebook: Path
    ledger: Ledger = field(default_factory=Ledger)

    @property
    def store(self) -> Path:
        """The record's file."""
        return Path(store_path())

    def judge(self, asked: Asked, ledger: Ledger) -> None:
        """Judge a prompt that was asked after the fault, by the newest request that holds it."""
        if asked.outcome == "ok":
            ledger.judge(self.sent_with(asked), read_store(self.store))
        else:
            ledger.note("no memory", f"{asked.word}, after the fault, is not answered")

    def sent_with(self, asked: Asked) -> list[str]:
        """Return the words that the model was sent with a prompt, nothing if it never was."""
        sent = (words(r) for r in reversed(self.server.requests) if not r.auxiliary)
        return next((known for known in sent if known[-1:] == [asked.word]), [])

    def processes(self) -> dict[int, str]:
        """Return each `claude`, and each command of one, that runs here: pid, and its token."""
        tokens = {pid: token_in(environ(pid)) for pid in running(self.home)}
        return {pid: token for pid, token in tokens.items() if token}

    def kill_all(self) -> None:
        """End what a trial has left, so that it harms no other one."""
        for pid in self.processes():
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def staged() -> Iterator[Stage]:
    """Set the stage, in the environment of this process too, and clear it."""
    binary, model = find_claude(), Memory()
    folder = tempfile.TemporaryDirectory(prefix="hotclaude-fault-", ignore_cleanup_errors=True)
    with folder as name, ModelServer(model).in_thread() as server:
        home = Path(name).resolve() / "home"
        env = isolated_env(home, server.url, binary) | QUICK
        notebook = home / "work" / "book.ipynb"
        env[NOTEBOOK_ENV] = str(notebook)
        cells = [{"id": f"cell{number}", "source": ""} for number in range(1, 30)]
        notebook.write_text(json.dumps({"cells": cells}))
        allowed = {"permissions": {"allow": ["Bash"]}}
        (home / ".claude").mkdir()
        (home / ".claude" / "settings.json").write_text(json.dumps(allowed))
        with entered(env, home / "work"):
            stage = Stage(home=home, env=env, server=server, model=model, notebook=notebook)
            try:
                yield stage
            finally:
                stage.kill_all()


def token_in(variables: list[bytes]) -> str:
    """Return the token in an environment, empty where there is none."""
    mark = f"{TOKEN_ENV}=".encode()
    return next((v.removeprefix(mark).decode() for v in variables if v.startswith(mark)), "")


class Book:
    """The notebook in this process: a conversation that can be closed and opened again."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.ledger = stage.ledger
        self.open()

    def open(self) -> None:
        """Go on as a new kernel would."""
        self.conversation = Conversation(
            Settings(), notebook=str(self.stage.notebook), limits=Limits(spares=0)
        )

    async def ask(
        self,
        asked: Asked | None = None,
        *,
        tool: bool = False,
        anew: bool = False,
        show: Callable[[Event], None] = lambda _: None,
    ) -> Asked:
        """Run a cell, a new one unless told otherwise, and enter what came of it."""
        asked = asked or self.ledger.ask(tool=tool)
        prompt = Prompt(text=asked.text, cell_id=asked.cell)
        try:
            async with asyncio.timeout(DEADLINE_S):
                turn = await self.conversation.ask(prompt, show, again=anew)
        except TimeoutError:
            self.ledger.answered(asked, "failed", "no end")
            self.ledger.note("no memory", f"{asked.word} has no end")
        except HotClaudeError as error:
            self.ledger.answered(asked, "failed", f"{type(error).__name__}: {error.message}")
        else:
            self.ledger.answered(asked, "ok", turn.text)
        await self.conversation.settle()
        for notice in self.conversation.take_notices():
            self.ledger.tell(f"notice: {notice}")
        return asked

    async def ask_again(self, old: Asked, *, anew: bool) -> Asked:
        """Run a cell again, unchanged; what is recorded of it is played, or asked `anew`."""
        return await self.ask(self.ledger.ask_again(old), anew=anew)

    async def probe(self) -> None:
        """Ask a next cell: it must be answered, with memory."""
        self.stage.judge(await self.ask(), self.ledger)

    async def probe_again(self, old: Asked, *, anew: bool) -> None:
        """Run a cell again: it must be answered, with memory."""
        self.stage.judge(await self.ask_again(old, anew=anew), self.ledger)

    async def reopen(self) -> None:
        """Close, and go on from the record alone."""
        await self.close()
        self.open()

    async def close(self) -> None:
        """End the conversation; nothing of it may be left."""
        await self.conversation.close()
        if not await reached(lambda: not self.stage.processes(), ORPHANS_S):
            self.ledger.note("orphans", f"{self.stage.processes()} are left after the end")


class KernelBook:
    """The notebook in a kernel of its own, which can be killed."""

    def __init__(self, stage: Stage, ledger: Ledger) -> None:
        self.stage, self.ledger = stage, ledger
        self.manager = start_kernel(stage.env)
        self.pid = self.manager.pid
        self._process = f"{self.pid}:{started(self.pid)}"
        self._notebook: Notebook | None = None

    @property
    def alive(self) -> bool:
        """Whether the kernel runs."""
        return runs(self._process)

    @property
    def notebook(self) -> Notebook:
        """A client of the kernel, which is ready."""
        self._notebook = self._notebook or Notebook(self.manager)
        return self._notebook

    def kill(self) -> None:
        """End the kernel without a word."""
        if self.alive:
            self.ledger.tell(f"kernel {self.pid} killed")
            os.kill(self.pid, signal.SIGKILL)

    def ask(
        self,
        asked: Asked | None = None,
        *,
        tool: bool = False,
        hook: Callable[[Message], None] = lambda _: None,
    ) -> Asked:
        """Run a cell and enter what came of it; it is in doubt where the kernel died before."""
        asked = asked or self.ledger.ask(tool=tool)
        return self.receive(asked, self.send(asked), hook)

    def send(self, asked: Asked) -> str:
        """Begin to run a cell; return the id of the request."""
        return self.notebook.send(asked.text, cell_id=asked.cell)

    def receive(
        self, asked: Asked, message_id: str, hook: Callable[[Message], None] = lambda _: None
    ) -> Asked:
        """Wait for what comes of a cell, and enter it."""
        try:
            cell = self.notebook.collect(message_id, hook)
        except (KernelDied, NoAnswer) as error:
            self.ledger.answered(asked, "doubt")
            if isinstance(error, NoAnswer):
                self.ledger.note("no memory", "a cell has no end")
        else:
            outcome = "ok" if cell.status == "ok" else "failed"
            self.ledger.answered(asked, outcome, cell.markdown or cell.plain)
        return asked

    def probe(self) -> None:
        """Ask a next cell: it must be answered, with memory."""
        self.stage.judge(self.ask(), self.ledger)

    def probe_again(self, old: Asked) -> None:
        """Run a cell again: it must be answered, with memory."""
        self.stage.judge(self.ask(self.ledger.ask_again(old)), self.ledger)

    def close(self) -> None:
        """Shut the kernel down, if it still runs."""
        if self._notebook is not None:
            self._notebook.close()
        self.manager.shutdown_kernel(now=not self.alive)
