"""The `%` lines that show the session: its context, budget, processes and status."""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ...errors import HotClaudeError, UsageError
from ...page.words import counted, table, told, uncompared
from ...questions.trust import NOTHING, summary
from ...record.database import MEMORY
from ...turns import budget
from ...turns.cellids import lasting
from ...turns.tree import span
from .answer import DEFAULT, Answer, takes_nothing, where, wrong

if TYPE_CHECKING:
    from ...claude.frames import Frame
    from ...conversation.conversation import Conversation
    from ...pool.warm import Warm
    from ...turns.budget import Budget

LIMIT = re.compile(
    r"(turn\s+)?(?:(\$)?(\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)\s*(k|m)?\s*(usd|\$|tokens?)?|none|default)",
    re.IGNORECASE,
)
FACTOR = {"": 1, "k": 1000, "m": 1_000_000}


async def context(conversation: Conversation, argument: str) -> Answer:
    """`%context`: what Claude will see next: turns, tokens by kind, what is left out.

    Counted by the process itself; nothing is sent.
    """
    takes_nothing("context", argument)
    tree = conversation.branches
    use = await _context_use(conversation)
    rows = [(str(c.get("name")), f"{c.get('tokens') or 0:,}") for c in use.get("categories") or ()]
    on_path = {node.id for node in tree.path}
    others = sum(at not in on_path for at in tree.nodes) - len(tree.ahead)
    failed = sum(turn.node is None and turn.status != "running" for turn in conversation.turns)
    summed = max((node.number for node in tree.path if node.compacted), default=0)
    summary = f", the first {summed} as a summary" if summed else ""
    seen = f"{counted(len(tree.path), 'turn')}{summary}, {where(conversation)}"
    ahead = f"{counted(len(tree.ahead), 'turn')} ahead, " if tree.ahead else ""
    left_out = f"{ahead}{counted(others, 'turn')} of other branches, {failed} that did not finish"
    facts = [
        ("turns", seen),
        ("left out", left_out),
        ("tokens", await _context_row(conversation)),
        ("prompt cache", _cache_row(conversation)),
    ]
    report = table(("context", ""), facts)
    return Answer(report=report + ("\n" + table(("tokens by kind", ""), rows) if rows else ""))


async def budget_(conversation: Conversation, argument: str) -> Answer:
    """`%budget $2`: refuse to send what would take the notebook over 2 dollars.

    `%budget 200k tokens` counts tokens; `%budget turn $0.10` and `%budget turn 50k tokens` hold for
    each turn; `%budget none` takes all limits away. `%budget` alone shows limits and use. Dollars
    are list price, whatever your plan charges. A turn is reckoned by the one before it.
    """
    if argument:
        conversation.budget = _limited(conversation.budget, argument)
    limits, spent = conversation.budget, await asyncio.to_thread(conversation.record.spent)
    rows = [
        ("notebook: list price", f"${spent.usd:.4f}", _limit(limits.usd, "${:,.4f}")),
        ("notebook: tokens", f"{spent.tokens:,} tokens", _limit(limits.tokens, "{:,} tokens")),
        ("each turn: list price", "", _limit(limits.turn_usd, "${:,.4f}")),
        ("each turn: tokens", "", _limit(limits.turn_tokens, "{:,} tokens")),
    ]
    return Answer(report=table(("budget", "used", "limit"), rows))


def _limit(value: float | None, form: str) -> str:
    return "none" if value is None else form.format(value)


def _limited(limits: Budget, argument: str) -> Budget:
    match = LIMIT.fullmatch(argument)
    turn, dollar, number, factor, unit = match.groups("") if match else [""] * 5
    counts = unit.lower().startswith("token")
    # A bare `200k` is refused: it means tokens, and would be read as dollars.
    if match is None or (counts and dollar) or (factor and not (dollar or unit)):
        raise UsageError(
            f"%budget: {argument} is no budget",
            hint="Write `%budget $2`, `%budget 200k tokens`, `%budget turn $0.10`, or `none`.",
        )
    if not number:
        return replace(limits, turn_usd=None, turn_tokens=None) if turn else budget.Budget()
    value = float(number.replace(",", "")) * FACTOR[factor.lower()]
    if counts:
        tokens = round(value)
        return replace(limits, turn_tokens=tokens) if turn else replace(limits, tokens=tokens)
    return replace(limits, turn_usd=value) if turn else replace(limits, usd=value)


