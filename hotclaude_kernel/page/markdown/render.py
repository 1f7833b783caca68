"""The Markdown of an answer as HTML that is safe in a trusted output.

JupyterLab trusts a kernel's outputs: a script in `text/html` or `text/markdown` can use the
Jupyter server as the user. So raw HTML stays text, links are checked against a short list of
schemes, pictures become links, and maths that could make links or attributes is shown as source.
The parser and pygments are loaded on first use, to keep a kernel's start short. The grammar is in
`grammar`.
"""

from __future__ import annotations

import logging
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..text import escape, tame
from .code import fence
from .grammar import Splitter, allows, definitions, grammar, has_scheme
from .maths import LONGEST as LONGEST_MATHS
from .maths import drawn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from markdown_it import MarkdownIt
    from markdown_it.rules_core import StateCore
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

__all__ = [
    "Splitter",
    "definitions",
    "escape",
    "preload",
    "render",
    "tame",
    "wrap",
]

logger = logging.getLogger(__name__)


# A paragraph with more opening brackets stays unparsed: markdown-it takes quadratic time on them.
MOST_BRACKETS = 150

# ... and so does one where more brackets are open at once.
DEEPEST_BRACKETS = 60

# Characters of one address found in running text.
LONGEST_ADDRESS = 2_048


def render(text: str, *, references: Mapping[str, Any] | None = None) -> str:
    """Return Markdown as safe HTML: a fragment to put inside `wrap`.

    `references` are link definitions from the rest of the document, as `definitions` returns them.
    If the parser fails, the text is returned escaped.
    """
    source = tame(text)
    try:
        shown = _renderer().render(source, {"references": dict(references or {})})
    except Exception:
        logger.warning("Markdown shown as source", exc_info=True)
        return f"<pre>{escape(source)}</pre>\n"
    return tame(str(shown))  # a character reference (`&#x202e;`) became what it names


def wrap(fragment: str) -> str:
    """Return a rendered fragment in an element whose classes MathJax and stylesheets go by."""
    return f'<div class="hotclaude tex2jax_ignore mathjax_ignore">{fragment}</div>'


def preload() -> None:
    """Load the parser and pygments, so that the first answer does not wait for them."""
    render("`warm`\n\n```python\nwarm = 1\n```\n")


# The renderer.


@lru_cache(maxsize=1)
def _renderer() -> MarkdownIt:
    md = grammar()
    md.inline.ruler.before("escape", "maths", _maths_inline)
    md.inline.ruler.after("text", "bare_address", _bare_address)
    md.core.ruler.before("inline", "bracket_storm", _quell_brackets)
    md.core.ruler.push("finish", _finish)
    rules: dict[str, Callable[[Sequence[Token], int, Any, Any], str]] = {
        "definition": _nothing,
        "fence": fence,
        "link_open": _link_open,
        "maths_block": _maths,
        "maths_inline": _maths,
    }
    for name, rule in rules.items():
        md.renderer.rules[name] = rule  # type: ignore[attr-defined]
    return md


