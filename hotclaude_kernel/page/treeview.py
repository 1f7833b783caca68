"""The tree of a conversation as text, as HTML and as a picture. Pure functions.

All three show the same rows. Below a turn come its side branches, each a lane to the right, and
then the turn that continues its own lane. So no line crosses another, each path reads from its
oldest turn down, and the path to the notebook's position is the first lane. Nothing recurses, so
a conversation may have any length.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from .text import escape, visible
from .words import sourced

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ..turns.tree import Node, Tree

LONGEST_LINE = 60  # characters of a prompt or a name
# The middle of a longer run of turns without marks is folded.
LONGEST_RUN = 12
SHOWN_AT_ENDS = 2
EMPTY = "No turns yet."

# Legible on light and dark pages, as in `sections`.
_BLUE, _RED, _AMBER, _GREEN, _INK = "#2b7fd9", "#d6443e", "#a87600", "#00933f", "currentColor"
_COLOURS = {"here": _BLUE, "current": _BLUE, "branch": _INK, "checkpoint": _GREEN}
_COLOURS |= {"error": _RED, "interrupted": _AMBER}


def text(tree: Tree) -> str:
    """Return the tree in lines, like `git log --graph` but oldest first."""
    width = max((len(str(node.number)) for node in tree.nodes), default=0)
    lines = []
    for row in _rows(tree):
        stem = "│ " * (row.lane - row.opens) + "├─" * row.opens
        words = "  ".join(part.text for part in row.parts)
        number = f"{row.number:>{width}}  " if row.number else ""
        lines.append(f"{stem}{row.sign} {number}{words}")
    return "\n".join(lines) or EMPTY


def html(tree: Tree) -> str:
    """Return the tree as safe HTML, in the page's text colour."""
    rows = "".join(_html_row(row) for row in _rows(tree))
    return f'<div dir="ltr" style="line-height:1.6em">{rows or EMPTY}</div>'


def svg(tree: Tree) -> str:
    """Return the tree as SVG for inline use in HTML, where it has the page's text colour."""
    rows = _rows(tree)
    lanes = 1 + max((row.lane for row in rows), default=0)
    number_x = _EDGE + lanes * _LANE + max((_width(row.number) for row in rows), default=0)
    words = max(map(_words_width, rows), default=_width(EMPTY))
    width, height = number_x + words + _EDGE, 2 * _EDGE + _ROW * max(1, len(rows))
    body = _graph(rows) + "".join(_svg_row(at, row, number_x) for at, row in enumerate(rows))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label="The tree of the conversation" '
        f'direction="ltr" font-family="system-ui,sans-serif" font-size="{_FONT}" fill="{_INK}">'
        f"{body if rows else _NOTHING}</svg>"
    )


# --- rows ------------------------------------------------------------------------------------


class _Part(NamedTuple):
    """Words of one look. Their text is `visible`, but not yet escaped for HTML."""

    kind: str
    text: str


class _Row(Struct, frozen=True, kw_only=True):
    """A line of the view: a turn, a folded run of turns (`sign` is ⋮), or the start."""

    node: Node | None
    lane: int
    opens: bool  # the first row of its lane, which parts from the lane to the left
    active: bool  # on the path to the notebook's position
    sign: str
    marks: tuple[_Part, ...]
    source: str = ""  # in words, of a turn that was replayed

    @property
    def number(self) -> str:
        return str(self.node.number) if self.node else ""

    @property
    def parts(self) -> list[_Part]:
        """The words to the right of the number."""
        if not self.node:
            return [*self.marks]
        parts = [_Part("prompt", _line(self.node.prompt) or "(no text)")]
        if self.node.status != "ok":
            kind = "interrupted" if self.node.status == "interrupted" else "error"
            parts.append(_Part(kind, _line(self.node.status)))
        if self.source:
            parts.append(_Part("quiet", f"replayed from {_line(self.source)}"))
        return [*parts, *self.marks]


def _rows(tree: Tree) -> list[_Row]:
    return list(_folded(_walked(tree))) if tree.nodes else []


