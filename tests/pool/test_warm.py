"""Where a warm process can be used: after which turns, under which settings, new or not."""

from __future__ import annotations

from typing import Any, cast

import pytest

from hotclaude_kernel.pool.warm import Held, Place, Warm
from hotclaude_kernel.record.transcripts import Tail
from hotclaude_kernel.turns.settings import Settings
from hotclaude_kernel.turns.tree import Node


def place(*ids: int, new: bool = False, **settings: Any) -> Place:
    """A place after these turns."""
    path = tuple(
        Node(id=at, parent=None, number=number, prompt="", status="ok")
        for number, at in enumerate(ids, 1)
    )
    return Place(Settings(**settings), path, new=new)


def warm(*ids: int, turns: int = 0, **settings: Any) -> Warm:
    """A process whose history holds these turns."""
    return Warm(
        session=cast("Any", None),
        settings=Settings(**settings),
        tail=Tail("session", None),
        held=[Held(at, f"uuid-{at}", compacted=False) for at in ids],
        token="token",
        turns=turns,
    )


@pytest.mark.parametrize(
    ("held", "wanted", "usable"),
    [
        ((), (), True),
        ((1, 2), (1, 2), True),
        ((1, 2, 3), (1,), True),  # it is rewound
        ((1, 2), (), True),
        ((1,), (1, 2), False),  # it lacks a turn
        ((1, 3), (1, 2), False),  # it is on another branch
    ],
)
def test_it_can_be_used_where_it_is_and_before(
    held: tuple[int, ...], wanted: tuple[int, ...], usable: bool
) -> None:
    assert warm(*held).stands_at(place(*wanted)) is usable


def test_other_settings_want_another_process() -> None:
    assert not warm(1, model="haiku").stands_at(place(1))
    assert warm(1, model="haiku").stands_at(place(1, model="haiku"))


@pytest.mark.parametrize(("held", "turns"), [((1,), 1), ((), 1)])
def test_a_new_conversation_wants_one_that_was_never_asked(
    held: tuple[int, ...], turns: int
) -> None:
    assert not warm(*held, turns=turns).stands_at(place(new=True))
    assert warm().stands_at(place(new=True))
