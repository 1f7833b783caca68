"""Three hundred mixed turns, many of which fail: nothing grows but the record."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from hotclaude_kernel.errors import ApiError, Crashed, Interrupted, UsageError
from hotclaude_kernel.modelserver.replies import Answer, Failure, Reply, Stall, ToolUse

from ..support.book import Book, written
from ..support.waiting import eventually

if TYPE_CHECKING:
    from hotclaude_kernel.modelserver.request import Request
    from hotclaude_kernel.modelserver.server import ModelServer

TURNS, ROUND = 300, 50
#: Between two rounds, allocator and caches included; a turn that stayed would be some 20 KB of it.
MOST_MB = 3.0

pytestmark = [
    pytest.mark.wire,
    pytest.mark.long,
    pytest.mark.usefixtures("isolated"),
    pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts by /proc"),
]


WORKERS = 4


def start_workers() -> None:
    """Give the loop a fixed number of workers, all started: by itself it starts them one by one."""
    workers = ThreadPoolExecutor(WORKERS)
    together = threading.Barrier(WORKERS)
    wait([workers.submit(together.wait) for _ in range(WORKERS)])
    asyncio.get_running_loop().set_default_executor(workers)


class Held(NamedTuple):
    """What this process holds of the system."""

    descriptors: int
    threads: int
    children: int
    leased: int
    tasks: int
    memory_mb: float


def held(book: Book) -> Held:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return Held(
        descriptors=len(list(Path("/proc/self/fd").iterdir())),
        threads=threading.active_count(),
        children=len(children),
        leased=len(book.conversation.pool.leased),
        tasks=len(asyncio.all_tasks()),
        memory_mb=pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20),
    )


class Model:
    """Answers by the last word of a prompt."""

    def __call__(self, request: Request) -> Answer:
        match request.prompt.split()[-1]:
            case "fail":
                return Failure(400)
            case "hang":
                return Reply("half of it", Stall())
            case "tool" if not request.tool_results:
                return Reply(ToolUse("Bash", {"command": "true", "description": "do nothing"}))
        return Reply("fine")


async def hung(book: Book, number: int) -> asyncio.Task[object]:
    """Ask what hangs; return once it has begun to answer."""
    asked = len(book.conversation.turns)
    asking: asyncio.Task[object] = asyncio.create_task(book.run(None, f"{number} hang"))

    def begun() -> bool:
        return any(turn.first_text_s is not None for turn in book.conversation.turns[asked:])

    await eventually(begun, "its first words")
    return asking


async def one(book: Book, number: int) -> None:
    """Ask one turn; by its number it is answered, or fails in one of five ways."""
    match number % 10:
        case 3:
            await book.run(None, f"{number} tool")
        case 5:
            with pytest.raises(ApiError):
                await book.run(None, f"{number} fail")
        case 7:
            asking = await hung(book, number)
            await book.conversation.interrupt()
            with pytest.raises(Interrupted):
                await asking
        case 8:
            with pytest.raises(UsageError):
                await book.conversation.change(permission_mode="none such")
        case 9 if number % ROUND == 19:
            asking = await hung(book, number)
            os.kill(book.conversation.pid or 0, signal.SIGKILL)
            with pytest.raises(Crashed):
                await asking
        case 9 if number % ROUND == 39:
            asking = await hung(book, number)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        case _:
            await book.run(None, f"{number} plain")


async def test_nothing_grows_over_three_hundred_mixed_turns(
    server: ModelServer, home: Path
) -> None:
    start_workers()
    server.model = Model()
    book = Book(written(home / "work" / "book.ipynb"))
    rounds: list[Held] = []
    try:
        for number in range(TURNS):
            if number % ROUND == 0:
                # A long conversation takes `claude` itself ever longer; a new one is as good here.
                await book.conversation.renew()
            await one(book, number)
            if number % ROUND == ROUND - 1:
                await book.conversation.pool.ended()
                await eventually(lambda: book.conversation.ready, "a process waits")
                server.requests.clear()  # 0.3 MB each, of this process
                rounds.append(held(book))
    finally:
        await book.conversation.close()
    first, *later = rounds[1:]  # the first round loads what is loaded once
    for found in later:
        assert found[:5] == first[:5]
    grown = (later[-1].memory_mb - first.memory_mb) / len(later)
    assert grown < MOST_MB, f"{grown:.1f} MB a round of {ROUND} turns"
