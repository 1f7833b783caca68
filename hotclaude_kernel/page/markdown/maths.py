"""Formulas: which of them MathJax may draw, and the element that each is drawn in.

MathJax would make links and styles of some TeX commands, and others move a box, or make it of any
size: a formula could cover the card of a tool use. A formula with such a command is shown as code.
"""

from __future__ import annotations

import re

from ..text import escape

# Characters of one formula.
LONGEST = 5_000

# Commands that make links or attributes, load code, or define names (a macro could hide one of the
# others). They are those of MathJax 2 to 4 in the packages html, require, action, bbox, unicode,
# newcommand and mathtools.
_ACTIVE = (
    r"href|url|html[A-Za-z]*|class|cssId|style|data|attr|mmlToken|require|autoload|load\w*"
    r"|unicode|U|char|symbol|bbox|includegraphics|img|toggle|mathtip|texttip|Tip\w*|begingroup\w*"
    r"|endgroup|[egx]?def|global|long|outer|let|futurelet|csname|endcsname|catcode|expandafter"
    r"|input|include|write|read|special|openin|openout|ref|eqref|(?:re|provide)?newcommand\w*"
    r"|(?:re)?newenvironment"
    r"|Declare\w*|definecolor|newtagform\w*|renewtagform\w*|usetagform|mathtoolsset|Newextarrow"
    r"|new(?:macro|columntype)|setOptions|javascript|Macro|Extension|verb"
)
# Commands that move what follows, let it overlap, or take a size or a distance without a unit.
_MOVING = (
    r"smash|raise\w*|lower|moveleft|moveright|MoveEqLeft|[rlcm]?lap|math[rlcm]lap|crampedllap"
    r"|crampedrlap|crampedclap|rule|Rule|Space|hfil\w*|hss|vfil\w*|vss|skew|uproot|leftroot"
    r"|xmathstrut|mathm?makebox|mathmbox|makebox|framebox|parbox|minipage|vtop|vbox|vcenter"
    r"|h(?:rule|size)|vrule|adjustlimits|ArrowBetweenLines\*?|shoveleft|shoveright"
)
# Commands that paint a surface.
_PAINTING = r"colorbox|fcolorbox|pagecolor|enclose"
_FORBIDDEN = re.compile(
    rf"\\(?:{_ACTIVE}|{_MOVING}|{_PAINTING})(?![A-Za-z])"
    r"|\\(?:[bx]?cancel(?:to)?|(?:text)?color)\s*\["  # attributes, and a colour by numbers
    r"|\*\s*\{\s*\d{3}"  # a column of an array, hundreds of times
)
_COLOUR = re.compile(r"\\(?:text)?color(?![A-Za-z])\s*(\{?[^{}\\]{0,20}\}?)")
# Legible on light and dark pages.
_COLOURS = frozenset({"{red}", "{blue}", "{green}", "{orange}", "{purple}", "{magenta}", "{teal}"})
# Each multiplies the size of what it holds.
_SIZE = re.compile(
    r"\\(?:[tT]iny|[sS]mall|SMALL|footnotesize|scriptsize|large|Large|LARGE|[hH]uge|HUGE)"
    r"(?![A-Za-z])"
)

# A length: `\kern-3pt`, `\\[6pt]`, `\hspace{1cm}`. In words (`\text{300 mm}`) it is none.
_WORDS = re.compile(r"\\(?:text\w*|math(?:rm|it|sf|bf|tt)|operatorname|mbox)\s*\{[^\\{}]*\}")
_LENGTH = re.compile(
    r"(-?)\s*(\d*[.,]?\d*)\s*(?<=[\d., ])(em|ex|pt|pc|px|mm|cm|in|mu)(?![A-Za-z])", re.IGNORECASE
)
_EM = {
    "em": 1,
    "ex": 0.5,
    "pt": 0.1,
    "pc": 1.2,
    "px": 0.07,
    "mm": 0.3,
    "cm": 3,
    "in": 7,
    "mu": 0.06,
}
MOST_EM = 30.0  # of all lengths together
MOST_BACK_EM = 2.0  # of the negative ones; `\!` is one, too
_BACK = re.compile(r"\\(?:!|negthinspace|negmedspace|negthickspace)")
_BACK_EM = 0.17

# Whatever makes a formula higher by a line, and the most of them. Rows of a matrix count too.
_HIGHER = re.compile(
    r"\\(?:\\|cr\b|newline|[dtc]?frac|genfrac|over|atop|above|brace|brack|choose|[dt]?binom|sqrt"
    r"|root|over\w+|under\w+|substack|stackrel|buildrel|prescript|sideset|hat|bar|vec|dot|ddot|dddot"
    r"|ddddot|tilde|check|breve|acute|grave|mathring|wide\w+|boxed|fbox|x\w*arrow\w*)"
)
MOST_HIGHER = 120
DEEPEST = 24  # of braces; each may hold another fraction
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)

_LABELLED = re.compile(r"\\label\s*\{[^{}]*\}")
_PROCESS = "mathjax_process tex2jax_process"
# `contain` clips a formula at its box. Where it is not known (the sanitiser of an untrusted
# notebook removes it), `overflow` does, but an inline box would lose its base line by that.
INLINE = "display:inline-block;contain:paint;padding:.2em;margin:-.2em"
BLOCK = "display:block;contain:paint;overflow-x:auto;overflow-y:hidden;max-height:200em"


def drawn(content: str, *, display: bool, block: bool) -> str:
    """Return a formula as HTML: for MathJax to draw, or as code.

    `display` is maths on lines of its own; a `block` is no part of a paragraph.
    """
    tex = _LABELLED.sub("", content)
    if not _harmless(tex):
        code = f"<code>{escape(content)}</code>"
        return f"<pre>{code}</pre>\n" if block else code
    opening, closing = ("\\[", "\\]") if display else ("\\(", "\\)")
    tag, style = ("div" if block else "span"), (BLOCK if display else INLINE)
    shown = f'<{tag} class="{_PROCESS}" style="{style}">{opening}{escape(tex)}{closing}</{tag}>'
    return shown + "\n" if block else shown


def _harmless(tex: str) -> bool:
    if len(tex) > LONGEST or _FORBIDDEN.search(tex) or _holds_delimiter(tex):
        return False
    if any(found[1].replace(" ", "") not in _COLOURS for found in _COLOUR.finditer(tex)):
        return False
    return len(_SIZE.findall(tex)) <= 1 and _stays(tex) and _height(tex) <= MOST_HIGHER


def _holds_delimiter(tex: str) -> bool:
    bare = tex.replace("\\\\", "")
    return any(mark in bare for mark in ("\\(", "\\)", "\\[", "\\]"))


def _stays(tex: str) -> bool:
    """Return whether the lengths in a formula keep it at its place, and small."""
    total, back = 0.0, len(_BACK.findall(tex)) * _BACK_EM
    for minus, number, unit in _LENGTH.findall(_WORDS.sub("", tex)):
        try:
            length = float(number.replace(",", ".")) * _EM[unit.lower()]
        except ValueError:
            return False
        total += length
        back += length if minus else 0.0
    return total <= MOST_EM and back <= MOST_BACK_EM


def _height(tex: str) -> int:
    """Return how many things make a formula higher; too many if its braces are nested too deep."""
    depth = 0
    for brace in _BRACE.findall(tex):
        depth += (brace == "{") - (brace == "}")
        if depth > DEEPEST:
            return MOST_HIGHER + 1
    return len(_HIGHER.findall(tex))
