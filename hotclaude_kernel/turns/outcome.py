"""What a turn's result means to the user: nothing, or one error with one next step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..claude.events import Block
from ..errors import ApiError, Interrupted, NotLoggedIn, PromptTooLong, TurnError

if TYPE_CHECKING:
    from ..claude.events import Result
    from .turn import Turn

LOGIN_HINT = (
    "Run `claude` in a terminal and type /login, or set ANTHROPIC_API_KEY and restart the kernel. "
    "`hotclaude demo` works without an account."
)
CREDENTIAL_HINT = "Check ANTHROPIC_API_KEY or log in again, then restart the kernel."
WAIT_HINT = "Wait a little, then run the cell again; the conversation is kept."
REACH_HINT = "Check the network, or ANTHROPIC_BASE_URL if you set one; then run the cell again."
REQUEST_HINT = "The same request will be refused again: change the prompt, or begin with `%new`."
MODEL_HINT = "Choose another with `%model`; Tab after it lists what there is."


def failure(result: Result, turn: Turn, *, stalled_s: float | None = None) -> TurnError | None:
    """Return why the turn did not finish, `None` if it did.

    `stalled_s` is set where we stopped it ourselves because the API was silent so long.
    """
    if stalled_s is not None:
        return ApiError(f"The API was silent for {stalled_s:g} s", hint=WAIT_HINT)
    if result.terminal_reason.startswith("aborted"):
        return Interrupted("Interrupted", hint="The conversation goes on from here.")
    if not result.is_error:
        return None
    text = _first_line(result)
    if result.terminal_reason == "blocking_limit" or text.startswith("Prompt is too long"):
        return PromptTooLong(
            text, hint="Shorten the prompt, or let Claude read the text from a file in parts."
        )
    if _api_error(turn) or result.terminal_reason == "api_error" or result.api_status:
        return _api_failure(text, result.api_status, _api_error(turn))
    return TurnError(text, hint=_hint_for(result.subtype))


def _first_line(result: Result) -> str:
    """The result's own words; the binary's diagnostics are for its developers."""
    said = [result.text, *(e for e in result.errors if not e.startswith("[ede_diagnostic]"))]
    lines = [line.strip() for text in said for line in text.splitlines() if line.strip()]
    return lines[0] if lines else f"The turn ended with {result.subtype or 'an error'}"


def _api_error(turn: Turn) -> str | None:
    """The kind of the last API error that the binary reported in the turn."""
    kinds = [event.error for event in turn.events if isinstance(event, Block) and event.error]
    return kinds[-1] if kinds else None


def _api_failure(text: str, status: int | None, kind: str | None) -> ApiError:
    if "not logged in" in text.lower():
        return NotLoggedIn("Claude is not logged in", hint=LOGIN_HINT, status=status)
    if status in (401, 403) or kind == "authentication_failed":
        return NotLoggedIn(text, hint=CREDENTIAL_HINT, status=status)
    if status == 404:
        return ApiError(text, hint=MODEL_HINT, status=status)
    if status is None and ("refused" in text.lower() or "connect" in text.lower()):
        return ApiError(text, hint=REACH_HINT, status=status)
    if "credit balance" in text.lower():
        hint = "Add credit to the API account, then run the cell again."
        return ApiError(text, hint=hint, status=status)
    if status in (400, 413):
        return ApiError(text, hint=REQUEST_HINT, status=status)
    return ApiError(text, hint=WAIT_HINT, status=status)


def _hint_for(subtype: str) -> str:
    if subtype == "error_max_turns":
        return "Raise `max_turns`, or run a cell that asks it to go on."
    return "The conversation is kept; run the cell again."
