"""The files that a prompt pulls in, as the real binary pulls them in; and the endpoint."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.claude.folders import Folders
from hotclaude_kernel.claude.trust import Policy
from hotclaude_kernel.conversation import surroundings
from hotclaude_kernel.conversation.surroundings import Files, contents, pulled
from hotclaude_kernel.turns.prompt import Prompt
from hotclaude_kernel.turns.settings import Settings

from ..support.book import Book, sent

if TYPE_CHECKING:
    from pathlib import Path

    from hotclaude_kernel.modelserver.server import ModelServer

FOUND = {
    "look at @notes.txt": ["notes.txt"],
    "@notes.txt": ["notes.txt"],
    "(see @notes.txt).": ["notes.txt"],
    "lines @notes.txt#L1-2": ["notes.txt"],
    '@"two words.txt" and @sub/deep.txt,': ["two words.txt", "sub/deep.txt"],
    "@./sub/../notes.txt": ["notes.txt"],
    "twice @notes.txt @notes.txt": ["notes.txt"],
    "@not-there.txt": ["not-there.txt"],
    "ask @someone, mail a@notes.txt": [],
    "a folder @sub": [],
    "/hello you": [".claude/commands/hello.md", "imported.txt"],  # and what it imports
    "/group:deep": [".claude/commands/group/deep.md"],
    "/skilled": [".claude/skills/skilled/SKILL.md"],
    "/unknown": [],
    "no /hello in the middle": [],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "home"))
    work = tmp_path / "project"
    for name, text in {
        "notes.txt": "NOTES",
        "two words.txt": "TWO",
        "sub/deep.txt": "DEEP",
        "imported.txt": "IMPORTED",
        ".claude/commands/hello.md": "say hello, see @../../imported.txt",
        ".claude/commands/group/deep.md": "deep",
        ".claude/skills/skilled/SKILL.md": "skill",
    }.items():
        path = work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return work


class TestPulled:
    def test_what_a_prompt_mentions(self, folder: Path) -> None:
        for text, paths in FOUND.items():
            found = [path for path in pulled(text, Settings(), folder) if path != "CLAUDE.md"]
            assert found == paths, text

    def test_the_projects_instructions_and_what_they_import(self, folder: Path) -> None:
        (folder / "CLAUDE.md").write_text("see @notes.txt and @nothing.txt")
        (folder / ".claude" / "rules").mkdir()
        (folder / ".claude" / "rules" / "r.md").write_text("rule")
        (folder.parent / "CLAUDE.md").write_text("above")
        found = pulled("hi", Settings(), folder)
        assert found == ["CLAUDE.md", ".claude/rules/r.md", "../CLAUDE.md", "notes.txt"]

    def test_the_users_own_instructions_are_no_condition(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(folder.parent / ".claude"))
        (folder.parent / ".claude").mkdir()
        (folder.parent / ".claude" / "CLAUDE.md").write_text("mine")
        assert pulled("hi", Settings(), folder) == ["CLAUDE.md"]
        asked = Files([]).asked(Prompt(text="hi"), Settings(cwd=str(folder)))
        assert asked.files == {"CLAUDE.md": None}
        assert asked.noted.keys() - {"managed:settings", "managed:CLAUDE.md"} == {"user:CLAUDE.md"}

    def test_without_the_projects_settings_nothing_of_the_project_is_read(
        self, folder: Path
    ) -> None:
        assert pulled("/hello @notes.txt", Settings(setting_sources=("user",)), folder) == [
            "notes.txt"
        ]

    def test_files_that_mention_each_other_end(self, folder: Path) -> None:
        (folder / "CLAUDE.md").write_text("@CLAUDE.md @notes.txt")
        (folder / "notes.txt").write_text("@CLAUDE.md")
        assert pulled("hi", Settings(), folder) == ["CLAUDE.md", "notes.txt"]

    def test_files_that_all_mention_each_other_are_read_once(self, folder: Path) -> None:
        names = [f"f{number}.md" for number in range(60)]
        for name in ("CLAUDE.md", *names):
            (folder / name).write_text(" ".join(f"@{name}" for name in names))
        assert set(pulled("hi", Settings(), folder)) == {"CLAUDE.md", *names}

    def test_hostile_paths_are_no_failure(self, folder: Path) -> None:
        text = "@~nobody/x.txt @" + "a/" * 3000 + " @\0x.txt @/dev/zero @/proc/self/mem"
        files = contents(pulled(text, Settings(), folder), folder)
        assert set(files.values()) <= {None} or "/proc/self/mem" in files

    def test_what_is_no_file_is_not_waited_for(self, folder: Path) -> None:
        """Reading a pipe would never end, nor would a sparse file of a terabyte."""
        rules = folder / ".claude" / "rules"
        rules.mkdir()
        os.mkfifo(rules / "pipe.md")
        os.mkfifo(folder / "pipe.txt")
        (rules / "folder.md").mkdir()
        with (folder / "huge.img").open("wb") as huge:
            huge.truncate(10**12)
        found = contents(pulled("@pipe.txt @huge.img", Settings(), folder), folder)
        assert found["pipe.txt"] is None
        assert found["huge.img"] is not None
        with (folder / "huge.img").open("wb") as huge:
            huge.truncate(10**12 + 1)
        assert contents(found, folder)["huge.img"] != found["huge.img"]

    def test_a_name_that_is_not_utf_8_is_left_out(self, folder: Path) -> None:
        """`claude` can't open such a file, and the record can't hold its name."""
        odd = os.fsdecode(b"caf\xe9.md")
        for place in (folder / ".claude" / "rules", folder):
            place.mkdir(exist_ok=True)
            (place / odd).write_text("odd")
        assert pulled("hi", Settings(), folder) == ["CLAUDE.md"]
        assert odd not in pulled(f"@{odd}", Settings(), folder)

    def test_a_name_that_begins_with_two_dots_is_in_the_folder(self, folder: Path) -> None:
        (folder / "..odd.txt").write_text("odd")
        assert pulled("@..odd.txt", Settings(), folder) == ["..odd.txt", "CLAUDE.md"]


class TestFiles:
    def test_what_a_turn_left_is_told_from_what_it_found(self, folder: Path) -> None:
        files = Files([])
        settings = Settings(cwd=str(folder))
        asked = files.asked(Prompt(text="@notes.txt"), settings)
        assert asked.files.keys() == {"notes.txt", "CLAUDE.md"}
        assert files.changed() == {}
        # A later turn, which does not mention it, changes it: the file is watched still.
        (folder / "notes.txt").write_text("by hand")
        files.asked(Prompt(text="edit it"), settings)
        assert files.changed() == {}
        (folder / "notes.txt").write_text("by the turn")
        assert files.changed() == contents(["notes.txt"], folder)
        (folder / "notes.txt").unlink()
        assert files.changed() == {"notes.txt": None}


class TestEndpoint:
    def test_whose_answers_these_are(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("HOTCLAUDE_ENDPOINT", "ANTHROPIC_BASE_URL"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path))
        assert surroundings.endpoint() == "https://api.anthropic.com"
        monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://me:secret@localhost:99/v1/x?key=1")
        assert surroundings.endpoint() == "http://localhost:99"
        settings = tmp_path / "settings.json"
        settings.write_text(json.dumps({"env": {"ANTHROPIC_BASE_URL": "https://proxy.example/"}}))
        assert surroundings.endpoint() == "https://proxy.example"
        settings.write_text(json.dumps({"env": {"CLAUDE_CODE_USE_BEDROCK": 1}}))
        assert surroundings.endpoint() == "bedrock"
        for broken in ("[]", "{", '{"env": [1]}', '{"env": null}'):
            settings.write_text(broken)
            assert surroundings.endpoint() == "http://localhost:99", broken
        monkeypatch.setenv("HOTCLAUDE_ENDPOINT", "demo")
        assert surroundings.endpoint() == "demo"


@pytest.mark.wire
@pytest.mark.usefixtures("isolated")
async def test_all_that_the_binary_pulls_in_is_known(
    server: ModelServer, home: Path, notebook_path: Path
) -> None:
    """Each file has a text of its own, and so does the request tell which files it holds.

    The folder is trusted: otherwise the binary pulls in the mentioned files only.
    """
    work = home / "work"
    names = ["notes.txt", "two words.txt", "sub/deep.txt", "imported.txt", ".claude/rules/r.md"]
    for number, name in enumerate(names):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(f"MARK{number}")
    (work / "CLAUDE.md").write_text("MARK9 see @imported.txt")
    (work / "CLAUDE.local.md").write_text("MARK8")
    (home / "CLAUDE.md").write_text("MARK7")
    marks = {name: f"MARK{number}" for number, name in enumerate(names)}
    marks |= {"CLAUDE.md": "MARK9", "CLAUDE.local.md": "MARK8", "../CLAUDE.md": "MARK7"}
    book = Book(notebook_path, folders=Folders(Policy("always")))
    try:
        text = 'Read @notes.txt, and @"two words.txt" (or @sub/deep.txt).'
        turn = await book.run("a", text)
        request = sent(server.requests[-1])
        assert "MARK9" in request
        assert turn.recorded is not None
        known = turn.recorded.conditions
        assert {name for name, mark in marks.items() if mark in request} <= known.files.keys()
        assert known.files.keys() - {n for n, mark in marks.items() if mark in request} <= {
            "CLAUDE.local.md"  # known, whether the binary reads it or not
        }
        assert known.endpoint == "tests"
        assert known.files == contents(known.files, work)
        assert os.sep not in next(iter(known.files))
    finally:
        await book.conversation.close()
