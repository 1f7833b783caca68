"""`python -m hotclaude_kernel`: run one kernel.

The claude process is started before ipykernel is imported. Each needs about 0.4 s; started this
way, the two waits overlap.
"""

from __future__ import annotations

import sys

from .kernel.startup import let_go, listen, prespawn


def main() -> None:
    """Run the kernel until it is shut down."""
    early = prespawn(sys.argv)
    listening = listen(sys.argv)
    from .kernel.app import HotClaudeApp

    if not HotClaudeApp.takes_ports():
        let_go(listening)
    app = HotClaudeApp.instance()
    app.prespawned, app.listening = early, listening
    app.initialize()
    app.start()


if __name__ == "__main__":
    main()
