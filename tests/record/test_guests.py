"""Who else is at a notebook: a second kernel, a client without ids, a run, another front end."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.record import notebooks

from ..turns.test_cellids import vscode
from .test_notebook import Shelf, add, broken, prompts

if TYPE_CHECKING:
    from hotclaude_kernel.record.notebook import Record

OTHER = f"{os.getppid()}:0"  # a kernel in another process, which runs
THIRD = "1:0"


def stored(record: Record) -> tuple[str, dict[str, str | None]]:
    """The current branch and the ends of all branches, as the file has them."""
    tree = notebooks.notebook_at(record.store, record.path).branches
    ends = {name: end and tree.nodes[end].prompt for name, end in tree.branches.items()}
    return tree.current, ends


def write(record: Record) -> None:
    """Record what was moved, and wait until it is."""
    record.write()
    record.settle(30)


class TestGuests:
    """A second kernel moves nothing of the first one's."""

    @pytest.fixture
    def path(self, shelf: Shelf) -> str:
        return shelf.notebook()

    @pytest.fixture
    def host(self, shelf: Shelf, path: str) -> Record:
        host = shelf.open(path)
        add(host, "one", "a")
        add(host, "two", "b")
        return host

    @pytest.fixture
    def guest(self, shelf: Shelf, path: str, host: Record) -> Record:
        guest = shelf.open(path, kernel=OTHER)
        assert prompts(guest) == ["one", "two"]
        return guest

    def test_one_that_only_opens_and_closes_moves_nothing(
        self, shelf: Shelf, path: str, host: Record, guest: Record
    ) -> None:
        guest.close()
        assert stored(host) == ("main", {"main": "two"})
        add(host, "three", "c")
        host.close()
        assert prompts(shelf.open(path)) == ["one", "two", "three"]

    def test_one_that_only_moves_and_replays_moves_nothing(
        self, host: Record, guest: Record
    ) -> None:
        guest.branches.stand(None)
        write(guest)
        guest.join(host.branches.path[0])
        guest.branches.fork("side")
        write(guest)
        guest.close()
        assert stored(host) == ("main", {"main": "two"})

    def test_its_first_turn_makes_its_branch_and_no_more(
        self, shelf: Shelf, path: str, host: Record, guest: Record
    ) -> None:
        add(host, "three", "c")
        add(guest, "other", "d")
        write(guest)
        add(host, "four", "d")
        write(host)
        add(guest, "more", "e")
        ends = {"main": "four", "main-1": "more"}
        assert stored(host) == ("main", ends)
        guest.close()
        host.close()
        again = shelf.open(path)
        assert prompts(again) == ["one", "two", "three", "four"]
        again.branches.checkout("main-1")
        assert prompts(again) == ["one", "two", "other", "more"]

    def test_what_it_replayed_is_written_with_its_first_turn(
        self, host: Record, guest: Record
    ) -> None:
        first = guest.branches.path[0]
        guest.branches.stand(None)
        guest.join(first)
        add(guest, "other", "d")
        guest.branches.fork("side")
        write(guest)
        ends = {"main": "two", "main-1": "other", "side": "other"}
        assert stored(host) == ("main", ends)

    def test_two_of_them_have_a_branch_each(
        self, shelf: Shelf, path: str, host: Record, guest: Record
    ) -> None:
        third = shelf.open(path, kernel=THIRD)
        assert third.branches.current == guest.branches.current == "main-1"
        third.take_notices()
        add(guest, "of the second")
        add(third, "of the third")
        ends = {"main": "two", "main-1": "of the second", "main-2": "of the third"}
        assert stored(host) == ("main", ends)
        (notice,) = third.take_notices()
        assert notice == (
            "Another kernel has this notebook's branch main-1 open: this one goes on as branch "
            "main-2"
        )

    def test_one_that_goes_to_the_held_branch_gets_one_of_its_own(
        self, host: Record, guest: Record
    ) -> None:
        add(guest, "other")
        guest.branches.checkout("main")
        add(guest, "third of the guest")
        add(host, "third of the host")
        ends = {"main": "third of the host", "main-1": "other", "main-2": "third of the guest"}
        assert stored(host) == ("main", ends)
        assert prompts(guest) == ["one", "two", "third of the guest"]

    def test_a_branch_that_has_moved_is_not_moved_back(
        self, shelf: Shelf, path: str, host: Record, guest: Record
    ) -> None:
        add(host, "three")
        host.close()
        guest.branches.checkout("main")  # as the guest knew it: after two
        add(guest, "other")
        assert stored(guest) == ("main", {"main": "three", "main-2": "other"})

    def test_the_first_kernel_goes_on_where_it_was_before_the_guest_is_gone(
        self, shelf: Shelf, path: str, host: Record, guest: Record
    ) -> None:
        add(guest, "other")
        host.close()
        again = shelf.open(path)
        assert prompts(again) == ["one", "two"]
        assert again.branches.current == "main"
        assert again.take_notices() == []

    def test_equal_names_for_what_each_left_become_two(self, host: Record, guest: Record) -> None:
        add(guest, "other")
        host.branches.rewind(host.branches.path[0])
        write(host)
        assert guest.branches.rewind(guest.branches.path[1]) == "branch-1"
        write(guest)
        assert (
            guest.take_notices()[-1] == "Another kernel has a branch branch-1: it is branch-2 here"
        )
        ends = {"main": "one", "branch-1": "two", "main-1": "two", "branch-2": "other"}
        assert stored(host) == ("main", ends)

    def test_a_turn_that_could_not_be_written_is_written_to_its_branch(
        self, host: Record, guest: Record
    ) -> None:
        with broken(guest.store):
            add(guest, "other", patience_s=0)
        guest.close()
        assert stored(host) == ("main", {"main": "two", "main-1": "other"})


