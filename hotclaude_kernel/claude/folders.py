"""What a folder brings: its files are read, what acts in them is listed, and the user trusts it.

What *acts* can run a command, start a server, change the environment or send something elsewhere.
All else is text for Claude. The digest of a file is made of what acts in it, so neither a text nor
the permissions that `claude` writes itself change it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from typing import Any, NamedTuple

from . import trust
from .private import write_private

MOST_BYTES = 1_000_000  # of a file that is looked through
SHELL = re.compile(r"!`([^`]*)`")
BLOCK = "```!"
# Fields of a command, skill or agent by which it acts without a `!` in its text.
FIELDS = re.compile(
    r"^\s*[\"']?(?:hooks|mcpServers|allowed-tools|permissionMode)[\"']?\s*:.*", re.M
)
# The lines of a head (front matter) in which each field is named at the beginning of a line. YAML
# can name fields in other ways: in braces, in quotes with escapes, behind a `?` or a tag.
PLAIN = re.compile(r"\s*(?:#.*)?|[A-Za-z][\w-]*[ \t]*:(?:\s.*)?|-(?:\s.*)?")
BREAKS = re.compile("\r\n?|[\x85\u2028\u2029]")
TEXTS = ("CLAUDE.md", "CLAUDE.local.md", ".claude/CLAUDE.md")
TEXT_FOLDERS = (".claude/rules", ".claude/output-styles")

# Settings that run nothing and send nothing. Any that is not listed counts as one that acts.
# Without its own trust, `claude` ignores the folder's permissions; it also writes them itself.
HARMLESS = frozenset((
    "$schema", "alwaysThinkingEnabled", "attribution", "autoCompactEnabled", "cleanupPeriodDays",
    "companyAnnouncements", "disabledMcpjsonServers", "effortLevel", "enableAllProjectMcpServers",
    "enabledMcpjsonServers", "fastMode", "includeCoAuthoredBy", "includeGitInstructions",
    "language", "model", "outputStyle", "permissions", "plansDirectory", "prefersReducedMotion",
    "respectGitignore", "showThinkingSummaries", "showTurnDuration", "spinnerTipsEnabled",
    "spinnerTipsOverride", "spinnerVerbs", "theme", "todoFeatureEnabled", "verbose",
))  # fmt: skip


class Act(NamedTuple):
    """One thing that acts: what kind it is, what it would run or set, and the file it is from."""

    kind: str
    does: str
    path: str


class Look(NamedTuple):
    """What was seen of a folder: whether it is trusted, and by whom; what acts; what is text.

    `acts` are those that no trust covers yet, and `files` has all of their files. `digest` names
    them as a whole. `commands` are the names of its commands and skills. `changed` says that an
    earlier trust does not cover them. `servers` is the file of the user's own servers for an
    untrusted folder.
    """

    ground: trust.Ground
    trusted: bool
    by: str
    acts: tuple[Act, ...]
    texts: tuple[str, ...]
    files: trust.Files
    digest: str
    commands: frozenset[str]
    home: bool
    changed: bool
    servers: str


class Folders:
    """The folders in which a kernel's processes start, and whether each is trusted.

    `look` reads and is for threads; `withheld` tells what was seen last, at once.
    """

    def __init__(self, said: trust.Policy | None = None) -> None:
        self.said = said or trust.policy(os.environ.get(trust.TRUST_ENV))
        self._seen: dict[str, tuple[tuple[str, ...], Look]] = {}
        self._read: dict[str, tuple[str, str, tuple[Act, ...]]] = {}
        self._here: dict[str, trust.Files] = {}  # trusted in this kernel, if it can't be written
        self._lock = threading.Lock()

    def withheld(self, folder: str) -> bool:
        """Return whether a process that starts in a folder now must leave it out.

        A folder that was not looked at is left out.
        """
        seen = self._seen.get(folder)
        return seen is None or not seen[1].trusted

    def seen(self, folder: str) -> Look | None:
        """Return what was seen of a folder last."""
        seen = self._seen.get(folder)
        return seen[1] if seen else None

    def look(self, folder: str) -> Look:
        """Look at a folder, and read those of its files that have changed; blocks."""
        with self._lock:
            ground = trust.Ground(folder)
            paths = trust.candidates(ground) if self.said.kind != trust.ALWAYS else []
            texts = _texts(ground)
            state = (trust.trust_file(), trust.configuration_file())
            where = (ground.folder, ground.key)  # a link in the path may lead elsewhere by now
            stamp = (*where, *paths, *texts, *map(trust.signature, (*paths, *state)))
            seen = self._seen.get(folder)
            if seen is None or seen[0] != stamp:
                seen = self._seen[folder] = (stamp, self._judge(ground, paths, texts))
            return seen[1]

    def _judge(self, ground: trust.Ground, paths: list[str], texts: list[str]) -> Look:
        noted = trust.projects()
        covers = trust.covering(ground, self.said, noted)
        entry = None
        if self.said.kind != trust.NEVER:
            entry = self._here.get(ground.key, trust.kept(ground.key))
        found = {path: self._found(path) for path in paths}
        files = {path: [digest, mark] for path, (mark, digest, _) in found.items()}
        open_ = [path for path in paths if not trust.is_covered(path, covers)]
        known = entry or {}
        new = [path for path in open_ if found[path][1] not in ("", known.get(path, [""])[0])]
        trusted = not new and (entry is not None or bool(covers))
        if trusted and entry is not None and any(known.get(p) != files[p] for p in open_):
            self._keep(ground.key, {path: files[path] for path in open_})  # for a quick start
        servers = {} if trusted else trust.local_servers(ground, noted)
        plain = [path for path in paths if not found[path][1]]
        return Look(
            ground=ground,
            trusted=trusted,
            by=_by(self.said, ground, covers) if trusted else "",
            acts=tuple(act for path in new for act in found[path][2]),
            texts=(*(_short(path, ground) for path in texts), *_counted(plain)),
            files={path: files[path] for path in open_},
            digest=_digest([(path, found[path][1]) for path in new]),
            commands=frozenset(name for path in paths for name in _called(path)),
            home=trust.is_home(ground),
            changed=bool(entry) and bool(new),
            servers=trust.hand_over(ground.key, servers) if servers else "",
        )

    def _found(self, path: str) -> tuple[str, str, tuple[Act, ...]]:
        mark = trust.signature(path)
        known = self._read.get(path)
        if known is None or known[0] != mark or not mark:
            known = self._read[path] = (mark, *read(path))
        return known

    def accept(self, look: Look) -> str:
        """Trust a folder with what was seen of it; return why it holds in this kernel only.

        The reason is empty if the trust was written.
        """
        with self._lock:
            key = look.ground.key
            self._seen = {at: seen for at, seen in self._seen.items() if seen[1].ground.key != key}
            return self._keep(key, look.files)

    def _keep(self, key: str, files: trust.Files) -> str:
        try:
            keep(key, files)
        except OSError as error:
            self._here[key] = {**self._here.get(key, {}), **files}
            return error.strerror or str(error)
        return ""


def keep(key: str, files: trust.Files) -> None:
    """Add files to what the user trusts under a key; those that are gone are left out.

    Kernels that write at the same time wait for each other. Raises `OSError`.
    """
    import fcntl

    path = trust.trust_file()
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folders = trust.all_kept()
        old = {name: pair for name, pair in folders.get(key, {}).items() if os.path.isfile(name)}
        folders[key] = {**old, **files}
        told = {name: {"files": entry} for name, entry in sorted(folders.items())}
        data = json.dumps({"version": 1, "folders": told}, indent=1, sort_keys=True)
        write_private(path, data.encode())
    finally:
        os.close(lock)


def _by(said: trust.Policy, ground: trust.Ground, covers: list[str]) -> str:
    if said.kind == trust.ALWAYS or any(name in covers for name in said.folders):
        return "by the kernel's configuration"
    if not covers:
        return "by you"
    return "it is your home folder" if trust.is_home(ground) else "in Claude Code"


def _digest(pairs: list[tuple[str, str]]) -> str:
    return hashlib.sha256(json.dumps(pairs).encode()).hexdigest() if pairs else ""


# --- texts -----------------------------------------------------------------------------------


def _texts(ground: trust.Ground) -> list[str]:
    """Return the instructions of the folder and those above it; the user's own are none."""
    own = os.path.realpath(trust.config_folder())
    found = []
    place = ground.folder
    while True:
        for name in TEXTS:
            path = os.path.join(place, name)
            if os.path.isfile(path) and not trust.is_below(os.path.realpath(path), own):
                found.append(path)
        for name in TEXT_FOLDERS:
            path = os.path.join(place, name)
            if os.path.isdir(path) and not trust.is_below(os.path.realpath(path), own):
                found.append(path)
        above = os.path.dirname(place)
        if above == place:
            return found
        place = above


