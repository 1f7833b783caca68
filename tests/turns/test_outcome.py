"""Each way a turn can end, as the real binary reports it, and what the user is told."""

from __future__ import annotations

from typing import Any

import pytest

from hotclaude_kernel.claude.events import Block, Result
from hotclaude_kernel.errors import (
    ApiError,
    Crashed,
    Interrupted,
    NotLoggedIn,
    ProcessDied,
    PromptTooLong,
    TurnError,
)
from hotclaude_kernel.turns.outcome import STATUSES, Outcome, outcome
from hotclaude_kernel.turns.prompt import Prompt
from hotclaude_kernel.turns.turn import Clock, Turn


def turn(*kinds: str) -> Turn:
    """A turn in which the binary reported API errors of these kinds."""
    events = [
        Block(
            uuid="u",
            message_id="m",
            kind="text",
            content={"type": "text", "text": "API Error"},
            error=kind,
        )
        for kind in kinds
    ]
    return Turn(
        prompt=Prompt(text="x"), uuid="u", clock=Clock(hot=True), number=1, events=[*events]
    )


def failure(end: Result, of: Turn) -> TurnError | None:
    return outcome(of, end, stalled_s=60.0).error


def result(text: str = "", **fields: Any) -> Result:
    given: dict[str, Any] = {
        "session_id": "s",
        "subtype": "success",
        "is_error": True,
        "terminal_reason": "api_error",
        "text": text,
    }
    return Result(**(given | fields))


def api(text: str, status: int | None = None, **fields: Any) -> Result:
    return result(text, api_status=status, **fields)


FAMILIES: dict[str, tuple[Result, tuple[str, ...], type[TurnError], str]] = {
    "not logged in": (
        api("Not logged in · Please run /login"),
        ("authentication_failed",),
        NotLoggedIn,
        "/login",
    ),
    "a refused key": (
        api("Invalid API key · Fix external API key", 401),
        ("authentication_failed",),
        NotLoggedIn,
        "ANTHROPIC_API_KEY",
    ),
    "forbidden": (
        api("Failed to authenticate. API Error: 403 not allowed", 403),
        ("authentication_failed",),
        NotLoggedIn,
        "log in",
    ),
    "a refused login without a status": (
        api("OAuth token has expired"),
        ("authentication_failed",),
        NotLoggedIn,
        "log in",
    ),
    "no such model": (
        api("There's an issue with the selected model (x). It may not exist", 404),
        ("unknown",),
        ApiError,
        "%model",
    ),
    "a bad request": (
        api("API Error: 400 messages: bad thing", 400),
        ("unknown",),
        ApiError,
        "change the prompt",
    ),
    "no credit": (api("Credit balance is too low", 400), ("billing_error",), ApiError, "credit"),
    "too large": (
        api("Request too large (max 32MB).", 413, terminal_reason="image_error"),
        ("unknown",),
        ApiError,
        "%new",
    ),
    "a rate limit": (
        api("API Error: Request rejected (429) · slow down", 429),
        ("rate_limit",),
        ApiError,
        "Wait",
    ),
    "a failing server": (
        api("API Error: 500 boom. This is a server-side issue", 500),
        ("server_error",),
        ApiError,
        "Wait",
    ),
    "overloaded": (api("API Error: 529 overloaded", 529), ("overloaded",), ApiError, "Wait"),
    "not reached": (
        api("API Error: Connection refused — a firewall may be blocking it (ECONNREFUSED)"),
        ("unknown",),
        ApiError,
        "ANTHROPIC_BASE_URL",
    ),
    "too long": (
        result("Prompt is too long", terminal_reason="blocking_limit"),
        ("invalid_request",),
        PromptTooLong,
        "Shorten",
    ),
    "too long, said by the API": (
        api("Prompt is too long", 400),
        ("invalid_request",),
        PromptTooLong,
        "Shorten",
    ),
    "too many requests of the model": (
        result(
            subtype="error_max_turns",
            terminal_reason="max_turns",
            errors=("Reached maximum number of turns (2)",),
        ),
        (),
        TurnError,
        "max_turns",
    ),
    "budget": (
        result(
            subtype="error_max_budget_usd",
            terminal_reason="budget_exhausted",
            errors=("Reached maximum budget ($0.5)",),
        ),
        (),
        TurnError,
        "kept",
    ),
    "refused flags": (
        result(
            subtype="error_during_execution",
            terminal_reason="",
            errors=("--dangerously-skip-permissions cannot be used with root",),
        ),
        (),
        TurnError,
        "run the cell again",
    ),
    "interrupted while streaming": (
        result(
            subtype="error_during_execution",
            terminal_reason="aborted_streaming",
            errors=("[ede_diagnostic] result_type=user",),
        ),
        (),
        Interrupted,
        "goes on",
    ),
    "interrupted in a tool": (
        result(subtype="error_during_execution", terminal_reason="aborted_tools"),
        (),
        Interrupted,
        "goes on",
    ),
    "interrupted and called a success": (
        result("Half an", is_error=False, terminal_reason="aborted_streaming"),
        (),
        Interrupted,
        "goes on",
    ),
}


