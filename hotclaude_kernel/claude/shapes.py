"""The one place where the types of what a process sends are checked.

Each value that the program reads out of a frame is a field of a `Struct`: an event, a permission
request, the greeting. `made` builds such a struct and holds the fields to their annotations, which
also bound the numbers. All behind it can rely on the types.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

T = TypeVar("T")

# Numbers that can be added, formatted and stored: a process could send 1e308.
Count = Annotated[int, Meta(ge=0, le=10**15)]
Amount = Count | Annotated[float, Meta(ge=0, le=1e15)]  # an int stays one: notebooks show both


class Misshapen(ValueError):
    """A frame of a known type has a field of a wrong type, or lacks one."""


def made(kind: type[T], /, **fields: Any) -> T:
    """Return a struct of these fields; raises `Misshapen` if one has a wrong type."""
    struct: T = read(fields, kind)
    return struct


def read(value: Any, kind: Any) -> Any:
    """Return `value` as a `kind`, any annotation; raises `Misshapen` if it is none."""
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, UnicodeError) as error:
        raise Misshapen(str(error)) from None


def read_or(value: Any, kind: Any, default: Any) -> Any:
    """Return `value` as a `kind`, `default` if it is none.

    This is for fields that a frame is useful without.
    """
    try:
        return read(value, kind)
    except Misshapen:
        return default
