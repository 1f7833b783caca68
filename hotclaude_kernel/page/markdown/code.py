"""Code blocks, coloured."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from ..text import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it.token import Token


# In characters; a longer fence stays plain. Many lexers of pygments take quadratic time on hostile
# code, on long lines and on many blank lines. Within these bounds the slowest seen takes 2 s.
LONGEST_COLOURED = 16_000
_SLOW_TO_COLOUR = re.compile(r"[^\n]{500}|(?:[ \t]*\n){40}")
# Languages that are coloured. For an unknown name pygments would search installed packages.
_LANGUAGE_NAMES = """
awk bash bat batch bibtex c c++ clojure cmake console cpp css cuda cypher dart diff docker
dockerfile elixir erlang f# fish fortran fsharp glsl go golang graphql haskell hs html http ini
javascript jl js json json5 jsx julia kotlin latex lisp lua makefile matlab mysql nginx nim nix
objc ocaml octave pascal perl php plpgsql postgres postgresql powershell properties proto
protobuf ps1 py py3 pycon python python3 r rb rs ruby rust sass scala scheme scss sh shell sql
sqlite3 swift tcl tex toml ts tsx typescript udiff v verilog vim vue wast wat xml yaml yml zig
zsh
"""


# The lexers of these languages scan to the end of the text at each line (43 s for 16 kB of `a`),
# so TypeScript's is used in their place.
_STAND_IN = dict.fromkeys(("c#", "cs", "csharp", "java", "groovy"), "typescript")
_LANGUAGES = frozenset(_LANGUAGE_NAMES.split()) | _STAND_IN.keys()


def fence(tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """Return a fence as safe HTML, coloured if its language is known.

    This is a render rule of markdown-it, and has its signature.
    """
    token = tokens[index]
    words = token.info.split(maxsplit=1)
    shown = coloured(token.content, words[0].lower() if words else "")
    return f'<div class="highlight"><pre><code>{shown}</code></pre></div>\n'


def coloured(code: str, language: str) -> str:
    """Return code as safe HTML, coloured if its language is known and it is not long."""
    small = len(code) <= LONGEST_COLOURED and not _SLOW_TO_COLOUR.search(code)
    return _coloured(code, language) if small and language in _LANGUAGES else escape(code)


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
    """Return the shortest class that Jupyter's stylesheet colours this kind of token by.

    Names and errors stay plain. The stylesheet has no colours for diffs, so deleted lines take
    that of strings (red) and inserted ones that of numbers (green).
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
