"""The Markdown grammar of answers, and the cutting of a growing text into blocks.

The grammar is markdown-it's CommonMark with tables, strikethrough, bare addresses and maths, and
without raw HTML. `Splitter` cuts a stream into top-level blocks, at lines where markdown-it starts
one. So the blocks rendered one by one give the same HTML as the whole text. Most cuts are plain;
the parser is asked only if a list, a fence or maths may be open.
"""

from __future__ import annotations

import logging
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from ..text import tame

if TYPE_CHECKING:
    from collections.abc import Callable

    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.token import Token

logger = logging.getLogger(__name__)

# The deepest level of blocks that is parsed; deeper ones are shown as source. A list item is two.
DEEPEST_BLOCK = 32

# The deepest nesting of brackets in a paragraph; each level takes some four Python frames.
DEEPEST_INLINE = 50

# How often blockquotes may read each character, and a number of characters that is always allowed.
MOST_QUOTED = 20
FREELY_QUOTED = 200_000

# The most columns of a table: markdown-it fills each short row up with empty cells.
MOST_COLUMNS = 64

# A `$$` or `\[` block that is not closed within this many lines is text.
LONGEST_MATHS_LINES = 60

# A list item, and a line that may begin or continue a list, a fence, maths or indented code.
_ITEM = re.compile(r"(?:[-+*]|\d{1,9}[.)])(?:[ \t]|$)")
_LASTING = re.compile(r"[ \t]+\S|[-+*](?:[ \t]|$)|\d{1,9}[.)](?:[ \t]|$)|```|~~~|\$\$|\\\[")
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+$")


class Splitter:
    """Cuts Markdown that arrives in pieces into top-level blocks.

    The blocks and `tail` joined are the text that was fed. The cuts do not depend on the pieces.
    Each is before a line that follows a blank one and starts a block at column 0.

    >>> splitter = Splitter()
    >>> splitter.feed("# One\\n\\nTwo\\n")
    ['# One\\n\\n']
    >>> splitter.tail
    'Two\\n'
    """

    def __init__(self) -> None:
        self.scanned = 0  # lines read, here or by the parser; tests count them
        self._lines: list[str] = []  # whole lines of the open block
        self._rest: list[str] = []  # the unfinished line
        self._known = 0  # lines of the open block that the parser need not read again
        self._plain = True  # no block since those lines can continue after a blank line
        self._after_blank = False
        self._written = False
        self._inside: Callable[[str], bool | None] | None = None
        self._in_list = False

    @property
    def tail(self) -> str:
        """The text of the block that is still open."""
        return "".join(self._lines) + "".join(self._rest)

    def feed(self, text: str) -> list[str]:
        """Take the next piece of text; return the blocks that it finished."""
        head, newline, rest = text.rpartition("\n")
        if not newline:
            self._rest.append(text)
            return []
        whole = "".join(self._rest) + head + newline
        self._rest = [rest] if rest else []
        return self._take(whole)

    def finish(self) -> list[str]:
        """End the text; return the rest of it as blocks."""
        blocks = self._take("".join(self._rest))
        self._rest = []
        if self._lines:
            blocks.append(self._cut())
        return blocks

    def _take(self, whole: str) -> list[str]:
        blocks = []
        for line in _LINE.findall(whole):
            self.scanned += 1
            if self._cuts_before(tame(line)):
                blocks.append(self._cut())
            self._lines.append(line)
            self._note(tame(line).rstrip("\n"))
        return blocks

    def _cut(self) -> str:
        block = "".join(self._lines)
        self._lines = []
        self._known = 0
        self._plain = True
        self._written = self._in_list = False
        return block

    def _cuts_before(self, line: str) -> bool:
        if not (self._after_blank and self._written) or self._inside or line[0] in " \t\n":
            return False
        if self._in_list and _ITEM.match(line):
            return False
        return self._plain or self._parser_starts_at(line)

    def _note(self, line: str) -> None:
        """Update the state of the open block by a line that was added to it."""
        blank = not line.strip(" \t")
        self._after_blank = blank
        self._written = self._written or not blank
        if self._inside:
            self._settle(self._inside(line))
        elif self._plain and _LASTING.match(line):
            self._plain = False

    def _settle(self, closed: bool | None) -> None:
        if closed is None:
            return
        self._inside = None
        if closed:
            self._known = len(self._lines)
            self._plain = True

    def _parser_starts_at(self, line: str) -> bool:
        """Ask the parser whether `line` starts a block; if not, note the kind of the open one."""
        open_lines = self._lines[self._known :]
        self.scanned += len(open_lines) + 1
        tokens, _ = parse_blocks(tame("".join(open_lines)) + line, {"cutting": True})
        if not tokens:
            return True  # the parser gave up: each further question would read it all again
        last = next((token for token in reversed(tokens) if not token.level and token.map), None)
        if last is None or last.map is None:
            return False
        start = last.map[0]
        if start == len(open_lines):
            return True
        self._known += start
        self._in_list = last.type in ("bullet_list_open", "ordered_list_open")
        lines = [tame(text).rstrip("\n") for text in open_lines[start:]]
        if last.type == "fence":
            self._inside = _until_fence(last.markup)
        elif last.type == "maths_block" and (opening := maths_opening(lines[0].strip())):
            self._inside = _until_maths(opening, len(lines) - 1)
        return False


