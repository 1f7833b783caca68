"""The outputs of one cell, as Jupyter messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..claude.frames import Frame
    from ..page.parts import Data
    from .serving import ServingKernel


class CellOutput:
    """Sends the outputs of one cell, each message with the cell's request as its parent.

    ipykernel would take the parent from a context variable. The task that reads the process has
    the context it was started in, which may be another cell's.
    """

    def __init__(self, kernel: ServingKernel, parent: Frame) -> None:
        self._kernel = kernel
        self.parent = parent  # replaced if a reloaded page runs the cell again
        self._count: int = kernel.execution_count

    def show(
        self, data: Data, display_id: str, *, update: bool = False, about: Frame | None = None
    ) -> None:
        """Display a MIME bundle, or change the one displayed under this id.

        The notebook is saved with `about` as metadata. An update must not change `about`, since VS
        Code would redraw the whole cell.
        """
        kind = "update_display_data" if update else "display_data"
        transient = {"display_id": display_id}
        metadata = {"hotclaude": about} if about else {}
        self._send(kind, {"data": data, "metadata": metadata, "transient": transient})

    def stream(self, text: str, name: str = "stdout") -> None:
        """Write text."""
        self._send("stream", {"name": name, "text": text})

    def clear(self) -> None:
        """Clear the cell's outputs as soon as the next one comes."""
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
