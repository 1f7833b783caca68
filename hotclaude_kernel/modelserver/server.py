"""The HTTP side of the model server: tornado on 127.0.0.1, with the Messages API.

A request is parsed, kept and given to the model, and the answer is played. Bytes are gathered until
the reply waits, so a burst of deltas takes few writes. The server runs on one event loop: the
caller's (`start`, `close`), or that of a thread (`in_thread`) for tests that are not async.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
import socket
import threading
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream, StreamClosedError
from tornado.web import Application, RequestHandler

from .replies import (
    Answer,
    Disconnect,
    EndOfStream,
    Failure,
    Fault,
    Hold,
    Malformed,
    Pause,
    Raw,
    Reply,
    Stall,
    StreamError,
    Wait,
)
from .request import Request, redacted
from .script import Model, Script
from .stream import CHARS_PER_TOKEN, Clock, Due, Step, decode, encode, events, forever, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

log = logging.getLogger(__name__)

# Gathered bytes are written at this size at the latest; it holds a few hundred deltas.
FLUSH_BYTES = 1 << 15
# The API takes 32 MB; one body holds all images of a long conversation.
MAX_BODY_BYTES = 256 << 20


class ModelServer:
    """A Messages API whose answers come from `model`, which may be replaced at any time.

    `requests` holds every POST to `/v1/messages`, `other` the method and path of every other
    request, and `aborted` the number of answers that the client cut short. The model runs on the
    server's loop: an async model may wait, a sync one must not block.
    """

    def __init__(self, model: Model | None = None, *, port: int = 0) -> None:
        self.model: Model = model or Script()
        self.requests: list[Request] = []
        self.other: list[tuple[str, str]] = []
        self.aborted = 0
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()
        self._playing: set[asyncio.Task[None]] = set()
        self._port = port
        self._http: HTTPServer | None = None

    @property
    def port(self) -> int:
        """The port that the server listens on; 0 before the start, unless it was given."""
        return self._port

    @property
    def url(self) -> str:
        """The server's address, for `ANTHROPIC_BASE_URL`."""
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> ModelServer:
        """Listen; the system chooses the port unless one was given. Raises `OSError` if taken."""
        listener = socket.create_server(("127.0.0.1", self._port), backlog=128)
        listener.setblocking(False)
        self._port = listener.getsockname()[1]
        routes = [
            (r"/v1/messages", _Messages, {"server": self}),
            (r"/v1/messages/count_tokens", _CountTokens, {"server": self}),
            (r".*", _Elsewhere, {"server": self}),
        ]
        application = Application(routes, log_function=_quiet)
        self._http = HTTPServer(application, max_buffer_size=MAX_BODY_BYTES)
        self._http.add_socket(listener)
        return self

    async def close(self) -> None:
        """Stop listening, cancel the answers that still play, close all connections. Idempotent."""
        http, self._http = self._http, None
        if http is None:
            return
        http.stop()
        playing = list(self._playing)
        for task in playing:
            task.cancel()
        await asyncio.gather(*playing, return_exceptions=True)
        await http.close_all_connections()

    async def __aenter__(self) -> ModelServer:
        return await self.start()

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    @contextmanager
    def in_thread(self) -> Iterator[ModelServer]:
        """Serve from a thread with an event loop of its own, until the `with` block ends."""
        started: Future[Callable[[], object]] = Future()

        async def serve() -> None:
            ended = asyncio.Event()
            loop = asyncio.get_running_loop()
            async with self:
                started.set_result(lambda: loop.call_soon_threadsafe(ended.set))
                await ended.wait()

        def run() -> None:
            try:
                asyncio.run(serve())
            except OSError as error:
                started.set_exception(error)

        thread = threading.Thread(target=run, name="model-server", daemon=True)
        thread.start()
        try:
            stop = started.result()
            try:
                yield self
            finally:
                stop()
        finally:
            thread.join()

    def wait_for_requests(self, count: int, timeout_s: float = 10.0) -> list[Request]:
        """Block until `count` requests have come; return all requests so far.

        Call it from any thread but the server's. Raises `TimeoutError` if they do not come in time.
        """
        self._wait_for(lambda: len(self.requests) >= count, f"{count} requests", timeout_s)
        return list(self.requests)

    def wait_for_aborted(self, count: int = 1, timeout_s: float = 10.0) -> None:
        """Block until the client has cut `count` answers short.

        Call it from any thread but the server's. Raises `TimeoutError` if that takes too long.
        """
        self._wait_for(lambda: self.aborted >= count, f"{count} aborted answers", timeout_s)

    def _wait_for(self, reached: Callable[[], bool], what: str, timeout_s: float) -> None:
        with self._changed:
            if not self._changed.wait_for(reached, timeout_s):
                raise TimeoutError(
                    f"waited {timeout_s:g} s for {what}; got {len(self.requests)} requests,"
                    f" {self.aborted} aborted"
                )

    def _record(self, request: Request) -> None:
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()

    def _abort(self) -> None:
        with self._changed:
            self.aborted += 1
            self._changed.notify_all()

    async def _ask(self, request: Request) -> Answer:
        """Return the model's answer. If the model raises, answer 400, which clients don't retry."""
        try:
            answer = self.model(request)
            return await answer if inspect.isawaitable(answer) else answer
        except Exception as error:
            log.exception("the model raised")
            return Failure(400, message=f"the model raised {type(error).__name__}: {error}")


