"""The errors of hotclaude, as one tree.

```
HotClaudeError
├── TransportError        the claude process, or the connection to it, failed
│   ├── ClaudeNotFound    no claude binary
│   ├── ClaudeUnusable    a binary that can't serve a notebook: too old, or it can't be started
│   ├── ProcessDied       the process ended; `stderr` is its last output
│   └── ControlError      the process refused a control request
├── TurnError             the turn did not finish
│   ├── ApiError          the API failed or refused; `status` is the HTTP status
│   │   └── NotLoggedIn   no credential, or the API refused it
│   ├── PromptTooLong     the prompt does not fit the context window
│   ├── Interrupted       the user stopped the turn
│   └── Crashed           the process died during the turn
├── ConversationLost      the conversation can't be resumed; nothing was sent
├── ReplayMiss            the turn is not recorded, and the mode forbids asking; nothing was sent
├── BudgetReached         the turn would go over the budget; nothing was sent
├── StoreError            the record can't be read or written
│   ├── StoreTooNew       a newer hotclaude wrote the record
│   └── StoreUnavailable  it can't be read or written now: locked, full, read-only, damaged
└── UsageError            the user asked for something that can't be done
```

An error has one line that says what happened and one that says what to do next.
The user is shown both lines unchanged, and never a traceback.
"""

from __future__ import annotations


class HotClaudeError(Exception):
    """Any error that the user is shown: `message` is what happened, `hint` the next step."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments don't survive the default pickling of exceptions.
        return (_rebuild, (type(self), self.__dict__))


def _rebuild(cls: type[HotClaudeError], state: dict[str, object]) -> HotClaudeError:
    error = cls.__new__(cls, state["message"])
    error.__dict__.update(state)
    return error


class TransportError(HotClaudeError):
    """The claude process, or the connection to it, failed."""


class ClaudeNotFound(TransportError):
    """No claude binary is installed, or the named one does not exist."""


class ClaudeUnusable(TransportError):
    """The binary can't serve a notebook: it is too old, or it can't be started."""


class ProcessDied(TransportError):
    """The process ended.

    `returncode` is minus the signal's number if a signal ended it, `None` if it is unknown.
    `stderr` is the last that the process wrote there.
    """

    def __init__(
        self, message: str, *, hint: str = "", returncode: int | None = None, stderr: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.returncode = returncode
        self.stderr = stderr


class ControlError(TransportError):
    """The process refused a control request, does not know it, or did not answer in time."""


class TurnError(HotClaudeError):
    """The turn did not finish."""


class ApiError(TurnError):
    """The API failed or refused; `status` is the HTTP status, `None` if it was not reached."""

    def __init__(self, message: str, *, hint: str = "", status: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class NotLoggedIn(ApiError):
    """The user has no credential, or the API refused it."""


class PromptTooLong(TurnError):
    """The prompt, with the turns before it, does not fit the context window."""


class Interrupted(TurnError):
    """The user stopped the turn; the conversation goes on."""


class Crashed(TurnError):
    """The process died during the turn."""


class ConversationLost(HotClaudeError):
    """The conversation can't be resumed. Nothing was sent."""


class ReplayMiss(HotClaudeError):
    """The turn is not in the record, and the mode forbids asking it. Nothing was sent.

    `details` are lines that show how the turn differs from the nearest recorded one.
    """

    def __init__(self, message: str, *, hint: str = "", details: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.details = details


class BudgetReached(HotClaudeError):
    """The turn would go over the limit that `%budget` set. Nothing was sent."""


class StoreError(HotClaudeError):
    """The record can't be read or written."""


class StoreUnavailable(StoreError):
    """SQLite can't read or write the file now. The same call may succeed later."""


class StoreTooNew(StoreError):
    """A newer hotclaude wrote the record. It is neither read nor changed."""


class UsageError(HotClaudeError):
    """The user asked for something that can't be done: an unknown branch, a refused setting."""
