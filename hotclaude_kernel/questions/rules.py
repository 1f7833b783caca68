"""Rules of a session: which one a call offers, and which calls a rule allows.

hotclaude keeps the rules, and answers each call that one of them allows. `claude` is given none:
the rules that it suggests can allow more than they say. With `Bash(python -)`, which it suggests
for a script on standard input, it runs any other script. It would also keep its rules after a
rewind, and it doesn't tell which rule allowed a call.

A rule is offered only if its text says all that it allows, and if `claude` suggests one for the
call, too. It asks for some calls whatever the rules are; for those it suggests none.
"""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from msgspec import Struct

from ..page.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..claude.frames import Frame
    from ..claude.session import PermissionRequest

# "Allow … for this session" has to fit on a button.
MOST_CHARACTERS = 72
# The reasons to ask that a rule can answer. The others are for the user: a safety check, a mode, a
# rule or hook of the user's that says "ask". A reason that is not known here is for the user, too.
REASONS = ("", "other", "subcommandResults", "workingDir")
CHANGING = ("Edit", "MultiEdit", "NotebookEdit", "Write")
READING = {"Read": "file_path", "Grep": "path"}
# The input of a Bash call that can be allowed by a rule: all other fields change what it may do.
BASH_INPUT = {"command", "description", "timeout"}
# A command that consists of these is one command and its words: the shell expands nothing, writes
# no file and starts no other command.
PLAIN = re.compile(r"[A-Za-z0-9_ ./:=@%+,\"'-]+")


class Rule(Struct, frozen=True):
    """What the user allows for a session; `kind` says how a call is compared with `value`.

    - `command`: this command line, where `claude` names the path `where` (or none).
    - `commands`: commands that begin with these words, which reach no path outside the folder.
    - `changes`: any change of the file at this path.
    - `reading`: reading files in this folder, at any depth.
    - `fetching`: fetching pages from this host.
    - `tool`: any call of this tool.
    """

    kind: str
    value: str
    where: str = ""
    name: str = ""  # of a file: its path as it is shown

    @property
    def text(self) -> str:
        """All that the rule allows, in words: "Allow … for this session"."""
        match self.kind:
            case "commands":
                return f"`{self.value} *`"
            case "changes":
                return f"changes to `{self.name}`"
            case "reading":
                return f"reading in `{self.value}` and its subfolders"
            case "fetching":
                return f"fetching from `{self.value}`"
            case "tool":
                return f"`{self.value}` with any input"
        return f"`{self.value}`"


def offered(request: PermissionRequest, folder: str) -> Rule | None:
    """Return the rule that the user may allow in answer to a request, `None` if none is honest.

    `folder` is the absolute path of the folder that `claude` works in.
    """
    rule = _rule(request, folder)
    if rule is None or not _legible(rule) or not allows(rule, request, folder):
        return None
    return rule


def allows(rule: Rule, request: PermissionRequest, folder: str) -> bool:
    """Return whether a rule allows a call."""
    if not _can_be_ruled(request):
        return False
    tool, given = request.tool_name, request.tool_input
    match rule.kind:
        case "command":
            same = _command(request) == rule.value and request.blocked_path == rule.where
            return same and bool(_suggested(request, "Bash"))
        case "commands":
            inside = _inside(str(Path(folder, request.blocked_path)), folder)
            return inside and bool(_suggested(request, "Bash")) and _begins(request, rule.value)
        case "changes":
            return tool in CHANGING and _changed(request, folder) == rule.value
        case "reading":
            path = _field(request, READING.get(tool, ""))
            return bool(path) and _inside(str(Path(folder, path)), rule.value)
        case "fetching":
            return tool == "WebFetch" and _host(str(given.get("url"))) == rule.value
        case "tool":
            return tool == rule.value and "" in _suggested(request, tool)
    return False


def _can_be_ruled(request: PermissionRequest) -> bool:
    """Whether a rule may answer the request at all, rather than the user."""
    if request.needs_user or request.unruled or request.reason_type not in REASONS:
        return False
    return bool(request.suggestions)


