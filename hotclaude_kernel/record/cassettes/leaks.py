"""Find private things in a cassette: API keys, home folders, user names, e-mail addresses.

The search is by pattern, so it misses a password that is a plain word. Names of no real person
(`/home/user`, `name@example.com`) are not reported.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ...claude.masks import KINDS, own_names

if TYPE_CHECKING:
    from collections.abc import Iterator

# Fields of encoded bytes, which may match a pattern by chance.
ENCODED = frozenset({"data", "signature"})


def lint(text: str) -> list[str]:
    """Return a line for each private thing in a cassette: its turn, its field and its kind.

    The thing itself is cut off after a few characters. The text may be any JSON lines; a line that
    is not JSON is searched as plain text.
    """
    kinds = (*KINDS, *own_names())
    found: dict[str, None] = {}
    for number, row in enumerate(text.split("\n"), 1):
        loaded = _loaded(row)
        for field, value in _texts(loaded):
            for kind in kinds:
                for match in kind.pattern.finditer(value):
                    shown = match[0][: kind.shown]
                    found[f"{_place(loaded, number)}{field}: {kind.name} ({shown}…)"] = None
    return list(found)


def _loaded(row: str) -> Any:
    try:
        return json.loads(row)
    except (ValueError, RecursionError):
        return row


def _place(line: Any, number: int) -> str:
    turn = line.get("number") if isinstance(line, dict) else None
    return f"line {number}, " if turn is None else f"turn {turn} ({str(line.get('node'))[:8]}), "


def _texts(value: Any, field: str = "") -> Iterator[tuple[str, str]]:
    """Yield each string in a JSON value, names of fields too, as pairs of its place and itself."""
    match value:
        case str():
            yield field or "text", value
        case list():
            for at, inner in enumerate(value):
                yield from _texts(inner, f"{field}[{at}]")
        case dict():
            for name, inner in value.items():
                yield field or "a name", name
                if name not in ENCODED:
                    yield from _texts(inner, f"{field}.{name}" if field else name)
