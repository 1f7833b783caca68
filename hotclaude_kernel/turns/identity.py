"""The identity of a turn: its *key* is a digest of the question, its *node* also of the answer.

A turn's key includes the node of the turn before it. So if a turn gets another answer, all turns
after it get other keys. The hashed JSON is a contract: a change needs a new tag (`turn.v2`), or
every stored digest is void.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from hashlib import blake2b, sha256
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..claude.events import Block, Result, ToolResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ..claude.events import Event
    from ..claude.frames import Frame
    from .prompt import Prompt
    from .settings import Settings

NOISE = frozenset({"signature", "cache_control", "caller"})  # fields of a block, not its content
SECRET = frozenset({"env", "headers"})  # fields of an MCP server whose values are secret
DIGESTED = "mcp.v1:"  # prefix of a digest that replaces an MCP configuration where it is recorded


def digest(tag: str, value: Any) -> str:
    """Return the digest of a JSON value as 32 hex digits; `tag` names its kind and version.

    It is the blake2b of the canonical JSON of `[tag, value]`: keys sorted, no spaces, UTF-8. A
    value keeps its digest when it is saved as JSON and loaded again. NaN and infinity raise
    `ValueError`.
    """
    return blake2b(_canonical([tag, value]), digest_size=16).hexdigest()


def _canonical(value: Any) -> bytes:
    compact = (",", ":")
    text = json.dumps(
        value, sort_keys=True, separators=compact, ensure_ascii=False, allow_nan=False
    )
    try:
        return text.encode()
    except UnicodeEncodeError:
        # UTF-8 can't encode a lone surrogate (half an emoji), so its escape is hashed. Two halves
        # side by side are joined to the character, as JSON readers do.
        joined = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        return joined.encode(errors="backslashreplace")


class Key(NamedTuple):
    """Two digests of a question: `turn` covers all of it, `settings` only the keyed settings.

    They are computed once, when the turn is asked: a file that the settings name may change later.
    """

    turn: str
    settings: str


def key_of(*, parent: str | None, prompt: Prompt, settings: Settings, sample: int = 0) -> Key:
    """Return the key of a turn that asks `prompt` after the node `parent`.

    `sample` numbers the repetitions of one question, from 0. The cell, the names of attachments,
    CRLF in place of LF, and one newline at the end do not change the key.
    """
    text = prompt.text.replace("\r\n", "\n").removesuffix("\n")
    asked: dict[str, Any] = {"prompt": digest("prompt.v1", text)}
    asked["settings"] = settings_digest(settings)
    # Absent parts are left out. So a new kind of part changes no key of a turn that lacks it.
    if parent is not None:
        asked["parent"] = parent
    if images := prompt.attachments:
        asked["attachments"] = [[i.media_type, sha256(i.data).hexdigest()] for i in images]
    if sample:
        asked["sample"] = sample
    return Key(digest("turn.v1", asked), asked["settings"])


def turn_key(*, parent: str | None, prompt: Prompt, settings: Settings, sample: int = 0) -> str:
    """Return the digest of a turn's whole question; see `key_of`."""
    return key_of(parent=parent, prompt=prompt, settings=settings, sample=sample).turn


def settings_digest(settings: Settings) -> str:
    """Return the digest of the keyed settings: their part of a turn's key."""
    return digest("settings.v1", settings_values(settings))


def settings_name(settings: Settings) -> str:
    """Return the digest that names settings in the record. It covers all, keyed or not."""
    return blake2b(settings_json(settings).encode(), digest_size=16).hexdigest()


def settings_json(settings: Settings) -> str:
    """Return settings as the JSON that is recorded, sealed."""
    return json.dumps(asdict(sealed(settings)), sort_keys=True, separators=(",", ":"))


def sealed(settings: Settings) -> Settings:
    """Return settings as they are recorded: a digest in place of MCP servers given as JSON.

    Their `env` and `headers`, `args` and addresses may hold keys. The turn's key stays the same. A
    path to a configuration stays as it is.
    """
    config = settings.mcp_config
    if config is None or not config.lstrip().startswith("{"):
        return settings
    return settings.changed(mcp_config=servers_digest(settings))


def servers_digest(settings: Settings) -> str | None:
    """Return the digest that stands for the MCP servers of settings, `None` if none are set."""
    if settings.mcp_config is None:
        return None
    return DIGESTED + _mcp_digest(_content(settings.mcp_config, settings.cwd))


def settings_values(settings: Settings) -> dict[str, Any]:
    """Return the settings that are part of a turn's identity, as JSON values by field name.

    Unset settings are left out, by the rule of `Settings.argv`. So a new field whose default is
    `None` or `()` changes no key until it is used.
    """
    values: dict[str, Any] = {}
    for spec in fields(settings):
        value = getattr(settings, spec.name)
        unset = value is None or value == spec.default == ()
        if spec.metadata["key"] and not unset:
            values[spec.name] = _setting(spec.name, value, settings.cwd)
    return values


def _setting(name: str, value: Any, cwd: str | None) -> Any:
    match name:
        case "tools" | "allowed_tools":
            return sorted(set(value))
        case "mcp_config":
            return _mcp_digest(_content(value, cwd))
    return list(value) if isinstance(value, tuple) else value


