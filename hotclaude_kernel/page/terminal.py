"""What the `hotclaude` command prints. Text from outside can't act on the terminal."""

from __future__ import annotations

import sys

from .text import visible, without_ansi


def say(line: str, *, error: bool = False) -> None:
    """Print one line to stdout, or to stderr if it tells of an error.

    Escape sequences are left out, and other control and bidi characters, ends of lines too, are
    made visible: file names, arguments and prompts come from others.
    """
    _put(f"{visible(line)}\n", error=error)


def say_text(text: str, *, error: bool = False) -> None:
    """Print a text of many lines, made as harmless as by `say`; it may have tabs."""
    _put(without_ansi(text).removesuffix("\n") + "\n", error=error)


def _put(text: str, *, error: bool) -> None:
    stream = sys.stderr if error else sys.stdout
    # A terminal that is not UTF-8 shows a question mark for what it lacks.
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "replace").decode(encoding))
    stream.flush()
