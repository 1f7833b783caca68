"""A cassette: the recorded turns of a notebook in a text file that can be committed beside it.

`nb.hotclaude.jsonl` has a header line and then a line for each turn, sorted by key, each turn with
all that it follows. The same turns are the same bytes: there is no time of day in it, no name of a
session, no folder. A frame stands as it was recorded, its fields in their order, because that is
how a page shows them.
"""

from __future__ import annotations

import base64
import json
import math
import re
from dataclasses import fields
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict, replace

from ..claude.events import Usage
from ..claude.frames import dumps
from ..errors import StoreError, StoreTooNew
from ..turns import identity
from ..turns.prompt import Attachment, Prompt
from ..turns.settings import Settings
from ..turns.tape import kept, lines
from ..turns.tree import SNIPPET, Node
from ..turns.turn import UNREADABLE, Recorded
from . import archive

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import NoReturn

    from .store import Store

    Line = dict[str, Any]

VERSION = 1
HEADER = {"hotclaude": "cassette", "v": VERSION}
STATUSES = ("ok", "error", "interrupted")
MOST = 2**53  # the largest number that every reader of JSON tells from the next one
MACHINE = "cwd"  # the setting that means something on one machine only
_SURROGATE = re.compile("[\ud800-\udfff]")


def text_of(path: Path) -> str:
    """Return what a file holds. Raises `StoreError` where it is no text or can't be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise StoreError(f"The cassette {path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise StoreError(f"The cassette {path} can't be read: it is not UTF-8") from error


def digest(text: str) -> str:
    """Return the name of a cassette by its content."""
    return blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()


# --- writing ---------------------------------------------------------------------------------


def write(store: Store, nodes: Iterable[str]) -> str:
    """Return the cassette of turns, by their nodes, and of all that they follow.

    Raises `StoreError` where one is not recorded, or does not follow from what is recorded of it.
    """
    pinned = set(_known(store, nodes))
    turns = [store.turn(node) for node in archive.lineage(store, pinned)]
    # Of several answers to one question the last one in this order replays.
    ranked = sorted(turns, key=lambda turn: (turn.replays, turn.node.id in pinned, turn.node.ended))
    replaying = {turn.node.key: turn.node.id for turn in ranked if turn.node.status == "ok"}
    portable = [
        _portable(replace(turn, replays=replaying.get(turn.node.key, turn.node.id) == turn.node.id))
        for turn in turns
    ]
    ordered = sorted(portable, key=lambda turn: (turn.node.key, turn.node.id))
    return "".join(f"{_json(line)}\n" for line in (HEADER, *map(_line, ordered)))


def _known(store: Store, nodes: Iterable[str]) -> Iterator[str]:
    for node in nodes:
        if store.node(node) is None:
            raise StoreError(
                f"The turn {node[:12]} is not in the record {store.path}",
                hint="Run the notebook again with that record, or name another one by --store.",
            )
        yield node


def _portable(turn: Recorded) -> Recorded:
    """Return a turn without what is of this machine; its key stays what it was."""
    config = turn.settings.mcp_config
    if config is not None and not config.startswith(identity.DIGESTED):
        config = identity.DIGESTED + identity.settings_values(turn.settings)["mcp_config"]
    settings = turn.settings.changed(cwd=None, mcp_config=config)
    turn = replace(turn, settings=settings)
    if fault := turn.fault():
        because = " (its MCP configuration has changed since)" if config else ""
        raise StoreError(
            f"Turn {turn.node.number}, {turn.node.id[:12]}, can't be exported: {fault}{because}",
            hint="`hotclaude verify` lists all such turns.",
        )
    return turn


def _line(turn: Recorded) -> Line:
    """Return a turn as JSON values. What is empty, or as it mostly is, is left out."""
    line: Line = {
        "key": turn.node.key,
        "node": turn.node.id,
        "parent": turn.node.parent,
        "number": turn.node.number,
        "prompt": turn.prompt.text,
        "settings": _changed(turn.settings),
        "status": turn.node.status,
        "model": turn.node.model,
        "cli": turn.cli,
        "usage": dict(sorted(asdict(turn.node.usage).items())),
        "first_text_s": None if turn.first_text_s is None else milliseconds(turn.first_text_s),
        "total_s": milliseconds(turn.total_s),
        "priced": turn.priced,
        "pure": turn.pure,
        "frames": lines(turn.frames),
    }
    if turn.deltas:
        line["deltas"] = json.loads(turn.deltas)
    if images := turn.prompt.attachments:
        line["attachments"] = [_attachment(image) for image in images]
    if turn.node.compacted:
        line["compacted"] = True
    if not turn.replays:
        line["replays"] = False
    return dict(sorted(line.items()))


def _changed(settings: Settings) -> Line:
    values = {spec.name: getattr(settings, spec.name) for spec in fields(settings)}
    changed = {s.name: values[s.name] for s in fields(settings) if values[s.name] != s.default}
    return dict(sorted(changed.items()))


def _attachment(image: Attachment) -> Line:
    data = base64.b64encode(image.data).decode("ascii")
    return {"data": data, "media_type": image.media_type, "name": image.name}


def milliseconds(seconds: float) -> float:
    """Return seconds to the millisecond that is shown as the same hundredth.

    A footer shows hundredths: what rounds twice may round to another one.
    """
    nearest = (round(seconds + change, 3) for change in (0.0, 0.001, -0.001))
    return next(ms for ms in nearest if f"{ms:.2f}" == f"{seconds:.2f}")


def _json(value: Mapping[str, Any]) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # Half an emoji has no UTF-8, but JSON has an escape for it.
    return _SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", text)


# --- reading ---------------------------------------------------------------------------------


def load(store: Store, text: str) -> int:
    """Record the turns of a cassette that are not recorded; return how many there were.

    A cassette that was loaded before is known by its digest. Raises `StoreError` where it can't be
    taken whole; nothing of it is then.
    """
    name = digest(text)
    if archive.has_cassette(store, name):
        return 0
    return archive.add_cassette(store, name, read(text))


def read(text: str) -> list[Recorded]:
    """Return the turns of a cassette, each behind the one that it follows.

    What each turn is named by is derived anew. Raises `StoreError` that names the line where it
    does not come out so, or something is damaged; `StoreTooNew` where the file is of a newer form.
    """
    header, *rows = text.split("\n")  # in JSON no other sign ends a line
    _check(header)
    turns: dict[str, Recorded] = {}
    written: dict[str, int] = {}
    for number, row in enumerate(rows, 2):
        if row.strip():
            turn = _read(row, number)
            # A merge may have left the same turn twice.
            turns.setdefault(turn.node.id, turn)
            written.setdefault(turn.node.id, number)
    for node in [turn.node for turn in turns.values()]:
        before = turns.get(node.parent) if node.parent is not None else None
        follows = before.node.number if before else 0
        if follows != node.number - 1 or (node.parent and not before):
            _refuse(written[node.id], "the turn that it follows is not in the file")
    return sorted(turns.values(), key=lambda it: (it.node.number, it.node.key, it.node.id))


def _check(header: str) -> None:
    try:
        found = json.loads(header)
        kind, version = found["hotclaude"], found["v"]
    except UNREADABLE as error:
        raise StoreError("This is no cassette: it has no header of one") from error
    if kind != "cassette" or type(version) is not int:
        raise StoreError("This is no cassette: it has no header of one")
    if version > VERSION:
        raise StoreTooNew("The cassette is of a newer form", hint="Update hotclaude.")


def _read(row: str, number: int) -> Recorded:
    try:
        turn = _turn(json.loads(row, parse_constant=_no_number))
        fault = turn.fault()
    except KeyError as error:
        _refuse(number, f"it has no {error.args[0]}", error)
    except UNREADABLE as error:
        _refuse(number, str(error) or type(error).__name__, error)
    if fault:
        _refuse(number, fault)
    return turn


def _refuse(number: int, why: str, error: Exception | None = None) -> NoReturn:
    raise StoreError(
        f"The cassette's line {number} can't be taken: {why}",
        hint="Nothing of it was. Take the file from where it came from once more.",
    ) from error


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _turn(line: Line) -> Recorded:
    frames = [frame for given in line["frames"] if (frame := kept(given)) is not None]
    whole = len(frames) == len(line["frames"])  # else the tracks are those of other frames
    first = line["first_text_s"]
    turn = Recorded(
        node=_node(line),
        prompt=_prompt(line),
        settings=_settings(line["settings"]),
        cli=_text(line["cli"]),
        first_text_s=None if first is None else _number(first),
        total_s=_number(line["total_s"]),
        frames=b"".join(map(dumps, frames)),
        deltas=_deltas(line.get("deltas", {})) if whole else b"",
        priced=_flag(line["priced"]),
        replays=_flag(line.get("replays", True)),
    )
    if _flag(line["pure"]) != turn.pure:
        raise ValueError("what it says of its tools does not follow from its frames")
    return turn


def _node(line: Line) -> Node:
    parent = line["parent"]
    return Node(
        id=_text(line["node"]),
        parent=None if parent is None else _text(parent),
        number=_count(line["number"]),
        prompt=_text(line["prompt"])[:SNIPPET],
        status=_one_of(STATUSES, line["status"]),
        key=_text(line["key"]),
        compacted=_flag(line.get("compacted", False)),
        model=_text(line["model"]),
        usage=_usage(line["usage"]),
    )


def _prompt(line: Line) -> Prompt:
    images = tuple(map(_image, line.get("attachments", ())))
    return Prompt(text=_text(line["prompt"]), attachments=images)


def _usage(line: Line) -> Usage:
    counts = {name: line[name] for name in Usage.__struct_fields__}
    cost, window = counts.pop("cost_usd"), counts.pop("context_window")
    return Usage(
        **{name: _count(count) for name, count in counts.items()},
        cost_usd=_number(cost),
        context_window=None if window is None else _count(window),
    )


def _settings(line: Line) -> Settings:
    specs = {spec.name: spec for spec in fields(Settings) if spec.name != MACHINE}
    if unknown := line.keys() - specs.keys():
        raise ValueError(f"there is no setting {', '.join(sorted(unknown))}")
    return Settings(**{name: _setting(str(specs[name].type), line[name]) for name in line})


def _setting(kind: str, value: Any) -> Any:
    if value is None and "None" in kind:
        return None
    if kind.startswith("tuple"):
        if isinstance(value, list):
            return tuple(map(_text, value))
        raise ValueError("a setting is no list")
    return _count(value) if kind.startswith("int") else _text(value)


def _deltas(tracks: Any) -> bytes:
    """Return the tracks as they are recorded; `ValueError` where they are none."""
    for name, track in tracks.items():
        if not (name.isdecimal() and all(len([_count(n) for n in pair]) == 2 for pair in track)):
            raise ValueError("the times of its text are damaged")
    return json.dumps(tracks, separators=(",", ":")).encode() if tracks else b""


def _image(line: Line) -> Attachment:
    return Attachment(
        name=_text(line["name"]),
        media_type=_text(line["media_type"]),
        data=base64.b64decode(_text(line["data"]), validate=True),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str) or _SURROGATE.search(value):
        raise ValueError("something that must be a text is none")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MOST:
        raise ValueError("something that must be a whole number is none")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= MOST or math.isnan(value):
        raise ValueError("something that must be a number is none")
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("something that must be true or false is neither")
    return value


def _one_of(names: tuple[str, ...], value: Any) -> str:
    if value not in names:
        raise ValueError(f"something must be one of {', '.join(names)}")
    return str(value)