def _until_fence(markup: str) -> Callable[[str], bool | None]:
    closing = re.compile(rf" {{0,3}}{re.escape(markup)}{re.escape(markup[0])}*[ \t]*$")
    return lambda line: True if closing.match(line) else None


def _until_maths(opening: MathsOpening, count: int) -> Callable[[str], bool | None]:
    def step(line: str) -> bool | None:
        nonlocal count
        count += 1
        return maths_step(opening, line, count)

    return step


def definitions(block: str) -> dict[str, dict[str, str]]:
    """Return the link definitions in a block, by label, as `render` takes them."""
    if "]:" not in block:
        return {}
    found = parse_blocks(tame(block), {})[1].get("references", {})
    return {
        label: {"title": entry["title"], "href": entry["href"]} for label, entry in found.items()
    }


def parse_blocks(source: str, env: dict[str, Any]) -> tuple[list[Token], dict[str, Any]]:
    """Parse tamed text into block tokens; return them and `env`.

    Both are empty if the parser fails.
    """
    tokens: list[Token] = []
    md = grammar()
    try:
        md.block.parse(source, md, env, tokens)
    except Exception:
        logger.warning("Markdown not understood", exc_info=True)
        return [], {}
    return tokens, env


@lru_cache(maxsize=1)
def grammar() -> MarkdownIt:
    """Return the parser, which is imported and built on first use."""
    from markdown_it import MarkdownIt

    options: Any = {
        "html": False,
        "linkify": True,
        "maxNesting": DEEPEST_INLINE,
        "inline_definitions": True,
        "xhtmlOut": False,
    }
    md = MarkdownIt("commonmark", options).enable(["table", "strikethrough"])
    md.validateLink = allows  # type: ignore[method-assign,assignment]
    before = {"alt": ["paragraph", "reference", "blockquote", "list"]}
    md.block.ruler.before("table", "deep", _deep)
    md.block.ruler.at("table", _table, {"alt": ["paragraph", "reference"]})
    md.block.ruler.at("blockquote", _blockquote, before)  # type: ignore[arg-type]
    md.block.ruler.before("fence", "maths_block", _maths_block, before)  # type: ignore[arg-type]
    return md


