"""The type of a model, and the simplest one: a list of answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

from .replies import Answer, Reply, Text
from .request import Request

Model: TypeAlias = Callable[[Request], Answer | Awaitable[Answer]]


class Script:
    """A model that gives its answers in order, and then always `default`.

    An answer may also be a string, or a function of the request.
    """

    def __init__(
        self, answers: Iterable[Answer | str | Model] = (), *, default: Answer | str = "ok"
    ) -> None:
        self.answers = deque(answers)
        self.default = default

    def __call__(self, request: Request) -> Answer | Awaitable[Answer]:
        """Return the next answer."""
        answer = self.answers.popleft() if self.answers else self.default
        if isinstance(answer, str):
            return Reply(Text(answer))
        return answer(request) if callable(answer) else answer
