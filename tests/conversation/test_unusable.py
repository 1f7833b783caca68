"""A data folder that can't be used, as in a read-only home: the conversation goes on without it."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.modelserver.replies import Reply
from hotclaude_kernel.record.resume import private_folder, write_transcript

from ..support.book import Book, prompts
from ..support.waiting import eventually

if TYPE_CHECKING:
    from hotclaude_kernel.modelserver.server import ModelServer

LINE = b'{"sessionId":"old"}\n'


@pytest.fixture
def unusable(tmp_path: Path) -> Path:
    """A folder that nobody can make, not even root: a file lies in its place."""
    path = tmp_path / "data"
    path.write_text("")
    return path / "hotclaude"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "tmp"
    path.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(path))
    return path


def modes(folder: Path | str) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in Path(folder).iterdir()}


@pytest.mark.long
@pytest.mark.wire
@pytest.mark.usefixtures("isolated")
async def test_a_crash_and_a_new_system_prompt_resume_and_only_one_notice_is_said(
    unusable: Path, temporary: Path, notebook_path: Path, server: ModelServer
) -> None:
    server.model = lambda request: Reply(f"answer to {request.prompt}")
    book = Book(notebook_path, store=str(unusable / "store.db"))
    try:
        await book.run_all("a")
        assert book.said().count("can't be used") == 1
        assert book.conversation.pid
        os.kill(book.conversation.pid, signal.SIGKILL)
        await eventually(lambda: not book.conversation.ready, "the process is dead")
        await book.run_all("b")
        await book.conversation.change(system="be brief")
        await book.run_all("c")
        assert prompts(server.requests[-1]) == ["prompt a", "prompt b", "prompt c"]
        assert "can't be used" not in book.said()
        assert modes(temporary) == {0o700}
        # The transcript, and the folder of the system prompt.
        assert modes(private_folder()) == {0o600, 0o700}
    finally:
        await book.conversation.close()
    assert modes(private_folder()) == set()


class TestTheTemporaryFolder:
    def test_a_transcript_is_there_if_its_own_folder_can_not_be_used(
        self, unusable: Path, temporary: Path
    ) -> None:
        path = Path(write_transcript(str(unusable / "sessions"), [LINE], "new"))
        assert path.parent.parent == temporary
        assert path.read_bytes() == LINE.replace(b"old", b"new")
        assert private_folder() == str(path.parent)  # a later kernel finds it

    @pytest.mark.parametrize("what", ["a link", "others may read it"])
    def test_one_that_is_not_only_ours_is_not_used(
        self, temporary: Path, tmp_path: Path, what: str
    ) -> None:
        known = temporary / f"hotclaude-{os.getuid()}"
        if what == "a link":
            (tmp_path / "elsewhere").mkdir(mode=0o700)
            known.symlink_to(tmp_path / "elsewhere")
        else:
            known.mkdir(mode=0o700)
            known.chmod(0o755)
        made = Path(private_folder())
        assert made != known
        assert stat.S_IMODE(made.stat().st_mode) == 0o700

    def test_where_none_can_be_written_that_is_an_error(
        self, unusable: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(unusable))
        with pytest.raises(OSError, match="hotclaude"):
            write_transcript(str(unusable), [LINE], "new")
