"""Turns as a process sends them, with one fault put into the bytes, and what becomes of the turn.

The turns were captured from the real binary. A mutation is drawn from a seed, so it can be drawn
again. The bytes run through everything that reads a turn: lines, frames, session, page, recording,
transcript. Only the process and the front end are replaced.
"""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hotclaude_kernel.claude import frames
from hotclaude_kernel.claude.events import Result
from hotclaude_kernel.claude.session import Session
from hotclaude_kernel.errors import ProcessDied
from hotclaude_kernel.page.notebook import NotebookPage
from hotclaude_kernel.page.told import told
from hotclaude_kernel.record.transcripts import rebuilt
from hotclaude_kernel.turns.identity import key_of
from hotclaude_kernel.turns.outcome import outcome
from hotclaude_kernel.turns.prompt import Prompt
from hotclaude_kernel.turns.settings import Settings
from hotclaude_kernel.turns.tape import Tape
from hotclaude_kernel.turns.turn import Clock, Turn, recorded

from .paper import Shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hotclaude_kernel.claude.frames import Frame

CAPTURED = Path(__file__).with_name("captured.jsonl")
UUID = "11111111-1111-4111-8111-111111111111"
GREETING = {"claude_code_version": "2.1.330"}
# Numbers and depths that `json.dumps` does not write. They are put into the text of a line.
RAW = {
    "@infinite@": "1e999",
    "@long@": "9" * 5000,
    "@deep@": '{"a":[' * 490 + "]}" * 490,
    "@deeper@": "[" * 1_020 + "]" * 1_020,
    "@deepest@": "[" * 100_000 + "]" * 100_000,
}
VALUES: tuple[Any, ...] = (
    None, True, 0, 5, -1, 1e308, 10**30, float("nan"), "", "abc", "\ud83d", [], [1], [None],
    ["a"], [{}], {}, {"a": 1}, {"type": "text"}, *RAW,
)  # fmt: skip
STRANGE: tuple[Any, ...] = (
    {"type": "control_request"},
    {"type": "control_request", "request_id": [1], "request": {}},
    {"type": "control_request", "request_id": "r", "request": None},
    {"type": "control_request", "request_id": "r", "request": {"subtype": ["can_use_tool"]}},
    {"type": "control_request", "request_id": "r", "request": {"subtype": "can_use_tool"}},
    {"type": "control_response"},
    {"type": "control_response", "response": None},
    {"type": "control_response", "response": {"request_id": {}}},
    {"type": "control_cancel_request"},
    {"type": "control_cancel_request", "request_id": ["r"]},
    {"type": ["assistant"]},
    {"type": "hotclaude_decided", "id": "t", "decision": "allowed"},
)
MUTATIONS = ("value", "drop", "add", "lose", "twice", "swap", "strange", "cut", "noise", "joined")


class Captured(NamedTuple):
    """A turn that was captured: its name, its frames, and these as lines."""

    name: str
    frames: list[Frame]
    lines: list[bytes]


class Mutated(NamedTuple):
    """The lines of a turn with one fault.

    `where` are the types of the frames that it struck, `how` is one of `MUTATIONS`.
    """

    lines: list[bytes]
    where: tuple[str, ...]
    how: str


class Came(NamedTuple):
    """What a turn came to: ok, error (said so), hangs (until its process ends), or broken.

    A broken turn raised in the program; `fault` is the exception.
    """

    how: str
    fault: str = ""
    turn: Turn | None = None


def captured() -> list[Captured]:
    """Return the captured turns, all as answers to the prompt `UUID`."""
    found = []
    for line in CAPTURED.read_text(encoding="utf-8").splitlines():
        row = json.loads(line.replace(json.loads(line)["uuid"] or "@", UUID))
        found.append(Captured(row["turn"], row["frames"], [*map(_line, row["frames"])]))
    return found


def mutated(turns: list[Captured], seed: int) -> Mutated:
    """Return one of the turns with one fault, drawn from `seed`."""
    draw = random.Random(seed)
    turn = draw.choice(turns)
    at = draw.randrange(len(turn.frames) - 1)
    how = draw.choice(MUTATIONS)
    struck, lines = turn.frames[at], [*turn.lines]
    line, after = lines[at : at + 2]
    where = [_kind(struck)]
    match how:
        case "value" | "drop" | "add":
            lines[at] = _line(_changed(struck, how, draw))
        case "lose":
            del lines[at]
        case "twice":
            lines.insert(at, line)
        case "swap":
            where.append(_kind(turn.frames[at + 1]))
            lines[at : at + 2] = [after, line]
        case "strange":
            frame = draw.choice(STRANGE)
            where = [_kind(frame)]
            lines.insert(at, _line(frame))
        case "cut":
            lines[at] = line[: draw.randrange(1, len(line))]
        case "noise":
            middle = draw.randrange(1, len(line))
            lines[at] = line[:middle] + b"\xff\x00" + line[middle:]
        case "joined":
            where.append(_kind(turn.frames[at + 1]))
            lines[at : at + 2] = [line + after]
    return Mutated(lines, tuple(where), how)


