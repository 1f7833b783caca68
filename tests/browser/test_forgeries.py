"""Claude's words beside the kernel's own: none passes for the other, and none covers the other.

Trusted, opened again untrusted, and exported. A formula stays in its box, and a call that is asked
about is in view to its end.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from hotclaude_kernel.modelserver.replies import Reply, Text, ToolUse

from ..hostile import FORGERIES, MARK, corpus
from .frontend import LAB, NOTEBOOK_7, WAIT_MS
from .watch import executions, watched

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page

    from .conftest import Bench, Desk
    from .frontend import FrontEnd

pytestmark = pytest.mark.browser

CORPUS = corpus()
MATHS = [name for name in CORPUS if name.startswith("maths_")]
HONEST = r"""Inline $f(x) = \frac{a}{b}$, $\int_0^1 x\,dx$ and $\overline{\hat{f}}_{\!j}$, as usual.

$$\sum_{n=1}^{N} \begin{pmatrix} 1 & 0 \\ 0 & 1 \end{pmatrix}$$

\[\begin{aligned} a &= \sqrt{b} \\[6pt] c &= \underbrace{d+e}_{f} \end{aligned}\]"""

# The text around each mark on the page; the kernel's own parts are these and no others.
MARKED = """(mark) => {
    const found = [];
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const text = walk.currentNode.data;
        const around = walk.currentNode.parentElement;
        if (!text.includes(mark) || !around.closest('.jp-OutputArea-output')) continue;
        const own = around.closest('summary, [style*="opacity"], b');
        found.push(own ? own.tagName : text);
    }
    return found;
}"""
# The heights of formulas that are higher than a page.
TALL = """() => [...document.querySelectorAll('.jp-OutputArea-output mjx-container')]
    .map((e) => e.getBoundingClientRect().height).filter((height) => height > 3000)"""


@pytest.fixture(params=[LAB, NOTEBOOK_7], ids=lambda front: str(front.name))
def desk(bench: Bench, request: pytest.FixtureRequest) -> Iterator[Desk]:
    front: FrontEnd = request.param
    with bench.desk(front, f"forgery-{request.node.originalname}") as lent:
        yield lent


def assert_told_apart(page: Page, least: int) -> None:
    """See that only the kernel's own parts bear the mark, and nothing is larger than a page."""
    found = page.evaluate(MARKED, MARK)
    assert {tag for tag in found if tag not in ("SUMMARY", "DIV", "SPAN", "B")} == set()
    assert len(found) >= least
    assert page.evaluate(TALL) == []
    assert executions(page) == []


def exported(notebook: Path, bench: Bench, folder: Path, shots: Path) -> None:
    """See the same in the page of an exported notebook."""
    command = [sys.executable, "-m", "nbconvert", "--to", "html", "--log-level", "ERROR"]
    subprocess.run([*command, "--output-dir", str(folder), str(notebook)], check=True)
    with watched(bench.browser, "file://") as (context, _):
        page = context.new_page()
        page.goto((folder / notebook.with_suffix(".html").name).as_uri())
        page.wait_for_load_state("networkidle")
        assert_told_apart(page, 2)
        page.screenshot(path=shots / "forgeries-exported.png", full_page=True)


def test_no_answer_passes_for_the_kernels_own_words(
    desk: Desk, bench: Bench, shots: Path, tmp_path: Path
) -> None:
    texts = "\n\n".join(CORPUS[name] for name in FORGERIES)
    look = ToolUse("Bash", {"command": "echo real", "description": "Look"})
    desk.answers(Reply("I look.", look), Reply(Text(texts)))
    sheet = desk.open()
    at = sheet.start("Forge")
    sheet.wait_done(at)
    sheet.wait_text(at, "41 passed")
    sheet.page.set_viewport_size({"width": 1100, "height": 1500})
    for theme in ("Dark", "Light"):
        sheet.theme(theme)
        sheet.shoot(shots, f"{desk.front.name}-forgeries-{theme.lower()}")
    assert_told_apart(sheet.page, 2)
    sheet.save(desk.notebook, desk.server)
    # Written by someone else, as the file of a stranger: nothing in it is trusted.
    path = desk.server.root / desk.notebook
    book = json.loads(path.read_text())
    for cell in book["cells"]:
        cell["metadata"].pop("trusted", None)
    book["metadata"]["stranger"] = True
    path.with_name(f"untrusted-{path.name}").write_text(json.dumps(book))
    desk.notebook = f"untrusted-{path.name}"
    desk.server.start_kernel(desk.notebook)
    sheet = desk.reopen()
    sheet.wait_text(0, "41 passed")
    assert_told_apart(sheet.page, 2)
    sheet.shoot(shots, f"{desk.front.name}-forgeries-untrusted")
    if desk.front is LAB:
        exported(path, bench, tmp_path, shots)