def _nothing(tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    return ""


def _quell_brackets(state: StateCore) -> None:
    """Leave a paragraph with many brackets unparsed: markdown-it looks for the end of each."""
    for token in state.tokens:
        if token.type == "inline" and _storms(token.content):
            token.type = "text"


_BRACKET = re.compile(r"[\[\]]")


def _storms(text: str) -> bool:
    if text.count("[") > MOST_BRACKETS:
        return True
    if text.count("[") <= DEEPEST_BRACKETS:
        return False
    depth = deepest = 0
    for sign in _BRACKET.findall(text):
        depth = depth + 1 if sign == "[" else max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest > DEEPEST_BRACKETS


def _finish(state: StateCore) -> None:
    """Let each top-level block have its own text direction, tick task items, link pictures."""
    tokens = state.tokens
    for index, token in enumerate(tokens):
        if token.level == 0 and token.nesting == 1:
            token.attrSet("dir", "auto")
        if not token.children:
            continue
        if index > 1 and tokens[index - 2].type == "list_item_open":
            _tick(token.children)
        if any(child.type == "image" for child in token.children):
            token.children = _without_images(token.children)


_TASK = re.compile(r"\[([ xX])\]\s")


def _tick(children: list[Token]) -> None:
    from markdown_it.token import Token

    first = children[0]
    task = _TASK.match(first.content) if first.type == "text" else None
    if task:
        ticked = "" if task[1] == " " else " checked"
        first.content = first.content[3:]
        box = f'<input type="checkbox" disabled{ticked}>'
        children.insert(0, Token("html_inline", "", 0, content=box))


def _without_images(children: list[Token]) -> list[Token]:
    """Replace each picture by a link to it; inside a link, by its name."""
    from markdown_it.token import Token

    kept: list[Token] = []
    in_link = False
    for token in children:
        in_link = (in_link or token.type == "link_open") and token.type != "link_close"
        if token.type != "image":
            kept.append(token)
            continue
        name = Token(
            "text", "", 0, content=f"[image: {token.content}]" if token.content else "[image]"
        )
        address = str(token.attrs.get("src", ""))
        if in_link or not address:
            kept.append(name)
            continue
        attrs: dict[str, str | int | float] = {"href": address}
        if "title" in token.attrs:
            attrs["title"] = token.attrs["title"]
        kept += [Token("link_open", "a", 1, attrs=attrs), name, Token("link_close", "a", -1)]
    return kept


def _link_open(tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    token = tokens[index]
    address = str(token.attrs.get("href", ""))
    title = str(token.attrs.get("title", ""))
    shown = f'<a href="{escape(address)}"'
    if title:
        shown += f' title="{escape(title)}"'
    if has_scheme(address):
        shown += ' rel="noopener noreferrer" target="_blank"'
    return shown + ">"


_BARE = re.compile(r"(?<![A-Za-z0-9.+-])(https?|mailto)\Z", re.IGNORECASE)


def _bare_address(state: StateInline, silent: bool) -> bool:
    """Make a link of a bare `https://…`; look back and ahead a bounded way only."""
    if state.src[state.pos] != ":" or state.linkLevel:
        return False
    scheme = _BARE.search(state.src, max(0, state.pos - 7), state.pos)
    if not scheme or not state.pending.endswith(scheme[1]) or state.md.linkify is None:
        return False
    start = scheme.start(1)
    found = state.md.linkify.match_at_start(
        state.src[start : min(start + LONGEST_ADDRESS, state.posMax)]
    )
    written = found.url.rstrip("*") if found else ""
    address = state.md.normalizeLink(written)
    if len(written) <= len(scheme[1]) + 1 or not allows(address):
        return False
    if not silent:
        state.pending = state.pending[: -len(scheme[1])]
        state.push("link_open", "a", 1).attrs = {"href": address}
        state.push("text", "", 0).content = written
        state.push("link_close", "a", -1)
    state.pos = start + len(written)
    return True


# Maths.

_UNTIL = {
    "\\(": re.compile(r"\\\(((?:[^\\]|\\[^()])+?)\\\)"),
    "\\[": re.compile(r"\\\[((?:[^\\]|\\[^\[\]])+?)\\\]"),
    "$$": re.compile(r"\$\$((?:[^\\$]|\\.|\$(?!\$))+?)\$\$", re.DOTALL),
    "$": re.compile(r"(?<![0-9$])\$(?![\s$])((?:[^\\$`]|\\[^`])+?)(?<!\s)\$(?![0-9$])"),
}


def _maths_inline(state: StateInline, silent: bool) -> bool:
    sign = state.src[state.pos]
    if sign not in "$\\":
        return False
    opener = state.src[state.pos : state.pos + 2]
    if opener not in _UNTIL:
        if sign != "$":
            return False
        opener = "$"
    found = _UNTIL[opener].match(state.src, state.pos, min(state.posMax, state.pos + LONGEST_MATHS))
    if not found or not found[1].strip():
        return False
    if not silent:
        token = state.push("maths_inline", "", 0)
        token.content = found[1]
        token.markup = opener
    state.pos = found.end()
    return True


def _maths(tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    token = tokens[index]
    display, block = token.markup in ("$$", "\\["), token.type == "maths_block"
    return drawn(token.content, display=display, block=block)
