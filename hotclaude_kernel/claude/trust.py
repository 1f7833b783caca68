"""Whose folder this is: until the user trusts a folder, nothing of it is loaded, run or sent.

A folder's own settings, hooks, servers, commands and instructions count only once it is trusted,
and so do those of the folders above it. Until then `claude` starts with `--setting-sources user`.
That is decided at each start for the folder of that start, and is no setting: no record, notebook
or `%` line can change it.

`quick` decides before the process is spawned. It lists names, compares times and sizes, and reads
two small files. `folders` reads the files themselves. This module imports as little as `launch`.
"""

from __future__ import annotations

import os

from ..errors import UsageError
from .private import data_folder, own_bytes, write_private

TYPE_CHECKING = False  # `typing` is an import too
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    # Of each file that was looked at: the digest of what acts in it, and its `signature`.
    Files = dict[str, list[str]]

TRUST_ENV = "HOTCLAUDE_TRUST"
ASK, NEVER, ALWAYS = "ask", "never", "always"
SOURCES = "--setting-sources"

SERVERS = ".mcp.json"
DOTS = ".claude"
SETTINGS, LOCAL = "settings.json", "settings.local.json"
TASKS = "scheduled_tasks.json"
TREES = ("commands", "skills", "agents", "workflows")
# Beside Markdown, the files below `TREES` that can start something.
STARTING = (".mcp.json", ".lsp.json", "hooks.json", "plugin.json", "monitors.json")
MOST_ENTRIES = 2000  # of the folders of `TREES`; with more, the folder is never taken for harmless
TOO_MANY = "\0too many"  # stands for the files that were not listed


class Policy:
    """What the user has configured: to be asked, never, always, or a list of trusted folders."""

    def __init__(self, kind: str = ASK, folders: Sequence[str] = ()) -> None:
        self.kind = kind
        self.folders = tuple(os.path.realpath(os.path.expanduser(name)) for name in folders)


def policy(value: str | Sequence[str] | None) -> Policy:
    """Return the policy for `ask`, `never`, `always`, or folders as a list or like a PATH.

    Folders in text may also be a JSON list. Raises `UsageError` for an unknown word.
    """
    if not value:
        return Policy()
    if not isinstance(value, str):
        return Policy(ASK, value)
    if value in (ASK, NEVER, ALWAYS):
        return Policy(value)
    if value.startswith("["):
        import json

        try:
            folders = json.loads(value)
        except ValueError:
            folders = None
        if isinstance(folders, list) and all(isinstance(name, str) for name in folders):
            return Policy(ASK, folders)
    elif os.sep in value or value[0] == "~":
        return Policy(ASK, [name for name in value.split(os.pathsep) if name])
    raise UsageError(
        f"{TRUST_ENV}, or the setting trust, is {value}",
        hint=f"It takes {ASK}, {NEVER}, {ALWAYS}, or the paths of trusted folders.",
    )


def trust_file() -> str:
    """Return the path of the file that keeps which folders the user trusts.

    It is the same for every record: a record may lie in a folder of somebody else's.
    """
    return os.path.join(data_folder(), "trust.json")


# --- the command line ------------------------------------------------------------------------


def sources_of(sources: Sequence[str] | None, extra: Sequence[str] = ()) -> Sequence[str] | None:
    """Return the setting sources that a process would read, `None` for all.

    `extra` are further arguments; in `claude`, the last one of a name counts.
    """
    for at, word in enumerate(extra):
        if word == SOURCES and at + 1 < len(extra):
            sources = extra[at + 1].split(",")
        elif word.startswith(f"{SOURCES}="):
            sources = word.partition("=")[2].split(",")
    return sources


def reads_folder(sources: Sequence[str] | None) -> bool:
    """Return whether a process with these setting sources loads anything of its folder."""
    return sources is None or "project" in sources or "local" in sources


def held_back(sources: Sequence[str] | None, servers: str = "") -> tuple[str, ...]:
    """Return the arguments that withhold the folder; they come last, where they count.

    `servers` is the file of the user's own servers for the folder, empty if there are none.
    """
    if not reads_folder(sources):
        return ()
    ours = sources is None or "local" in sources
    user = "user" if sources is None or "user" in sources else ""
    return (SOURCES, user, *(("--mcp-config", servers) if servers and ours else ()))


# --- the folder and its names ----------------------------------------------------------------


