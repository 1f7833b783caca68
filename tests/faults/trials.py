"""The kinds of fault, each a trial that is told by its seed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
import time
import traceback
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hotclaude_kernel.claude.events import Block, Delta, Result
from hotclaude_kernel.modelserver.replies import (
    Disconnect,
    EndOfStream,
    Failure,
    Malformed,
    Reply,
    StreamError,
    Text,
)
from hotclaude_kernel.pool.orphans import carriers

from ..support.locks import locked
from ..support.processes import environ
from ..support.waiting import reached, until
from .ledger import read_store
from .stage import ORPHANS_S, Book, KernelBook, staged, token_in

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from hotclaude_kernel.claude.events import Event
    from hotclaude_kernel.modelserver.replies import Answer
    from hotclaude_kernel.modelserver.request import Request

    from .ledger import Asked, Ledger
    from .stage import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One fault, repeatable: all that is random in it comes from `seed`."""

    kind: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a trial found: the invariants that broke, each with a why, and its story."""

    trial: Trial
    broken: dict[str, str]
    story: tuple[str, ...]
    total_s: float


def run(trial: Trial) -> Verdict:
    """Play a trial on a stage of its own."""
    began = time.monotonic()
    rng = random.Random(f"{trial.kind}:{trial.seed}")
    with staged() as stage:
        ledger = stage.ledger
        try:
            KINDS[trial.kind](stage, rng)
        except Exception as error:  # of the product or of the trial: it is counted, not fatal
            ledger.note("raised", f"{type(error).__name__}: {error}")
            ledger.tell(traceback.format_exc())
        try:
            until(lambda: not stage.processes(), "no process is left", ORPHANS_S)
        except AssertionError:
            ledger.note("orphans", f"{stage.processes()} are left at the end")
        try:
            ledger.audit(read_store(stage.store))
        except ValueError as error:
            ledger.note("store", str(error))
    return Verdict(
        trial=trial,
        broken=ledger.broken,
        story=tuple(ledger.story),
        total_s=time.monotonic() - began,
    )


def _in_this_process(play: Callable[[Book, random.Random], Awaitable[None]]) -> Any:
    """Make a kind of a fault that befalls a conversation in this process."""

    def kind(stage: Stage, rng: random.Random) -> None:
        asyncio.run(_play(play, stage, rng))

    return kind


async def _play(
    play: Callable[[Book, random.Random], Awaitable[None]], stage: Stage, rng: random.Random
) -> None:
    """Ask some cells, let the fault come, go on, and go on once more from the record alone."""
    book = Book(stage)
    try:
        await play(book, rng)
        if rng.random() < 0.5:  # the user runs the cell again that it happened to
            await book.probe_again(stage.ledger.asked[-1], anew=rng.random() < 0.5)
        await book.probe()
        await book.reopen()
        await book.probe()
    finally:
        await book.close()


# --- claude is killed ------------------------------------------------------------------------

CLAUDE_MOMENTS = (
    "idle",
    "start",
    "request",
    "delta",
    "tool",
    "after the tool",
    "block",
    "result",
    "end",
    "any time",
)


async def claude_killed(book: Book, rng: random.Random) -> None:
    """SIGKILL for the process of the conversation, once or twice in a row."""
    for _ in range(rng.randint(0, 3)):
        await book.ask(tool=rng.random() < 0.2)
    for _ in range(rng.choice((1, 1, 2))):
        await _kill_in_a_turn(book, rng)


class Killer:
    """Kills the process of a conversation, once; what it carried must be gone soon."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.tokens: list[str] = []

    def strike(self) -> None:
        """Kill it, if there is one."""
        pid = self.book.conversation.pid
        if pid and not self.tokens:
            self.kill(pid)

    def kill(self, pid: int) -> None:
        """Kill this one."""
        self.book.ledger.tell(f"claude {pid} killed")
        self.tokens.append(token_in(environ(pid)))
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)

    async def judge(self) -> None:
        """Wait until nothing is left of it."""
        left = [token for token in self.tokens if token]
        if not await reached(lambda: not any(map(carriers, left)), ORPHANS_S):
            self.book.ledger.note("orphans", f"{list(map(carriers, left))} of a killed process")