def serve_in_thread(model: Model | None = None) -> AbstractContextManager[ModelServer]:
    """Return `ModelServer(model).in_thread()`, a context manager that gives the running server."""
    return ModelServer(model).in_thread()


def _quiet(handler: RequestHandler) -> None:
    """Write no log line: the requests are in `server.requests`."""


class _Route(RequestHandler):
    """The base of all routes: holds the server, and answers errors in the API's JSON."""

    server: ModelServer
    SUPPORTED_METHODS: ClassVar[tuple[str, ...]] = ("GET", "HEAD", "POST")  # type: ignore[misc]

    def initialize(self, server: ModelServer) -> None:
        self.server = server

    def set_default_headers(self) -> None:
        self.clear_header("Server")

    def compute_etag(self) -> None:
        """Return no ETag: clients cache nothing here."""

    def body_json(self) -> dict[str, Any] | None:
        with suppress(ValueError):
            value = decode(self.request.body)
            if isinstance(value, dict):
                return value
        self.fail(Failure(400, message="the body is not a JSON object"))
        return None

    def fail(self, failure: Failure) -> None:
        self.set_status(failure.status)
        for name, value in failure.headers.items():
            self.set_header(name, value)
        self.reply_json(failure.body())

    def reply_json(self, value: Any) -> None:
        self.set_header("content-type", "application/json")
        self.write(encode(value))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.fail(Failure(status_code, message=self._reason))


class _Elsewhere(_Route):
    """Answers `GET` and `HEAD` of `/` and of claude's probe `/api/hello` by 200, others by 404."""

    def prepare(self) -> None:
        path, method = self.request.path, self.request.method or ""
        self.server.other.append((method, path))
        if method in {"GET", "HEAD"} and path in {"/", "/api/hello"}:
            self.reply_json({"ok": True})
        else:
            self.fail(Failure(404, message=f"no such address: {method} {path}"))
        self.finish()


class _CountTokens(_Route):
    def post(self) -> None:
        self.server.other.append(("POST", self.request.path))
        if self.body_json() is not None:
            self.reply_json({"input_tokens": len(self.request.body) // CHARS_PER_TOKEN})


class _Messages(_Route):
    """`POST /v1/messages`. A task plays the answer; it is cancelled when the client disconnects."""

    task: asyncio.Task[None] | None = None
    closing = False

    async def post(self) -> None:
        value = self.body_json()
        if value is None:
            return
        request = Request(
            body=self.request.body,
            json=value,
            headers=redacted(list(self.request.headers.get_all())),
            number=next(self.server._numbers),
            path=self.request.uri or "",
        )
        self.server._record(request)
        self.wire.set_nodelay(True)
        self.set_header("request-id", f"req_{request.number:024d}")
        self.task = asyncio.create_task(self.answer(request))
        self.server._playing.add(self.task)
        try:
            await self.task
        except asyncio.CancelledError:
            self.drop()
        except StreamClosedError:
            self.cut()
            self.drop()
        finally:
            self.server._playing.discard(self.task)

    def on_connection_close(self) -> None:
        if self.task is not None and not self.task.done():
            self.cut()
            self.task.cancel()

    async def answer(self, request: Request) -> None:
        answer = await self.server._ask(request)
        if isinstance(answer, Hold):
            await (answer.gate.passed() if answer.gate else forever())
            answer = answer.answer
        match answer:
            case Failure():
                self.fail(answer)
            case Raw():
                self.set_status(answer.status)
                self.set_header("content-type", answer.content_type)
                self.write(answer.body)
            case Reply() if request.stream:
                await self.stream(events(answer, request))
            case Reply():
                await self.whole(answer, request)

    async def stream(self, steps: Iterable[Step]) -> None:
        """Play the steps; write before each wait, and when 32 kB have gathered."""
        self.set_header("content-type", "text/event-stream; charset=utf-8")
        self.set_header("cache-control", "no-cache")
        clock, size = Clock(), 0
        for step in steps:
            if isinstance(step, bytes):
                self.write(step)
                size += len(step)
                if size >= FLUSH_BYTES:
                    await self.flush()
                    size = 0
            elif not (isinstance(step, Due) and clock.left_s(step) <= 0):
                await self.flush()
                if isinstance(step, Disconnect):
                    return self.drop()
                await clock.rest(step)
                size = 0
        return None

    async def whole(self, reply: Reply, request: Request) -> None:
        """Play a reply as one JSON object; a fault takes the form that it has without a stream."""
        for block in reply.blocks:
            match block:
                case Pause() | Wait() | Stall():
                    await Clock().rest(block)
                case Disconnect() | EndOfStream() | Malformed() | StreamError():
                    return self.break_off(block)
        return self.reply_json(plain(reply, request))

    def break_off(self, fault: Fault) -> None:
        match fault:
            case StreamError():
                status = 529 if fault.error_type == "overloaded_error" else 500
                self.fail(Failure(status, fault.error_type, fault.message))
            case Malformed():
                self.set_header("content-type", "application/json")
                self.write(fault.line)
            case Disconnect() | EndOfStream():
                self.drop()

    def cut(self) -> None:
        """Count an answer that the client has cut short."""
        if not self.closing:
            self.closing = True
            self.server._abort()

    def drop(self) -> None:
        """Close the connection before the response is complete."""
        self.closing = True
        self._auto_finish = False
        self.wire.close()

    @property
    def wire(self) -> IOStream:
        """The connection's socket stream, which is not in tornado's typed interface."""
        stream: IOStream = self.request.connection.stream  # type: ignore[union-attr]
        return stream
