"""What would tell of the machine that an example was made on."""

from __future__ import annotations

import getpass
import socket
import tempfile
from pathlib import Path


def told_by(text: str, *more: str) -> list[str]:
    """Return the words of a text that name this machine, its user or its folders, or are `more`."""
    here = Path(__file__).resolve()
    folders = (Path.home(), Path.cwd(), Path(*here.parts[:2]), Path(tempfile.gettempdir()))
    words = [*map(str, folders), socket.gethostname(), f"{getpass.getuser()}@", *more]
    return [word for word in words if word in text]
