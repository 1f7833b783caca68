"""Hostile text from the model, its tools and its errors, in trusted notebooks and their exports.

Nothing may run, nothing may be asked of another address, no link may lead to a script: while an
answer streams, when it is done, when the notebook is opened again, and in `nbconvert --to html`.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from hotclaude_kernel.modelserver.replies import Failure, Gate, Reply, Text, Thinking, ToolUse, Wait

from ..hostile import corpus
from .frontend import LAB, NOTEBOOK_7
from .watch import click_all_links, executions, watched

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .conftest import Bench, Desk
    from .frontend import FrontEnd, Sheet

pytestmark = pytest.mark.browser

#: Entries in one answer; each is a content block, so that no open fence covers the next one.
BLOCKS = 30
HARMLESS = {"http", "https", "mailto"}
OUTPUT = ".jp-OutputArea-output"
FORBIDDEN = f"{OUTPUT} :is(script, iframe, object, embed, form, base, link, meta, img, style)"
TRUSTED = """() => window.jupyterapp.shell.currentWidget.content.widgets
    .filter((cell) => cell.model.type === 'code').map((cell) => cell.model.trusted)"""

#: States of a stream in which parsers disagree on what is still open.
OPEN = (
    "script_half",
    "fence_unclosed",
    "fence_and_maths",
    "fence_unclosed_maths",
    "fence_longer",
    "maths_html_display",
    "mxss_noscript",
    "comment",
)

IMAGE = "<img src=x onerror=window.__hacked='{}'>"


@pytest.fixture(params=[LAB, NOTEBOOK_7], ids=lambda front: str(front.name))
def desk(bench: Bench, request: pytest.FixtureRequest) -> Iterator[Desk]:
    front: FrontEnd = request.param
    with bench.desk(front, f"hostile-{request.node.originalname}") as lent:
        yield lent


def replies(entries: dict[str, str]) -> list[Reply]:
    """Return answers that hold every entry as text and as thinking."""
    texts = list(entries.values())
    groups = [texts[at : at + BLOCKS] for at in range(0, len(texts), BLOCKS)]
    return [
        Reply(*(block for text in group for block in (Thinking(text), Text(text))))
        for group in groups
    ]


def assert_nothing_ran(sheet: Sheet) -> None:
    """See that nothing ran, and press nothing: a question may be pending."""
    assert executions(sheet.page) == []
    assert sheet.page.locator(FORBIDDEN).count() == 0


def assert_inert(sheet: Sheet) -> None:
    """See that nothing ran, that links lead to no script, and that they lead nowhere by force."""
    page = sheet.page
    page.wait_for_load_state("networkidle")
    address, pages = page.url, len(page.context.pages)
    targets = click_all_links(page, OUTPUT)
    page.wait_for_load_state("networkidle")
    assert executions(page) == []
    # An error's text gets anchors without an address: JupyterLab's own, for paths of files.
    assert {urlsplit(target).scheme for target in targets if target} <= HARMLESS
    assert (page.url, len(page.context.pages)) == (address, pages)
    assert page.locator(FORBIDDEN).count() == 0


def assert_trusted(sheet: Sheet) -> None:
    """See that the front end sanitises nothing here, so that what is inert is so by itself."""
    trusted = sheet.page.evaluate(TRUSTED)
    assert trusted
    assert all(trusted)


def test_the_corpus_is_inert_live_and_reopened(desk: Desk, bench: Bench, tmp_path: Path) -> None:
    entries = corpus(f"{desk.server.origin}/leak")
    answers = replies(entries)
    asked: list[str] = []
    desk.context.on("request", lambda request: asked.append(request.url))
    desk.answers(*answers)
    sheet = desk.open()
    for at in range(len(answers)):
        sheet.run(f"Answer {at}")
    assert len(desk.requests) == len(answers)
    # Every entry is there twice: folded as thinking, and as text with its links to press.
    assert sheet.page.locator(f"{OUTPUT} summary", has_text="Thought").count() == len(entries)
    assert sheet.page.locator(f"{OUTPUT} a", has_text="press").count() > 0
    sheet.save(desk.notebook, desk.server)
    assert_trusted(sheet)
    assert_inert(sheet)
    sheet = desk.reopen()
    expect(sheet.cells).to_have_count(len(answers) + 1)
    assert_trusted(sheet)
    assert_inert(sheet)
    assert [url for url in asked if "/leak" in url] == []
    if desk.front is LAB:  # an export is the same whoever wrote the notebook
        assert_export_inert(desk.server.root / desk.notebook, bench, tmp_path)


def assert_export_inert(notebook: Path, bench: Bench, folder: Path) -> None:
    """See that the page of an exported notebook asks for what the template asks for, no more."""
    plain = folder / "plain.ipynb"
    plain.write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    asked = []
    for source in (plain, notebook):
        export = [sys.executable, "-m", "nbconvert", "--to", "html", "--log-level", "ERROR"]
        subprocess.run([*export, "--output-dir", str(folder), str(source)], check=True)
        with watched(bench.browser, "file://") as (context, seen):
            page = context.new_page()
            page.goto((folder / source.with_suffix(".html").name).as_uri())
            page.wait_for_load_state("networkidle")
            targets = click_all_links(page, OUTPUT)
            assert executions(page) == []
            assert {urlsplit(target).scheme for target in targets} <= HARMLESS | {"file"}
            assert (seen.dialogs, len(context.pages)) == ([], 1)
            asked.append(set(seen.requests))
    assert asked[1] <= asked[0]


def test_unfinished_answers_are_inert(desk: Desk) -> None:
    entries = corpus(f"{desk.server.origin}/leak")
    sheet = desk.open()
    for name in OPEN:
        gate = Gate()
        text = entries[name]
        cut = text.rstrip("\n").rfind("\n") if name.endswith("display") else len(text) - 1
        desk.answers(Reply(f"Begin {name}\n\n{text[:cut]} halt", Wait(gate), text[cut:]))
        at = sheet.start(name)
        sheet.wait_text(at, "halt")
        assert executions(sheet.page) == []
        gate.open()
        sheet.wait_done(at)
    assert_trusted(sheet)
    assert_inert(sheet)


def test_errors_tools_and_names_are_inert(desk: Desk) -> None:
    entries = corpus(f"{desk.server.origin}/leak")
    sheet = desk.open()
    message = f"{IMAGE.format('error')} <script>window.__hacked='script'</script> https://x.invalid"
    desk.answers(default=Failure(400, message=message))
    assert "onerror" in sheet.run("Fail")

    file = desk.server.root / f"{IMAGE.format('file')}.md"
    file.write_text("\n\n".join(entries.values()), errors="replace")
    command = f"cat '{file}'; echo {IMAGE.format('command')}"
    write = {"file_path": f"{desk.server.root}/{IMAGE.format('write')}", "content": message}
    desk.answers(
        Reply(ToolUse("Read", {"file_path": str(file)})),
        "Read.",
        Reply(ToolUse("Write", write)),
        "Written.",
        Reply(ToolUse("Bash", {"command": command, "description": IMAGE.format("why")})),
        "Ran.",
        Reply(ToolUse(IMAGE.format("tool"), {IMAGE.format("key"): message})),
        "No such tool.",
    )
    assert "Read." in sheet.run("Read")
    for prompt in ("Write", "Run"):
        at = sheet.ask_permission(prompt)
        assert "onerror" in sheet.text(at)
        assert executions(sheet.page) == []
        sheet.press(at, "Allow once")
        sheet.wait_done(at)
    assert "No such tool." in sheet.run("Use another")

    desk.answers()
    assert "onerror" in sheet.run(f"%model {IMAGE.format('model')}\n\nHello")
    assert "onerror" in sheet.run("%status")
    assert "onerror" in sheet.run(f"%cwd {IMAGE.format('folder')}")
    sheet.save(desk.notebook, desk.server)
    assert_trusted(sheet)
    assert_inert(sheet)
    assert_inert(desk.reopen())


def questions(texts: list[str]) -> list[dict[str, object]]:
    """Return questions whose texts, options and explanations are hostile, four options each."""
    return [
        {
            "question": f"{at}. {texts[at]}",
            "header": "<b>x</b>",
            "multiSelect": at == 4,
            "options": [{"label": text, "description": text} for text in texts[at : at + 4]],
        }
        for at in range(0, 8, 4)
    ]


def test_questions_decisions_and_cards_are_inert(desk: Desk, bench: Bench, tmp_path: Path) -> None:
    entries = corpus(f"{desk.server.origin}/leak")
    asked: list[str] = []
    desk.context.on("request", lambda request: asked.append(request.url))
    closed = "\n\n".join(text for name, text in entries.items() if name not in OPEN)
    (desk.server.root / "corpus.txt").write_text(closed, errors="replace")
    texts = [text for text in entries.values() if "<" in text and "\n" not in text]
    reason = " ".join(texts[:20])
    todos = [{"content": text, "status": "pending", "activeForm": text} for text in texts]
    agent = {
        "description": IMAGE.format("agent"),
        "prompt": closed,
        "subagent_type": "general-purpose",
        "run_in_background": False,
    }
    edit = {"file_path": "corpus.txt", "old_string": closed[:40], "new_string": reason}
    sheet = desk.open()

    desk.answers(
        Reply(
            Thinking(closed),
            ToolUse("Bash", {"command": "cat corpus.txt"}),
            ToolUse("Bash", {"command": "cat corpus.txt >&2; false", "description": reason}),
            ToolUse("Read", {"file_path": IMAGE.format("missing")}),
            ToolUse("Read", {"file_path": "corpus.txt"}),
            ToolUse("TodoWrite", {"todos": todos}),
            ToolUse(f"mcp__{IMAGE.format('mcp')}", dict(zip(texts, texts, strict=True))),
        ),
        Reply(ToolUse("Agent", agent)),
        Reply(closed, ToolUse("Bash", {"command": "cat corpus.txt"})),
        closed,
        "Looked.",
    )
    assert "Looked." in sheet.run("Look")
    assert len(desk.requests) == 5

    desk.answers(Reply(ToolUse("Edit", edit)), Reply(ToolUse("Edit", edit)), "Edited.")
    at = sheet.ask_permission("Edit")
    assert_nothing_ran(sheet)
    sheet.say(at, reason)
    sheet.press(at, "Deny")
    sheet.wait_text(at, "denied")
    sheet.wait_asked(at, "Claude wants to use Edit")
    assert_nothing_ran(sheet)
    sheet.press(at, "Allow once")
    sheet.wait_done(at)

    desk.answers(Reply(ToolUse("AskUserQuestion", {"questions": questions(texts)})), "Thanks.")
    at = sheet.start("Ask")
    sheet.wait_asked(at, "0. ")
    assert_nothing_ran(sheet)
    sheet.say(at, reason)
    sheet.press(at, "Answer in own words")
    sheet.wait_asked(at, "4. ")
    assert_nothing_ran(sheet)
    for box in sheet.question(at).get_by_role("checkbox").all():
        box.check()
    sheet.press(at, "Answer")
    sheet.wait_done(at)

    desk.answers(Reply(ToolUse("ExitPlanMode", {"plan": closed})), "Carried out.")
    at = sheet.start("%permission-mode plan\nPlan")
    sheet.wait_asked(at, "Claude has a plan")
    assert_nothing_ran(sheet)
    sheet.press(at, "Approve the plan")
    sheet.wait_done(at)

    sheet.wait_unasked(at)
    sheet.save(desk.notebook, desk.server)
    assert_trusted(sheet)
    assert_inert(sheet)
    sheet = desk.reopen()
    assert_trusted(sheet)
    assert_inert(sheet)
    # Not to be pressed: of the folder in an error's text JupyterLab makes a link that opens it.
    assert "onerror" in sheet.run(f"%attach {IMAGE.format('attached')}\nSee")
    assert "onerror" in sheet.run(f"![{IMAGE.format('pasted')}](data:image/png;base64,AAAA) See")
    assert_nothing_ran(sheet)
    sheet.save(desk.notebook, desk.server)
    assert [url for url in asked if "/leak" in url] == []
    if desk.front is LAB:  # an export is the same whoever wrote the notebook
        assert_export_inert(desk.server.root / desk.notebook, bench, tmp_path)
