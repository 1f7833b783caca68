"""The grammar of a turn's frames: all that a recording may hold, and in which order.

A recording is shown as an answer, and it may come from a stranger (a cassette). So it holds nothing
but what a turn of `claude` holds: content blocks, results of the tools that this turn used, the
user's decisions on these, notices of the binary, and one result at its end. A recording with
anything else is refused as a whole: by `Recorded.fault`, when a cassette is read or written, and by
`hotclaude verify`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..claude.frames import DECIDED
from .settings import PERMISSION_MODES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..claude.frames import Frame

# The content blocks of an answer. The page shows the first three, and those alone are told again.
SAID = frozenset({"text", "thinking", "tool_use"})
UNSHOWN = frozenset(
    {"redacted_thinking", "server_tool_use", "web_search_tool_result", "web_fetch_tool_result"}
)
# How a decision begins in words: see `questions.decide`.
DECISIONS = re.compile(r"(?:allowed|denied|approved|not approved|answered)\b[^\r\n]*")
# How the kernel's own notices begin. The binary has none that begins so.
OWN = (
    "Rewound before",
    "Resumed in a new process",
    "Goes on ",
    "Asked again",
    "Shown again",
    "Copied from",
    "Another notebook lay here",
    "Another kernel",
    "Neither recorded",
    "Other branches can't be shown",
    "What was written down",
    "Written down",
    "The answer is the same",
    "The transcript of these turns",
    "The turns so far are of",
    "Said in the background",
    "After an earlier cell",
    "hotclaude",
)


def fault(frames: Sequence[Frame]) -> str:
    """Return the first frame that no recording of a turn holds, and why; empty if there is none.

    Frames are counted from 1. Raises what `parse` raises if a frame has another shape than its
    type.
    """
    uses = dict(_uses(frames))
    turn = _Turn(uses)
    for number, frame in enumerate(frames, 1):
        if why := turn.take(frame):
            return f"frame {number}: {why}"
    return "" if turn.ended else "it has no result"


def _uses(frames: Sequence[Frame]) -> list[tuple[str, str | None]]:
    """Return the id of each tool use of a turn, and of the subagent's call that it belongs to."""
    return [
        (block.get("id"), frame.get("parent_tool_use_id"))
        for frame in frames
        if frame.get("type") == "assistant"
        for block in frame["message"]["content"]
        if block["type"] == "tool_use"
    ]


class _Turn:
    """What a turn's frames have said so far; `uses` are its tool uses."""

    def __init__(self, uses: dict[str, str | None]) -> None:
        self.ended = False
        self._uses = uses
        self._made: set[str] = set()  # the tool uses so far
        self._returned: set[str] = set()  # those that have a result
        self._kinds: dict[str, Callable[[Frame], str]] = {
            "assistant": self._said,
            "user": self._results,
            "system": self._told,
            "rate_limit_event": _limit,
            "result": self._end,
            DECIDED: self._decided,
        }

    def take(self, frame: Frame) -> str:
        """Take the next frame; return why it can't be one of the turn, empty if it can."""
        if self.ended:
            return "it comes after the turn's result"
        check = self._kinds.get(frame["type"])
        return check(frame) if check else f"no recording holds a frame of type {frame['type']}"

    def _said(self, frame: Frame) -> str:
        message = frame["message"]
        if message.get("role", "assistant") != "assistant":
            return "an answer is not the assistant's"
        if self._unknown(frame.get("parent_tool_use_id")):
            return "it is of a subagent that this turn did not start"
        for block in message["content"]:
            kind = block["type"]
            if kind not in SAID | UNSHOWN:
                return f"an answer holds no {kind}"
            if kind in ("text", "thinking") and not isinstance(block[kind], str):
                return f"its {kind} is none"
            if kind == "tool_use":
                if not all(isinstance(block.get(name), str) for name in ("id", "name")):
                    return "a tool use has no id or no name"
                self._made.add(block["id"])
        return ""

    def _results(self, frame: Frame) -> str:
        content = frame["message"]["content"]
        if frame["message"].get("role", "user") != "user" or frame.get("isReplay"):
            return "it is no tool's result"
        if not isinstance(content, list) or not content:
            return "a user's message holds something else than results of tools"
        for block in content:
            if block["type"] != "tool_result":
                return "a user's message holds something else than results of tools"
            use = block["tool_use_id"]
            if use not in self._made or use in self._returned:
                return "a result is of no tool use of this turn, or a second one"
            if frame.get("parent_tool_use_id") != self._uses[use]:
                return "a result is of another subagent than its tool use"
            if not _plain(block.get("content")):
                return "a result is neither text nor blocks"
            self._returned.add(use)
        return ""

    def _told(self, frame: Frame) -> str:
        match frame.get("subtype"):
            case "init" | "compact_boundary":
                return ""
            case "status":
                return (
                    "" if frame["permissionMode"] in PERMISSION_MODES else "there is no such mode"
                )
            case "model_fallback" | "informational" | "permission_denied":
                return _notice(frame, "content", "message", "tool_name")
            case "task_notification":
                return _notice(frame, "summary", "status")
        return f"no recording holds a frame of type system, {frame.get('subtype')}"

    def _decided(self, frame: Frame) -> str:
        if frame["id"] not in self._uses:
            return "a decision is on no tool use of this turn"
        if not DECISIONS.fullmatch(frame["decision"]):
            return "a decision is none that a user can make"
        return ""

    def _end(self, frame: Frame) -> str:
        self.ended = True
        return ""

    def _unknown(self, parent: Any) -> bool:
        return parent is not None and parent not in self._made


def _plain(content: Any) -> bool:
    if content is None or isinstance(content, str):
        return True
    return isinstance(content, list) and all(isinstance(block["type"], str) for block in content)


def _notice(frame: Frame, *fields: str) -> str:
    for name in fields:
        text = frame.get(name, "")
        if not isinstance(text, str):
            return "a notice is no text"
        if text.lstrip().startswith(OWN):
            return "a notice speaks as hotclaude"
    return ""


def _limit(frame: Frame) -> str:
    info = frame.get("rate_limit_info", {})
    texts = [info.get(name, "") for name in ("status", "rateLimitType")]
    return "" if all(isinstance(text, str) for text in texts) else "a limit has no name"