def _walked(tree: Tree) -> Iterator[_Row]:
    """Yield a row for each turn; below it its side branches, then the rest of its own lane."""
    children, marks, active = _children(tree), _marks(tree), _path(tree, tree.head)
    waiting: list[tuple[Node | None, int, bool]] = [(None, 0, False)]
    while waiting:
        node, lane, opens = waiting.pop()
        at = node.id if node else None
        following, on_path = children.get(at, []), at is None or at in active
        others = following[1:]
        if node or others or at in marks:
            yield _Row(
                node=node,
                lane=lane,
                opens=opens,
                active=on_path,
                sign="◉" if at == tree.head else "●" if on_path else "○",
                marks=(*[_Part("quiet", "start")][: at is None], *marks.get(at, ())),
                source=sourced(source) if (source := tree.sources.get(at or "")) else "",
            )
        # `pop` takes the last: the side branches in the order they were asked, then the heir.
        waiting.extend((heir, lane, False) for heir in following[:1])
        waiting.extend((child, lane + 1, True) for child in reversed(others))


def _children(tree: Tree) -> dict[str | None, list[Node]]:
    """Return the children of each turn (`None`: the start); the first continues its lane.

    The first child, its heir, is the one on the path to the head, else the one with most turns
    below it. So the lanes are at most the logarithm of the turns. Were the oldest child the heir,
    each turn that was asked twice could add a lane.
    """
    active = _path(tree, tree.head)
    below: defaultdict[str | None, int] = defaultdict(int)
    for node in reversed(tree.nodes):  # a node's descendants come after it
        below[node.parent] += below[node.id] + 1
    children: defaultdict[str | None, list[Node]] = defaultdict(list)
    for node in tree.nodes:
        children[node.parent].append(node)
    for siblings in children.values():
        heir = max(siblings, key=lambda it: (it.id in active, below[it.id]))
        siblings.remove(heir)
        siblings.insert(0, heir)
    return children


def _path(tree: Tree, last: str | None) -> set[str]:
    """Return the ids of the turns from the start to `last`."""
    parents = {node.id: node.parent for node in tree.nodes}
    path: set[str] = set()
    while last is not None:
        path.add(last)
        last = parents.get(last)
    return path


def _marks(tree: Tree) -> dict[str | None, list[_Part]]:
    """Return the names that show at each turn (`None`: the start), the current branch first."""
    marks: defaultdict[str | None, list[_Part]] = defaultdict(list)
    for name, at in sorted(tree.branches.items(), key=lambda it: it[0] != tree.current):
        kind = "current" if name == tree.current else "branch"
        marks[at].append(_Part(kind, f"[{_line(name)}]"))
    for name, turn in tree.checkpoints.items():
        marks[turn].append(_Part("checkpoint", f"{{{_line(name)}}}"))
    marks[tree.head].append(_Part("here", "← you are here"))
    return dict(marks)


def _line(words: str) -> str:
    """Return the beginning of `words` as one `visible` line of at most 60 characters."""
    # The cut leaves room for terminal escapes, which `visible` removes.
    shown = visible(" ".join(words.split())[: 10 * LONGEST_LINE])
    shown = shown.replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd")  # not allowed in XML
    return shown if len(shown) <= LONGEST_LINE else f"{shown[: LONGEST_LINE - 1].rstrip()}…"


def _folded(rows: Iterable[_Row]) -> Iterator[_Row]:
    """Yield the rows, with the middle of each long run without marks as one row.

    A turn with side branches ends its run, so it is always shown.
    """
    run: list[_Row] = []
    for row in rows:
        if run and (row.marks or row.opens or row.lane != run[-1].lane):
            yield from _shortened(run) if len(run) > LONGEST_RUN else run
            run = []
        if row.marks:
            yield row
        else:
            run.append(row)
    yield from _shortened(run) if len(run) > LONGEST_RUN else run


def _shortened(run: list[_Row]) -> list[_Row]:
    middle = run[SHOWN_AT_ENDS:-SHOWN_AT_ENDS]
    failed = sum(row.node is not None and row.node.status != "ok" for row in middle)
    replayed = sum(bool(row.source) for row in middle)
    told = f"{len(middle)} turns" + (f", {failed} not ok" if failed else "")
    told += f", {replayed} replayed" if replayed else ""
    fold = replace(middle[0], node=None, sign="⋮", marks=(_Part("quiet", told),))
    return [*run[:SHOWN_AT_ENDS], fold, *run[-SHOWN_AT_ENDS:]]


def _look(part: _Part, row: _Row) -> tuple[str, int, float]:
    """Return the colour, weight and opacity of words."""
    if part.kind in _COLOURS:
        return _COLOURS[part.kind], 600, 1
    bold = part.kind == "prompt" and row.active
    return _INK, 600 if bold else 400, 1 if bold else 0.7


