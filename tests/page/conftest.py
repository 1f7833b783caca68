"""Time that stands still, and pages in it."""

from __future__ import annotations

import pytest

from hotclaude_kernel.page import throttle as page_module
from hotclaude_kernel.page.console import ConsolePage
from hotclaude_kernel.page.notebook import NotebookPage

from ..support.paper import FakeTime, Shown


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    """Time in `display` stands still."""
    fake = FakeTime()
    monkeypatch.setattr(page_module, "time", fake)
    monkeypatch.setattr(page_module, "asyncio", fake)
    return fake


@pytest.fixture
def shown(time: FakeTime) -> Shown:
    return Shown(time)


@pytest.fixture
def page(shown: Shown) -> NotebookPage:
    return NotebookPage(shown)


@pytest.fixture
def console(shown: Shown) -> ConsolePage:
    return ConsolePage(shown)
