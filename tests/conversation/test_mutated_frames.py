"""Which faults in the bytes of a process may fail a turn: those of its own `result`, no others."""

from __future__ import annotations

from collections import Counter

import pytest

from ..support.mutations import Mutated, captured, mutated, played

TURNS = captured()
# What a turn may come to, by the fault in its `result`. A cut line can't tell whether the turn has
# finished. Where no line of it came, it has another type, or it took the idle state along, only an
# interrupt or the end of the process ends the turn.
MAY = {
    "value": {"ok", "error", "hangs"},
    "drop": {"ok", "error"},
    "add": {"ok", "error"},
    "lose": {"hangs"},
    "twice": {"ok"},
    "swap": {"ok"},
    "cut": {"error"},
    "noise": {"error"},
    "joined": {"error", "hangs"},
}


def may(fault: Mutated) -> set[str]:
    """Return what a turn with this fault may come to."""
    return MAY[fault.how] if "result" in fault.where else {"ok"}


async def came_to(seeds: range) -> Counter[tuple[str, str]]:
    """Play a turn for each seed; return how often each fault came to what.

    The places of a fault are a `result`, or any other frame.
    """
    table: Counter[tuple[str, str]] = Counter()
    wrong = []
    for seed in seeds:
        fault = mutated(TURNS, seed)
        came = await played(fault.lines)
        place = "result" if "result" in fault.where else "other"
        table[f"{fault.how} {place}", came.how] += 1
        if came.how not in may(fault):
            wrong.append((seed, fault.how, fault.where, came.how, came.fault))
    assert not wrong
    return table


async def test_the_captured_turns_are_sound() -> None:
    assert [(await played(turn.lines)).how for turn in TURNS] == ["ok"] * len(TURNS)


async def test_a_fault_fails_a_turn_only_in_its_result() -> None:
    await came_to(range(500))


@pytest.mark.long
async def test_so_do_ten_thousand() -> None:
    table = await came_to(range(10_000))
    assert table.total() == 10_000
    assert {how for fault, how in table if fault.endswith(" other")} == {"ok"}
    # Each kind of fault was drawn, in a result too.
    assert {fault.split()[0] for fault, _ in table if fault.endswith(" result")} == {*MAY}
