"""A few seeds of each fault; `python -m tests.faults` runs hundreds. And: the trials can fail."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from hotclaude_kernel.record.transcripts import Tail
from hotclaude_kernel.record.writing.jobs import Add

from .__main__ import table
from .ledger import END, Ledger, Row, answer_to, read_store
from .stage import Book, staged
from .trials import KINDS, Killer, Trial, Verdict, cut_transcripts, fill_disk, read_only, run

if TYPE_CHECKING:
    from pathlib import Path

KERNELS = ("kernel_killed", "record_locked", "two_kernels")
#: Each of the others breaks what a quicker test breaks daily.
DAILY = ("claude_killed", "disk_full")


def kinds(*, kernels: bool) -> list[Any]:
    found = [kind for kind in KINDS if (kind in KERNELS) is kernels]
    marks = {kind: () if kind in DAILY else (pytest.mark.long,) for kind in found}
    return [pytest.param(kind, marks=marks[kind]) for kind in found]


def row(word: str, status: str = "ok") -> Row:
    return Row(word, status, answer_to([word]) if status == "ok" else "")


class TestFaults:
    @pytest.mark.wire
    @pytest.mark.usefixtures("binary")
    @pytest.mark.parametrize("kind", kinds(kernels=False))
    def test_nothing_breaks_in_a_conversation(self, kind: str) -> None:
        verdict = run(Trial(kind=kind, seed=1))
        assert verdict.broken == {}, "\n".join(verdict.story)

    @pytest.mark.kernel
    @pytest.mark.usefixtures("binary")
    @pytest.mark.parametrize("kind", kinds(kernels=True))
    def test_nothing_breaks_in_a_kernel(self, kind: str) -> None:
        verdict = run(Trial(kind=kind, seed=1))
        assert verdict.broken == {}, "\n".join(verdict.story)


@pytest.mark.wire
@pytest.mark.usefixtures("binary")
class TestWhatTheTrialsFound:
    """Each was a bug once."""

    @pytest.mark.long
    async def test_the_same_turn_again_on_a_full_disk_does_not_block_what_follows(self) -> None:
        with staged() as stage:
            book = Book(stage)
            try:
                first = await book.ask()
                with fill_disk(book):
                    await book.ask_again(first, anew=True)
                    await book.ask()
                await book.ask()
                await book.reopen()
                await book.probe()
            finally:
                await book.close()
            stage.ledger.audit(read_store(stage.store))
            assert stage.ledger.broken == {}, stage.ledger.story

    @pytest.mark.long
    async def test_the_same_turn_again_on_a_full_disk_can_be_rewound_once_it_was_resumed(
        self,
    ) -> None:
        with staged() as stage:
            book = Book(stage)
            try:
                await book.ask()
                again = await book.ask()
                with read_only(book):
                    await book.ask_again(again, anew=True)
                    Killer(book).strike()
                    await book.ask()
                    await book.probe_again(again, anew=True)
            finally:
                await book.close()
            assert stage.ledger.broken == {}, stage.ledger.story

    @pytest.mark.long
    async def test_a_turn_that_waits_for_room_is_resumed_without_its_transcript(self) -> None:
        with staged() as stage:
            book = Book(stage)
            try:
                await book.ask()
                with read_only(book):
                    cut_transcripts(book, None)
                    await book.ask()
                    Killer(book).strike()
                    await book.probe()
            finally:
                await book.close()
            stage.ledger.audit(read_store(stage.store))
            assert stage.ledger.broken == {}, stage.ledger.story

    @pytest.mark.long
    async def test_a_cell_is_run_again_after_its_idle_process_was_killed(self) -> None:
        with staged() as stage:
            book = Book(stage)
            try:
                asked = [await book.ask() for _ in range(2)]
                Killer(book).strike()
                await book.probe_again(asked[0], anew=True)
            finally:
                await book.close()
            assert stage.ledger.broken == {}, stage.ledger.story


def entry(number: int, *, kind: str = "user") -> bytes:
    parent = f"uuid-{number - 1}" if number else None
    value = {"type": kind, "uuid": f"uuid-{number}", "parentUuid": parent, "text": "x" * 300}
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


class TestACutTranscript:
    """Half a turn would be resumed as all of it; without any, it is made from the recording."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "transcript.jsonl"
        path.write_bytes(entry(0) + entry(1))
        return path

    @pytest.fixture
    def tail(self, path: Path) -> Tail:
        return Tail("session", path)

    def append(self, path: Path, *entries: bytes) -> bytes:
        with path.open("ab") as file:
            file.writelines(entries)
        return b"".join(entries)

    def test_it_is_read_on_where_nobody_cut_it(self, tail: Tail, path: Path) -> None:
        assert tail.take() == b""
        new = self.append(path, entry(2), entry(3))
        assert tail.take() == new
        new = self.append(path, entry(4))
        assert tail.take() == new

    def test_a_turn_after_a_rewind_follows_on_an_older_one(self, tail: Tail, path: Path) -> None:
        self.append(path, entry(2), entry(3))
        tail.take()
        new = self.append(path, entry(1), entry(2))
        assert tail.take() == new

    @pytest.mark.parametrize("at", [0, 1, 300, 500, -1])
    def test_a_turn_after_a_cut_is_not_taken_and_the_next_one_is(
        self, tail: Tail, path: Path, at: int
    ) -> None:
        os.truncate(path, at if at >= 0 else path.stat().st_size + at)
        self.append(path, b'{"type":"log"}\n', *map(entry, range(2, 6)))
        assert tail.take() == b""
        new = self.append(path, entry(6), entry(7))
        assert tail.take() == new

    def test_a_removed_one_is_not_taken_and_the_next_turn_is(self, tail: Tail, path: Path) -> None:
        path.unlink()
        self.append(path, entry(2), entry(3))
        assert tail.take() == b""
        new = self.append(path, entry(4))
        assert tail.take() == new

    def test_a_turn_that_was_cut_itself_is_not_taken(self, tail: Tail, path: Path) -> None:
        self.append(path, entry(2), entry(3))
        os.truncate(path, path.stat().st_size - 100)
        self.append(path, entry(4), entry(5))
        assert tail.take() == b""

    def test_nor_one_that_misses_whole_entries(self, tail: Tail, path: Path) -> None:
        self.append(path, entry(3), entry(4))
        assert tail.take() == b""


