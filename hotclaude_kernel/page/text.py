"""Text from outside made harmless: HTML escaped, control characters and ANSI escapes removed.

`MARK` begins everything that the kernel itself says. No text from outside can show it: each
function here spells it out, as it does with control characters.
"""

from __future__ import annotations

import html
import re
from functools import cache

MARK = "\N{BLACK DIAMOND MINUS WHITE X}"
CONTROL = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff"
BIDI = r"\u202a-\u202e\u2066-\u2069"
TAGS = r"\U000e0000-\U000e007f"
_ODD = re.compile(f"[{CONTROL}{BIDI}{TAGS}\ufff9-\ufffb{MARK}]")
_MARKS = re.compile(f"{MARK}|&#(?:0*10070|x0*2756)(?:;|(?![0-9a-f]))", re.IGNORECASE)


def tame(text: str) -> str:
    """Return text of many lines with `\n` ends and visible control and bidi characters.

    Characters are replaced one by one, so a text may be cut and its pieces tamed (but no CR LF may
    be cut). Direction marks (U+200E, U+200F) and joiners stay: right-to-left text and emoji need
    them.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _ODD.sub(lambda match: spell(match[0]), text) if _ODD.search(text) else text


def unmarked(source: str) -> str:
    """Return Markdown in which `MARK` is spelled out, also where it is a character reference."""
    if MARK not in source and "&#" not in source:
        return source
    return _MARKS.sub(spell(MARK), source)


def marked(line: str) -> str:
    """Return a line of the kernel's own, which begins with `MARK`."""
    return f"{MARK} {line}"


def spell(sign: str) -> str:
    """Return a visible sign for an invisible character: ␀ to ␡, � or its code like ⟨U+202E⟩."""
    code = ord(sign)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return "\ufffd" if 0xD800 <= code <= 0xDFFF else f"⟨U+{code:04X}⟩"


def escape(text: str) -> str:
    """Return text for an HTML text node or a quoted attribute."""
    return html.escape(text, quote=True)


@cache  # `_ansi` and `_label` take milliseconds to compile, and plain labels need neither
def _ansi() -> re.Pattern[str]:
    return re.compile(
        r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, cursor
        r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])"  # titles, links; none begins inside another
        r"[^\x07\x1b\x90\x98\x9c-\x9f]*(?:\x07|\x1b\\|\x9c)"
        r"|\x1b[ -/]*[0-Z\\^-~]"
    )


@cache
def _label(line_ends: str) -> re.Pattern[str]:
    # Before the group, kept: a flag's tags, a joiner between two non-ASCII characters, a variation
    # selector after a character that takes one.
    return re.compile(
        r"\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f"
        r"|(?<=[^\x00-\xbf\u2000-\u206f])[\u200c\u200d](?=[^\x00-\xbf\u2000-\u206f])"
        r"|(?<=[^\x00-\xa8\u2000-\u206f])[\ufe00-\ufe0f]|(?<=[0-9#*])\ufe0f(?=\u20e3)"
        r"|(?<=[\u3400-\u9fff\U00020000-\U0003ffff])[\U000e0100-\U000e01ef]"
        f"|([{line_ends}{CONTROL}{BIDI}{TAGS}{MARK}\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-"
        "\u180f\u200b-\u200f\u2028\u2029\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb"
        "\U000e0100-\U000e01ef])"
    )


def visible(text: str) -> str:
    """Return a one-line label: terminal escapes removed, invisible and bidi characters spelled.

    >>> visible("a\u202egpj.exe")
    'a⟨U+202E⟩gpj.exe'
    """
    if text.isascii() and text.isprintable():
        return text
    bare = _ansi().sub("", text)
    return _label("\t\r\n").sub(lambda match: spell(match[1]) if match[1] else match[0], bare)


def exact(text: str) -> str:
    """Return text of many lines in which each character is seen; only tabs and line ends stay.

    Unlike `visible` it removes nothing: what is approved is shown as it is.

    >>> exact("ls\rrm x")
    'ls␍rm x'
    """
    if text.isascii() and text.isprintable():
        return text
    return _label("\r").sub(lambda match: spell(match[1]) if match[1] else match[0], text)


def without_ansi(text: str) -> str:
    """Return text of many lines without its terminal escapes, tamed."""
    return tame(_ansi().sub("", text))
