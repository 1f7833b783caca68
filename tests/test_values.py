"""`Value`: what dataclasses promise, at a fraction of their cost."""

from __future__ import annotations

import copy
import pickle
from dataclasses import asdict, field, fields, is_dataclass, replace
from typing import Any

import pytest

from hotclaude_kernel.claude import events
from hotclaude_kernel.values import Value


class Point(Value):
    """Three names, two of them with defaults."""

    x: int
    y: int = 0
    tags: list[str] = field(default_factory=list)

    @property
    def sum(self) -> int:
        """Of both."""
        return self.x + self.y


class Other(Value):
    """The same fields in another class."""

    x: int
    y: int = 0
    tags: list[str] = field(default_factory=list)


class Pair(Value, kw_only=False):
    """Made by position too."""

    left: int
    right: int = field(default=7, metadata={"side": "right"})


class Counter(Value, frozen=False):
    """One that counts."""

    count: int = 0


class Node(Value, eq=False):
    """One that is equal to itself only."""

    id: int


class Nothing(Value):
    """No fields."""


class Nought(Value):
    """No fields either."""


class TestMaking:
    def test_by_name_with_defaults(self) -> None:
        point = Point(x=1)
        assert (point.x, point.y, point.tags, point.sum) == (1, 0, [], 1)

    def test_each_has_its_own_list(self) -> None:
        assert Point(x=1).tags is not Point(x=1).tags

    def test_by_position_where_the_class_says_so(self) -> None:
        assert Pair(1) == Pair(1, 7) == Pair(left=1, right=7)

    @pytest.mark.parametrize(
        ("kind", "values", "named"),
        [
            (Point, (), {}),
            (Point, (), {"y": 2}),
            (Point, (), {"x": 1, "z": 2}),
            (Point, (), {"z": 2}),
            (Point, (1,), {}),
            (Pair, (1, 2, 3), {}),
            (Pair, (), {}),
        ],
    )
    def test_with_too_few_or_too_many_it_is_refused(
        self, kind: Any, values: tuple[int, ...], named: dict[str, int]
    ) -> None:
        with pytest.raises((TypeError, ValueError)):
            kind(*values, **named)


class TestBeing:
    def test_it_can_not_be_changed(self) -> None:
        point: Any = Point(x=1)
        for name in ("x", "other"):
            with pytest.raises(AttributeError):
                setattr(point, name, 2)
        with pytest.raises(AttributeError):
            del point.x

    def test_it_has_no_room_for_other_names(self) -> None:
        assert not hasattr(Point(x=1), "__dict__")

    def test_unless_its_class_says_so(self) -> None:
        counter = Counter()
        counter.count += 1
        assert counter == Counter(count=1)
        with pytest.raises(TypeError):
            hash(counter)
        with pytest.raises(AttributeError):
            counter.other = 1

    def test_it_equals_its_like_and_hashes_so(self) -> None:
        assert Pair(1) == Pair(1) != Pair(2)
        assert len({Pair(1), Pair(1), Pair(2)}) == 2

    def test_it_never_equals_one_of_another_class_or_a_tuple(self) -> None:
        assert Point(x=1) != Other(x=1)
        assert Nothing() != Nought()
        assert len({Nothing(), Nought()}) == 2
        assert Pair(1) != (1, 7)

    def test_one_without_equality_is_itself_only(self) -> None:
        one = Node(id=1)
        assert one == one
        assert one != Node(id=1)
        assert len({one, Node(id=1)}) == 2

    def test_what_can_not_be_hashed_in_it_is_said(self) -> None:
        with pytest.raises(TypeError):
            hash(Point(x=1))

    def test_it_is_shown_as_it_would_be_written(self) -> None:
        assert repr(Point(x=1, y=2)) == "Point(x=1, y=2, tags=[])"

    def test_it_matches_by_name_and_by_position_where_it_is_made_so(self) -> None:
        match Pair(1, 2):
            case Pair(left, right=2):
                assert left == 1
            case _:
                pytest.fail("no match")
        assert Point.__match_args__ == ()

    def test_it_can_be_copied_and_sent(self) -> None:
        event = events.Delta(index=1, kind="text", text="a")
        assert pickle.loads(pickle.dumps(event)) == event == copy.deepcopy(event)


class TestAsADataclass:
    """`replace`, `fields` and `asdict` work, though nothing is made for them before."""

    def test_replace(self) -> None:
        point = Point(x=1, tags=["a"])
        assert replace(point, y=5) == Point(x=1, y=5, tags=["a"])
        assert replace(Pair(1), right=2) == Pair(1, 2)
        with pytest.raises(TypeError):
            replace(point, z=5)  # type: ignore[call-arg]

    def test_fields_of_a_class_and_of_a_value(self) -> None:
        assert [spec.name for spec in fields(Point)] == ["x", "y", "tags"]
        assert [spec.default for spec in fields(Pair(1))][1] == 7
        assert fields(Pair)[1].metadata == {"side": "right"}

    def test_asdict_goes_inside(self) -> None:
        assert asdict(Point(x=1)) == {"x": 1, "y": 0, "tags": []}
        usage = events.Usage(input_tokens=3)
        assert asdict(usage)["input_tokens"] == 3

    def test_is_dataclass(self) -> None:
        kind: type = Point
        assert is_dataclass(kind)
        assert is_dataclass(Point(x=1))
