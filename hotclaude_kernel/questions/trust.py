"""The question whether a folder is trusted: what would run, in words, and the two answers.

What a folder brings was written by somebody else: it is shown as data, whole, with every invisible
character spelled.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from ..page.parts import Data, bundle, grey, small
from ..page.text import escape, marked, tame, visible
from ..page.words import counted, listed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..claude.folders import Act, Look
    from ..page.base import Page
    from .decide import Truster

TRUST = "Trust this folder"
WITHOUT = "Go on without"
MOST_CHARACTERS = 20_000  # of what would run; more can't be read in a cell, so it isn't asked there
MOST_NAMES = 20
# Of what would run, things and characters; the box with more says that it scrolls.
IN_VIEW, CHARACTERS_IN_VIEW = 6, 400
BOX = "max-height:24em;overflow:auto;contain:paint;border:1px solid #8888;padding:.5em"
CODE = "white-space:pre-wrap;overflow-wrap:anywhere"
NOTHING = "nothing"
UNREAD = "It is too much to be shown in a cell: `hotclaude trust` in it lists it and trusts it"


async def ask(look: Look, command: str, asker: Truster, page: Page) -> bool:
    """Ask whether a folder is trusted; `command` is the `/command` that wants it, if any.

    If there is too much to be shown, nothing is asked and the answer is no.
    """
    whole = sum(len(act.kind) + len(act.does) for act in look.acts) <= MOST_CHARACTERS
    if not whole:
        page.note(f"{_without(look)}. {UNREAD}")
        return False
    replace = page.panel(_card(look, command))
    answer = False
    try:
        answer = await asker.trust(_card(look, command), replace)
    finally:
        said = "Trusted: this folder" if answer else _left_out(look)
        replace(bundle(small(said), said))
    return answer


def offer(look: Look, accept: Callable[[], Awaitable[str]], asker: Truster, page: Page) -> None:
    """Say in one line what is left out; a button trusts the folder while the cell runs."""
    line = _left_out(look)
    replace = page.panel(bundle(small(line), line))

    async def trusted() -> None:
        why = await accept()
        only = f" (in this kernel only: {why})" if why else ""
        said = f"Trusted, from the next cell on: this folder{only}"
        replace(bundle(small(said), said))

    asker.offer(bundle(small(line), line), replace, trusted)


def told(look: Look) -> str:
    """Return in one line what is left out, and how the folder is trusted."""
    return f"{_without(look)}. {in_terminal(look)} trusts it"


def _left_out(look: Look) -> str:
    # Without the path: the line is saved in the notebook, which may be shared.
    return f"{_without(look)}. `hotclaude trust` in it trusts it"


def in_terminal(look: Look) -> str:
    """Return the command that trusts a folder."""
    return f"`hotclaude trust {visible(tame(shlex.quote(look.ground.folder)))}`"


def summary(look: Look) -> str:
    """Return what a folder brings, in a few words."""
    kinds = [act.kind.split(" ")[0] for act in look.acts]
    acting = [counted(kinds.count(kind), kind) for kind in dict.fromkeys(kinds)]
    return listed(_shown([*acting, *look.texts])) or NOTHING


def lines(look: Look) -> list[str]:
    """Return what would run, a line for each thing, and what else would be loaded."""
    found = [_line(act) for act in look.acts]
    if look.texts:
        found.append(f"also loaded: {listed(_shown(look.texts))}")
    return found


def _shown(names: list[str] | tuple[str, ...]) -> list[str]:
    more = [f"{len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else []
    return [_label(name) for name in names[:MOST_NAMES]] + more


def _label(text: str) -> str:
    # `visible` alone would leave terminal escapes out, and so hide a part of a command.
    return visible(tame(text))


def path_of(look: Look) -> str:
    """Return the folder under which trust is kept, as a label."""
    return _label(look.ground.key)


def _line(act: Act) -> str:
    where = f"  ({_label(act.path)})" if act.path else ""
    return f"{_label(act.kind)}: {_label(act.does)}{where}"


def _without(look: Look) -> str:
    return f"Without what this folder brings, since it is not trusted: {summary(look)}"


def _card(look: Look, command: str) -> Data:
    """Return the question as safe HTML and as plain text."""
    head = f"Trust the folder {path_of(look)}?"
    if command:
        head = f"/{_label(command)} is a command of a folder that is not trusted. {head}"
    since = " What it would run has changed since you trusted it." if look.changed else ""
    about = (
        f"It brings {counted(len(look.acts), 'thing')} that would act on this machine, as you, "
        f"unasked{'; the box below scrolls' if _scrolls(look) else ''}:"
        if look.acts
        else "It brings nothing that runs by itself, but texts that Claude would follow."
    )
    rules = (
        "Permission rules of the folder stay without effect until it is trusted in Claude Code too."
    )
    files = dict.fromkeys(act.path for act in look.acts)
    box = "".join(_of_file(path, [act for act in look.acts if act.path == path]) for path in files)
    also = f"<div>Also loaded: {escape(listed(_shown(look.texts)))}</div>" if look.texts else ""
    framed = f'<div style="{BOX}">{box}</div>' if box else ""
    html = f"<b>{escape(marked(head))}</b><div>{about}{since}</div>{framed}{also}{grey(rules)}"
    plain = "\n".join([head, about + since, *lines(look), rules])
    return bundle(html, plain)


def _scrolls(look: Look) -> bool:
    told = sum(len(act.does) for act in look.acts)
    return len(look.acts) > IN_VIEW or told > CHARACTERS_IN_VIEW


def _of_file(path: str, acts: list[Act]) -> str:
    """Return what acts in one file as safe HTML."""
    items = "".join(
        f"<li><b>{escape(_label(act.kind))}</b>: "
        f'<code style="{CODE}">{escape(_label(act.does))}</code></li>'
        for act in acts
    )
    return f"{grey(_label(path))}<ul>{items}</ul>"
