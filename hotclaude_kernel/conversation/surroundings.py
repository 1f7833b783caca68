"""What an answer depends on beside its question: the files that the prompt pulls in, the endpoint.

`claude` adds files to a prompt: those that it mentions (`@notes.txt`), the text of a project's
`/command` or skill, and the project's instructions (CLAUDE.md). They are not part of a turn's key:
a machine without them must be able to look the turn up, and a notebook may change them itself. So
their content stands beside the key, as conditions of a replay.

The user's own instructions and memory are noted, and are no conditions: they differ between people.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..claude.frames import whole
from ..turns.conditions import Conditions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from io import BufferedReader

    from ..turns.prompt import Prompt
    from ..turns.settings import Settings

# As `claude` reads a prompt: `@path` up to white space, or `@"a path"`. `#L10-20` names lines.
MENTION = re.compile(r'(?:^|\s)@(?:"([^"]+)"|(\S+))')
LINES = re.compile(r"#L\d+(?:-\d+)?$")
AROUND = ".,;:!?)]}'\"`"  # punctuation after a path that ends a sentence
COMMAND = re.compile(r"\s*/([\w:.-]+)")
DEPTH = 5  # how far `claude` follows files that mention files
MOST_FILES = 200
MOST_BYTES = 1_000_000  # of a file that is looked through for mentions
MOST_HASHED = 100_000_000  # bytes of a file; of a larger one, the size and the beginning count

MAC = sys.platform == "darwin"
# Where an administrator puts instructions and settings for all users of a machine.
MANAGED = "/Library/Application Support/ClaudeCode" if MAC else "/etc/claude-code"
ENDPOINT_ENV = "HOTCLAUDE_ENDPOINT"  # a server's own name, where its port is of no meaning
URL_ENV = "ANTHROPIC_BASE_URL"
ANTHROPIC = "https://api.anthropic.com"
CLOUDS = ("BEDROCK", "VERTEX", "FOUNDRY")  # CLAUDE_CODE_USE_…: the SDKs choose the address


# Some of this runs before each prompt, so it names files by strings: a Path takes longer to make
# than the file takes to be looked at.

# --- files -----------------------------------------------------------------------------------


def present(paths: Iterable[str], settings: Settings) -> Conditions:
    """Return the content of files as it is now, and the endpoint that would be asked."""
    return Conditions(files=contents(paths, folder_of(settings)), endpoint=endpoint())


class Files:
    """The files that the prompts of a notebook have pulled in; `paths` are those so far.

    A turn may change them, and then the notebook is still what it was.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = set(paths)
        self._folder = Path()
        self._before: dict[str, str | None] = {}

    def asked(self, prompt: Prompt, settings: Settings) -> Conditions:
        """Return the conditions under which a prompt is asked now."""
        self._folder = folder_of(settings)
        own = pulled(prompt.text, settings, self._folder)
        self._paths.update(own)
        self._before = contents(self._paths, self._folder)
        files = {path: self._before[path] for path in own}
        return Conditions(files=files, noted=noted(self._folder), endpoint=endpoint())

    def changed(self) -> dict[str, str | None]:
        """Return the files that have changed since `asked`, with their present content."""
        now = contents(self._paths, self._folder)
        return {path: now[path] for path in now if now[path] != self._before.get(path)}


def noted(folder: Path) -> dict[str, str | None]:
    """Return the digests of the user's own instructions and memory, and of managed ones, if any.

    They differ between people, so they are recorded and decide nothing.
    """
    config = _config_folder()
    project = re.sub(r"[^A-Za-z0-9]", "-", str(folder))
    files = {
        "user:CLAUDE.md": f"{config}/CLAUDE.md",
        "user:memory": f"{config}/projects/{project}/memory/MEMORY.md",
        "managed:CLAUDE.md": f"{MANAGED}/CLAUDE.md",
        "managed:settings": f"{MANAGED}/managed-settings.json",
    }
    found = {name: _sha256(path) for name, path in files.items()}
    return {name: sha256 for name, sha256 in found.items() if sha256 is not None}


def folder_of(settings: Settings) -> Path:
    """Return the folder in which `claude` runs under these settings."""
    try:
        return Path(settings.cwd or Path.cwd())
    except FileNotFoundError:  # the working directory was deleted
        return Path()


def pulled(text: str, settings: Settings, folder: Path) -> list[str]:
    """Return the paths of the files that a prompt pulls in, as `contents` takes them.

    `CLAUDE.md` is always among them, so that one that is added later is noticed.
    """
    found = dict.fromkeys(_mentioned(whole(text), folder))
    if settings.setting_sources is None or "project" in settings.setting_sources:
        found["CLAUDE.md"] = None
        texts = [*_command(text, folder), *_instructions(folder)]
        found |= dict.fromkeys(_relative(path, folder) for path in _with_imports(texts))
    # `claude` can't open a file whose name is not UTF-8.
    return [path for path in found if whole(path) == path][:MOST_FILES]


def _mentioned(text: str, folder: Path) -> Iterator[str]:
    """Yield the files that a text mentions, whether they exist or not.

    A word without a dot or a slash that names no file is none: `@someone` in a sentence.
    """
    for quoted, plain in MENTION.findall(text):
        names = (quoted or plain, plain.rstrip(AROUND) or quoted)
        whole, bare = (LINES.sub("", name) for name in names)
        there = _file(whole, folder) or _file(bare, folder)
        if there is not None:
            yield there
        elif "/" in bare or "." in bare.strip("."):
            yield _named(bare, folder)


