"""The application of a kernel process: IPKernelApp with hotclaude's configuration and ports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zmq
from ipykernel.kernelapp import IPKernelApp
from jupyter_core.paths import jupyter_config_path
from traitlets.config import Application
from traitlets.config.application import LevelFormatter

from .kernel import HotClaudeKernel
from .startup import CONFIG_NAME

if TYPE_CHECKING:
    import logging

    from ..claude.launch import Prespawned


class HarmlessFormatter(LevelFormatter):
    """A formatter whose lines can't act on the terminal of the server that shows them."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text, its traceback included."""
        text = str(super().format(record))
        if text.replace("\n", "").isprintable():
            return text
        from ..page.text import without_ansi  # imported here because few lines need it

        return without_ansi(text)


class HotClaudeApp(IPKernelApp):
    """The application of one kernel. It reads `hotclaude_config.py` in Jupyter's config folders.

    `__main__` sets `prespawned`, the claude process that was started early, and `listening`: the
    descriptor of each port that is listened on already.
    """

    name = "hotclaude"
    kernel_class = HotClaudeKernel
    classes = [*IPKernelApp.classes, HotClaudeKernel]  # noqa: RUF012 - traitlets copies it

    _log_formatter_cls = HarmlessFormatter

    prespawned: Prespawned | None = None
    listening: dict[int, int] = {}  # noqa: RUF012 - set once, by `__main__`

    @staticmethod
    def takes_ports() -> bool:
        """Whether this ipykernel has `_try_bind_socket`, a private method that we extend."""
        return hasattr(IPKernelApp, "_try_bind_socket")

    def _ip_default(self) -> str:
        """Return the default address; the connection file has the one that is used.

        The base class would load psutil (20 ms) to find the same address.
        """
        return "127.0.0.1" if self.transport == "tcp" else str(super()._ip_default())

    def _try_bind_socket(self, s: Any, port: int) -> int:
        """Bind a port; hand ZMQ the descriptor if `__main__` listens on the port already."""
        if port in self.listening:
            s.setsockopt(zmq.USE_FD, self.listening.pop(port))
        bound: int = super()._try_bind_socket(s, port)
        return bound

    def get_default_logging_config(self) -> dict[str, Any]:
        """Return the base class's configuration, with our modules' loggers on the same handler."""
        config: dict[str, Any] = super().get_default_logging_config()
        if handlers := config.get("handlers"):
            ours = {"handlers": ["console"], "level": handlers["console"]["level"]}
            config["loggers"][__name__.partition(".")[0]] = ours | {"propagate": False}
        return config

    def init_pdb(self) -> None:
        """Do nothing: a cell has no Python to debug."""

    def load_config_file(self, suppress_errors: bool | None = None) -> None:  # type: ignore[override]
        """Read ipykernel's configuration, then ours."""
        super().load_config_file(suppress_errors=suppress_errors)
        path = jupyter_config_path()
        Application.load_config_file(self, CONFIG_NAME, path=path)
        self.update_config(self.cli_config)