class Ground:
    """A folder, its git root, and the key under which its trust is kept: all real paths.

    `asked` is the path that was asked about. `root` is the git root, else the folder. `key` is the
    same, but for a git worktree that of its main repository, as `claude` has it.
    """

    def __init__(self, folder: str) -> None:
        self.asked = folder
        self.folder = os.path.realpath(folder)
        self.git = next((up for up in _upwards(self.folder) if _exists(up, ".git")), "")
        self.root = self.git or self.folder
        self.key = _main_repository(self.git) if self.git else self.folder

    def up_to_root(self) -> Iterator[str]:
        """Yield the folder and those above it, up to the git root, or to the top without one."""
        for place in _upwards(self.folder):
            yield place
            if place == self.git:
                return


def _upwards(folder: str) -> Iterator[str]:
    while True:
        yield folder
        above = os.path.dirname(folder)
        if above == folder:
            return
        folder = above


def _exists(folder: str, name: str) -> bool:
    return os.path.lexists(os.path.join(folder, name))


def _main_repository(root: str) -> str:
    """Return the root of the repository of which `root` is a worktree, else `root`.

    The repository must know the worktree: anybody can write a `.git` file that names another's, and
    the files that it leads to. So these must lie in that repository.
    """
    dot_git = os.path.join(root, ".git")
    if os.path.isdir(dot_git):
        return root
    named = _line(dot_git)
    if not named.startswith("gitdir:"):
        return root
    admin = os.path.realpath(os.path.join(root, named[7:].strip()))
    common, back = _line(os.path.join(admin, "commondir")), _line(os.path.join(admin, "gitdir"))
    if not common or not back or os.path.realpath(os.path.join(admin, back)) != dot_git:
        return root
    main = os.path.realpath(os.path.join(admin, common))
    known = os.path.dirname(admin) == os.path.join(main, "worktrees")
    return os.path.dirname(main) if known and os.path.basename(main) == ".git" else root


def _line(path: str) -> str:
    if not os.path.isfile(path):  # a named pipe in its place would be waited for
        return ""
    try:
        with open(path, "rb") as file:
            return os.fsdecode(file.readline(4096).strip().replace(b"\0", b""))
    except OSError:
        return ""


def config_folder() -> str:
    """Return the folder of the user's own configuration of `claude`."""
    named = os.environ.get("CLAUDE_CONFIG_DIR")
    return named or os.path.join(os.path.expanduser("~"), DOTS)


def candidates(ground: Ground) -> list[str]:
    """Return the files that `claude` would read for a folder and that may act, by their names.

    As measured: the settings of the folder, the local ones of the git root too, the servers of
    every folder above, and commands, skills and agents up to the git root.
    """
    found: list[str] = []
    own = os.path.realpath(config_folder())
    near = set(ground.up_to_root())
    left = MOST_ENTRIES
    for place in dict.fromkeys((*_upwards(ground.folder), ground.key)):
        found += _files(place, (SERVERS,))
        dots = os.path.join(place, DOTS)
        if not os.path.isdir(dots) or os.path.realpath(dots) == own:
            continue
        if place == ground.folder:
            found += _files(dots, (SETTINGS, TASKS))
        if place in (ground.folder, ground.root, ground.key):
            found += _files(dots, (LOCAL,))
        if place in near or place == ground.key:
            for name in TREES:
                below = list(_below(os.path.join(dots, name), left, scripts=name == "workflows"))
                left -= len(below)
                found += filter(None, below)
    return [*found, TOO_MANY] if left <= 0 else found


def _files(folder: str, names: Iterable[str]) -> list[str]:
    paths = [os.path.join(folder, name) for name in names]
    return [path for path in paths if os.path.isfile(path)]


def _below(folder: str, most: int, *, scripts: bool) -> Iterator[str]:
    """Yield the files below a folder that may act, and an empty string for each other entry."""
    folders = [folder]
    while folders and most > 0:
        here = folders.pop()
        try:
            names = sorted(os.listdir(here))
        except OSError:
            continue
        for name in names[:most]:
            path = os.path.join(here, name)
            most -= 1
            if os.path.isdir(path):
                folders.append(path)
                yield ""
            else:
                may_act = scripts or name.endswith(".md") or name in STARTING
                yield path if may_act and os.path.isfile(path) else ""


def signature(path: str) -> str:
    """Return what changes when a file is written, moved or linked; empty if it is not there."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ""
    return f"{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}:{found.st_ino}"


# --- what the user has said ------------------------------------------------------------------


def kept(key: str) -> Files | None:
    """Return what the user trusted under a key, `None` if the folder was never trusted.

    A file that is damaged, or that another user could have written, counts for nothing.
    """
    return all_kept().get(key)


def all_kept() -> dict[str, Files]:
    """Return what the user trusted, by key."""
    data = own_bytes(trust_file())
    if not data:
        return {}
    import json

    try:
        folders = json.loads(data)["folders"]
        return {str(key): _checked(entry["files"]) for key, entry in folders.items()}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}


def _checked(files: Any) -> Files:
    """Return the entry of a folder. Raises `ValueError` if it is of another shape."""
    found: Files = {}
    for path, pair in files.items():
        if not (
            isinstance(pair, list) and len(pair) == 2 and all(isinstance(s, str) for s in pair)
        ):
            raise ValueError("a file's entry is a digest and a signature")
        found[path] = pair
    return found


def configuration_file() -> str:
    """Return the path of the binary's own file of state; it is never written."""
    named = os.environ.get("CLAUDE_CONFIG_DIR")
    return os.path.join(named or os.path.expanduser("~"), ".claude.json")


