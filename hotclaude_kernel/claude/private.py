"""The user's data folder, and files in it that nobody else can read or have written.

A kernel's start loads this module before the process is spawned, so it imports nothing heavy.
"""

from __future__ import annotations

import os
import sys


def data_folder() -> str:
    """Return the folder of the user's data: the record is here, and what the user trusts."""
    home = os.path.expanduser("~")
    if sys.platform == "darwin":
        folder = os.path.join(home, "Library", "Application Support")
    else:
        folder = os.environ.get("XDG_DATA_HOME") or os.path.join(home, ".local", "share")
    return os.path.join(folder, "hotclaude")


def write_private(path: str, data: bytes) -> None:
    """Replace a file at once by one that only this user can read. Raises `OSError`."""
    from .files import PRIVATE, replace  # few starts write anything

    os.makedirs(data_folder(), mode=0o700, exist_ok=True)  # the mode is that of the last one only
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    replace(path, data, mode=PRIVATE)


def own_bytes(path: str) -> bytes:
    """Return the content of a file that only this user can have written, else nothing."""
    try:
        # Without O_NONBLOCK a named pipe in its place would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (OSError, ValueError):
        return b""
    try:
        found = os.fstat(descriptor)
        regular = found.st_mode & 0o170000 == 0o100000
        if not regular or found.st_uid != os.getuid() or found.st_mode & 0o022:
            return b""
        with open(descriptor, "rb", closefd=False) as file:  # which raises for a folder
            return file.read()
    except OSError:
        return b""
    finally:
        os.close(descriptor)
