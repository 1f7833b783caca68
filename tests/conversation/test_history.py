"""A notebook's history under random operations, against a small model of what it should be.

The operations are data: cells run in any order, in two kernels and by clients without cell ids;
settings, images and a file that change; the modes of the record; restarts, kills, and a record that
another process locks. After each the model says which turns stand before the prompt, whether its
answer is replayed, and where the notebook goes on. The model knows nothing of nodes, keys, tables
or processes: a turn is what was asked, and answered, behind what.

`claude` itself is not run here: a stand-in answers at once, at the place at which the real one
would be asked. That the real one then sees exactly these turns is tested in `test_rewinding`,
`test_restart` and `test_replay`. Hypothesis prints the operations of a failure, as few as it can.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sqlite3
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import settings as tries
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from hotclaude_kernel.claude.frames import loads
from hotclaude_kernel.claude.parsing import parse
from hotclaude_kernel.claude.processes import started
from hotclaude_kernel.conversation import conversation as conversations
from hotclaude_kernel.conversation import settling
from hotclaude_kernel.conversation.conversation import Conversation
from hotclaude_kernel.errors import ReplayMiss
from hotclaude_kernel.pool.warm import Tally
from hotclaude_kernel.record.store import Store
from hotclaude_kernel.record.verify import store_faults
from hotclaude_kernel.record.writing import changes, writer
from hotclaude_kernel.turns.prompt import Attachment, Prompt
from hotclaude_kernel.turns.settings import Settings
from hotclaude_kernel.turns.tape import Tape
from hotclaude_kernel.turns.turn import Clock, Turn, recorded

from ..record.test_cassette import frames_of
from ..support.book import written
from ..support.environment import entered, isolated_env

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from hotclaude_kernel.pool.warm import Place

DEADLINE_S = 30.0
NOTES = "notes.txt"
CELLS = "abcd"
PROMPTS = ("one", "two", f"see @{NOTES}")
EFFORTS = ("low", "high")
IMAGES = (b"", b"\x89PNG1")
MODES = ("new_episodes", "new_episodes", "none", "all", "off")


# --- the model ------------------------------------------------------------------------------------


class Said(NamedTuple):
    """A turn: the turns before it, what was asked, and the answer."""

    before: tuple[Said, ...]
    text: str
    image: bytes
    effort: str | None
    answer: str


Entry = tuple[str | None, Said]  # a turn, and the cell that shows it


class Model:
    """What is recorded of a notebook."""

    def __init__(self) -> None:
        self.answers: list[tuple[Said, str | None]] = []  # with the notes then; the newest last
        self.turns: list[Said] = []  # in the order in which they were first recorded
        self.left: list[tuple[Said, str]] = []  # what turns made of the notes
        self.cells: dict[Said, str | None] = {}
        self.end: list[Entry] = []  # where the next kernel goes on

    def replayed(self, asked: Said, notes: str) -> Said | None:
        """Return the turn that answers the question of `asked`, whose answer is not looked at."""
        for said, then in reversed(self.answers):
            same = said._replace(answer="") == asked._replace(answer="")
            if same and (then in (None, notes) or notes in self._later(said)):
                return said
        return None

    def _later(self, said: Said) -> set[str]:
        since = self.turns[self.turns.index(said) :]
        return {notes for turn, notes in self.left if turn in since}

    def record(self, said: Said, cell: str | None, then: str | None, left: str | None) -> None:
        if said not in self.turns:
            self.turns.append(said)
        if left is not None:
            self.left.append((said, left))
        self.answers = [known for known in self.answers if known[0] != said]
        self.answers.append((said, then))
        self.cells[said] = cell or self.cells.get(said)

    def renew(self, said: Said, cell: str | None) -> None:
        """A replay makes a turn the newest answer."""
        (then,) = (then for known, then in self.answers if known == said)
        self.record(said, cell, then, None)


# --- stand-ins ------------------------------------------------------------------------------------


class Idle:
    """A pool without processes."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.home: Place | None = None
        self.tally = Tally()

    def prepare(self, place: Place) -> None: ...

    def retire(self, warm: Any) -> None: ...

    def standing(self, place: Place) -> None: ...

    async def close(self) -> None: ...


