"""The example gallery, as somebody sees it who opens it without running anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from .frontend import LAB, WAIT_MS

if TYPE_CHECKING:
    from .conftest import Desk

pytestmark = pytest.mark.browser

GALLERY = Path(__file__).parents[2] / "examples" / "gallery.ipynb"
#: These are long and say little on a picture.
FOLDED = ("more lines", "seq 60", "Telescope", "Glob", "ls nowhere")


class TestGallery:
    front = LAB

    def test_it_shows_everything_without_a_kernel_turn(self, desk: Desk, shots: Path) -> None:
        desk.notebook = "gallery.ipynb"
        (desk.server.root / desk.notebook).write_text(GALLERY.read_text())
        desk.server.start_kernel(desk.notebook)
        sheet = desk.reopen()
        page = sheet.page
        sheet.command("application:toggle-left-area")
        page.set_viewport_size({"width": 840, "height": 3600})
        expect(page.locator(".jp-Notebook h1").first).to_contain_text("Gallery", timeout=WAIT_MS)
        expect(page.locator(".jp-OutputArea img")).to_have_count(1, timeout=WAIT_MS)
        assert page.locator(".jp-OutputArea-output script").count() == 0
        assert page.locator(".jupyter-widgets").count() == 0
        for summary in page.locator(".jp-OutputArea summary").all():
            if not any(words in summary.inner_text() for words in FOLDED):
                summary.evaluate("e => { e.parentElement.open = true }")
        for theme in ("Dark", "Light"):
            sheet.theme(theme)
            last = page.locator(".jp-CodeCell").last
            expect(last).to_contain_text("Then not.")
            page.locator(".jp-Notebook").screenshot(path=shots / f"gallery-{theme.lower()}.png")
        assert desk.requests == []
