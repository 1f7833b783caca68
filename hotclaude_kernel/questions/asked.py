"""A tool call as the user is asked about it: all of it, each field once, in boxes that scroll.

Nothing is cut, folded or left out here, and each character is seen. A call that can't be shown like
that must not be offered for approval.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..claude.frames import deeper
from ..page.cards import MOST_INDENTS
from ..page.markdown import render as markdown
from ..page.markdown.code import coloured
from ..page.sections import fenced
from ..page.text import escape, exact, marked, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..claude.frames import Frame

# Characters of a call; the longest answer of a model has half of them.
MOST_CHARACTERS = 1_000_000
# A longer text gets a line that says how long it is, since its box has to be scrolled.
UNSCROLLED_LINES = 15
UNSCROLLED_CHARACTERS = 1_200
ONE_LINE = 80
BOX = (
    "max-height:22em;overflow:auto;margin:.2em 0;padding:.2em .5em;"
    "border:1px solid var(--jp-border-color2,#ccc)"
)
TEXT = f"{BOX};white-space:pre-wrap;overflow-wrap:anywhere"
# The words for a field that Claude fills for the reader, so that it is not taken for the kernel's.
CLAUDES = "Claude describes it as"


def html(name: str, values: Frame) -> str | None:
    """Return a tool call in full as safe HTML, `None` if it can't be shown."""
    if (fields := _fields(name, values)) is None:
        return None
    return "".join(_field(label, text, language) for label, text, language in fields)


def source(name: str, values: Frame) -> str | None:
    """Return a tool call in full as text of many lines, `None` if it can't be shown."""
    if (fields := _fields(name, values)) is None:
        return None
    return "\n".join(
        f"{label}:\n{fenced(text)}".strip() if "\n" in text else f"{label}: {text}"
        for label, text, _ in fields
    )


def plan(text: str) -> str | None:
    """Return a plan in full as safe HTML, `None` if it can't be shown."""
    if len(text) > MOST_CHARACTERS:
        return None
    shown = f'<div style="{BOX}">{markdown.render(text)}</div>'
    if "[" not in text and "&" not in text:
        return shown
    # Where links lead, and their definitions, are not seen in the rendered plan.
    title = escape(marked("the plan as Claude wrote it"))
    written = f'<pre style="{TEXT}">{escape(exact(text))}</pre>'
    return f"{shown}<details><summary>{title}</summary>{written}</details>"


def _fields(name: str, values: Frame) -> list[tuple[str, str, str]] | None:
    """Return label, text and language of each field; `None` if they are too long or too deep."""
    try:
        fields = [(label, exact(text), language) for label, text, language in _said(name, values)]
    except (RecursionError, ValueError):
        return None
    if sum(len(label) + len(text) for label, text, _ in fields) > MOST_CHARACTERS:
        return None
    return fields


def _said(name: str, values: Frame) -> Iterator[tuple[str, str, str]]:
    rest = dict(values)
    if name == "Bash" and isinstance(rest.get("command"), str):
        yield "command", rest.pop("command"), "bash"
    elif name in ("Edit", "MultiEdit"):
        yield from _changes(rest)
    for key, value in rest.items():
        label = CLAUDES if key == "description" else visible(key)
        if isinstance(value, str):
            yield label, value, ""
        else:
            yield label, _json(value), "json"


def _changes(rest: Frame) -> Iterator[tuple[str, str, str]]:
    """Take the edits of a file out of a call's fields, and yield them as a diff."""
    if "file_path" in rest:
        yield "file_path", _text(rest.pop("file_path")), ""
    edits = rest.pop("edits") if _are_edits(rest.get("edits")) else []
    if _is_edit(rest):
        edits = [{key: rest.pop(key) for key in ("old_string", "new_string")}, *edits]
    for edit in edits:
        yield "change", _diff(edit["old_string"], edit["new_string"]), "diff"
        if more := {k: v for k, v in edit.items() if k not in ("old_string", "new_string")}:
            yield "with", _json(more), "json"


def _is_edit(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(key), str) for key in ("old_string", "new_string")
    )


def _are_edits(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_edit, value))


def _json(value: Any) -> str:
    indent = None if deeper(value, MOST_INDENTS) else 2  # of deep ones the indents are the most
    return json.dumps(value, indent=indent, ensure_ascii=False)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _diff(old: str, new: str) -> str:
    """Return all lines of both texts. A line end at the end of one text only is a line, too."""
    before, after = old.split("\n"), new.split("\n")
    if max(len(before), len(after)) > 2_000:  # difflib takes quadratic time
        return "\n".join([*(f"-{line}" for line in before), *(f"+{line}" for line in after)])
    import difflib  # takes 2 ms, and few calls are edits

    lines = difflib.unified_diff(before, after, lineterm="", n=len(before) + len(after))
    shown = [line for at, line in enumerate(lines) if at > 2]  # after the names and the place
    return "\n".join(shown or (f" {line}" for line in before))


def _field(label: str, text: str, language: str) -> str:
    name = escape(label)
    if "\n" not in text and len(text) <= ONE_LINE:
        return f'<div>{name}: <code style="white-space:pre-wrap">{escape(text)}</code></div>'
    count = text.count("\n") + 1
    long = count > UNSCROLLED_LINES or len(text) > UNSCROLLED_CHARACTERS
    size = f" ({count:,} lines, {len(text):,} characters; scroll to read all)" if long else ""
    return (
        f'<div>{name}{size}:</div><pre style="{TEXT}"><code>{coloured(text, language)}</code></pre>'
    )
