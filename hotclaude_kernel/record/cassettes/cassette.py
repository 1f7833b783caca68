"""A cassette: the recorded turns of a notebook in a text file that can be committed beside it.

`nb.hotclaude.jsonl` has a header line, and then a line for each turn, sorted by key. With each turn
it has all turns before it. The same turns make the same bytes: the file has no time of day, no
session id, no folder. The fields of a frame keep their recorded order, because the page shows them
in it.
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

from ...claude.events import Usage
from ...claude.frames import dumps
from ...claude.parsing import parse
from ...errors import StoreError, StoreTooNew
from ...turns import identity
from ...turns.conditions import Conditions
from ...turns.prompt import Attachment, Prompt
from ...turns.settings import Settings
from ...turns.tape import kept, lines
from ...turns.tree import SNIPPET, Node
from ...turns.turn import UNREADABLE, Recorded
from . import archive

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import NoReturn

    from ...claude.frames import Frame
    from ..store import Store

    Line = dict[str, Any]

VERSION = 1
HEADER = {"hotclaude": "cassette", "v": VERSION}
STATUSES = ("ok", "error", "interrupted")
MOST = 2**53  # JSON readers that use doubles are exact up to here
OUTSIDE = ("/", "../", "~")  # how a path begins that leads out of the notebook's folder
SHA256 = re.compile("[0-9a-f]{64}")
MACHINE = "cwd"  # the setting that has a meaning on one machine only
_SURROGATE = re.compile("[\ud800-\udfff]")


def text_of(path: Path) -> str:
    """Return the text of a file. Raises `StoreError` if it can't be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise StoreError(f"The cassette {path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise StoreError(f"The cassette {path} can't be read: it is not UTF-8") from error


def digest(text: str) -> str:
    """Return the digest of a cassette's text as 32 hex digits; the record knows it by that."""
    return blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()


# --- writing ---------------------------------------------------------------------------------


def write(store: Store, nodes: Iterable[str]) -> str:
    """Return the text of the cassette of turns, given by their nodes, and of all turns before them.

    Raises `StoreError` if a turn is not recorded, or if its key or node does not fit its content.
    """
    pinned = set(_known(store, nodes))
    turns = [store.turn(node) for node in archive.lineage(store, pinned)]
    # Of several answers to one question, the last in this order is the one that replays.
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
    """Return a turn without the settings of this machine; its key is unchanged."""
    config = identity.servers_digest(turn.settings)
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
    """Return a turn as JSON values. Optional fields with their usual value are left out."""
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
    for name, files in (("files", turn.conditions.files), ("after", turn.conditions.after)):
        if portable := _portable_files(files):
            line[name] = portable
    if turn.pulled:
        line["pulled"] = turn.pulled
    if not turn.replays:
        line["replays"] = False
    return dict(sorted(line.items()))


def _portable_files(files: Mapping[str, str | None]) -> Line:
    """Return the files that mean the same on every machine: they exist, below the folder."""
    found = {path: sha256 for path, sha256 in files.items() if sha256 is not None}
    return {path: sha256 for path, sha256 in sorted(found.items()) if not path.startswith(OUTSIDE)}


def _changed(settings: Settings) -> Line:
    values = {spec.name: getattr(settings, spec.name) for spec in fields(settings)}
    changed = {s.name: values[s.name] for s in fields(settings) if values[s.name] != s.default}
    return dict(sorted(changed.items()))


def _attachment(image: Attachment) -> Line:
    data = base64.b64encode(image.data).decode("ascii")
    return {"data": data, "media_type": image.media_type, "name": image.name}


def milliseconds(seconds: float) -> float:
    """Round seconds to a millisecond that has the same hundredth.

    A footer shows hundredths. Rounding to milliseconds first could change the hundredth, so the
    neighbouring milliseconds are tried too.
    """
    nearest = (round(seconds + change, 3) for change in (0.0, 0.001, -0.001))
    return next(ms for ms in nearest if f"{ms:.2f}" == f"{seconds:.2f}")


def _json(value: Mapping[str, Any]) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # UTF-8 can't encode a lone surrogate (half an emoji), but JSON can escape it.
    return _SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", text)