def projects() -> dict[str, Any]:
    """Return the binary's own notes on folders, by path."""
    try:
        with open(configuration_file(), "rb") as file:
            data = file.read()
    except OSError:
        return {}
    if b'"projects"' not in data:
        return {}
    import json

    try:
        found = json.loads(data)["projects"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _noted(noted: dict[str, Any], key: str) -> dict[str, Any]:
    entry = noted.get(key)
    return entry if isinstance(entry, dict) else {}


def trusted_by_claude(ground: Ground, noted: dict[str, Any]) -> str:
    """Return the folder in which the user accepted the binary's own trust dialog, else nothing."""
    for place in (ground.key, *ground.up_to_root()):
        if _noted(noted, place).get("hasTrustDialogAccepted") is True:
            return place
    return ""


def local_servers(ground: Ground, noted: dict[str, Any]) -> dict[str, Any]:
    """Return the servers that the user's own configuration has for a folder, without disabled."""
    entry = _noted(noted, ground.key)
    servers, off = entry.get("mcpServers"), entry.get("disabledMcpServers")
    if not isinstance(servers, dict):
        return {}
    disabled = off if isinstance(off, list) else []
    return {name: server for name, server in servers.items() if name not in disabled}


def covering(ground: Ground, said: Policy, noted: dict[str, Any]) -> list[str]:
    """Return the folders below which everything counts as trusted.

    What lies above them (in a shared temporary folder, say) is covered by none.
    """
    if said.kind == ALWAYS:
        return [os.sep]
    if said.kind == NEVER:
        return []
    covers = [name for name in said.folders if is_below(ground.folder, name)]
    if is_home(ground):
        covers.append(ground.folder)  # what is here is the user's own
    if accepted := trusted_by_claude(ground, noted):
        covers += [ground.root, ground.key] if accepted == ground.key else [accepted]
    return covers


def is_home(ground: Ground) -> bool:
    """Return whether a folder is the user's home."""
    return ground.folder == os.path.realpath(os.path.expanduser("~"))


def is_below(path: str, folder: str) -> bool:
    """Return whether a path is a folder, or in it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def is_covered(path: str, covers: Iterable[str]) -> bool:
    """Return whether a file is in one of the folders."""
    return any(is_below(path, folder) for folder in covers)


# --- before the spawn ------------------------------------------------------------------------


class Quick:
    """What is decided before the spawn: whether the folder is trusted, and the user's servers."""

    def __init__(self, *, trusted: bool, servers: str = "") -> None:
        self.trusted = trusted
        self.servers = servers


def quick(folder: str, said: Policy) -> Quick:
    """Decide for the first process of a kernel, without reading the folder's files.

    If a file is newer than the user's trust, the answer is no: `folders.Folders.look` reads it,
    and the process is replaced if nothing has changed that acts.
    """
    ground = Ground(folder)
    if said.kind == ALWAYS:
        return Quick(trusted=True)
    noted = projects()
    entry = kept(ground.key) if said.kind != NEVER else None
    covers = covering(ground, said, noted)
    if (entry is not None or covers) and all(
        is_covered(path, covers) or (entry or {}).get(path, ["", ""])[1] == signature(path) != ""
        for path in candidates(ground)
    ):
        return Quick(trusted=True)
    servers = local_servers(ground, noted)
    return Quick(trusted=False, servers=hand_over(ground.key, servers) if servers else "")


def hand_over(key: str, servers: dict[str, Any]) -> str:
    """Write the user's own servers for a folder into a file for `--mcp-config`; return its path.

    There is one file for each folder, so a process that is running always finds it. If the file
    can't be written, the process starts without the servers: the path is empty.
    """
    import hashlib
    import json

    data = json.dumps({"mcpServers": servers}).encode()
    name = hashlib.sha256(os.fsencode(key)).hexdigest()
    path = os.path.join(data_folder(), "servers", f"{name}.json")
    if own_bytes(path) == data:
        return path
    try:
        write_private(path, data)
    except OSError:
        return ""
    return path
