"""What a person sees and does in a notebook, the same in every front end.

`test_lab` and `test_notebook7` each run all of it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

import nbformat
from playwright.sync_api import expect

from hotclaude_kernel.modelserver.demo import demo_model
from hotclaude_kernel.modelserver.replies import Gate, Reply, Stall, Text, ToolUse, Wait

from .frontend import WAIT_MS

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Desk
    from .frontend import FrontEnd, Sheet

#: Front ends hide what comes after the 50th output of a cell.
MOST_OUTPUTS = 45

RICH = r"""## Maths in four notations

Inline $a^2+b^2$ and \(c^2\), and on lines of their own:

$$\int_0^1 x\,dx$$

\[\sum_{n=1}^{N} n\]

It costs $5 and $10, tips included.

## The rest

| left | middle | right |
|:-----|:------:|------:|
| one  | **two** | 3 |

1. first
   - inner
     - innermost
2. second

```python
def double(n: int) -> int:
    return n * 2  # a comment
```

שלום עולם, זה משפט בעברית.

Family 👨‍👩‍👧 and flag 🏳️‍🌈, thumbs 👍🏽.
"""


def of_answer(cell: object) -> str:
    """Return the Markdown that a saved cell holds as its answer."""
    outputs = cell["outputs"]  # type: ignore[index]
    return "".join(output.get("data", {}).get("text/markdown", "") for output in outputs)


def claude_pid(sheet: Sheet) -> str:
    """Return the process that serves the notebook, as `%status` tells it."""
    found = re.search(r"pid (\d+)", sheet.run("%status"))
    assert found
    return found[1]


class PageTests:
    """The tests; a subclass names the front end."""

    front: ClassVar[FrontEnd]

    def test_three_cells_of_a_new_notebook_are_one_conversation(
        self, desk: Desk, shots: Path
    ) -> None:
        desk.model.model = demo_model
        sheet = desk.new()
        sheet.run("remember that my name is Ada")
        sheet.run("think about six times seven")
        assert "Ada" in sheet.run("what did I ask you to remember?")
        sheet.shoot(shots, f"{self.front.name}-conversation")

    def test_text_is_painted_before_the_turn_ends(self, desk: Desk, shots: Path) -> None:
        gate = Gate()
        desk.answers(Reply("The first half. ", Wait(gate), "The second half."))
        sheet = desk.open()
        at = sheet.start("Grow")
        sheet.wait_text(at, "The first half.")
        assert not gate.is_open
        sheet.wait_kernel("busy")
        assert "second" not in sheet.text(at)
        sheet.shoot(shots, f"{self.front.name}-growing")
        gate.open()
        sheet.wait_done(at)
        assert "The first half. The second half." in sheet.text(at)

    def test_an_interrupt_keeps_what_was_said_and_the_process(
        self, desk: Desk, shots: Path
    ) -> None:
        cut = Reply("As far as it went. ", Stall())
        desk.answers("Hello.", cut, "On we go.", cut, "And on.")
        sheet = desk.open()
        sheet.run("Hi")
        pid = claude_pid(sheet)
        for stop, after in ((sheet.interrupt, "On we go."), (sheet.press_i_i, "And on.")):
            at = sheet.start("Long")
            sheet.wait_text(at, "As far as it went.")
            stop()
            sheet.wait_done(at)
            sheet.wait_text(at, "Interrupted")
            assert "As far as it went." in sheet.text(at)
            assert "Traceback" not in sheet.text(at)
            assert after in sheet.run("And now?")
        assert claude_pid(sheet) == pid
        sheet.shoot(shots, f"{self.front.name}-interrupted")

    def test_a_reload_in_mid_cell_loses_no_answer_and_sends_nothing_twice(
        self, desk: Desk, shots: Path
    ) -> None:
        gate = Gate()
        desk.answers(Reply("The first half. ", Wait(gate), "The second half."))
        sheet = desk.open(["Ask"])
        sheet.start_again(0)
        sheet.wait_text(0, "The first half.")
        sheet.reload()
        gate.open()
        sheet.wait_kernel("idle")
        sheet.start_again(0)
        sheet.wait_text(0, "The second half.")
        sheet.wait_text(0, "Shown again")
        sheet.wait_done(0)
        assert len(desk.requests) == 1
        sheet.shoot(shots, f"{self.front.name}-reloaded")
        sheet.start_again(0)
        expect(sheet.output(0)).not_to_contain_text("Shown again", timeout=WAIT_MS)
        sheet.wait_done(0)
        assert len(desk.requests) == 2

    def test_an_answer_looks_like_what_it_means_and_is_saved_so(
        self, desk: Desk, shots: Path
    ) -> None:
        desk.answers(Reply(Text(RICH)))
        sheet = desk.open()
        at = sheet.start("Show")
        sheet.wait_done(at)
        answer = sheet.output(at)
        expect(answer.locator("mjx-container")).to_have_count(4, timeout=WAIT_MS)
        expect(answer.locator("mjx-container[display=true]")).to_have_count(2)
        assert answer.locator("mjx-merror").count() == 0
        assert "It costs $5 and $10, tips included." in sheet.text(at)
        assert answer.locator("table td").all_inner_texts() == ["one", "two", "3"]
        assert answer.locator("ol > li > ul > li > ul > li").inner_text() == "innermost"
        hebrew = answer.locator("p", has_text="שלום")
        assert hebrew.evaluate("e => getComputedStyle(e).direction") == "rtl"
        for sign in ("👨‍👩‍👧", "🏳️‍🌈", "👍🏽"):
            assert sign in sheet.text(at)
        colours = {}
        for theme in ("Dark", "Light"):
            sheet.theme(theme)
            colours[theme] = {
                kind: answer.locator(f".highlight {kind}").first.evaluate(
                    "e => getComputedStyle(e).color"
                )
                for kind in ("code", ".k", ".c", ".m")
            }
            sheet.shoot(shots, f"{self.front.name}-rich-{theme.lower()}")
            assert len(set(colours[theme].values())) == 4
        assert all(colours["Dark"][kind] != colours["Light"][kind] for kind in ("code", ".k"))
        shown = sheet.text(at)
        saved = sheet.save(desk.notebook, desk.server)
        assert of_answer(saved.cells[at]) == RICH
        assert all(
            {*output.get("metadata", {})} <= {"hotclaude"} for output in saved.cells[at].outputs
        )
        sheet = desk.reopen()
        expect(sheet.output(at).locator("mjx-container")).to_have_count(4, timeout=WAIT_MS)
        assert sheet.text(at) == shown
        assert len(desk.requests) == 1

    def test_a_permission_is_asked_in_the_cell(self, desk: Desk, shots: Path) -> None:
        file = desk.server.root / f"{desk.notebook}.txt"
        write = Reply(ToolUse("Write", {"file_path": str(file), "content": "hello\n"}))
        desk.answers(write, "It is written.", write, "Then not.", write, "On we go.")
        sheet = desk.open()
        at = sheet.ask_permission("Write")
        assert not file.exists()
        sheet.shoot(shots, f"{self.front.name}-asking")
        sheet.press(at, "Allow once")
        sheet.wait_done(at)
        sheet.wait_unasked(at)
        assert file.read_text() == "hello\n"
        assert "It is written." in sheet.text(at)
        assert "allowed once, done" in sheet.text(at)
        sheet.shoot(shots, f"{self.front.name}-asked")
        file.unlink()
        at = sheet.ask_permission("Again")
        sheet.say(at, "another name, please")
        sheet.press(at, "Deny")
        sheet.wait_done(at)
        assert "Then not." in sheet.text(at)
        assert "denied (another name, please)" in sheet.text(at)
        assert "another name, please" in desk.requests[-1].tool_results[0].text
        at = sheet.ask_permission("A third time")
        sheet.interrupt()
        sheet.wait_done(at)
        sheet.wait_unasked(at)
        sheet.wait_text(at, "Interrupted")
        assert "stopped" in sheet.text(at)
        sheet.shoot(shots, f"{self.front.name}-asking-interrupted")
        assert "On we go." in sheet.run("And now?")
        assert not file.exists()
        saved = sheet.save(desk.notebook, desk.server)
        assert "widget" not in nbformat.writes(saved)

    def test_completion_pops_up_while_a_cell_runs(self, desk: Desk, shots: Path) -> None:
        gate = Gate()
        desk.answers(Reply("The first half. ", Wait(gate), "The second half."))
        sheet = desk.open()
        at = sheet.start("Long")
        sheet.wait_text(at, "The first half.")
        editor = sheet.write(at + 1, "%mo")
        popup = sheet.page.locator(".jp-Completer:visible")
        for shown, then in (("%model", "%model"), ("default", "%model default")):
            sheet.page.keyboard.press("Tab")
            expect(popup).to_contain_text(shown, timeout=WAIT_MS)
            sheet.shoot(shots, f"{self.front.name}-completion")
            sheet.page.keyboard.press("Enter")
            expect(editor).to_have_text(then)
            sheet.page.keyboard.type(" ")
        sheet.wait_kernel("busy")
        gate.open()
        sheet.wait_done(at)
        assert "The second half." in sheet.text(at)

    def test_a_long_answer_is_shown_whole(self, desk: Desk) -> None:
        paragraphs = [f"Paragraph {n}: " + "many words follow here. " * 8 for n in range(1, 301)]
        answer = "\n\n".join(paragraphs) + "\n"
        assert len(answer) > 60_000
        desk.answers(Reply(Text(answer, chunk=200)))
        sheet = desk.open()
        at = sheet.start("At length")
        sheet.wait_done(at)
        sheet.wait_text(at, "Paragraph 300:")
        shown = re.findall(r"Paragraph (\d+):", sheet.text(at))
        assert shown == [str(n) for n in range(1, 301)]
        assert sheet.output(at).locator(".jp-OutputArea-child").count() <= MOST_OUTPUTS
        assert sheet.page.locator(".jp-TrimmedOutputs").count() == 0
        saved = sheet.save(desk.notebook, desk.server)
        assert of_answer(saved.cells[at]) == answer
        assert len(desk.requests) == 1
