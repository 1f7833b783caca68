"""Write files: a private one under a new name, or a whole one in the place of another.

Everything that hotclaude writes goes through here (SQLite's files excepted). No function follows a
symbolic link that somebody else may have put at the name.
"""

from __future__ import annotations

import os
import stat

PRIVATE = 0o600
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
# Absent on some platforms. There `O_EXCL` alone refuses a link as the last part of a path.
SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


def write_new(path: str, data: bytes, mode: int = PRIVATE) -> str:
    """Write a file that does not exist yet, and return its path; leave none if that fails.

    By default only this user can read it. Raises `OSError`, also if a link has the name.
    """
    descriptor = os.open(path, NEW | SAFELY, mode)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
    except BaseException:
        os.unlink(path)
        raise
    return path


def replace(path: str, data: bytes, *, mode: int | None = None) -> None:
    """Put a file with `data` in the place of the one at `path`, which need not exist.

    A reader finds the old content or the new one, and never a part. A symbolic link at `path` is
    replaced and not followed. `mode` is that of the new file; by default the old file's, or for a
    new one what the umask gives. Raises `OSError`, and leaves the old file as it was.
    """
    if mode is None:
        mode = _mode(path)
    # In the same folder, since a rename is atomic only within a file system. The name is random:
    # two writers use two files, and nobody can put anything there beforehand.
    part = os.path.join(os.path.dirname(path), f".hotclaude-{os.urandom(8).hex()}.part")
    # Created with no more than the wanted mode, since a private file must stay private.
    write_new(part, data, 0o666 if mode is None else mode)
    try:
        if mode is not None:
            os.chmod(part, mode)  # the umask may have removed some bits
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise


def _mode(path: str) -> int | None:
    """Return the mode of the regular file at `path`, `None` if there is none."""
    try:
        found = os.lstat(path).st_mode
    except OSError:
        return None
    return stat.S_IMODE(found) if stat.S_ISREG(found) else None
