"""The budget of a notebook, the expected cost of its next turn, and the size of its prompt cache.

The cost and the cache are estimated from the usage of past turns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from ..errors import BudgetReached, PromptTooLong

if TYPE_CHECKING:
    from ..claude.events import Usage

CHARACTERS_PER_TOKEN = 4  # a rule of thumb for English; only estimates use it
HINT = "`%budget` shows what was used; raise it there, or take it away with `%budget none`."


class Budget(Struct, frozen=True, kw_only=True):
    """The most that a notebook, and one turn of it, may use; `None` is no limit.

    US dollars are list price, as claude reports it.
    """

    usd: float | None = None
    tokens: int | None = None
    turn_usd: float | None = None
    turn_tokens: int | None = None

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return any(
            limit is not None for limit in (self.usd, self.tokens, self.turn_usd, self.turn_tokens)
        )


class Cost(Struct, frozen=True, kw_only=True):
    """Tokens and US dollars (list price) that were used, or are expected to be."""

    tokens: int = 0
    usd: float = 0.0


def expected(before: Usage | None, prompt: str) -> Cost:
    """Return an estimate of what a prompt costs after a turn that used `before`.

    The model reads again all tokens that the turn before it read and wrote, and the new prompt. The
    dollars are those of the turn before. This is our own estimate; claude publishes no formula.
    """
    tokens = len(prompt) // CHARACTERS_PER_TOKEN
    if before is None:
        return Cost(tokens=tokens)
    return Cost(tokens=tokens + before.prompt_tokens + before.output_tokens, usd=before.cost_usd)


def check(budget: Budget, spent: Cost, next_turn: Cost) -> None:
    """Raise `BudgetReached` if the next turn would go over the budget."""
    rows = (
        (budget.usd, spent.usd, next_turn.usd, "${:,.4f}", "the notebook"),
        (budget.tokens, spent.tokens, next_turn.tokens, "{:,} tokens", "the notebook"),
        (budget.turn_usd, 0, next_turn.usd, "${:,.4f}", "one turn"),
        (budget.turn_tokens, 0, next_turn.tokens, "{:,} tokens", "one turn"),
    )
    for limit, used, more, form, whose in rows:
        if limit is None or (used < limit and used + more <= limit):
            continue
        so_far = f"{form.format(used)} are used, " if used else ""
        raise BudgetReached(
            f"The budget of {whose} is {form.format(limit)}: {so_far}the next turn takes about "
            f"{form.format(more)}; nothing was sent",
            hint=HINT,
        )


def check_window(prompt: str, before: Usage | None) -> None:
    """Raise `PromptTooLong` if a prompt alone is larger than the context window.

    If it were sent, the process would compact the conversation in vain.
    """
    tokens = len(prompt) // CHARACTERS_PER_TOKEN
    if before and before.context_window and tokens > before.context_window:
        raise PromptTooLong(
            f"The prompt is too long: about {tokens:,} tokens, and the window holds "
            f"{before.context_window:,}",
            hint="Shorten it, or let Claude read the text from a file in parts.",
        )


def cached_tokens(usage: Usage) -> int:
    """Return how many tokens a turn left in the prompt cache: those it read there or wrote."""
    return usage.cache_read_tokens + usage.cache_write_tokens