def _deep(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Make a code block of blocks that are nested too deeply; markdown-it would drop them."""
    if silent or state.level < DEEPEST_BLOCK:
        return False
    line = start
    while line < end and (state.isEmpty(line) or state.sCount[line] >= state.blkIndent):
        line += 1
    token = state.push("code_block", "code", 0)
    token.content = state.getLines(start, line, state.blkIndent, False)
    token.map = [start, line]
    state.line = line
    return True


class TangledError(Exception):
    """The text would take too long to parse."""


_BLANK = re.compile(r"\n[ \t]*\n")


def _blockquote(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Parse a quote by markdown-it's rule; raise `TangledError` if quotes have read too much.

    Each quote reads on to the next blank line, since any line may continue its paragraph. If its
    paragraph has ended before (`> # Title`), the next quote reads those lines again.
    """
    from markdown_it.rules_block import blockquote

    begin = state.bMarks[start] + state.tShift[start]
    if not silent and state.src[begin : begin + 1] == ">":
        blank = _BLANK.search(state.src, begin, state.eMarks[end - 1])
        read = (blank.start() if blank else state.eMarks[end - 1]) - begin
        state.env["quoted"] = state.env.get("quoted", 0) + read
        if state.env["quoted"] > MOST_QUOTED * len(state.src) + FREELY_QUOTED:
            raise TangledError
    return blockquote(state, start, end, silent)


def _table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Parse a table by markdown-it's rule, if it has not too many columns."""
    from markdown_it.rules_block import table

    if start + 1 < end:
        line = state.src[state.bMarks[start + 1] : state.eMarks[start + 1]]
        if line.count("|") > MOST_COLUMNS + 1:
            return False
    return table(state, start, end, silent)


# Links.

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_OUTSIDE = re.compile(r"https?://[^/?#\\]|mailto:[^/\\]", re.IGNORECASE)
_INSIDE = re.compile(r"#|[\w.%~@+-][^:]*$|[\w.%~@+-][^:/?#]*[/?#]")
_NEVER = re.compile(r"[\x00-\x20\x7f-\xa0\\<>\"'`\u2028\u2029]")


def allows(address: str) -> bool:
    """Return whether a link may have this address: http(s), mailto, a fragment, a relative path."""
    if _NEVER.search(address):
        return False
    if _SCHEME.match(address):
        return bool(_OUTSIDE.match(address))
    return bool(_INSIDE.match(address))


def has_scheme(address: str) -> bool:
    """Return whether an address has a scheme, so that its link leaves the notebook."""
    return bool(_SCHEME.match(address))


# Maths. `maths_step` decides where a block ends, for the parser and for `Splitter`.

_DELIMITER = re.compile(r"\\\\|\$\$|\\[\[\]]")


class MathsOpening(NamedTuple):
    """A line that opens a maths block.

    `closer` ends the block. `alone`: nothing follows the opener on its line. `closed`: the block
    ends on the same line.
    """

    closer: str
    alone: bool
    closed: bool


def maths_opening(line: str) -> MathsOpening | None:
    """Return how a line without indent opens a maths block, `None` if it does not."""
    if not line.startswith(("$$", "\\[")):
        return None
    closer = "$$" if line[0] == "$" else "\\]"
    rest = line[2:].strip()
    end = _first_delimiter(rest)
    if end is None:
        return MathsOpening(closer, alone=not rest, closed=False)
    if rest[end:] == closer and end:
        return MathsOpening(closer, alone=False, closed=True)
    return None


def maths_step(opening: MathsOpening, line: str, count: int) -> bool | None:
    """Return what a line does to an open maths block; `count` is its number after the opener.

    `True`: the line closes the block. `False`: the block was only text. `None`: it goes on.
    """
    text = line.strip()
    end = _first_delimiter(text)
    if end is not None:
        return text[end:] == opening.closer
    if count >= LONGEST_MATHS_LINES or text.startswith(("```", "~~~")):
        return False
    return None if text or opening.alone else False


def _first_delimiter(text: str) -> int | None:
    return next((m.start() for m in _DELIMITER.finditer(text) if m[0] != "\\\\"), None)


def _maths_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    begin = state.bMarks[start] + state.tShift[start]
    if state.src[begin : begin + 1] not in ("$", "\\") or state.is_code_block(start):
        return False
    opening = maths_opening(state.src[begin : state.eMarks[start]].rstrip())
    if opening is None:
        return False
    last = start
    if not opening.closed:
        found = _maths_end(state, opening, start, end)
        if found is None:
            return False
        last = found
    if silent:
        return True
    token = state.push("maths_block", "", 0)
    token.map = [start, last + 1]
    written = state.getLines(start, last + 1, state.sCount[start], False).strip()
    token.content = written[2:-2].strip("\n")
    token.markup = written[:2]
    state.line = last + 1
    return True


def _maths_end(state: StateBlock, opening: MathsOpening, start: int, end: int) -> int | None:
    """Return the line that closes the block, `None` if it is only text.

    While `Splitter` cuts, a block that is still open at the end of the text ends at its last line.
    """
    for line in range(start + 1, end):
        empty = state.isEmpty(line)
        if not empty and state.sCount[line] < state.blkIndent:
            return None
        text = "" if empty else state.src[state.bMarks[line] : state.eMarks[line]]
        step = maths_step(opening, text, line - start)
        if step is not None:
            return line if step else None
    return end - 1 if state.env.get("cutting") and state.blkIndent == 0 else None
