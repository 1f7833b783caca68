"""Make the golden set: notebooks, their cassettes and the record that they were answered into.

    python -m tests.golden.make          makes all of it anew, from live turns
    python -m tests.golden.make shown    only what the manners show that the notebooks do not

The first form was run once, by the code before the modules were moved, and is kept to tell how the
set was made. Real kernels ran on the real `claude` binary, in a throw-away home in a neutral
folder, and a scripted model on loopback answered. The second form replays the set as it is. A
change that alters on purpose what a manner shows runs it and commits the difference.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import platform
import re
import shutil
import socket
import sqlite3
import struct
import subprocess
import sys
import tempfile
import zlib
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat

from hotclaude_kernel.modelserver.replies import Failure, Gate, Reply, Text, Thinking, ToolUse, Wait
from hotclaude_kernel.modelserver.script import Script
from hotclaude_kernel.modelserver.server import ModelServer

from ..hostile import corpus
from . import manners
from .manners import HERE, NOTEBOOKS, environment, hotclaude, open_lab, shown

if TYPE_CHECKING:
    from hotclaude_kernel.modelserver.request import Request

    from ..support.frontend import Notebook

PLACE = Path("/golden")
WORK = PLACE / "notebooks"
MODEL = "claude-golden"

HELLO = "def hello(name):\n    print('hello', name)\n"
COLOURS = r"printf '\033[1mtests\033[0m  \033[32m41 passed\033[0m, \033[31m1 failed\033[0m\n'"
PLAN = "**Greet everybody**\n\n1. Read the names.\n2. Call `hello` for *each*.\n3. Test.\n"
TODOS = (("Read the file", "completed"), ("Greet politely", "in_progress"), ("Test", "pending"))
WEATHER = """
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


