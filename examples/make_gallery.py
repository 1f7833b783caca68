"""Writes gallery.ipynb: everything a cell can show, answered by a demonstration model.

    python -m examples.make_gallery        from the root of the repository

The real `claude` binary runs, in a home that is thrown away, and talks to a model on loopback. What
a person would click is clicked here over the protocol, as a page does it.
"""

from __future__ import annotations

import json
import struct
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any

import nbformat

from hotclaude_kernel.claude.launch import find_claude
from hotclaude_kernel.modelserver.replies import Failure, Reply, Thinking, ToolUse
from hotclaude_kernel.modelserver.script import Script
from hotclaude_kernel.modelserver.server import ModelServer
from tests.support.environment import isolated_env
from tests.support.frontend import Notebook, open_notebook
from tests.support.machine import told_by

NOTEBOOK = Path(__file__).with_name("gallery.ipynb")
MODEL = "hotclaude-demo"
# As a front end saves it: it names the exporter of `nbconvert --to script`.
LANGUAGE = {
    "codemirror_mode": "markdown",
    "file_extension": ".md",
    "mimetype": "text/x-markdown",
    "name": "markdown",
    "nbconvert_exporter": "hotclaude-markdown",
    "pygments_lexer": "markdown",
}

TITLE = """# Gallery

What a cell of Hot Claude can show and ask. **A demonstration model answered here, not Claude**: a
script on the same machine, which says the same words every time and calls the same tools. The
tools, the questions and the decisions are real; a script pressed the buttons.

Written by `python -m examples.make_gallery`.
"""

HELLO = "def hello(name):\n    print('hello', name)\n"
COLOURS = r"printf '\033[1mtests\033[0m  \033[32m41 passed\033[0m, \033[31m1 failed\033[0m\n'"
PLAN = """**Greet everybody**

1. Read the names from `names.txt`.
2. Call `hello` for *each* of them.
3. Run the tests.
"""
TODOS = (("Read the file", "completed"), ("Greet politely", "in_progress"), ("Test", "pending"))
MCP_SERVER = """
import json, sys
SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}}
TOOL = {"name": "forecast", "description": "Weather", "inputSchema": SCHEMA}
ANSWERS = {
    "initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                   "serverInfo": {"name": "weather", "version": "1"}},
    "tools/list": {"tools": [TOOL]},
    "tools/call": {"content": [{"type": "text", "text": "Sunny, 21 degrees."}]},
}
for line in sys.stdin:
    asked = json.loads(line)
    if "id" in asked:
        answer = {"jsonrpc": "2.0", "id": asked["id"], "result": ANSWERS.get(asked["method"], {})}
        print(json.dumps(answer), flush=True)
"""