async def pool(conversation: Conversation, argument: str) -> Answer:
    """`%pool`: the processes that are warm, their memory, and what they have saved."""
    takes_nothing("pool", argument)
    pool = conversation.pool
    memory = pool.memory_mb()
    now = time.monotonic()
    rows = [
        (
            str(warm.session.pid),
            _holds(warm),
            str(warm.turns),
            f"{memory.get(warm.session.pid or 0, 0):.0f} MB",
            _duration(round(now - warm.used)),
            f"{warm.start_s * 1000:.0f} ms",
        )
        for warm in [*pool.leased, *pool.parked]
    ]
    head = ("pid", "stands", "turns", "memory", "idle", "start")
    tally, limits = pool.tally, pool.limits
    facts = [
        ("turns asked at once", f"{tally.hits} of {tally.turns}"),
        ("saved", f"{tally.saved_s * 1000:.0f} ms"),
        ("started", f"{tally.spawned}, {tally.resumed} of them on an earlier conversation"),
        ("ended", _ended_row(conversation)),
        ("asleep", "yes; the next cell wakes it" if pool.asleep else "no"),
        ("limits", f"{limits.processes} processes, {limits.memory_mb} MB, {limits.spares} spare; "
         f"idle {limits.idle_timeout_s:g} s, {limits.turns} turns, {limits.age_s:g} s of age"),
    ]  # fmt: skip
    return Answer(report=table(head, rows) + "\n" + table(("pool", ""), facts))


def _holds(warm: Warm) -> str:
    if warm.held:
        return f"after turn {len(warm.held)}"
    return "at the start" if warm.turns else "spare"


def _ended_row(conversation: Conversation) -> str:
    tally = conversation.pool.tally
    return (
        f"{tally.hibernated} idle, {tally.recycled} worn, {tally.evicted} too many, "
        f"{tally.swept} left by other kernels"
    )


async def status(conversation: Conversation, argument: str) -> Answer:
    """`%status`: the session: model, process, context, tokens, and hot against cold latency."""
    takes_nothing("status", argument)
    rows = [
        ("model", _model_row(conversation)),
        ("effort", conversation.settings.effort or DEFAULT),
        ("permission mode", conversation.settings.permission_mode),
        ("rules of this session", _rules_row(conversation)),
        ("session id", conversation.session_id or "none yet"),
        ("process", await _process_row(conversation)),
        ("turns", _turns_row(conversation)),
        ("answers", _answers_row(conversation)),
        ("stands", _place_row(conversation)),
        ("folder", await _folder_row(conversation)),
        ("record", _record_row(conversation)),
        ("context", await _context_row(conversation)),
        ("tokens", _tokens_row(conversation)),
        ("first text, hot", _latency_row(conversation, hot=True)),
        ("first text, cold", _latency_row(conversation, hot=False)),
        ("saved by warm processes", _saved_row(conversation)),
        ("prompt cache", _cache_row(conversation)),
    ]
    return Answer(report=table(("session", ""), rows))


def _rules_row(conversation: Conversation) -> str:
    rules = conversation.position.rules.holding
    return "; ".join(f"{n}: {rule.text}" for n, rule in enumerate(rules, 1)) or "none"


async def revoke(conversation: Conversation, argument: str) -> Answer:
    """`%revoke`: withdraw what you have allowed for this session; `%revoke 2` one rule of it.

    `%status` lists the rules that hold here. `%revoke` alone also withdraws those that would hold
    again on another branch or in another folder. Claude asks again for what a rule has allowed.
    """
    rules = conversation.position.rules
    if not argument:
        rules.revoke()
        return Answer(note="no rules of this session are left: what changes something is asked")
    numbers = [str(n) for n in range(1, len(rules.holding) + 1)]
    if argument not in numbers:
        raise wrong("revoke", argument, numbers or ["no rules of this session"])
    rule = rules.holding[int(argument) - 1]
    rules.revoke(rule)
    return Answer(note=f"withdrawn: the rule of this session for {rule.text}")


def _model_row(conversation: Conversation) -> str:
    row = conversation.settings.model or DEFAULT
    if conversation.model:
        row += f" ({conversation.model})"
    answered = next((turn.model for turn in reversed(conversation.turns) if turn.model), "")
    if answered not in ("", conversation.model):
        row += f", answered by {answered}"  # an own endpoint may answer by another model
    return row


async def _process_row(conversation: Conversation) -> str:
    if conversation.pool.asleep:
        return "asleep; the next cell wakes it"
    try:
        async with conversation.session() as session:
            version = session.greeting.version if session.greeting else ""
            pid = session.pid
    except HotClaudeError as error:
        return error.message
    times = counted(conversation.resumes, "time")
    resumed = f", resumed {times}" if conversation.resumes else ""
    return f"pid {pid}, claude {version}{resumed}"


