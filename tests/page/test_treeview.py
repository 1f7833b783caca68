"""What a tree of conversations looks like: as text, as HTML and as a picture."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotclaude_kernel.page import treeview
from hotclaude_kernel.page.treeview import EMPTY, LONGEST_LINE, LONGEST_RUN, SHOWN_AT_ENDS
from hotclaude_kernel.turns.tree import Node, Tree

from ..hostile import corpus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    View = Callable[[Tree], str]

VIEWS = (treeview.text, treeview.html, treeview.svg)
every_view = pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.__name__)

#: All that markup of ours consists of; whatever else turns up came in from outside.
TAGS = {"div", "span", "bdi", "svg", "g", "path", "circle", "text", "tspan"}
ATTRIBUTES = {
    *("dir", "style", "width", "height", "viewBox", "role", "aria-label", "direction", "d", "r"),
    *("cx", "cy", "x", "y", "dx", "font-family", "font-size", "font-weight", "fill", "stroke"),
    *("fill-opacity", "opacity", "stroke-width", "stroke-linecap", "stroke-dasharray"),
    *("text-anchor", "unicode-bidi"),
}


def tree(
    parents: Iterable[int | None],
    head: int | None = None,
    *,
    prompts: Mapping[int, str] | None = None,
    statuses: Mapping[int, str] | None = None,
    branches: Mapping[str, int | None] | None = None,
    checkpoints: Mapping[str, int] | None = None,
    sources: Mapping[int, str] | None = None,
    current: str = "main",
) -> Tree:
    """A tree of the turns 1, 2, …, each said by the turn that it follows; it asks `p1`, `p2`, …"""
    nodes: list[Node] = []
    for number, parent in enumerate(parents, 1):
        nodes.append(
            Node(
                id=str(number),
                parent=named(parent),
                number=nodes[parent - 1].number + 1 if parent else 1,
                prompt=(prompts or {}).get(number, f"p{number}"),
                status=(statuses or {}).get(number, "ok"),
            )
        )
    return Tree(
        nodes=tuple(nodes),
        head=named(head),
        current=current,
        branches={name: named(at) for name, at in (branches or {}).items()},
        checkpoints={name: str(at) for name, at in (checkpoints or {}).items()},
        sources={str(at): source for at, source in (sources or {}).items()},
    )


def named(number: int | None) -> str | None:
    """What names a turn: its number, in words."""
    return None if number is None else str(number)


def chain(length: int) -> list[int | None]:
    return [None, *range(1, length)]


def parsed(markup: str) -> ElementTree.Element:
    return ElementTree.fromstring(markup)


def lines_of(view: View, shown: Tree) -> list[str]:
    """The rows of a view, each in words alone."""
    if view is treeview.text:
        return [re.sub(r"^[│├─ ]*[●○◉⋮] ", "", line) for line in view(shown).splitlines()]
    root = parsed(view(shown))
    if view is treeview.html:
        return ["".join(row[-1].itertext()) for row in root]
    words = ["".join(it.itertext()) for it in root if it.tag.endswith("}text")]
    return [f"{number} {label}" for number, label in zip(words[::2], words[1::2], strict=True)]


def words_of(view: View, shown: Tree) -> list[str]:
    return [" ".join(line.replace("⋮", "").split()) for line in lines_of(view, shown)]


def circles(shown: Tree) -> list[tuple[int, int]]:
    """Where the dots of turns are in the picture, as lane and row."""
    found = [it for it in parsed(treeview.svg(shown)).iter() if it.tag.endswith("}circle")]
    dots = [it for it in found if it.get("r") == "3.5"]
    places = [(int(it.get("cx", "")), int(it.get("cy", ""))) for it in dots]
    return sorted((((x - 14) // 18, (y - 27) // 26) for x, y in places), key=lambda place: place[1])


#: 1 ─ 2 ─ 3 ─ 4 with the head at 4; 5 ─ 6 ─ 7 part from 2, and 8 from 6: a branch in a branch.
NESTED = tree(
    [None, 1, 2, 3, 2, 5, 6, 6],
    4,
    branches={"main": 4, "other": 7, "third": 8},
    checkpoints={"good": 2},
)


class TestText:
    def test_a_line_is_a_straight_column_without_indent(self) -> None:
        assert treeview.text(tree(chain(3), 3, branches={"main": 3})) == (
            "● 1  p1\n● 2  p2\n◉ 3  p3  [main]  ← you are here"
        )

    def test_a_branch_is_indented_below_the_place_where_it_parts(self) -> None:
        assert treeview.text(NESTED).splitlines() == [
            "● 1  p1",
            "● 2  p2  {good}",
            "├─○ 3  p5",
            "│ ○ 4  p6",
            "│ ├─○ 5  p8  [third]",
            "│ ○ 5  p7  [other]",
            "● 3  p3",
            "◉ 4  p4  [main]  ← you are here",
        ]

    def test_the_active_path_is_the_first_column_however_small_it_is(self) -> None:
        shown = treeview.text(tree([None, 1, 2, 3, 1], 5))
        assert shown.splitlines() == [
            "● 1  p1",
            "├─○ 2  p2",
            "│ ○ 3  p3",
            "│ ○ 4  p4",
            "◉ 2  p5  ← you are here",
        ]

    def test_what_lies_beyond_the_head_goes_straight_on(self) -> None:
        shown = treeview.text(tree(chain(4), 2, branches={"main": 2, "branch-1": 4}))
        assert shown.splitlines() == [
            "● 1  p1",
            "◉ 2  p2  [main]  ← you are here",
            "○ 3  p3",
            "○ 4  p4  [branch-1]",
        ]

    def test_branches_of_one_turn_come_in_the_order_they_were_asked(self) -> None:
        shown = treeview.text(tree([None, 1, 1, 1], 3))
        assert re.findall(r"p\d", shown) == ["p1", "p2", "p4", "p3"]

    def test_beside_the_active_path_the_larger_branch_goes_straight_on(self) -> None:
        shown = treeview.text(tree([None, 1, 2, 2, 4, 1], 6))
        assert "│ ├─○ 3  p3\n│ ○ 3  p4\n│ ○ 4  p5\n" in shown

    def test_the_larger_is_the_one_with_more_turns_not_with_more_ends(self) -> None:
        shown = treeview.text(tree([None, 1, 2, 3, 4, 5, 2, 7, 7, 1], 10))
        assert re.findall(r"^│ ○ \d  (p\d)", shown, re.MULTILINE) == ["p3", "p4", "p5", "p6"]

    def test_numbers_are_in_line(self) -> None:
        lines = treeview.text(tree(chain(10), 10)).splitlines()
        assert lines[0] == "●  1  p1"
        assert lines[-1].startswith("◉ 10  p10")


class TestSources:
    @every_view
    def test_a_replayed_turn_says_where_it_comes_from(self, view: View) -> None:
        sources = {1: "record", 2: "cassette nb.hotclaude.jsonl", 3: ""}
        shown = tree(chain(3), 3, branches={"main": 3}, sources=sources)
        assert words_of(view, shown) == [
            "1 p1 replayed from the record",
            "2 p2 replayed from the cassette nb.hotclaude.jsonl",
            "3 p3 [main] ← you are here",
        ]

    @every_view
    @pytest.mark.parametrize("name", corpus().values(), ids=corpus().keys())
    def test_a_files_name_is_no_markup(self, view: View, name: str) -> None:
        shown = tree(chain(1), 1, sources={1: f"cassette {name}"})
        [line] = lines_of(view, shown)
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e]", line)


class TestStart:
    def test_several_roots_part_from_the_start(self) -> None:
        assert treeview.text(tree([None, 1, None, 3], 2)).splitlines() == [
            "● start",
            "├─○ 1  p3",
            "│ ○ 2  p4",
            "● 1  p1",
            "◉ 2  p2  ← you are here",
        ]

    def test_a_notebook_before_its_first_turn_stands_at_the_start(self) -> None:
        shown = treeview.text(tree(chain(2), None, branches={"main": None, "branch-1": 2}))
        assert shown.splitlines() == [
            "◉ start  [main]  ← you are here",
            "○ 1  p1",
            "○ 2  p2  [branch-1]",
        ]

    def test_a_branch_without_turns_is_named_there(self) -> None:
        assert treeview.text(tree([None], 1, branches={"new": None})).startswith("● start  [new]\n")

    @every_view
    def test_one_root_needs_no_start(self, view: View) -> None:
        assert "start" not in " ".join(lines_of(view, tree([None], 1, branches={"main": 1})))

    @every_view
    def test_an_empty_tree_says_so(self, view: View) -> None:
        shown = view(tree([], None, branches={"main": None}))
        assert EMPTY in shown
        assert "you are here" not in shown
        if view is not treeview.text:
            assert "".join(parsed(shown).itertext()) == EMPTY


class TestRows:
    @every_view
    def test_all_views_say_the_same(self, view: View) -> None:
        shown = tree(
            [*chain(40), 20, None],
            40,
            statuses={3: "interrupted", 41: "error"},
            branches={"main": 40, "other": 41, "none": None},
            checkpoints={"good": 2, "better": 2},
        )
        words = words_of(view, shown)
        assert words == words_of(treeview.text, shown)
        assert words[0] == "start [none]"
        assert words[3] == "2 p2 {good} {better}"
        assert words[4] == "3 p3 interrupted"
        assert "21 p41 error [other]" in words
        assert words[-1] == "40 p40 [main] ← you are here"

    @every_view
    def test_many_names_on_one_turn_are_all_there_the_current_branch_first(
        self, view: View
    ) -> None:
        shown = tree(
            [None],
            1,
            branches={"a": 1, "main": 1, "z": 1},
            checkpoints={"m": 1, "a1": 1},
        )
        assert words_of(view, shown) == ["1 p1 [main] [a] [z] {m} {a1} ← you are here"]

    @every_view
    def test_a_status_is_told_only_where_it_is_not_ok(self, view: View) -> None:
        shown = tree(chain(3), 3, statuses={1: "ok", 2: "error"})
        assert words_of(view, shown) == ["1 p1", "2 p2 error", "3 p3 ← you are here"]

    @every_view
    def test_a_turn_without_words_says_so(self, view: View) -> None:
        assert words_of(view, tree(chain(2), 2, prompts={1: " \n\t "}))[0] == "1 (no text)"

    @every_view
    def test_white_space_is_collapsed_into_one_line(self, view: View) -> None:
        shown = tree(chain(2), 2, prompts={1: "\n two\r\n\tlines\u2028or  three "})
        lines = lines_of(view, shown)
        assert len(lines) == 2
        assert lines[0].endswith("two lines or three")

    @every_view
    def test_a_long_prompt_is_cut(self, view: View) -> None:
        shown = tree(chain(2), 2, prompts={1: "x" * 100_000})
        assert words_of(view, shown)[0] == f"1 {'x' * (LONGEST_LINE - 1)}…"

    @every_view
    def test_a_prompt_that_fits_is_not(self, view: View) -> None:
        prompt = "y" * LONGEST_LINE
        assert words_of(view, tree(chain(2), 2, prompts={1: prompt}))[0] == f"1 {prompt}"


class TestFolds:
    @every_view
    def test_the_middle_of_a_long_run_is_one_row(self, view: View) -> None:
        words = words_of(view, tree(chain(1000), 1000, branches={"main": 1000}))
        assert words == [
            "1 p1",
            "2 p2",
            "995 turns",
            "998 p998",
            "999 p999",
            "1000 p1000 [main] ← you are here",
        ]

    @every_view
    def test_a_run_of_a_dozen_is_not_folded(self, view: View) -> None:
        assert len(lines_of(view, tree(chain(LONGEST_RUN + 1), LONGEST_RUN + 1))) == LONGEST_RUN + 1

    def test_turns_with_names_are_no_part_of_it(self) -> None:
        shown = tree(chain(LONGEST_RUN + 2), LONGEST_RUN + 2, checkpoints={"good": 1})
        assert "turns" not in treeview.text(shown)

    @every_view
    def test_a_longer_one_is(self, view: View) -> None:
        shown = tree(chain(LONGEST_RUN + 2), LONGEST_RUN + 2)
        folded = LONGEST_RUN + 1 - 2 * SHOWN_AT_ENDS
        assert f"{folded} turns" in words_of(view, shown)

    @pytest.mark.parametrize("view", [treeview.text, treeview.html, treeview.svg])
    def test_a_fold_has_its_sign(self, view: View) -> None:
        assert view(tree(chain(99), 99)).count("⋮") == 1

    @pytest.mark.parametrize(
        "told",
        [
            {"branches": {"x": 50}},
            {"checkpoints": {"x": 50}},
            {"head": 50},
            {"parents": [*chain(100), 50]},
        ],
        ids=["branch", "checkpoint", "head", "fork"],
    )
    def test_what_has_something_to_tell_is_not_folded(self, told: dict[str, object]) -> None:
        arguments: dict[str, object] = {"parents": chain(100), "head": 100, **told}
        lines = words_of(treeview.text, tree(**arguments))  # type: ignore[arg-type]
        assert any(line.startswith("50 p50") for line in lines)
        assert sum("turns" in line for line in lines) == 2

    def test_turns_that_failed_are_counted(self) -> None:
        shown = tree(chain(100), 100, statuses={40: "error", 50: "interrupted", 1: "error"})
        assert "⋮ 95 turns, 2 not ok" in treeview.text(shown)

    def test_turns_that_were_replayed_are_folded_and_counted(self) -> None:
        shown = tree(chain(100), 100, sources=dict.fromkeys(range(1, 61), "record"))
        assert "⋮ 95 turns, 58 replayed" in treeview.text(shown)

    def test_a_run_does_not_reach_over_branches(self) -> None:
        # Two branches of nine turns from the same turn, one below the other.
        first, second = [1, *range(2, 10)], [1, *range(11, 19)]
        shown = tree([None, *first, *second, 1], 20)
        assert "turns" not in treeview.text(shown)
        assert len(lines_of(treeview.text, shown)) == 20

    def test_a_run_does_not_reach_from_a_branch_to_what_goes_on_after_it(self) -> None:
        shown = tree([None, 1, *range(2, 11), 1, *range(12, 21)], 21)
        assert "turns" not in treeview.text(shown)
        assert len(lines_of(treeview.text, shown)) == 21

    def test_a_fold_stands_in_its_branch(self) -> None:
        shown = tree([None, 1, *range(2, 40), 1], 41)
        assert "│ ⋮ 35 turns" in treeview.text(shown)


class TestHtml:
    def test_each_lane_is_a_guide_to_the_left_of_the_sign(self) -> None:
        rows = parsed(treeview.html(NESTED))
        assert [len(row) - 2 for row in rows] == [0, 0, 1, 1, 2, 1, 0, 0]
        assert ["".join(row[-2].itertext()) for row in rows] == [*"●●○○○○●◉"]

    def test_a_branch_begins_with_an_elbow(self) -> None:
        rows = parsed(treeview.html(NESTED))
        elbows = [[len(guide) for guide in row[:-2]] for row in rows]
        assert elbows == [[], [], [1], [0], [0, 1], [0], [], []]

    def test_the_active_path_is_bold(self) -> None:
        prompts = [row[-1][1] for row in parsed(treeview.html(NESTED))]
        bold = [it.text for it in prompts if "font-weight:600" in it.get("style", "")]
        assert bold == ["p1", "p2", "p3", "p4"]


class TestPicture:
    def test_each_branch_has_a_lane_and_each_turn_a_row(self) -> None:
        lanes = [lane for lane, _ in circles(NESTED)]
        assert lanes == [0, 0, 1, 1, 2, 1, 0, 0]
        assert [row for _, row in circles(NESTED)] == list(range(8))

    def test_a_branch_leaves_its_parents_lane_in_a_curve(self) -> None:
        paths = [it.get("d", "") for it in parsed(treeview.svg(NESTED)).iter() if "d" in it.attrib]
        assert sum("c" in path for path in paths) == 2
        # From the first lane at turn 2, and from the second at turn 6.
        assert any(path.startswith("M14 53c") for path in paths)
        assert any(path.startswith("M32 105c") for path in paths)

    def test_a_lane_goes_on_past_the_branches(self) -> None:
        # From turn 2 in the second row to turn 3 in the seventh.
        assert 'd="M14 53V183"' in treeview.svg(NESTED)

    def test_the_head_alone_is_ringed(self) -> None:
        found = parsed(treeview.svg(NESTED)).iter()
        rings = [it for it in found if it.tag.endswith("}circle") and it.get("r") == "8"]
        assert [(it.get("cx"), it.get("cy")) for it in rings] == [("14", "209")]

    def test_only_the_active_lane_has_the_accent(self) -> None:
        quiet, active = (it for it in parsed(treeview.svg(NESTED)) if it.tag.endswith("}g"))
        assert quiet.get("stroke") == "currentColor"
        assert active.get("stroke") == "#2b7fd9"
        assert [len([it for it in layer if it.get("r") == "3.5"]) for layer in (quiet, active)] == [
            4,
            4,
        ]

    def test_beyond_the_head_the_lane_has_no_accent(self) -> None:
        quiet, active = list(parsed(treeview.svg(tree(chain(5), 2))))[:2]
        assert [len([it for it in layer if it.get("r") == "3.5"]) for layer in (quiet, active)] == [
            3,
            2,
        ]

    def test_a_fold_is_a_dotted_line_without_a_dot(self) -> None:
        shown = tree(chain(100), 100)
        assert treeview.svg(shown).count("stroke-dasharray") == 2
        assert len(circles(shown)) == len(lines_of(treeview.svg, shown)) - 1

    @pytest.mark.parametrize(
        "shown",
        [NESTED, tree([], None), tree(chain(100), 100), tree([None] * 30, 3)],
        ids=["nested", "empty", "long", "roots"],
    )
    def test_everything_lies_inside_the_view_box(self, shown: Tree) -> None:
        root = parsed(treeview.svg(shown))
        width, height = float(root.get("width", "")), float(root.get("height", ""))
        assert root.get("viewBox") == f"0 0 {width:g} {height:g}"
        for it in root.iter():
            assert 0 <= float(it.get("x", it.get("cx", "0"))) < width
            assert 0 <= float(it.get("y", it.get("cy", "0"))) + 8 <= height

    @pytest.mark.parametrize("letter", "xWm@日")
    def test_wide_letters_make_it_wider(self, letter: str) -> None:
        # The advances of DejaVu Sans Bold, and one em for a Han sign.
        em = {"x": 0.645, "W": 1.103, "m": 1.042, "@": 1.0, "日": 1.0}[letter]
        root = parsed(treeview.svg(tree([None], None, prompts={1: letter * LONGEST_LINE})))
        at = max(float(it.get("x", "0")) for it in root)
        assert at + 13 * em * LONGEST_LINE < float(root.get("width", ""))

    def test_names_make_it_wider(self) -> None:
        def width(shown: Tree) -> float:
            return float(parsed(treeview.svg(shown)).get("width", ""))

        names = {f"branch-{number}": 1 for number in range(9)}
        assert width(tree([None], 1, branches=names)) > width(tree([None], 1)) + 9 * 50


HOSTILE = [
    *corpus().values(),
    "<script>alert(1)</script>",
    "</tspan></text></svg><script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "' onload='alert(1)' x=\"",
    "]]><!-- &lt;b&gt; &#x3c;",
    "a\u202egpj.exe \u2066\u2069 \x1b[31mred\x1b]0;title\x07 \x00\x08\ud800\ufffe\uffff",
    "new\nline\r\n\u2028\u2029\x85\x0b\x0c",
    "<" * 100_000,
]
UNSEEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def everywhere(words: str) -> Tree:
    """A tree that has the same words in each place that takes any."""
    return tree(
        chain(2),
        2,
        prompts={1: words, 2: words},
        statuses={1: words},
        branches={words: 2, f"{words}2": 1},
        checkpoints={words: 1},
        current=words,
    )


def foreign(markup: str) -> list[str]:
    """What in markup is not ours: tags and attributes; raises where it isn't well formed."""
    found: list[str] = []
    for it in parsed(markup).iter():
        tag = it.tag.removeprefix("{http://www.w3.org/2000/svg}")
        found += {tag} - TAGS
        found += set(it.attrib) - ATTRIBUTES
        found += [value for value in it.attrib.values() if "url" in value or "script" in value]
    return found


