"""Arguments of the process that other users must not read: they are handed over in private files.

Every user of the machine can read the arguments of every process, and Linux takes 128 KiB for one.
So a system prompt goes by file, and so does an MCP or settings configuration that is given as JSON:
its `env` and `headers` may hold keys. Each process has a folder of its own for these files. It is
removed when the process ends; if the kernel is killed, a later kernel removes it.
"""

from __future__ import annotations

import os

from .processes import runs, this_kernel

TYPE_CHECKING = False  # `typing` is an import too
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# The flags whose text can be handed over by another flag that takes a file.
TEXTS = {
    "--system-prompt": "--system-prompt-file",
    "--append-system-prompt": "--append-system-prompt-file",
}
# The flags that take JSON or a file. The first takes several.
CONFIGURATIONS = ("--mcp-config", "--settings")
FOLDER = "arguments-"  # how the name of a folder begins; its kernel's identity follows


def hand_over(flags: Sequence[str], parents: Iterable[str]) -> tuple[list[str], str]:
    """Return flags for the process, and the folder of the files that they name, or no folder.

    The folder is made in the first of `parents` that can be written. If no flag needs a file, none
    is made and `parents` is not iterated. Raises `OSError` if no parent can be written.
    """
    if not need_files(flags):
        return list(flags), ""
    failure = OSError("there is no folder for private files")
    for parent in parents:
        try:
            return _written(flags, _new_folder(parent))
        except OSError as error:
            failure = error
    raise failure


def need_files(flags: Sequence[str]) -> bool:
    """Return whether any of the flags is handed over by a file."""
    return any(content is not None for _, content in _parts(flags))


def _written(flags: Sequence[str], folder: str) -> tuple[list[str], str]:
    from .files import write_new

    handed: list[str] = []
    try:
        for number, (word, content) in enumerate(_parts(flags)):
            handed += [word] if word or content is None else []
            if content is not None:
                # A lone surrogate has no UTF-8.
                data = content.encode("utf-8", "replace")
                handed.append(write_new(os.path.join(folder, str(number)), data))
    except OSError:
        remove(folder)
        raise
    return handed, folder


def _parts(flags: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Yield each word of the flags; with the content of a file, if its path is to follow.

    The word is empty if it is itself that content.
    """
    words = list(flags)
    at = 0
    configures = False  # whether these words are the values of `--mcp-config`
    while at < len(words):
        word = words[at]
        at += 1
        name, equals, value = word.partition("=")
        if name in TEXTS and (equals or at < len(words)):
            yield TEXTS[name], value if equals else words[at]
            at += not equals
        elif name in CONFIGURATIONS and equals and _is_json(value):
            yield name, value
        elif word in CONFIGURATIONS and at < len(words) and _is_json(words[at]):
            yield word, words[at]
            at += 1
        elif configures and _is_json(word):
            yield "", word
        else:
            yield word, None
        if word.startswith("--"):
            configures = name == CONFIGURATIONS[0]


def _is_json(value: str) -> bool:
    return value.lstrip().startswith("{")


def secrets(flags: Sequence[str]) -> list[str]:
    """Return the values of `env` and `headers` in the configurations that flags give as JSON."""
    import json

    found: list[str] = []
    for _, content in _parts(flags):
        if content is None or not _is_json(content):
            continue
        try:
            given = json.loads(content)
        except (ValueError, RecursionError):
            continue
        servers = given.get("mcpServers")
        holders = [given, *(servers.values() if isinstance(servers, dict) else ())]
        for holder in filter(lambda value: isinstance(value, dict), holders):
            for name in ("env", "headers"):
                values = holder.get(name)
                found += map(str, values.values()) if isinstance(values, dict) else ()
    return found


# --- the folders -----------------------------------------------------------------------------


def _new_folder(parent: str) -> str:
    pid_and_start = this_kernel().replace(":", "-")
    os.makedirs(parent, mode=0o700, exist_ok=True)
    path = os.path.join(parent, f"{FOLDER}{pid_and_start}-{os.urandom(8).hex()}")
    os.mkdir(path, 0o700)
    return path


def remove(folder: str) -> None:
    """Remove the folder of a process that ended, and its files; an empty name is no folder."""
    if not folder or os.path.islink(folder):
        return
    try:
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))
        os.rmdir(folder)
    except OSError:
        pass  # it is tried again when a later kernel starts


def sweep(parents: Iterable[str]) -> int:
    """Remove the folders of kernels that no longer run; return how many there were."""
    found = 0
    for parent in parents:
        try:
            entries = [entry for entry in os.scandir(parent) if entry.name.startswith(FOLDER)]
        except OSError:
            continue
        for entry in entries:
            pid, _, rest = entry.name.removeprefix(FOLDER).partition("-")
            if not runs(f"{pid}:{rest.partition('-')[0]}"):
                remove(entry.path)
                found += 1
    return found
