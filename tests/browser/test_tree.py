"""Cells that are edited and run again, and what becomes of a restart, on a real page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from hotclaude_kernel.modelserver.demo import demo_model

from .frontend import LAB, WAIT_MS

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Locator

    from .conftest import Desk
    from .frontend import Sheet

pytestmark = pytest.mark.browser

ADA = "remember that my name is Ada"
TOM = "remember that my cat is called Tom"
BYRON = "remember that my name is Ada Byron"
CAT = "remember that my cat is called Tom Kitten"
REX = "remember that my dog is called Rex"
ASKED = "what did I ask you to remember?"

RESTARTING = """() =>
    window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status !== 'idle'
"""
#: A line of the picture is never nearer to its edge than this.
EDGE_PX = 4


def histories(desk: Desk) -> list[list[str]]:
    """The prompts that each request holds."""
    return [[turn.prompt for turn in request.turns] for request in desk.requests]


def restart(sheet: Sheet, item: str) -> None:
    """Choose from the Kernel menu and confirm; return once the kernel is no longer the old one."""
    sheet.page.locator(".lm-MenuBar-itemLabel", has_text="Kernel").click()
    sheet.page.locator(".lm-Menu-itemLabel", has_text=item).first.click()
    sheet.page.locator(".jp-Dialog .jp-mod-accept").click()
    sheet.page.wait_for_function(RESTARTING, timeout=WAIT_MS)
    sheet.wait_connected()


def picture(sheet: Sheet, at: int) -> Locator:
    """The tree that a cell shows."""
    return sheet.output(at).locator("svg[role=img]")


class TestTree:
    front = LAB

    def test_an_edited_cell_is_asked_in_its_place_and_the_tree_shows_both(
        self, desk: Desk, shots: Path
    ) -> None:
        desk.model.model = demo_model
        sheet = desk.open()
        sheet.run(ADA)
        edited = sheet.start(TOM)
        sheet.wait_done(edited)
        assert "Tom" in sheet.run(ASKED)
        sheet.write(edited, REX)
        sheet.page.keyboard.press("ControlOrMeta+Enter")
        sheet.wait_text(edited, "Rewound before turn 2; turns 2–3 are branch branch-1")
        sheet.wait_text(edited, "Noted: my dog is called Rex")
        sheet.wait_kernel("idle")
        assert "Tom" not in sheet.text(edited)
        answer = sheet.run(ASKED)
        assert "Rex" in answer
        assert "Tom" not in answer
        assert histories(desk) == [
            [ADA], [ADA, TOM], [ADA, TOM, ASKED], [ADA, REX], [ADA, REX, ASKED],
        ]  # fmt: skip
        sheet.shoot(shots, "tree-rewound")
        sheet.command("application:toggle-left-area")
        at = sheet.start("%tree")
        sheet.wait_done(at)
        sheet.output(at).locator("summary", has_text="as a picture").click()
        drawn = picture(sheet, at)
        expect(drawn).to_be_visible(timeout=WAIT_MS)
        numbers, words = (drawn.locator("text").all_text_contents()[n::2] for n in (0, 1))
        assert numbers == ["1", "2", "3", "2", "3"]
        assert words == [
            ADA,
            TOM,
            f"{ASKED} [branch-1]",
            REX,
            f"{ASKED} [main] ← you are here",
        ]
        colours = {}
        for theme in ("Dark", "Light"):
            sheet.theme(theme)
            drawn.scroll_into_view_if_needed()
            sheet.output(at).screenshot(path=shots / f"tree-{theme.lower()}.png")
            colours[theme] = drawn.locator("tspan").first.evaluate("e => getComputedStyle(e).fill")
        assert colours["Dark"] != colours["Light"]
        assert cut_off(drawn) == []
        assert len(desk.requests) == 5

    def test_a_restarted_kernel_remembers_and_can_rewind(self, desk: Desk, shots: Path) -> None:
        desk.model.model = demo_model
        sheet = desk.open()
        sheet.run(BYRON)
        sheet.run(CAT)
        sheet.save(desk.notebook, desk.server)
        restart(sheet, "Restart Kernel…")
        answer = sheet.run(ASKED)
        assert "Goes on after turn 2, from the record" in answer
        assert "Ada" in answer
        assert "Tom" in answer
        assert histories(desk)[-1] == [BYRON, CAT, ASKED]
        sheet.shoot(shots, "tree-restarted")
        sheet.write(0, "remember that my name is Grace")
        sheet.save(desk.notebook, desk.server)
        restart(sheet, "Restart Kernel and Run All Cells…")
        sheet.wait_text(0, "Rewound before turn 1; turns 1–3 are branch branch-1")
        sheet.wait_text(2, "Grace")
        sheet.wait_done(2)
        sheet.wait_kernel("idle")
        assert "Ada" not in sheet.text(2)
        assert histories(desk)[-1] == ["remember that my name is Grace", CAT, ASKED]
        sheet.shoot(shots, "tree-run-all")
        last = sheet.run("%tree")
        assert "branch-1" in last


def cut_off(drawn: Locator) -> list[str]:
    """The words of a picture that reach over its edge."""
    script = """(svg, edge) => {
        const frame = svg.getBoundingClientRect();
        return [...svg.querySelectorAll('text')].filter((text) => {
            const box = text.getBoundingClientRect();
            return box.left < frame.left + edge || box.right > frame.right - edge
                || box.top < frame.top || box.bottom > frame.bottom;
        }).map((text) => text.textContent);
    }"""
    return [str(words) for words in drawn.evaluate(script, EDGE_PX)]