def _place_row(conversation: Conversation) -> str:
    tree = conversation.branches
    others = len(tree.branches) - 1
    known = f"; {counted(others, 'other branch', 'other branches')}" if others else ""
    known += _forgets(conversation)
    if tree.head and not conversation.turns:
        resumed = f"goes on after turn {tree.head.number}, from the record"
        return f"on branch {tree.current}, {resumed}{known}"
    if tree.ahead:
        them = "it" if len(tree.ahead) == 1 else "them"
        left = f"{span(tree.ahead)} ahead: any other turn leaves {them} as a branch"
        return f"{where(conversation)}; {left}{known}"
    return f"{where(conversation)}{known}"


async def _folder_row(conversation: Conversation) -> str:
    withholding, settings = conversation.pool.withholding, conversation.settings
    look = await asyncio.to_thread(withholding.look, settings)
    if look.trusted:
        return f"trusted ({look.by})"
    if not withholding.held_back(settings):
        return "left out by the settings"
    brings = summary(look)
    return "not trusted" + (f"; left out: {brings}" if brings != NOTHING else "")


def _forgets(conversation: Conversation) -> str:
    """Return what a restart forgets, empty if it forgets nothing."""
    if conversation.record.path is not None:
        return ""
    if any(lasting(node.cell_id) for node in conversation.branches.path):
        return (
            "; path unknown: after a restart, run a cell that has a turn first, or it is forgotten"
        )
    return "; path unknown: a restart forgets it"


def _record_row(conversation: Conversation) -> str:
    path = conversation.record.store.path
    where = "in memory only: the file can't be used" if path == MEMORY else path
    return f"{conversation.mode}; {where}"


def _answers_row(conversation: Conversation) -> str:
    turns = conversation.turns
    absent = uncompared(path for turn in turns for path in turn.absent)
    sources = told(turn.source for turn in turns) or "none yet"
    return f"{sources}; {absent}" if absent else sources


def _saved_row(conversation: Conversation) -> str:
    tally = conversation.pool.tally
    turns = counted(tally.turns, "turn")
    return f"{tally.saved_s:.1f} s in {turns}, {tally.hits} of them asked at once"


def _cache_row(conversation: Conversation) -> str:
    """Return the tokens in the prompt cache, by the numbers of the turn at the position."""
    head = conversation.branches.head
    cached = budget.cached_tokens(head.usage) if head else 0
    if head is None or not cached:
        return "nothing, by the last turn's numbers"
    age = max(0, round(time.time() - head.ended))
    return (
        f"{cached:,} tokens, last used {_duration(age)} ago; once that has gone cold, the next "
        f"turn writes those {cached:,} again"
    )


def _duration(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"


def _turns_row(conversation: Conversation) -> str:
    counted = [turn.status for turn in conversation.turns]
    kinds = ", ".join(f"{counted.count(kind)} {kind}" for kind in dict.fromkeys(counted))
    return kinds or "none yet"


async def _context_row(conversation: Conversation) -> str:
    use = await _context_use(conversation)
    total, window = use.get("totalTokens"), use.get("maxTokens") or use.get("rawMaxTokens")
    if total is None:
        return "unknown" + " while the process is asleep" * conversation.pool.asleep
    share = f" ({use['percentage']} %)" if use.get("percentage") is not None else ""
    return f"{total:,} tokens" + (f" of {window:,}" if window else "") + share


async def _context_use(conversation: Conversation) -> Frame:
    if conversation.pool.asleep:
        return {}
    try:
        async with conversation.session() as session:
            return await session.control("get_context_usage", detail="summary")
    except HotClaudeError:
        return {}


def _tokens_row(conversation: Conversation) -> str:
    used = [turn.usage for turn in conversation.turns if not turn.replayed]
    read, cached = sum(u.prompt_tokens for u in used), sum(u.cache_read_tokens for u in used)
    return f"{read:,} in ({cached:,} from the cache), {sum(u.output_tokens for u in used):,} out"


def _latency_row(conversation: Conversation, *, hot: bool) -> str:
    live = [turn for turn in conversation.turns if not turn.replayed]
    alike = [turn for turn in live if turn.hot is hot]
    seconds = [s for turn in alike if (s := turn.first_text_s) is not None]
    if not seconds:
        return "none yet"
    return f"{statistics.median(seconds):.3f} s (median of {len(seconds)})"
