"""Asking the user on a cell's standard input: permissions, questions, plans.

Used where the front end can answer an `input_request`. Where it can't, the answer is a policy:
deny, and say so. A decision holds for the one use it was asked for; nothing is written to the
project's settings.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from .markdown import visible
from .parts import tool_title

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .protocol import Frame
    from .session import PermissionRequest

    Ask = Callable[[str], Awaitable[str]]

POLL_S = 0.03
YES = ("y", "yes", "allow")
NO = ("", "n", "no", "deny")


async def read_line(kernel: Any, prompt: str, *, parent: Frame, ident: Any) -> str:
    """Ask the front end of the cell `parent` for a line, while everything else goes on.

    ipykernel's own `raw_input` would block the loop, and with it the stream. An answer to an older
    question (a box that an interrupt left on the page) is dropped.
    """
    socket, session = kernel.stdin_socket, kernel.session
    content = {"prompt": prompt, "password": False}
    sent = session.send(socket, "input_request", content, parent, ident=ident)
    while True:
        if socket.poll(0):
            _, reply = session.recv(socket)
            if reply and _answers(reply, sent["header"]["msg_id"]):
                return str(reply["content"]["value"])
        await asyncio.sleep(POLL_S)


def _answers(reply: Frame, request_id: str) -> bool:
    # jupyter console names no parent; where one is named, it must be ours.
    return bool(reply["parent_header"].get("msg_id", request_id) == request_id)


async def decide(request: PermissionRequest, ask: Ask | None) -> tuple[Frame, str]:
    """Return the answer to a permission request, and the line that records it.

    `ask` puts a question to the user; without it everything is denied.
    """
    title = tool_title({"name": request.tool_name, "input": request.tool_input})
    if ask is None:
        return (
            _deny("Nobody can be asked in this notebook run."),
            f"Denied, since nobody can be asked here: {title}",
        )
    if request.tool_name == "AskUserQuestion":
        return await _questions(request, ask), "Answered"
    answer = (await ask(_permission_text(request, title))).strip()
    if answer.lower() in YES:
        return {"behavior": "allow", "updatedInput": request.tool_input}, f"Allowed once: {title}"
    if answer.lower() in NO:
        return _deny("The user denied this."), f"Denied: {title}"
    return _deny(f"The user denied this: {answer}"), f"Denied ({visible(answer)}): {title}"


def _deny(message: str) -> Frame:
    return {"behavior": "deny", "message": message}


def _permission_text(request: PermissionRequest, title: str) -> str:
    why = [line for line in (request.description, request.reason, request.blocked_path) if line]
    about = f" ({'; '.join(visible(line) for line in why)})" if why else ""
    return f"Claude wants to use {title}{about}. Allow? [y = once / n / a reason against it] "


async def _questions(request: PermissionRequest, ask: Ask) -> Frame:
    """Put Claude's own questions; an option's number or any text answers one."""
    answers = {}
    for question in request.tool_input.get("questions") or ():
        options = [str(option.get("label", "")) for option in question.get("options") or ()]
        listed = "  ".join(f"{n}) {visible(label)}" for n, label in enumerate(options, 1))
        said = await ask(f"{visible(str(question.get('question', '')))}  {listed}  > ")
        answers[question.get("question", "")] = _chosen(said.strip(), options)
    return {"behavior": "allow", "updatedInput": {**request.tool_input, "answers": answers}}


def _chosen(said: str, options: list[str]) -> str:
    if said.isdecimal() and 1 <= int(said) <= len(options):
        return options[int(said) - 1]
    return said
