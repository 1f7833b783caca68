"""A Jupyter kernel whose cells are turns of one live `claude` process.

The names in `__all__` are public, and each is imported when it is first used. Everything else is
private by being in a room.
"""

from __future__ import annotations

TYPE_CHECKING = False  # a kernel start imports this module first, and `typing` is an import too
if TYPE_CHECKING:
    from .conversation.conversation import Conversation
    from .errors import HotClaudeError
    from .turns.prompt import Prompt
    from .turns.settings import Settings
    from .turns.turn import Turn

__version__ = "0.1.0"
__all__ = ["Conversation", "HotClaudeError", "Prompt", "Settings", "Turn", "__version__"]

_MODULES = {
    "Conversation": "conversation.conversation",
    "HotClaudeError": "errors",
    "Prompt": "turns.prompt",
    "Settings": "turns.settings",
    "Turn": "turns.turn",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
