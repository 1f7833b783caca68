"""Rules of a session: what may be offered, and what a rule allows.

The suggestions are those that claude 2.1.332 makes for these calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hotclaude_kernel.claude.session import PermissionRequest
from hotclaude_kernel.questions.buttons import LABEL_CHARACTERS, in_full
from hotclaude_kernel.questions.rules import Rule, allows, offered

from ..hostile import corpus, entry

if TYPE_CHECKING:
    from pathlib import Path

    from hotclaude_kernel.claude.frames import Frame

FOLDER = "/nowhere/work"
DIRECTORY: Frame = {"type": "addDirectories", "directories": [FOLDER], "destination": "session"}
MODE: Frame = {"type": "setMode", "mode": "acceptEdits", "destination": "session"}


def adds(*rules: str, behavior: str = "allow") -> Frame:
    """A suggestion of rules, written as `Tool` or `Tool(content)`."""
    parts = [rule.removesuffix(")").partition("(") for rule in rules]
    made = [{"toolName": a} | ({"ruleContent": c} if b else {}) for a, b, c in parts]
    return {
        "type": "addRules",
        "rules": made,
        "behavior": behavior,
        "destination": "localSettings",
    }


def call(tool: str, given: Frame, *suggestions: Frame, **fields: Any) -> PermissionRequest:
    return PermissionRequest(tool_name=tool, tool_input=given, suggestions=suggestions, **fields)


def bash(command: str, *rules: str, **fields: Any) -> PermissionRequest:
    """A Bash call for which claude suggests rules of these contents."""
    contents = adds(*(f"Bash({rule})" for rule in rules))
    suggestions = [contents, DIRECTORY, MODE] if rules else []
    return call("Bash", {"command": command, "description": "d"}, *suggestions, **fields)


def write(path: str, tool: str = "Write", **fields: Any) -> PermissionRequest:
    return call(tool, {"file_path": path, "content": "x"}, MODE, **fields)


def fetch(url: str, domain: str = "example.org") -> PermissionRequest:
    return call("WebFetch", {"url": url, "prompt": "x"}, adds(f"WebFetch(domain:{domain})"))


def read(path: str, *rules: str, tool: str = "Read") -> PermissionRequest:
    given = {"path": path, "pattern": "x"} if tool == "Grep" else {"file_path": path}
    return call(tool, given, adds(*rules), reason_type="workingDir")


TOUCH = bash("touch aa", "touch aa *", blocked_path=f"{FOLDER}/aa")
NPM = bash("npm run test", "npm run *", reason_type="other")
ECHO = bash("touch a && echo b", "touch a *", blocked_path=f"{FOLDER}/a")
PING = call("mcp__srv__ping", {"a": 1}, adds("mcp__srv__ping"))


class TestWhatIsOffered:
    @pytest.mark.parametrize(
        ("request_", "text"),
        [
            (bash("touch aa", "touch aa *", blocked_path=f"{FOLDER}/aa"), "`touch aa *`"),
            (bash("npm run test", "npm run *", reason_type="other"), "`npm run *`"),
            (bash('git commit -m "x y"', "git commit *", reason_type="other"), "`git commit *`"),
            (bash("npm run test", "npm run:*"), "`npm run *`"),  # as older releases write it
            (bash("rm -rf y", "rm -rf y"), "`rm -rf y`"),
            (bash("x" * 70, "x" * 70), f"`{'x' * 70}`"),
            (bash("python x.py", "python x.py"), "`python x.py`"),
            # What the shell makes more of than one command is allowed as it is, or not at all.
            (bash("touch a && echo b", "touch a *"), "`touch a && echo b`"),
            (bash("touch a > b", "touch a *"), "`touch a > b`"),
            (bash("cd sub && make", "make"), "`cd sub && make`"),
            (bash("mkdir -p x; rm -rf y", "mkdir -p x", "rm -rf y"), "`mkdir -p x; rm -rf y`"),
            (bash("cp a /etc/b", "cp a *", blocked_path="/etc/b"), "`cp a /etc/b`"),
            (write("made.txt"), "changes to `made.txt`"),
            (write(f"{FOLDER}/sub/made.txt", "Edit"), "changes to `sub/made.txt`"),
            (write("/tmp/made.txt", reason_type="workingDir"), "changes to `/tmp/made.txt`"),
            (read("/etc/hostname", "Read(//etc/**)"), "reading in `/etc` and its subfolders"),
            (fetch("https://example.org/a"), "fetching from `example.org`"),
            (PING, "`mcp__srv__ping` with any input"),
        ],
    )
    def test_the_rule_says_what_it_allows(self, request_: PermissionRequest, text: str) -> None:
        rule = offered(request_, FOLDER)
        assert rule is not None
        assert rule.text == text
        assert allows(rule, request_, FOLDER)

    @pytest.mark.parametrize(
        "request_",
        [
            bash("touch $(echo bb)", reason_type="other"),
            bash("cd /tmp && touch zz; true", reason_type="subcommandResults"),
            bash("touch a"),  # nothing is suggested
            call("Bash", {"command": "touch a"}, DIRECTORY, MODE),
            call("Bash", {"command": "touch a"}, adds("Bash")),
            call("Bash", {"command": "touch a"}, adds("Bash(touch a *)", "Bash")),
            call("Bash", {"command": "touch a"}, adds("Bash(touch a *)", behavior="deny")),
            call("Bash", {"command": "touch a"}, adds("Read(//etc/**)")),
            call(
                "Bash",
                {"command": "touch a", "dangerouslyDisableSandbox": True},
                adds("Bash(touch a *)"),
            ),
            bash("rm -rf /", "rm -rf /", reason_type="safetyCheck"),
            bash("rm x", "rm x *", unruled=True),
            bash("git push", "git push *", reason_type="rule"),
            bash("git push", "git push *", reason_type="hook"),
            bash("git push", "git push *", reason_type="classifier"),
            bash("git push", "git push *", reason_type="of a later release"),
            bash("rm *", "rm *"),  # reads like a rule for all of rm
            bash("touch *.c", "touch *.c"),
            # What a button can't show as it is:
            bash("x" * 71, "x" * 71),
            bash("touch a\nrm -rf b", "touch a *", "rm -rf b"),
            bash("rm  -rf", "rm  -rf"),
            bash(" rm", " rm"),
            bash("touch `x`", "touch `x`"),
            bash("touch a\\;b", "touch a\\;b"),
            bash("touch a\u202eb", "touch a\u202eb"),
            bash("rm א ; ls ב", "rm א ; ls ב"),
            write("a\u200bb"),
            write("x` and all of `Bash"),
            write("nul\0"),
            write(f"{FOLDER}/.git/config", reason_type="safetyCheck"),
            write("made.txt", needs_user=True),
            call("Write", {"file_path": "made.txt"}),
            call("Write", {"file_path": ["made.txt"]}, MODE),
            read("/etc/hostname", "Read(/etc/**)"),  # relative to some settings
            read("/etc/hostname", "Read(//**)"),
            read("/x/hostname", "Read(//etc/**)"),
            read("/etc/a", "Read(//etc/**)", "Read(//x/**)"),
            fetch("https://example.org/", "example.com"),
            fetch("ftp://example.org/"),
            fetch("https://[/"),
            call("mcp__srv__ping", {}, DIRECTORY),
            call("mcp__srv__ping", {}, adds("mcp__srv")),
            call("mcp__srv__ping", {}, reason_type="rule"),  # the server says "always ask"
            call("Skill", {"skill": "x"}, adds("Skill")),
            call("ExitPlanMode", {}, MODE, needs_user=True),
            # Of no shape that is known:
            call("Bash", {"command": ["rm"]}, adds("Bash(rm)")),
            call("Bash", {"command": "rm"}, {"type": "addRules", "behavior": "allow", "rules": 5}),
            call(
                "Bash", {"command": "rm"}, {"type": "addRules", "behavior": "allow", "rules": ["x"]}
            ),
        ],
    )
    def test_there_is_none_where_it_would_not_be_honest(self, request_: PermissionRequest) -> None:
        assert offered(request_, FOLDER) is None

    def test_nothing_hostile_is_on_a_button(self) -> None:
        for name, text in corpus().items():
            with entry(name):
                for asks in (bash(text, text), write(text), bash(f"rm {text}", "rm *")):
                    rule = offered(asks, FOLDER)
                    if rule is not None:
                        assert rule.text.isprintable()
                        assert len(f"Allow {rule.text} for this session") < LABEL_CHARACTERS
                        assert rule.text.count("`") == 2


class TestWhatARuleAllows:
    @pytest.mark.parametrize(
        ("given", "later"),
        [
            (TOUCH, bash("touch aa bb cc", "touch aa *", blocked_path=f"{FOLDER}/bb")),
            (NPM, bash("npm run", "npm run")),
            (NPM, bash("npm run build -- --x='a, b'", "npm run *")),
            (ECHO, ECHO),
            (write("made.txt"), write(f"{FOLDER}/sub/../made.txt", "Edit")),
            (read("/etc/a", "Read(//etc/**)"), read("/etc/x/b", "Read(//etc/x/**)")),
            (
                read("/etc/a", "Read(//etc/**)"),
                read("/etc", "Read(//etc/**)", tool="Grep"),
            ),
            (fetch("https://example.org/a"), fetch("http://example.org:8080/b?c")),
            (PING, call("mcp__srv__ping", {"b": 2}, adds("mcp__srv__ping"))),
        ],
    )
    def test_it_allows_what_it_says(
        self, given: PermissionRequest, later: PermissionRequest
    ) -> None:
        rule = offered(given, FOLDER)
        assert rule is not None
        assert allows(rule, later, FOLDER)

    @pytest.mark.parametrize(
        ("given", "later"),
        [
            (TOUCH, bash("touch aab", "touch aab *")),
            (TOUCH, bash("touch", "touch")),
            (TOUCH, bash("sudo touch aa", "touch aa *")),
            (TOUCH, bash("A=1 touch aa", "touch aa *")),
            *(
                (TOUCH, bash(f"touch aa{tail}", "touch aa *"))
                for tail in (
                    "; rm -rf b", " && rm b", " | sh", " & rm b", "\nrm b", " > c", " < c",
                    " $(rm b)", " `rm b`", " $HOME", " ~/x", " *", " {b,c}", " # x", " \\\nb",
                    " <(rm b)", " !!", "\trm", " b\r", "\u2028rm", "\u00a0b",
                )
            ),
            (TOUCH, bash("touch aa /etc/b", "touch aa *", blocked_path="/etc/b")),
            (TOUCH, bash("touch aa ../b", "touch aa *", blocked_path="/nowhere/b")),
            (TOUCH, bash("touch aa", "touch aa *", reason_type="safetyCheck")),
            (TOUCH, bash("touch aa", "touch aa *", reason_type="rule")),
            (TOUCH, bash("touch aa", "touch aa *", unruled=True)),
            (TOUCH, bash("touch aa")),  # claude suggests no rule for it now
            (TOUCH, call("Bash", {"command": "touch aa", "x": 1}, adds("Bash(touch aa *)"))),
            (TOUCH, call("Other", {"command": "touch aa"}, adds("Bash(touch aa *)"))),
            (ECHO, bash("touch a && echo bb", "touch a *", blocked_path=f"{FOLDER}/a")),
            (ECHO, bash("touch a", "touch a *", blocked_path=f"{FOLDER}/a")),
            (ECHO, bash("touch a && echo b", "touch a *", blocked_path=f"{FOLDER}/sub/a")),
            (write("made.txt"), write("made2.txt")),
            (write("made.txt"), write("sub/made.txt")),
            (write("made.txt"), write("made.txt", reason_type="safetyCheck")),
            (write("made.txt"), read("made.txt", "Read(//x/**)")),
            (read("/etc/a", "Read(//etc/**)"), read("/etc/../srv/b", "Read(//srv/**)")),
            (read("/etc/a", "Read(//etc/**)"), read("/etcetera", "Read(//x/**)")),
            (read("/etc/a", "Read(//etc/**)"), write("/etc/a", reason_type="workingDir")),
            (fetch("https://example.org/"), fetch("https://example.org.evil.invalid/")),
            (fetch("https://example.org/"), fetch("https://evil.invalid/example.org")),
            (fetch("https://example.org/"), fetch("https://example.org@evil.invalid/")),
            (fetch("https://example.org/"), fetch("https://sub.example.org/")),
            (PING, call("mcp__srv__pong", {}, adds("mcp__srv__pong"))),
            (PING, call("mcp__srv__ping", {})),
        ],
    )  # fmt: skip
    def test_and_nothing_else(self, given: PermissionRequest, later: PermissionRequest) -> None:
        rule = offered(given, FOLDER)
        assert rule is not None
        assert not allows(rule, later, FOLDER)

    def test_no_link_leads_out_of_it(self, tmp_path: Path) -> None:
        inside, outside = tmp_path / "in", tmp_path / "out"
        for folder in (inside, outside):
            folder.mkdir()
        (inside / "link").symlink_to(outside)
        (inside / "made.txt").write_text("")
        reading = Rule("reading", str(inside))
        assert allows(reading, read(f"{inside}/b", "Read(//x/**)"), FOLDER)
        assert not allows(reading, read(f"{inside}/link/b", "Read(//x/**)"), FOLDER)
        changes = offered(write("made.txt"), str(inside))
        assert changes is not None
        (inside / "link").replace(inside / "made.txt")
        assert not allows(changes, write("made.txt"), str(inside))


def test_a_rule_that_a_narrow_page_would_cut_stands_above_its_button_too() -> None:
    short, long = "Allow `ls *` for this session", f"Allow `touch {'a' * 50}` for this session"
    assert in_full(short) == ""
    assert long in in_full(long)
    assert "overflow-wrap:anywhere" in in_full(long)
