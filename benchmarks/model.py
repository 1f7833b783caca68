"""The model that the benchmarks ask, in a process of its own so that it shares no interpreter lock.

`python -m benchmarks.model` prints its address and serves until its standard input ends.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from hotclaude_kernel.modelserver.replies import Reply, Text
from hotclaude_kernel.modelserver.server import ModelServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from hotclaude_kernel.modelserver.request import Request

WORDS_PER_S = 200.0
WANTED = re.compile(r"write (?P<count>\d+) (?P<unit>words|characters)")
SAID = re.compile(r"say (?P<word>\w+)")

# One round of what answers are made of: a heading, prose, a list, a table, code and maths.
PASSAGE = """## Section {number}

This paragraph stands for the prose of an answer. It has **bold** and *italic* words, some `code`,
a [link](https://jupyter.org/) and a formula $a^2 + b^2 = c^2$ in the middle of a sentence.

Another paragraph follows, because most answers are mostly prose, and prose is what people read
while the rest is still on its way. It ends here.

- The first point is short.
- The second one says a little more, with `a name` in it.
  - A point below it, indented.
- The third one ends the list.

| model | words | seconds |
|:------|------:|--------:|
| this  |   200 |       1 |
| that  |   400 |       2 |

```python
def area(width: float, height: float) -> float:
    return width * height
```

$$\\int_0^1 x^2\\,dx = \\frac{{1}}{{3}}$$

"""


def answer(request: Request) -> Reply:
    """Answer what the prompt asks for: `say WORD`, `write N words` or `write N characters`."""
    if match := WANTED.search(request.prompt):
        count = int(match["count"])
        if match["unit"] == "words":
            return Reply(Text(words(count), words_per_s=WORDS_PER_S))
        return Reply(Text(passages(count)[:count]))
    match = SAID.search(request.prompt)
    return Reply(Text(match["word"] if match else "ok"))


def forgetful(server: ModelServer) -> Callable[[Request], Reply]:
    """Return a model that lets go of what was asked: a thousand histories are a gigabyte."""

    def model(request: Request) -> Reply:
        server.requests.clear()
        return answer(request)

    return model


def passages(characters: int) -> str:
    """Return at least so many characters of Markdown."""
    parts: list[str] = []
    size = 0
    while size < characters:
        parts.append(PASSAGE.format(number=len(parts) + 1))
        size += len(parts[-1])
    return "".join(parts)


def words(count: int) -> str:
    """Return Markdown of so many words."""
    found = list(re.finditer(r"\S+\s*", passages(count * 12)))
    return "".join(match[0] for match in found[:count])


def main() -> None:
    """Serve until standard input ends."""
    with ModelServer().in_thread() as server:
        server.model = forgetful(server)
        print(server.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
