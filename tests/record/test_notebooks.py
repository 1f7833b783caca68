"""Which notebooks the record knows, where they stand, who holds them, what they have spent."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.claude.events import Usage
from hotclaude_kernel.claude.processes import this_kernel
from hotclaude_kernel.record import notebooks
from hotclaude_kernel.record.notebooks import notebook_at, notebook_with
from hotclaude_kernel.record.store import Store

from .test_cassette import Book

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH = "/a/book.ipynb"
GONE = "999999999:1"  # a kernel that is no more


@pytest.fixture
def store() -> Iterator[Store]:
    with closing(Store()) as made:
        yield made


def test_a_path_is_one_notebook_and_no_path_is_a_new_one_each_time(store: Store) -> None:
    assert notebook_at(store, PATH).id == notebook_at(store, PATH).id
    assert notebook_at(store, None).id != notebook_at(store, None).id


def test_a_tree_comes_back_as_it_was_written(store: Store) -> None:
    book = Book(store, PATH)
    first = book.add("one")
    book.add("two", after=first)
    tree = notebook_at(store, PATH).branches
    tree.mark("good")
    tree.fork("side")
    tree.stand(first.id)
    notebooks.write_branches(
        store, book.notebook, tree.branches, tree.checkpoints, current=tree.current
    )
    again = notebook_at(store, PATH)
    found, made = again.branches.view(), tree.view()
    assert [node.id for node in found.nodes] == [node.id for node in made.nodes]
    assert (found.head, found.current) == (first.id, "side")
    assert (found.branches, found.checkpoints) == (made.branches, made.checkpoints)


class TestCells:
    def test_a_notebook_is_known_by_the_newest_turn_of_its_cells(self, store: Store) -> None:
        old, new = Book(store, "/old.ipynb"), Book(store, "/new.ipynb")
        for book, text in ((old, "one"), (new, "two")):
            store.join(book.notebook, book.add(text).id, "cell", branch="main")
        found = notebook_with(store, ["other", "cell"])
        assert found
        assert found.path == "/new.ipynb"

    def test_cells_that_nobody_knows_are_nobodys(self, store: Store) -> None:
        assert notebook_with(store, ["cell"]) is None
        assert notebook_with(store, []) is None

    def test_a_copy_has_all_turns_under_its_cells(self, store: Store) -> None:
        book = Book(store, PATH)
        store.join(book.notebook, book.add("one").id, "cell", branch="main")
        copy = notebook_at(store, "/copy.ipynb")
        notebooks.copy_members(store, copy.id, book.notebook)
        nodes = notebook_at(store, "/copy.ipynb").branches.nodes.values()
        assert [node.cell_id for node in nodes] == ["cell"]


def test_a_moved_notebook_takes_the_path_from_what_was_there(store: Store) -> None:
    moved, there = notebook_at(store, PATH), notebook_at(store, "/b.ipynb")
    notebooks.move(store, moved.id, "/b.ipynb")
    assert notebook_at(store, "/b.ipynb").id == moved.id
    assert notebook_at(store, PATH).id not in (moved.id, there.id)


class TestHolding:
    def test_a_branch_that_a_running_kernel_holds_is_not_free(self, store: Store) -> None:
        book = notebook_at(store, PATH)
        assert notebooks.hold(store, book.id, "main", this_kernel(), {})
        assert notebooks.hold(store, book.id, "main", this_kernel(), {})  # it is its own
        assert not notebooks.hold(store, book.id, "main", "another", {})
        assert notebooks.hold(store, book.id, "side", "another", {})

    def test_that_of_a_dead_kernel_is(self, store: Store) -> None:
        book = notebook_at(store, PATH)
        assert notebooks.hold(store, book.id, "main", GONE, {})
        assert notebooks.hold(store, book.id, "main", this_kernel(), {})
        assert notebook_at(store, PATH).holders == {"main": this_kernel()}

    def test_what_is_let_go_is_free(self, store: Store) -> None:
        book = notebook_at(store, PATH)
        notebooks.hold(store, book.id, "main", this_kernel(), {})
        notebooks.release(store, this_kernel())
        assert notebook_at(store, PATH).holders == {}


def test_spending_is_summed_a_notebook_each(store: Store) -> None:
    book, other = notebook_at(store, PATH), notebook_at(store, None)
    assert notebooks.spent(store, book.id) == (0, 0.0)
    for at in (1.0, 2.0, 2.0):  # the last of them is told twice
        used = Usage(input_tokens=1, cache_read_tokens=2, output_tokens=4, cost_usd=0.5)
        notebooks.spend(store, book.id, used, at)
    assert notebooks.spent(store, book.id) == (14, 1.0)
    assert notebooks.spent(store, other.id) == (0, 0.0)
