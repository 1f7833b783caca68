r"""Parameters: named values that are put into a notebook's prompts.

A `%params` line or a `%%params` cell sets them; later values replace earlier ones, name by name. In
a prompt the value replaces `{{name}}`. An unknown name is an error, so a prompt is never sent with
a hole in it. As long as no parameter is set, prompts are sent unchanged.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..page.words import listed
from .lines import split

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NAME = r"[^\W\d][\w-]*"
LITERAL = r"Braces of your own are written \{{."
_NAME = re.compile(NAME)
# `\{{`, or a name in double braces. Braces around anything else (formulas, code) are left alone.
_PLACE = re.compile(r"\\\{\{|\{\{[ \t]*(" + NAME + r")[ \t]*\}\}")


def render(text: str, values: Mapping[str, Any]) -> str:
    r"""Return `text` with the value of `name` in place of each `{{name}}`.

    Strings are put in as they are, other values as JSON. A value is not rendered again. `\{{`
    becomes `{{`. Without any values the text is returned unchanged. Raises `UsageError` for an
    unknown name.
    """
    if not values:
        return text

    def fill(place: re.Match[str]) -> str:
        name = place[1]
        return "{{" if name is None else spelled(values[known(name, values, hint=LITERAL)])

    return _PLACE.sub(fill, text)


def spelled(value: Any) -> str:
    """Return a value as text for a prompt: a string unchanged, any other value as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def names_in(text: str) -> list[str]:
    """Return the names in double braces in a text, each once."""
    return list(dict.fromkeys(place[1] for place in _PLACE.finditer(text) if place[1]))


def known(name: str, names: Iterable[str], *, hint: str = "") -> str:
    """Return `name` if it is one of `names`. Raises `UsageError`, with the nearest name, if not."""
    names = list(names)
    if name in names:
        return name
    import difflib

    near = difflib.get_close_matches(name, names, n=1)
    nearest = f"Did you mean {near[0]}? " if near else ""
    there = f"There are {listed(names)}." if names else "There are none."
    raise UsageError(f"There is no parameter {name}", hint=f"{nearest}{there} {hint}".rstrip())


# --- reading and writing ---------------------------------------------------------------------


def of_line(argument: str) -> dict[str, Any]:
    """Return the values of a `%params` line, which is quoted as in a shell. Raises `UsageError`."""
    import shlex

    try:
        words = shlex.split(argument)
    except ValueError as error:
        raise UsageError(
            f"%params: {str(error).lower()}", hint="A value with blanks or quotes is quoted whole."
        ) from error
    return of_words(words)


def of_words(words: Iterable[str]) -> dict[str, Any]:
    """Return the values of words like `topic=cats`. Raises `UsageError`."""
    values: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise UsageError(
                f"A parameter is written name=value, and {word} is not",
                hint="A value with blanks or quotes is quoted whole: 'topic=cats and dogs'.",
            )
        values[name] = _value(text)
    return _named(values)


def of_cell(form: str, body: str) -> dict[str, Any]:
    """Return the values of a `%%params` cell: one JSON object. Raises `UsageError`."""
    if form not in ("", "json"):
        raise UsageError(f"%%params: there is no form {form}", hint="There is json.")
    try:
        values = _loads(body)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"%%params: not JSON: {error}", hint='Write one object: {"topic": "cats", "n": 3}.'
        ) from error
    if not isinstance(values, dict):
        raise UsageError(
            "%%params takes one JSON object", hint='Write one: {"topic": "cats", "n": 3}.'
        )
    return _named(values)


def of_mapping(values: Any) -> dict[str, Any]:
    """Return values that were read from a file or given by a program, in JSON's types.

    Other values, such as YAML's dates, become text. Raises `UsageError`.
    """
    if not isinstance(values, dict):
        raise UsageError("Parameters are names with values", hint="Write one `name: value` a line.")
    try:
        return _named(json.loads(json.dumps(values, default=str, allow_nan=False)))
    except (ValueError, TypeError, RecursionError) as error:
        raise UsageError(f"These parameters can't be written as JSON: {error}") from error


def declared(source: str) -> dict[str, Any]:
    """Return the values that the `%params` lines of a cell set. Raises `UsageError`."""
    values: dict[str, Any] = {}
    for line in split(source)[0]:
        if line.name == "params" and not line.ask:
            cell = line.body is not None
            values |= of_cell(line.argument, line.body or "") if cell else of_line(line.argument)
    return values


def cell_of(values: Mapping[str, Any]) -> str:
    """Return the source of a `%%params` cell that sets the values."""
    return f"%%params json\n{json.dumps(of_mapping(dict(values)), ensure_ascii=False, indent=2)}"


def _named(values: dict[str, Any]) -> dict[str, Any]:
    for name in values:
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"A parameter can't be named {name or 'by nothing'}",
                hint="A name is letters, digits, _ and -, and begins with a letter or _.",
            )
    return values


def _value(text: str) -> Any:
    """Return the JSON value of a text, or the text itself if it is not JSON.

    A number that JSON would write differently (3.10, 1e3) stays text, so that it gets into prompts
    as it was written.
    """
    try:
        value = _loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(value, (int, float)) and json.dumps(value) != text:
        return text
    return value


def _loads(text: str) -> Any:
    """Return parsed JSON. Raises `ValueError` also for NaN and the infinities, unlike `json`."""
    return json.loads(text, parse_constant=_finite, parse_float=_finite)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number of JSON")
    return number
