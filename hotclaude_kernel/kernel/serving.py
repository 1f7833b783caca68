"""A Jupyter kernel that answers every request but execution at once, and survives an interrupt.

ipykernel's base class answers completions, kernel_info and comms only after the running cell. If
the cell is async, an interrupt makes ipykernel hang (signal mode) or end (message mode). This class
answers in some 3 ms while a cell runs, and an interrupt calls `interrupt` on the main loop.
"""

from __future__ import annotations

import asyncio
import inspect
import signal
import sys
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from ipykernel.kernelbase import Kernel

from ..claude.frames import whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..claude.frames import Frame

PROTOCOL_VERSION = "5.5"
FLUSH_S = 0.1


class ServingKernel(Kernel):
    """The base of hotclaude's kernel; `executing` is the request of the running cell."""

    session: Any  # the base class types it as optional; a running kernel has one
    executing: Frame | None = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._serve_comms()
        for handlers in (self.shell_handlers, self.control_handlers):
            for kind, serve in handlers.items():
                if kind.endswith("_request"):
                    handlers[kind] = self._replying(kind, serve)

    @property
    def kernel_info(self) -> Frame:
        """The content of the kernel_info reply; the base class would import debugpy for it."""
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

    # --- every request gets a reply ----------------------------------------------------------

    def _replying(self, kind: str, serve: Callable[..., Any]) -> Callable[..., Any]:
        """Return a handler of requests that replies with an error where `serve` raises one.

        The base class only logs the error, and the client would wait for ever.
        """

        async def served(stream: Any, ident: Any, parent: Frame) -> None:
            try:
                answered = serve(stream, ident, parent)
                if inspect.isawaitable(answered):
                    await answered
            except Exception as error:  # a bad request must not end what is running
                self.log.exception("in a %s", kind)
                content = {
                    "status": "error",
                    "ename": type(error).__name__,
                    "evalue": whole(str(error)),
                    "traceback": [],
                }
                reply = kind.replace("_request", "_reply")
                self.session.send(stream, reply, content, parent, ident=ident)

        return served

    async def execute_request(self, stream: Any, ident: Any, parent: Frame) -> None:
        """Run a cell, in text that UTF-8 can encode.

        The base class would fail to repeat a lone surrogate (half an emoji), and give no reply. The
        API refuses one, too. So the cell that is shown, sent and recorded is the text without it.
        """
        parent["content"]["code"] = whole(parent["content"]["code"])
        await super().execute_request(stream, ident, parent)

    async def do_debug_request(self, msg: Frame) -> Frame:
        """Refuse a request of the debug protocol, in its own form: there is no debugger."""
        return {
            "type": "response",
            "request_seq": msg.get("seq", 0),
            "command": msg.get("command", ""),
            "success": False,
            "message": "hotclaude has no debugger",
        }

    # --- interrupt ---------------------------------------------------------------------------

    def start(self) -> None:
        """Take over SIGINT for the whole life of the kernel."""
        super().start()
        self.loop = asyncio.get_event_loop()
        signal.signal(signal.SIGINT, lambda *_: self.loop.call_soon_threadsafe(self.interrupt))

    def interrupt(self) -> None:
        """Stop the running cell; called on the main loop."""

    def pre_handler_hook(self) -> None:
        """Do nothing: `start` has set the handler of SIGINT."""

    def post_handler_hook(self) -> None:
        """Do nothing: `start` has set the handler of SIGINT."""

    async def interrupt_request(self, stream: Any, ident: Any, parent: Frame) -> None:
        """Have the main thread, where the conversation lives, stop the turn; reply at once.

        ipykernel calls this on its control thread.
        """
        self.loop.call_soon_threadsafe(self.interrupt)
        self.session.send(stream, "interrupt_reply", {"status": "ok"}, parent, ident=ident)

    async def shutdown_request(self, stream: Any, ident: Any, parent: Frame) -> None:
        """Shut down. ipykernel calls this on its control thread.

        The base class ends by flushing stdout through the iopub thread, which the main thread may
        have stopped already. Then the flush would wait 10 s, and Jupyter kills a kernel after 2.5.
        """
        out: Any
        for out in (sys.stdout, sys.stderr):
            out.flush_timeout = FLUSH_S
        await super().shutdown_request(stream, ident, parent)

    # --- the running cell, run again -------------------------------------------------------------

    def rejoins(self, request: Frame) -> bool:
        """Return whether a reloaded page asks to run the cell that is running, unchanged.

        The request's content is still packed; `self.session.unpack` reads it.
        """
        return False

    async def rejoin(self, request: Frame) -> Frame:
        """Move the running cell's outputs to the request; return the cell's reply when it ends."""
        raise RuntimeError("`rejoins` said no")

    async def _rejoin(self, stream: Any, ident: Any, request: Frame) -> None:
        code = whole(request["content"]["code"])
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
        """Serve any request but an execution at once, even while a cell runs."""
        if subshell_id is None and self._main_asyncio_lock.locked():
            message = self._message_to_serve(msg)
            if message is not None:
                # A context of its own, so that its parent does not replace the running cell's.
                await asyncio.create_task(self._serve(*message), context=copy_context())
                return
        await super().shell_main(subshell_id, msg)

    def _message_to_serve(self, msg: Any) -> tuple[Any, Frame] | None:
        """Return the identities and the message if it can be served now, else `None`."""
        if len(msg) == 1:  # ipykernel's own "stop aborting"
            return None
        try:
            idents, frames = self.session.feed_identities(msg, copy=False)
            # Only the header: the base class can't deserialize a message's content a second time.
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
        except Exception:  # a bad request must not end the running cell
            self.log.exception("in a request served while a cell runs")
        self._publish_status("idle", "shell", parent=message)
        if self.executing is not None:
            # Front ends show the last status they saw; the cell is still running.
            self._publish_status("busy", "shell", parent=self.executing)
