"""Change settings: check which may be changed, and tell a running process the change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ControlError, UsageError
from ..turns.settings import LIVE_SETTINGS

if TYPE_CHECKING:
    from ..claude.session import Session
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


async def tell(session: Session, new: Settings, differing: set[str]) -> None:
    """Tell a running process of new settings. Raises `UsageError` if it refuses one."""
    try:
        if "model" in differing:
            await session.control("set_model", model=new.model or "default")
        if "permission_mode" in differing:
            await session.control("set_permission_mode", mode=new.permission_mode)
        if "effort" in differing:
            level = {"effortLevel": new.effort}
            await session.control("apply_flag_settings", settings=level)
    except ControlError as error:
        raise UsageError(f"claude refuses this: {error.message}") from error