def _short(path: str, ground: trust.Ground) -> str:
    return os.path.relpath(path, ground.folder)


def _counted(paths: list[str]) -> list[str]:
    """Return how many commands, skills, agents and settings there are, in words."""
    kinds = [_kind(path) for path in paths]
    named = [kind for kind in kinds if kind]
    return [
        f"{named.count(kind)} {kind}{'s' if named.count(kind) > 1 and kind != 'settings' else ''}"
        for kind in dict.fromkeys(named)
    ]


def _kind(path: str) -> str:
    parts = path.split(f"{os.sep}{trust.DOTS}{os.sep}")[-1].split(os.sep)
    if len(parts) == 1:
        return "settings" if parts[0] in (trust.SETTINGS, trust.LOCAL) else ""
    if parts[0] == "skills" and parts[-1] != "SKILL.md":
        return ""  # a text that belongs to a skill
    return parts[0].rstrip("s")


# --- what acts -------------------------------------------------------------------------------


def read(path: str) -> tuple[str, tuple[Act, ...]]:
    """Return the digest of what acts in a file, and what it is; both empty for mere text."""
    if path == trust.TOO_MANY:
        text = f"more than {trust.MOST_ENTRIES:,} files, which were not looked through"
        return "too many", (Act("files", text, ""),)
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
            if len(data) > MOST_BYTES:
                file.seek(0)
                whole = hashlib.file_digest(file, "sha256").hexdigest()
                return whole, (Act("file", "too long to be looked through", path),)
    except OSError as error:
        return f"unread {trust.signature(path)}", (Act("file", str(error.strerror), path),)
    try:
        acts, part = _acting(path, data)
    except RecursionError:
        acts, part = [Act("file", "nested too deep to be read", path)], data
    return (hashlib.sha256(part).hexdigest(), tuple(acts)) if acts else ("", ())


