"""Whose folder this is: what acts in it, under which key its trust is kept, and when it holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from hotclaude_kernel.claude import folders as reading
from hotclaude_kernel.claude import trust
from hotclaude_kernel.claude.folders import Folders, read
from hotclaude_kernel.claude.trust import Ground, Policy, held_back, policy, quick, sources_of
from hotclaude_kernel.errors import UsageError

from ..support.intruder import put

if TYPE_CHECKING:
    from pathlib import Path

HOOK = {"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "touch ran"}]}]}}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of nobody's, beside which the folders of a test lie."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("CLAUDE_CONFIG_DIR", "XDG_DATA_HOME", trust.TRUST_ENV):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    return home


@pytest.fixture
def folder(home: Path) -> Path:
    folder = home.parent / "up" / "work"
    folder.mkdir(parents=True)
    return folder


def settings(folder: Path, content: Any = HOOK, name: str = "settings.json") -> Path:
    put(folder / ".claude" / name, json.dumps(content))
    return folder / ".claude" / name


def by_claude(home: Path, *folders: Path, **more: Any) -> None:
    projects = {str(folder): {"hasTrustDialogAccepted": True} | more for folder in folders}
    put(home / ".claude.json", json.dumps({"projects": projects}))


def acts(folder: Path) -> list[str]:
    return [f"{act.kind}: {act.does}" for act in Folders().look(str(folder)).acts]


def trusted(folder: Path, said: Policy | None = None) -> bool:
    """Whether it is trusted by the names, and by the files themselves: never one without other."""
    said = said or Policy()
    known = Folders(said).look(str(folder)).trusted
    assert quick(str(folder), said).trusted is known
    return known


def accept(folder: Path) -> None:
    folders = Folders()
    assert folders.accept(folders.look(str(folder))) == ""
    assert not folders.withheld(str(folder)) or folders.look(str(folder)).trusted


class TestWhatActs:
    def test_each_setting_that_runs_or_sends_something(self, folder: Path) -> None:
        content = HOOK | {
            "apiKeyHelper": "cat key",
            "statusLine": {"type": "command", "command": "status", "padding": 1},
            "env": {"ANTHROPIC_BASE_URL": "http://x"},
            "enabledPlugins": {"a@b": True},
            "somethingNew": 1,
        }
        settings(folder, content)
        assert acts(folder) == [
            "hook Stop: touch ran",
            "apiKeyHelper: cat key",
            'statusLine: status {"padding": 1}',
            "env: ANTHROPIC_BASE_URL=http://x",
            'enabledPlugins: {"a@b": true}',
            "somethingNew: 1",
        ]

    def test_text_and_permissions_do_not(self, folder: Path) -> None:
        settings(folder, {"permissions": {"allow": ["Bash"]}, "model": "opus", "hooks": {}})
        put(folder / "CLAUDE.md", "text")
        put(folder / ".claude/commands/hello.md", "say hello!")
        put(folder / ".claude/skills/skilled/SKILL.md", "---\ndescription: x\n---\nskill")
        head = "name: agent\ntools:\n  - Read\n- x\n\n# note\ndescription: >-\n  a {b}: c\n  ? d"
        put(folder / ".claude/agents/agent.md", f"---\n{head}\n---\nagent\n{{hooks: x}}")
        look = Folders().look(str(folder))
        assert look.acts == ()
        assert look.texts == ("CLAUDE.md", "1 settings", "1 command", "1 skill", "1 agent")
        assert look.commands == {"hello", "skilled"}

    @pytest.mark.parametrize(
        ("path", "text", "said"),
        [
            (".claude/commands/a/b.md", "run !`touch ran`", "command a:b: touch ran"),
            (".claude/commands/b.md", "```!\ntouch ran\n```", "command b: touch ran\n```"),
            (".claude/skills/c/SKILL.md", "---\nhooks: {}\n---", "skill c: hooks: {}"),
            (".claude/skills/c/hooks/hooks.json", "{}", "file: {}"),
            (".claude/agents/d.md", "---\nmcpServers:\n- x\n---", "agent d: mcpServers:"),
            (".claude/agents/d.md", "---\nname: d\rhooks: {}\n---", "agent d: hooks: {}"),
            (".claude/agents/d.md", "---\n{a: b, hooks: {}}\n---", "agent d: {a: b, hooks: {}}"),
            (".claude/agents/d.md", "---\n  {hooks: {}}\n---", "agent d: {hooks: {}}"),
            (".claude/agents/d.md", '---\n"hoo\\x6bs": {}\n---', 'agent d: "hoo\\x6bs": {}'),
            (".claude/agents/d.md", "---\n? hooks\nname: d\n---", "agent d: ? hooks"),
            (".claude/agents/d.md", "---\n!!str hooks: {}\n---", "agent d: !!str hooks: {}"),
            (".claude/agents/d.md", "---\n<<: {hooks: {}}\n---", "agent d: <<: {hooks: {}}"),
            (".claude/agents/d.md", "\ufeff---\n&a hooks: {}\n---", "agent d: &a hooks: {}"),
            (".claude/agents/d.md", "-\0-\0-\0", "file: no plain text"),
            (".claude/workflows/w.js", "go()", "file: go()"),
            (".claude/scheduled_tasks.json", "[1]", "file: [1]"),
            (".mcp.json", '{"mcpServers": {"s": {"url": "http://x"}}}', 'server s: {"url": "http://x"}'),
            (".mcp.json", "{", "file: can't be read as JSON"),
            (".claude/settings.json", '\ufeff{"apiKeyHelper": "x"}', "apiKeyHelper: x"),
            (".claude/settings.json", "[" * 100_000, "file: nested too deep to be read"),
            (".claude/commands/long.md", "x" * 1_000_001, "file: too long to be looked through"),
        ],
    )  # fmt: skip
    def test_each_file_that_runs_something(
        self, folder: Path, path: str, text: str, said: str
    ) -> None:
        put(folder / path, text)
        assert acts(folder) == [said]

    def test_where_claude_reads_it(self, home: Path, folder: Path) -> None:
        """As measured: servers of all folders above, the rest up to the git root."""
        root = folder.parent
        (root / ".git").mkdir()
        above = root.parent
        for place in (folder, root, above):
            settings(place, {"env": {"at": place.name}})
            settings(place, {"env": {"local": place.name}}, "settings.local.json")
            put(place / ".claude/commands/x.md", f"!`{place.name}`")
            put(place / ".mcp.json", json.dumps({"mcpServers": {place.name: {"command": "x"}}}))
        assert acts(folder) == [
            "server work: x", "env: at=work", "env: local=work", "command x: work",
            "server up: x", "env: local=up", "command x: up",
            f"server {above.name}: x",
        ]  # fmt: skip

    def test_the_users_own_configuration_is_none(self, home: Path) -> None:
        settings(home)
        put(home / ".claude/commands/x.md", "!`x`")
        (home / "work").mkdir()
        assert acts(home / "work") == acts(home) == []

    def test_more_files_than_are_looked_at(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(trust, "MOST_ENTRIES", 3)
        for number in range(3):
            put(folder / f".claude/commands/{number}.md", "text")
        assert acts(folder) == ["files: more than 3 files, which were not looked through"]
        accept(folder)
        assert acts(folder) == []
        assert not quick(str(folder), Policy()).trusted

    def test_a_folder_that_holds_itself(self, folder: Path) -> None:
        put(folder / ".claude/commands/x.md", "text")
        (folder / ".claude/commands/round").symlink_to("..")
        assert acts(folder) == []
        assert len(trust.candidates(Ground(str(folder)))) < 100


class TestTheKey:
    def git(self, *words: str, at: Path) -> None:
        who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        subprocess.run(["git", "-C", str(at), *who, *words], check=True, capture_output=True)

    def test_a_folder_without_git_is_its_own_real_path(self, folder: Path) -> None:
        link = folder.parent / "link"
        link.symlink_to(folder)
        assert Ground(str(link)).key == Ground(str(folder)).key == str(folder)

    def test_a_git_root_is_that_of_all_below_and_a_nested_one_is_its_own(
        self, folder: Path
    ) -> None:
        (folder / ".git").mkdir()
        (folder / "sub/nested/.git").mkdir(parents=True)
        assert Ground(str(folder / "sub")).key == str(folder)
        assert Ground(str(folder / "sub/nested")).key == str(folder / "sub/nested")

    def test_a_worktree_is_that_of_its_repository(self, folder: Path) -> None:
        self.git("init", at=folder)
        self.git("commit", "--allow-empty", "-m", "x", at=folder)
        tree = folder.parent / "tree"
        self.git("worktree", "add", str(tree), at=folder)
        settings(folder, name="settings.local.json")
        assert Ground(str(tree)).key == str(folder)
        assert Ground(str(tree)).root == str(tree)
        assert acts(tree) == ["hook Stop: touch ran"]  # as `claude` reads it

    def test_nobody_can_call_their_folder_a_worktree_of_another(
        self, home: Path, folder: Path
    ) -> None:
        self.git("init", at=folder)
        self.git("commit", "--allow-empty", "-m", "x", at=folder)
        tree, evil = folder.parent / "tree", folder.parent / "evil"
        self.git("worktree", "add", str(tree), at=folder)
        put(evil / ".git", (tree / ".git").read_text())
        settings(evil)
        by_claude(home, folder)
        assert Ground(str(evil)).key == str(evil)
        assert not trusted(evil)
        for text in ("gitdir: /\0", "gitdir:", "x" * 10_000, f"gitdir: {folder}/.git"):
            put(evil / ".git", text)
            assert Ground(str(evil)).key == str(evil)
        # All that a worktree has, but in their own folder.
        put(evil / ".git", "gitdir: .admin")
        put(evil / ".admin/gitdir", f"{evil}/.git")
        put(evil / ".admin/commondir", f"{folder}/.git")
        assert Ground(str(evil)).key == str(evil)
        assert not trusted(evil)
        (evil / ".git").unlink()
        os.mkfifo(evil / ".git")
        assert Ground(str(evil)).key == str(evil)


class TestTrust:
    def test_it_holds_until_what_acts_changes(self, folder: Path) -> None:
        settings(folder)
        assert not trusted(folder)
        accept(folder)
        assert trusted(folder)
        settings(folder, {"hooks": {}})
        put(folder / "CLAUDE.md", "text")
        look = Folders().look(str(folder))  # it is newer, and harmless
        assert (look.trusted, look.by) == (True, "by you")
        assert trusted(folder)  # which was noted
        settings(folder, {"apiKeyHelper": "x"})
        look = Folders().look(str(folder))
        assert (look.trusted, look.changed) == (False, True)
        assert not trusted(folder)

    def test_what_claude_writes_itself_does_not_change_it(self, folder: Path) -> None:
        settings(folder, HOOK, "settings.local.json")
        accept(folder)
        more = HOOK | {"permissions": {"allow": ["Bash(ls:*)"]}, "enabledMcpjsonServers": ["x"]}
        settings(folder, more, "settings.local.json")
        assert Folders().look(str(folder)).trusted

    def test_it_is_of_each_file(self, folder: Path) -> None:
        """The same hook in a folder below, or an ancestor's server that comes later, is asked."""
        (folder / ".git").mkdir()
        settings(folder)
        accept(folder)
        settings(folder / "sub")
        assert not trusted(folder / "sub")
        assert trusted(folder)
        put(folder.parent / ".mcp.json", '{"mcpServers": {"x": {"command": "x"}}}')
        assert not trusted(folder)

    def test_a_link_that_leads_elsewhere_by_now(self, folder: Path) -> None:
        link, other = folder.parent / "link", folder.parent / "other"
        other.mkdir()
        link.symlink_to(folder)
        accept(folder)
        folders = Folders()
        assert folders.look(str(link)).trusted
        link.unlink()
        link.symlink_to(other)
        assert not folders.look(str(link)).trusted

    def test_what_was_shown_is_what_is_trusted(self, folder: Path) -> None:
        settings(folder)
        folders = Folders()
        look = folders.look(str(folder))
        settings(folder, {"apiKeyHelper": "x"})
        folders.accept(look)
        assert not folders.look(str(folder)).trusted

    def test_a_start_reads_no_file_of_the_folder(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings(folder)
        accept(folder)
        monkeypatch.setattr(reading, "read", None)
        assert quick(str(folder), Policy()).trusted
        os.utime(folder / ".claude/settings.json", ns=(1, 1))
        assert not quick(str(folder), Policy()).trusted

    def test_two_kernels_that_answer_at_once(self, home: Path) -> None:
        places = [home.parent / f"at{number}" for number in range(12)]
        for place in places:
            settings(place)
        threads = [threading.Thread(target=accept, args=(place,)) for place in places]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(trusted(place) for place in places)

    def test_the_file_is_the_users_alone(self, home: Path, folder: Path) -> None:
        accept(folder)
        file = home / ".local/share/hotclaude/trust.json"
        assert file.stat().st_mode & 0o777 == 0o600
        assert sorted(p.name for p in file.parent.iterdir()) == ["trust.json", "trust.json.lock"]

    @pytest.mark.parametrize(
        "text",
        [
            "", "{", "[]", '{"folders": []}', '{"folders": {"x": {}}}', "\xff", "[" * 100_000,
            '{"folders": {"x": {"files": {"y": [1, 2]}}}}', '{"folders": {"x": {"files": null}}}',
        ],
    )  # fmt: skip
    def test_a_damaged_one_counts_for_nothing_and_is_replaced(
        self, home: Path, folder: Path, text: str
    ) -> None:
        put(home / ".local/share/hotclaude/trust.json", text)
        assert not trusted(folder)
        accept(folder)
        assert trusted(folder)

    def test_one_that_others_can_write_counts_for_nothing(self, home: Path, folder: Path) -> None:
        accept(folder)
        file = home / ".local/share/hotclaude/trust.json"
        file.chmod(0o622)
        assert not trusted(folder)
        file.chmod(0o600)
        other = home / "other.json"
        file.rename(other)
        file.symlink_to(other)
        assert not trusted(folder)
        file.unlink()
        os.mkfifo(file)
        assert not trusted(folder)
        file.unlink()
        file.mkdir()
        assert not trusted(folder)

    def test_one_of_somebody_else_counts_for_nothing(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        accept(folder)
        monkeypatch.setattr(os, "getuid", lambda: 12345)
        assert not trusted(folder)

    def test_where_it_cannot_be_written_it_holds_in_this_kernel(
        self, home: Path, folder: Path
    ) -> None:
        put(home / ".local/share/hotclaude", "a file in place of the folder")
        settings(folder)
        folders = Folders()
        assert folders.accept(folders.look(str(folder))) != ""
        assert folders.look(str(folder)).trusted
        assert not Folders().look(str(folder)).trusted

    def test_a_record_elsewhere_brings_no_trust(
        self, home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        accept(folder)
        file = home / ".local/share/hotclaude/trust.json"
        file.rename(folder / "trust.json")
        monkeypatch.setenv("HOTCLAUDE_STORE", str(folder / "store.db"))
        assert not trusted(folder)


class TestClaudesOwn:
    def test_it_counts_and_is_never_written(self, home: Path, folder: Path) -> None:
        settings(folder)
        by_claude(home, folder)
        before = (home / ".claude.json").read_bytes()
        assert trusted(folder)
        assert Folders().look(str(folder)).by == "in Claude Code"
        assert (home / ".claude.json").read_bytes() == before
        assert not (home / ".local").exists()

    def test_it_lies_in_the_configuration_folder_if_there_is_one(
        self, home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        by_claude(home, folder)
        monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(home / "config"))
        assert not trusted(folder)
        by_claude(home / "config", folder)
        assert trusted(folder)

    def test_a_folder_above_counts_up_to_the_git_root(self, home: Path, folder: Path) -> None:
        settings(folder)
        by_claude(home, folder.parent)
        assert trusted(folder)
        (folder / ".git").mkdir()
        assert not trusted(folder)

    def test_what_lies_above_the_trusted_folder_is_asked_about(
        self, home: Path, folder: Path
    ) -> None:
        """A server in a shared temporary folder reaches every notebook below it."""
        settings(folder)
        by_claude(home, folder)
        put(folder.parent / ".mcp.json", '{"mcpServers": {"x": {"command": "x"}}}')
        assert not trusted(folder)
        assert acts(folder) == ["server x: x"]
        accept(folder)
        assert trusted(folder)

    @pytest.mark.parametrize("value", [False, 1, "true", None, {}])
    def test_only_a_true_one(self, home: Path, folder: Path, value: Any) -> None:
        by_claude(home, folder, hasTrustDialogAccepted=value)
        assert not trusted(folder)

    @pytest.mark.parametrize("text", ["", "{", '{"projects": []}', '{"projects": {"/": 1}}'])
    def test_a_damaged_one_counts_for_nothing(self, home: Path, folder: Path, text: str) -> None:
        put(home / ".claude.json", text)
        assert not trusted(folder)

    def test_the_users_own_servers_are_handed_over_by_file(self, home: Path, folder: Path) -> None:
        servers = {"own": {"command": "x", "env": {"TOKEN": "secret"}}, "off": {"command": "y"}}
        off = ["off"]
        by_claude(home, folder, hasTrustDialogAccepted=False, mcpServers=servers)
        file = quick(str(folder), Policy()).servers
        assert Folders().look(str(folder)).servers == file
        with open(file, encoding="utf-8") as opened:  # noqa: PTH123
            assert json.load(opened) == {"mcpServers": servers}
        assert os.stat(file).st_mode & 0o777 == 0o600  # noqa: PTH116
        assert (home / ".local/share/hotclaude").stat().st_mode & 0o777 == 0o700
        by_claude(
            home, folder, hasTrustDialogAccepted=False, mcpServers=servers, disabledMcpServers=off
        )
        assert quick(str(folder), Policy()).servers == file
        with open(file, encoding="utf-8") as opened:  # noqa: PTH123
            assert json.load(opened) == {"mcpServers": {"own": servers["own"]}}


class TestPolicy:
    def test_never_and_always(self, home: Path, folder: Path) -> None:
        settings(folder)
        by_claude(home, folder)
        accept(folder)
        assert not trusted(folder, policy("never"))
        assert trusted(folder.parent / "unknown", policy("always"))

    def test_a_list_covers_what_lies_below(self, folder: Path) -> None:
        settings(folder)
        assert trusted(folder, policy([str(folder.parent)]))
        assert trusted(folder, policy(f"/nowhere{os.pathsep}{folder}"))
        assert trusted(folder, policy(json.dumps([str(folder)])))
        assert not trusted(folder, policy([str(folder / "sub"), f"{folder}x"]))
        put(folder.parent / ".mcp.json", '{"mcpServers": {"x": {"command": "x"}}}')
        assert not trusted(folder, policy([str(folder)]))

    def test_the_home_folder_is_the_users_own(self, home: Path) -> None:
        settings(home)
        put(home / ".mcp.json", '{"mcpServers": {"x": {"command": "x"}}}')
        assert trusted(home)
        put(home.parent / ".mcp.json", '{"mcpServers": {"x": {"command": "x"}}}')
        assert not trusted(home)
        assert Folders().look(str(home)).home

    @pytest.mark.parametrize("value", ["yes", "Always", "[1]", "[", "work"])
    def test_a_wrong_value_is_an_error(self, value: str) -> None:
        with pytest.raises(UsageError, match="the setting trust"):
            policy(value)

    def test_nothing_is_asked_by_default(self) -> None:
        assert policy(None).kind == policy("").kind == policy([]).kind == "ask"


class TestCommandLine:
    def test_what_is_withheld(self) -> None:
        assert held_back(None) == ("--setting-sources", "user")
        assert held_back(None, "/s.json")[2:] == ("--mcp-config", "/s.json")
        assert held_back(("project",), "/s.json") == ("--setting-sources", "")
        assert held_back(("user", "local"), "/s.json")[1::2] == ("user", "/s.json")
        assert held_back(("user",), "/s.json") == held_back((), "/s.json") == ()

    def test_further_arguments_count(self) -> None:
        assert sources_of(("user",), ["--setting-sources", "project,local"]) == ["project", "local"]
        assert sources_of(None, ["--setting-sources=user"]) == ["user"]
        assert sources_of(("user",), ["--verbose"]) == ("user",)


def test_a_folder_that_is_gone_or_no_folder_is_not_trusted(home: Path, folder: Path) -> None:
    assert not trusted(folder / "gone")
    assert read(str(folder / "gone.md"))[1] != ()
