"""Which process a lease gets, and which ones end, with processes that only say they are there."""

from __future__ import annotations

import asyncio
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from hotclaude_kernel.claude import arguments
from hotclaude_kernel.errors import (
    ClaudeUnusable,
    ConversationLost,
    Interrupted,
    ProcessDied,
    UsageError,
)
from hotclaude_kernel.pool import orphans
from hotclaude_kernel.pool import pool as pool_module
from hotclaude_kernel.pool.pool import Pool
from hotclaude_kernel.pool.warm import Limits, Place
from hotclaude_kernel.record.notebook import Record
from hotclaude_kernel.turns.settings import Settings
from hotclaude_kernel.turns.tree import Node

from ..support.waiting import DEADLINE_S, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from hotclaude_kernel.errors import HotClaudeError
    from hotclaude_kernel.pool.warm import Warm

QUIET = Limits(spares=0)


class FakeSession:
    """A session with nobody behind it: it starts, is rewound and ends as it is told to."""

    def __init__(self, pid: int, world: World) -> None:
        self.pid, self.world = pid, world
        self.alive = True
        self.rewound: list[str] = []

    async def start(self) -> None:
        self.world.begun.set()
        await self.world.gate.wait()
        if self.world.fails:
            self.alive = False
            raise self.world.fails

    async def rewind(self, uuid: str, _: str) -> bool:
        self.rewound.append(uuid)
        return self.world.rewinds

    async def close(self, *, now: bool = False) -> None:
        self.alive = False
        self.world.closed.append(self.pid)
        if now:
            self.world.killed.append(self.pid)


class World:
    """What is started, what has ended, and how it all behaves."""

    def __init__(self) -> None:
        self.pids = count(1)
        self.spawned: list[tuple[str, ...]] = []
        self.closed: list[int] = []
        self.killed: list[int] = []
        self.fails: Exception | None = None
        self.rewinds = True
        self.begun, self.gate = asyncio.Event(), asyncio.Event()
        self.gate.set()

    def spawn(self, argv: tuple[str, ...], _: str, __: str) -> Any:
        self.spawned.append(argv)
        return SimpleNamespace(pid=next(self.pids))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(pool_module, "spawn", made.spawn)
    monkeypatch.setattr(pool_module, "find_claude", lambda _: "claude")
    monkeypatch.setattr(pool_module, "started", lambda _: 0)
    monkeypatch.setattr(pool_module, "ProcessTransport", lambda process, flags: process)
    monkeypatch.setattr(pool_module, "Session", lambda process: FakeSession(process.pid, made))
    monkeypatch.setattr(orphans, "end_all", lambda _: None)
    monkeypatch.setattr(pool_module, "SPARE_AFTER_S", 0.0)
    return made


@pytest.fixture
async def pool(world: World, tmp_path: Path) -> AsyncIterator[Pool]:
    async with opened(tmp_path) as made:
        yield made


class opened:  # noqa: N801 - reads as what it does
    """A pool on a record of its own, closed in the end."""

    def __init__(self, folder: Path, limits: Limits = QUIET) -> None:
        self.record = Record(store=str(folder / "store.db"))
        self.record.entries = lambda path: [b"{}\n" for _ in path]  # type: ignore[method-assign]
        self.record.settings_of = lambda node: Settings()  # type: ignore[method-assign]
        self.pool = Pool(self.record, limits=limits)

    async def __aenter__(self) -> Pool:
        return self.pool

    async def __aexit__(self, *_: object) -> None:
        await self.pool.close()
        self.record.close()


def node(number: int, *, compacted: bool = False) -> Node:
    return Node(
        id=f"node-{number}",
        parent=f"node-{number - 1}" if number > 1 else None,
        number=number,
        prompt="",
        status="ok",
        uuid=f"uuid-{number}",
        compacted=compacted,
    )


def place(turns: int = 0, **options: Any) -> Place:
    """A place after so many turns."""
    path = tuple(node(number) for number in range(1, turns + 1))
    new = options.pop("new", False)
    return Place(Settings(**options), path, new=new)