def png(wide: int, high: int, dark: Any) -> bytes:
    """Return a grey picture; `dark` tells for each point how dark it is."""
    rows = b"".join(
        b"\0" + bytes(255 - dark(x, y) for x in range(wide)) for y in reversed(range(high))
    )
    header = struct.pack(">IIBBBBB", wide, high, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def plot() -> bytes:
    """Return a curve that rises."""
    return png(120, 40, lambda x, y: 185 if abs(y - 40 * (0.1 + (x / 120) ** 2 * 0.8)) < 2 else 20)


def says(*blocks: Any) -> Reply:
    """Return an answer under a name of its own."""
    return Reply(*blocks, model=MODEL)


def bash(command: str, about: str) -> ToolUse:
    """Return a call of Bash."""
    return ToolUse("Bash", {"command": command, "description": about})


def asks(text: str, *labels: str, several: bool = False) -> dict[str, Any]:
    """Return a question of Claude's own."""
    options = [{"label": label, "description": label} for label in labels]
    return {"question": text, "header": "Greeting", "multiSelect": several, "options": options}


# --- tools: everything that a card can hold, and every decision ----------------------------------

WRITE = ToolUse("Write", {"file_path": f"{WORK}/hello.py", "content": HELLO})
EDIT = ToolUse(
    "Edit",
    {"file_path": f"{WORK}/hello.py", "old_string": "'hello'", "new_string": "'good day'"},
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
DOT = b64encode(png(4, 4, lambda x, y: 60 * ((x + y) % 2))).decode()

#: What is asked, what the model answers, and what is done to each question: the label of the
#: button, and what is typed or ticked before.
TOOLS: list[tuple[str, list[Any], list[tuple[str, Any]]]] = [
    (
        "Think before you answer: what is six times seven?",
        [says(Thinking("Six times seven is **35** and <seven> more. 🤔"), "It is **42**.")],
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
        [("Deny", "no network in this <b>set</b>")],
    ),
    (
        "%tools Glob,Grep,Read\nFind the greeting, and look at the plot.",
        [
            says(
                ToolUse("Glob", {"pattern": "*.py"}),
                ToolUse("Grep", {"pattern": "good", "output_mode": "content"}),
                ToolUse("Read", {"file_path": f"{WORK}/hello.py"}),
                ToolUse("Read", {"file_path": f"{WORK}/plot.png"}),
            ),
            says("It stands in the second line, and the plot rises."),
        ],
        [],
    ),
    ("%tools all\nWhat does @plot.png show?", [says("A curve that rises ever faster.")], []),
    (
        f"%attach plot.png\nAnd beside it, is this the same? ![](data:image/png;base64,{DOT})",
        [says("No, that is a board of chess.")],
        [],
    ),
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
            says("There are **four** files."),
            says("Four, says my colleague."),
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
    ("%compact", [says("<summary>They talked of greetings.</summary>")], []),
    ("And after that?", [says("We talked of greetings.")], []),
]


def make_tools(env: dict[str, str], server: ModelServer) -> None:
    """Ask with tools, and press what a person would press."""
    cells = [(f"tools-{n}", source) for n, (source, _, _) in enumerate(TOOLS, 1)]
    made, path = begin("tools", cells)
    env = env | {"JPY_SESSION_NAME": str(path)}
    with open_lab(env, *NOTEBOOKS["tools"]) as lab:
        for cell, (_, answers, presses) in zip(made.cells, TOOLS, strict=True):
            server.model = Script(answers, default=says("ok"))
            press = lab.pressing(*presses)
            cell.outputs = shown(lab, cell.source, cell.id, hook=press)
            assert not press.pending, f"not asked in {cell.source!r}: {press.pending}"
    finish(made, path)


# --- words: parameters, settings, Markdown, hostile text; by `hotclaude run` ---------------------

SURROGATES = (
    "Half an emoji: \ud83d, the other half: \ude00; both in two pieces: \ud83d\ude00; whole: 😀 "
    "👩‍👩‍👧 e\u0301 ﷽ \u202eturned\u202c \x1b[31mred\x1b[0m \x00 nul \u2028 line."
)
WORDS: list[str] = [
    "%params topic=cats n=3 'mood=calm and kind'",
    r"Tell me of {{topic}}, {{n}} times, {{ mood }}, and \{{literally}}.",
    '%%params json\n{"tags": ["a", "ü"], "deep": {"x": null, "y": 1.5}}',
    "With {{tags}} and {{deep}}: show me all of Markdown.",
    "%params",
    "%system You are terse.\nNow something hostile.",
    "%model haiku\nAnd half an emoji?",
    "%model\n",
    "%system You are a poet; you see 🌲 and <b>rhyme</b>.\n%effort high\nA line on {{topic}}.",
    "%tools none\nWithout tools?",
    "%model default\n%system default\n%tools all\nAs at the beginning?",
    r"\%model is how a model is chosen.",
]
GIVEN = ("-p", "topic=dogs & <b>owls</b> 🦉", "-p", "n=7")


def wordy(request: Request) -> Reply:
    """Answer the prompts of `words`."""
    prompt = request.prompt
    if "Markdown" in prompt:
        return says(Text((HERE.parent / "answer.md").read_text(), chunk=7))
    if "hostile" in prompt:
        return says(Text("\n\n".join(corpus().values()), chunk=200))
    if "half an emoji" in prompt:
        return says(Thinking(SURROGATES, chunk=1), Text(SURROGATES, chunk=1))
    return says(f"To `{prompt}` under *{request.model}*:\n\n- yes\n- no")


def make_words(env: dict[str, str], server: ModelServer) -> None:
    """Run a notebook by the command line, with parameters."""
    made, path = begin("words", [(f"words-{n}", source) for n, source in enumerate(WORDS, 1)])
    made.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(made, path)
    server.model = wordy
    call(env, "run", path.name, "-o", path.name, "--no-progress", *GIVEN)


# --- tree: a notebook that was edited, forked, stopped and gone back in --------------------------

TREE = {
    "tree-1": "Remember that we plan a walk.",
    "tree-2": "Which way?",
    "tree-3": "%system You are a guide. Be brief.\nBy train or by bike?",
    "tree-4": "%model haiku\nAnd when?",
    "tree-5": "How steep is it? @plot.png",
    "tree-6": "%compact keep the route",
    "tree-7": "What do you know now?",
    "tree-8": "%tree",
    "tree-9": "Tell me a long story.",
    "tree-10": "Go on.",
}
#: What can't be run again without asking: a turn that was stopped, and what followed it.
LIVE_ONLY = ("tree-9", "tree-10")


def make_tree(env: dict[str, str], server: ModelServer) -> None:
    """Grow a tree live, then save what a restarted kernel shows of it."""
    made, path = begin("tree", list(TREE.items()))
    env = env | {"JPY_SESSION_NAME": str(path)}
    live: dict[str, list[Any]] = {}
    refusals = [Failure(400)] * 20

    def ask(cell: str, *answers: Any, source: str = "") -> None:
        server.model = Script(answers, default=says("ok"))
        live[cell] = shown(lab, source or TREE[cell], cell)

    def stop(cell: str, *blocks: Any, source: str = "") -> None:
        server.model = Script([says(*blocks, Wait(Gate()))], default=says("ok"))
        live[cell] = shown(lab, source or TREE[cell], cell, hook=Stops(lab, "half"))

    with open_lab(env) as lab:
        ask("tree-1", says("Noted."))
        ask("tree-2", says("Through the wood."))
        ask("tree-3", says("By train."), source="%system You are a guide.\nBy train?")
        ask("tree-4", says("At eight."))
        ask("tree-3", says(Thinking("Bikes need no timetable."), "By **bike**."))
        ask("tree-4", says("At nine."))
        ask("tree-s", source="%checkpoint camp")
        ask("tree-s", source="%fork side")
        ask("tree-s1", says("On the side, then."), source="A thought on the side.")
        stop("tree-s2", "A story that is half", source="Tell a story on the side.")
        ask("tree-s3", says("I count.", bash("seq 3", "Count")), *refusals, source="Count.")
        ask("tree-s", source="%checkout main")
    with open_lab(env) as lab:
        ask("tree-1")
        # The same question twice at one place: the later answer is what replays.
        ask("tree-2", says("Along the river, this time."), source="%%refresh\nWhich way?")
        ask("tree-3", says(Thinking("Bikes need no timetable."), "By **bike**, of course."))
        ask("tree-4", says("At ten."))
        ask("tree-5", says("It is steep in the end."))
        ask("tree-6", says("<summary>The route goes along the river, by bike.</summary>"))
        ask("tree-7", says("That we go by bike, along the river."))
        ask("tree-8")
        stop("tree-9", Thinking("A long one."), "Once upon a time there was half")
        ask("tree-10", says("And they lived happily."))
    with open_lab(env | {"HOTCLAUDE_RECORD": "none"}) as lab:
        for cell in made.cells:
            known = cell.id in LIVE_ONLY
            cell.outputs = live[cell.id] if known else shown(lab, cell.source, cell.id)
    finish(made, path)


class Stops:
    """A page whose reader interrupts the cell once certain words are there."""

    def __init__(self, lab: Notebook, words: str) -> None:
        self._lab, self._words, self._done = lab, words, False

    def __call__(self, message: Any) -> None:
        """Take a message of the kernel's."""
        if not self._done and self._words in str(message["content"].get("data", "")):
            self._done = True
            self._lab.interrupt()


# --- moves: the lines that go about in the tree, as cells ----------------------------------------

MOVES: list[tuple[str, list[Any]]] = [
    ("%goto start", []),
    ("Tell me one.", [says("One.")]),
    ("%checkpoint good", []),
    ("Tell me two.", [says("Two.", bash("seq 2", "Count")), says("Counted.")]),
    ("%fork side", []),
    ("Tell me three, on the side.", [says("Three, on the side.")]),
    ("%checkout main\n%goto 2\nTell me three, on main.", [says("Three, on main.")]),
    ("%checkout", []),
    ("%goto 1", []),
    ("Tell me two otherwise.", [says("*Two*, otherwise.")]),
    ("%goto side:3", []),
    ("Tell me four.", [says("Four.")]),
    ("%goto good\nTell me two.", []),
    ("%checkout nowhere", []),
    ("%rerun append", []),
    ("%tree", []),
    ("%new\nBegin anew.", [says("Anew.")]),
    ("%goto start\n%system You are new.\nBegin anew.", [says("Anew, as somebody else.")]),
    ("%new\nBegin <img/src=x/onerror=1> anew.", [says("<img/src=x/onerror=1> \ud83d")]),
    ("%tree", []),
]


def make_moves(env: dict[str, str], server: ModelServer) -> None:
    """Go about in a tree, a cell a move."""
    made, path = begin("moves", [(f"moves-{n}", source) for n, (source, _) in enumerate(MOVES, 1)])
    with open_lab(env | {"JPY_SESSION_NAME": str(path)}) as lab:
        for cell, (_, answers) in zip(made.cells, MOVES, strict=True):
            server.model = Script(answers, default=says("ok"))
            cell.outputs = shown(lab, cell.source, cell.id)
    finish(made, path)


# --- all of it -------------------------------------------------------------------------------


def begin(name: str, cells: list[tuple[str, str]]) -> tuple[Any, Path]:
    """Write a notebook that has not run yet; a kernel looks at its cells' ids."""
    spec = {"name": "hotclaude", "display_name": "Hot Claude", "language": "markdown"}
    made = nbformat.v4.new_notebook(metadata={"kernelspec": spec})
    made.cells = [nbformat.v4.new_code_cell(source, id=cell_id) for cell_id, source in cells]
    path = WORK / f"{name}.ipynb"
    nbformat.write(made, path)
    return made, path


def finish(made: Any, path: Path) -> None:
    """Write a notebook as it was run."""
    for number, cell in enumerate(made.cells, 1):
        cell.execution_count = number
    nbformat.write(made, path)


def call(env: dict[str, str], *words: str) -> None:
    """Run the program in the folder of the notebooks."""
    subprocess.run([hotclaude(), *words], env=env, cwd=WORK, check=True)


def dump(store: Path) -> str:
    """Return a record as SQL, its version included."""
    connection = sqlite3.connect(store)
    neutralise(connection)
    (version,) = connection.execute("pragma user_version").fetchone()
    lines = [*connection.iterdump(), f"PRAGMA user_version = {version};"]
    for table in ("holder", "process"):
        assert connection.execute(f"select count(*) from {table}").fetchone() == (0,), table
    connection.close()
    return "".join(f"{line}\n" for line in lines)


def neutralise(connection: sqlite3.Connection) -> None:
    """Write another version and folder into the transcripts, which tell those of this machine."""
    version = f"Linux {platform.release()}".encode()
    scratch = f"{tempfile.gettempdir()}/claude-{os.getuid()}/".encode()  # the binary's own
    names = connection.execute("select distinct entries from turn").fetchall()
    for (name,) in names:
        (packed,) = connection.execute("select data from blob where digest = ?", (name,)).fetchone()
        data = zlib.decompress(packed).replace(version, b"Linux 6.1.0")
        data = data.replace(scratch, f"{PLACE}/scratch/".encode())
        digest = hashlib.blake2b(data, digest_size=16).hexdigest()
        row = (digest, len(data), zlib.compress(data))
        connection.execute("insert or ignore into blob values (?, ?, ?)", row)
        connection.execute("update turn set entries = ? where entries = ?", (digest, name))
        if digest != name:
            connection.execute("delete from blob where digest = ?", (name,))
    connection.commit()


def plain(text: str) -> str:
    """Return a dump with what its blobs hold, to be looked through."""

    def opened(match: re.Match[str]) -> str:
        data = zlib.decompress(bytes.fromhex(match[1]))
        return data.decode("utf-8", "replace")

    return re.sub("X'([0-9A-Fa-f]+)'", opened, text)


def check(texts: dict[str, str]) -> None:
    """Fail where a text tells of this machine."""
    own = (Path.home(), Path.cwd(), HERE.parents[1], Path(sys.prefix).resolve())
    folders = (*own, Path(*HERE.parts[:2]), Path(tempfile.gettempdir()))
    user, host = re.escape(getpass.getuser()), re.escape(socket.gethostname())
    patterns = [rf"{re.escape(str(folder))}\b" for folder in folders if str(folder) != "/"]
    patterns += [rf"/{user}/", rf"\b{user}[@:]", rf"\b{host}\b", "widget-view"]
    patterns += [re.escape(platform.release()), r"/home/\w", r"/usr/lib/\w", "site-packages"]
    found = [
        f"{pattern} in {name}: …{text[max(0, at.start() - 40) : at.end() + 40]}…"
        for name, given in texts.items()
        for text in [given.replace(f"{PLACE}/", "")]
        for pattern in patterns
        if (at := re.search(pattern, text))
    ]
    assert not found, "\n".join(found)


def make() -> None:
    """Make everything anew."""
    assert not PLACE.exists(), f"{PLACE} is in the way"
    try:
        with ModelServer(Script()).in_thread() as server:
            env = environment(PLACE, server.url) | {
                "CLAUDE_CODE_ENABLE_TODO_TOOLS": "1",
                "CLAUDE_CODE_ENABLE_TASKS": "0",
            }
            (WORK / "plot.png").write_bytes(plot())
            (WORK / "weather.py").write_text(WEATHER)
            make_tools(env, server)
            make_words(env, server)
            make_tree(env, server)
            make_moves(env, server)
            for name in NOTEBOOKS:
                call(env, "export", f"{name}.ipynb")
        texts = {}
        texts["store.sql"] = store = dump(PLACE / "store.db")
        for name in NOTEBOOKS:
            for end in (".ipynb", ".hotclaude.jsonl"):
                texts[name + end] = (WORK / (name + end)).read_text(encoding="utf-8")
        del texts["store.sql"]
        check(texts | {"blobs": plain(store)})
        texts["store.sql"] = store
        for name, text in texts.items():
            (HERE / name).write_text(text, encoding="utf-8")
        shutil.copy(WORK / "plot.png", HERE)
    finally:
        shutil.rmtree(PLACE, ignore_errors=True)


def make_shown() -> None:
    """Keep what a manner shows beside the notebook, where it is something else."""
    for name in NOTEBOOKS:
        for manner in manners.MANNERS:
            own = HERE / f"{name}.{manner}.ipynb"
            own.unlink(missing_ok=True)
            with (
                tempfile.TemporaryDirectory() as folder,
                ModelServer(Script()).in_thread() as server,
            ):
                env = environment(Path(folder), server.url)
                shown = manners.replay(Path(folder), name, manner, env)
                assert server.requests == []
            notebook = nbformat.read(HERE / f"{name}.ipynb", as_version=4)
            differing = []
            cells = zip(manners.code_cells(notebook), shown, manners.golden(name), strict=True)
            for cell, outputs, known in cells:
                if outputs != known:
                    differing.append(cell.id)
                for output in outputs:
                    if output["output_type"] == "execute_result":
                        output["execution_count"] = cell.execution_count
                cell.outputs = nbformat.from_dict(outputs)
            print(f"{name} by {manner}: {', '.join(differing) or 'the same'}")
            if differing:
                nbformat.write(notebook, own)
    with tempfile.TemporaryDirectory() as folder:
        manners.PRINTED.write_text(manners.printed(Path(folder)), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] != ["shown"]:
        make()
    make_shown()
