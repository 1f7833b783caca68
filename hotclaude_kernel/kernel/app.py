"""The process of a kernel: IPKernelApp with our configuration, our process and our ports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zmq
from ipykernel.kernelapp import IPKernelApp
from jupyter_core.paths import jupyter_config_path
from traitlets.config import Application

from .kernel import HotClaudeKernel
from .startup import CONFIG_NAME

if TYPE_CHECKING:
    from ..claude.launch import Prespawned


class HotClaudeApp(IPKernelApp):
    """The process of a kernel. It reads `hotclaude_config.py` from Jupyter's config folders."""

    name = "hotclaude"
    kernel_class = HotClaudeKernel
    classes = [*IPKernelApp.classes, HotClaudeKernel]  # noqa: RUF012 - traitlets copies it

    prespawned: Prespawned | None = None
    listening: dict[int, int] = {}  # noqa: RUF012 - set once, by `main`

    @staticmethod
    def takes_ports() -> bool:
        """Whether this ipykernel binds by the method that we extend; it is a private one."""
        return hasattr(IPKernelApp, "_try_bind_socket")

    def _ip_default(self) -> str:
        """Return where to listen, which the connection file says better.

        The base class asks all the same, and loads psutil (20 ms) to find another name for this.
        """
        return "127.0.0.1" if self.transport == "tcp" else str(super()._ip_default())

    def _try_bind_socket(self, s: Any, port: int) -> int:
        """Take the port over, where `main` listens on it already."""
        if port in self.listening:
            s.setsockopt(zmq.USE_FD, self.listening.pop(port))
        bound: int = super()._try_bind_socket(s, port)
        return bound

    def init_pdb(self) -> None:
        """There is no Python to debug in a cell."""

    def load_config_file(self, suppress_errors: bool | None = None) -> None:  # type: ignore[override]
        """Read ipykernel's configuration, then ours."""
        super().load_config_file(suppress_errors=suppress_errors)
        path = jupyter_config_path()
        Application.load_config_file(self, CONFIG_NAME, path=path)
        self.update_config(self.cli_config)