def _changed(frame: Frame, how: str, draw: random.Random) -> Frame:
    """Return a copy of a frame with one value changed, dropped or added, at any depth."""
    frame = json.loads(json.dumps(frame))
    owner, key = draw.choice(_places(frame))
    value = draw.choice(VALUES)
    if how == "drop":
        del owner[key]
    elif how == "value":
        owner[key] = value
    elif isinstance(owner, list):
        owner.append(value)
    else:
        owner[draw.choice(("text", "id", "parent_tool_use_id", "error", "delta", "\ud83d"))] = value
    return frame


def _kind(frame: Any) -> str:
    kind = frame.get("type")
    return kind if isinstance(kind, str) else "none"


def _places(frame: Any) -> list[tuple[Any, Any]]:
    """Return each place in a frame: its list or object, and the index or name in it."""
    places = []
    waiting = [frame]
    while waiting:
        owner = waiting.pop()
        for key in owner if isinstance(owner, dict) else range(len(owner)):
            places.append((owner, key))
            if isinstance(owner[key], (dict, list)):
                waiting.append(owner[key])
    return places


def _line(frame: Any) -> bytes:
    text = json.dumps(frame)
    for name, raw in RAW.items():
        text = text.replace(f'"{name}"', raw)
    return text.encode()


class Played:
    """A far side that greets, and answers the first prompt with lines; then it ends."""

    pid = 4242

    def __init__(self, lines: list[bytes]) -> None:
        self.written: list[Frame] = []
        self._lines = lines
        self._batches: asyncio.Queue[list[Frame]] = asyncio.Queue()

    async def open(self) -> None:
        return

    async def read(self) -> list[Frame]:
        return await self._batches.get()

    def write(self, frame: Mapping[str, Any]) -> None:
        self.written.append(dict(frame))
        if frame["type"] == "control_request":
            body = {"subtype": "success", "request_id": frame["request_id"], "response": GREETING}
            self._batches.put_nowait([{"type": "control_response", "response": body}])
        elif frame["type"] == "user":
            framer = frames.LineFramer()
            lines = framer.feed(b"\n".join(self._lines) + b"\n")
            batch = [found for line in lines if (found := frames.framed(line)) is not None]
            self._batches.put_nowait(batch)
            self._batches.put_nowait([])

    def death(self) -> ProcessDied:
        return ProcessDied("The claude process ended")

    def kill(self) -> None:
        self._batches.put_nowait([])

    async def close(self, *, now: bool = False) -> None:
        self._batches.put_nowait([])


async def played(lines: list[bytes]) -> Came:
    """Ask a prompt that is answered by these lines, show and record the turn."""
    session = Session(Played(lines))
    await session.start()
    prompt = Prompt(text="Hello")
    key = key_of(parent=None, prompt=prompt, settings=Settings())
    turn = Turn(prompt=prompt, uuid=UUID, number=1, key=key, clock=Clock(hot=True), tape=Tape())
    session.tape = turn.tape
    page = NotebookPage(Shown())
    try:
        end = await _asked(session, turn, page)
        if end is None:
            return Came("hangs", turn=turn)
        _record(turn, end)
        return Came(turn.status, turn=turn)
    except Exception as error:  # the very thing that is counted
        return Came("broken", f"{type(error).__name__}: {error}"[:200])
    finally:
        await session.close()


async def _asked(session: Session, turn: Turn, page: NotebookPage) -> Result | None:
    end = None
    try:
        async for event in session.send("Hello", UUID):
            turn.take(event)
            page.take(event)
            end = event if isinstance(event, Result) else None
    except ProcessDied:
        return None
    finally:
        page.close()
    return end


def _record(turn: Turn, end: Result) -> None:
    """Record the turn, and read its recording as a replay and a resumed process would."""
    turn.usage = end.usage
    became = outcome(turn, end, stalled_s=60)
    turn.end(became.status, became.error)
    made = recorded(turn, parent=None, entries=b"", cli="2.1.330")
    # What no turn of claude holds is recorded, and `verify` names it; it fits its key and node.
    assert made.fault() == "" or made.fault().startswith("frame ")
    assert made.answer == turn.text
    entries = rebuilt(UUID, made, told, first=True)
    assert all(frames.loads(line) for line in entries.splitlines())
