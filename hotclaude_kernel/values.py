"""`Value`: a base for small classes that cost next to nothing to define.

A kernel start defines some fifty of them. `@dataclass` writes and compiles the methods of each
anew, which takes some ten times as long as all the rest of a class; the methods here are written
once and go by the names of the fields.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, field, make_dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, dataclass_transform

if TYPE_CHECKING:
    from typing import ClassVar


class _Kind(type):
    """Makes the annotated names of a class body its slots.

    The names are in the body, as they were written, because each module of ours has `from
    __future__ import annotations`.
    """

    _declared: dict[str, Any]

    def __new__(
        cls,
        name: str,
        bases: tuple[type, ...],
        body: dict[str, Any],
        *,
        kw_only: bool = True,
        frozen: bool = True,
        eq: bool = True,
    ) -> _Kind:
        names = tuple(body.get("__annotations__", ()))
        declared = {known: body.pop(known) for known in names if known in body}
        body["__slots__"] = names
        body["__match_args__"] = () if kw_only else names
        body["_names"], body["_declared"] = frozenset(names), declared
        body["_defaults"] = {n: v for n, v in declared.items() if not isinstance(v, Field)}
        body["_makers"] = {}
        for known, spec in declared.items():
            if isinstance(spec, Field):
                by = "_defaults" if spec.default_factory is MISSING else "_makers"
                body[by][known] = spec.default if by == "_defaults" else spec.default_factory
        if not frozen:
            body |= {"__setattr__": _put, "__delattr__": object.__delattr__, "__hash__": None}
        if not eq:
            body |= {"__eq__": object.__eq__, "__hash__": object.__hash__}
        return super().__new__(cls, name, bases, body)


class _Fields:
    """What `dataclasses.replace`, `fields` and `asdict` go by; each class gets its own late."""

    def __get__(self, value: Any, kind: _Kind) -> dict[str, Field[Any]]:
        made: Any = make_dataclass(
            kind.__name__,
            [
                (name, hint, kind._declared.get(name, field()))
                for name, hint in kind.__annotations__.items()
            ],
            kw_only=True,
        )
        kind.__dataclass_fields__ = made.__dataclass_fields__  # type: ignore[attr-defined]
        return kind.__dataclass_fields__  # type: ignore[attr-defined,no-any-return]


_put = object.__setattr__


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
class Value(metaclass=_Kind):
    """A class with slots, made by name, which can't be changed and equals its like.

    What a subclass can choose otherwise it says beside its base: `kw_only=False`, `frozen=False`,
    `eq=False`. Values of different classes are never equal. A subclass has no subclasses.
    """

    if TYPE_CHECKING:
        __slots__: ClassVar[tuple[str, ...]]
        __match_args__: ClassVar[tuple[str, ...]]
        __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
        _names: ClassVar[frozenset[str]]
        _defaults: ClassVar[dict[str, Any]]
        _makers: ClassVar[dict[str, Any]]
    else:
        __dataclass_fields__ = _Fields()

    def __init__(self, *values: Any, **named: Any) -> None:
        if values:
            named |= zip(self.__match_args__[: len(values)], values, strict=True)
        held = {**self._defaults, **named}
        if self._makers:
            held |= {name: make() for name, make in self._makers.items() if name not in named}
        if held.keys() != self._names:
            odd = ", ".join(sorted(held.keys() ^ self._names))
            raise TypeError(f"{type(self).__name__}: missing or unknown: {odd}")
        for name, value in held.items():
            _put(self, name, value)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({shown})"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, name) for name in self.__slots__)))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} can't be changed: {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} can't be changed: {name}")

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), **{name: getattr(self, name) for name in self.__slots__}), ()
