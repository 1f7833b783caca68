"""The question about a folder: seen in both themes, and answered by a click."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import nbformat
import pytest

from hotclaude_kernel.modelserver.replies import Gate, Reply, Wait

from ..support.intruder import Intruder, put
from ..support.waiting import until
from .frontend import LAB, NOTEBOOK_7

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Desk

pytestmark = pytest.mark.browser
NASTY = "touch x; echo '<img src=x onerror=alert(1)>' \u202e\x1b[2K $\\rule{99em}{99em}$"


class TestLab:
    front = LAB

    def test_what_a_folder_brings_is_asked_about_and_then_runs(
        self, desk: Desk, shots: Path
    ) -> None:
        work = desk.server.root / "outer" / "stranger"
        intruder = Intruder(work)
        hooks = {"PreToolUse": [{"hooks": [{"type": "command", "command": NASTY}]}]}
        put(work / ".claude/settings.local.json", json.dumps({"hooks": hooks}))
        desk.notebook = f"outer/stranger/{desk.notebook}"
        sheet = desk.open()
        at = sheet.start("hello")
        sheet.wait_asked(at, "Trust the folder")
        asked = sheet.text(at)
        assert "hook SessionStart: echo $PPID" in asked
        assert "<img src=x onerror=alert(1)>" in asked
        assert "⟨U+202E⟩␛[2K" in asked
        assert sheet.output(at).locator("mjx-container").count() == 0
        sheet.shoot(shots, "lab-trust-light")
        sheet.theme("Dark")
        sheet.wait_asked(at, "Trust the folder")
        sheet.shoot(shots, "lab-trust-dark")
        sheet.theme("Light")
        assert desk.requests == []
        assert intruder.ran == set()
        sheet.press(at, "Trust this folder")
        sheet.wait_done(at)
        sheet.wait_unasked(at)
        assert sheet.text(at).startswith("❖ Trusted: ")
        sheet.shoot(shots, "lab-trusted")
        until(lambda: {"SessionStart", "server", "server-above"} <= intruder.ran, "it acts")
        assert len(desk.requests) == 1
        assert "widget" not in nbformat.writes(sheet.save(desk.notebook, desk.server))

    def test_a_folder_of_text_has_one_line_with_a_button(self, desk: Desk, shots: Path) -> None:
        work = desk.server.root / "texts"
        put(work / "CLAUDE.md", "MARKTEXT")
        desk.notebook = f"texts/{desk.notebook}"
        gate = Gate()
        desk.answers(Reply("Half. ", Wait(gate), "Whole."))
        sheet = desk.open()
        at = sheet.start("hello")
        sheet.wait_text(at, "Half.")
        sheet.wait_asked(at, "since it is not trusted: CLAUDE.md")
        sheet.shoot(shots, "lab-trust-text")
        gate.open()
        sheet.wait_done(at)
        sheet.wait_unasked(at)
        assert "since it is not trusted: CLAUDE.md" in sheet.text(at)
        sheet.shoot(shots, "lab-trust-text-after")


class TestNotebook7:
    front = NOTEBOOK_7

    def test_a_no_leaves_the_folder_out(self, desk: Desk, shots: Path) -> None:
        intruder = Intruder(desk.server.root / "beside" / "stranger")
        desk.notebook = f"beside/stranger/{desk.notebook}"
        sheet = desk.open()
        at = sheet.start("hello")
        sheet.wait_asked(at, "Trust the folder")
        sheet.shoot(shots, "notebook-trust")
        sheet.press(at, "Go on without")
        sheet.wait_done(at)
        sheet.wait_unasked(at)
        assert "since it is not trusted" in sheet.text(at)
        sheet.shoot(shots, "notebook-trust-no")
        sheet.run("again")  # it is asked once
        assert len(desk.requests) == 2
        assert intruder.ran == set()