def asked(warm: Warm, turns: int) -> Place:
    """Have a process answer so many turns more; return where the conversation then is."""
    for number in range(len(warm.held) + 1, len(warm.held) + turns + 1):
        warm.held.append(node(number))
    warm.turns += turns
    return place(len(warm.held))


async def used(pool: Pool, where: Place, turns: int = 0) -> Warm:
    """Lease a process, have it answer so many turns, give it back."""
    async with pool.lease(where) as warm:
        asked(warm, turns)
    return warm


class TestLeasing:
    async def test_the_first_lease_starts_a_process(self, pool: Pool, world: World) -> None:
        async with pool.lease(place()) as warm:
            assert (warm.session.pid, pool.parked, pool.leased) == (1, [], [warm])
        assert "--session-id" in world.spawned[0]

    async def test_a_process_that_was_parked_is_leased_again(self, pool: Pool) -> None:
        warm = await used(pool, place(), 1)
        assert (pool.parked, pool.leased) == ([warm], [])
        assert await used(pool, place(1)) is warm
        assert pool.tally.spawned == 1

    async def test_it_is_rewound_where_it_has_seen_more(self, pool: Pool) -> None:
        warm = await used(pool, place(), 3)
        async with pool.lease(place(1)) as again:
            assert again is warm
            assert warm.session.rewound == ["uuid-2"]  # type: ignore[attr-defined]
            assert warm.ids == ("node-1",)

    async def test_one_that_can_not_rewind_gives_way_to_a_new_one(
        self, pool: Pool, world: World
    ) -> None:
        world.rewinds = False
        await used(pool, place(), 3)
        again = await used(pool, place(1))
        await pool.ended()
        assert (again.session.pid, again.ids, world.closed) == (2, ("node-1",), [1])
        assert "--resume" in world.spawned[1]

    async def test_a_summary_can_not_be_cut_off_in_place(self, pool: Pool) -> None:
        async with pool.lease(place()) as warm:
            warm.held += [node(1), node(2, compacted=True)]
        assert await used(pool, place(1)) is not warm

    async def test_other_settings_start_another_process(self, pool: Pool) -> None:
        warm = await used(pool, place(), 1)
        async with pool.lease(place(1, model="haiku")) as other:
            assert other is not warm
            assert pool.parked == [warm]

    async def test_of_two_the_one_that_is_there_already_is_leased(self, pool: Pool) -> None:
        async with pool.lease(place()) as far:
            near = await used(pool, place(), 1)
            asked(far, 3)
        assert await used(pool, place(1)) is near

    async def test_one_that_died_while_it_was_parked_is_not_leased(self, pool: Pool) -> None:
        warm = await used(pool, place())
        warm.session.alive = False  # type: ignore[misc]
        assert await used(pool, place()) is not warm

    @pytest.mark.parametrize("leases", [2, 8])
    async def test_several_leases_at_once_of_one_place_get_processes_of_their_own(
        self, pool: Pool, world: World, leases: int
    ) -> None:
        all_lent = asyncio.Barrier(leases)

        async def use() -> Warm:
            async with pool.lease(place()) as warm:
                await all_lent.wait()
                assert warm in pool.leased
                return warm

        async with asyncio.timeout(10):
            lent = await asyncio.gather(*(use() for _ in range(leases)))
        assert len({warm.session.pid for warm in lent}) == leases
        assert (len(world.spawned), pool.leased) == (leases, [])
        most = pool.limits.processes
        await eventually(lambda: len(pool.parked) <= most, "no more are kept than allowed")
        assert len(pool.parked) == min(leases, most)

    async def test_a_lease_waits_for_what_was_prepared(self, pool: Pool, world: World) -> None:
        world.gate.clear()
        pool.prepare(place())
        leasing = asyncio.create_task(used(pool, place()))
        await world.begun.wait()
        world.gate.set()
        await leasing
        assert len(world.spawned) == 1

    async def test_giving_up_the_waiting_leaves_the_process_to_the_next(
        self, pool: Pool, world: World
    ) -> None:
        world.gate.clear()
        leasing = asyncio.create_task(used(pool, place()))
        await world.begun.wait()
        leasing.cancel()
        await asyncio.gather(leasing, return_exceptions=True)
        world.gate.set()
        await used(pool, place())
        assert len(world.spawned) == 1


