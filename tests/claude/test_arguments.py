"""What no other user may read is handed to the process by private files."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.claude import arguments
from hotclaude_kernel.claude.processes import this_kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVERS = json.dumps(
    {
        "mcpServers": {
            "a": {"command": "a", "env": {"KEY": "hush-hush"}},
            "b": {"type": "http", "url": "http://x", "headers": {"Authorization": "Bearer quiet"}},
        }
    }
)
DEAD = "999999999-1"


def never() -> Iterator[str]:
    pytest.fail("a folder is asked for")
    yield ""


class TestHandedOver:
    @pytest.mark.parametrize(
        ("flags", "named", "contents"),
        [
            (["--system-prompt", "Be kind."], ["--system-prompt-file", 0], ["Be kind."]),
            (["--system-prompt", ""], ["--system-prompt-file", 0], [""]),
            (["--system-prompt=Be kind."], ["--system-prompt-file", 0], ["Be kind."]),
            (["--system-prompt", "--bare"], ["--system-prompt-file", 0], ["--bare"]),
            (["--append-system-prompt", "é\r\n "], ["--append-system-prompt-file", 0], ["é\r\n "]),
            (["--mcp-config", SERVERS], ["--mcp-config", 0], [SERVERS]),
            (["--mcp-config", f" \n{SERVERS}"], ["--mcp-config", 0], [f" \n{SERVERS}"]),
            ([f"--mcp-config={SERVERS}"], ["--mcp-config", 0], [SERVERS]),
            (
                ["--mcp-config", "a.json", SERVERS, "--verbose", "{}"],
                ["--mcp-config", "a.json", 0, "--verbose", "{}"],
                [SERVERS],
            ),
            (["--mcp-config", SERVERS, SERVERS], ["--mcp-config", 0, 1], [SERVERS, SERVERS]),
            (["--settings", '{"env":{}}', "-d"], ["--settings", 0, "-d"], ['{"env":{}}']),
            (
                ["--model", "m", "--system-prompt", "a", "--append-system-prompt", "b"],
                ["--model", "m", "--system-prompt-file", 0, "--append-system-prompt-file", 1],
                ["a", "b"],
            ),
            (["--system-prompt", "\ud83d half"], ["--system-prompt-file", 0], ["? half"]),
        ],
    )
    def test_by_files_that_only_this_user_can_read(
        self, flags: list[str], named: list[str | int], contents: list[str], tmp_path: Path
    ) -> None:
        before = os.umask(0)
        try:
            handed, folder = arguments.hand_over(flags, [str(tmp_path / "sessions")])
        finally:
            os.umask(before)
        files = [word for word in handed if word.startswith(folder)]
        assert [Path(file).read_bytes().decode() for file in files] == contents
        assert handed == [files[word] if isinstance(word, int) else word for word in named]
        modes = [stat.S_IMODE(Path(path).stat().st_mode) for path in (folder, *files)]
        assert modes == [0o700] + [0o600] * len(files)
        arguments.remove(folder)
        assert list((tmp_path / "sessions").iterdir()) == []

    @pytest.mark.parametrize(
        "flags",
        [
            [],
            ["--permission-mode", "default", "--model", "{m}"],
            ["--mcp-config", "servers.json", "--strict-mcp-config"],
            ["--settings", "mine.json", "--system-prompt"],
        ],
    )
    def test_not_what_holds_no_text_of_the_users(self, flags: list[str]) -> None:
        assert arguments.hand_over(flags, never()) == (flags, "")

    def test_in_the_next_folder_where_the_first_cant_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        parents = [str(tmp_path / "file"), str(tmp_path / "other")]
        _, folder = arguments.hand_over(["--system-prompt", "a"], parents)
        assert folder.startswith(parents[1])
        with pytest.raises(OSError, match="file"):
            arguments.hand_over(["--system-prompt", "a"], parents[:1])

    def test_nothing_is_left_where_a_file_cant_be_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> str:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("hotclaude_kernel.claude.files.write_new", full)
        with pytest.raises(OSError, match="No space"):
            arguments.hand_over(["--system-prompt", "a"], [str(tmp_path)])
        assert list(tmp_path.iterdir()) == []


def test_secrets_are_the_values_that_configurations_give_to_programs() -> None:
    flags = ["--mcp-config", SERVERS, "--settings", '{"env":{"A":"b c"}}', "--model", "m"]
    assert arguments.secrets(flags) == ["hush-hush", "Bearer quiet", "b c"]
    for odd in ("{", '{"mcpServers":[1]}', '{"mcpServers":{"a":{"env":[1]},"b":2}}', "[]"):
        assert arguments.secrets(["--mcp-config", odd]) == []


class TestSwept:
    def test_the_folders_of_kernels_that_are_no_more(self, tmp_path: Path) -> None:
        flags = ["--system-prompt", "a"]
        _, mine = arguments.hand_over(flags, [str(tmp_path)])
        left = tmp_path / f"{arguments.FOLDER}{DEAD}-abc"
        left.mkdir()
        (left / "1").write_text("secret")
        for other in ("transcript.jsonl", "store.db"):
            (tmp_path / other).touch()
        assert arguments.sweep([str(tmp_path / "none"), str(tmp_path)]) == 1
        names = {path.name for path in tmp_path.iterdir()}
        assert names == {Path(mine).name, "transcript.jsonl", "store.db"}
        assert this_kernel().replace(":", "-") in mine

    def test_a_folder_that_is_a_link_leads_nowhere(self, tmp_path: Path) -> None:
        kept = tmp_path / "kept"
        kept.mkdir()
        (kept / "mine").touch()
        sessions = tmp_path / "sessions"
        sessions.mkdir()
        (sessions / f"{arguments.FOLDER}{DEAD}-abc").symlink_to(kept)
        arguments.sweep([str(sessions)])
        assert (kept / "mine").exists()
