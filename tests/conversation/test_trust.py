"""Nothing of a folder acts before the user trusts it, with the real binary."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from hotclaude_kernel.claude.folders import Folders
from hotclaude_kernel.claude.trust import Policy
from hotclaude_kernel.errors import UsageError
from hotclaude_kernel.modelserver.script import Script
from hotclaude_kernel.modelserver.server import ModelServer
from hotclaude_kernel.turns.settings import Settings

from ..support.book import Book, sent
from ..support.intruder import ACTS, PROMPT, Intruder, put
from ..support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hotclaude_kernel.claude.folders import Look

pytestmark = [pytest.mark.wire, pytest.mark.usefixtures("isolated")]


class User:
    """Somebody who answers the question, and what they were asked."""

    def __init__(self, *, trusts: bool) -> None:
        self.trusts = trusts
        self.asked: list[Look] = []

    async def __call__(self, look: Look, command: str) -> bool:
        self.asked.append(look)
        return self.trusts


@pytest.fixture
def stranger() -> Iterator[ModelServer]:
    """The server to which the folder's own settings send everything."""
    with ModelServer(Script([])).in_thread() as running:
        yield running


async def test_nothing_acts_before_trust_and_all_of_it_after(
    server: ModelServer, stranger: ModelServer, home: Path, notebook_path: Path
) -> None:
    intruder = Intruder(home / "work", stranger.url)
    book = Book(notebook_path)
    user = User(trusts=False)
    book.conversation.consent.asks = user
    try:
        first = await book.run("a", "hello")
        assert [act.kind for act in user.asked[0].acts] == [
            "server server", "hook SessionStart", "hook UserPromptSubmit", "hook Stop",
            "apiKeyHelper", "env", "command ran", "command ran", "server server-above",
        ]  # fmt: skip
        await book.run("b", "again")
        assert len(user.asked) == 1  # once in a kernel
        with pytest.raises(UsageError, match="/ran is a command of this folder"):
            await book.run("c", PROMPT)
        assert (len(server.requests), len(stranger.requests)) == (2, 0)
        assert "MARK" not in sent(server.requests[-1])

        user.trusts = True
        last = await book.run("d", PROMPT)
        assert len(server.requests) == 2
        assert "MARKCOMMAND" in sent(stranger.requests[-1])
        assert "MARKTEXT" in sent(stranger.requests[-1])
        await eventually(lambda: intruder.ran == set(ACTS), "all of it has acted")
        assert first.session_pid != last.session_pid
        assert "Resumed" not in book.said()
    finally:
        await book.conversation.close()
    assert intruder.made_by(first.session_pid) == []
    assert intruder.made_by(last.session_pid) != []


@pytest.mark.long
async def test_the_users_own_servers_for_the_folder_stay(
    server: ModelServer, home: Path, notebook_path: Path
) -> None:
    """`claude` keeps them in its own configuration, under the folder's path."""
    Intruder(home / "work")
    said = home / "marks" / "own"
    run = ["-c", f"echo $PPID >> '{said}'; exec cat"]
    servers = {
        "own": {"command": "sh", "args": run, "env": {"TOKEN": "secret"}},
        "off": {"command": "sh", "args": ["-c", f"touch '{home}/off'"]},
    }
    entry = {"mcpServers": servers, "disabledMcpServers": ["off"]}
    projects = {str((home / "work").resolve()): entry}
    put(home / ".claude" / ".claude.json", json.dumps({"projects": projects}))
    book = Book(notebook_path)
    try:
        turn = await book.run("a", "hello")
        await eventually(said.exists, "the user's own server runs")
        assert str(turn.session_pid) in said.read_text()
        assert {path.name for path in (home / "marks").iterdir()} == {"own"}
        assert not (home / "off").exists()
        argv = _argv(turn.session_pid)
        assert argv[-4:-1] == ["--setting-sources", "user", "--mcp-config"]
        assert "secret" not in "".join(argv)
        assert os.stat(argv[-1]).st_mode & 0o777 == 0o600  # noqa: PTH116
        kept = home / ".local/share/hotclaude"
        assert {path.name for path in kept.iterdir()} >= {"servers"}
    finally:
        await book.conversation.close()


def _argv(pid: int | None) -> list[str]:
    with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123
        return file.read().decode().split("\0")[:-1]


@pytest.mark.long
async def test_it_is_decided_anew_in_another_folder(
    server: ModelServer, home: Path, notebook_path: Path
) -> None:
    trusted, other = home / "work", home / "elsewhere" / "other"
    intruder = Intruder(other)
    folders = Folders(Policy(folders=[str(trusted)]))
    book = Book(notebook_path, folders=folders)
    try:
        first = await book.run("a", "hello")
        assert "--setting-sources" not in _argv(first.session_pid)
        await book.conversation.change(cwd=str(other))
        second = await book.run("b", "hello again")
        assert _argv(second.session_pid)[-2:] == ["--setting-sources", "user"]
        await book.conversation.change(cwd=str(trusted))
        third = await book.run("c", "hello at last")
        assert "--setting-sources" not in _argv(third.session_pid)
    finally:
        await book.conversation.close()
    assert intruder.made_by(second.session_pid) == []