class TestSafety:
    @pytest.mark.parametrize("view", [treeview.html, treeview.svg])
    def test_hostile_words_are_nothing_but_text(self, view: View) -> None:
        for words in HOSTILE:
            shown = view(everywhere(words))
            assert foreign(shown) == [], words[:200]
            assert not UNSEEN.search(shown), words[:200]

    def test_they_stay_in_their_line(self) -> None:
        for words in HOSTILE:
            shown = treeview.text(everywhere(words))
            assert len(shown.split("\n")) == 2, words[:200]
            assert not UNSEEN.search(shown), words[:200]

    def test_the_check_itself_finds_what_is_foreign(self) -> None:
        assert foreign("<div><script/><b onclick='x'/></div>") == ["script", "b", "onclick"]
        assert foreign("<svg xmlns='http://www.w3.org/2000/svg'><a/></svg>") == ["a"]
        assert foreign("<div style='background:url(x)'/>") == ["background:url(x)"]

    @pytest.mark.parametrize("view", [treeview.html, treeview.svg])
    def test_the_words_of_a_script_are_shown(self, view: View) -> None:
        prompt = "<script>alert(\"1\" + '2') & more</script>"
        assert words_of(view, tree(chain(2), 2, prompts={1: prompt}))[0] == f"1 {prompt}"

    @every_view
    def test_turning_signs_are_spelled_out(self, view: View) -> None:
        shown = words_of(view, tree(chain(2), 2, prompts={1: "a\u202egpj.exe"}))
        assert shown[0] == "1 a⟨U+202E⟩gpj.exe"

    @given(st.text(st.characters(exclude_categories=[]), max_size=80))
    def test_any_words_are(self, words: str) -> None:
        for view in (treeview.html, treeview.svg):
            assert foreign(view(everywhere(words))) == []
        assert len(treeview.text(everywhere(words)).split("\n")) == 2