class TestFailure:
    @pytest.mark.parametrize("name", FAMILIES)
    def test_each_family_is_one_class_one_line_and_one_hint(self, name: str) -> None:
        ending, kinds, expected, word = FAMILIES[name]
        error = failure(ending, turn(*kinds))
        assert error is not None
        assert type(error) is expected
        assert error.message
        assert "\n" not in error.message
        assert word in error.hint
        assert "\n" not in error.hint

    @pytest.mark.parametrize("name", FAMILIES)
    def test_the_status_of_the_api_is_kept(self, name: str) -> None:
        ending, kinds, _, _ = FAMILIES[name]
        error = failure(ending, turn(*kinds))
        if isinstance(error, ApiError):
            assert error.status == ending.api_status

    @pytest.mark.parametrize("reason", ["completed", ""])
    def test_a_turn_that_finished_is_no_failure(self, reason: str) -> None:
        assert failure(result("Hi", is_error=False, terminal_reason=reason), turn()) is None

    def test_an_api_error_that_was_overcome_is_no_failure(self) -> None:
        ending = result("Hi", is_error=False, terminal_reason="completed")
        assert failure(ending, turn("server_error")) is None

    def test_the_message_is_what_the_binary_said(self) -> None:
        error = failure(api("API Error: 500 boom", 500), turn("server_error"))
        assert error is not None
        assert error.message == "API Error: 500 boom"

    def test_diagnostics_for_its_developers_are_not_shown(self) -> None:
        ending = result(
            subtype="error_during_execution",
            terminal_reason="",
            errors=("[ede_diagnostic] x", "\n  What went wrong\nand more"),
        )
        error = failure(ending, turn())
        assert error is not None
        assert error.message == "What went wrong"

    @pytest.mark.parametrize(("subtype", "named"), [("error_new", "error_new"), ("", "an error")])
    def test_one_that_says_nothing_is_named(self, subtype: str, named: str) -> None:
        error = failure(result(subtype=subtype, terminal_reason=""), turn())
        assert error is not None
        assert error.message == f"The turn ended with {named}"

    def test_a_silence_that_we_ended_is_the_apis_and_not_the_users(self) -> None:
        ending = result(subtype="error_during_execution", terminal_reason="aborted_streaming")
        stalled = turn()
        stalled.stalled = True
        error = failure(ending, stalled)
        assert type(error) is ApiError
        assert error.message == "The API was silent for 60 s"
        assert error.hint


ABORTED = result(subtype="error_during_execution", terminal_reason="aborted_tools")
FAILED = result(subtype="error_during_execution", terminal_reason="")
DIED = ProcessDied("The claude process was killed by SIGKILL")


class TestOutcome:
    """Each end, with and without the user's word to stop."""

    @pytest.mark.parametrize(
        ("end", "asked_to_stop", "status", "kind"),
        [
            (result(is_error=False, terminal_reason="completed"), False, "ok", None),
            (result(is_error=False, terminal_reason="completed"), True, "ok", None),
            (FAILED, False, "error", TurnError),
            (FAILED, True, "interrupted", Interrupted),
            (ABORTED, False, "interrupted", Interrupted),
            (ABORTED, True, "interrupted", Interrupted),
            (result(is_error=False, terminal_reason="aborted_streaming"), True, "interrupted",
             Interrupted),
            (DIED, False, "crashed", Crashed),
            (DIED, True, "interrupted", Interrupted),
            (None, False, "interrupted", Interrupted),
            (None, True, "interrupted", Interrupted),
        ],
    )  # fmt: skip
    def test_the_three_ways_to_be_interrupted_and_all_others(
        self,
        end: Result | ProcessDied | None,
        asked_to_stop: bool,
        status: str,
        kind: type[TurnError] | None,
    ) -> None:
        became = outcome(turn(), end, asked_to_stop=asked_to_stop, stalled_s=60.0)
        assert (became.status, type(became.error) if became.error else None) == (status, kind)
        assert became.status in STATUSES

    def test_a_turn_that_finished_before_the_word_came_is_finished(self) -> None:
        end = result("Hi", is_error=False, terminal_reason="completed")
        assert outcome(turn(), end, asked_to_stop=True, stalled_s=60.0) == Outcome("ok")
