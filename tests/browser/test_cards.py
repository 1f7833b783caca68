"""Tool uses as cards on a real page: what they show, and that they stay as the reader left them."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from hotclaude_kernel.modelserver.replies import Gate, Reply, Text, Thinking, ToolUse, Wait

from .frontend import LAB, WAIT_MS
from .pages import MOST_OUTPUTS

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Locator

    from .conftest import Desk

pytestmark = pytest.mark.browser

TODOS = [
    {"content": "Read the files", "status": "completed", "activeForm": "Reading"},
    {"content": "Change them", "status": "in_progress", "activeForm": "Changing"},
    {"content": "Run the tests", "status": "pending", "activeForm": "Running"},
]
ANSI = "plain \x1b[31mred\x1b[0m \x1b[1;32mbold green\x1b[0m\n" + "".join(
    f"line {n}\n" for n in range(1, 60)
)


def png(width: int, height: int) -> bytes:
    """A picture of two colours."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    row = b"\0" + b"\x2b\x7f\xd9" * (width // 2) + b"\xd6\x44\x3e" * (width - width // 2)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(row * height)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(kind, data) for kind, data in ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    )


def is_open(fold: Locator) -> bool:
    return bool(fold.evaluate("fold => fold.open"))


class TestCards:
    front = LAB

    def test_a_fold_stays_open_while_text_streams_below_it(self, desk: Desk) -> None:
        gate, last = Gate(), Gate()
        (desk.server.root / "colours.txt").write_text(ANSI)
        look = ToolUse("Bash", {"command": "cat colours.txt", "description": "Look"})
        streamed = ("The first half. ", Wait(gate), Text("More words. " * 300), Wait(last))
        desk.answers(
            Reply(Thinking("Where to look?"), Text("I look.\n\n" * 2), look),
            Reply(*streamed, "The end."),
        )
        sheet = desk.open()
        at = sheet.start("Look")
        sheet.wait_text(at, "The first half.")
        thought = sheet.output(at).locator("details", has_text="Where to look?").first
        card = sheet.output(at).locator("details", has_text="colours.txt").first
        expect(card).to_contain_text("done")
        for fold in (thought, card):
            assert not is_open(fold)
            fold.locator("summary").first.click()
            assert is_open(fold)
        more = card.locator("details")
        more.locator("summary").click()
        gate.open()
        expect(sheet.output(at)).to_contain_text("More words. " * 300, timeout=WAIT_MS)
        assert [is_open(fold) for fold in (thought, card, more)] == [True] * 3
        last.open()
        sheet.wait_done(at)
        sheet.wait_text(at, "The end.")
        assert [is_open(fold) for fold in (thought, card, more)] == [True] * 3

    def test_120_calls_stay_below_the_limit_of_outputs(self, desk: Desk) -> None:
        (desk.server.root / "many.txt").write_text("".join(f"{n}\n" for n in range(500)))
        calls = [
            ToolUse("Read", {"file_path": "many.txt", "offset": n, "limit": 3})
            for n in range(1, 121)
        ]
        groups = [calls[at : at + 10] for at in range(0, 120, 10)]
        words = "Some words on what is done here. " * 8
        desk.answers(
            *(Reply(f"Round {n}. {words}", *group) for n, group in enumerate(groups, 1)), "Done."
        )
        sheet = desk.open()
        at = sheet.start("Read a lot")
        sheet.wait_done(at)
        sheet.wait_text(at, "Done.")
        cards = sheet.output(at).locator("details", has=sheet.page.locator("summary b"))
        expect(cards).to_have_count(120)
        assert sheet.output(at).locator("summary", has_text="done").count() == 120
        assert sheet.output(at).locator(".jp-OutputArea-child").count() <= MOST_OUTPUTS
        assert sheet.page.locator(".jp-TrimmedOutputs").count() == 0
        assert all(f"Round {n}. " in sheet.text(at) for n in range(1, 13))

    def test_every_kind_of_card_looks_like_what_it_means(self, desk: Desk, shots: Path) -> None:
        root = desk.server.root
        (root / "colours.txt").write_text(ANSI)
        (root / "plot.png").write_bytes(png(120, 60))
        (root / "hello.py").write_text("def hello():\n    return 'hello'\n")
        asked: list[str] = []
        desk.context.on("request", lambda request: asked.append(request.url))
        edit = {"file_path": "hello.py", "old_string": "'hello'", "new_string": "'good day'"}
        task = {
            "description": "Count the files",
            "prompt": "Count the files of this folder.",
            "subagent_type": "general-purpose",
            "run_in_background": False,
        }
        desk.answers(
            Reply(
                Thinking("I should look first."),
                "I look around.",
                ToolUse("Bash", {"command": "cat colours.txt", "description": "Look"}),
                ToolUse("Read", {"file_path": "plot.png"}),
                ToolUse("Read", {"file_path": "hello.py"}),
            ),
            Reply("Then I change it.", ToolUse("Edit", edit)),
            Reply(ToolUse("TodoWrite", {"todos": TODOS})),
            Reply(ToolUse("Agent", task)),
            Reply("I count.", ToolUse("Bash", {"command": "ls | wc -l", "description": "Count"})),
            "There are **three**.",
            "All done.",
        )
        sheet = desk.open()
        sheet.run("%permission-mode acceptEdits")
        at = sheet.start("Show all")
        sheet.wait_done(at)
        sheet.wait_text(at, "All done.")
        answer = sheet.output(at)
        for fold in answer.locator("details").all():
            fold.evaluate("fold => { fold.open = true }")
        sheet.command("application:toggle-left-area")
        sheet.page.set_viewport_size({"width": 1000, "height": 2400})
        for theme in ("Dark", "Light"):
            sheet.theme(theme)
            ground = sheet.page.locator(".jp-Notebook:visible")
            colours = {
                name: answer.locator(where).first.evaluate("e => getComputedStyle(e).color")
                for name, where in {
                    "plain": "pre",
                    "red": "pre span:text-is('red')",
                    "green": "pre span:text-is('bold green')",
                    "removed": ".highlight .s:has-text(\"'hello'\")",
                    "added": ".highlight .m:has-text(\"'good day'\")",
                }.items()
            }
            sheet.shoot(shots, f"cards-{theme.lower()}")
            assert colours["red"] != colours["plain"] != colours["green"]
            assert colours["removed"] != colours["added"]
            background = ground.evaluate("e => getComputedStyle(e).backgroundColor")
            assert background not in colours.values()
        assert "\x1b" not in sheet.text(at)
        assert "[31m" not in sheet.text(at)
        picture = answer.locator("img")
        expect(picture).to_have_count(1)
        assert picture.evaluate("e => [e.naturalWidth, e.naturalHeight]") == [120, 60]
        source = picture.get_attribute("src") or ""
        assert base64.b64decode(source.partition("base64,")[2]).startswith(b"\x89PNG")
        boxes = answer.locator("li input[type=checkbox]")
        assert [box.is_checked() for box in boxes.all()] == [True, False, False]
        agent = answer.locator("details", has_text="Count the files").first
        nested = agent.locator("details", has_text="ls | wc -l")
        expect(nested).to_have_count(1)
        assert "There are three." in agent.inner_text()
        assert [url for url in asked if "plot.png" in url] == []
        saved = sheet.save(desk.notebook, desk.server)
        shown = sheet.text(at)
        assert all(
            {*output.get("metadata", {})} <= {"hotclaude"} for output in saved.cells[at].outputs
        )
        sheet = desk.reopen()
        for fold in sheet.output(at).locator("details").all():
            fold.evaluate("fold => { fold.open = true }")
        assert sheet.text(at) == shown
