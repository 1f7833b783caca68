"""The example of branches, as somebody sees it who opens it without running anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from .frontend import LAB, WAIT_MS

if TYPE_CHECKING:
    from .conftest import Desk

pytestmark = pytest.mark.browser

BRANCHES = Path(__file__).parents[2] / "examples" / "branches.ipynb"


class TestBranches:
    front = LAB

    def test_both_versions_and_the_tree_are_seen(self, desk: Desk, shots: Path) -> None:
        desk.notebook = "branches.ipynb"
        (desk.server.root / desk.notebook).write_text(BRANCHES.read_text())
        desk.server.start_kernel(desk.notebook)
        sheet = desk.reopen()
        page = sheet.page
        sheet.command("application:toggle-left-area")
        page.set_viewport_size({"width": 840, "height": 3000})
        expect(page.locator(".jp-Notebook h1").first).to_contain_text("Branches", timeout=WAIT_MS)
        expect(page.get_by_text("Rewound before turn 3")).to_have_count(1)
        # A page that does not trust the notebook keeps the list of the tree and drops the picture.
        expect(page.get_by_text("you are here").first).to_be_visible()
        for theme in ("Dark", "Light"):
            sheet.theme(theme)
            expect(page.locator(".jp-CodeCell").last).to_contain_text("prompt cache")
            page.locator(".jp-Notebook").screenshot(path=shots / f"branches-{theme.lower()}.png")
        assert desk.requests == []
