"""What can go wrong, as one tree.

```
HotClaudeError
├── TransportError        the process, or the way to it
│   ├── ClaudeNotFound    no binary
│   ├── ClaudeUnusable    a binary that can't serve: wrong version, refuses its flags
│   ├── ProcessDied       it ended, with what it last said on stderr
│   └── ControlError      a control request was refused
├── TurnError             a turn that did not finish
│   ├── ApiError          the API said no; `status` tells which
│   │   └── NotLoggedIn   no credential, or a refused one
│   ├── PromptTooLong     larger than the context window
│   ├── Interrupted       the user stopped it
│   └── Crashed           the process died in the middle
├── ConversationLost      it can't be resumed; nothing was sent
├── ReplayMiss            it is not in the record, and may not be asked
├── BudgetReached         it would cost more than was granted; nothing was sent
├── StoreError            the record can't be read or written
│   └── StoreTooNew       a newer hotclaude wrote it
└── UsageError            a line of the cell that can't be followed
```

An error carries one line that says what happened and one that says what to do next.
Both reach the user as they stand; a traceback never does.
"""

from __future__ import annotations


class HotClaudeError(Exception):
    """Anything the user is told about: `message` is what happened, `hint` the next step."""

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
    """The process, or the way to it, failed."""


class ClaudeNotFound(TransportError):
    """No claude binary is installed, or the named one does not exist."""


class ClaudeUnusable(TransportError):
    """The binary started but can't serve a notebook."""


class ProcessDied(TransportError):
    """The process ended. `returncode` is negative for a signal."""

    def __init__(
        self, message: str, *, hint: str = "", returncode: int | None = None, stderr: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.returncode = returncode
        self.stderr = stderr


class ControlError(TransportError):
    """The process refused a control request, or does not know it."""


class TurnError(HotClaudeError):
    """The turn did not finish."""


class ApiError(TurnError):
    """The API refused or failed; `status` is its HTTP status, `None` if it was not reached."""

    def __init__(self, message: str, *, hint: str = "", status: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class NotLoggedIn(ApiError):
    """There is no credential, or it was refused."""


class PromptTooLong(TurnError):
    """The prompt, with what stands before it, does not fit the context window."""


class Interrupted(TurnError):
    """The user stopped the turn; the conversation goes on."""


class Crashed(TurnError):
    """The process died in the middle of the turn."""


class ConversationLost(HotClaudeError):
    """The conversation can't be resumed. Nothing was sent."""


class ReplayMiss(HotClaudeError):
    """The turn is not in the record, and the mode forbids to ask. Nothing was sent.

    `details` are lines that tell in what it differs from what is recorded.
    """

    def __init__(self, message: str, *, hint: str = "", details: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.details = details


class BudgetReached(HotClaudeError):
    """The turn would go over what `%budget` grants. Nothing was sent."""


class StoreError(HotClaudeError):
    """The record can't be read or written."""


class StoreTooNew(StoreError):
    """A newer hotclaude wrote the record; it is left as it is."""


class UsageError(HotClaudeError):
    """A setting line of the cell that can't be followed."""