def _content(value: str, cwd: str | None) -> str:
    """Return the text of the file at `value`, a path from `cwd`; `value` if it is no file."""
    path = Path(cwd or "") / value
    try:
        # Bytes that are not UTF-8 become lone surrogates, which `digest` accepts.
        return path.read_text("utf-8-sig", "surrogateescape") if path.is_file() else value
    except OSError:  # not readable, or JSON that is too long for a path
        return value


def _mcp_digest(text: str) -> str:
    """Return the digest of the servers in an MCP configuration, without their secrets.

    A text that is no configuration is hashed whole: the binary refuses it, so no turn is asked with
    it. A turn from a cassette has the digest already, in place of the text (see `DIGESTED`).
    """
    if text.startswith(DIGESTED):
        return text.removeprefix(DIGESTED)
    try:
        servers = json.loads(text)["mcpServers"]
        public = {name: _without_secrets(server) for name, server in servers.items()}
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return digest("mcp.v1", text)
    return digest("mcp.v1", public)


def _without_secrets(server: Frame) -> Frame:
    """Return a server with the names of its variables and headers, without their values."""
    return server | {name: sorted(server[name] or ()) for name in SECRET & server.keys()}


def node_digest(key: str, response: Any, pulled: str = "") -> str:
    """Return the node of a turn: the digest of its key, its canonical response, and its files.

    `pulled` is the digest of the files that the prompt pulled in, see `files_digest`. Without it,
    two turns that read other files and got the same answer would be one, with one transcript.
    """
    files = {"files": pulled} if pulled else {}
    return digest("node.v1", {"key": key, "response": response, **files})


def files_digest(files: Mapping[str, str | None]) -> str:
    """Return the digest of the files that a prompt pulled in, "" if none of them existed.

    `files` maps paths to the sha256 of their content, `None` if there was no such file.
    """
    found = {path: sha256 for path, sha256 in files.items() if sha256 is not None}
    return digest("files.v1", found) if found else ""


def canonical_response(events: Iterable[Event]) -> list[Any]:
    """Return the events of a turn as JSON values that depend on neither timing nor ids.

    Tool uses are numbered t1, t2…; all other ids are left out. The tool calls of one message run in
    parallel and return in any order. Here the subagent and the results of each call follow the
    message, in the order of the calls. Error messages of the binary are left out.
    """
    return list(_Response(events).entries())


class _Response:
    """The blocks and results of a turn, grouped by the tool use that they belong to."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._blocks: dict[str | None, list[Block]] = {}  # `None` for the main conversation
        self._results: dict[str, list[ToolResult]] = {}
        self._stop: list[Frame] = []
        self._numbers: dict[str, str] = {}
        for event in events:
            match event:
                case Block(error=None):
                    self._blocks.setdefault(event.parent, []).append(event)
                case ToolResult():
                    self._results.setdefault(event.tool_use_id, []).append(event)
                case Result():
                    self._stop = [{"type": "stop", "stop_reason": event.stop_reason}]

    def entries(self) -> Iterator[Frame]:
        # Blocks and results of no call in this turn, such as an older task's, come last.
        for agent in [None, *self._blocks]:
            yield from self._with_agents(agent)
        yield from map(self._returned, chain.from_iterable(self._results.values()))
        yield from self._stop

    def _with_agents(self, agent: str | None) -> Iterator[Frame]:
        """Yield what an agent said, and what its subagents said where it called them.

        Agents are kept in a list, and not by recursion: they may be nested to any depth.
        """
        speaking = [self._said_by(agent)]
        while speaking:
            match next(speaking[-1], None):
                case None:
                    speaking.pop()
                case str(call):
                    speaking.append(self._said_by(call))
                case dict(entry):
                    yield entry

    def _said_by(self, agent: str | None) -> Iterator[Frame | str]:
        """Yield the entries of an agent, and the id of each call before what it returned."""
        blocks = self._blocks.pop(agent, [])
        # Group by message: a call may return before its message ends.
        for _, message in groupby(blocks, key=lambda block: block.message_id or block.uuid):
            said = list(message)
            yield from map(self._said, said)
            calls = [block.content.get("id") for block in said]
            for call in [call for call in calls if isinstance(call, str)]:
                yield call
                yield from map(self._returned, self._results.pop(call, []))

    def _said(self, block: Block) -> Frame:
        return {"type": block.kind, **self._block(block), **self._below(block.parent)}

    def _block(self, block: Block) -> Frame:
        match block.kind:
            case "text" | "thinking":
                return {block.kind: block.text}
            case "redacted_thinking":  # encrypted: the same thinking has another text each time
                return {}
        kept = {n: v for n, v in block.content.items() if n not in NOISE and v is not None}
        return {n: self._id(v) if n in ("id", "tool_use_id") else v for n, v in kept.items()}

    def _returned(self, result: ToolResult) -> Frame:
        of_call = {"type": "tool_result", "tool_use_id": self._id(result.tool_use_id)}
        error = {"is_error": True} if result.is_error else {}
        shown = [[kind, digest("picture.v1", data)] for kind, data in result.pictures]
        pictures = {"pictures": shown} if shown else {}
        return {**of_call, "text": result.text, **error, **pictures, **self._below(result.parent)}

    def _below(self, agent: str | None) -> Frame:
        return {} if agent is None else {"parent": self._id(agent)}

    def _id(self, tool_use_id: str) -> str:
        return self._numbers.setdefault(tool_use_id, f"t{len(self._numbers) + 1}")
