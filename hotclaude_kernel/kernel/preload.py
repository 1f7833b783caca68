"""Loading the modules of the first answer, while the front end connects to the kernel."""

from __future__ import annotations

import time

# pygments takes longer to load than all the rest, and the first word needs no colours.
COLOURS_AFTER_S = 1.0


def preload() -> None:
    """Load the modules; the kernel calls this in a thread.

    The kernel imports them only where it uses them, so that its start does not wait for them.
    """
    from ..cells import run  # noqa: F401
    from ..page import console, notebook  # noqa: F401
    from ..page.markdown import render
    from ..questions import buttons, stdin  # noqa: F401

    render.render("`warm`")
    time.sleep(COLOURS_AFTER_S)
    render.preload()
