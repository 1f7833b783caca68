"""The decision whether a recorded turn answers a question: one pure function, as a table."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from hotclaude_kernel.conversation.modes import MODES
from hotclaude_kernel.conversation.replay import ASK, Decision, decide
from hotclaude_kernel.record.answers import Scope
from hotclaude_kernel.turns.conditions import Candidate, Conditions

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = "https://api.anthropic.com"
OTHER = "http://127.0.0.1:8080"


def recorded(
    source: str = "record",
    *,
    node: str = "n",
    endpoint: str | None = HERE,
    later: Mapping[str, frozenset[str | None]] | None = None,
    **files: str | None,
) -> Candidate:
    conditions = Conditions(files=files, endpoint=endpoint)
    return Candidate(node=node, source=source, conditions=conditions, later=later or {})


def now(endpoint: str = HERE, **files: str | None) -> Conditions:
    return Conditions(files=files, endpoint=endpoint)


def decided(
    *candidates: Candidate, at: Conditions | None = None, mode: str = "new_episodes", **more: Any
) -> Decision:
    return decide(candidates, at or now(), mode=mode, **{"again": False, "kept": True} | more)


# What a turn is from, the file and the endpoint then and now; and whether it answers. A file is
# `same`, `changed`, `absent` (here), `left` (as the notebook's own later turns left it), `deleted`
# (by them), `added` (there was none), or `none` (the prompt pulled none in).
FILES: dict[str, tuple[dict[str, str | None], dict[str, str | None], dict[str, Any]]] = {
    "none": ({}, {}, {}),
    "same": ({"f": "1"}, {"f": "1"}, {}),
    "changed": ({"f": "1"}, {"f": "2"}, {}),
    "absent": ({"f": "1"}, {"f": None}, {}),
    "left": ({"f": "1"}, {"f": "2"}, {"f": frozenset({"2"})}),
    "deleted": ({"f": "1"}, {"f": None}, {"f": frozenset({None})}),
    "added": ({"f": None}, {"f": "1"}, {}),
}
DIFFERS = {"changed", "added"}
SOURCES = ("record", "cassette", "outputs", "folder")


class TestConditions:
    @pytest.mark.parametrize("source", SOURCES)
    def test_a_turn_answers_where_its_files_and_its_endpoint_are_the_same(
        self, source: str
    ) -> None:
        for (name, (then, present, later)), endpoint in product(FILES.items(), (HERE, OTHER, None)):
            turn = recorded(source, endpoint=endpoint, later=later, **then)
            decision = decided(turn, at=now(**present))
            elsewhere = endpoint == OTHER and source != "cassette"
            answers = name not in DIFFERS and not elsewhere
            case = (source, name, endpoint)
            assert (decision.replay is turn) is answers, case
            assert bool(decision.because) is not answers, case
            assert decision.absent == (("f",) if answers and name == "absent" else ()), case

    def test_a_turn_from_before_knows_no_conditions_and_answers(self) -> None:
        old = Candidate(node="n", source="record")
        assert decided(old, at=now(OTHER, f="2")).replay is old

    def test_the_reason_names_the_file_or_the_endpoint(self) -> None:
        then: dict[str, Any] = {"notes.txt": "1"}
        because = decided(recorded(endpoint=OTHER, **then), at=now(**{"notes.txt": "2"})).because
        assert because == (
            "notes.txt has changed since",
            f"it was answered by {OTHER}, and this kernel asks {HERE}",
        )

    def test_of_several_the_first_that_holds_answers(self) -> None:
        newest, older = recorded(node="2", f="2"), recorded(node="1", f="1")
        assert decided(newest, older, at=now(f="2")).replay is newest
        assert decided(newest, older, at=now(f="1")).replay is older
        assert decided(newest, older, at=now(f="3")).because == ("f has changed since",)


# How the cell is run: for the first time, once more (or with `%%refresh`), or by a page that lost
# its answer or another person (those two are shown again before anything is decided).
RUNS = {"first run": False, "re-run": True, "%%refresh": True}


class TestModes:
    def test_each_mode_and_run_with_and_without_a_recorded_turn(self) -> None:
        turn = recorded()
        for mode, (run, again), there, kept in product(
            MODES, RUNS.items(), (True, False), (True, False)
        ):
            decision = decided(*[turn] * there, mode=mode, again=again, kept=kept)
            looks = mode in ("none", "once", "new_episodes") and not (again and mode != "none")
            replays = looks and there
            refused = looks and not there and (mode == "none" or (mode == "once" and kept))
            case = (mode, run, there, kept)
            assert (decision.replay is not None) is replays, case
            assert decision.refused is refused, case
            if not looks:
                assert decision == ASK, case

    def test_a_changed_file_is_a_miss_that_names_it(self) -> None:
        decision = decided(recorded(f="1"), at=now(f="2"), mode="none")
        assert decision == Decision(refused=True, because=("f has changed since",))


class TestScope:
    def test_where_an_answer_is_from(self) -> None:
        scope = Scope(notebook=1, cassettes={2: "a.hotclaude.jsonl"}, folder={3: "b.ipynb"})
        assert [scope.source(row) for row in (1, 2, 4, 3)] == list(SOURCES)