async def _kill_in_a_turn(book: Book, rng: random.Random) -> None:
    moment = rng.choice(CLAUDE_MOMENTS)
    book.ledger.tell(f"claude is to be killed: {moment}")
    killer = Killer(book)
    model, nth, delay_s = book.stage.model, rng.randint(1, 12), rng.uniform(0.0, 0.6)
    seen = 0

    def show(event: Event) -> None:
        nonlocal seen
        seen += isinstance(event, Delta)
        at_delta = moment == "delta" and seen == nth
        at_block = moment == "block" and isinstance(event, Block)
        if at_delta or at_block or (moment == "result" and isinstance(event, Result)):
            killer.strike()

    def fault(request: Request, reply: Reply) -> Answer:
        if moment == "request" or (moment == "after the tool" and request.tool_results):
            killer.strike()
        return reply

    ambush = asyncio.ensure_future(_lie_in_wait(book, killer, moment, delay_s))
    model.fault = fault
    await asyncio.wait([ambush], timeout=0)
    await book.ask(tool=moment in ("tool", "after the tool"), show=show)
    model.fault, model.command = None, "echo looked"
    ambush.cancel()
    await asyncio.wait([ambush])
    killer.strike()
    await killer.judge()


async def _lie_in_wait(book: Book, killer: Killer, moment: str, delay_s: float) -> None:
    """Strike at a moment that the turn does not show."""
    stage = book.stage
    if moment == "idle":
        killer.strike()
    elif moment == "start":
        if pid := book.conversation.pid:
            killer.kill(pid)  # so that one is started
        old = set(stage.processes())
        await reached(lambda: set(stage.processes()) - old, 10.0)
        for pid in set(stage.processes()) - old:
            killer.kill(pid)
    elif moment == "tool":
        mark = stage.home / "work" / "tool.pid"
        mark.unlink(missing_ok=True)
        stage.model.command = f"echo $$ > {mark}; exec sleep 300"
        await reached(lambda: mark.exists() and mark.read_text().strip(), 10.0)
        killer.strike()
    elif moment == "any time":
        at = time.monotonic() + delay_s
        await reached(lambda: time.monotonic() >= at, delay_s + 1.0)
        killer.strike()


# --- the kernel is killed --------------------------------------------------------------------

KERNEL_MOMENTS = ("start", "idle", "request", "message", "tool", "reply", "any time")


def kernel_killed(stage: Stage, rng: random.Random) -> None:
    """SIGKILL for the kernel; another one goes on with its notebook."""
    ledger = stage.ledger
    book = KernelBook(stage, ledger)
    try:
        for _ in range(rng.randint(0, 2)):
            book.ask(tool=rng.random() < 0.2)
        moment = rng.choice(KERNEL_MOMENTS)
        _kill_kernel(book, rng, moment)
        left, killed = stage.processes(), time.monotonic()
    finally:
        book.close()
    second = KernelBook(stage, ledger)
    try:
        if moment == "start":
            at = time.monotonic() + rng.uniform(0.0, 1.0)
            until(lambda: time.monotonic() >= at, "the kernel is starting")
            second.kill()
            second.close()
            second = KernelBook(stage, ledger)
        if ledger.asked and rng.random() < 0.5:
            second.probe_again(ledger.asked[-1])
        _judge_left(stage, left, killed)
        second.probe()
    finally:
        second.close()


def _kill_kernel(book: KernelBook, rng: random.Random, moment: str) -> None:
    stage, ledger = book.stage, book.ledger
    ledger.tell(f"the kernel is to be killed: {moment}")
    nth, delay_s, seen = rng.randint(1, 9), rng.uniform(0.0, 0.6), 0
    mark = stage.home / "work" / "tool.pid"

    def hook(_: dict[str, Any]) -> None:
        nonlocal seen
        seen += 1
        if moment == "message" and seen == nth:
            book.kill()

    def fault(request: Request, reply: Reply) -> Answer:
        if moment == "request":
            book.kill()
        return reply

    def at_the_tool() -> None:
        until(lambda: mark.exists() and mark.read_text().strip(), "the command runs")
        book.kill()

    book.notebook.wait_until_ready()
    timer = threading.Timer(delay_s, book.kill)
    if moment == "any time":
        timer.start()
    elif moment == "tool":
        stage.model.command = f"echo $$ > {mark}; exec sleep 300"
        threading.Thread(target=at_the_tool).start()
    stage.model.fault = fault
    if moment not in ("idle", "start"):
        book.ask(tool=moment == "tool", hook=hook)
    timer.cancel()
    stage.model.fault, stage.model.command = None, "echo looked"
    if book.alive:
        book.kill()
    until(lambda: not book.alive, "the kernel is dead")


