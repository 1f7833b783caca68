"""What is damaged, done twice, or moved while nothing can be written: nothing goes astray."""

from __future__ import annotations

import os
import random
import shutil
from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.record.notebook import Record
from hotclaude_kernel.record.resume import head_of
from hotclaude_kernel.record.writing import changes
from hotclaude_kernel.record.writing.journal import left

from ..support.locks import locked
from ..support.waiting import DEADLINE_S
from .test_guests import OTHER, stored
from .test_journal import asked, file, journals
from .test_notebook import Shelf, add, prompts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["file"]  # the fixture

BOOK = "/book.ipynb"
RUINS = 40  # how many damaged files are opened


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "CLAIM_S", 0.05)
    monkeypatch.setattr(changes, "CLOSE_S", 0.05)


def reopened(file: str) -> Record:
    """The notebook's record once all that was written down is recorded."""
    changes.CLAIM_S = DEADLINE_S  # the machine may be busy
    record = Record(BOOK, store=file)
    record.open()
    record.settle(DEADLINE_S)
    record.close()
    return Record(BOOK, store=file)


class TestAJournal:
    def written(self, file: str, change: Callable[[bytes], bytes]) -> None:
        """Have a kernel leave two turns, and damage what it wrote down of them."""
        record = Record(BOOK, store=file)
        record.open()
        asked(record, "two", "three")
        record.close()
        (path,) = journals(file)
        path.write_bytes(change(path.read_bytes()))

    def test_with_a_damaged_line_opens_while_the_record_is_locked(self, file: str) -> None:
        """What followed the turn of that line can't be shown; its line is kept and said."""
        with locked(file):
            self.written(file, lambda data: data.replace(b'{"type":"Add"', b'{"type":"Ad', 1))
            record = Record(BOOK, store=file)
            assert prompts(record) == ["one"]
            asked(record, "zwei")
        record.settle(DEADLINE_S)
        assert ".damaged" in "".join(record.take_notices())
        record.close()
        again = Record(BOOK, store=file)
        assert prompts(again) == ["one", "zwei"]
        again.close()

    def test_with_a_number_that_sqlite_has_not_is_done_without_it(self, file: str) -> None:
        huge = b'"input_tokens":%d' % 10**30
        with locked(file):
            self.written(file, lambda data: data.replace(b'"input_tokens":10', huge))
        again = reopened(file)
        assert prompts(again) == ["one", "two", "three"]
        assert left(file) == []
        again.close()

    def test_that_is_drained_again_makes_no_second_branch(self, file: str) -> None:
        """As after a kill between the commit and the removal."""
        with locked(file):
            record = Record(BOOK, store=file)
            asked(record, "two")
            record.branches.rewind(record.branches.path[0])
            record.write()
            asked(record, "zwei")
            record.close()
            (path,) = journals(file)
            data = path.read_bytes()
        for _ in range(2):
            path.write_bytes(data)
            again = reopened(file)
            assert stored(again) == ("main", {"main": "zwei", "branch-1": "two"})
            again.close()

    def test_whose_new_branch_has_anothers_name_goes_on_under_its_own(self, file: str) -> None:
        host, guest = (Record(BOOK, store=file) for _ in range(2))
        host.kernel = OTHER
        add(host, "two")
        add(guest, "guest")
        with locked(file):
            guest.branches.fork("side")
            guest.write()
            asked(guest, "of the guest")
            guest.close()
        host.branches.fork("side")
        host.write()
        add(host, "of the host")
        host.close()
        again = reopened(file)
        ends = {"main": "two", "main-1": "guest", "side": "of the host", "side-1": "of the guest"}
        assert stored(again) == ("side", ends)
        again.close()

    def test_once_recorded_is_no_newer_than_what_is_asked_after_it(self, file: str) -> None:
        """`%%refresh` after a lock: the new answer replays, not the one that was written down."""
        with locked(file):
            first = Record(BOOK, store=file)
            asked(first, "two")
            first.close()
            record = Record(BOOK, store=file)
            two = record.branches.path[-1]
            assert record.candidates(two.key)[0].node == two.id
        record.settle(DEADLINE_S)
        record.branches.stand(None)
        again = add(record, "two")  # another answer to the same key, as far as the record knows
        assert record.candidates(two.key)[0].node == again.id
        record.close()


