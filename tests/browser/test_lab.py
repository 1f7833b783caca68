"""The page in JupyterLab, in Chromium."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.modelserver.replies import Gate, Reply, Wait

from .frontend import LAB
from .pages import PageTests

if TYPE_CHECKING:
    from .conftest import Desk

pytestmark = pytest.mark.browser


class TestLab(PageTests):
    front = LAB

    def test_a_cell_run_again_after_a_reload_goes_on_live(self, desk: Desk) -> None:
        gate, last = Gate(), Gate()
        parts = ("The first half. ", Wait(gate), "The second half. ", Wait(last), "The end.")
        desk.answers(Reply(*parts))
        sheet = desk.open(["Ask"])
        sheet.start_again(0)
        sheet.wait_text(0, "The first half.")
        sheet.reload()
        sheet.start_again(0)
        sheet.wait_text(0, "The first half.")
        sheet.wait_waiting(0)
        gate.open()
        sheet.wait_text(0, "The second half.")
        assert "The end." not in sheet.text(0)
        last.open()
        sheet.wait_done(0)
        sheet.wait_text(0, "The end.")
        assert "Shown again" not in sheet.text(0)
        assert len(desk.requests) == 1
