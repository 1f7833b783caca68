"""The conversation tree as a value: where it stands, what its names hold, what words find."""

from __future__ import annotations

import pytest

from hotclaude_kernel.errors import UsageError
from hotclaude_kernel.turns.tree import MAIN, Branches, Node, span


def node(number: int, parent: str | None, cell: str | None = None) -> Node:
    """A turn; its id tells its place."""
    return Node(
        id=f"n{number}",
        parent=parent,
        number=number,
        prompt=f"prompt {number}",
        status="ok",
        cell_id=cell,
    )


def chain(length: int) -> Branches:
    """A conversation of so many turns, in the cells a, b, c."""
    made = Branches()
    for number in range(1, length + 1):
        made.grow(node(number, made.head.id if made.head else None, "abcdefgh"[number - 1]))
    return made


def numbers(branches: Branches) -> list[int]:
    return [turn.number for turn in branches.path]


class TestGrowing:
    def test_it_begins_before_the_first_turn_on_main(self) -> None:
        made = Branches()
        assert (made.head, made.path, made.branches) == (None, [], {MAIN: None})

    def test_a_turn_becomes_the_head_and_the_end_of_the_branch(self) -> None:
        made = chain(2)
        assert numbers(made) == [1, 2]
        assert made.branches == {MAIN: "n2"}

    def test_it_is_built_again_from_its_nodes_and_names(self) -> None:
        made = chain(3)
        again = Branches(
            made.nodes.values(), current="side", branches={MAIN: "n3", "side": "n2"}, checkpoints={}
        )
        assert numbers(again) == [1, 2]

    def test_a_view_does_not_change_when_the_tree_grows(self) -> None:
        made = chain(1)
        view = made.view()
        made.grow(node(2, "n1"))
        assert (len(view.nodes), view.head, dict(view.branches)) == (1, "n1", {MAIN: "n1"})


class TestCells:
    def test_a_cell_has_its_newest_turn_on_the_path(self) -> None:
        made = chain(2)
        made.grow(node(3, "n2", "a"))
        found = made.turn_of("a")
        assert found
        assert found.number == 3

    @pytest.mark.parametrize("cell", [None, "z"])
    def test_no_cell_and_an_unknown_one_have_none(self, cell: str | None) -> None:
        assert chain(2).turn_of(cell) is None

    def test_a_turn_beside_the_path_is_not_the_cells(self) -> None:
        made = chain(2)
        made.stand("n1")
        assert made.turn_of("b") is None


class TestGoing:
    def test_rewinding_keeps_what_was_beyond_on_a_new_branch(self) -> None:
        made = chain(3)
        name = made.rewind(made.path[0])
        assert (name, numbers(made)) == ("branch-1", [1])
        assert made.branches == {MAIN: "n1", "branch-1": "n3"}

    def test_what_a_branch_holds_already_gets_no_second_name(self) -> None:
        made = chain(2)
        made.fork("side")
        assert made.keep() == MAIN
        assert set(made.branches) == {MAIN, "side"}

    def test_before_the_first_turn_there_is_nothing_to_keep(self) -> None:
        assert Branches().keep() == ""

    def test_checking_out_leaves_the_old_branch_where_it_was(self) -> None:
        made = chain(2)
        made.fork("side")
        made.grow(node(3, "n2"))
        made.checkout(MAIN)
        assert numbers(made) == [1, 2]
        made.checkout("side")
        assert numbers(made) == [1, 2, 3]

    def test_a_branch_that_is_not_there_is_named_with_those_that_are(self) -> None:
        with pytest.raises(UsageError) as caught:
            chain(2).checkout("nowhere")
        assert "main" in caught.value.hint