class Answering:
    """Stands where `Live` does: answers at once, and notes at which place it was asked."""

    answer = ""
    notes: str | None = None  # what the turn makes of the notes
    asked: tuple[str, ...] | None = None  # the nodes before the prompt

    def __init__(
        self, pool: Any, place: Place, turn: Turn, show: Callable[[Any], None], **options: Any
    ) -> None:
        self.place, self.turn, self.show, self.ended = place, turn, show, options["ended"]

    async def ask(self) -> Turn:
        Answering.asked = tuple(node.id for node in self.place.path)
        turn = self.turn
        turn.clock, turn.tape = Clock(hot=True), Tape()
        for line in frames_of({"type": "text", "text": Answering.answer}).splitlines():
            frame = loads(line)
            assert frame is not None
            turn.tape(frame, parse(frame))
            for event in parse(frame):
                turn.take(event)
                self.show(event)
        if Answering.notes is not None:
            Path(NOTES).write_text(Answering.notes)  # noqa: ASYNC240 - as a tool would
        turn.end("ok")
        await self.ended(turn)
        parent = self.place.path[-1].id if self.place.path else None
        turn.recorded = recorded(turn, parent=parent, entries=b'{"sessionId":"s"}\n', cli="1")
        return turn


class Kernel:
    """A conversation about the notebook, with a process whose life is the kernel's."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(["/bin/sleep", "600"])
        self.conversation = Conversation(Settings(), notebook=str(path))
        pid = self.process.pid
        self.conversation.record.kernel = f"{pid}:{started(pid)}"
        self.path: list[Entry] = []
        self.end: list[Entry] = []  # of its branch: further than the path while replays follow it
        self.effort: str | None = None
        self.touched = False  # whether a setting was changed in this kernel's life
        self.private: set[Said] = set()
        self.known: dict[Said, str | None] = {}  # the turns of its tree, and their cells
        self.unsure = False  # what it moved while nothing was recorded may be forgotten

    def kill(self) -> None:
        """End it as SIGKILL does: at once, and what is not on disk is lost."""
        self.process.kill()
        self.process.wait()
        if not self.conversation.record.opened:
            return
        writer = self.conversation.record.changes._writer
        with writer._changed:
            writer._closed = writer._stopped = True
            writer._changed.notify_all()
        if writer._thread is not None:
            writer._thread.join()
        if writer._journal is not None:
            writer._journal.close()

    def stop(self) -> None:
        """End its process once the conversation is closed."""
        self.process.kill()
        self.process.wait()


# --- the machine ----------------------------------------------------------------------------------


class History(RuleBasedStateMachine):
    """Two kernels on one notebook: the first is the host, the second a guest."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.around = contextlib.ExitStack()
        self.around.enter_context(pytest.MonkeyPatch.context()).setattr(conversations, "Pool", Idle)
        self.around.enter_context(pytest.MonkeyPatch.context()).setattr(
            conversations, "Live", Answering
        )
        for module, name in ((settling, "SETTLE_S"), (changes, "CLAIM_S"), (writer, "BUSY_S")):
            self.around.enter_context(pytest.MonkeyPatch.context()).setattr(module, name, 0.02)
        home = Path(self.around.enter_context(tempfile.TemporaryDirectory()))
        env = isolated_env(home, "http://127.0.0.1:9", "")
        self.around.enter_context(entered(env, home / "work"))
        self.path = written(home / "work" / "book.ipynb", CELLS)
        self.notes = "0"
        Path(NOTES).write_text(self.notes)
        self.model = Model()
        self.nodes: dict[Said, str] = {}
        self.count = itertools.count(1)
        self.kernels: dict[str, Kernel | None] = {"host": None, "guest": None}
        self.dead: list[Kernel] = []
        self.lock: sqlite3.Connection | None = None
        self.file = home / ".local" / "share" / "hotclaude" / "store.db"

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    # --- kernels ---------------------------------------------------------------------------------

    def kernel(self, name: str) -> Kernel:
        """Return a kernel; open it if it isn't. A guest is one only while there is a host."""
        found = self.kernels[name]
        if found is None:
            if name == "guest":
                self.kernel("host")
            found = self.kernels[name] = Kernel(self.path)
            self.run(self._open(found))
            self._begin(found)
        return found

    def hidden(self, name: str) -> bool:
        """Whether the kernel would be a new guest that can't see what the host could not write."""
        return name == "guest" and self.kernels["guest"] is None and self.lock is not None

    async def _open(self, kernel: Kernel) -> None:
        await kernel.conversation.open()

    def _begin(self, kernel: Kernel) -> None:
        """A new kernel stands where the notebook goes on."""
        kernel.path = [(self.model.cells[said], said) for _, said in self.model.end]
        kernel.end = list(kernel.path)
        kernel.known = dict(self.model.cells)
        kernel.effort = kernel.path[-1][1].effort if kernel.path else None
        there = [node.id for node in kernel.conversation.branches.path]
        assert there == [self.nodes[said] for _, said in kernel.path]

    @rule(name=st.sampled_from(["host", "guest"]), kill=st.booleans())
    def ends(self, name: str, kill: bool) -> None:
        kernel = self.kernels[name]
        if kernel is None:
            return
        self.kernels[name] = None
        if kill:
            kernel.kill()
            self.dead.append(kernel)
        else:
            self.run(kernel.conversation.close())
            kernel.stop()
        if name == "host":
            self._adopt(kernel)

    def _adopt(self, kernel: Kernel) -> None:
        """After turns that must not be recorded, take what the record says where it goes on."""
        if not kernel.unsure:
            return
        named = {node: said for said, node in self.nodes.items()}
        host = self.kernels["host"] = Kernel(self.path)
        self.run(self._open(host))
        there = [named[node.id] for node in host.conversation.branches.path]
        assert not kernel.private & set(there)
        self.model.end = [(self.model.cells[said], said) for said in there]
        self._begin(host)

    # --- cells -----------------------------------------------------------------------------------

    @rule(
        name=st.sampled_from(["host", "host", "guest"]),
        cell=st.sampled_from([*CELLS, *CELLS, None]),
        text=st.sampled_from(PROMPTS),
        image=st.sampled_from(IMAGES),
        again=st.booleans(),
        mode=st.sampled_from(MODES),
        fresh=st.booleans(),
        edits=st.booleans(),
    )
    def asks(
        self,
        name: str,
        cell: str | None,
        text: str,
        image: bytes,
        again: bool,
        mode: str,
        fresh: bool,
        edits: bool,
    ) -> None:
        if self.hidden(name):
            return
        kernel = self.kernel(name)
        own = [at for at, (shown, _) in enumerate(kernel.path) if shown == cell and cell]
        before = kernel.path[: own[-1]] if own else kernel.path
        if own and not kernel.touched:
            kernel.effort = before[-1][1].effort if before else None
        asked = Said(tuple(said for _, said in before), text, image, kernel.effort, "")
        replays = None
        if mode not in ("off", "all") and not (again and mode != "none"):
            replays = self.model.replayed(asked, self.notes)
        Answering.answer = f"answer {next(self.count)}" if fresh else "the same"
        Answering.notes = Answering.answer if edits else None
        Answering.asked = None
        kernel.conversation.mode = mode
        turn = self.run(self._ask(kernel.conversation, cell, text, image, again=again))
        if replays is None and mode == "none":
            assert turn is None
            return
        assert turn is not None
        assert turn.replayed is (replays is not None)
        said = replays or asked._replace(answer=Answering.answer)
        assert turn.text == said.answer
        self.nodes[said] = turn.node
        if replays is None:
            assert Answering.asked == tuple(self.nodes[turn] for turn in asked.before)
        self._settle(kernel, name, before, said, cell, mode, live=replays is None)

    async def _ask(
        self, conversation: Conversation, cell: str | None, text: str, image: bytes, *, again: bool
    ) -> Turn | None:
        images = (Attachment(name="a.png", media_type="image/png", data=image),) if image else ()
        prompt = Prompt(text=text, cell_id=cell, attachments=images)
        try:
            turn = await conversation.ask(prompt, lambda _: None, again=again)
        except ReplayMiss:
            return None
        await conversation.settle()
        return turn

    def _settle(
        self,
        kernel: Kernel,
        name: str,
        before: list[Entry],
        said: Said,
        cell: str | None,
        mode: str,
        *,
        live: bool,
    ) -> None:
        """Move the model along."""
        then = self.notes if NOTES in said.text else None
        left = Answering.notes if live else None
        kept = live and mode != "off" and not set(said.before) & kernel.private
        hidden = live and not kept and said not in kernel.known
        shown = cell or kernel.known.get(said)
        if live and left is not None and left != self.notes:
            self.notes = left
        else:
            left = None
        if kept:
            watched = any(NOTES in turn.text for turn in [*self.model.turns, said])
            self.model.record(said, cell, then, left if watched else None)
        elif not live:
            self.model.renew(said, cell)
        if hidden:
            kernel.private.add(said)
        elif kept or not live:  # what is recorded is private no more, nor is what it follows
            kernel.private -= {said, *said.before}
        kernel.known[said] = shown
        kernel.unsure |= not kept and live
        at = len(before)
        follows = len(kernel.end) > at and kernel.end[at][1] == said
        entry = (shown, said)
        kernel.path = [*before, entry]
        kernel.end = [*before, entry, *kernel.end[at + 1 :]] if follows else kernel.path
        if name == "host":
            self.model.end = [e for e in kernel.end if e[1] not in kernel.private]
        there = [node.id for node in kernel.conversation.branches.path]
        assert there == [self.nodes[turn] for _, turn in kernel.path]

    # --- moves, settings, files ------------------------------------------------------------------

    @rule(name=st.sampled_from(["host", "guest"]), effort=st.sampled_from(EFFORTS))
    def sets(self, name: str, effort: str) -> None:
        if self.hidden(name):
            return
        kernel = self.kernel(name)
        self.run(self._set(kernel.conversation, effort))
        kernel.effort, kernel.touched = effort, True

    async def _set(self, conversation: Conversation, effort: str) -> None:
        position = conversation.position
        position.settings, position.touched = conversation.settings.changed(effort=effort), True

    @rule(back=st.integers(0, 3))
    def goes_back(self, back: int) -> None:
        kernel = self.kernel("host")
        if kernel.private or back > len(kernel.path):
            return
        kernel.path = kernel.path[: len(kernel.path) - back]
        at = self.nodes[kernel.path[-1][1]] if kernel.path else None
        self.run(self._go(kernel.conversation, at))
        kernel.end = self.model.end = list(kernel.path)
        if not kernel.touched:
            kernel.effort = kernel.path[-1][1].effort if kernel.path else None

    async def _go(self, conversation: Conversation, at: str | None) -> None:
        await conversation.go(lambda: conversation.branches.stand(at))
        await conversation.settle()

    async def _renew(self, conversation: Conversation) -> None:
        await conversation.renew()
        await conversation.settle()

    @rule()
    def begins_anew(self) -> None:
        kernel = self.kernel("host")
        self.run(self._renew(kernel.conversation))
        kernel.path = kernel.end = []
        self.model.end = []

    @rule(content=st.sampled_from(["0", "1"]))
    def edits_the_notes(self, content: str) -> None:
        self.notes = content
        Path(NOTES).write_text(content)

    @rule()
    def another_process_locks_the_record(self) -> None:
        if self.lock is None and self.file.exists():
            self.lock = sqlite3.connect(self.file, isolation_level=None, timeout=30)
            self.lock.execute("begin immediate")

    @rule()
    def and_lets_go(self) -> None:
        if self.lock is not None:
            self.lock.close()
            self.lock = None
            for kernel in filter(None, self.kernels.values()):
                kernel.conversation.record.settle(DEADLINE_S)

    # --- the end ---------------------------------------------------------------------------------

    def teardown(self) -> None:
        """All that was recorded is there, and sound."""
        try:
            self.and_lets_go()
            for kernel in filter(None, self.kernels.values()):
                self.run(kernel.conversation.close())
                kernel.stop()
            for kernel in self.dead:
                kernel.conversation.record.store.close()
            if self.file.exists():
                last = Kernel(self.path)  # which records what the killed ones had written down
                self.run(self._open(last))
                self.run(last.conversation.close())
                last.stop()
                with contextlib.closing(Store(str(self.file))) as store:
                    assert list(store_faults(store)) == []
                    for said in self.model.turns:
                        assert store.node(self.nodes[said]) is not None
        finally:
            self.runner.close()
            self.around.close()


@pytest.mark.long
def test_the_history_is_what_the_model_says() -> None:
    run_state_machine_as_test(
        History, settings=tries(max_examples=tries().max_examples, stateful_step_count=30)
    )