def _file(name: str, folder: Path) -> str | None:
    try:
        return _named(name, folder) if _path(name, folder).is_file() else None
    except (OSError, ValueError):
        return None


def _path(name: str, folder: Path) -> Path:
    """Return the path of a name in a prompt; `~` is the user's home."""
    try:
        return folder / Path(name).expanduser()
    except RuntimeError:  # `~nobody`
        return folder / name


def _named(name: str, folder: Path) -> str:
    """Return a path as it is recorded: from the folder if it lies there, with `/` between names."""
    path = os.path.normpath(_path(name, folder))
    inside = os.path.relpath(path, folder)
    return (path if Path(inside).parts[0] == ".." else inside).replace(os.sep, "/")


def _command(text: str, folder: Path) -> Iterator[Path]:
    """Yield the project's file of the `/command` or skill that a prompt begins with."""
    match = COMMAND.match(text)
    if match is None:
        return
    name = match[1].replace(":", "/")
    for path in (f".claude/commands/{name}.md", f".claude/skills/{name}/SKILL.md"):
        if _file(path, folder) is not None:
            yield folder / path


def _instructions(folder: Path) -> Iterator[Path]:
    """Yield the project's files of instructions, in the folder and above it."""
    found = [path for place in (folder, *folder.parents) for path in _instructions_in(str(place))]
    own = os.path.realpath(_config_folder()) + os.sep if found else ""
    yield from (Path(path) for path in found if not os.path.realpath(path).startswith(own))


def _instructions_in(place: str) -> Iterator[str]:
    yield from filter(os.path.isfile, (f"{place}/CLAUDE.md", f"{place}/CLAUDE.local.md"))
    if os.path.isdir(f"{place}/.claude"):  # noqa: PTH112
        yield from filter(os.path.isfile, (f"{place}/.claude/CLAUDE.md",))
        rules = islice(Path(place, ".claude", "rules").rglob("*.md"), MOST_FILES)
        yield from sorted(map(str, rules))


def _relative(path: Path, folder: Path) -> str:
    return os.path.relpath(path, folder).replace(os.sep, "/")


def _with_imports(paths: Iterable[Path]) -> list[Path]:
    """Return files and those that they mention, to a depth of `DEPTH`; each once."""
    found = dict.fromkeys(paths)
    level = list(found)
    for _ in range(DEPTH):
        level = [path for above in level for path in _imports(above) if path not in found]
        found |= dict.fromkeys(level)
        if not level or len(found) > MOST_FILES:
            break
    return list(found)


def _imports(path: Path) -> Iterator[Path]:
    """Yield the files that a file of instructions or a command mentions."""
    try:
        with _opened(path) as file:
            text = file.read(MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return
    for quoted, plain in islice(MENTION.findall(text), MOST_FILES):
        name = quoted or plain.rstrip(AROUND)
        if _file(name, path.parent) is not None:
            yield Path(os.path.normpath(_path(name, path.parent)))


def contents(paths: Iterable[str], folder: Path) -> dict[str, str | None]:
    """Return the digest of each file's content, `None` if there is no such file."""
    return {path: _sha256(os.path.join(folder, path)) for path in paths}  # noqa: PTH118


def _sha256(path: str) -> str | None:
    try:
        with _opened(path) as file:
            if (size := os.fstat(file.fileno()).st_size) <= MOST_HASHED:
                return hashlib.file_digest(file, "sha256").hexdigest()
            # `claude` reads no such file whole, and a cell must not wait for it.
            return hashlib.sha256(b"%d:" % size + file.read(MOST_BYTES)).hexdigest()
    except (OSError, ValueError):
        return None


def _opened(path: str | Path) -> BufferedReader:
    """Open a file. Raises `OSError` if it is none: reading a device or a pipe might never end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is no file")
    return open(descriptor, "rb")  # noqa: PTH123 - a descriptor


# --- the endpoint ----------------------------------------------------------------------------


def endpoint() -> str:
    """Return the name of the API that answers: its origin, or what it calls itself.

    The user's settings win over the environment, as in `claude`.
    """
    if named := os.environ.get(ENDPOINT_ENV):
        return named
    ours = _configured()

    def setting(name: str) -> str:
        return ours.get(name) or os.environ.get(name, "")

    used = [name for name in CLOUDS if setting(f"CLAUDE_CODE_USE_{name}") not in ("", "0")]
    return used[0].lower() if used else _origin(setting(URL_ENV) or ANTHROPIC)


def _config_folder() -> str:
    return os.environ.get("CLAUDE_CONFIG_DIR") or os.path.expanduser("~/.claude")  # noqa: PTH111


def _configured() -> dict[str, str]:
    """Return the environment that the user's settings give to `claude`."""
    try:
        with open(f"{_config_folder()}/settings.json", "rb") as file:  # noqa: PTH123
            env = json.load(file)["env"]
        return {name: str(value) for name, value in env.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def _origin(url: str) -> str:
    """Return scheme, host and port of a URL, without a user's name or password."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return url.rpartition("@")[2]
    return f"{parts.scheme}://{parts.hostname or ''}{port}"