def _judge_left(stage: Stage, left: dict[int, str], killed: float) -> None:
    """What a killed kernel had running must be gone in time."""

    def there() -> set[tuple[int, str]]:
        return set(left.items()) & set(stage.processes().items())

    with suppress(AssertionError):
        until(lambda: not there(), "gone", max(0.1, killed + ORPHANS_S - time.monotonic()))
    if found := there():
        stage.ledger.note("orphans", f"{sorted(found)} of a killed kernel")


# --- the API fails ---------------------------------------------------------------------------

STATUSES = (400, 429, 500, 529)
BREAKS = (Disconnect(), Malformed(), StreamError(), EndOfStream())


async def api_failing(book: Book, rng: random.Random) -> None:
    """Every request fails with some chance: at once, or in the middle of its stream."""
    for _ in range(rng.randint(0, 2)):
        await book.ask()
    chance = rng.choice((0.3, 0.6, 0.9))

    def fault(request: Request, reply: Reply) -> Answer:
        if rng.random() >= chance:
            return reply
        if rng.random() < 0.5:
            answer: Answer = Failure(rng.choice(STATUSES))
        else:
            *blocks, last = reply.blocks
            if isinstance(last, Text):
                pieces = last.pieces()
                blocks += [Text("".join(pieces[: rng.randrange(len(pieces))]))]
            answer = Reply(*blocks, rng.choice(BREAKS))
        book.ledger.tell(f"the API: {answer!r:.200}")
        return answer

    book.stage.model.fault = fault
    for _ in range(rng.randint(1, 3)):
        await book.ask(tool=rng.random() < 0.4)
    book.stage.model.fault = None


# --- the transcript of the process is cut ----------------------------------------------------


async def transcript_truncated(book: Book, rng: random.Random) -> None:
    """The transcript of the process is cut at some byte, or removed, while it lives."""
    for _ in range(rng.randint(1, 3)):
        await book.ask()
    in_a_turn = rng.random() < 0.3
    part = rng.choice((None, 0.0, rng.random(), rng.random(), 1.0 - rng.random() / 50))

    def cut(event: Event | None = None) -> None:
        if event is None or isinstance(event, Block):
            cut_transcripts(book, part)

    if in_a_turn:
        await book.ask(show=cut)
    else:
        cut()
    for _ in range(rng.randint(0, 2)):
        await book.ask(tool=rng.random() < 0.3)
    killer = Killer(book)
    if rng.random() < 0.7:
        killer.strike()
    await killer.judge()


def cut_transcripts(book: Book, part: float | None) -> None:
    """Cut each transcript to a part of its size, or remove it."""
    stage = book.stage
    sessions = stage.store.parent / "sessions"
    for path in [*stage.home.glob(".claude/projects/*/*.jsonl"), *sessions.glob("*.jsonl")]:
        if part is None:
            path.unlink()
            book.ledger.tell("the transcript is removed")
        else:
            at = int(path.stat().st_size * part)
            os.truncate(path, at)
            book.ledger.tell(f"the transcript is cut at byte {at}")


# --- the disk is full ------------------------------------------------------------------------

UNLIMITED_PAGES = 1_073_741_823


@contextmanager
def fill_disk(book: Book) -> Iterator[None]:
    """Let the file of the record grow no more for as long as the block lasts."""
    store = book.conversation.record.store
    with store.lend() as db:
        (pages,) = db.execute("pragma page_count").fetchone()
        db.execute(f"pragma max_page_count = {pages}")
    book.ledger.tell("the disk is full")
    try:
        yield
    finally:
        with store.lend() as db:
            db.execute(f"pragma max_page_count = {UNLIMITED_PAGES}")
        book.ledger.tell("the disk has room")


@contextmanager
def read_only(book: Book) -> Iterator[None]:
    """Let nothing at all be written to the record for as long as the block lasts."""
    store = book.conversation.record.store
    with store.lend() as db:
        db.execute("pragma query_only = on")
    book.ledger.tell("the record is read-only")
    try:
        yield
    finally:
        with store.lend() as db:
            db.execute("pragma query_only = off")
        book.ledger.tell("the record can be written")