class TestGoingAlongABranchAgain:
    """As replays do: the turns after the head are ahead, and the branch ends where it did."""

    def back(self, length: int, at: int) -> Branches:
        made = chain(length)
        made.step_back(made.path[at - 1] if at else None)
        return made

    def test_a_step_back_leaves_the_branch_as_it_is(self) -> None:
        made = self.back(3, 1)
        assert (numbers(made), [turn.number for turn in made.ahead]) == ([1], [2, 3])
        assert made.branches == {MAIN: "n3"}
        assert made.end == node(3, "n2", "c")

    def test_its_own_turns_bring_the_head_to_its_end(self) -> None:
        made = self.back(3, 0)
        for turn in chain(3).path:
            assert made.branches == {MAIN: "n3"}
            made.grow(turn)
        assert (numbers(made), made.ahead, made.branches) == ([1, 2, 3], [], {MAIN: "n3"})

    def test_a_step_back_on_the_way_leaves_nothing_either(self) -> None:
        made = self.back(4, 1)
        made.grow(node(2, "n1", "b"))
        made.step_back(None)
        assert (numbers(made), [turn.number for turn in made.ahead]) == ([], [1, 2, 3, 4])

    def test_another_turn_never_loses_the_end(self) -> None:
        made = self.back(3, 1)
        made.grow(node(4, "n1"))
        assert (numbers(made), made.ahead) == ([1, 4], [])
        assert made.branches == {MAIN: "n4", "branch-1": "n3"}

    def test_a_rewind_names_the_end_and_can_be_undone(self) -> None:
        made = self.back(4, 2)
        left = made.beyond(made.path[0])
        name = made.rewind(made.path[0])
        assert made.branches == {MAIN: "n1", name: "n4"}
        made.grow(left[0])
        made.rejoin(left[1:], name)
        assert (numbers(made), [turn.number for turn in made.ahead]) == ([1, 2], [3, 4])
        assert made.branches == {MAIN: "n4"}

    def test_turns_ahead_are_found_by_their_numbers_and_by_the_branch(self) -> None:
        made = self.back(3, 1)
        assert (made.find("3"), made.find("main"), made.find("main:2")) == ("n3", "n3", "n2")
        with pytest.raises(UsageError) as caught:
            made.find("4")
        assert "the turns 1 to 3" in caught.value.hint

    def test_a_fork_leaves_them_on_the_old_branch(self) -> None:
        made = self.back(3, 1)
        made.fork("side")
        assert (made.ahead, made.branches) == ([], {MAIN: "n3", "side": "n1"})
        made.checkout(MAIN)
        assert numbers(made) == [1, 2, 3]

    def test_a_checkpoint_leaves_them_where_they_are(self) -> None:
        made = self.back(3, 1)
        made.mark("good")
        assert (made.checkpoints, len(made.ahead)) == ({"good": "n1"}, 2)

    def test_they_are_no_loose_ends(self) -> None:
        assert self.back(3, 1).loose_ends() == []


class TestNames:
    def test_a_free_name_is_neither_a_branchs_nor_a_checkpoints(self) -> None:
        made = chain(1)
        made.name("n1", "branch-1")
        made.checkpoints["branch-2"] = "n1"
        assert made.free_name("branch") == "branch-3"

    @pytest.mark.parametrize("name", ["", "two words", "a:b", "7", "start", MAIN])
    def test_a_name_that_could_be_something_else_is_refused(self, name: str) -> None:
        with pytest.raises(UsageError):
            chain(1).fork(name)

    def test_a_checkpoint_can_be_set_again_and_a_branch_is_none(self) -> None:
        made = chain(1)
        made.mark("good")
        made.grow(node(2, "n1"))
        made.mark("good")
        assert made.checkpoints == {"good": "n2"}
        with pytest.raises(UsageError):
            made.mark(MAIN)

    def test_before_the_first_turn_nothing_can_be_marked(self) -> None:
        with pytest.raises(UsageError):
            Branches().mark("good")


class TestFinding:
    def made(self) -> Branches:
        made = chain(3)
        made.mark("good")
        made.rewind(made.path[0])
        made.grow(node(4, "n1"))
        return made

    @pytest.mark.parametrize(
        ("where", "at"),
        [
            ("start", None),
            ("1", "n1"),
            ("2", "n4"),
            ("main", "n4"),
            ("branch-1", "n3"),
            ("branch-1:2", "n2"),
            ("good", "n3"),
        ],
    )
    def test_words_name_a_turn(self, where: str, at: str | None) -> None:
        assert self.made().find(where) == at

    @pytest.mark.parametrize("where", ["0", "3", "nowhere", "nowhere:1", "main:9", "-1", ""])
    def test_words_that_name_none_are_refused(self, where: str) -> None:
        with pytest.raises(UsageError):
            self.made().find(where)

    @pytest.mark.parametrize(
        ("turns", "there"),
        [
            (0, "There are start, and the branch main."),
            (1, "There are turn 1, start, and the branch main."),
            (2, "There are the turns 1 to 2, start, and the branch main."),
        ],
    )
    def test_a_refusal_lists_the_turns_that_there_are(self, turns: int, there: str) -> None:
        with pytest.raises(UsageError) as caught:
            (chain(turns) if turns else Branches()).find("9")
        assert caught.value.hint == there

    def test_what_no_branch_holds_is_a_loose_end(self) -> None:
        made = chain(3)
        assert made.loose_ends() == []
        made.stand("n1")
        assert made.loose_ends() == ["n3"]


class TestLeavingOut:
    def test_names_go_up_to_a_turn_that_is_kept(self) -> None:
        made = chain(3)
        made.mark("good")
        less = made.only({"n1"})
        assert (set(less.nodes), less.branches, less.checkpoints) == (
            {"n1"},
            {MAIN: "n1"},
            {"good": "n1"},
        )

    def test_where_none_is_kept_a_branch_is_at_the_start_and_a_checkpoint_gone(self) -> None:
        made = chain(2)
        made.mark("good")
        less = made.only(set())
        assert (less.branches, less.checkpoints) == ({MAIN: None}, {})


def test_a_stretch_is_said_with_its_verb() -> None:
    path = chain(3).path
    assert span(path[:1]) == "turn 1 is"
    assert span(path) == "turns 1–3 are"
