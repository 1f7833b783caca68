"""Markdown of an answer to HTML that is safe inside a trusted output.

JupyterLab trusts what a kernel emits: a script in `text/html` or `text/markdown` runs with the
user's server behind it. So the text is parsed here, raw HTML stays text, links are checked
against a short list of schemes, pictures become links, and maths that could make links or
attributes is shown as source. Parser and colours are loaded on first use: a kernel that starts
should not pay for them. `blocks.py` holds the grammar, this module what becomes of it.
"""

from __future__ import annotations

import html
import logging
import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from .grammar import (
    BIDI,
    CONTROL,
    TAGS,
    Splitter,
    allows,
    definitions,
    grammar,
    has_scheme,
    spell,
    tame,
)

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
    "visible",
    "without_ansi",
    "wrap",
]

logger = logging.getLogger(__name__)

#: A longer fence stays plain. Many lexers are quadratic in hostile code, in the length of a line
#: and in a run of blank lines; within these bounds the worst one seen takes two seconds.
LONGEST_COLOURED = 16_000
_SLOW_TO_COLOUR = re.compile(r"[^\n]{500}|(?:[ \t]*\n){40}")

#: More opening brackets than this in one paragraph cost quadratic time, so it stays unparsed.
MOST_BRACKETS = 150

#: Characters of one formula.
LONGEST_MATHS = 5_000

#: Characters of one address found in running text.
LONGEST_ADDRESS = 2_048


def render(text: str, *, references: Mapping[str, Any] | None = None) -> str:
    """Returns safe HTML for Markdown, a fragment that belongs inside `wrap`.

    `references` are link definitions found elsewhere in the document (see `definitions`). Text
    that the parser fails on comes back escaped.
    """
    source = tame(text)
    try:
        shown = _renderer().render(source, {"references": dict(references or {})})
    except Exception:
        logger.warning("Markdown shown as source", exc_info=True)
        return f"<pre>{escape(source)}</pre>\n"
    return str(shown)


def wrap(fragment: str, extra_class: str = "") -> str:
    """Returns a rendered fragment in the element that the stylesheets and MathJax look for."""
    names = f"hotclaude tex2jax_ignore mathjax_ignore {extra_class}".strip()
    return f'<div class="{escape(names)}">{fragment}</div>'


def escape(text: str) -> str:
    """Returns text for an HTML text node or a quoted attribute."""
    return html.escape(text, quote=True)


def preload() -> None:
    """Loads parser and colours, so that the first answer does not wait for them."""
    render("`warm`\n\n```python\nwarm = 1\n```\n")


# Labels and terminal text.

_ANSI = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])"  # titles, links; none begins inside another
    r"[^\x07\x1b\x90\x98\x9c-\x9f]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-Z\\^-~]"
)
#: Kept in a label: a flag's tags, a joiner between two non-ASCII signs, the selector of a sign.
_LABEL = re.compile(
    r"\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f"
    r"|(?<=[^\x00-\xbf\u2000-\u206f])[\u200c\u200d](?=[^\x00-\xbf\u2000-\u206f])"
    r"|(?<=[^\x00-\xa8\u2000-\u206f])[\ufe00-\ufe0f]|(?<=[0-9#*])\ufe0f(?=\u20e3)"
    r"|(?<=[\u3400-\u9fff\U00020000-\U0003ffff])[\U000e0100-\U000e01ef]"
    f"|([\\t\\r\\n{CONTROL}{BIDI}{TAGS}\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u2028\u2029\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb"
    "\U000e0100-\U000e01ef])"
)


def visible(text: str) -> str:
    """Returns a one-line label: no terminal escapes, every invisible or turning sign spelled out.

    >>> visible("a\u202egpj.exe")
    'a⟨U+202E⟩gpj.exe'
    """
    bare = _ANSI.sub("", text)
    return _LABEL.sub(lambda match: spell(match[1]) if match[1] else match[0], bare)


def without_ansi(text: str) -> str:
    """Returns text of many lines, tamed, after its terminal escapes are taken out."""
    return tame(_ANSI.sub("", text))


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
        "fence": _fence,
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
    """Leaves a paragraph of brackets unparsed, since markdown-it looks for the end of each."""
    for token in state.tokens:
        if token.type == "inline" and token.content.count("[") > MOST_BRACKETS:
            token.type = "text"