# --- HTML ------------------------------------------------------------------------------------

_GUIDE = '<span style="flex:none;width:.6em;margin-left:.75em;border-left:1px solid;opacity:.4">'
_ELBOW = '<span style="display:block;height:.8em;border-bottom:1px solid"></span>'


def _html_row(row: _Row) -> str:
    guides = f"{_GUIDE}</span>" * (row.lane - row.opens) + f"{_GUIDE}{_ELBOW}</span>" * row.opens
    ink = f"color:{_BLUE}" if row.active else "opacity:.5"
    sign = f'<span style="flex:none;width:1.5em;text-align:center;{ink}">{row.sign}</span>'
    number = f'<span style="opacity:.6">{row.number}</span>'
    words = " ".join([number, *(_html_part(part, row) for part in row.parts)])
    return f'<div style="display:flex">{guides}{sign}<div>{words}</div></div>'


def _html_part(part: _Part, row: _Row) -> str:
    colour, weight, opacity = _look(part, row)
    style = f"color:{colour};font-weight:{weight};opacity:{opacity}"
    return f'<bdi style="{style}">{escape(part.text)}</bdi>'


# --- the picture -----------------------------------------------------------------------------

_ROW, _LANE, _EDGE, _GAP, _FONT = 26, 18, 14, 6, 13
_NOTHING = f'<text x="{_EDGE}" y="{_EDGE + 18}">{EMPTY}</text>'

# Widths in em of a wide common font (DejaVu Sans, bold), since none can be measured here.
_NARROW, _WIDE = frozenset("iljtfr .,:;'|!()[]-/"), frozenset("mwMW@%+=<>#~&")


def _y(at: int) -> int:
    return _EDGE + _ROW // 2 + at * _ROW


def _width(words: str) -> int:
    return round(_FONT * sum(map(_em, words)) + 0.5)


def _words_width(row: _Row) -> int:
    return sum(_width(part.text) + 2 * _GAP for part in row.parts)


def _em(sign: str) -> float:
    if unicodedata.east_asian_width(sign) in "WF":
        return 1.3
    return 0.5 if sign in _NARROW else 0.85 if sign.isascii() and sign not in _WIDE else 1.15


def _graph(rows: Sequence[_Row]) -> str:
    """Return lines and dots, the active lane last, so that it is drawn above the others."""
    layers: dict[str, list[str]] = {_INK: [], _BLUE: []}
    above: dict[int, tuple[int, str]] = {}
    for at, row in enumerate(rows):
        x, y, colour = _EDGE + row.lane * _LANE, _y(at), _BLUE if row.active else _INK
        top, sign = above.get(row.lane, (y, ""))
        above[row.lane] = y, row.sign
        dots = ' stroke-dasharray="0 5"' if "⋮" in (row.sign, sign) else ""
        line = f"M{x} {top}V{y}"
        if row.opens:  # a curve from the lane to the left
            line = f"M{x - _LANE} {y - _ROW}c0 16 {_LANE} 10 {_LANE} {_ROW}"
        layers[colour].append(f'<path d="{line}"{dots}/>')
        if row.sign != "⋮":
            layers[colour].append(f'<circle cx="{x}" cy="{y}" r="3.5" fill="{colour}"/>')
        if row.sign == "◉":
            layers[colour].append(f'<circle cx="{x}" cy="{y}" r="8"/>')
    pen = 'fill="none" stroke-width="2" stroke-linecap="round"'
    return (
        f'<g {pen} stroke="{_INK}" opacity=".45">{"".join(layers[_INK])}</g>'
        f'<g {pen} stroke="{_BLUE}">{"".join(layers[_BLUE])}</g>'
    )


def _svg_row(at: int, row: _Row, number_x: int) -> str:
    place = f'<text x="{number_x}" y="{_y(at) + 5}"'
    number = row.number or row.sign * (row.sign == "⋮")
    words = " ".join(_svg_part(part, row) for part in row.parts)
    return f'{place} text-anchor="end" fill-opacity=".6">{number}</text>{place}>{words}</text>'


def _svg_part(part: _Part, row: _Row) -> str:
    colour, weight, opacity = _look(part, row)
    weight = 400 if part.kind == "prompt" else weight  # the lane's colour shows what is active
    look = f'fill="{colour}" font-weight="{weight}" fill-opacity="{opacity}"'
    return f'<tspan dx="{_GAP}" unicode-bidi="isolate" {look}>{escape(part.text)}</tspan>'
