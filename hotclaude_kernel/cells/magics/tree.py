"""The `%` lines that show the tree of the conversation, and move the position in it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ...claude.frames import whole
from ...conversation.modes import RERUNS
from ...errors import ControlError, Interrupted, UsageError
from ...page import treeview
from ...page.markdown import render as markdown
from ...page.words import code, counted, listed, table
from ...pool.warm import Place
from ...turns.tree import span
from .answer import Answer, takes_nothing, where, wrong

if TYPE_CHECKING:
    from ...claude.frames import Frame
    from ...conversation.conversation import Conversation
    from ...turns.tree import Branches, Node, Tree

ASIDE_S = 600.0
SNIPPET = 60


async def tree(conversation: Conversation, argument: str) -> Answer:
    """`%tree`: all turns of this notebook, its branches, and where it stands.

    A turn that this kernel has replayed says where it comes from. As a list that folds out to a
    picture where the front end shows HTML, as text elsewhere.
    """
    takes_nothing("tree", argument)
    sources = {turn.node: turn.source for turn in conversation.turns if turn.node}
    view = replace(conversation.branches.view(), sources=sources)
    # Thousands of turns take a second to draw: a completion or an interrupt must not wait for it.
    return Answer(display=await asyncio.to_thread(_drawn, view))


def _drawn(view: Tree) -> dict[str, str]:
    text = treeview.text(view)
    fenced = "".join(f"    {line}\n" for line in text.splitlines())
    # The SVG is inline, so it takes the page's text colour; an `<img>` would be black on a dark
    # page. It is folded, since an untrusted notebook shows only its words, in a row. The list is
    # shown in full there, too.
    drawn = f'<div style="overflow-x:auto">{treeview.svg(view)}</div>'
    picture = f"<details><summary>as a picture</summary>{drawn}</details>"
    html = markdown.wrap(treeview.html(view) + picture)
    return {"text/html": html, "text/markdown": fenced, "text/plain": text}


async def branches(conversation: Conversation, argument: str) -> Answer:
    """`%branches`: the branches and checkpoints by name, each with its last turn.

    The one left last is made ready meanwhile, so that `%checkout` takes no time.
    """
    takes_nothing("branches", argument)
    known = conversation.branches
    loose = dict(zip(known.free_names("branch"), known.loose_ends(), strict=False))
    known.branches.update(loose)
    if loose:
        conversation.record.write()
    rows = [
        (name, _kind_of(known, name), *_end_of(known, at)) for name, at in known.branches.items()
    ]
    rows += [(name, "checkpoint", *_end_of(known, at)) for name, at in known.checkpoints.items()]
    _expect_branch(conversation)
    return Answer(report=table(("name", "", "turns", "last prompt", "asked"), rows))


def _kind_of(known: Branches, name: str) -> str:
    if name != known.current:
        return "branch"
    after = f" after turn {known.head.number}" if known.ahead and known.head else ""
    return f"branch, here{after}"


def _expect_branch(conversation: Conversation) -> None:
    """Begin to start a process at the end of another branch, the one with the newest turn."""
    tree = conversation.branches
    here = tree.head.id if tree.head else None
    ends = [tree.nodes[at] for at in tree.branches.values() if at and at != here]
    if ends and conversation.mode != "none":
        last = max(ends, key=lambda node: node.ended)
        path = tuple(tree.path_to(last.id))
        conversation.pool.prepare(Place(conversation.settings, path))


def _end_of(known: Branches, at: str | None) -> tuple[str, str, str]:
    if at is None:
        return "0", "", ""
    node = known.nodes[at]
    asked = time.strftime("%Y-%m-%d %H:%M", time.localtime(node.ended))
    return str(node.number), _snippet(node), asked


def _snippet(node: Node) -> str:
    line = " ".join(node.prompt.split())
    return code(line if len(line) <= SNIPPET else f"{line[: SNIPPET - 1]}…")


async def goto(conversation: Conversation, argument: str) -> Answer:
    """`%goto 3`: stand after turn 3; the next cell goes on from there.

    Also `start`, a branch, a checkpoint, or `branch:3`. What the branch held beyond that turn is
    kept as a branch of its own.
    """
    known = conversation.branches
    if not argument:
        raise UsageError("%goto names no turn", hint="Write `%goto 3`; `%tree` shows the turns.")
    at = known.find(argument)
    left = known.end
    beyond = left is not None and left.id not in {node.id for node in known.path_to(at)}

    def move() -> str:
        known.stand(at)
        return _kept(known, left.id) if left and beyond else ""

    name = await conversation.go(move)
    kept = f"; what was beyond is branch {name}" if name else ""
    return Answer(note=f"{where(conversation)}{kept}")


def _kept(known: Branches, at: str) -> str:
    """Return the name of another branch that ends with the turn; name one if no branch holds it."""
    named = (name for name, end in known.branches.items() if end == at and name != known.current)
    return next(named, "") or (known.name(at) if at in known.loose_ends() else "")


async def fork(conversation: Conversation, argument: str) -> Answer:
    """`%fork name`: begin a branch here and go on on it; the old one keeps its name."""
    name = argument or conversation.branches.free_name("branch")
    old = conversation.branches.current
    await conversation.go(lambda: conversation.branches.fork(name))
    return Answer(note=f"{where(conversation)}; {old} stays")


async def checkout(conversation: Conversation, argument: str) -> Answer:
    """`%checkout name`: go to the end of another branch."""
    if not argument:
        return Answer(value=conversation.branches.current)
    await conversation.go(lambda: conversation.branches.checkout(argument))
    return Answer(note=where(conversation))


async def checkpoint(conversation: Conversation, argument: str) -> Answer:
    """`%checkpoint name`: name this turn, for `%goto name`. `%checkpoint` alone lists them."""
    if not argument:
        return Answer(value=listed(conversation.branches.checkpoints) or "none")
    node = await conversation.go(lambda: conversation.branches.mark(argument))
    return Answer(note=f"checkpoint {argument}: turn {node.number}")


async def rerun(conversation: Conversation, argument: str) -> Answer:
    """`%rerun append`: what a cell does that has a turn already. Alone it says which.

    `fork` rewinds the conversation to before that turn and asks again in its place (the default);
    `append` asks again at the end.
    """
    if not argument:
        return Answer(value=conversation.position.rerun)
    if argument not in RERUNS:
        raise wrong("rerun", argument, RERUNS)
    conversation.position.rerun = argument
    return Answer(note=f"a cell that is run again: {argument}")


async def rewind_files(conversation: Conversation, argument: str) -> Answer:
    """`%rewind-files`: list which files would go back to before the turn that was rewound last.

    `%rewind-files 3` lists for another turn; a `now` at the end does it. Rewinding a conversation
    leaves files alone unless this is asked for. Only what Claude's own Write and Edit changed can
    go back, not what commands did, and only while the process lives in which they did it.
    """
    words = argument.split()
    now = words[-1:] == ["now"]
    node = _turn_for_files(conversation, " ".join(words[:-1] if now else words))
    try:
        async with conversation.session() as session:
            found = await session.control("rewind_files", user_message_id=node.uuid, dry_run=True)
            changed = [str(name) for name in found.get("filesChanged") or ()]
            if now and changed:
                await session.control("rewind_files", user_message_id=node.uuid, dry_run=False)
    except ControlError as error:
        raise UsageError(
            f"The files can't go back to before turn {node.number}: {error.message}",
            hint="Checkpoints of files live as long as the process that made them.",
        ) from error
    if not changed:
        return Answer(note=f"no file differs from before turn {node.number}")
    return Answer(report=_files_report(node, changed, found, now=now))


def _turn_for_files(conversation: Conversation, where: str) -> Node:
    known = conversation.branches
    at = known.find(where) if where else None
    node = known.nodes.get(at or "") if where else conversation.position.rewound or known.head
    if node is None:
        raise UsageError("There is no turn to go back before", hint="Run a prompt first.")
    return node


def _files_report(node: Node, changed: list[str], found: Frame, *, now: bool) -> str:
    does = "went back to" if now else "would go back to"
    added = counted(int(found.get("insertions") or 0), "line")
    lines = f"{added} added, {found.get('deletions') or 0} removed"
    rows = "".join(f"- {code(name)}\n" for name in changed)
    hint = "" if now else f"\n`%rewind-files {node.number} now` does it."
    return f"Files that {does} before turn {node.number} ({lines}):\n\n{rows}{hint}"


async def new(conversation: Conversation, argument: str) -> Answer:
    """`%new`: begin a new conversation, with the same settings. Claude forgets the cells so far.

    The old one stays as a branch.
    """
    takes_nothing("new", argument)
    turns = conversation.branches.beyond(None)
    name = await conversation.renew()
    kept = f"; {span(turns)} branch {name}" if turns else ""
    return Answer(note=f"new conversation{kept}")


async def compact(conversation: Conversation, argument: str) -> Answer:
    """`%compact`: have Claude sum up the conversation so far and go on from the summary.

    `%compact keep the decisions` says what matters. It is a turn like any other: running an
    earlier cell again goes back to before it, with all that was said.
    """
    return Answer(prompt=f"/compact {argument}".strip())


async def aside(conversation: Conversation, argument: str) -> Answer:
    """`%aside question`: an answer from what was said so far, that does not become part of it.

    No tools are used. What it costs is in no turn's numbers.
    """
    if not argument:
        raise UsageError("%aside asks nothing", hint="Write the question behind it.")
    head = conversation.branches.head
    await conversation.check_budget(argument, head.usage if head else None)
    async with conversation.session() as session:
        try:
            found = await session.control("side_question", timeout_s=ASIDE_S, question=argument)
        except ControlError as error:
            raise UsageError(f"claude can't answer aside: {error.message}") from error
        except asyncio.CancelledError as stopped:
            raise Interrupted("Interrupted", hint="The conversation is as it was.") from stopped
    return Answer(said=whole(str(found.get("response") or "*(no answer)*")))