class TestRuns:
    """A client without a page runs the notebook from its start, and leaves its place alone."""

    @pytest.fixture
    def record(self, shelf: Shelf) -> Record:
        record = shelf.open(shelf.notebook())
        add(record, "one", "a")
        add(record, "two", "b")
        return record

    def test_it_begins_at_the_start_and_the_place_is_kept(
        self, shelf: Shelf, record: Record
    ) -> None:
        record.begin_run()
        assert prompts(record) == []
        add(record, "built")
        record.end_run()
        assert prompts(record) == ["one", "two"]
        add(record, "three", "c")
        assert stored(record) == ("main", {"main": "three", "main-1": "built"})
        record.close()
        assert prompts(shelf.open(record.path)) == ["one", "two", "three"]

    def test_one_that_only_replays_leaves_nothing(self, record: Record) -> None:
        one = record.branches.path[0]
        for _ in range(3):
            record.begin_run()
            record.join(one)
            assert prompts(record) == ["one"]
        record.end_run()
        assert record.branches.branches.keys() == {"main"}
        assert stored(record) == ("main", {"main": "two"})

    def test_one_run_after_another(self, record: Record) -> None:
        for text in ("first", "second"):
            record.begin_run()
            add(record, text)
        record.end_run()
        ends = {"main": "two", "main-1": "first", "main-2": "second"}
        assert stored(record) == ("main", ends)

    def test_in_a_guests_kernel(self, shelf: Shelf, record: Record) -> None:
        guest = shelf.open(record.path, kernel=OTHER)
        guest.begin_run()
        assert guest.take_notices() == []
        add(guest, "built")
        guest.end_run()
        assert prompts(guest) == ["one", "two"]
        guest.close()
        current, ends = stored(record)
        assert (current, ends["main"]) == ("main", "two")
        assert "built" in ends.values()

    def test_a_turn_that_waits_keeps_its_branch(self, record: Record) -> None:
        with broken(record.store):
            add(record, "three", "c", patience_s=0)
            record.begin_run()
            add(record, "built", patience_s=0)
            record.end_run()
        write(record)
        assert stored(record) == ("main", {"main": "three", "main-1": "built"})


