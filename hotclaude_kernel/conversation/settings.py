"""Change settings: check which may be changed, and tell a running process the change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ControlError, UsageError
from ..turns.settings import LIVE_SETTINGS

if TYPE_CHECKING:
    from typing import Any

    from ..claude.session import Session
    from ..pool.warm import Warm
    from ..turns.settings import Settings


def check_locked(differing: set[str], locked: frozenset[str]) -> None:
    """Raise `UsageError` if a setting in `differing` is locked in this kernel."""
    if names := sorted(differing & locked):
        said = ", ".join(names).replace("_", " ")
        raise UsageError(
            f"This kernel is restricted: its {said} can't be changed",
            hint="Whoever configured it can: see `restricted` in README.",
        )


def live(new: Settings, differing: set[str]) -> bool:
    """Return whether a running process can take the change."""
    # `claude` has no control request that unsets the effort.
    return differing <= LIVE_SETTINGS and not ("effort" in differing and new.effort is None)


async def tell(warm: Warm, new: Settings, differing: set[str]) -> None:
    """Tell a running process of new settings, one by one. Raises `UsageError` if it refuses one.

    `warm.settings` are then those that it has taken so far.
    """
    try:
        for name in sorted(differing):
            await _tell_one(warm.session, name, getattr(new, name))
            warm.settings = warm.settings.changed(**{name: getattr(new, name)})
    except ControlError as error:
        raise UsageError(f"claude refuses this: {error.message}") from error


async def _tell_one(session: Session, name: str, value: Any) -> None:
    match name:
        case "model":
            await session.control("set_model", model=value or "default")
        case "permission_mode":
            await session.control("set_permission_mode", mode=value)
        case "effort":
            await session.control("apply_flag_settings", settings={"effortLevel": value})