def picture() -> bytes:
    """Return a plot as PNG: a wave, drawn by hand."""
    wide, high = 240, 80
    rows = b"".join(
        b"\0" + bytes(70 if abs(y - high * (0.1 + (x / wide) ** 2 * 0.8)) < 2 else 235
                      for x in range(wide))
        for y in reversed(range(high))
    )  # fmt: skip
    header = struct.pack(">IIBBBBB", wide, high, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def says(*blocks: Any) -> Reply:
    """Return an answer under the demonstration's own name."""
    return Reply(*blocks, model=MODEL)


def bash(command: str, about: str, **more: Any) -> ToolUse:
    """Return a call of Bash."""
    return ToolUse("Bash", {"command": command, "description": about, **more})


def asks(text: str, *labels: str, several: bool = False) -> dict[str, Any]:
    """Return a question of Claude's own."""
    options = [{"label": label, "description": label} for label in labels]
    return {"question": text, "header": "Greeting", "multiSelect": several, "options": options}


WRITE = ToolUse("Write", {"file_path": "hello.py", "content": HELLO})
EDIT = ToolUse(
    "Edit", {"file_path": "hello.py", "old_string": "'hello'", "new_string": "'good day'"}
)
AGENT = ToolUse(
    "Agent",
    {
        "description": "Count the files",
        "prompt": "Count the files of this folder.",
        "subagent_type": "general-purpose",
        "run_in_background": False,
    },
)
QUESTIONS = [
    asks("How should it greet?", "Hello", "Good day"),
    asks("Whom?", "Ada", "Grace", "Katherine", several=True),
    asks("In which language?", "English", "French"),
]
TODO_LIST = [{"content": what, "status": status, "activeForm": what} for what, status in TODOS]

#: What is asked, what the model answers, and what is done to each question: the label of the
#: button, and what is typed or ticked before.
CELLS: list[tuple[str, list[Any], list[tuple[str, Any]]]] = [
    (
        "Think before you answer: what is six times seven?",
        [says(Thinking("Six times seven is 35 and seven more."), "It is **42**.")],
        [],
    ),
    (
        "Run the tests, and show me the numbers to 60.",
        [
            says("I run two commands at once.", bash(COLOURS, "Test"), bash("seq 60", "Count")),
            says("One more.", bash("ls nowhere", "List")),
            says("One test failed, and there is no folder `nowhere`."),
        ],
        [],
    ),
    (
        "Write hello.py, then make it more polite.",
        [says("I write it.", WRITE), says("Now the greeting.", EDIT), says("It is polite now.")],
        [("Allow once", None), ("Allow changes to `hello.py` for this session", None)],
    ),
    (
        "Look at what the web says.",
        [
            says(ToolUse("WebFetch", {"url": "https://example.org/", "prompt": "Greetings?"})),
            says("Then I do without."),
        ],
        [("Deny", "no network in this gallery")],
    ),
    (
        "%tools Glob,Grep,Read\nFind the greeting, and look at the plot.",
        [
            says(
                ToolUse("Glob", {"pattern": "*.py"}),
                ToolUse("Grep", {"pattern": "good", "output_mode": "content"}),
                ToolUse("Read", {"file_path": "hello.py"}),
                ToolUse("Read", {"file_path": "plot.png"}),
            ),
            says("It stands in the second line, and the plot rises."),
        ],
        [],
    ),
    ("%tools all\nWhat does @plot.png show?", [says("A curve that rises ever faster.")], []),
    (
        "Keep a list of what is to do.",
        [says(ToolUse("TodoWrite", {"todos": TODO_LIST})), says("One of three is done.")],
        [],
    ),
    (
        "Let somebody else count the files.",
        [
            says(AGENT),
            says("I count.", bash("ls | wc -l", "Count")),
            says("There are **three** files."),
            says("Three, says my colleague."),
        ],
        [],
    ),
    (
        "What will the weather be?",
        [
            says(ToolUse("mcp__weather__forecast", {"place": "Delft"})),
            says(ToolUse("Telescope", {"towards": "Saturn"})),
            says("Sunny. I have no telescope."),
        ],
        [("Allow once", None)],
    ),
    (
        "Ask me how I want it.",
        [says(ToolUse("AskUserQuestion", {"questions": QUESTIONS})), says("As you wish.")],
        [("Good day", None), ("Answer", ["Ada", "Katherine"]), ("Answer in own words", "Dutch")],
    ),
    (
        "%permission-mode plan\nPlan how to greet everybody.",
        [
            says("I have a plan.", ToolUse("ExitPlanMode", {"plan": PLAN})),
            says("Shorter, then.", ToolUse("ExitPlanMode", {"plan": PLAN[: PLAN.rfind("3.")]})),
            says("I carry it out."),
        ],
        [("Keep planning", "leave the tests to me"), ("Approve the plan", None)],
    ),
    ("The API is overloaded.", [Failure(529)] * 3 + [says("Another model has time.")], []),
    ("/compact", [says("<summary>They talked of greetings.</summary>")], []),
]


def run(page: Notebook, cell: Any, *presses: tuple[str, Any], cell_id: str | None) -> None:
    """Run a cell, press what it asks for, and put into it what a page would save."""
    person = page.pressing(*presses)
    ran = page.run(cell.source, cell_id=cell_id, hook=person)
    assert not person.pending, f"not asked in {cell.source!r}: {person.pending}"
    cell.execution_count = ran.reply["content"]["execution_count"]
    shown = (output for output in ran.saved if output.get("data", {}).get("text/html") != "")
    cell.outputs = [nbformat.from_dict(output) for output in shown]


def environment(home: Path, url: str) -> dict[str, str]:
    """Return all of the environment that the kernel gets: no account, no settings, no network."""
    env = isolated_env(home, url, find_claude())
    (home / "work" / "plot.png").write_bytes(picture())
    (home / "work" / "names.txt").write_text("Ada\nGrace\n")
    return env | {"CLAUDE_CODE_ENABLE_TODO_TOOLS": "1", "CLAUDE_CODE_ENABLE_TASKS": "0"}


def notebook() -> Any:
    """Return the notebook, not yet run."""
    spec = {"name": "hotclaude", "display_name": "Hot Claude", "language": "markdown"}
    made = nbformat.v4.new_notebook(metadata={"kernelspec": spec, "language_info": LANGUAGE})
    made.cells = [nbformat.v4.new_markdown_cell(TITLE, id="title")]
    made.cells += [
        nbformat.v4.new_code_cell(source, id=f"cell-{number}")
        for number, (source, _, _) in enumerate(CELLS, 1)
    ]
    alone = "Write another file although nobody is there to ask (as in `nbconvert --execute`)."
    made.cells.append(nbformat.v4.new_code_cell(alone, id="headless"))
    return made


def main() -> None:
    """Run the cells, check that nothing of this machine is in them, and write the notebook."""
    made = notebook()
    with tempfile.TemporaryDirectory() as folder, ModelServer(Script()).in_thread() as server:
        home = Path(folder)
        env = environment(home, server.url)
        (home / "weather.py").write_text(MCP_SERVER)
        weather = {"command": sys.executable, "args": [str(home / "weather.py")]}
        servers = json.dumps({"mcpServers": {"weather": weather}})
        traits = {"mcp_config": servers, "footer": False, "fallback_model": "haiku"}
        arguments = (f"--HotClaudeKernel.{name}={traits[name]}" for name in traits)
        with open_notebook(env, *arguments) as page:
            for cell, (_, answers, presses) in zip(made.cells[1:], CELLS, strict=False):
                server.model = Script(answers, default=says("ok"))
                run(page, cell, *presses, cell_id=cell.id)
            other = ToolUse("Write", {"file_path": "other.py", "content": HELLO})
            server.model = Script([says(other)], default=says("Then not."))
            run(page, made.cells[-1], cell_id=None)
    written = nbformat.writes(made)
    found = told_by(written, str(folder))
    assert not found, f"of this machine: {found}"
    assert "widget" not in written
    NOTEBOOK.write_text(written + "\n")


if __name__ == "__main__":
    main()
