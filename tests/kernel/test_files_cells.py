"""Rewinding files, and processes that sleep, by lines in cells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.modelserver.replies import Reply, ToolUse
from hotclaude_kernel.modelserver.script import Script

from ..support.desk import Desk, open_desk, rows, said
from ..support.processes import exists
from ..support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.kernel, pytest.mark.long]


@pytest.fixture(scope="class")
def files(binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    home = tmp_path_factory.mktemp("files") / "home"
    with open_desk(binary, home, "--HotClaudeKernel.permission_mode=acceptEdits") as opened:
        yield opened


class TestFiles:
    def write(self, desk: Desk, name: str) -> Path:
        """Have Claude overwrite a file in the second of two cells, then rewind that."""
        file = desk.home / "work" / f"{name}.txt"
        file.write_text("before\n")
        desk.begin(name, "a")
        desk.server.model = Script(
            [
                Reply(ToolUse("Read", {"file_path": str(file)})),
                Reply(ToolUse("Write", {"file_path": str(file), "content": "after\nmore\n"})),
            ]
        )
        desk.ask("b")
        assert file.read_text() == "after\nmore\n"
        return file

    def test_what_claude_wrote_is_listed_and_then_goes_back(self, files: Desk) -> None:
        file = self.write(files, "back")
        files.run("back another b", "back-b")
        assert file.read_text() == "after\nmore\n"  # unless it is asked for, files stay
        cell = files.run("%rewind-files")
        assert "\n\nFiles that would go back to before turn 2 (" in cell.markdown
        assert f"- `{file}`" in cell.markdown
        assert "`%rewind-files 2 now` does it." in cell.markdown
        assert file.read_text() == "after\nmore\n"
        cell = files.run("%rewind-files now")
        assert "\n\nFiles that went back to before turn 2 (" in cell.markdown
        assert file.read_text() == "before\n"
        assert said(files.run("%rewind-files now")) == "no file differs from before turn 2"
        assert len(files.server.requests) == 5

    def test_a_turn_can_be_named(self, files: Desk) -> None:
        file = self.write(files, "named")
        assert f"- `{file}`" in files.run("%rewind-files 2").markdown
        assert "went back to before turn 1" in files.run("%rewind-files 1 now").markdown
        assert file.read_text() == "before\n"

    def test_before_the_first_turn_there_is_nothing_to_go_back_before(self, files: Desk) -> None:
        files.begin("none")
        cell = files.run("%rewind-files main")
        assert cell.status == "error"
        assert "Run a prompt first." in cell.reply["content"]["traceback"]


class TestPool:
    def test_an_idle_process_sleeps_and_the_next_cell_wakes_it(
        self, binary: str, tmp_path: Path
    ) -> None:
        home = tmp_path / "home"
        options = ("idle_timeout=0.4", "spares=0")
        with open_desk(binary, home, *(f"--HotClaudeKernel.{o}" for o in options)) as desk:
            desk.name = "idle"
            desk.ask("a")
            cell = desk.run("%pool")
            first = re.search(r"\| (\d+) \| after turn 1 \| 1 \| \d+ MB \|", cell.markdown)
            assert first
            assert rows(cell)["asleep"] == "no"
            until(lambda: not exists(int(first[1])), "the idle process ends")
            cell = desk.run("%pool")
            assert "after turn" not in cell.markdown
            found = rows(cell)
            assert found["asleep"] == "yes; the next cell wakes it"
            assert found["ended"].startswith("1 idle, 0 worn")
            assert found["limits"].startswith("3 processes, 1500 MB, 0 spare; idle 0.4 s")
            assert rows(desk.run("%status"))["process"] == "asleep; the next cell wakes it"
            assert rows(desk.run("%context"))["tokens"] == "unknown while the process is asleep"
            desk.ask("b")
            assert desk.history() == "ab"
            found = rows(desk.run("%pool"))
            assert found["asleep"] == "no"
            assert found["started"] == "2, 1 of them on an earlier conversation"