class TestDoors:
    def test_a_request_without_an_id_tells_nothing(self, shelf: Shelf) -> None:
        path = shelf.notebook()
        first = shelf.open(path)
        add(first, "one", "a")
        first.close()
        again = shelf.open(path)
        assert not again.recognise(None)
        assert prompts(again) == ["one"]
        add(again, "typed", None)
        assert not again.recognise("b")
        assert prompts(again) == ["one", "typed"]
        again.close()
        assert prompts(shelf.open(path)) == ["one", "typed"]

    def test_nor_does_it_hide_that_the_notebook_was_moved(self, shelf: Shelf) -> None:
        first = shelf.open(shelf.notebook())
        add(first, "one", "a")
        first.close()
        (shelf.folder / "book.ipynb").rename(shelf.folder / "moved.ipynb")
        moved = shelf.open(str(shelf.folder / "moved.ipynb"))
        assert not moved.recognise(None)
        assert moved.recognise("b")
        assert prompts(moved) == ["one"]

    def test_vs_code_tells_the_path_in_the_ids(self, shelf: Shelf) -> None:
        path = shelf.notebook("my book")
        first = shelf.open(None)
        assert first.recognise(vscode(path.replace(" ", "%20")))
        assert first.path == path
        add(first, "one", vscode(path, 1))
        first.close()
        again = shelf.open(None)
        assert again.recognise(vscode(path.replace(" ", "%20"), 5))
        assert prompts(again) == ["one"]
        assert [node.cell_id for node in again.branches.path] == [None]

    def test_a_new_notebook_of_vs_code_has_nobodys_memory(self, shelf: Shelf) -> None:
        cell = vscode("Untitled-1.ipynb", 1, "untitled")
        first = shelf.open(None)
        first.recognise(cell)
        add(first, "one", cell)
        first.close()
        again = shelf.open(None)
        assert not again.recognise(cell)
        assert prompts(again) == []

    @pytest.mark.parametrize(
        "cell",
        [vscode("/nowhere/nb.ipynb"), vscode(f"/{'x' * 3000}.ipynb"), vscode("/a%00b.ipynb")],
    )
    def test_a_path_that_is_not_here_is_not_taken(self, shelf: Shelf, cell: str) -> None:
        record = shelf.open(None)
        assert not record.recognise(cell)
        assert record.path is None

    def test_the_path_of_the_server_is_kept_where_it_is_a_file(self, shelf: Shelf) -> None:
        ours, theirs = shelf.notebook("ours"), shelf.notebook("theirs")
        record = shelf.open(ours)
        assert not record.recognise(vscode(theirs))
        assert record.path == ours

    def test_ids_of_vs_code_in_an_older_record_are_forgotten(self, shelf: Shelf) -> None:
        record = shelf.open(shelf.notebook())
        add(record, "one", "a")
        with record.store.write() as db:
            db.execute("update member set cell_id = ?", (vscode("/p/nb.ipynb"),))
        record.close()
        (node,) = shelf.open(record.path).branches.path
        assert node.cell_id is None

    def test_an_old_notebook_has_no_ids_that_last(self, shelf: Shelf) -> None:
        path = shelf.notebook()
        old = {"nbformat": 4, "nbformat_minor": 4, "cells": [{"source": ""}]}
        Path(path).write_text(json.dumps(old))
        record = shelf.open(path)
        assert not record.recognise("random")
        assert not record.ids_last

    def test_without_a_path_a_later_cell_may_tell(self, shelf: Shelf) -> None:
        first = shelf.open(None)
        add(first, "one", "a")
        first.close()
        again = shelf.open(None)
        assert not again.recognise("new")
        assert again.recognise("a")
        assert prompts(again) == ["one"]

    def test_but_not_once_this_kernel_has_a_turn(self, shelf: Shelf) -> None:
        first = shelf.open(None)
        add(first, "one", "a")
        first.close()
        again = shelf.open(None)
        again.recognise("new")
        add(again, "another", "new")
        assert not again.recognise("a")
        assert prompts(again) == ["another"]
