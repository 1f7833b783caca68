"""A Jupyter kernel that serves everything but execution at once, and survives an interrupt.

The stock base class answers completions, kernel_info and comms only after the running cell, and an
interrupt makes it hang (signal mode) or end (message mode) when the cell is async. This one answers
in some 3 ms while a cell runs, and an interrupt is a call of `interrupt` on the main loop.
"""

from __future__ import annotations

import asyncio
import inspect
import signal
import sys
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from ipykernel.kernelbase import Kernel

if TYPE_CHECKING:
    from ..claude.frames import Frame

PROTOCOL_VERSION = "5.5"
FLUSH_S = 0.1


class ServingKernel(Kernel):
    """The base of our kernel; `executing` is the request of the cell that runs."""

    session: Any  # the base class allows for None, which no running kernel has
    executing: Frame | None = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._serve_comms()

    @property
    def kernel_info(self) -> Frame:
        """What the kernel is. The base class would import debugpy to say so."""
        return {
            "protocol_version": PROTOCOL_VERSION,
            "implementation": self.implementation,
            "implementation_version": self.implementation_version,
            "language_info": self.language_info,
            "banner": self.banner,
            "help_links": [],
            "supported_features": ["kernel subshells"] if self._supports_kernel_subshells else [],
        }

    def topic(self, kind: str) -> bytes:
        """Return the iopub topic of a message of this kind."""
        topic: bytes = self._topic(kind)
        return topic

    # --- interrupt ---------------------------------------------------------------------------

    def start(self) -> None:
        """Take over SIGINT for the whole life of the kernel."""
        super().start()
        self.loop = asyncio.get_event_loop()
        signal.signal(signal.SIGINT, lambda *_: self.loop.call_soon_threadsafe(self.interrupt))

    def interrupt(self) -> None:
        """Stop the running cell; called on the main loop."""

    def pre_handler_hook(self) -> None:
        """Leave SIGINT alone: it is ours all the time."""

    def post_handler_hook(self) -> None:
        """Leave SIGINT alone."""

    async def interrupt_request(self, stream: Any, ident: Any, parent: Frame) -> None:
        """Stop the turn. Comes on the control thread; the conversation lives on the main one."""
        self.loop.call_soon_threadsafe(self.interrupt)
        self.session.send(stream, "interrupt_reply", {"status": "ok"}, parent, ident=ident)

    async def shutdown_request(self, stream: Any, ident: Any, parent: Frame) -> None:
        """Shut down; control thread.

        After it the base class flushes stdout through the iopub thread, which the main thread may
        have stopped by then; the flush would wait 10 s, and Jupyter kills the kernel after 2.5.
        """
        out: Any
        for out in (sys.stdout, sys.stderr):
            out.flush_timeout = FLUSH_S
        await super().shutdown_request(stream, ident, parent)

    # --- the running cell, run again -------------------------------------------------------------

    def rejoins(self, request: Frame) -> bool:
        """Whether an execution request is for the very cell that is running, from a new page.

        Its content is still packed: it is `self.session.unpack(request["content"])`.
        """
        return False

    async def rejoin(self, request: Frame) -> Frame:
        """Show the running cell in place of the request's, and return its reply at its end."""
        raise RuntimeError("`rejoins` said no")

    async def _rejoin(self, stream: Any, ident: Any, request: Frame) -> None:
        code = request["content"]["code"]
        self._publish_execute_input(code, request, self.execution_count)
        reply = await self.rejoin(request)
        self.session.send(stream, "execute_reply", reply, request, ident=ident)

    # --- served while a cell runs ------------------------------------------------------------

    def _serve_comms(self) -> None:
        import comm
        import ipykernel.ipkernel  # noqa: F401 - makes `comm` create ipykernel's comms

        self.comm_manager = comm.get_comm_manager()
        for kind in ("comm_open", "comm_msg", "comm_close"):
            self.shell_handlers[kind] = getattr(self.comm_manager, kind)

    async def shell_main(self, subshell_id: str | None, msg: Any) -> None:
        """Serve what is not an execution at once, even while a cell runs."""
        if subshell_id is None and self._main_asyncio_lock.locked():
            message = self._message_to_serve(msg)
            if message is not None:
                # In a context of its own: its parent must not become the running cell's.
                await asyncio.create_task(self._serve(*message), context=copy_context())
                return
        await super().shell_main(subshell_id, msg)

    def _message_to_serve(self, msg: Any) -> tuple[Any, Frame] | None:
        """Return the message if it can be served now, `None` if the base class is to have it."""
        if len(msg) == 1:  # ipykernel's own "stop aborting"
            return None
        try:
            idents, frames = self.session.feed_identities(msg, copy=False)
            # Only a peek: a message that was unpacked whole can't be unpacked again.
            peek: Frame = self.session.deserialize(frames, content=False, copy=False)
            kind = peek["header"]["msg_type"]
            if kind == "execute_request" and not self.rejoins(peek):
                return None
            if kind not in self.shell_handlers:
                return None
            return idents, self.session.deserialize(frames, content=True, copy=False)
        except (ValueError, TypeError, KeyError):
            return None  # the base class reports it

    async def _serve(self, idents: Any, message: Frame) -> None:
        self._shell_parent_ident.set(idents)
        self._shell_parent.set(message)
        stream = self.shell_stream
        if self._supports_kernel_subshells:
            stream = self.shell_channel_thread.manager.get_subshell_to_shell_channel_socket(None)
        self._publish_status("busy", "shell", parent=message)
        try:
            kind = message["header"]["msg_type"]
            serve = self._rejoin if kind == "execute_request" else self.shell_handlers[kind]
            answered = serve(stream, idents, message)
            if inspect.isawaitable(answered):
                await answered
        except Exception:  # one bad request must not end the cell that runs
            self.log.exception("in a request served while a cell runs")
        self._publish_status("idle", "shell", parent=message)
        if self.executing is not None:
            # Front ends show the last status they saw; the cell is still running.
            self._publish_status("busy", "shell", parent=self.executing)
