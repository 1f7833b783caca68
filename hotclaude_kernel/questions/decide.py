"""Decisions of the user: on a tool use, on a plan, on a question of Claude's own.

`decide` turns a permission request of the process into a question, and the user's verdict into
the answer to that request. An `Asker` asks: by widgets in a notebook (`buttons`), on the cell's
standard input in a console (`stdin`). If nobody can be asked, the request is denied and the output
says so. A decision holds for one use, or a rule is made of it for the session (`rules`); nothing is
ever written to the project's settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from ..page.text import escape, visible

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..claude.frames import Frame
    from ..claude.session import PermissionRequest
    from ..page.cards import Card
    from ..page.parts import Data
    from .rules import Rule

NOBODY = "Nobody can be asked in this notebook run."
UNSHOWN = "denied, since it can't be shown in full"


class Verdict(Struct, frozen=True, kw_only=True):
    """The user's decision; with `lasts` the rule that was offered holds for the session."""

    allow: bool
    lasts: bool = False
    reason: str = ""


class Choice(Struct, frozen=True, kw_only=True):
    """One of Claude's own questions; with `several` the user may choose several answers."""

    question: str
    labels: tuple[str, ...]
    tips: tuple[str, ...]
    several: bool = False


class Rules(Protocol):
    """The rules of a session."""

    def allowing(self, request: PermissionRequest) -> Rule | None:
        """Return the rule that allows a call, `None` if none does."""

    def offered(self, request: PermissionRequest) -> Rule | None:
        """Return the rule that the user may allow in answer to a request, `None` if none."""

    def allow(self, rule: Rule) -> None:
        """Add a rule that the user allowed."""


class Truster(Protocol):
    """A way to ask whether a folder is trusted."""

    async def trust(self, about: Data, show: Callable[[Data], None]) -> bool:
        """Ask whether a folder is trusted; `about` says what it brings, `show` shows it anew."""

    def offer(
        self, line: Data, show: Callable[[Data], None], trust: Callable[[], Awaitable[None]]
    ) -> None:
        """Show a line, if possible with a button that trusts the folder, and wait for nothing."""

    async def withdraw(self) -> None:
        """End what was offered, and do it if the user took it: the turn has ended."""


class Asker(Truster, Protocol):
    """A way to ask the user."""

    async def permission(
        self, request: PermissionRequest, about: str, rule: Rule | None
    ) -> Verdict:
        """Ask whether a tool may be used; `about` is the call as safe HTML.

        `rule` is what the user may allow for the session; without it the answer is for one use.
        """

    async def plan(self, plan: str) -> Verdict:
        """Ask whether a plan, given as safe HTML, is to be carried out."""

    async def choice(self, choice: Choice) -> str:
        """Ask one of Claude's own questions."""


def by_rule(request: PermissionRequest, rules: Rules) -> tuple[Frame, str] | None:
    """Return what `decide` returns, if a rule of the session allows the call; else `None`."""
    rule = rules.allowing(request)
    if rule is None:
        return None
    return _allow(request), f"allowed by the rule of this session for {rule.text}"


async def decide(
    request: PermissionRequest,
    asker: Asker | None,
    card: Card | None = None,
    rules: Rules | None = None,
) -> tuple[Frame, str]:
    """Return the answer to a permission request, and the decision in words, for its card.

    `card` is the tool use on the page: the text of a plan is in it, and not in the request. A rule
    that the user allows is added to `rules`; without them none is offered.
    """
    card = card or card_of(request)
    if asker is None:
        return _deny(NOBODY), "denied, since nobody can be asked here"
    if request.tool_name == "AskUserQuestion":
        return await _choices(request, asker), "answered"
    if request.tool_name == "ExitPlanMode":
        from .asked import plan as in_full

        plan = in_full(str(card.input.get("plan", "")))
        if plan is None:
            return _unshown()
        verdict = await asker.plan(plan)
        return _answer(request, verdict), _said(verdict, "approved", "not approved")
    about = _about(request)
    if about is None:
        return _unshown()
    rule = rules.offered(request) if rules else None
    verdict = await asker.permission(request, about, rule)
    yes = "allowed once"
    if verdict.allow and verdict.lasts and rules and rule:
        rules.allow(rule)
        yes = f"allowed for this session: {rule.text}"
    return _answer(request, verdict), _said(verdict, yes, "denied")


def in_text(request: PermissionRequest, card: Card | None = None) -> str:
    """Return all of what is asked about as text, for a page whose questions are one line.

    It is "" for Claude's own questions, which hold all themselves, and if it can't be shown.
    """
    if request.tool_name == "AskUserQuestion":
        return ""
    values = request.tool_input
    if request.tool_name == "ExitPlanMode" and card is not None:
        values = card.input  # the request has no plan
    from .asked import source

    return source(request.tool_name, values) or ""


def card_of(request: PermissionRequest) -> Card:
    """Return a card for a request whose tool use is not on the page."""
    from ..claude.events import Block
    from ..page.cards import Card

    content = {"name": request.tool_name, "input": request.tool_input, "id": request.tool_use_id}
    card = Card(Block(uuid="", message_id="", kind="tool_use", content=content))
    card.wait()
    return card


def _said(verdict: Verdict, yes: str, no: str) -> str:
    said = yes if verdict.allow else no
    return f"{said} ({visible(verdict.reason)})" if verdict.reason else said


def _answer(request: PermissionRequest, verdict: Verdict) -> Frame:
    if not verdict.allow:
        because = f": {verdict.reason}" if verdict.reason else "."
        return _deny(f"The user denied this{because}")
    return _allow(request)


def _allow(request: PermissionRequest) -> Frame:
    """Allow this one call: the process itself is given no rule."""
    return {"behavior": "allow", "updatedInput": request.tool_input}


def _deny(message: str) -> Frame:
    return {"behavior": "deny", "message": message}


def _unshown() -> tuple[Frame, str]:
    """Deny what can't be shown in full: the user can't allow what they can't see."""
    from .asked import MOST_CHARACTERS

    because = "This is too long or too deeply nested to be shown to the user, who has to allow it."
    return _deny(f"{because} Send at most {MOST_CHARACTERS:,} characters at a time."), UNSHOWN


def _about(request: PermissionRequest) -> str | None:
    """Return the call that the answer would allow, its path and the reason for the request.

    It is safe HTML; `None` if the call can't be shown in full.
    """
    from .asked import CLAUDES, html

    call = html(request.tool_name, request.tool_input)
    if call is None:
        return None
    said = request.description
    texts = [value for value in request.tool_input.values() if isinstance(value, str)]
    rows = [
        (f"{CLAUDES}: ", "" if any(said in text for text in texts) else said),
        ("Path: ", request.blocked_path),
        ("Asked because: ", request.reason),
    ]
    return call + "".join(
        f"<div>{label}{escape(visible(text))}</div>" for label, text in rows if text
    )


async def _choices(request: PermissionRequest, asker: Asker) -> Frame:
    answers = {}
    for question in request.tool_input.get("questions") or ():
        answers[question.get("question", "")] = await asker.choice(_choice(question))
    return {"behavior": "allow", "updatedInput": {**request.tool_input, "answers": answers}}


def _choice(question: Frame) -> Choice:
    options = question.get("options") or ()
    return Choice(
        question=str(question.get("question", "")),
        labels=tuple(str(option.get("label", "")) for option in options),
        tips=tuple(str(option.get("description", "")) for option in options),
        several=bool(question.get("multiSelect")),
    )