@pytest.mark.parametrize("then", [True, False])
async def test_what_was_recorded_with_trust_replays_without_and_the_other_way(
    server: ModelServer, home: Path, notebook_path: Path, *, then: bool
) -> None:
    put(home / "work" / "CLAUDE.md", "MARKTEXT")
    put(home / "work" / ".claude/settings.json", '{"env": {"COLOUR": "red"}}')

    def opened(*, trusting: bool, **options: Any) -> Book:
        folders = Folders(Policy("always" if trusting else "never"))
        return Book(notebook_path, folders=folders, **options)

    book = opened(trusting=then)
    asked = await book.run("a", "hello")
    await book.conversation.close()
    assert ("MARKTEXT" in sent(server.requests[-1])) is then

    book = opened(trusting=not then, mode="none")
    user = User(trusts=True)
    book.conversation.consent.asks = user
    try:
        again = await book.run("a", "hello")
        assert again.replayed
        assert again.key == asked.key
        assert again.node == asked.node
        assert again.settings == Settings()
        assert asked.recorded is not None
        assert again.recorded is not None
        assert again.recorded.frames == asked.recorded.frames
        assert user.asked == []
        assert len(server.requests) == 1
    finally:
        await book.conversation.close()


@pytest.mark.long
async def test_what_is_left_out_is_not_pulled_in(
    server: ModelServer, home: Path, notebook_path: Path
) -> None:
    """A CLAUDE.md that the process never saw is no condition of the answer."""
    put(home / "work" / "CLAUDE.md", "MARKTEXT")
    book = Book(notebook_path)
    try:
        turn = await book.run("a", "hello @notes.txt")
        assert turn.recorded is not None
        assert list(turn.recorded.conditions.files) == ["notes.txt"]
        assert "MARKTEXT" not in sent(server.requests[-1])
        look = book.conversation.pool.withholding.folders.seen(os.getcwd())  # noqa: PTH109
        assert look is not None
        await book.conversation.consent.accept(look)
        turn = await book.run("b", "hello")
        assert turn.recorded is not None
        assert list(turn.recorded.conditions.files) == ["CLAUDE.md"]
        assert "MARKTEXT" in sent(server.requests[-1])
    finally:
        await book.conversation.close()


@pytest.mark.long
async def test_a_trusted_folder_that_gains_what_acts_is_asked_about_again(
    server: ModelServer, home: Path, notebook_path: Path
) -> None:
    work = home / "work"
    put(work / "CLAUDE.md", "MARKTEXT")
    book = Book(notebook_path)
    user = User(trusts=False)
    book.conversation.consent.asks = user
    try:
        look = book.conversation.pool.withholding.look(Settings())
        await book.conversation.consent.accept(look)
        await book.run("a", "hello")
        assert (user.asked, "MARKTEXT" in sent(server.requests[-1])) == ([], True)
        put(work / ".claude/settings.json", '{"permissions": {"allow": ["Bash"]}}')
        await book.run("b", "hello")
        assert (user.asked, "MARKTEXT" in sent(server.requests[-1])) == ([], True)
        put(work / ".claude/settings.json", '{"env": {"COLOUR": "red"}}')
        turn = await book.run("c", "hello")
        assert [look.changed for look in user.asked] == [True]
        assert _argv(turn.session_pid)[-2:] == ["--setting-sources", "user"]
    finally:
        await book.conversation.close()


def hook(event: str, mark: Path) -> str:
    """Settings by which a file is made when something happens."""
    command = {"type": "command", "command": f"touch '{mark}'"}
    return json.dumps({"hooks": {event: [{"hooks": [command]}]}})


@pytest.mark.parametrize(
    "ends", [pytest.param("at the next prompt", marks=pytest.mark.long), "with the kernel"]
)
async def test_what_was_changed_does_not_act_as_the_process_ends(
    server: ModelServer, home: Path, notebook_path: Path, *, ends: str
) -> None:
    """The running process has read the new settings, and runs their hooks if it is told to end."""
    work = home / "work"
    put(work / "CLAUDE.md", "MARKTEXT")
    put(home / ".claude/settings.json", hook("ConfigChange", home / "read"))
    book = Book(notebook_path)
    user = User(trusts=False)
    book.conversation.consent.asks = user
    try:
        await book.conversation.consent.accept(book.conversation.pool.withholding.look(Settings()))
        await book.run("a", "hello")
        assert "MARKTEXT" in sent(server.requests[-1])
        put(work / ".claude/settings.json", hook("SessionEnd", home / "ran"))
        await eventually((home / "read").exists, "the process has read it")
        if ends == "at the next prompt":
            await book.run("b", "hello")
            assert len(user.asked) == 1
            await book.conversation.pool.ended()
            assert not (home / "ran").exists()
    finally:
        await book.conversation.close()
    assert not (home / "ran").exists()