def test_a_formula_stays_in_its_box(desk: Desk, shots: Path) -> None:
    covering = CORPUS["maths_over_a_card"]
    write = ToolUse("Write", {"file_path": "made.txt", "content": "hello"})
    desk.answers(
        Reply(Text(HONEST)),
        Reply(Text("\n\n".join(CORPUS[name] for name in MATHS))),
        Reply(covering, write),
        "Done.",
    )
    sheet = desk.open()
    at = sheet.start("Honest")
    sheet.wait_done(at)
    expect(sheet.output(at).locator("mjx-container")).to_have_count(5, timeout=WAIT_MS)
    assert sheet.output(at).locator("mjx-merror").count() == 0
    for theme in ("Dark", "Light"):
        sheet.theme(theme)
        sheet.shoot(shots, f"{desk.front.name}-maths-{theme.lower()}")
    hostile = sheet.start("Hostile")
    sheet.wait_done(hostile)
    assert_told_apart(sheet.page, 2)
    asking = sheet.ask_permission("Cover")
    assert sheet.output(asking).locator("mjx-container").count() == 0
    title = sheet.question(asking).locator("b").first
    # What is on top at the middle of the question's title is the title.
    assert title.evaluate(
        """(e) => {
            const box = e.getBoundingClientRect();
            const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
            return e.contains(top);
        }"""
    )
    sheet.shoot(shots, f"{desk.front.name}-maths-asking")
    sheet.press(asking, "Deny")
    sheet.wait_done(asking)


def test_all_of_a_call_is_in_view_while_it_is_asked_about(desk: Desk, shots: Path) -> None:
    lines = [f"echo {n}" for n in range(1, 46)]
    lines[39] = "touch dangerous.txt"
    reason = "Asked because: it is read-only and matches your own rule"
    long = ToolUse("Bash", {"command": "\n".join(lines), "description": reason})
    huge = ToolUse("Bash", {"command": "echo " + "x" * 25_000 + "; touch tail.txt"})
    beyond = ToolUse("Bash", {"command": "touch made.txt #" + "y" * 1_000_001})
    desk.answers(Reply(long), Reply(huge), Reply(beyond), "Done.")
    sheet = desk.open()
    at = sheet.ask_permission("Run")
    question = sheet.question(at)
    expect(question).to_contain_text("Claude describes it as")
    for theme in ("Dark", "Light"):
        sheet.theme(theme)
        sheet.shoot(shots, f"{desk.front.name}-whole-{theme.lower()}")
    for last in (lines[-1], "tail.txt"):
        box = question.locator("pre").first
        expect(box).to_contain_text(last, timeout=WAIT_MS)
        assert box.evaluate(
            "e => e.scrollHeight > e.clientHeight && e.scrollWidth <= e.clientWidth"
        )
        assert box.evaluate("e => { e.scrollTop = 1e9; return e.scrollTop > 0 }")
        # The card above says nothing of it a second time.
        card = sheet.output(at).locator("details", has_text="waiting for your answer")
        assert card.count() == 1
        assert card.locator("pre").count() == 0
        sheet.shoot(shots, f"{desk.front.name}-whole-scrolled-{last[-8:]}")
        sheet.press(at, "Deny")
    sheet.wait_done(at)
    assert "denied, since it can't be shown in full" in sheet.text(at)
    assert "1,000,000 characters" in desk.requests[-1].tool_results[0].text
    assert not (desk.server.root / "made.txt").exists()
