"""What the first answer needs beyond a ready kernel, loaded while the front end connects."""

from __future__ import annotations

import time

# Colours take longer than all the rest, and the first word needs none.
COLOURS_AFTER_S = 1.0


def preload() -> None:
    """Load it; a thread of the kernel's start does.

    The kernel itself imports these where it uses them, so that its start does not wait for them.
    """
    from ..cells import run  # noqa: F401
    from ..page import console, notebook  # noqa: F401
    from ..page.markdown import render
    from ..questions import buttons, stdin  # noqa: F401

    render.render("`warm`")
    time.sleep(COLOURS_AFTER_S)
    render.preload()
