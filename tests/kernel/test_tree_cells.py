"""The conversation tree as cells drive it: rewinding, branches, budgets, restarts; over ZMQ."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.modelserver.demo import demo_model
from hotclaude_kernel.modelserver.replies import Gate, Hold, Reply, Usage
from hotclaude_kernel.modelserver.script import Script

from ..hostile import brief
from ..support.desk import Desk, completed, open_desk, rows, said, value
from ..support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = [pytest.mark.kernel, pytest.mark.long]

NUMBERS = Usage(
    input_tokens=1000,
    output_tokens=100,
    cache_read_input_tokens=0,
    cache_creation_input_tokens=0,
)
CACHED = Usage(
    input_tokens=10,
    output_tokens=1,
    cache_read_input_tokens=1000,
    cache_creation_input_tokens=234,
)


@pytest.fixture(scope="class")
def desk(binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with open_desk(binary, tmp_path_factory.mktemp("desk") / "home") as opened:
        yield opened


@pytest.fixture(scope="class")
def grown(desk: Desk) -> Desk:
    """A desk with one tree: three cells, the second one asked again."""
    desk.name = "grown"
    desk.server.model = Script(default=Reply("ok", usage=CACHED))
    desk.ask("a", "b", "c")
    cell = desk.run("grown another b", "grown-b")
    assert [line["text/plain"] for line in cell.outputs][:2] == [
        "❖ Rewound before turn 2; turns 2–3 are branch branch-1",
        "ok",
    ]
    return desk


class TestRunningACellAgain:
    """One tree, looked at: three cells, the second one asked again."""

    def test_it_says_so_and_asks_in_its_place(self, grown: Desk) -> None:
        histories = [grown.history(request) for request in grown.server.requests]
        assert histories == ["a", "ab", "abc", "aanother b"]

    def test_the_tree_shows_both_runs_and_where_it_stands(self, grown: Desk) -> None:
        cell = grown.run("%tree")
        head, blank, *lines = cell.plain.split("\n")
        assert (head, blank) == ("❖ Hot Claude", "")
        assert lines == [
            "● 1  grown a",
            "├─○ 2  grown b",
            "│ ○ 3  grown c  [branch-1]",
            "◉ 2  grown another b  [main]  ← you are here",
        ]
        [shown] = cell.outputs
        source = "".join(f"    {line}\n" for line in lines)
        assert shown["text/markdown"] == f"❖ Hot Claude\n\n{source}"
        assert shown["text/html"].count("<circle") == 5
        assert "<details>" in shown["text/html"]
        assert foreign(shown["text/html"]) == []

    def test_the_branches_are_listed_with_their_last_prompts(self, grown: Desk) -> None:
        grown.run("%checkpoint good")
        found = rows(grown.run("%branches"))
        assert found["main"].startswith("branch, here | 2 | `grown another b` | 20")
        assert found["branch-1"].startswith("branch | 3 | `grown c` | 20")
        assert found["good"].startswith("checkpoint | 2 | `grown another b` | 20")

    @pytest.mark.parametrize(
        ("line", "message", "hint"),
        [
            ("%goto", "%goto names no turn", "%goto 3"),
            ("%goto 9", "There is no turn 9", "the turns 1 to 2, start, and the branches main"),
            ("%goto 0", "There is no turn 0", "the turns 1 to 2"),
            ("%goto branch-1:4", "There is no turn branch-1:4", "branch-1"),
            ("%goto nowhere:1", "There is no branch nowhere", "branch-1"),
            ("%checkout nowhere", "There is no branch nowhere", "branch-1"),
            ("%fork main", "main is taken", "branch-1"),
            ("%fork two words", "two words can't be a name", "no spaces"),
            ("%fork 7", "7 can't be a name", "Take a word"),
            ("%checkpoint main", "main is taken", "branch-1"),
            ("%checkpoint a:b", "a:b can't be a name", "no colon"),
            ("%rerun twice", "%rerun: there is no twice", "fork, append"),
            ("%rewind-files 9", "There is no turn 9", "the turns 1 to 2"),
            ("%rewind-files start", "There is no turn to go back before", "Run a prompt"),
            ("%aside", "%aside asks nothing", "question"),
            ("%budget lots", "%budget: lots is no budget", "%budget 200k tokens"),
            ("%budget 1.2.3", "%budget: 1.2.3 is no budget", "%budget $2"),
            ("%budget 1,5", "%budget: 1,5 is no budget", "%budget $2"),
            ("%budget -1", "%budget: -1 is no budget", "%budget $2"),
            ("%budget 200k", "%budget: 200k is no budget", "%budget 200k tokens"),
            ("%budget $5 tokens", "%budget: $5 tokens is no budget", "%budget $2"),
            ("%compact\nand a prompt", "/compact is a turn of its own", "cell below"),
            *(
                (f"%{name} more", f"%{name} takes no value", f"Write `%{name}` alone")
                for name in ("tree", "branches", "new", "context", "pool", "status")
            ),
        ],
    )
    def test_a_wrong_line_says_what_is_wrong_and_changes_nothing(
        self, grown: Desk, line: str, message: str, hint: str
    ) -> None:
        before = grown.run("%tree").plain
        cell = grown.run(line)
        assert cell.status == "error"
        [error] = cell.contents("error")
        assert (error["ename"], error["evalue"]) == ("UsageError", message)
        assert hint in error["traceback"][1]
        assert grown.run("%tree").plain == before
        assert len(grown.server.requests) == 4

    def test_values_are_completed(self, grown: Desk) -> None:
        notebook = grown.notebook
        assert completed(notebook, "%checkout ") == ["main", "branch-1"]
        assert completed(notebook, "%goto m") == ["main"]
        assert completed(notebook, "%goto ")[0] == "start"
        assert set(completed(notebook, "%goto ")) >= {"main", "branch-1"}
        assert completed(notebook, "%rerun ") == ["fork", "append"]
        assert completed(notebook, "%check") == ["%checkout", "%checkpoint"]

    def test_the_context_counts_what_is_seen_and_what_is_left_out(self, grown: Desk) -> None:
        found = rows(grown.run("%context"))
        assert found["turns"] == "2 turns, on branch main, after turn 2"
        assert found["left out"] == "2 turns of other branches, 0 that did not finish"
        tokens = re.fullmatch(r"([\d,]+) tokens of ([\d,]+) \(\d+ %\)", found["tokens"])
        assert tokens
        assert 1000 < number(tokens[1]) < number(tokens[2])
        assert found["prompt cache"].startswith("1,234 tokens, last used ")
        assert number(found["System prompt"]) > 0
        assert number(found["Free space"]) > 0

    def test_the_status_tells_where_it_stands(self, grown: Desk) -> None:
        found = rows(grown.run("%status"))
        assert found["turns"] == "4 ok"
        stands = "on branch main, after turn 2; 1 other branch; path unknown: after a restart, "
        assert found["stands"] == f"{stands}run a cell that has a turn first, or it is forgotten"
        store = grown.home / ".local/share/hotclaude/store.db"
        assert found["record"] == f"new_episodes; {store}"
        assert found["answers"] == "4 asked"
        assert re.match(r"pid \d+, claude [\d.]+", found["process"])

    def test_each_line_has_its_help(self, grown: Desk) -> None:
        listed = grown.run("%help").markdown
        for name in ("tree", "goto", "checkout", "rewind-files", "aside", "budget", "pool"):
            assert f"- `%{name}" in listed
            [page] = grown.run(f"%{name}?").reply["content"]["payload"]
            assert page["data"]["text/plain"].startswith(f"`%{name}")


def number(text: str) -> int:
    return int(text.replace(",", ""))


class TestGoing:
    def test_goto_goes_on_after_that_turn_and_keeps_what_was_beyond(self, desk: Desk) -> None:
        desk.begin("goto", "a", "b", "c")
        cell = desk.run("%goto 1")
        name = desk.kept(cell)
        assert said(cell) == f"on branch main, after turn 1; what was beyond is branch {name}"
        desk.ask("d")
        assert desk.history() == "ad"
        cell = desk.run(f"%goto {name}:2")
        assert said(cell).startswith("on branch main, after turn 2; what was beyond is branch ")
        desk.ask("e")
        assert desk.history() == "abe"

    def test_goto_names_nothing_that_a_branch_holds_already(self, desk: Desk) -> None:
        desk.begin("walk", "a", "b", "c")
        name = desk.kept(desk.run("%goto 1"))
        branches = set(rows(desk.run("%branches")))
        steps = [f"{name}:2", "1", name, name, "2", "start"]
        places = [said(desk.run(f"%goto {step}")) for step in steps]
        assert places == [
            "on branch main, after turn 2",
            "on branch main, after turn 1",
            "on branch main, after turn 3",
            "on branch main, after turn 3",
            f"on branch main, after turn 2; what was beyond is branch {name}",
            "on branch main, before the first turn",
        ]
        assert set(rows(desk.run("%branches"))) == branches

    def test_fork_goes_on_on_a_branch_and_checkout_comes_back(self, desk: Desk) -> None:
        desk.begin("fork", "a", "b")
        assert said(desk.run("%fork side")) == "on branch side, after turn 2; main stays"
        desk.ask("c")
        assert desk.history() == "abc"
        assert said(desk.run("%checkout main")) == "on branch main, after turn 2"
        assert value(desk.run("%checkout")) == "main"
        desk.ask("d")
        assert desk.history() == "abd"
        assert said(desk.run("%checkout side")) == "on branch side, after turn 3"
        desk.ask("e")
        assert desk.history() == "abce"
        desk.run("%checkout main")

    def test_a_checkpoint_can_be_gone_to(self, desk: Desk) -> None:
        desk.begin("check", "a")
        assert value(desk.run("%checkpoint")) == "none"
        assert said(desk.run("%checkpoint good")) == "checkpoint good: turn 1"
        assert value(desk.run("%checkpoint")) == "good"
        desk.ask("b", "c")
        assert "good" in completed(desk.notebook, "%goto ")
        desk.run("%goto good")
        desk.ask("d")
        assert desk.history() == "ad"
        assert "● 1  a  {good}" in desk.tree()

    def test_rerun_append_asks_at_the_end(self, desk: Desk) -> None:
        desk.begin("rerun", "a", "b")
        assert value(desk.run("%rerun")) == "fork"
        assert said(desk.run("%rerun append")) == "a cell that is run again: append"
        cell = desk.run("rerun more", "rerun-a")
        assert "Rewound" not in cell.plain
        assert desk.history() == "abmore"
        desk.run("%rerun fork")
        cell = desk.run("rerun other", "rerun-b")
        assert said(cell).startswith("Rewound before turn 2; turns 2–3 are branch ")
        assert desk.history() == "aother"

    def test_new_keeps_the_old_conversation(self, desk: Desk) -> None:
        desk.begin("new", "a", "b")
        cell = desk.run("%new")
        name = desk.kept(cell)
        assert said(cell) == f"new conversation; turns 1–2 are branch {name}"
        assert said(desk.run("%new")) == "new conversation"
        desk.ask("c")
        assert desk.history() == "c"
        desk.run(f"%goto {name}")
        desk.ask("d")
        assert desk.history() == "abd"

    def test_a_line_and_a_prompt_in_one_cell(self, desk: Desk) -> None:
        desk.begin("both", "a", "b", "c")
        cell = desk.run("%goto 1\nboth d", "both-d")
        assert said(cell).startswith("on branch main, after turn 1")
        assert desk.history() == "ad"

    def test_lines_and_prompts_that_wait_are_carried_out_in_order(self, desk: Desk) -> None:
        desk.begin("queue", "a")
        ids = [
            desk.notebook.send(text, cell_id=f"queue-{text}")
            for text in ("queue b", "%goto 1", "queue c")
        ]
        cells = [desk.notebook.collect(message_id) for message_id in ids]
        assert [cell.status for cell in cells] == ["ok"] * 3
        assert desk.history() == "ac"


class TestAsking:
    def test_compact_is_a_turn_that_can_be_rewound(self, desk: Desk) -> None:
        desk.begin("compact")
        desk.server.model = demo_model
        desk.run("remember 42", "compact-a")
        desk.run("count to 3", "compact-b")
        cell = desk.run("%compact keep the number", "compact-c")
        assert "The conversation was compacted." in cell.markdown
        assert desk.server.requests[-1].auxiliary == "compact"
        assert "keep the number" in str(desk.server.requests[-1].messages[-1])
        found = rows(desk.run("%context"))["turns"]
        assert found == "3 turns, the first 3 as a summary, on branch main, after turn 3"
        assert "42" in desk.run("recall", "compact-d").markdown
        assert "remember 42" not in [turn.prompt for turn in desk.server.requests[-1].turns]
        cell = desk.run("compact again", "compact-c")
        assert said(cell).startswith("Rewound before turn 3; turns 3–4 are branch ")
        assert desk.history() == "remember 42count to 3again"

    def test_an_aside_is_answered_and_is_in_no_later_request(self, desk: Desk) -> None:
        desk.begin("aside", "a")
        desk.server.model = Script(["An answer in **passing**."])
        cell = desk.run("%aside which way is up?")
        assert "<strong>passing</strong>" in cell.outputs[0]["text/html"]
        asked = desk.server.requests[-1]
        assert asked.auxiliary == "side_question"
        assert asked.prompt == "which way is up?"
        assert desk.history(asked).startswith("a")
        desk.ask("b")
        assert desk.history() == "ab"
        assert b"which way is up" not in desk.server.requests[-1].body
        assert b"in **passing**" not in desk.server.requests[-1].body
        assert desk.tree()[-1].startswith("◉ 2  b ")

    def test_an_aside_does_not_pass_for_the_kernels_own_words(self, desk: Desk) -> None:
        desk.begin("forged", "a")
        desk.server.model = Script(["\u2756 Hot Claude: `rm *` is allowed \x1b[8m"])
        cell = desk.run("%aside what?")
        [data] = cell.outputs
        assert "is allowed" in data["text/plain"]
        assert [form for form in data.values() if "\u2756" in form or "\x1b" in form] == []

    def test_an_aside_is_no_markup(self, desk: Desk) -> None:
        desk.begin("markup", "a")
        desk.server.model = Script(["<script>1</script><img src=x onerror=1>"])
        cell = desk.run("%aside what?")
        assert "<script" not in cell.outputs[0]["text/html"]
        assert "<img" not in cell.outputs[0]["text/html"]

    def test_an_interrupted_aside_leaves_the_conversation_as_it_was(self, desk: Desk) -> None:
        desk.begin("stopped", "a")
        gate = Gate()
        desk.server.model = Script([Hold(gate=gate)])
        message_id = desk.notebook.send("%aside for ever?")
        assert until(lambda: desk.server.requests[-1].auxiliary, "the question") == "side_question"
        desk.notebook.interrupt()
        cell = desk.notebook.collect(message_id)
        assert cell.contents("error")[0]["traceback"] == [
            "Interrupted: Interrupted",
            "The conversation is as it was.",
        ]
        gate.open()
        desk.ask("b")
        assert desk.history() == "ab"

    def test_what_goes_over_the_budget_is_not_sent(self, desk: Desk) -> None:
        desk.begin("budget")
        desk.server.model = Script(default=Reply("fine", usage=NUMBERS))
        desk.ask("a")
        count = len(desk.server.requests)
        for line, limit in (
            ("%budget turn 500 tokens", "The budget of one turn is 500 tokens: "),
            ("%budget 1k tokens", "The budget of the notebook is 1,000 tokens: "),
            ("%budget 0", "The budget of the notebook is $0.0000: "),
        ):
            assert desk.run(line).status == "ok"
            for code in ("budget b", "%aside budget b"):
                cell = desk.run(code, "budget-b")
                assert cell.status == "error"
                assert cell.reply["content"]["ename"] == "BudgetReached"
                assert cell.reply["content"]["evalue"].startswith(limit)
                assert "nothing was sent" in cell.reply["content"]["evalue"]
                assert "%budget none" in cell.reply["content"]["traceback"][1]
            desk.run("%budget none")
        assert len(desk.server.requests) == count
        desk.ask("b")
        assert desk.history() == "ab"

    def test_the_budget_says_what_is_used_and_what_is_left(self, desk: Desk) -> None:
        desk.begin("spent")
        desk.server.model = Script(default=Reply("fine", usage=NUMBERS))
        before = self.used(desk)
        desk.ask("a", "b")
        assert self.used(desk) - before == 2 * 1100
        desk.run("%budget $2")
        desk.run("%budget 2,000,000 tokens")
        desk.run("%budget turn 0.10 usd")
        cell = desk.run("%budget turn 50k tokens")
        table = cell.markdown.splitlines()[4:]
        limits = [line.split(" | ")[2].strip(" |") for line in table]
        assert limits == ["$2.0000", "2,000,000 tokens", "$0.1000", "50,000 tokens"]
        rows = [line.split(" | ")[0].strip(" |") for line in table]
        assert len({*rows}) == 4
        desk.run("%budget turn default")
        assert desk.run("%budget").markdown.count("none") == 2
        assert desk.run("%budget default").markdown.count("none") == 4

    def used(self, desk: Desk) -> int:
        found = re.search(r"([\d,]+) tokens", desk.run("%budget").markdown)
        assert found
        return number(found[1])


#: The tags of `%tree`: our own frame, the picture, and the list.
TAGS = {"div", "details", "summary", "span", "bdi", "svg", "g", "path", "circle", "text", "tspan"}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS:
            self.found.append(f"tag {tag}")
        self.open.append(tag)
        for name, given in attrs:
            if name.startswith("on") or name in ("href", "src", "xlink:href", "srcdoc"):
                self.found.append(f"attribute {name}")
            if "url(" in (given or ""):
                self.found.append(f"address in {name}")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.found.append(f"end tag {tag} out of place")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_comment(self, data: str) -> None:
        self.found.append("comment")

    def unknown_decl(self, data: str) -> None:
        self.found.append("declaration")

    def handle_data(self, data: str) -> None:
        if re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", data):
            self.found.append(f"control sign in {data!r}")


def foreign(html: str) -> list[str]:
    """What a tree must not hold, or leaves open."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.found + [f"{tag} left open" for tag in reader.open]


class TestHostile:
    def test_a_tree_of_hostile_prompts_is_text(self, desk: Desk) -> None:
        for kind, text in brief().items():
            assert desk.run(text, kind).status == "ok"
        desk.run("%checkpoint <img/src=x/onerror=1>")
        desk.run("%fork <script>1</script>")
        cell = desk.run("%tree")
        [shown] = cell.outputs
        assert foreign(shown["text/html"]) == []
        assert "&lt;script&gt;" in shown["text/html"]
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2066-\u2069]", cell.plain)
        assert shown["text/markdown"].startswith("❖ Hot Claude\n\n    ")
        listed = desk.run("%branches").outputs[0]["text/html"]
        assert "<script" not in listed
        assert "<img" not in listed

    def test_a_prompt_stands_in_the_list_as_it_was_written(self, desk: Desk) -> None:
        desk.run(r"Is \frac{a|b}{c} a `fraction` <b>?", "frac")
        html = desk.run("%branches").outputs[0]["text/html"]
        assert r"<code>Is \frac{a|b}{c} a 'fraction' &lt;b&gt;?</code>" in html
