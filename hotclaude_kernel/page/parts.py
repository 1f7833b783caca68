"""Small parts of a page as pure functions: MIME bundles, folds, lines of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ApiError, TransportError
from .markdown import render as markdown
from .text import escape, marked, tame, unmarked, visible

if TYPE_CHECKING:
    from ..claude.events import Retry
    from ..errors import HotClaudeError
    from ..turns.turn import Turn

NAME = "Hot Claude"  # in the head of what is longer than a line
Data = dict[str, str]  # a MIME bundle: texts by their MIME type


def bundle(html: str, plain: str) -> Data:
    """Return a MIME bundle of safe HTML, with its plain text."""
    return {"text/html": markdown.wrap(html), "text/plain": plain}


def own(data: Data) -> Data:
    """Return a MIME bundle of the kernel's own under a line that says so."""
    head = marked(NAME)
    plain = data.get("text/plain", "")
    shown = data | {"text/plain": f"{head}\n\n{plain}"}
    if "text/html" in data:
        shown["text/html"] = markdown.wrap(small(NAME)) + data["text/html"]
    if "text/markdown" in data:
        shown["text/markdown"] = f"{head}\n\n{data['text/markdown']}"
    return shown


def said_bundle(source: str) -> Data:
    """Return the MIME bundle of an answer, which bears no mark of the kernel's."""
    source = unmarked(tame(source))
    return bundle(markdown.render(source), source) | {"text/markdown": source}


def report_bundle(source: str) -> Data:
    """Return the MIME bundle of the kernel's own Markdown; names from outside may be in it."""
    source = unmarked(tame(source))
    return own(bundle(markdown.render(source), source) | {"text/markdown": source})


def line_bundle(text: str) -> Data:
    """Return the MIME bundle of a line of the kernel's own."""
    line = visible(text)
    return bundle(small(line), marked(line))


def small(line: str) -> str:
    """Return a small grey line of the kernel's own as HTML."""
    return grey(marked(line))


def grey(line: str) -> str:
    """Return a small grey line, in a part of the kernel's own, as HTML."""
    return f'<div style="opacity:.65;font-size:90%">{escape(line)}</div>'


def fold(title: str, body: str) -> str:
    """Return a fold of the kernel's own, whose body is safe HTML."""
    summary = escape(marked(visible(title)))
    return f"<details><summary>{summary}</summary>{body}</details>"


def retry_text(retry: Retry) -> str:
    """Return a retry as one line."""
    why = f"{retry.status} {retry.error}" if retry.status else retry.error
    return (
        f"The API failed ({why.replace('_', ' ')}); asking again in {retry.delay_s:.1f} s "
        f"(attempt {retry.attempt} of {retry.max_retries})"
    )


def footer(turn: Turn, *, dollars: bool) -> str:
    """Return a turn's numbers as one line; `dollars` adds its price in USD, unless it is 0."""
    usage = turn.usage
    parts = [
        turn.model or "claude",
        f"{usage.prompt_tokens:,} tokens in, {usage.output_tokens:,} out",
    ]
    if turn.first_text_s is not None:
        parts.append(f"first text {turn.first_text_s:.2f} s")
    parts.append(f"total {turn.total_s:.2f} s")
    if dollars and usage.cost_usd:
        parts.append(f"${usage.cost_usd:.4f}")
    return visible(" · ".join(parts))


def error_lines(error: HotClaudeError) -> list[str]:
    """Return an error as lines: its name and message, any details, and the hint if it has one.

    Secrets are masked in messages that come from the process or the API: they are saved.
    """
    message = error.message
    if isinstance(error, TransportError | ApiError):
        from ..claude.masks import masked  # imported here because most errors don't need it

        message = masked(message)
    name = f"{type(error).__name__}: {visible(message)}"
    details = [visible(line) for line in getattr(error, "details", ())]
    return [name, *details, visible(error.hint)] if error.hint else [name, *details]


def first_line(text: str) -> str:
    """Return the first line that is not blank."""
    return text.strip().splitlines()[0] if text.strip() else ""


# A backslash before a bracket would begin maths.
_LITERAL = {c: f"\\{c}" for c in r"\`*_{}<>#|~$&"} | {"[": "&#91;", "]": "&#93;"}


def literal(line: str) -> str:
    """Return a line with its Markdown signs escaped."""
    return "".join(_LITERAL.get(c, c) for c in line)