def _acting(path: str, data: bytes) -> tuple[list[Act], bytes]:
    """Return what acts in a file, and the part of its content that says so."""
    name = os.path.basename(path)
    if name in (trust.SETTINGS, trust.LOCAL, trust.SERVERS):
        try:
            content = json.loads(data)
        except ValueError:
            return [Act("file", "can't be read as JSON", path)], data
        return _servers(path, content, data) if name == trust.SERVERS else _settings(path, content)
    if not name.endswith(".md"):
        return [Act("file", _line(data), path)], data
    text = BREAKS.sub("\n", data.decode("utf-8-sig", "replace"))
    if "\0" in text:
        return [Act("file", "no plain text", path)], data
    acts = [Act(_caller(path), run, path) for run in SHELL.findall(text)]
    if BLOCK in text:
        acts.append(Act(_caller(path), text[text.index(BLOCK) + len(BLOCK) :].strip(), path))
    acts += [Act(_caller(path), line.strip(), path) for line in FIELDS.findall(text)]
    return acts or [Act(_caller(path), line, path) for line in _unclear(text)], data


def _unclear(text: str) -> list[str]:
    """Return the lines of a Markdown file's head that may name a field in an unusual way."""
    first, *lines = text.lstrip().split("\n")
    if not first.startswith("---"):
        return []
    unclear, named = [], False
    for line in lines:
        if line.startswith("---"):
            break
        inner = line.startswith((" ", "\t")) and named  # it belongs to the field above
        if not (inner or PLAIN.fullmatch(line)):
            unclear.append(line.strip())
        named |= bool(line.strip()) and not line.startswith((" ", "\t", "#"))
    return unclear


def _caller(path: str) -> str:
    """Return how a command, skill or agent is called."""
    inside = path.split(f"{os.sep}{trust.DOTS}{os.sep}")[-1].split(os.sep)
    named = inside[1:-1] if inside[-1] == "SKILL.md" else [*inside[1:-1], inside[-1][:-3]]
    return f"{inside[0].rstrip('s')} {':'.join(named)}"


def _called(path: str) -> tuple[str, ...]:
    """Return the names by which a command or skill can be called; none for other files."""
    kind, _, name = _caller(path).partition(" ") if path.endswith(".md") else ("", "", "")
    return (name, name.rpartition(":")[2]) if kind in ("command", "skill") else ()


def _line(data: bytes) -> str:
    return data.decode("utf-8", "replace").strip()


def _servers(path: str, content: Any, data: bytes) -> tuple[list[Act], bytes]:
    servers = content.get("mcpServers", {}) if isinstance(content, dict) else content
    if not isinstance(servers, dict):
        return [Act("file", "of an unknown shape", path)], data
    acts = [Act(f"server {name}", _command(server), path) for name, server in servers.items()]
    return acts, _canonical(servers)


def _settings(path: str, content: Any) -> tuple[list[Act], bytes]:
    if not isinstance(content, dict):
        return [], b""  # `claude` refuses it
    acts: list[Act] = []
    for name, value in content.items():
        if name in HARMLESS or value in (None, {}, [], ""):
            continue
        if name == "hooks" and isinstance(value, dict):
            acts += [
                Act(f"hook {event}", command, path)
                for event, groups in value.items()
                for command in _commands(groups)
            ]
        elif name == "env" and isinstance(value, dict):
            acts += [Act("env", f"{key}={text}", path) for key, text in value.items()]
        else:
            acts.append(Act(name, _command(value), path))
    left = {name: value for name, value in content.items() if name not in HARMLESS}
    return acts, _canonical(left)


def _commands(value: Any) -> list[str]:
    """Return the commands of a hook's groups; the whole as JSON if it is of another shape."""
    try:
        hooks = [hook for group in value for hook in group["hooks"]]
        return [_command(hook) for hook in hooks]
    except (TypeError, LookupError):
        return [_command(value)]


def _command(value: Any) -> str:
    """Return what a hook, helper or server runs, and what else it has, as text."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and isinstance(value.get("command"), str):
        args = value.get("args")
        words = [value["command"], *(map(str, args) if isinstance(args, list) else ())]
        rest = {k: v for k, v in value.items() if k not in ("type", "command", "args")}
        return " ".join(words) + (f" {json.dumps(rest, ensure_ascii=False)}" if rest else "")
    return json.dumps(value, ensure_ascii=False)


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
