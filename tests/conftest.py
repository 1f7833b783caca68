"""Fixtures that all rings share: isolation from the user's account, a model server, a kernel.

Everything runs the real `claude` binary, but with a throw-away home, a dummy key and a base URL on
loopback. Where that can't be had, the suite refuses to start.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from hotclaude_kernel.claude.launch import find_claude
from hotclaude_kernel.errors import ClaudeNotFound
from hotclaude_kernel.modelserver.script import Script
from hotclaude_kernel.modelserver.server import ModelServer

from .support import connections
from .support.environment import DUMMY_KEY, isolated_env
from .support.examples import load_profile
from .support.frontend import open_notebook

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .support.frontend import Notebook

# jsonschema, which nbformat imports, compiles this package's grammars for 3 s if it is there. They
# check IRIs, which no notebook has.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

# Before any test module is imported: a property takes its settings when it is defined.
load_profile()

CREDENTIALS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to run where a test could reach an account."""
    found = [name for name in CREDENTIALS if os.environ.get(name, DUMMY_KEY) != DUMMY_KEY]
    if found:
        raise pytest.UsageError(f"a credential is set ({', '.join(found)}); unset it to run tests")
    base = os.environ.get("ANTHROPIC_BASE_URL")
    if base and urlsplit(base).hostname not in LOOPBACK:
        raise pytest.UsageError("ANTHROPIC_BASE_URL is not on loopback; unset it to run tests")
    connections.watch()


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
