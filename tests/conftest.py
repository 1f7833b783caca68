"""What all rings share: isolation from the user's account, a model server, kernels.

Everything runs the real `claude` binary, but with a throw-away home, a dummy key and a base URL on
loopback. Where that can't be had, the suite refuses to start.
"""

from __future__ import annotations

import os
import queue
import shutil
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from hotclaude_kernel.claude.launch import find_claude
from hotclaude_kernel.errors import ClaudeNotFound
from hotclaude_kernel.modelserver.script import Script
from hotclaude_kernel.modelserver.server import ModelServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DUMMY_KEY = "dummy"
CREDENTIALS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
DEADLINE_S = 30.0


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to run where a test could reach an account."""
    found = [name for name in CREDENTIALS if os.environ.get(name, DUMMY_KEY) != DUMMY_KEY]
    if found:
        raise pytest.UsageError(f"a credential is set ({', '.join(found)}); unset it to run tests")
    base = os.environ.get("ANTHROPIC_BASE_URL")
    if base and urlsplit(base).hostname not in LOOPBACK:
        raise pytest.UsageError("ANTHROPIC_BASE_URL is not on loopback; unset it to run tests")


RINGS = ("wire", "kernel", "browser")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a failure: a ring that can't run there is a ring nobody runs."""
    if not os.environ.get("CI") or hasattr(session.config, "workerinput"):
        return
    reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", [])
    ran = {ring for report in reporter.stats.get("passed", []) for ring in report.keywords}
    missing = [ring for ring in RINGS if ring not in ran]
    if skipped or missing:
        print(f"\nin CI nothing may be skipped: {len(skipped)} were, rings not run: {missing}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def binary() -> str:
    """The real claude binary."""
    try:
        return find_claude()
    except ClaudeNotFound:
        pytest.skip("no claude binary; install the extra `bundled`")


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """A model server that says ok until the test gives it something else."""
    with ModelServer(Script([])).in_thread() as running:
        yield running


def isolated_env(home: Path, url: str, binary: str) -> dict[str, str]:
    """Return all of the environment that a process under test gets."""
    (home / "work").mkdir(parents=True, exist_ok=True)
    return {
        "PATH": f"{os.path.dirname(sys.executable)}:/usr/bin:/bin",  # noqa: PTH120
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "CLAUDE_CONFIG_DIR": str(home / ".claude"),
        "ANTHROPIC_API_KEY": DUMMY_KEY,
        "ANTHROPIC_BASE_URL": url,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "HOTCLAUDE_CLI": binary,
        "IPYTHONDIR": str(home / ".ipython"),
        "JUPYTER_CONFIG_DIR": str(home / ".jupyter"),
    }


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A throw-away home."""
    return tmp_path / "home"


@pytest.fixture
def env(home: Path, server: ModelServer, binary: str) -> dict[str, str]:
    """The environment of one test's processes."""
    return isolated_env(home, server.url, binary)


@pytest.fixture
def isolated(env: dict[str, str], home: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """This process itself in that environment, for tests that spawn `claude` directly."""
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(home / "work")
    return env


def until(condition: Callable[[], Any], what: str, timeout_s: float = DEADLINE_S) -> Any:
    """Wait for a condition and return its value; fail naming it."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.005)
    raise AssertionError(f"not within {timeout_s:g} s: {what}")


class Cell:
    """What came of one executed cell: every iopub message of it, and the reply."""

    def __init__(self, messages: list[dict[str, Any]], reply: dict[str, Any]) -> None:
        self.messages = messages
        self.reply = reply

    @property
    def status(self) -> str:
        return str(self.reply["content"]["status"])

    def contents(self, kind: str) -> list[dict[str, Any]]:
        return [m["content"] for m in self.messages if m["header"]["msg_type"] == kind]

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """The bundles as a notebook would save them: updates applied, clears obeyed."""
        shown: dict[str, dict[str, Any]] = {}
        cleared = False
        for message in self.messages:
            kind, content = message["header"]["msg_type"], message["content"]
            if kind == "clear_output":
                cleared = True
            elif kind in ("display_data", "update_display_data"):
                if cleared and kind == "display_data":
                    shown, cleared = {}, False
                shown[content["transient"]["display_id"]] = content["data"]
        return list(shown.values())

    @property
    def markdown(self) -> str:
        """The answer as the saved notebook holds it."""
        return "".join(data.get("text/markdown", "") for data in self.outputs)

    @property
    def plain(self) -> str:
        """All that the saved notebook holds as plain text."""
        return "\n".join(data.get("text/plain", "") for data in self.outputs)

    @property
    def stdout(self) -> str:
        return "".join(c["text"] for c in self.contents("stream") if c["name"] == "stdout")


class Notebook:
    """A kernel and a client of it that runs cells as a front end does."""

    def __init__(self, manager: KernelManager) -> None:
        self.manager = manager
        # A client of its own making has its own session id, as each page of a front end has.
        self.client = BlockingKernelClient()
        self.client.load_connection_info(manager.get_connection_info())
        self.client.start_channels()
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Wait for a reply and for its status messages.

        The client's own `wait_for_ready` takes a heartbeat that is late for a death.
        """
        deadline = time.monotonic() + DEADLINE_S
        replied = heard = False
        while not (replied and heard):
            assert time.monotonic() < deadline, "the kernel does not get ready"
            self.client.kernel_info()
            with suppress(queue.Empty):
                replied |= bool(self.client.get_shell_msg(timeout=1))
                heard |= bool(self.client.get_iopub_msg(timeout=1))

    @property
    def pid(self) -> int:
        """The kernel's own process."""
        pid = getattr(self.manager.provisioner, "pid", None)
        assert isinstance(pid, int)
        return pid

    def send(
        self, code: str, *, cell_id: str | None = "cell", allow_stdin: bool = False, **content: Any
    ) -> str:
        """Request an execution as JupyterLab does; return the message id."""
        body = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": allow_stdin,
            "stop_on_error": True,
        } | content
        message = self.client.session.msg("execute_request", body)
        if cell_id is not None:
            message["metadata"]["cellId"] = cell_id
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def collect(
        self, message_id: str, hook: Callable[[dict[str, Any]], None] | None = None
    ) -> Cell:
        """Return what came of a request, up to its idle status."""
        messages = []
        while True:
            message = self.client.get_iopub_msg(timeout=DEADLINE_S)
            if message["parent_header"].get("msg_id") != message_id:
                continue
            messages.append(message)
            if hook:
                hook(message)
            if message["content"].get("execution_state") == "idle":
                break
        while True:
            reply = self.client.get_shell_msg(timeout=DEADLINE_S)
            if reply["parent_header"].get("msg_id") == message_id:
                return Cell(messages, reply)

    def run(
        self,
        code: str,
        *,
        hook: Callable[[dict[str, Any]], None] | None = None,
        **options: Any,
    ) -> Cell:
        """Run a cell to its end."""
        return self.collect(self.send(code, **options), hook)

    def close(self) -> None:
        """Leave the kernel, as a closed page does."""
        self.client.stop_channels()
        self.client.context.destroy()


@contextmanager
def open_notebook(env: dict[str, str], *arguments: str) -> Iterator[Notebook]:
    """Run a kernel in an isolated environment."""
    manager = KernelManager(kernel_name="hotclaude")
    manager.start_kernel(env=env, cwd=f"{env['HOME']}/work", extra_arguments=list(arguments))
    try:
        notebook = Notebook(manager)
    except BaseException:
        manager.shutdown_kernel(now=True)
        raise
    try:
        yield notebook
    finally:
        notebook.close()
        manager.shutdown_kernel()


@pytest.fixture
def notebook(env: dict[str, str]) -> Iterator[Notebook]:
    """A kernel on the model server."""
    with open_notebook(env) as running:
        yield running


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's path."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        pytest.skip("no chromium")
    return found
