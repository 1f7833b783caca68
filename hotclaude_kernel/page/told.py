"""A recorded answer as it is told to a model again: what a page showed of it, and nothing else.

A turn from elsewhere, such as a cassette's, has no transcript on this machine. One is made from its
recording. What the reader has not seen does not get into it, nor what the turn's node does not
cover: of a tool's call the fields that its card shows, of a result the lines that it shows.
Thinking is left out, since its signature is neither shown nor covered.
"""

from __future__ import annotations

import json
import re
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from ..claude.events import Block, Decided, ToolResult
from ..claude.parsing import parse
from ..turns.tape import lines
from ..turns.turn import UNREADABLE
from .cards import SAID, Card
from .sections import MOST_CHARACTERS, Picture
from .text import without_ansi

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..claude.events import Event
    from ..claude.frames import Frame

NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")  # of a tool, as the API takes it
WORD = re.compile(r"[\w.-]{0,16}")  # it tells nothing: an option, a name of a field
# What a page puts before a line of a tool's: a quotation's mark, a diff's sign, and what the tool
# itself puts there, its number.
AROUND = re.compile(r"^\s*(?:>\s?)?(?:\d+[\t→:]|[-+](?!-))?\s*|\s+$")
ERROR = ("<tool_use_error>", "</tool_use_error>")
DENIED = "The user denied this."


def told(frames: bytes) -> list[Frame]:
    """Return the messages of a recorded answer that the page showed, each with role and content.

    A content block is a message of its own, as in a transcript. The prompt is not among them.
    """
    answer = _Answer(frames)
    return list(answer.messages())


class _Answer:
    """A recorded answer, with the cards that a page makes of it."""

    def __init__(self, frames: bytes) -> None:
        self._digest = blake2b(frames, digest_size=8).hexdigest()
        self._events = list(_events(frames))
        self._cards: dict[str, Card] = {}
        self._results: dict[str, ToolResult] = {}
        for event in self._events:
            match event:
                case Block(parent=None, error=None, kind="tool_use") if _callable(event):
                    self._cards.setdefault(event.content["id"], Card(event))
                case Decided() if event.tool_use_id in self._cards:
                    self._cards[event.tool_use_id].decide(event.decision)
                case ToolResult(parent=None) if event.tool_use_id in self._cards:
                    if event.tool_use_id not in self._results:
                        self._results[event.tool_use_id] = event
                        self._cards[event.tool_use_id].end(event)

    def messages(self) -> Iterator[Frame]:
        """Yield the messages in their order."""
        called, returned = dict[str, str](), set[str]()
        for event in self._events:
            match event:
                case Block(parent=None, error=None, kind="text") if event.text.strip():
                    yield _said(event, {"type": "text", "text": event.text})
                case Block(parent=None, error=None, kind="tool_use"):
                    use = str(event.content.get("id"))
                    if use in self._cards and use not in called:
                        called[use] = f"toolu_{self._digest}{len(called):04d}"
                        yield _said(event, self._call(use, called[use]))
                case ToolResult(parent=None, tool_use_id=use):
                    if use in called and use not in returned:
                        returned.add(use)
                        yield {"role": "user", "content": [self._result(use, called[use])]}

    def _call(self, use: str, name: str) -> Frame:
        card = self._cards[use]
        return {
            "type": "tool_use",
            "id": name,
            "name": card.name,
            "input": _Shown(card).fields(card.input),
        }

    def _result(self, use: str, name: str) -> Frame:
        card, result = self._cards[use], self._results[use]
        told: Frame = {"type": "tool_result", "tool_use_id": name}
        told["content"] = _pictures(result) or _Shown(card).text(result)
        return told | ({"is_error": True} if result.is_error else {})