class TestABlockThatFails:
    @pytest.mark.parametrize("failure", [ZeroDivisionError(), asyncio.CancelledError()])
    async def test_its_process_ends_where_nobody_knows_what_it_has_seen(
        self, pool: Pool, world: World, failure: BaseException
    ) -> None:
        with pytest.raises(type(failure)):
            async with pool.lease(place()):
                raise failure
        await pool.ended()
        assert (pool.parked, pool.leased, world.closed, world.killed) == ([], [], [1], [1])

    @pytest.mark.parametrize("failure", [UsageError("no"), Interrupted("stopped")])
    async def test_it_is_parked_where_the_error_is_ours(
        self, pool: Pool, world: World, failure: HotClaudeError
    ) -> None:
        with pytest.raises(type(failure)):
            async with pool.lease(place()) as warm:
                raise failure
        assert (pool.parked, pool.leased, world.closed) == ([warm], [], [])
        assert await used(pool, place()) is warm

    async def test_one_that_the_block_has_retired_is_not_parked(
        self, pool: Pool, world: World
    ) -> None:
        async with pool.lease(place()) as warm:
            pool.retire(warm)
        await pool.ended()
        assert (pool.parked, pool.leased, world.closed) == ([], [], [1])


class TestWhatCanNotBeStarted:
    async def test_the_lease_says_so_and_nothing_is_kept(self, pool: Pool, world: World) -> None:
        world.fails = ProcessDied("it died at once")
        with pytest.raises(ProcessDied):
            await used(pool, place())
        assert (pool.parked, pool.leased, world.closed) == ([], [], [1])

    async def test_where_it_was_to_be_resumed_the_conversation_is_lost(
        self, pool: Pool, world: World
    ) -> None:
        world.fails = ProcessDied("no such session")
        with pytest.raises(ConversationLost):
            await used(pool, place(2))

    async def test_no_transcript_is_left_of_one_that_was_not_spawned(
        self, pool: Pool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        def spawn(*_: object) -> None:
            raise ClaudeUnusable("gone")

        monkeypatch.setattr(pool_module, "spawn", spawn)
        with pytest.raises(ClaudeUnusable):
            await used(pool, place(2))
        assert not list(tmp_path.rglob("*.jsonl"))  # noqa: ASYNC240


class TestLimits:
    async def test_no_more_are_kept_than_allowed_and_the_one_that_serves_stays(
        self, world: World, tmp_path: Path
    ) -> None:
        async with opened(tmp_path, Limits(spares=0, processes=1)) as pool:
            await used(pool, place(), 1)
            pool.home = place(model="haiku")
            second = await used(pool, pool.home)
            await eventually(lambda: world.closed == [1], "the first one ends")
            assert (pool.parked, pool.tally.evicted) == ([second], 1)

    async def test_what_is_idle_for_long_ends_and_the_conversation_sleeps(
        self, world: World, tmp_path: Path
    ) -> None:
        async with opened(tmp_path, Limits(spares=0, idle_timeout_s=0.01)) as pool:
            pool.home = place(1)
            await used(pool, place(), 1)
            await eventually(lambda: world.closed == [1], "it ends")
            assert (pool.asleep, pool.tally.hibernated) == (True, 1)
            async with pool.lease(place(1)):
                assert not pool.asleep

    async def test_what_is_worn_is_replaced_before_it_is_wanted(
        self, world: World, tmp_path: Path
    ) -> None:
        async with opened(tmp_path, Limits(spares=0, turns=2)) as pool:
            pool.home = place(2)
            warm = await used(pool, place(), 2)
            await eventually(lambda: len(pool.parked) == 1 and warm not in pool.parked, "a new one")
            assert (pool.tally.recycled, pool.parked[0].ids) == (1, ("node-1", "node-2"))

    async def test_a_spare_waits_for_a_new_conversation(self, world: World, tmp_path: Path) -> None:
        async with opened(tmp_path, Limits(spares=1)) as pool:
            pool.home = place(1)
            warm = await used(pool, place(), 1)
            await eventually(lambda: len(pool.parked) == 2, "the spare")
            async with pool.lease(place(new=True)) as spare:
                assert spare is not warm
                assert pool.tally.spawned == 2


class TestEnding:
    async def test_closing_ends_what_is_parked_leased_and_starting(
        self, pool: Pool, world: World
    ) -> None:
        async with pool.lease(place()) as leased:
            parked = await used(pool, place())
            world.gate.clear()
            world.begun.clear()
            pool.prepare(place(1))
            await world.begun.wait()
            assert (pool.parked, pool.leased) == ([parked], [leased])
            await pool.close()
            assert sorted(world.closed) == [1, 2, 3]
        assert (pool.parked, pool.leased) == ([], [])

    async def test_nothing_is_prepared_after_closing(self, pool: Pool, world: World) -> None:
        await pool.close()
        pool.prepare(place())
        await asyncio.sleep(0)
        assert world.spawned == []

    async def test_each_process_is_written_down_until_it_has_ended(self, pool: Pool) -> None:
        def noted() -> list[Any]:
            pool._record.settle(DEADLINE_S)
            with pool._record.store.read() as db:
                return list(db.execute("select pid from process"))

        async with pool.lease(place()) as warm:
            assert noted() == [(1,)]
            pool.retire(warm)
        await pool.ended()
        assert noted() == []


class TestPrivateArguments:
    """Each process has a folder of its own for what others must not read."""

    TOLD = Settings(system="Be kind.")

    def folders(self, pool: Pool, tmp_path: Path) -> list[str]:
        return [path.name for path in (tmp_path / "sessions").glob("*")]

    async def test_the_folder_lives_as_long_as_the_process(
        self, pool: Pool, world: World, tmp_path: Path
    ) -> None:
        async with pool.lease(place(system="Be kind.")) as warm:
            (argv,) = world.spawned
            assert "Be kind." not in argv
            assert argv[argv.index("--system-prompt-file") + 1].startswith(warm.written.folder)
            assert len(self.folders(pool, tmp_path)) == 1
            pool.retire(warm)
        await pool.ended()
        assert self.folders(pool, tmp_path) == []

    @pytest.mark.parametrize("turns", [0, 2])
    async def test_nothing_is_left_of_a_process_that_does_not_start(
        self, pool: Pool, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turns: int
    ) -> None:
        world.fails = ProcessDied("no")
        with pytest.raises((ProcessDied, ConversationLost)):
            async with pool.lease(place(turns, system="Be kind.")):
                pass

        def refused(*_: object) -> None:
            raise ClaudeUnusable("no")

        monkeypatch.setattr(pool_module, "spawn", refused)
        with pytest.raises(ClaudeUnusable):
            async with pool.lease(place(turns, system="Be kind.")):
                pass
        assert self.folders(pool, tmp_path) == []

    async def test_where_they_cant_be_written_nothing_is_started(
        self, pool: Pool, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("hotclaude_kernel.claude.files.write_new", full)
        with pytest.raises(ClaudeUnusable, match=r"can't be handed to claude: .*No space left"):
            async with pool.lease(place(system="Be kind.")):
                pass
        assert world.spawned == []
        assert self.folders(pool, tmp_path) == []

    async def test_those_of_a_prespawned_process_that_does_not_fit_go_with_it(
        self, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        killed: list[Any] = []
        monkeypatch.setattr(pool_module, "kill_unadopted", killed.append)
        flags, folder = arguments.hand_over(self.TOLD.argv(), [str(tmp_path / "sessions")])
        early = SimpleNamespace(
            process="early", flags=tuple(flags), cwd="/", node=None, file="", folder=folder, held=()
        )
        pool._early = early  # type: ignore[assignment]
        async with pool.lease(place()):
            assert killed == ["early"]
            assert self.folders(pool, tmp_path) == []
