"""What can't be recorded yet: written down, and recorded later, whatever ends in between."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hotclaude_kernel.claude.events import Usage
from hotclaude_kernel.record import notebooks
from hotclaude_kernel.record.notebook import Record
from hotclaude_kernel.record.queries import all_turns
from hotclaude_kernel.record.store import Store
from hotclaude_kernel.record.writing import changes, journal
from hotclaude_kernel.record.writing.jobs import Add
from hotclaude_kernel.record.writing.journal import MARK, Journal, left

from ..support.locks import Lock, locked
from ..support.waiting import DEADLINE_S, until
from .test_notebook import add, prompts

if TYPE_CHECKING:
    from collections.abc import Iterator

KILLED = -signal.SIGKILL
USED = Usage(input_tokens=10)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "CLAIM_S", 0.05)
    monkeypatch.setattr(changes, "CLOSE_S", 0.05)


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A record that holds the first turn of a notebook."""
    file = str(tmp_path / "store.db")
    record = Record("/book.ipynb", store=file)
    add(record, "one")
    record.close()
    return file


@pytest.fixture
def record(file: str) -> Iterator[Record]:
    record = Record("/book.ipynb", store=file)
    yield record
    record.close()


def journals(file: str) -> list[Path]:
    return [path for path in Path(file).parent.iterdir() if MARK in path.name]


def asked(record: Record, *texts: str) -> None:
    """Ask turns as cells do, while the record is locked."""
    for text in texts:
        record.changes.spend(USED)
        add(record, text, patience_s=0.0)


