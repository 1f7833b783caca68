"""The record from a shell: what is written, what is refused, and a colleague's copy."""

from __future__ import annotations

import json
import subprocess
import zlib
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from hotclaude_kernel.cli.main import main
from hotclaude_kernel.modelserver.replies import Reply, Text, Thinking, ToolUse
from hotclaude_kernel.modelserver.script import Script
from hotclaude_kernel.notebooks import check, verify
from hotclaude_kernel.record import queries
from hotclaude_kernel.record.cassettes import cassette
from hotclaude_kernel.record.notebooks import notebook_at, row_of
from hotclaude_kernel.record.store import Store
from hotclaude_kernel.turns.identity import settings_digest
from hotclaude_kernel.turns.prompt import Attachment
from hotclaude_kernel.turns.settings import Settings

from ..record.test_cassette import Book
from ..support.environment import isolated_env
from ..support.notebooks import executed, notebook_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotclaude_kernel.claude.frames import Frame
    from hotclaude_kernel.modelserver.server import ModelServer
    from hotclaude_kernel.turns.tree import Node


class Page:
    """A notebook file whose answers are what a book has recorded, and the record they are in."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = folder / "nb.ipynb"
        self.tape = folder / "nb.hotclaude.jsonl"
        self.file = folder / "store" / "store.db"
        monkeypatch.setenv("HOTCLAUDE_STORE", str(self.file))
        self.store = Store(str(self.file))
        self.book = Book(self.store, str(self.path))
        self.cells: list[dict[str, Any]] = []

    def add(self, source: str, *content: Frame, prompt: str | None = None, **more: Any) -> Node:
        """Add a cell and its answer, behind the turn that was added last."""
        after = more.pop("after", self.book.nodes[-1] if self.book.nodes else None)
        prompt = source if prompt is None else prompt
        node = self.book.add(prompt, *content, after=after, **more)
        turn = self.store.turn(node.id)
        shown = [self.output(data) for data in verify.shown(turn.frames)]
        self.cell(
            source,
            *shown,
            self.output({"text/plain": "numbers"}, turn.about(settings_digest(turn.settings))),
        )
        return node

    def cell(self, source: str, *outputs: dict[str, Any]) -> dict[str, Any]:
        """Add a cell as it is."""
        cell: dict[str, Any] = {"cell_type": "code", "metadata": {}, "source": source}
        cell["execution_count"] = None
        self.cells.append(cell | {"outputs": list(outputs), "id": f"c{len(self.cells)}"})
        return self.cells[-1]

    def output(self, data: dict[str, str], about: Frame | None = None) -> dict[str, Any]:
        """An output as a front end saves it: texts as lines."""
        lines = {kind: text.splitlines(keepends=True) for kind, text in data.items()}
        metadata = {"hotclaude": about} if about else {}
        return {"output_type": "display_data", "data": lines, "metadata": metadata}

    def save(self) -> str:
        """Write the file; return its path."""
        content = {"cells": self.cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        self.path.write_text(json.dumps(content))
        return str(self.path)


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    made = Page(tmp_path, monkeypatch)
    with closing(made.store):
        yield made


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    """What was printed since the last call."""

    def printed() -> str:
        captured = capsys.readouterr()
        return captured.out + captured.err

    return printed


class TestExport:
    def test_the_turns_that_the_outputs_name(self, page: Page, said: Any) -> None:
        page.add("one")
        page.add("two")
        page.book.add("beside")
        assert main(["export", page.save()]) == 0
        assert [turn.prompt.text for turn in cassette.read(page.tape.read_text())] == ["one", "two"]
        assert "2 turns written to" in said()

    def test_the_notebook_is_left_alone(self, page: Page) -> None:
        page.add("one")
        path = Path(page.save())
        before = path.read_bytes()
        main(["export", str(path), "-o", str(path.with_name("other.jsonl"))])
        assert path.read_bytes() == before
        assert path.with_name("other.jsonl").exists()
        assert not page.tape.exists()

    def test_without_such_outputs_the_branch_that_the_notebook_is_on(self, page: Page) -> None:
        page.add("one")
        page.cells.clear()
        assert main(["export", page.save()]) == 0
        assert len(cassette.read(page.tape.read_text())) == 1

    def test_a_notebook_without_answers_is_refused(self, page: Page, said: Any) -> None:
        page.book.notebook = notebook_at(page.store, "/elsewhere.ipynb").id
        assert main(["export", page.save()]) == 5
        assert "no answers" in said()

    def test_what_leaks_is_listed_and_nothing_is_written(self, page: Page, said: Any) -> None:
        page.add("read /home/alice/x")
        assert main(["export", page.save()]) == 1
        assert not page.tape.exists()
        printed = said()
        assert "prompt: a home folder (/home/a…)" in printed
        assert "--allow-leaks" in printed
        assert main(["export", str(page.path), "--allow-leaks"]) == 0
        assert page.tape.exists()

    def test_from_the_cassette_alone_it_is_the_same_again(self, page: Page, tmp_path: Path) -> None:
        page.add("one")
        main(["export", page.save()])
        text = page.tape.read_text()
        assert main(["export", str(page.path), "--store", str(tmp_path / "none.db")]) == 0
        assert page.tape.read_text() == text
        assert not (tmp_path / "none.db").exists()

    def test_a_turn_that_is_recorded_nowhere_is_named(self, page: Page, said: Any) -> None:
        node = page.add("one")
        assert main(["export", page.save(), "--store", "/nowhere/none.db"]) == 1
        assert node.id[:12] in said()


class TestStamp:
    def test_it_names_cassette_versions_and_commit_and_is_the_same_again(self, page: Page) -> None:
        folder = page.path.parent
        page.add("one")
        head = page.add("two")
        path = Path(page.save())
        git = ["git", "-C", str(folder), "-c", "user.name=x", "-c", "user.email=x@example.com"]
        subprocess.run([*git, "init", "-q"], check=True)
        subprocess.run([*git, "add", "nb.ipynb"], check=True)
        subprocess.run([*git, "commit", "-qm", "x"], check=True)
        assert main(["export", str(path), "--stamp"]) == 0
        nb = nbformat.read(path, as_version=4)
        nbformat.validate(nb)
        stamp = nb.metadata.hotclaude
        assert stamp.head == head.id
        assert stamp.branch == "main"
        digest = cassette.digest(page.tape.read_text())
        assert stamp.cassette == {"path": "nb.hotclaude.jsonl", "digest": digest}
        assert stamp.versions.cli == "2.1.0"
        assert len(stamp.git.commit) == 40
        # Its own writing does not count.
        assert stamp.git.dirty is False
        text = path.read_text()
        main(["export", str(path), "--stamp"])
        assert path.read_text() == text

    def test_another_cassette_than_the_one_it_names_is_found(self, page: Page, said: Any) -> None:
        page.add("one")
        main(["export", page.save(), "--stamp"])
        assert main(["verify", str(page.path)]) == 0
        page.tape.write_text(page.tape.read_text() + "\n")
        assert main(["verify", str(page.path)]) == 1
        assert "nb.hotclaude.jsonl is another one than the notebook names" in said()


class TestImport:
    def test_it_says_what_was_new(self, page: Page, tmp_path: Path, said: Any) -> None:
        page.add("one")
        main(["export", page.save()])
        said()
        other = str(tmp_path / "other" / "store.db")
        for new in (1, 0):
            assert main(["import", str(page.tape), "--store", other]) == 0
            assert said() == f"{new} new turns from {page.tape}\n"

    def test_a_damaged_file_is_refused(self, page: Page, tmp_path: Path, said: Any) -> None:
        page.add("one")
        main(["export", page.save()])
        page.tape.write_text(page.tape.read_text().replace('"one"', '"two"'))
        assert main(["import", str(page.tape), "--store", str(tmp_path / "other.db")]) == 1
        assert "line 2 can't be taken: its key does not follow" in said()

    def test_a_file_that_is_not_there(self, said: Any) -> None:
        assert main(["import", "none.jsonl", "--store", "none.db"]) == 1
        assert "can't be read: No such file" in said()
        assert not Path("none.db").exists()


RICH: tuple[Frame, ...] = (
    {"type": "thinking", "thinking": "let me see"},
    {"type": "text", "text": "First **this**.\n\n```python\nx = 1\n```\n"},
    {"type": "tool_use", "id": "x", "name": "mcp__s__t", "input": {"z": 1, "a": [2]}},
    {"type": "text", "text": "Then that."},
)


class TestVerify:
    def test_a_sound_record_notebook_and_cassette(self, page: Page, said: Any) -> None:
        page.add("one", *RICH)
        image = Attachment(name="p.png", media_type="image/png", data=b"\x89PNG")
        page.add("two", images=(image,), asked_under=Settings(model="opus", cwd="/x"))
        path = page.save()
        main(["export", path])
        for arguments in ([], [path], [str(page.tape)]):
            assert main(["verify", *arguments]) == 0, said()

    @pytest.mark.parametrize(
        ("change", "found"),
        [
            ("update turn set prompt = 'other'", "key does not follow"),
            ("update turn set node = 'other'", "node does not follow"),
            ("update turn set frames = deltas", "node does not follow"),
            ('update settings set json = \'{"model":"other"}\'', "key does not follow"),
            ("update attachment set media_type = 'other'", "key does not follow"),
            ("update blob set data = x'00'", "it can't be read"),
        ],
    )
    def test_what_was_changed_in_the_record_is_found(
        self, page: Page, change: str, found: str, said: Any
    ) -> None:
        page.add("one", images=(Attachment(name="p", media_type="image/png", data=b"x"),))
        with page.store.write() as db:
            db.execute(change)
        assert main(["verify"]) == 1
        assert found in said()

    def test_a_blob_that_is_another_one(self, page: Page, said: Any) -> None:
        page.add("one")
        with page.store.write() as db:
            db.execute("update blob set data = ? where size > 0", (zlib.compress(b"other"),))
        assert main(["verify"]) == 1
        assert "it is another one" in said()

    @pytest.mark.parametrize("kind", ["text/markdown", "text/html"])
    def test_an_answer_that_was_changed_in_the_notebook(
        self, page: Page, kind: str, said: Any
    ) -> None:
        page.add("one")
        page.add("two", *RICH)
        for output in page.cells[1]["outputs"]:
            if kind in output["data"]:
                output["data"][kind] = [t.replace("this", "THIS") for t in output["data"][kind]]
        assert main(["verify", page.save()]) == 1
        assert said() == "cell 2: its outputs are not what its recording is shown as\n"

    def test_an_answer_that_was_taken_out_or_put_in(self, page: Page) -> None:
        page.add("one", *RICH)
        page.cells[0]["outputs"].insert(-1, page.output({"text/markdown": "And more."}))
        assert main(["verify", page.save()]) == 1
        del page.cells[0]["outputs"][-2]
        assert main(["verify", page.save()]) == 0
        del page.cells[0]["outputs"][0]
        assert main(["verify", page.save()]) == 1

    def test_what_the_cells_own_lines_say_is_no_answer(self, page: Page) -> None:
        page.add("%tree\none", prompt="one")
        page.cells[0]["outputs"].insert(0, page.output({"text/markdown": "a tree"}))
        assert main(["verify", page.save()]) == 0

    def test_metadata_that_were_changed(self, page: Page, said: Any) -> None:
        page.add("one")
        page.cells[0]["outputs"][-1]["metadata"]["hotclaude"]["cost_usd"] = 0
        assert main(["verify", page.save()]) == 1
        assert "metadata are not those of its turn" in said()

    @pytest.mark.parametrize("text", ["", "{}", '{"cells": [1]}', "[]"])
    def test_what_is_no_notebook(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "nb.ipynb").write_text(text)
        assert main(["verify", str(tmp_path / "nb.ipynb")]) == 5

    def test_a_record_that_is_not_there_is_not_made(self, tmp_path: Path) -> None:
        file = tmp_path / "none.db"
        assert main(["verify", "--store", str(file)]) == 5
        assert not file.exists()


class TestCheck:
    def test_cells_in_their_order(self, page: Page, said: Any) -> None:
        page.add("one")
        page.cell("%model opus")
        page.cell("")
        page.add("two\n")
        page.add("%new\nthree", prompt="three", after=None)
        page.add("%goto 1\nfour", prompt="four", after=page.book.nodes[0])
        page.add("%compact tersely", prompt="/compact tersely")
        assert main(["check", page.save()]) == 0
        assert "reproduces it" in said()

    def test_parameters_are_filled_in(self, page: Page) -> None:
        page.cell("%params topic=cats")
        page.add("tell of {{topic}}", prompt="tell of cats")
        page.add("%params topic=dogs\nand {{topic}}", prompt="and dogs")
        assert main(["check", page.save()]) == 0

    def test_images_are_compared(self, page: Page, said: Any) -> None:
        image = Attachment(name="p.png", media_type="image/png", data=b"\x89PNG\r\n\x1a\n1")
        (page.path.parent / "p.png").write_bytes(image.data)
        page.add("%attach p.png\nlook", prompt="look", images=(image,))
        page.add('%attach "p.png"\nlook again', prompt="look again", images=(image,))
        assert main(["check", page.save()]) == 0
        (page.path.parent / "p.png").write_bytes(image.data + b"2")
        assert main(["check", str(page.path)]) == 1
        assert "cell 1: its images are others" in said()

    def test_what_would_not_come_out_the_same_is_listed(self, page: Page, said: Any) -> None:
        first = page.add("one")
        page.add("two")
        page.add("three", after=first)
        page.cell("never run")
        page.add("four")
        page.cells[1]["source"] = "two, edited"
        assert main(["check", page.save()]) == 1
        assert said().splitlines() == [
            "cell 2: it was edited since it was answered",
            "cell 3: it does not follow the cell above. " + check.STALE,
            "cell 4: it has no answer that is recorded",
        ]

    def test_another_answer_that_replays(self, page: Page, said: Any) -> None:
        page.add("one")
        page.book.add("one", {"type": "text", "text": "another"})
        assert main(["check", page.save()]) == 1
        assert said() == "cell 1: another answer replays than the one that it shows\n"

    def test_a_turn_that_is_nowhere_and_a_line_that_can_not_be_read(
        self, page: Page, tmp_path: Path, said: Any
    ) -> None:
        node = page.add("one")
        page.cell("%%nothing\n")
        assert main(["check", page.save(), "--store", str(tmp_path / "none.db")]) == 1
        assert said().splitlines() == [
            f"cell 1: its turn {node.id[:12]} is not recorded",
            "cell 2: There is no cell magic %%nothing",
        ]

    def test_the_cassette_beside_it_is_a_record_too(self, page: Page, tmp_path: Path) -> None:
        page.add("one")
        main(["export", page.save()])
        assert main(["check", str(page.path), "--store", str(tmp_path / "none.db")]) == 0
        assert main(["verify", str(page.path), "--store", str(tmp_path / "none.db")]) == 0


class TestLooking:
    def test_logs_lists_the_newest_last(self, page: Page, said: Any) -> None:
        for text in ("one\nmore", "two", "three\x1b[31m"):
            page.add(text)
        Book(page.store, "/other.ipynb").add("elsewhere", status="interrupted")
        assert main(["logs", "-n", "3"]) == 0
        rows = said().splitlines()
        assert [row.split("  ")[-1] for row in rows[:2]] == ["two", "three"]
        assert "  nb.ipynb  turn 2  claude-x  7 tokens  two" in rows[0]
        assert rows[2].endswith("elsewhere  (interrupted)")
        assert main(["logs", str(page.path)]) == 0
        assert "elsewhere" not in (printed := said())
        assert len(printed.splitlines()) == 3
        assert main(["logs", "none.ipynb"]) == 0
        assert said() == ""

    def test_show_prints_the_conversation_up_to_a_turn(self, page: Page, said: Any) -> None:
        page.add("say\n\nit", {"type": "text", "text": "First **this**.\x1b]0;evil\x07"})
        node = page.add("two")
        page.add("three")
        for name in (node.id[:12], node.key[:12]):
            assert main(["show", name]) == 0
            printed = said()
            assert "## Turn 1\n" in printed
            assert "> say\n>\n> it\n\nFirst **this**.\n" in printed
            assert printed.endswith("> two\n\nfine\n\n")
            assert "\x1b" not in printed

    def test_show_tells_what_there_is_not(self, page: Page, said: Any) -> None:
        for n in range(20):
            page.add(f"turn {n}")
        assert main(["show", "nothing"]) == 5
        assert "No turn begins with nothing" in said()
        assert main(["show", ""]) == 5
        assert "Several turns" in said()


class TestGc:
    def count(self, page: Page, table: str) -> int:
        with page.store.read() as db:
            return int(db.execute(f"select count(*) from {table}").fetchone()[0])

    def test_what_nobody_holds_goes_and_what_is_followed_stays(self, page: Page, said: Any) -> None:
        first = page.add("one")
        page.add("two")
        loose = page.book.add("loose", {"type": "text", "text": "long " * 99}, status="error")
        page.book.add("loose too", after=loose, status="error")
        with page.store.write() as db:
            for node in (loose, first, page.book.nodes[-1]):
                for table in ("member", "answer"):
                    db.execute(f"delete from {table} where turn = ?", (row_of(db, node.id),))
            db.execute("update branch set turn = null")
        kept = queries.all_turns(page.store)[:2]
        assert main(["gc", "--dry-run"]) == 0
        assert said().startswith("2 turns and 1 blobs would be deleted")
        assert self.count(page, "turn") == 4
        assert main(["gc"]) == 0
        assert said().startswith("2 turns and 1 blobs deleted")
        assert queries.all_turns(page.store) == kept
        assert main(["verify"]) == 1
        assert "it lacks the turn before" in said()
        notebook_at(page.store, str(page.path))  # opening it fills the hole that was made above
        assert main(["verify"]) == 0
        assert main(["gc"]) == 0
        assert "0 turns and 0 blobs deleted: 0 bytes" in said()

    def test_a_checkpoint_and_a_branch_hold_a_turn(self, page: Page) -> None:
        marked = page.book.add("marked", status="error")
        ended = page.book.add("ended", status="error")
        with page.store.write() as db:
            db.execute("delete from member")
            db.execute("update branch set turn = ?", (row_of(db, ended.id),))
            db.execute("insert into checkpoint values (1, 'x', ?)", (row_of(db, marked.id),))
        main(["gc"])
        assert queries.all_turns(page.store) == [marked.id, ended.id]


@pytest.mark.kernel
@pytest.mark.long
class TestAColleague:
    def test_the_cassette_alone_gives_the_same_outputs_elsewhere(
        self, env: dict[str, str], server: ModelServer, tmp_path: Path
    ) -> None:
        bash = ToolUse("Bash", {"command": "echo from-bash", "description": "say it"})
        rich = Reply(Thinking("let me see"), Text("First **this**.", chunk=4), bash)
        server.model = Script([rich, "done", "second", "third"])
        nb = executed(notebook_of("go", "%model opus\nmore", "and on"), env)
        work, home = Path(env["HOME"], "work"), tmp_path / "colleague"
        nbformat.write(nb, work / "nb.ipynb")
        self.pass_all(work)

        elsewhere = isolated_env(home, "http://127.0.0.1:9", "/no/claude/here")
        del elsewhere["ANTHROPIC_API_KEY"]
        elsewhere["HOTCLAUDE_RECORD"] = "none"
        tape = "nb.hotclaude.jsonl"
        (home / "work" / tape).write_bytes((work / tape).read_bytes())
        asked = len(server.requests)
        again = executed(notebook_of(*(cell.source for cell in nb.cells)), elsewhere)
        assert [c.outputs for c in again.cells] == [c.outputs for c in nb.cells]
        assert len(server.requests) == asked
        assert not (home / ".claude").exists()
        nbformat.write(again, home / "work" / "nb.ipynb")
        self.pass_all(home / "work")
        assert (home / "work" / tape).read_bytes() == (work / tape).read_bytes()

    def pass_all(self, work: Path) -> None:
        path, store = str(work / "nb.ipynb"), str(work.parent / ".local/share/hotclaude/store.db")
        for command in (["export", path], ["check", path], ["verify", path], ["verify"]):
            assert main([*command, "--store", store]) == 0, command
