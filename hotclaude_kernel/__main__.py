"""`python -m hotclaude_kernel`: one kernel. The claude process starts before ipykernel is imported.

Both take some 0.4 s to be ready; side by side they take that once.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the kernel until it is shut down."""
    from .launching import prespawn_default

    prespawned = prespawn_default(sys.argv)
    from .kernel import HotClaudeApp

    app = HotClaudeApp.instance()
    app.prespawned = prespawned
    app.initialize()
    app.start()


if __name__ == "__main__":
    main()