class TestARecord:
    def test_damaged_anywhere_opens_and_takes_turns(self, tmp_path: Path) -> None:
        shelf = Shelf(tmp_path)
        path = shelf.notebook()
        first = shelf.open(path)
        for number in range(20):
            add(first, f"{number}", f"cell {number}")
        first.close()
        whole = shelf.file.read_bytes()
        for seed in range(RUINS):
            chance = random.Random(seed)
            data = bytearray(whole)
            for _ in range(chance.choice([1, 5, 50, 300])):
                data[chance.randrange(100, len(data))] = chance.randrange(256)
            shelf.file.write_bytes(data)
            head_of(path, str(shelf.file))
            record = Record(path, store=str(shelf.file))
            record.recognise("cell 0")
            add(record, "more", patience_s=0.0)
            assert prompts(record)[-1] == "more"
            record.branches.stand(None)
            record.write()
            record.close()
            for leftover in tmp_path.glob("store.db*"):
                leftover.unlink()

    def test_a_path_that_is_not_utf_8_is_one_like_any_other(self, shelf: Shelf) -> None:
        names = [os.fsdecode(b"caf\xe9"), os.fsdecode(b"caf\xe8")]
        for name in names:
            record = shelf.open(shelf.notebook(name))
            add(record, name.encode(errors="replace").decode())
            record.close()
        for name in names:
            again = shelf.open(str(shelf.folder / f"{name}.ipynb"))
            assert len(prompts(again)) == 1


@pytest.mark.parametrize("released", [True, False], ids=["released", "written down"])
class TestWhileItIsLocked:
    """A notebook file that was copied, moved or replaced is found, and no other one gets a turn."""

    @pytest.fixture
    def path(self, shelf: Shelf) -> str:
        path = shelf.notebook("orig")
        record = shelf.open(path)
        add(record, "one", "a")
        add(record, "two", "b")
        record.close()
        return path

    def asked(self, shelf: Shelf, path: str, cells: str, *, released: bool) -> Record:
        """Ask in a kernel that opens while the record is locked; return the next kernel's."""
        record = shelf.open(path)
        with locked(str(shelf.file)):
            record.recognise(cells[0])
            add(record, "three", cells[-1], patience_s=0.0)
            if not released:
                record.close()
        if released:
            record.settle(DEADLINE_S)
            record.close()
        changes.CLAIM_S = DEADLINE_S
        again = shelf.open(path)
        again.open()
        again.settle(DEADLINE_S)
        again.recognise(cells[0])
        return again

    def test_a_copy(self, shelf: Shelf, path: str, released: bool) -> None:
        copy = shutil.copy(path, shelf.folder / "copy.ipynb")
        again = self.asked(shelf, str(copy), "ac", released=released)
        assert prompts(again) == ["one", "two", "three"]
        assert [node.cell_id for node in again.branches.path] == ["a", "b", "c"]
        assert again.candidates("key of one")
        assert prompts(shelf.open(path, kernel=OTHER)) == ["one", "two"]

    def test_a_moved_one(self, shelf: Shelf, path: str, released: bool) -> None:
        moved = shutil.move(path, shelf.folder / "moved.ipynb")
        again = self.asked(shelf, str(moved), "ac", released=released)
        assert prompts(again) == ["one", "two", "three"]

    def test_a_new_one_at_its_path(self, shelf: Shelf, path: str, released: bool) -> None:
        moved = shutil.copy(path, shelf.folder / "moved.ipynb")
        shelf.notebook("orig", "xyz")
        again = self.asked(shelf, path, "xz", released=released)
        assert [node.prompt for node in again.branches.nodes.values()] == ["three"]
        old = shelf.open(str(moved), kernel=OTHER)
        old.recognise("a")
        assert prompts(old) == ["one", "two"]
