"""How `claude` is started and asked: one field for each flag."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


PERMISSION_MODES = ("default", "acceptEdits", "plan", "dontAsk", "auto", "bypassPermissions")
EFFORTS = ("low", "medium", "high", "xhigh", "max")


def _flag(
    flag: str | None,
    *,
    key: bool,
    live: bool = False,
    encode: Callable[[Any], list[str]] | None = None,
    default: Any = None,
) -> Any:
    """Declare a setting: its CLI flag, whether it changes the answer, whether it changes live."""
    metadata = {"flag": flag, "key": key, "live": live, "encode": encode}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How `claude` is started and asked. The argv is made from this value and nothing else.

    Each field is one CLI flag. `key` says whether it is part of a turn's key, `live` whether a
    running process can change it. To change another one, the conversation is resumed in a new
    process.
    """

    model: str | None = _flag("--model", key=True, live=True)
    effort: str | None = _flag("--effort", key=True, live=True)
    permission_mode: str = _flag("--permission-mode", key=True, live=True, default="default")
    system: str | None = _flag("--system-prompt", key=True)
    append_system: str | None = _flag("--append-system-prompt", key=True)
    tools: tuple[str, ...] | None = _flag(
        "--tools", key=True, encode=lambda tools: [",".join(tools)]
    )
    allowed_tools: tuple[str, ...] = _flag(
        "--allowedTools", key=True, default=(), encode=lambda tools: [",".join(tools)]
    )
    thinking_display: str | None = _flag("--thinking-display", key=False, default="summarized")
    fallback_model: str | None = _flag("--fallback-model", key=True)
    max_turns: int | None = _flag("--max-turns", key=True)
    setting_sources: tuple[str, ...] | None = _flag(
        "--setting-sources", key=True, encode=lambda names: [",".join(names)]
    )
    mcp_config: str | None = _flag("--mcp-config", key=True)
    extra_args: tuple[str, ...] = _flag(None, key=True, default=(), encode=list)
    # Not a flag: the working directory of the process. It is recorded, but not part of the key.
    cwd: str | None = _flag(None, key=False, encode=lambda _: [])

    def argv(self) -> list[str]:
        """Return the CLI flags for these settings."""
        argv: list[str] = []
        for spec in fields(self):
            value = getattr(self, spec.name)
            # If the default is `None`, an empty tuple is set: it means "none", and has a flag.
            if value is None or value == spec.default == ():
                continue
            encode = spec.metadata["encode"] or (lambda value: [str(value)])
            flag = spec.metadata["flag"]
            argv += [flag, *encode(value)] if flag else encode(value)
        return argv

    def changed(self, **changes: Any) -> Settings:
        """Return a copy with `changes`."""
        return replace(self, **changes)

    def differing(self, other: Settings) -> set[str]:
        """Return the names of the fields in which the two differ."""
        return {
            spec.name
            for spec in fields(self)
            if getattr(self, spec.name) != getattr(other, spec.name)
        }


# The fixed settings of a restricted notebook, for a shared hub. Claude may only read files. The
# settings, hooks and MCP servers in the notebook's folder are not loaded.
RESTRICTED = {
    "permission_mode": "dontAsk",
    "tools": ("Glob", "Grep", "Read"),
    "allowed_tools": (),
    "setting_sources": (),
    "mcp_config": None,
    "extra_args": ("--strict-mcp-config",),
}


RESTRICTED_LOCKS = frozenset({*RESTRICTED, "cwd"})
LIVE_SETTINGS = frozenset(spec.name for spec in fields(Settings) if spec.metadata["live"])
