"""How a turn ended: its status, and the error and hint that the user is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..claude.events import Block
from ..errors import (
    ApiError,
    Crashed,
    Interrupted,
    NotLoggedIn,
    ProcessDied,
    PromptTooLong,
    TurnError,
)

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


class Outcome(NamedTuple):
    """How a turn ended: its `status`, one of `STATUSES`, and its `error` unless that is ok."""

    status: str
    error: TurnError | None = None


# A turn that ended with its process is in no history: nothing of it is recorded.
STATUSES = ("ok", "error", "interrupted", "crashed")


def outcome(
    turn: Turn, end: Result | ProcessDied | None, *, asked_to_stop: bool = False, stalled_s: float
) -> Outcome:
    """Return how a turn ended.

    `end` is its `Result`, the death of its process, or `None` if the turn was cancelled and its
    process ended with it. `asked_to_stop` says whether the user interrupted the turn. `stalled_s`
    is how many seconds the API may be silent; the kernel stops a turn that stalls for longer.
    """
    match end:
        case None:
            return Outcome("interrupted", Interrupted("Interrupted"))
        case ProcessDied() if asked_to_stop:
            hint = "The process did not stop and was ended."
            return Outcome("interrupted", Interrupted("Interrupted", hint=hint))
        case ProcessDied():
            text = f"{end.message}, in the middle of the turn"
            hint = "The conversation is being resumed without this turn; run the cell again."
            return Outcome("crashed", Crashed(text, hint=hint))
    if turn.stalled:
        text = f"The API was silent for {stalled_s:g} s"
        return Outcome("error", ApiError(text, hint=WAIT_HINT))
    # An aborted turn can report success, and an interrupt can make a turn report another failure.
    if end.terminal_reason.startswith("aborted") or (asked_to_stop and end.is_error):
        hint = "The conversation goes on from here."
        return Outcome("interrupted", Interrupted("Interrupted", hint=hint))
    error = _failure(end, turn)
    return Outcome("error" if error else "ok", error)


def _failure(result: Result, turn: Turn) -> TurnError | None:
    """Return the error of a turn that nobody stopped, `None` if it finished."""
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
    """Return the first line that the result says, without the binary's diagnostics."""
    said = [result.text, *(e for e in result.errors if not e.startswith("[ede_diagnostic]"))]
    lines = [line.strip() for text in said for line in text.splitlines() if line.strip()]
    return lines[0] if lines else f"The turn ended with {result.subtype or 'an error'}"


def _api_error(turn: Turn) -> str | None:
    """Return the kind of the turn's last API error, `None` if the binary reported none."""
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