many_turns = pytest.mark.parametrize("turns", [500, pytest.param(5000, marks=pytest.mark.long)])


class TestSize:
    @every_view
    def test_a_conversation_of_5000_turns_is_folded(self, view: View) -> None:
        assert len(lines_of(view, tree(chain(5000), 5000))) == 6

    @every_view
    @many_turns
    def test_turns_each_asked_twice_take_few_lanes(self, view: View, turns: int) -> None:
        # Each turn is answered once for nothing and once for the next; nobody stands on any.
        parents = [None, *(number for at in range(1, turns, 2) for number in (at, at))]
        shown = tree(parents, 1)
        assert len(lines_of(view, shown)) == len(parents)
        assert max(lane for lane, _ in circles(shown)) == 1

    @every_view
    @many_turns
    def test_turns_asked_again_and_again_are_lanes_side_by_side(
        self, view: View, turns: int
    ) -> None:
        assert len(lines_of(view, tree([None, *[1] * (turns - 1)], turns))) == turns

    @every_view
    @pytest.mark.parametrize("depth", [9, pytest.param(12, marks=pytest.mark.long)])
    def test_a_full_tree_of_turns_takes_as_many_lanes_as_it_is_deep(
        self, view: View, depth: int
    ) -> None:
        turns = 2**depth - 1
        shown = tree([None, *(number // 2 for number in range(2, turns + 1))], turns)
        assert len(lines_of(view, shown)) == turns
        assert max(lane for lane, _ in circles(shown)) == depth - 1

    @given(st.data())
    def test_every_turn_is_there_once_after_the_turn_it_follows(self, data: st.DataObject) -> None:
        parents: list[int | None] = []
        for number in range(1, data.draw(st.integers(1, 40)) + 1):
            parent = data.draw(st.integers(0, number - 1))
            parents.append(parent or None)
        head = data.draw(st.none() | st.integers(1, len(parents)))
        marks = {f"m{number}": number for number in range(1, len(parents) + 1)}
        lines = treeview.text(tree(parents, head, checkpoints=marks)).splitlines()
        order = [int(found[1]) for line in lines if (found := re.search(r"p(\d+)", line))]
        assert sorted(order) == list(range(1, len(parents) + 1))
        for number, before in enumerate(parents, 1):
            assert before is None or order.index(before) < order.index(number)
        assert sum("← you are here" in line for line in lines) == 1
        assert all(not line.startswith(("│", "├")) for line in lines if re.search("[●◉]", line))
