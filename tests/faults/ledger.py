"""What a trial asked and what came of it, and whether all of that is still there.

Each prompt holds a word of its own, and the model answers with all words that it was sent. So what
is remembered is read from the requests, and what is recorded from the file: nothing here believes
what the product says of itself, except whether a cell was answered.
"""

from __future__ import annotations

import itertools
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hotclaude_kernel.modelserver.request import Request

WORD = re.compile(r"\bword\d+\b")
END = "and that is all of it."
TOOL = "Use a tool."

#: What may break, in the order of the table.
#: `store` is a damaged file, `raised` an exception that is none of the product's own.
INVARIANTS = ("lost", "duplicated", "false ok", "orphans", "no memory", "store", "raised")


def answer_to(words: Sequence[str]) -> str:
    """Return the whole answer of the model to prompts with these words."""
    return f"These I was told one after the other: {' '.join(words)}, {END}"


def words(request: Request) -> list[str]:
    """Return the words of all prompts in a request, also of prompts that were joined."""
    return [word for turn in request.turns for word in WORD.findall(turn.prompt)]


@dataclass(slots=True, kw_only=True)
class Asked:
    """A prompt, and its outcome: `ok`, `failed`, or in `doubt` where no reply came."""

    cell: str
    word: str
    tool: bool = False
    outcome: str = "doubt"

    @property
    def text(self) -> str:
        """The prompt as it is sent."""
        return f"Remember {self.word}. {TOOL if self.tool else ''}".strip()


class Row(NamedTuple):
    """A turn as the file has it."""

    word: str
    status: str
    answer: str


@dataclass(slots=True)
class Ledger:
    """The prompts of one conversation in order, and which invariants broke, each with a why."""

    asked: list[Asked] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    story: list[str] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def fork(self) -> Ledger:
        """Return the ledger of a second conversation that begins with the same turns."""
        return Ledger(list(self.asked), self.broken, self.story, self._numbers)

    def tell(self, what: str) -> None:
        """Note an event of the trial, for whoever looks at a seed that failed."""
        self.story.append(what)

    def note(self, invariant: str, why: str) -> None:
        """Note that an invariant broke; the first reason is kept."""
        assert invariant in INVARIANTS
        self.tell(f"BROKEN {invariant}: {why}")
        self.broken.setdefault(invariant, why)

    def ask(self, *, tool: bool = False) -> Asked:
        """Enter a new prompt in a cell of its own."""
        number = next(self._numbers)
        asked = Asked(cell=f"cell{number}", word=f"word{number}", tool=tool)
        self.asked.append(asked)
        return asked

    def ask_again(self, old: Asked) -> Asked:
        """Enter a cell that is run again, unchanged."""
        self.tell(f"{old.cell} again")
        asked = replace(old, outcome="doubt")
        self.asked.append(asked)
        return asked

    def answered(self, asked: Asked, outcome: str, text: str = "") -> None:
        """Enter what came of a prompt."""
        asked.outcome = outcome
        self.tell(f"{asked.cell}: {asked.word} {outcome} {text[-60:]!r}")
        if outcome == "ok" and END not in text:
            self.note("false ok", f"{asked.word} is ok with {text!r}")

    # --- judging -----------------------------------------------------------------------------

    def expected(self, rows: Sequence[Row]) -> list[str]:
        """Return the words of the current path.

        A turn that failed is on it only if it is recorded as such: one that was answered in part
        stays. Where no reply came, the turn finished if the file has it.
        """
        kept = {(row.word, row.status == "ok") for row in rows}
        path: list[Asked] = []
        for asked in self.asked:
            cells = [other.cell for other in path]
            if asked.cell in cells:  # run again: what was from there on became a branch
                del path[cells.index(asked.cell) :]
            failed, finished = (asked.word, False) in kept, (asked.word, True) in kept
            here = {"ok": True, "failed": failed, "doubt": failed or finished}
            if here[asked.outcome]:
                path.append(asked)
        return [asked.word for asked in path]

    def judge(self, history: Sequence[str], rows: Sequence[Row]) -> None:
        """Hold what the model was sent with the newest prompt against what it should know."""
        expected = self.expected(rows)
        self.tell(f"sent {' '.join(history)}")
        if missing := [word for word in expected if word not in history]:
            self.note("lost", f"{missing} are not in {list(history)}")
        if twice := {word for word in history if history.count(word) > 1}:
            self.note("duplicated", f"{sorted(twice)} are twice in {list(history)}")
        if list(history) != expected:
            self.note("no memory", f"{list(history)} is not {expected}")

    def audit(self, rows: Sequence[Row]) -> None:
        """Hold what is recorded, once all is over, against what was answered."""
        ok = [row.word for row in rows if row.status == "ok"]
        finished = {asked.word for asked in self.asked if asked.outcome == "ok"}
        whole = {row.word for row in rows if END in row.answer}
        doubt = {asked.word for asked in self.asked if asked.outcome == "doubt"} & whole
        known = {asked.word for asked in self.asked}
        if missing := finished - set(ok):
            self.note("lost", f"{sorted(missing)} are not recorded")
        if twice := {word for word in ok if ok.count(word) > 1}:
            self.note("duplicated", f"{sorted(twice)} are recorded twice")
        if false := (set(ok) & known) - finished - doubt:
            self.note("false ok", f"{sorted(false)} are recorded as ok")


def read_store(store: Path) -> list[Row]:
    """Return the turns of a store; raise `ValueError` if the file is damaged."""
    if not store.exists():
        return []
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True, timeout=10)) as db:
        (verdict,) = db.execute("pragma integrity_check").fetchone()
        if verdict != "ok" or db.execute("pragma foreign_key_check").fetchall():
            raise ValueError(f"the store is damaged: {verdict}")
        found = db.execute("select prompt, status, answer from turn order by id").fetchall()
    return [Row(WORD.findall(prompt)[0], status, answer) for prompt, status, answer in found]
