"""Completion, inspection, completeness and history of cells that have not run yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hotclaude_kernel.cells.completion import (
    MOST_FILES,
    HistoryQuery,
    Ran,
    complete,
    completeness,
    describe,
    history,
)
from hotclaude_kernel.cells.magics import registry
from hotclaude_kernel.cells.magics.names import MAGICS
from hotclaude_kernel.claude.session import Greeting
from hotclaude_kernel.conversation.conversation import Conversation
from hotclaude_kernel.turns.settings import EFFORTS, PERMISSION_MODES, Settings

if TYPE_CHECKING:
    from pathlib import Path

GREETING = Greeting(
    version="2.1.330",
    models=({"value": "default"}, {"value": "opus"}, {"value": "sonnet"}),
    commands=(
        {"name": "compact", "description": "Summarise the conversation"},
        {"name": "context"},
        {"name": "review", "description": None},
    ),
)


@pytest.fixture
def conversation(tmp_path: Path) -> Conversation:
    """A conversation in a folder with a few files; no process is started."""
    for folder in ("source", "spaced out/inner", ".hidden"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("setup.cfg", "source/main.py", "source/map.py", ".secret", "étude.txt"):
        (tmp_path / name).write_text("")
    made = Conversation(Settings(cwd=str(tmp_path)))
    made.greeting = GREETING
    return made


def completed(cell: str, conversation: Conversation) -> list[str]:
    """The cells that completion at the end of this one could make of it."""
    completion = complete(cell, len(cell), conversation)
    return [cell[: completion.start] + match for match in completion.matches]


class TestMagicNames:
    def test_a_percent_sign_offers_them_all(self, conversation: Conversation) -> None:
        assert completed("%", conversation) == sorted(f"%{name}" for name in MAGICS)

    def test_what_is_typed_narrows_them(self, conversation: Conversation) -> None:
        assert completed("%s", conversation) == ["%status", "%system"]
        assert completed("%nothing", conversation) == []

    def test_they_are_completed_on_any_line_and_behind_an_indent(
        self, conversation: Conversation
    ) -> None:
        assert completed("%model opus\n  %eff", conversation) == ["%model opus\n  %effort"]

    def test_only_what_stands_before_the_cursor_counts(self, conversation: Conversation) -> None:
        completion = complete("%effort high", 4, conversation)
        assert (completion.matches, completion.start) == (["%effort"], 0)


class TestMagicValues:
    @pytest.mark.parametrize(
        ("line", "values"),
        [
            ("%model ", ["default", "opus", "sonnet"]),
            ("%model o", ["opus"]),
            ("%effort ", ["default", *EFFORTS]),
            ("%effort m", ["medium", "max"]),
            ("%permission-mode ", list(PERMISSION_MODES)),
            ("%permission_mode p", ["plan"]),
            ("%tools Read G", ["Glob", "Grep"]),
            ("%system You", []),
            ("%new ", []),
            ("%nothing ", []),
        ],
    )
    def test_they_are_the_magics_own(
        self, line: str, values: list[str], conversation: Conversation
    ) -> None:
        start = line.rpartition(" ")[0]
        assert completed(line, conversation) == [f"{start} {value}" for value in values]

    def test_without_a_process_models_are_not_known(self) -> None:
        assert completed("%model ", Conversation(Settings())) == ["%model default"]


class TestFolders:
    @pytest.mark.parametrize(
        ("line", "lines"),
        [
            ("%cwd ", ["%cwd source/", "%cwd spaced out/"]),
            ("%cwd so", ["%cwd source/"]),
            ("%cwd ./so", ["%cwd ./source/"]),
            ("%cwd .h", ["%cwd .hidden/"]),
            ("%cwd spaced o", ["%cwd spaced out/"]),
            ("%cwd spaced out/in", ["%cwd spaced out/inner/"]),
            ("%cwd set", []),
            ("%cwd missing/x", []),
            ("%cwd ~nobody-at-all/", []),
            ("%cwd a\0b/", []),
        ],
    )
    def test_cwd_takes_folders(
        self, line: str, lines: list[str], conversation: Conversation
    ) -> None:
        assert completed(line, conversation) == lines

    def test_the_home_and_the_root_are_places_too(
        self, conversation: Conversation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        assert completed("%cwd ~/so", conversation) == ["%cwd ~/source/"]
        assert "%cwd /tmp/" in completed("%cwd /tm", conversation)
        assert completed(f"%cwd {tmp_path}/so", conversation) == [f"%cwd {tmp_path}/source/"]


class TestCommands:
    @pytest.mark.parametrize(
        ("cell", "cells"),
        [
            ("/", ["/compact", "/context", "/review"]),
            ("/co", ["/compact", "/context"]),
            ("\n /rev", ["\n /review"]),
            ("Look at /co", []),
            ("Hello\n/co", []),
        ],
    )
    def test_they_are_completed_at_the_start_of_a_prompt(
        self, cell: str, cells: list[str], conversation: Conversation
    ) -> None:
        assert completed(cell, conversation) == cells

    def test_the_prompt_may_begin_below_settings(self, conversation: Conversation) -> None:
        assert completed("%model opus\n\n/rev", conversation) == ["%model opus\n\n/review"]

    def test_without_a_process_none_are_known(self) -> None:
        assert completed("/", Conversation(Settings())) == []


class TestFiles:
    @pytest.mark.parametrize(
        ("cell", "cells"),
        [
            ("Read @se", ["Read @setup.cfg"]),
            ("@source/ma", ["@source/main.py", "@source/map.py"]),
            ("@so", ["@source/"]),
            ("@é", ["@étude.txt"]),
            ("@.s", ["@.secret"]),
            ("@missing/", []),
            ("a@se", []),
        ],
    )
    def test_they_are_completed_anywhere(
        self, cell: str, cells: list[str], conversation: Conversation
    ) -> None:
        assert completed(cell, conversation) == cells

    def test_hidden_ones_are_offered_only_if_asked_for(self, conversation: Conversation) -> None:
        assert completed("@", conversation) == [
            "@setup.cfg",
            "@source/",
            "@spaced out/",
            "@étude.txt",
        ]

    def test_a_folder_of_many_offers_the_first(
        self, conversation: Conversation, tmp_path: Path
    ) -> None:
        for n in range(MOST_FILES + 20):
            (tmp_path / f"many{n:03}").touch()
        assert len(completed("@many", conversation)) == MOST_FILES


class TestAnyCell:
    @given(st.text("%/@~. \n\0\\ab{é😀modelcwd", max_size=20), st.integers(0, 20))
    @example("@~a/", 4)
    @example("%cwd \0/", 7)
    @example("/x\n@", 4)
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_asking_about_it_never_fails(
        self, conversation: Conversation, code: str, at: int
    ) -> None:
        at = min(at, len(code))
        completion = complete(code, at, conversation)
        assert 0 <= completion.start <= at
        assert isinstance(describe(code, at, conversation), str)
        assert completeness(code) in ("complete", "incomplete", "invalid")


class TestDescribe:
    @pytest.mark.parametrize("at", [0, 3, 8, 11])
    def test_a_magic_is_described_from_anywhere_on_its_line(
        self, at: int, conversation: Conversation
    ) -> None:
        assert describe("%model opus", at, conversation) == registry.help_text("model")

    @pytest.mark.parametrize("code", ["%effort?", "  %effort", "Hello\n%effort"])
    def test_however_it_is_written(self, code: str, conversation: Conversation) -> None:
        assert describe(code, len(code), conversation) == registry.help_text("effort")

    def test_each_line_is_its_own(self, conversation: Conversation) -> None:
        code = "%model opus\n%effort high"
        assert describe(code, 2, conversation) == registry.help_text("model")
        assert describe(code, 14, conversation) == registry.help_text("effort")

    def test_a_command_is_described_as_the_process_does(self, conversation: Conversation) -> None:
        assert describe("/compact now", 3, conversation) == "Summarise the conversation"

    @pytest.mark.parametrize(
        "code", ["", "\n", "Hello", "%nothing", "/nothing", "/context", "/review", "50% of it"]
    )
    def test_the_rest_is_not_described(self, code: str, conversation: Conversation) -> None:
        assert describe(code, len(code), conversation) == ""


class TestCompleteness:
    @pytest.mark.parametrize(
        ("code", "answer"),
        [
            ("", "complete"),
            ("Hello", "complete"),
            ("%model opus", "complete"),
            ("%model opus\nHello", "complete"),
            ("```\ncode\n```", "complete"),
            ("Look:\n```python\nx = 1", "incomplete"),
            ("one\\", "incomplete"),
            ("%nothing", "invalid"),
            ("%%bash\nls", "invalid"),
        ],
    )
    def test_a_console_may_send_what_is_complete(self, code: str, answer: str) -> None:
        assert completeness(code) == answer


CELLS: list[Ran] = [
    (0, 1, "one", "1"),
    (0, 2, "two", "2"),
    (0, 3, "one", "3"),
    (0, 4, "three [x]", "4"),
]


def found(kind: str, **fields: object) -> list[int]:
    """The numbers of the cells that a query finds."""
    query = HistoryQuery(kind=kind, **fields)  # type: ignore[arg-type]
    return [cell[1] for cell in history(CELLS, query)]


class TestHistory:
    def test_the_tail_is_the_last_cells(self) -> None:
        assert found("tail", n=2) == [3, 4]
        assert found("tail", n=99) == [1, 2, 3, 4]
        assert found("tail") == [1, 2, 3, 4]

    def test_a_range_has_a_start_and_an_end_that_is_not_in_it(self) -> None:
        assert found("range", session=0, start=2, stop=4) == [2, 3]
        assert found("range", session=0, start=3) == [3, 4]
        assert found("range", session=0, stop=2) == [1]
        assert found("range") == [1, 2, 3, 4]

    @pytest.mark.parametrize("session", [-1, 1])
    def test_other_sessions_are_not_known(self, session: int) -> None:
        assert found("range", session=session, start=1, stop=9) == []

    @pytest.mark.parametrize(
        ("pattern", "numbers"),
        [("one", [1, 3]), ("t*", [2, 4]), ("*", [1, 2, 3, 4]), ("ONE", []), ("[", [])],
    )
    def test_a_search_matches_a_pattern(self, pattern: str, numbers: list[int]) -> None:
        assert found("search", pattern=pattern) == numbers

    def test_a_search_may_leave_out_repetitions_and_take_the_last_few(self) -> None:
        assert sorted(found("search", pattern="*", unique=True)) == [2, 3, 4]
        assert found("search", pattern="one", n=1) == [3]

    def test_without_a_pattern_everything_is_found(self) -> None:
        assert found("search") == [1, 2, 3, 4]