def _rule(request: PermissionRequest, folder: str) -> Rule | None:
    tool = request.tool_name
    suggested = _suggested(request, "Read" if tool in READING else tool)
    if tool == "Bash":
        return _bash_rule(request, suggested, folder)
    if tool in CHANGING:
        path = _changed(request, folder)
        shown = os.path.relpath(path, folder) if path and _inside(path, folder) else path
        return Rule("changes", path, name=shown) if path else None
    if len(suggested) != 1:
        return None
    [content] = suggested
    if tool in READING:
        # `//` begins an absolute path in a rule of claude's, `/` one that is relative to settings.
        read = content.startswith("//") and content.endswith("/**")
        inner = content[1:].removesuffix("/**")
        return Rule("reading", inner) if read and len(inner) > 1 else None
    if tool == "WebFetch":
        return Rule("fetching", content.removeprefix("domain:"))
    whole = tool == "WebSearch" or tool.startswith("mcp__")
    return Rule("tool", tool) if whole and not content else None


def _bash_rule(request: PermissionRequest, suggested: list[str], folder: str) -> Rule | None:
    command = _command(request)
    # With a `*` of its own, a command line would read like a rule for many.
    if not command or "*" in command or not suggested or "" in suggested:
        return None
    [first, *others] = suggested
    words = first.removesuffix(" *").removesuffix(":*")
    many = Rule("commands", words)
    if words != first and not others and "*" not in words and allows(many, request, folder):
        return many
    return Rule("command", command, request.blocked_path)


def _suggested(request: PermissionRequest, tool: str) -> list[str]:
    """Return the contents of the rules that `claude` suggests for a tool; "" is all of the tool."""
    return [content for name, content in _suggestions(request) if name == tool]


def _suggestions(request: PermissionRequest) -> Iterator[tuple[str, str]]:
    for suggestion in _frames(request.suggestions):
        if suggestion.get("type") == "addRules" and suggestion.get("behavior") == "allow":
            for rule in _frames(suggestion.get("rules")):
                yield str(rule.get("toolName")), str(rule.get("ruleContent") or "")


def _frames(values: Any) -> list[Frame]:
    listed = values if isinstance(values, list | tuple) else ()
    return [value for value in listed if isinstance(value, dict)]


def _field(request: PermissionRequest, name: str) -> str:
    value = request.tool_input.get(name)
    return value if isinstance(value, str) else ""


def _command(request: PermissionRequest) -> str:
    """Return a Bash call's command; empty if the call has more to it than a command."""
    if request.tool_name != "Bash" or not set(request.tool_input) <= BASH_INPUT:
        return ""
    return _field(request, "command")


def _begins(request: PermissionRequest, words: str) -> bool:
    command = _command(request)
    return bool(PLAIN.fullmatch(command)) and f"{command} ".startswith(f"{words} ")


def _changed(request: PermissionRequest, folder: str) -> str:
    """Return the real path of the file that a call changes."""
    path = _field(request, "file_path") or _field(request, "notebook_path")
    return _real(Path(folder, path)) if path else ""


def _inside(path: str, folder: str) -> bool:
    """Return whether a path is inside a folder, both as it is written and by its links."""
    written = os.path.normpath(path), os.path.normpath(folder)
    real = _real(path), _real(folder)
    return all(all(pair) and os.path.commonpath(pair) == pair[1] for pair in (written, real))


def _real(path: str | Path) -> str:
    """Return the path that a path leads to by its links; empty if no file can have it."""
    try:
        return os.path.realpath(path)
    except ValueError:  # with a null character or a lone surrogate
        return ""


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        return parts.hostname or "" if parts.scheme in ("http", "https") else ""
    except ValueError:
        return ""


def _legible(rule: Rule) -> bool:
    """Whether a button and a table show the rule whole, in its order, and with nothing of ours."""
    told = rule.name or rule.value
    turned = any(unicodedata.bidirectional(sign) in ("R", "AL", "AN") for sign in told)
    plain = visible(told) == told == " ".join(told.split()) and not set(told) & set("`\\")
    return plain and not turned and len(rule.text) <= MOST_CHARACTERS