@pytest.mark.wire
@pytest.mark.long
@pytest.mark.usefixtures("binary")
class TestTheTrialsCanFail:
    def test_a_turn_that_is_not_recorded_is_lost(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Add, "__call__", lambda job, store: job.turn.node.uuid)
        assert {"lost", "no memory"} <= run(Trial(kind="claude_killed", seed=1)).broken.keys()

    def test_a_command_that_is_not_ended_is_an_orphan(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tests.faults.trials.CLAUDE_MOMENTS", ("tool",))
        monkeypatch.setattr("tests.faults.stage.ORPHANS_S", 0.2)
        monkeypatch.setattr("tests.faults.trials.ORPHANS_S", 0.2)
        monkeypatch.setattr("hotclaude_kernel.pool.orphans.end_all", lambda token: None)
        assert "orphans" in run(Trial(kind="claude_killed", seed=1)).broken


class TestTheLedger:
    def test_all_that_finished_is_expected_in_order(self) -> None:
        ledger = Ledger()
        for outcome in ("ok", "failed", "ok", "doubt"):
            ledger.answered(ledger.ask(), outcome, END)
        assert ledger.expected([]) == ["word1", "word3"]
        assert ledger.expected([row("word4")]) == ["word1", "word3", "word4"]
        assert ledger.expected([row("word2", "error")]) == ["word1", "word2", "word3"]

    def test_a_cell_that_is_run_again_takes_out_what_followed(self) -> None:
        ledger = Ledger()
        first = ledger.ask()
        for asked in (first, ledger.ask(), ledger.ask_again(first)):
            ledger.answered(asked, "ok", END)
        assert ledger.expected([]) == ["word1"]

    @pytest.mark.parametrize(
        ("history", "broken"),
        [
            ("word1 word2", set()),
            ("word2", {"lost", "no memory"}),
            ("word1 word1 word2", {"duplicated", "no memory"}),
            ("word2 word1", {"no memory"}),
            ("word1 word9 word2", {"no memory"}),
        ],
    )
    def test_what_was_sent_is_held_against_it(self, history: str, broken: set[str]) -> None:
        ledger = Ledger()
        for asked in (ledger.ask(), ledger.ask()):
            ledger.answered(asked, "ok", END)
        ledger.judge(history.split(), [])
        assert ledger.broken.keys() == broken

    @pytest.mark.parametrize(
        ("outcome", "rows", "broken"),
        [
            ("ok", [row("word1")], set()),
            ("ok", [], {"lost"}),
            ("ok", [row("word1"), row("word1")], {"duplicated"}),
            ("failed", [row("word1", "error")], set()),
            ("failed", [row("word1")], {"false ok"}),
            ("doubt", [row("word1")], set()),
            ("doubt", [Row("word1", "ok", "half an ans")], {"false ok"}),
        ],
    )
    def test_what_is_recorded_is_held_against_it(
        self, outcome: str, rows: list[Row], broken: set[str]
    ) -> None:
        ledger = Ledger()
        ledger.answered(ledger.ask(), outcome, END)
        ledger.audit(rows)
        assert ledger.broken.keys() == broken

    def test_an_ok_with_half_an_answer_is_false(self) -> None:
        ledger = Ledger()
        ledger.answered(ledger.ask(), "ok", "half an ans")
        assert ledger.broken.keys() == {"false ok"}


def test_the_table_counts_trials_by_what_broke() -> None:
    verdicts = [
        Verdict(trial=Trial(kind="disk_full", seed=n), broken=broken, story=(), total_s=2.0)
        for n, broken in enumerate([{"lost": "why"}, {}, {"lost": "why", "orphans": "why"}])
    ]
    lines = table(verdicts).splitlines()
    assert lines[2] == "| disk full | 3 | 2 | 0 | 0 | 1 | 0 | 0 | 0 | 2.0 |"
    assert lines[3].startswith("| all | 3 | 2 |")