class _Shown:
    """What a card shows."""

    def __init__(self, card: Card) -> None:
        self._card = card
        report = card.report()
        sources = [section.source() for section in card.sections()]
        self._text = "\n".join([card.about, *sources, report.source() if report else ""])
        self._lines = {_bare(line) for line in self._text.split("\n")}

    def fields(self, given: Frame) -> Frame:
        """Return a call's input with the fields, at any depth, that the card shows."""
        if self._card.name not in SAID and len(_json(given)) <= MOST_CHARACTERS:
            return given  # all of it is shown, as JSON
        return {name: v for name, value in given.items() for v in self._kept(name, value)}

    def _kept(self, name: str, value: Any) -> Iterator[Any]:
        """Yield a value as it is shown, unless nothing of it is; fields must have plain names."""
        if not (isinstance(name, str) and WORD.fullmatch(name)):
            return
        match value:
            case str():
                if self._says(value):
                    yield value
            case list():
                yield [kept for item in value for kept in self._kept("", item)]
            case dict():
                yield {k: v for k, inner in value.items() for v in self._kept(k, inner)}
            case _:
                yield value  # a number, true, false or null

    def _says(self, text: str) -> bool:
        bare = without_ansi(text).strip()
        if WORD.fullmatch(bare) or bare in self._text:
            return True
        return all(_bare(line) in self._lines for line in bare.split("\n"))

    def text(self, result: ToolResult) -> str:
        """Return the lines of a result that the card shows, and how many it does not."""
        card = self._card
        if result.is_error and card.decision.startswith(("denied", "not approved")):
            return DENIED
        if card.name == "AskUserQuestion" and not result.is_error:
            return "\n".join(_answers(card, result)) or "(nothing was answered)"
        text = result.text.removeprefix(ERROR[0]).removesuffix(ERROR[1])
        rows = [_last(row) for row in text.split("\n")]
        shown = [row for row in rows if not row.strip() or _bare(row) in self._lines]
        left = len(rows) - len(shown)
        if not any(row.strip() for row in shown):
            done = "It failed." if result.is_error else "It is done."
            return f"[{done} The text of the result was not shown.]" if left else "(no output)"
        return "\n".join([*shown, f"[{left} lines were not shown]"] if left else shown)


def _events(frames: bytes) -> Iterator[Event]:
    for frame in lines(frames):
        try:
            yield from parse(frame)
        except UNREADABLE:
            continue


def _callable(block: Block) -> bool:
    """Whether a tool use has an id, and a name that the API takes."""
    name, use = block.content.get("name"), block.content.get("id")
    return isinstance(use, str) and isinstance(name, str) and bool(NAME.fullmatch(name))


def _said(block: Block, content: Frame) -> Frame:
    # Blocks of one message, such as parallel calls, are joined by the message's id.
    return {
        "id": str(block.message_id),
        "role": "assistant",
        "model": str(block.model),
        "content": [content],
    }


def _json(value: Frame) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _bare(line: str) -> str:
    """Return a line as it is compared: without a quotation's mark, a diff's sign or a number."""
    return AROUND.sub("", without_ansi(line))


def _last(row: str) -> str:
    """Return what a terminal shows of a line with carriage returns."""
    return without_ansi(row.rstrip("\r").rsplit("\r", 1)[-1])


def _answers(card: Card, result: ToolResult) -> Iterator[str]:
    """Yield the user's answers that the card shows and the result's text holds."""
    detail = result.detail if isinstance(result.detail, dict) else {}
    answers = detail.get("answers")
    questions = card.input.get("questions")
    for question in questions if isinstance(questions, list) else []:
        asked = question.get("question") if isinstance(question, dict) else None
        answer = answers.get(asked) if isinstance(answers, dict) else None
        if isinstance(answer, str) and f'"{asked}"="{answer}"' in result.text:
            yield f'"{asked}"="{answer}"'


def _pictures(result: ToolResult) -> list[Frame]:
    """Return the pictures that the card shows; it shows no text beside them."""
    if result.is_error:
        return []
    return [
        {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}
        for kind, data in result.pictures
        if Picture(kind, data).html().startswith("<img")
    ]