def die(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def tear(path: Path, data: bytes) -> None:
    """Append half of the data, as a process does that is killed meanwhile."""
    whole(path, data[: len(data) // 2])
    die()


whole = journal._append


def kernel(file: str, step: str, replied: str) -> None:
    """Be a kernel that asks two turns of a locked record and is killed at a step."""
    changes.CLAIM_S = 0.05
    record = Record("/book.ipynb", store=file)
    record.open()
    asked(record, "two")
    Path(replied).write_text("one two")
    if step == "before an append":
        journal._append = die
    elif step == "in an append":
        journal._append = tear
    asked(record, "three")
    Path(replied).write_text("one two three")
    if step == "after an append":
        die()
    journal.Journal.remove = die  # type: ignore[method-assign]
    Path(f"{replied}.next").touch()  # the lock is released now
    record.settle(DEADLINE_S)


def opener(file: str, step: str) -> None:
    """Be the next kernel, which is killed while it records what was written down."""
    if step == "in a drain":
        done = Add.__call__
        Add.__call__ = lambda job, store: (done(job, store), die())[0]  # type: ignore[assignment]
    else:
        Path.unlink = die  # type: ignore[method-assign]
    record = Record("/book.ipynb", store=file)
    record.open()
    record.settle(DEADLINE_S)


def process(target: Any, *arguments: str) -> Any:
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__])
    made = processes.Process(target=target, args=arguments)
    made.start()
    return made


def assert_there(file: str, wanted: str) -> None:
    """All that was replied is there, once; nothing is left to do."""
    changes.CLAIM_S = DEADLINE_S
    record = Record("/book.ipynb", store=file)
    count = len(wanted.split())
    assert prompts(record)[:count] == wanted.split()
    assert record.take_notices() == []
    assert len(all_turns(record.store)) == len(prompts(record)) <= 3
    # What a turn used is written down before the turn; of a torn append it may be all that is left.
    assert record.spent().tokens in (10 * (len(prompts(record)) - 1), 20)
    assert notebooks.holes(record.store) == []
    record.close()
    assert journals(file) == []


class TestAKill:
    """SIGKILL at every step on the way of a turn into the record."""

    @pytest.mark.parametrize("step", ["before an append", "in an append", "after an append"])
    def test_of_writing_down(self, file: str, tmp_path: Path, step: str) -> None:
        replied = tmp_path / "replied"
        with locked(file):
            killed = process(kernel, file, step, str(replied))
            killed.join(DEADLINE_S)
            assert killed.exitcode == KILLED
            assert len(journals(file)) == 1
        assert_there(file, replied.read_text())

    def test_after_it_is_recorded_and_before_the_journal_is_removed(
        self, file: str, tmp_path: Path
    ) -> None:
        replied = tmp_path / "replied"
        lock = Lock(file)
        killed = process(kernel, file, "", str(replied))
        until(Path(f"{replied}.next").exists, "both turns are written down")
        lock.release()
        killed.join(DEADLINE_S)
        assert killed.exitcode == KILLED
        assert len(journals(file)) == 1
        assert_there(file, "one two three")

    @pytest.mark.parametrize("step", ["in a drain", "after a drain"])
    def test_of_the_next_kernel(self, file: str, tmp_path: Path, step: str) -> None:
        with locked(file):
            process(kernel, file, "after an append", str(tmp_path / "replied")).join(DEADLINE_S)
        killed = process(opener, file, step)
        killed.join(DEADLINE_S)
        assert killed.exitcode == KILLED
        assert len(journals(file)) == 1
        assert_there(file, "one two three")


class TestALockedRecord:
    def test_a_notebook_is_opened_and_what_waits_is_recorded_later(
        self, file: str, record: Record
    ) -> None:
        with locked(file):
            assert prompts(record) == ["one"]
            asked(record, "two")
            assert "Written down, not yet recorded" in record.take_notices()[0]
        record.settle(DEADLINE_S)
        assert record.take_notices() == ["What was written down is recorded now"]
        assert journals(file) == []
        assert_there_in(record, "one two")

    def test_what_an_earlier_kernel_wrote_down_is_there_before_it_is_recorded(
        self, file: str, record: Record
    ) -> None:
        with locked(file):
            first = Record("/book.ipynb", store=file)
            asked(first, "two")
            first.close()
            assert prompts(record) == ["one", "two"]
            head = record.branches.path[-1]
            assert record.turn(head.id).prompt.text == "two"
            assert len(record.entries(record.branches.path)) == 2
            asked(record, "three")
        record.settle(DEADLINE_S)
        assert_there_in(record, "one two three")

    def test_a_new_notebook_begins(self, file: str, tmp_path: Path) -> None:
        path = str(tmp_path / "new.ipynb")
        record = Record(path, store=file)
        with locked(file):
            asked(record, "hello")
        record.close()
        again = Record(path, store=file)
        assert prompts(again) == ["hello"]
        again.close()

    def test_one_that_lacks_turns_is_not_begun_anew_in_silence(
        self, file: str, record: Record
    ) -> None:
        first = Record("/book.ipynb", store=file)
        add(first, "two")
        with first.store.write() as db:
            db.execute("delete from member where turn = (select min(id) from turn)")
        first.close()
        with locked(file):
            assert prompts(record) == []
            assert "must be mended first" in record.take_notices()[0]
        record.close()
        changes.CLAIM_S = DEADLINE_S
        again = Record("/book.ipynb", store=file)
        assert prompts(again) == ["one", "two"]
        again.close()

    def test_of_two_kernels_that_opened_meanwhile_one_gets_another_branch(self, file: str) -> None:
        records = [Record("/book.ipynb", store=file) for _ in range(2)]
        for record, kernel in zip(records, (f"{os.getppid()}:0", records[1].kernel), strict=True):
            record.kernel = kernel
        with locked(file):
            for record, text in zip(records, ("two", "zwei"), strict=True):
                asked(record, text)
        for record in records:
            record.settle(DEADLINE_S)
        assert sorted(record.branches.current for record in records) == ["main", "main-1"]
        said = [notice for record in records for notice in record.take_notices()]
        assert sum("goes on as branch main-1" in notice for notice in said) == 1
        records[1].close()
        again = Record("/book.ipynb", store=file)
        ends = {again.branches.nodes[end or ""].prompt for end in again.branches.branches.values()}
        assert {"two", "zwei"} <= ends
        again.close()
        records[0].close()


def assert_there_in(record: Record, wanted: str) -> None:
    with closing(Store(record.file)) as store:
        nodes = [store.node(node) for node in all_turns(store)]
    assert [node.prompt for node in nodes if node] == wanted.split()


class TestTheFile:
    def test_it_is_the_users_alone(self, file: str, record: Record) -> None:
        with locked(file):
            asked(record, "two")
            [path] = journals(file)
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert left(file) == []  # it is in use

    def test_a_link_at_its_name_is_not_followed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        made, target = Journal(str(tmp_path / "store.db"), "1:1"), tmp_path / "target"
        target.write_text("mine")
        (tmp_path / f"store.db{made._name}").symlink_to(target)
        made.append([])
        assert target.read_text() == "mine"
        assert made.path is not None
        assert made.path.parent != tmp_path  # it went to the temporary folder
        made.remove()

    def test_it_is_in_a_temporary_folder_where_the_records_can_not_be_written(
        self, file: str, record: Record, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
        (tmp_path / "tmp").mkdir()
        refuse(monkeypatch, Path(file).parent)
        with locked(file):
            asked(record, "two")
            assert "Written down" in record.take_notices()[0]
            assert journals(file) == []
            record.close()
            [path] = left(file)
        assert path.is_relative_to(tmp_path / "tmp")
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert_there(file, "one two")
        assert left(file) == []

    def test_where_none_can_be_written_that_is_said(
        self, file: str, record: Record, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        refuse(monkeypatch, tmp_path)
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        with locked(file):
            asked(record, "two")
            assert "Neither recorded nor written down" in record.take_notices()[0]
        record.settle(DEADLINE_S)
        assert_there_in(record, "one two")

    def test_a_line_that_a_full_disk_cut_does_not_spoil_the_next(self, file: str) -> None:
        record = Record("/book.ipynb", store=file)
        with locked(file):
            asked(record, "two")
            [path] = journals(file)
            with path.open("ab") as cut:
                cut.write(b'\n{"type":"Add","se')
            asked(record, "three")
            record.close()
        again = Record("/book.ipynb", store=file)
        assert prompts(again) == ["one", "two", "three"]
        again.settle(DEADLINE_S)
        assert "could be recorded: it is in" in again.take_notices()[0]
        again.close()

    def test_what_can_not_be_recorded_is_kept_and_said(self, file: str) -> None:
        Path(f"{file}{MARK}999999-1-0").write_bytes(b'{"type":"Of the future"}\n')
        record = Record("/book.ipynb", store=file)
        assert prompts(record) == ["one"]
        record.settle(DEADLINE_S)
        [notice] = record.take_notices()
        assert notice.endswith(".damaged")
        record.close()
        assert left(file) == []

    def test_each_of_a_process_has_a_name_of_its_own(self, file: str) -> None:
        names = {Journal(file, "1:2")._name for _ in range(2)}
        assert len(names) == 2


def refuse(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Have no journal be written in a folder."""

    def append(path: Path, data: bytes) -> None:
        if path.parent == folder or path.is_relative_to(folder / f"hotclaude-{os.getuid()}"):
            raise PermissionError(f"{path}: refused")
        whole(path, data)

    monkeypatch.setattr(journal, "_append", append)
