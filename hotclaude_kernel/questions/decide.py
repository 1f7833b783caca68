"""Asking the user: may this tool be used, which of these, is that plan good.

`decide` turns a permission request into a question and the user's verdict into the process's
answer. How it is asked is the asker's business: buttons where the front end shows widgets (see
`buttons`), the cell's standard input where it answers `input_request`. Where there is neither, the
answer is a policy, deny, and the output says so. A decision lasts for the one use, or as long as
the session; nothing is written to the project's settings.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ..claude.frames import Block
from ..page.cards import Card
from ..page.markdown import render as markdown
from ..page.markdown.render import visible

if TYPE_CHECKING:
    from ..claude.frames import Frame
    from ..claude.session import PermissionRequest

POLL_S = 0.03
YES = ("y", "yes", "allow")
LASTS = ("s", "session", "always")
NO = ("", "n", "no", "deny")
NOBODY = "Nobody can be asked in this notebook run."


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the user decided; `lasts` for as long as the session does."""

    allow: bool
    lasts: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of Claude's own questions; `several` answers may be given."""

    question: str
    labels: tuple[str, ...]
    tips: tuple[str, ...]
    several: bool = False


class Asker(Protocol):
    """A way to ask the user."""

    async def permission(self, request: PermissionRequest, about: str) -> Verdict:
        """Ask whether a tool may be used; `about` is safe HTML that says what for."""

    async def plan(self, plan: str) -> Verdict:
        """Ask whether a plan, given as safe HTML, is to be carried out."""

    async def choice(self, choice: Choice) -> str:
        """Ask one of Claude's own questions."""


async def decide(
    request: PermissionRequest, asker: Asker | None, card: Card | None = None
) -> tuple[Frame, str]:
    """Return the answer to a permission request, and the words that record it on its card.

    `card` is the tool use as the page shows it: a plan stands there and not in the request.
    """
    card = card or card_of(request)
    if asker is None:
        return _deny(NOBODY), "denied, since nobody can be asked here"
    if request.tool_name == "AskUserQuestion":
        return await _choices(request, asker), "answered"
    if request.tool_name == "ExitPlanMode":
        verdict = await asker.plan(markdown.render(str(card.input.get("plan", ""))))
        return _answer(request, verdict), _said(verdict, "approved", "not approved")
    verdict = await asker.permission(request, _about(request, card))
    yes = "allowed for this session" if verdict.lasts else "allowed once"
    return _answer(request, verdict), _said(verdict, yes, "denied")


def card_of(request: PermissionRequest) -> Card:
    """Return a card for a request whose tool use the page has not shown."""
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
    answer: Frame = {"behavior": "allow", "updatedInput": request.tool_input}
    if verdict.lasts:
        answer["updatedPermissions"] = _for_the_session(request)
    return answer


def _deny(message: str) -> Frame:
    return {"behavior": "deny", "message": message}


def _for_the_session(request: PermissionRequest) -> list[Frame]:
    """Return the rules the process proposes, kept in the session: its own choice of place would
    write them into the project's settings.
    """
    rule = {"type": "addRules", "behavior": "allow", "rules": [{"toolName": request.tool_name}]}
    rules = [s for s in request.suggestions if s.get("type") in ("addRules", "addDirectories")]
    return [{**suggestion, "destination": "session"} for suggestion in rules or [rule]]


def _about(request: PermissionRequest, card: Card) -> str:
    """Return what is asked for, where, and why it is asked, as safe HTML."""
    rows = [
        ("", request.description if request.description != card.about else ""),
        ("Path: ", request.blocked_path),
        ("Asked because: ", request.reason),
    ]
    shown = "".join(
        f"<div>{label}{markdown.escape(visible(text))}</div>" for label, text in rows if text
    )
    body = "".join(section.html() for section in card.sections())
    line = f"<pre>{markdown.escape(card.about)}</pre>" if card.about else ""
    return f"{line}{body}{shown}"


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


# --- on standard input -----------------------------------------------------------------------


class LineAsker:
    """Asks on the standard input of a cell."""

    def __init__(self, kernel: Any, *, parent: Frame, ident: Any) -> None:
        self._kernel = kernel
        self._parent = parent
        self._ident = ident

    async def permission(self, request: PermissionRequest, about: str) -> Verdict:
        """Ask with the call as one line."""
        # The call stands in full on the page above; a line here would show the part it chose.
        name = visible(request.tool_name)
        reasons = [visible(text) for text in (request.blocked_path, request.reason) if text]
        why = f" ({'; '.join(reasons)})" if reasons else ""
        return await self._verdict(
            f"Allow {name}, as shown above{why}? [y = once, s = for this session, n, or why not] "
        )

    async def plan(self, plan: str) -> Verdict:
        """Ask below the plan, which the page shows."""
        return await self._verdict("Carry out this plan? [y / n / what to change] ")

    async def choice(self, choice: Choice) -> str:
        """Ask with the options numbered; a number (or several) or any text answers."""
        listed = "  ".join(f"{n}) {visible(label)}" for n, label in enumerate(choice.labels, 1))
        several = " (several: 1,2)" if choice.several else ""
        said = (await self._line(f"{visible(choice.question)}  {listed}{several}  > ")).strip()
        return _chosen(said, choice)

    async def _verdict(self, question: str) -> Verdict:
        said = (await self._line(question)).strip()
        if said.lower() in (*YES, *LASTS):
            return Verdict(allow=True, lasts=said.lower() in LASTS)
        return Verdict(allow=False, reason="" if said.lower() in NO else said)

    async def _line(self, prompt: str) -> str:
        """Ask the front end for a line, while everything else goes on.

        ipykernel's own `raw_input` would block the loop, and with it the stream. An answer to an
        older question (a box that an interrupt left on the page) is dropped.
        """
        socket, session = self._kernel.stdin_socket, self._kernel.session
        content = {"prompt": prompt, "password": False}
        sent = session.send(socket, "input_request", content, self._parent, ident=self._ident)
        while True:
            if socket.poll(0):
                _, reply = session.recv(socket)
                if reply and _answers(reply, sent["header"]["msg_id"]):
                    return str(reply["content"]["value"])
            await asyncio.sleep(POLL_S)


def _answers(reply: Frame, request_id: str) -> bool:
    # jupyter console names no parent; where one is named, it must be ours.
    return bool(reply["parent_header"].get("msg_id", request_id) == request_id)


def _chosen(said: str, choice: Choice) -> str:
    picked = said.replace(" ", "").split(",") if choice.several else [said]
    if picked and all(p.isdecimal() and 1 <= int(p) <= len(choice.labels) for p in picked):
        return ", ".join(choice.labels[int(p) - 1] for p in picked)
    return said