def _finish(state: StateCore) -> None:
    """Sets text direction on top-level blocks, ticks task items, makes links of pictures."""
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
    """Replaces each picture by a link to it, or by its name where it stands in a link."""
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
    """Makes a link of `https://…` in running text; looks back and ahead a bounded way only."""
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
#: TeX that makes links or attributes, loads code, or defines names (macros could hide the rest):
#: MathJax 2's and 3's html, require, action, bbox, unicode, newcommand and mathtools packages.
_FORBIDDEN = re.compile(
    r"\\(?:href|url|html[A-Za-z]*|class|cssId|style|data|attr|mmlToken|require|autoload|load\w*"
    r"|unicode|U|bbox|includegraphics|img|toggle|mathtip|texttip|Tip\w*|begingroup\w*|endgroup"
    r"|[egx]?def|global|long|outer|let|futurelet|csname|endcsname|catcode|expandafter|input|include"
    r"|write|read|special|openin|openout|ref|eqref|(?:re|provide)?newcommand\w*"
    r"|(?:re)?newenvironment"
    r"|Declare\w*|definecolor|newtagform\w*|renewtagform\w*|usetagform|mathtoolsset|Newextarrow"
    r"|new(?:macro|columntype)|setOptions|javascript|Macro|Extension|verb)(?![A-Za-z])"
)
_LABELLED = re.compile(r"\\label\s*\{[^{}]*\}")
_PROCESS = "mathjax_process tex2jax_process"


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
    display = token.markup in ("$$", "\\[")
    tex = _LABELLED.sub("", token.content)
    block = token.type == "maths_block"
    if _FORBIDDEN.search(tex) or len(tex) > LONGEST_MATHS or _holds_delimiter(tex):
        code = f"<code>{escape(token.content)}</code>"
        return f"<pre>{code}</pre>\n" if block else code
    opening, closing = ("\\[", "\\]") if display else ("\\(", "\\)")
    tag = "div" if block else "span"
    shown = f'<{tag} class="{_PROCESS}">{opening}{escape(tex)}{closing}</{tag}>'
    return shown + "\n" if block else shown


def _holds_delimiter(tex: str) -> bool:
    bare = tex.replace("\\\\", "")
    return any(mark in bare for mark in ("\\(", "\\)", "\\[", "\\]"))


# Fences, in the classes that jupyterlab_pygments' stylesheet colours in light and dark.

#: Read by pygments' own lexers only: an unknown name would search installed packages.
_LANGUAGE_NAMES = """
awk bash bat batch bibtex c c++ clojure cmake console cpp css cuda cypher dart diff docker
dockerfile elixir erlang f# fish fortran fsharp glsl go golang graphql haskell hs html http ini
javascript jl js json json5 jsx julia kotlin latex lisp lua makefile matlab mysql nginx nim nix
objc ocaml octave pascal perl php plpgsql postgres postgresql powershell properties proto
protobuf ps1 py py3 pycon python python3 r rb rs ruby rust sass scala scheme scss sh shell sql
sqlite3 swift tcl tex toml ts tsx typescript udiff v verilog vim vue wast wat xml yaml yml zig
zsh
"""
#: Their own lexers look for a method at every line, to the end of the text: 43 s for 16 kB of `a`.
_STAND_IN = dict.fromkeys(("c#", "cs", "csharp", "java", "groovy"), "typescript")
_LANGUAGES = frozenset(_LANGUAGE_NAMES.split()) | _STAND_IN.keys()


def _fence(tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    token = tokens[index]
    words = token.info.split(maxsplit=1)
    language = words[0].lower() if words else ""
    code = token.content
    small = len(code) <= LONGEST_COLOURED and not _SLOW_TO_COLOUR.search(code)
    shown = _coloured(code, language) if small and language in _LANGUAGES else escape(code)
    return f'<div class="highlight"><pre><code>{shown}</code></pre></div>\n'


@lru_cache(maxsize=32)
def _coloured(code: str, language: str) -> str:
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        name = _STAND_IN.get(language, language)
        lexer = get_lexer_by_name(name, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return escape(code)
    runs: list[tuple[str, list[str]]] = []
    for kind, text in lexer.get_tokens(code):
        name = _css_class(kind)
        if not runs or runs[-1][0] != name:
            runs.append((name, []))
        runs[-1][1].append(text)
    return "".join(
        f'<span class="{name}">{escape("".join(texts))}</span>' if name else escape("".join(texts))
        for name, texts in runs
    )


@cache
def _css_class(kind: Any) -> str:
    """Returns the shortest class that the stylesheet colours this kind of token with.

    Names and errors stay plain. It has no colours for diffs: red is its string, green its number.
    """
    from pygments.token import Token

    classes = (
        (Token.Comment, "c"),
        (Token.Keyword, "k"),
        (Token.Literal.String, "s"),
        (Token.Literal.Number, "m"),
        (Token.Operator.Word, "ow"),
        (Token.Operator, "o"),
        (Token.Punctuation, "p"),
        (Token.Generic.Deleted, "s"),
        (Token.Generic.Inserted, "m"),
        (Token.Generic.Heading, "k"),
        (Token.Generic.Subheading, "k"),
    )
    return next((name for root, name in classes if kind in root), "")