# --- reading ---------------------------------------------------------------------------------


def load(store: Store, text: str) -> int:
    """Record the turns of a cassette that are not recorded yet; return how many there were.

    A cassette that was loaded before is skipped, by its digest. If any line is damaged, raises
    `StoreError` and records nothing.
    """
    name = digest(text)
    if archive.cassette_at(store, name) is not None:
        return 0
    return archive.add_cassette(store, name, read(text))


def read(text: str) -> list[Recorded]:
    """Return the turns of a cassette, each after the one that it follows.

    The key and the node of each turn are computed anew. Raises `StoreError`, which names the line,
    if they differ from those in the file or the line is damaged. Raises `StoreTooNew` if a newer
    hotclaude wrote the file.
    """
    header, *rows = text.split("\n")  # not splitlines: JSON may hold its other line separators
    _check(header)
    turns: dict[str, Recorded] = {}
    written: dict[str, int] = {}
    for number, row in enumerate(rows, 2):
        if row.strip():
            turn = _read(row, number)
            # A merge in git may have left the same turn twice.
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
        raise StoreTooNew("A newer hotclaude wrote the cassette", hint="Update hotclaude.")


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
        hint="None of its turns were. Get the file again from where it came from.",
    ) from error


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _turn(line: Line) -> Recorded:
    frames = [_frame(number, given) for number, given in enumerate(line["frames"], 1)]
    first = line["first_text_s"]
    turn = Recorded(
        node=_node(line),
        prompt=_prompt(line),
        settings=_settings(line["settings"]),
        cli=_text(line["cli"]),
        first_text_s=None if first is None else _number(first),
        total_s=_number(line["total_s"]),
        frames=b"".join(map(dumps, frames)),
        deltas=_deltas(line.get("deltas", {})),
        priced=_flag(line["priced"]),
        replays=_flag(line.get("replays", True)),
        pulled=_text(line.get("pulled", "")),
        conditions=Conditions(
            files=_files(line.get("files", {})), after=_files(line.get("after", {}))
        ),
    )
    if _flag(line["pure"]) != turn.pure:
        raise ValueError("`pure` does not follow from its frames")
    return turn


def _frame(number: int, given: Frame) -> Frame:
    """Return the recorded fields of a frame. Raises `ValueError` if no recording holds such."""
    if (frame := kept(given)) is None:
        raise ValueError(f"frame {number}: no recording holds a frame of its type")
    try:
        parse(frame)
    except UNREADABLE as error:
        raise ValueError(f"frame {number}: it can't be read ({error})") from error
    return frame


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
        raise ValueError("a setting that must be a list is not")
    return _count(value) if kind.startswith("int") else _text(value)


def _deltas(tracks: Any) -> bytes:
    """Return the times of the text as they are recorded. Raises `ValueError` on damaged ones."""
    for name, track in tracks.items():
        if not (name.isdecimal() and all(len([_count(n) for n in pair]) == 2 for pair in track)):
            raise ValueError("the times of its text are damaged")
    return json.dumps(tracks, separators=(",", ":")).encode() if tracks else b""


def _files(given: Any) -> dict[str, str | None]:
    """Return the digests of files. Raises `ValueError` for a path that leads out of the folder."""
    for path, sha256 in given.items():
        if _text(path).startswith(OUTSIDE) or ".." in path.split("/"):
            raise ValueError("a file lies outside the notebook's folder")
        if not SHA256.fullmatch(_text(sha256)):
            raise ValueError("the digest of a file is damaged")
    return dict(given)


def _image(line: Line) -> Attachment:
    return Attachment(
        name=_text(line["name"]),
        media_type=_text(line["media_type"]),
        data=base64.b64decode(_text(line["data"]), validate=True),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str) or _SURROGATE.search(value):
        raise ValueError("a field that must be a string is not")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MOST:
        raise ValueError("a field that must be a whole number is not, or is out of range")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= MOST or math.isnan(value):
        raise ValueError("a field that must be a number is not, or is out of range")
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("a field that must be true or false is neither")
    return value


def _one_of(names: tuple[str, ...], value: Any) -> str:
    if value not in names:
        raise ValueError(f"a field must be one of {', '.join(names)}")
    return str(value)