async def disk_full(book: Book, rng: random.Random) -> None:
    """The record can't be written for some turns, and then it can."""
    for _ in range(rng.randint(0, 3)):
        await book.ask()
    full = fill_disk if rng.random() < 0.8 else read_only
    with full(book):
        for _ in range(rng.randint(1, 4)):
            what = rng.choice(("ask", "ask", "again", "kill", "cut"))
            if what == "cut":
                cut_transcripts(book, None)
                await book.ask()
            if what in ("kill", "cut"):
                Killer(book).strike()
            if what == "again" and book.ledger.asked:
                old = rng.choice(book.ledger.asked[-2:])
                await book.ask_again(old, anew=rng.random() < 0.7)
            else:
                await book.ask(tool=rng.random() < 0.2)


# --- another process locks the record, and the kernel is killed --------------------------------


def record_locked(stage: Stage, rng: random.Random) -> None:
    """The record is locked for some turns, and the kernel is killed before or after that."""
    ledger = stage.ledger
    book = KernelBook(stage, ledger)
    kill_in_lock = rng.random() < 0.7
    try:
        for _ in range(rng.randint(1, 2)):
            book.ask()
        with locked(str(stage.store)):
            ledger.tell("the record is locked")
            for _ in range(rng.randint(1, 3)):
                book.ask(tool=rng.random() < 0.2)
            if kill_in_lock:
                book.kill()
                until(lambda: not book.alive, "the kernel is dead")
        ledger.tell("the record is free")
        if not kill_in_lock:  # while what was written down is being recorded
            at = time.monotonic() + rng.uniform(0.0, 0.5)
            until(lambda: time.monotonic() >= at, "the kernel is writing")
            book.kill()
    finally:
        book.close()
    second = KernelBook(stage, ledger)
    try:
        if rng.random() < 0.5:
            second.probe_again(ledger.asked[-1])
        second.probe()
    finally:
        second.close()


# --- two kernels on one notebook -------------------------------------------------------------


def two_kernels(stage: Stage, rng: random.Random) -> None:
    """Two kernels open one notebook at once and ask at once; then a third goes on."""
    asyncio.run(_ask_before(stage, rng.randint(0, 2)))
    before = len(stage.ledger.asked)
    ledgers = stage.ledger, stage.ledger.fork()
    books = [KernelBook(stage, ledger) for ledger in ledgers]
    try:
        counts = [rng.randint(1, 3) for _ in books]
        victim = rng.choice((None, None, 0, 1))
        for turn in range(max(counts)):
            ready = [book for book, count in zip(books, counts, strict=True) if turn < count]
            asked = [(book, book.ledger.ask()) for book in ready]
            sent = [(book, one, book.send(one)) for book, one in asked]  # both, before any answer
            for book, one, message_id in sent:
                book.receive(one, message_id)
        own = [ledger.asked[before:] for ledger in ledgers]
        for ledger, ours, theirs in zip(ledgers, own, own[::-1], strict=True):
            # Whichever opened later begins where the other one stood then.
            seen = [w for w in stage.sent_with(ours[0])[:-1] if w in {a.word for a in theirs}]
            ledger.asked[before:before] = theirs[: len(seen)]
        for number, book in enumerate(books):
            if number == victim:
                book.kill()
            else:
                book.probe()
    finally:
        for book in books:
            book.close()
    third = KernelBook(stage, stage.ledger.fork())
    try:
        _judge_third(third, ledgers)
    finally:
        third.close()
    known = {id(asked): asked for ledger in (*ledgers, third.ledger) for asked in ledger.asked}
    stage.ledger.asked = list(known.values())  # all of them are held against the record


async def _ask_before(stage: Stage, count: int) -> None:
    book = Book(stage)
    try:
        for _ in range(count):
            await book.ask()
    finally:
        await book.close()


def _judge_third(third: KernelBook, ledgers: tuple[Ledger, Ledger]) -> None:
    """It must go on with the one conversation or with the other."""
    rows = read_store(third.stage.store)
    asked: Asked = third.ask()
    history = third.stage.sent_with(asked)
    if not any(history == [*ledger.expected(rows), asked.word] for ledger in ledgers):
        third.ledger.note("no memory", f"a third kernel was sent {history}")


KINDS: dict[str, Callable[[Stage, random.Random], None]] = {
    "claude_killed": _in_this_process(claude_killed),
    "kernel_killed": kernel_killed,
    "api_failing": _in_this_process(api_failing),
    "transcript_truncated": _in_this_process(transcript_truncated),
    "disk_full": _in_this_process(disk_full),
    "record_locked": record_locked,
    "two_kernels": two_kernels,
}
