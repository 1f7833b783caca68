"""Where a warm process can be used: after which turns, under which settings, new or not."""

from __future__ import annotations

from typing import Any, cast

import pytest

from hotclaude_kernel.pool.warm import Place, Warm
from hotclaude_kernel.record.transcripts import Tail
from hotclaude_kernel.turns.settings import Settings
from hotclaude_kernel.turns.tree import Node


def path(ids: str) -> tuple[Node, ...]:
    """Turns, each named by a letter."""
    return tuple(
        Node(id=name, parent=None, number=number, prompt="", status="ok")
        for number, name in enumerate(ids, 1)
    )


def place(ids: str = "", *, new: bool = False, **settings: Any) -> Place:
    """A place after these turns."""
    return Place(Settings(**settings), path(ids), new=new)


def warm(ids: str = "", *, turns: int = 0, **settings: Any) -> Warm:
    """A process whose history holds these turns."""
    return Warm(
        session=cast("Any", None),
        settings=Settings(**settings),
        tail=Tail("session", None),
        held=list(path(ids)),
        token="token",
        turns=turns,
    )


@pytest.mark.parametrize(
    ("held", "wanted", "usable"),
    [
        ("", "", True),
        ("ab", "ab", True),
        ("abc", "a", True),  # it is rewound
        ("ab", "", True),
        ("a", "ab", False),  # it lacks a turn
        ("ac", "ab", False),  # it is on another branch
    ],
)
def test_it_can_be_used_where_it_is_and_before(held: str, wanted: str, usable: bool) -> None:
    assert warm(held).stands_at(place(wanted)) is usable


def test_other_settings_want_another_process() -> None:
    assert not warm("a", model="haiku").stands_at(place("a"))
    assert warm("a", model="haiku").stands_at(place("a", model="haiku"))


@pytest.mark.parametrize(("held", "turns"), [("a", 1), ("", 1), ("a", 0)])
def test_a_new_conversation_wants_one_that_was_never_asked(held: str, turns: int) -> None:
    assert not warm(held, turns=turns).stands_at(place(new=True))
    assert warm().stands_at(place(new=True))


def test_one_with_its_folder_is_none_without_it() -> None:
    with_it, without = warm("a"), warm("a")
    without.held_back = True
    for held_back in (True, False):
        assert with_it.stands_at(place("a"), held_back=held_back) is not held_back
        assert without.stands_at(place("a"), held_back=held_back) is held_back
