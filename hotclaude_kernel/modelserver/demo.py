"""The demonstration model: a few rules that let people without an account try the kernel.

It never passes for Claude: each conversation begins by saying what it is. It keeps no state. Like
a model, it "remembers" only what is in the request's history.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from .replies import Reply, Text, Thinking, ToolUse
from .request import Request, ToolResult

MODEL = "hotclaude-demo"
WORDS_PER_S = 60.0
ECHO_CHARS = 160
RESULT_LINES = 20
MAX_COUNT = 2000
MAX_WORDS = 5000

INTRODUCTION = (
    "*This is a demonstration, not Claude: a small script on this machine answers. "
    "Nothing leaves it and nothing is charged.*\n\n"
)

MENU = """Things to try, each in a cell of its own:

- `remember that my name is Ada`, and in a later cell `what did I ask you to remember?`
- `show me what you can do`: headings, a table, a list, code and maths
- `list the files here`: a tool call that only reads
- `write a file`: a tool call that asks for your permission
- `ask me a question`: a question with choices
- `think about six times seven`: thinking before the answer
- `count to 200` or `write 500 words`: a long answer, good for trying to interrupt
"""

SHOWCASE = r"""# What an answer may hold

Text with **bold**, *italic* and `code`, and a [link](https://jupyter.org).

## A table

| model | licence | pace |
|:------|:-------:|-----:|
| this script | open | 60 words/s |
| a sundial | none | 1 day/day |

## A list

1. A cell is a turn of one conversation.
2. A turn can be long or short:
   - a long one is drawn while it streams,
   - and can be stopped at any word.

## Code

```python
def fibonacci(n: int) -> int:
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a
```

## Maths

The roots of $ax^2 + bx + c$ are \(x = \frac{-b \pm \sqrt{b^2 - 4ac}}{2a}\), and

$$\int_{-\infty}^{\infty} e^{-x^2}\,dx = \sqrt{\pi}.$$

> A quotation, to end with.
"""

FILLER: Final = (
    "This sentence is here to be long.",
    "A script wrote it, one word after the other, at the pace of a quick reader.",
    "Nothing in it is worth remembering.",
    "You may interrupt it at any word; the words above stay on the page.",
    "The next cell then goes on from there.",
)


def demo_model(request: Request) -> Reply:
    """Return the demonstration's answer to a request, with `hotclaude-demo` as the model."""
    reply = _reply(request)
    return Reply(*reply.blocks, stop_reason=reply.stop_reason, model=MODEL)


def _reply(request: Request) -> Reply:
    if request.auxiliary:
        return _auxiliary(request)
    if request.tool_results:
        return Reply(*(_paced(_after_tool(result)) for result in request.tool_results))
    reply = _answer(request)
    if request.is_first_turn:
        return Reply(_paced(INTRODUCTION), *reply.blocks)
    return reply


def _auxiliary(request: Request) -> Reply:
    """Answer a request that claude makes by itself: a title, a summary, a suggestion, an aside."""
    match request.auxiliary:
        case "title":
            return Reply(Text('{"title": "Demonstration"}'))
        case "compact":
            prompts = [turn.prompt for turn in request.turns[:-1]]
            listed = "\n".join(f"- {prompt}" for prompt in prompts)
            return Reply(Text(f"<summary>\nThe user's messages so far:\n{listed}\n</summary>"))
        case "suggestion":
            return Reply(Text("show me what you can do"))
        case _:
            return Reply(_paced(f"{INTRODUCTION}{_echo(request)}"))


def _answer(request: Request) -> Reply:
    for pattern, rule in RULES:
        match = pattern.search(request.prompt)
        reply = rule(request, match) if match else None
        if reply is not None:
            return reply
    return Reply(_paced(f"{_echo(request)}\n\n{MENU}"))


Rule = Callable[[Request, re.Match[str]], Reply | None]


def _recall(request: Request, match: re.Match[str]) -> Reply:
    things = [thing for turn in request.turns[:-1] for thing in _to_remember(turn.prompt)]
    if not things:
        return Reply(_paced("Nothing yet: no earlier message of this conversation asks for it."))
    if len(things) == 1:
        return Reply(_paced(f"You asked me to remember: **{things[0]}**"))
    listed = "\n".join(f"- {thing}" for thing in things)
    return Reply(_paced(f"You asked me to remember:\n\n{listed}"))


def _remember(request: Request, match: re.Match[str]) -> Reply | None:
    things = _to_remember(request.prompt)
    if not things:
        return None
    return Reply(
        _paced(
            f"Noted: **{', '.join(things)}**. Ask me in a later cell what you asked me to remember;"
            " I shall read it from the conversation, which is all the memory I have."
        )
    )


def _to_remember(prompt: str) -> list[str]:
    """Return the things that a prompt asks to remember, at most one a line."""
    found = [REMEMBER.match(line) for line in prompt.splitlines()]
    return [match["thing"].strip(" .") for match in found if match]


def _show(request: Request, match: re.Match[str]) -> Reply:
    return Reply(_paced(SHOWCASE))


def _list_files(request: Request, match: re.Match[str]) -> Reply:
    use = ToolUse("Bash", {"command": "ls", "description": "List the files of this folder"})
    return _call(request, use, "I list the files of this folder.")


def _write_file(request: Request, match: re.Match[str]) -> Reply:
    named = FILE_NAME.search(request.prompt)
    path = named[0] if named else "hotclaude-demo.txt"
    content = (
        f"Written by the demonstration model on request.\n\nThe request was:\n{request.prompt}\n"
    )
    use = ToolUse("Write", {"file_path": path, "content": content})
    return _call(request, use, f"I write `{path}`, if you allow it.")


def _ask(request: Request, match: re.Match[str]) -> Reply:
    question = {
        "question": "Which fruit do you like best?",
        "header": "Fruit",
        "multiSelect": False,
        "options": [
            {"label": "Apple", "description": "Keeps all winter"},
            {"label": "Pear", "description": "Ripe for one afternoon"},
            {"label": "Quince", "description": "Needs cooking"},
        ],
    }
    return _call(request, ToolUse("AskUserQuestion", {"questions": [question]}), "One question:")


def _call(request: Request, use: ToolUse, words: str) -> Reply:
    if use.name not in request.tools:
        return Reply(_paced(f"That would take the tool `{use.name}`, which is not on offer here."))
    return Reply(_paced(words), use)


def _after_tool(result: ToolResult) -> str:
    lines = result.text.splitlines() or ["(nothing)"]
    shown = "\n".join(lines[:RESULT_LINES] + ["…"] * (len(lines) > RESULT_LINES))
    outcome = "did not go through" if result.is_error else "answered"
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", shown)), default=0))
    return f"`{result.name}` {outcome}:\n\n{fence}text\n{shown}\n{fence}\n\n"


def _greet(request: Request, match: re.Match[str]) -> Reply:
    return Reply(_paced("Hello from a small script on this machine."))


def _think(request: Request, match: re.Match[str]) -> Reply:
    thoughts = "Six times seven is seven more than five times seven, which is 35. So it is 42."
    return Reply(Thinking(thoughts), _paced("It is **42**."))


def _count(request: Request, match: re.Match[str]) -> Reply:
    last = min(int(match["last"]), MAX_COUNT)
    return Reply(_paced(" ".join(str(number) for number in range(1, last + 1))))


def _long(request: Request, match: re.Match[str]) -> Reply:
    """Answer with as many words as the prompt asks for; each paragraph is the filler once."""
    wanted = min(int(match.groupdict().get("words") or 500), MAX_WORDS)
    paragraphs: list[str] = []
    while wanted > 0:
        words = " ".join(FILLER).split()[:wanted]
        paragraphs.append(" ".join(words))
        wanted -= len(words)
    return Reply(_paced("\n\n".join(paragraphs)))


def _echo(request: Request) -> str:
    text = " ".join(request.prompt.split()).replace("`", "'")
    short = text if len(text) <= ECHO_CHARS else f"{text[:ECHO_CHARS]}…"
    return f"I am a small script and do not understand what I read. It was: `{short}`"


def _paced(text: str) -> Text:
    return Text(text, words_per_s=WORDS_PER_S)


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


# With an optional dash: after `/compact`, the earlier prompts are a list in the summary.
REMEMBER = _pattern(r"\s*(?:- )?(?:please\s+)?remember\s+(?:that\s+|this:?\s+)?(?P<thing>[^?]+)$")
FILE_NAME = _pattern(r"\b[\w-]+\.(?:txt|md|py|json|csv)\b")

# The first match answers, unless its rule returns `None`.
RULES: Final[tuple[tuple[re.Pattern[str], Rule], ...]] = (
    (
        _pattern(r"\brecall\b|\bwhat\b.*\bremember\b|\bdo you remember\b|\bwhat is my name\b"),
        _recall,
    ),
    (_pattern(r"\bremember\b"), _remember),
    (_pattern(r"\bask me\b"), _ask),
    (_pattern(r"\bcount (?:up )?to (?P<last>\d{1,9})"), _count),
    (_pattern(r"(?P<words>\d{1,9}) words\b|\blong\b"), _long),
    (_pattern(r"\b(?:write|create|save)\b.*\bfile\b|\bwrite tool\b"), _write_file),
    (_pattern(r"\b(?:list|show)\b.*\bfiles\b|\btool\b"), _list_files),
    (_pattern(r"\bwhat can you do\b|\bwhat you can do\b|\bmarkdown\b"), _show),
    (_pattern(r"\bthink\b"), _think),
    (_pattern(r"\bsay hello\b"), _greet),
)
