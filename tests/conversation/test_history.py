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
import os
import sqlite3
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import settings as tries
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from hotclaude_kernel.claude.folders import Folders
from hotclaude_kernel.claude.frames import loads
from hotclaude_kernel.claude.parsing import parse
from hotclaude_kernel.claude.processes import started
from hotclaude_kernel.claude.trust import Policy
from hotclaude_kernel.conversation import conversation as conversations
from hotclaude_kernel.conversation import settling
from hotclaude_kernel.conversation.conversation import Conversation
from hotclaude_kernel.errors import ReplayMiss
from hotclaude_kernel.pool.warm import Tally
from hotclaude_kernel.pool.withholding import Withholding
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
SOON_S = 0.02
NOTES = "notes.txt"
PROMPTS = ("one", "two", f"see @{NOTES}")
CELLS = {"a": "one", "b": f"see @{NOTES}", "c": "two", "d": "one"}  # with the usual prompt of each
IMAGE = b"\x89PNG1"
SET = (("endpoint", "here"), ("endpoint", "there"), ("effort", "low"), ("effort", "high"))


def mostly(usual: Any, *others: Any) -> st.SearchStrategy[Any]:
    """Draw the usual value most of the time: else a question is hardly ever asked twice."""
    return st.sampled_from([*[usual] * 2 * len(others), *others])


# --- the model ------------------------------------------------------------------------------------


class Said(NamedTuple):
    """A turn: the turns before it, what was asked, the answer, and the notes if it read them."""

    before: tuple[Said, ...]
    text: str
    image: bytes
    effort: str | None
    answer: str
    notes: str | None = None

    @property
    def question(self) -> Said:
        """What is asked, whatever was answered and read."""
        return self._replace(answer="", notes=None)


Entry = tuple[str | None, Said]  # a turn, and the cell that shows it


class Model:
    """What is recorded of a notebook."""

    def __init__(self) -> None:
        # With the notes and the endpoint then; the newest is the last.
        self.answers: list[tuple[Said, str | None, str]] = []
        self.turns: list[Said] = []  # in the order in which they were first recorded
        self.left: list[tuple[Said, str]] = []  # what turns made of the notes
        self.cells: dict[Said, str | None] = {}
        self.end: list[Entry] = []  # where the next kernel goes on

    def replayed(self, asked: Said, notes: str, endpoint: str) -> Said | None:
        """Return the turn that answers the question of `asked`, whose answer is not looked at."""
        for said, then, by in reversed(self.answers):
            same = said.question == asked.question and by == endpoint
            if same and (then in (None, notes) or notes in self._later(said)):
                return said
        return None

    def _later(self, said: Said) -> set[str]:
        since = self.turns[self.turns.index(said) :]
        return {notes for turn, notes in self.left if turn in since}

    def record(
        self, said: Said, cell: str | None, then: str | None, by: str, left: str | None
    ) -> None:
        if said not in self.turns:
            self.turns.append(said)
        if left is not None:
            self.left.append((said, left))
        self.answers = [known for known in self.answers if known[0] != said]
        self.answers.append((said, then, by))
        self.cells[said] = cell or self.cells.get(said)

    def renew(self, said: Said, cell: str | None) -> None:
        """A replay makes a turn the newest answer."""
        ((_, then, by),) = (answer for answer in self.answers if answer[0] == said)
        self.record(said, cell, then, by, None)


# --- stand-ins ------------------------------------------------------------------------------------


