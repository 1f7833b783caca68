"""One Chromium, one model server, and a Jupyter server of each front end for the whole ring.

They are started when the first test asks for them. Everything but a test's own kernel and page is
shared, since a server takes some 3 s to start and a test should not.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.modelserver.script import Script
from hotclaude_kernel.modelserver.server import ModelServer

from ..support.environment import isolated_env

pytest.register_assert_rewrite("tests.browser.pages")
playwright = pytest.importorskip("playwright.sync_api")

from .frontend import FrontEnd, Sheet, jupyter, screenshot_folder  # noqa: E402
from .watch import Seen, chromium, watched  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, Page

    from hotclaude_kernel.modelserver.replies import Answer
    from hotclaude_kernel.modelserver.request import Request
    from hotclaude_kernel.modelserver.script import Model

    from .frontend import JupyterServer

VIEW = {"width": 1200, "height": 900}


class Desk:
    """What one test works at: a front end, a page of it, and the model that answers."""

    def __init__(
        self,
        front: FrontEnd,
        server: JupyterServer,
        context: BrowserContext,
        model: ModelServer,
        *,
        seen: Seen,
        name: str,
    ) -> None:
        self.front = front
        self.server = server
        self.context = context
        self.model = model
        self.seen = seen
        self.notebook = f"{name}.ipynb"
        self.page: Page = context.new_page()
        self._requests_before = len(model.requests)

    def answers(self, *answers: Answer | str | Model, default: Answer | str = "ok") -> None:
        """Set what the model says from here on."""
        self.model.model = Script(answers, default=default)

    @property
    def requests(self) -> list[Request]:
        """The turns' requests that this test made."""
        made = self.model.requests[self._requests_before :]
        return [request for request in made if request.auxiliary is None]

    def open(self, cells: Sequence[str] = ("",)) -> Sheet:
        """Open a notebook of these prompts."""
        self.server.write(self.notebook, cells)
        self.server.start_kernel(self.notebook)
        return self.reopen()

    def reopen(self) -> Sheet:
        """Open the notebook as its file holds it now, with the kernel it has."""
        return self.front.open(self.page, self.server, self.notebook)

    def new(self) -> Sheet:
        """Make a notebook from the front end's own list of kernels."""
        sheet = self.front.new(self.page, self.server)
        self.page = sheet.page
        return sheet


class Bench:
    """The servers and contexts that the tests share."""

    def __init__(
        self, stack: ExitStack, browser: Browser, model: ModelServer, *, binary: str, folder: Path
    ) -> None:
        self.browser = browser
        self.model = model
        self._stack = stack
        self._binary = binary
        self._folder = folder
        self._started: dict[str, tuple[JupyterServer, BrowserContext, Seen]] = {}

    def at(self, front: FrontEnd) -> tuple[JupyterServer, BrowserContext, Seen]:
        """Return a front end's server, started if it is the first time, and a context on it."""
        if front.name not in self._started:
            home = self._folder / front.name
            env = isolated_env(home, self.model.url, self._binary)
            env["HOTCLAUDE_RECORD"] = "all"  # tests share a server; none may replay another's turns
            log = self._folder / f"{front.name}.log"
            server = self._stack.enter_context(jupyter(front.program, env, log))
            context, seen = self._stack.enter_context(watched(self.browser, server.origin))
            self._started[front.name] = (server, context, seen)
        return self._started[front.name]

    @contextmanager
    def desk(self, front: FrontEnd, name: str) -> Iterator[Desk]:
        """Lend a front end to one test, and see that nothing left this machine."""
        server, context, seen = self.at(front)
        desk = Desk(front, server, context, self.model, seen=seen, name=name)
        desk.page.set_viewport_size(VIEW)  # type: ignore[arg-type]
        try:
            yield desk
        finally:
            for page in context.pages:
                page.close()
            server.close_kernels()
        assert (seen.requests, seen.dialogs) == ([], [])


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The one Chromium of the ring."""
    with playwright.sync_playwright() as running:
        try:
            with chromium(running) as opened:
                yield opened
        except LookupError as missing:
            pytest.skip(str(missing))


@pytest.fixture(scope="package")
def bench(
    browser: Browser, binary: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    """What the ring shares."""
    folder = tmp_path_factory.mktemp("browser")
    with ModelServer(Script()).in_thread() as model, ExitStack() as stack:
        yield Bench(stack, browser, model, binary=binary, folder=folder)


@pytest.fixture
def desk(bench: Bench, request: pytest.FixtureRequest) -> Iterator[Desk]:
    """A desk at the front end that the test's class names."""
    name = f"{request.cls.__name__}-{request.node.originalname}"
    with bench.desk(request.cls.front, name) as lent:
        yield lent


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """Where pictures go."""
    return screenshot_folder(tmp_path)
