"""A kernel's configuration: its traits, and the settings and limits that they make."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import traitlets

from ..claude.trust import TRUST_ENV, Policy, policy
from ..conversation.modes import MODES, PACES, RERUNS
from ..errors import UsageError
from ..pool.warm import Limits
from ..turns.settings import PERMISSION_MODES, RESTRICTED, Settings
from .serving import ServingKernel
from .startup import MODEL_ENV, replays_only

if TYPE_CHECKING:
    from collections.abc import Sequence


class ConfiguredKernel(ServingKernel):
    """The traits of the kernel, `c.HotClaudeKernel.… =` in `hotclaude_config.py`."""

    model = traitlets.Unicode(
        None, allow_none=True, help="Model: a name `%model` lists, or an id."
    ).tag(config=True)
    effort = traitlets.Unicode(None, allow_none=True, help="Effort, as `%effort` takes it.").tag(
        config=True
    )
    system = traitlets.Unicode(
        None, allow_none=True, help="System prompt in place of Claude Code's own."
    ).tag(config=True)
    append_system = traitlets.Unicode(
        None, allow_none=True, help="Text that follows Claude Code's own system prompt."
    ).tag(config=True)
    tools = traitlets.List(
        traitlets.Unicode(), None, allow_none=True, help="Tools to offer; [] for none."
    ).tag(config=True)
    allowed_tools = traitlets.List(
        traitlets.Unicode(), help="Tools, or rules like Bash(git *), that are allowed unasked."
    ).tag(config=True)
    permission_mode = traitlets.Enum(
        PERMISSION_MODES, "default", help="What Claude may do unasked."
    ).tag(config=True)
    fallback_model = traitlets.Unicode(
        None, allow_none=True, help="Model to use while the first is overloaded."
    ).tag(config=True)
    max_turns = traitlets.Int(
        None, allow_none=True, help="Model requests one cell may take, tools included."
    ).tag(config=True)
    setting_sources = traitlets.List(
        traitlets.Unicode(),
        None,
        allow_none=True,
        help="Which of user, project and local settings are read; all by default, [] for none.",
    ).tag(config=True)
    mcp_config = traitlets.Unicode(None, allow_none=True, help="MCP servers: a file, or JSON.").tag(
        config=True
    )
    extra_args = traitlets.List(
        traitlets.Unicode(), help="Further arguments of the claude binary."
    ).tag(config=True)
    cli = traitlets.Unicode("", help="The claude binary; else HOTCLAUDE_CLI, PATH, bundled.").tag(
        config=True
    )
    restricted = traitlets.Bool(
        False,
        help="Hold conversations to reading: nothing asked, no settings of the folder.",
    ).tag(config=True)
    trust = traitlets.Union(
        [traitlets.Enum(("ask", "never", "always")), traitlets.List(traitlets.Unicode())],
        default_value=None,
        allow_none=True,
        help="Whose settings, hooks, servers and commands act: ask, never, always, or a list of "
        "trusted folders; else HOTCLAUDE_TRUST, or ask.",
    ).tag(config=True)
    stall_timeout = traitlets.Float(
        60.0, help="Seconds that the API may be silent while it owes an answer."
    ).tag(config=True)
    footer = traitlets.Bool(True, help="Whether a turn's numbers are shown below it.").tag(
        config=True
    )
    rerun = traitlets.Enum(
        RERUNS, "fork", help="What a cell does that has a turn: fork the conversation, or append."
    ).tag(config=True)
    store = traitlets.Unicode(
        "", help="The file of the record; else HOTCLAUDE_STORE, or the user's data folder."
    ).tag(config=True)
    record = traitlets.Enum(
        MODES,
        None,
        allow_none=True,
        help="When turns are replayed and recorded; else HOTCLAUDE_RECORD, or new_episodes, "
        "or none where CI is set.",
    ).tag(config=True)
    pace = traitlets.Enum(
        PACES,
        None,
        allow_none=True,
        help="At which replayed turns are shown: instant or recorded; else HOTCLAUDE_PACE.",
    ).tag(config=True)
    spares = traitlets.Int(1, help="Processes kept warm for new conversations.").tag(config=True)
    pool_processes = traitlets.Int(
        3, help="Processes of this kernel, spares and other branches included; 0 for no limit."
    ).tag(config=True)
    pool_memory = traitlets.Int(
        1500, help="MB that they may take together before those that wait are ended; 0 for any."
    ).tag(config=True)
    idle_timeout = traitlets.Float(
        1800.0,
        help="Seconds after which an idle process ends, until the next cell; 0 for never.",
    ).tag(config=True)
    process_turns = traitlets.Int(
        500, help="Turns after which a process is replaced, between two cells; 0 for never."
    ).tag(config=True)
    process_age = traitlets.Float(
        86_400.0, help="Seconds after which a process is replaced, between two cells; 0 for never."
    ).tag(config=True)

    def mode(self) -> str:
        """Return the record mode, one of `MODES`. Raises `UsageError` for any other name."""
        default = "none" if replays_only(os.environ) else "new_episodes"
        return _named("HOTCLAUDE_RECORD", self.record, MODES, default)

    def playing(self) -> str:
        """Return the pace of replayed turns, one of `PACES`. Raises `UsageError` for others."""
        return _named("HOTCLAUDE_PACE", self.pace, PACES, PACES[0])

    def trusts(self) -> Policy:
        """Return which folders are trusted. Raises `UsageError` for a wrong value."""
        return policy(self.trust or os.environ.get(TRUST_ENV))

    def limits(self) -> Limits:
        """Return the limits of the process pool."""
        return Limits(
            spares=self.spares,
            processes=self.pool_processes,
            memory_mb=self.pool_memory,
            idle_timeout_s=self.idle_timeout,
            turns=self.process_turns,
            age_s=self.process_age,
        )

    def settings(self) -> Settings:
        """Return the settings of new conversations."""
        settings = self._configured_settings()
        return settings.changed(**RESTRICTED) if self.restricted else settings

    def _configured_settings(self) -> Settings:
        return Settings(
            # Not left to claude to read: the model is a part of each turn's key.
            model=self.model or os.environ.get(MODEL_ENV) or None,
            effort=self.effort,
            system=self.system,
            append_system=self.append_system,
            tools=None if self.tools is None else tuple(self.tools),
            allowed_tools=tuple(self.allowed_tools),
            permission_mode=self.permission_mode,
            fallback_model=self.fallback_model,
            max_turns=self.max_turns,
            setting_sources=None if self.setting_sources is None else tuple(self.setting_sources),
            mcp_config=self.mcp_config,
            extra_args=tuple(self.extra_args),
        )


def _named(variable: str, trait: str | None, names: Sequence[str], default: str) -> str:
    """Return the trait's value, else the variable's, else the default. Raises `UsageError`."""
    name = trait or os.environ.get(variable) or default
    if name not in names:
        raise UsageError(f"{variable} is {name}", hint=f"There are {', '.join(names)}.")
    return name