class Idle:
    """A pool without processes."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.home: Place | None = None
        self.tally = Tally()
        self.withholding = Withholding(Folders(Policy("always")))

    def fit_trust(self) -> None: ...

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
        self.watches = False  # whether its turns note what they make of the notes
        self.began = False  # whether it has asked a live turn
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
        self.patched = self.around.enter_context(pytest.MonkeyPatch.context())
        self.patched.setattr(writer, "BUSY_S", SOON_S)
        self.patched.setattr(writer, "PAUSE_S", SOON_S)
        self.wait(DEADLINE_S)
        home = Path(self.around.enter_context(tempfile.TemporaryDirectory()))
        env = isolated_env(home, "http://127.0.0.1:9", "")
        env["HOTCLAUDE_ENDPOINT"] = "here"
        self.around.enter_context(entered(env, home / "work"))
        self.path = written(home / "work" / "book.ipynb", "".join(CELLS))
        self.other = written(home / "work" / "other.ipynb", "z")
        self.endpoint = "here"
        self.notes = "0"
        Path(NOTES).write_text(self.notes)
        self.model = Model()
        self.nodes: dict[Said, str] = {}
        self.count = itertools.count(1)
        self.kernels: dict[str, Kernel | None] = {"host": None, "guest": None}
        self.dead: list[Kernel] = []
        self.lock: sqlite3.Connection | None = None
        self.writes = ""  # the kernel that has asked while the record is locked
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

    def wait(self, patience_s: float) -> None:
        """Set how long cells, openings and closings wait for the record."""
        for module, name in ((settling, "SETTLE_S"), (changes, "CLAIM_S"), (changes, "CLOSE_S")):
            self.patched.setattr(module, name, patience_s)

    def hidden(self, name: str) -> bool:
        """Whether the kernel can't see what the other one could not write."""
        if self.lock is None:
            return False
        return self.writes not in ("", name) or (name == "guest" and self.kernels["guest"] is None)

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

    @rule(name=mostly("host", "guest"), kill=st.booleans())
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

    @initialize(count=st.integers(0, len(CELLS)))
    def begins(self, count: int) -> None:
        """Another notebook has asked the same before; its answers are none of ours."""
        self._elsewhere(*CELLS.values())
        self.runs("host", count)

    def _elsewhere(self, *texts: str) -> None:
        other = Kernel(self.other)
        Answering.notes = None
        for text in texts:
            Answering.answer = f"other answer {next(self.count)}"
            self.run(self._ask(other.conversation, None, text, b"", again=True))
        self.run(other.conversation.close())
        other.stop()

    @rule(name=mostly("host", "guest"), count=st.integers(1, len(CELLS)))
    def runs(self, name: str, count: int) -> None:
        for cell in [*CELLS][:count]:
            self.asks(name, cell)

    @rule(
        name=mostly("host", "guest"),
        cell=st.sampled_from([*CELLS, None]),
        text=mostly(None, *PROMPTS),
        image=mostly(b"", IMAGE),
        again=mostly(False, True),
        mode=mostly("new_episodes", "none", "all", "off"),
        fresh=st.booleans(),
        edits=mostly(False, True),
    )
    def asks(
        self,
        name: str,
        cell: str | None,
        text: str | None = None,
        image: bytes = b"",
        again: bool = False,
        mode: str = "new_episodes",
        fresh: bool = True,
        edits: bool = False,
    ) -> None:
        text = text or CELLS[cell or "a"]
        if self.hidden(name):
            return
        kernel = self.kernel(name)
        if self.lock is not None:
            self.writes = name
        own = [at for at, (shown, _) in enumerate(kernel.path) if shown == cell and cell]
        before = kernel.path[: own[-1]] if own else kernel.path
        if own and not kernel.touched:
            kernel.effort = before[-1][1].effort if before else None
        asked = Said(tuple(said for _, said in before), text, image, kernel.effort, "")
        replays = None
        if mode not in ("off", "all") and not (again and mode != "none"):
            replays = self.model.replayed(asked, self.notes, self.endpoint)
        Answering.answer = f"answer {next(self.count)}" if fresh else "the same"
        Answering.notes = Answering.answer if edits else None
        Answering.asked = None
        branches = len(kernel.conversation.branches.branches)
        kernel.conversation.mode = mode
        turn = self.run(self._ask(kernel.conversation, cell, text, image, again=again))
        if replays is None and mode == "none":
            assert turn is None
            return
        assert turn is not None
        assert turn.replayed is (replays is not None)
        read = self.notes if NOTES in text else None
        said = replays or asked._replace(answer=Answering.answer, notes=read)
        assert turn.text == said.answer
        self.nodes[said] = turn.node
        if replays is None:
            assert Answering.asked == tuple(self.nodes[turn] for turn in asked.before)
        if kernel.end[len(before) :][:1] and kernel.end[len(before)][1] == said:
            # The same answer again leaves nothing behind.
            assert len(kernel.conversation.branches.branches) == branches
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
        if live:
            # It looks up what the notebook has mentioned once, at its first live turn.
            before_it = [] if kernel.began else self.model.turns
            kernel.watches |= any(NOTES in turn.text for turn in [*before_it, said])
            kernel.began = True
        left = Answering.notes if live else None
        kept = live and mode != "off" and not set(said.before) & kernel.private
        hidden = live and not kept and said not in kernel.known
        shown = cell or kernel.known.get(said)
        if live and left is not None and left != self.notes:
            self.notes = left
        else:
            left = None
        if kept:
            self.model.record(said, cell, then, self.endpoint, left if kernel.watches else None)
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

    @rule(
        name=mostly("host", "guest"),
        changed=st.sampled_from([("notes", "0"), ("notes", "1"), *SET]),
        count=st.integers(0, 3),
    )
    def changes(self, name: str, changed: tuple[str, str], count: int) -> None:
        """Something that answers depend on changes, and cells are run again."""
        what, value = changed
        if what == "notes":
            self.notes = value
            Path(NOTES).write_text(value)
        elif what == "endpoint":
            self.endpoint = os.environ["HOTCLAUDE_ENDPOINT"] = value
        elif not self.hidden(name):
            kernel = self.kernel(name)
            self.run(self._set(kernel.conversation, value))
            kernel.effort, kernel.touched = value, True
        self.runs(name, count)

    async def _set(self, conversation: Conversation, effort: str) -> None:
        position = conversation.position
        position.settings, position.touched = conversation.settings.changed(effort=effort), True

    @rule(back=st.integers(0, len(CELLS)))
    def goes_back(self, back: int) -> None:
        """So many turns, or to a new conversation."""
        if self.hidden("host"):
            return
        kernel = self.kernel("host")
        if back == len(CELLS):
            self.run(self._renew(kernel.conversation))
            kernel.path = kernel.end = self.model.end = []
            return
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
    def another_process_locks_the_record(self) -> None:
        if self.lock is None and self.file.exists():
            self.lock = sqlite3.connect(self.file, isolation_level=None, timeout=30)
            self.lock.execute("begin immediate")
            self.wait(SOON_S)

    @rule()
    def and_lets_go(self) -> None:
        if self.lock is not None:
            self.lock.close()
            self.lock, self.writes = None, ""
            self.wait(DEADLINE_S)
            for kernel in filter(None, self.kernels.values()):
                kernel.conversation.record.settle(DEADLINE_S)
            self._elsewhere("one")  # it records what killed ones wrote down

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
