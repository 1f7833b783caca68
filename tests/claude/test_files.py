"""Files are written whole, under new names, and never through a link."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from hotclaude_kernel.claude import files


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


class TestANewFile:
    def test_only_this_user_can_read_it(self, tmp_path: Path) -> None:
        path = tmp_path / "new"
        assert files.write_new(str(path), b"data") == str(path)
        assert (path.read_bytes(), mode(path)) == (b"data", 0o600)

    @pytest.mark.parametrize("exists", [True, False])
    def test_a_link_at_its_name_is_not_followed(self, tmp_path: Path, exists: bool) -> None:
        target, path = tmp_path / "target", tmp_path / "new"
        if exists:
            target.write_text("mine")
        path.symlink_to(target)
        with pytest.raises(FileExistsError):
            files.write_new(str(path), b"data")
        assert target.exists() is exists
        assert not exists or target.read_text() == "mine"


class TestReplaced:
    def test_a_link_is_replaced_and_its_target_is_left(self, tmp_path: Path) -> None:
        target, path = tmp_path / "target", tmp_path / "nb"
        target.write_text("mine")
        target.chmod(0o640)
        path.symlink_to(target)
        files.replace(str(path), b"data")
        assert target.read_text() == "mine"
        assert not path.is_symlink()
        assert path.read_bytes() == b"data"

    @pytest.mark.parametrize(("given", "bits"), [(None, 0o640), (0o600, 0o600), (0o666, 0o666)])
    def test_it_has_the_mode_of_the_old_one_or_the_given(
        self, tmp_path: Path, given: int | None, bits: int
    ) -> None:
        path = tmp_path / "nb"
        path.touch()
        path.chmod(0o640)
        files.replace(str(path), b"data", mode=given)
        assert (path.read_bytes(), mode(path)) == (b"data", bits)

    def test_it_is_written_under_a_name_that_nobody_can_guess(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened: list[tuple[str, int]] = []
        real = os.open

        def note(path: str, flags: int, mode: int) -> int:
            opened.append((Path(path).name, flags))
            return real(path, flags, mode)

        monkeypatch.setattr(os, "open", note)
        for _ in range(2):
            files.replace(str(tmp_path / "nb"), b"data")
        assert len({name for name, _ in opened}) == 2
        assert all(flags & os.O_EXCL and flags & os.O_NOFOLLOW for _, flags in opened)
        assert [path.name for path in tmp_path.iterdir()] == ["nb"]

    def test_the_old_file_stays_where_the_new_cant_be_put(self, tmp_path: Path) -> None:
        (tmp_path / "nb").mkdir()
        with pytest.raises(OSError, match="directory"):
            files.replace(str(tmp_path / "nb"), b"data")
        assert [path.name for path in tmp_path.iterdir()] == ["nb"]
