"""Where the outputs of one cell go."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..claude.frames import Frame
    from ..page.parts import Data
    from .serving import ServingKernel


class CellOutput:
    """Where the outputs of one cell go. It names the cell in every message it sends."""

    def __init__(self, kernel: ServingKernel, parent: Frame) -> None:
        self._kernel = kernel
        self.parent = parent  # another one once the page was reloaded and the cell run again
        self._count: int = kernel.execution_count

    def show(
        self, data: Data, display_id: str, *, update: bool = False, about: Frame | None = None
    ) -> None:
        """Display a bundle, or change the one displayed under this id.

        `about` is metadata for the saved notebook; give it at first or never: VS Code redraws the
        whole cell when it changes.
        """
        kind = "update_display_data" if update else "display_data"
        transient = {"display_id": display_id}
        metadata = {"hotclaude": about} if about else {}
        self._send(kind, {"data": data, "metadata": metadata, "transient": transient})

    def stream(self, text: str, name: str = "stdout") -> None:
        """Write text."""
        self._send("stream", {"name": name, "text": text})

    def clear(self) -> None:
        """Take away what was shown, once something new comes."""
        self._send("clear_output", {"wait": True})

    def result(self, text: str) -> None:
        """Show a value as the result of the cell."""
        content = {"execution_count": self._count, "data": {"text/plain": text}, "metadata": {}}
        self._send("execute_result", content)

    def error(self, content: Frame) -> None:
        """Show an error."""
        self._send("error", content)

    def _send(self, kind: str, content: Frame) -> None:
        kernel = self._kernel
        kernel.session.send(
            kernel.iopub_socket, kind, content, self.parent, ident=kernel.topic(kind)
        )
