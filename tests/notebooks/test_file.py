"""Notebook files: read as what they are, and written whole or not at all."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hotclaude_kernel.errors import UsageError
from hotclaude_kernel.notebooks import file

if TYPE_CHECKING:
    from collections.abc import Callable

READERS = (file.load, file.read_notebook, file.runnable)


def content(**metadata: Any) -> dict[str, Any]:
    """A notebook of one cell."""
    cell: dict[str, Any] = {
        "cell_type": "code",
        "id": "a",
        "metadata": {},
        "execution_count": None,
        "source": ["one\n", "two"],
        "outputs": [],
    }
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": [cell]}


class TestReading:
    def test_it_is_read_as_it_is(self, tmp_path: Path) -> None:
        path = tmp_path / "nb.ipynb"
        path.write_text(json.dumps(content()))
        assert file.load(path) == content()
        [cell] = file.read_notebook(path).cells
        assert (cell.number, cell.source, cell.about) == (1, "one\ntwo", {})
        assert file.runnable(path).cells[0].source == "one\ntwo"

    @pytest.mark.parametrize("read", READERS)
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("# Notes", "is not a notebook: "),
            ("[" * 100_000, "is not a notebook: "),
            ("[]", "is not a notebook of format 4"),
            ('{"worksheets": []}', "is not a notebook of format 4"),
            ('{"cells": {}}', "is not a notebook of format 4"),
        ],
    )
    def test_another_file_is_refused(
        self, read: Callable[[Path], Any], text: str, said: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "nb.ipynb"
        path.write_text(text)
        with pytest.raises(UsageError) as caught:
            read(path)
        assert caught.value.message.startswith(f"{path} {said}")

    @pytest.mark.parametrize("read", READERS)
    def test_a_file_that_is_not_there_or_not_text(
        self, read: Callable[[Path], Any], tmp_path: Path
    ) -> None:
        with pytest.raises(UsageError, match="can't be read: No such file"):
            read(tmp_path / "none.ipynb")
        (tmp_path / "nb.ipynb").write_bytes(b"\xff")
        with pytest.raises(UsageError, match="is not a notebook: "):
            read(tmp_path / "nb.ipynb")

    def test_cells_that_are_no_cells_are_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "nb.ipynb"
        path.write_text(json.dumps(content() | {"cells": [1]}))
        with pytest.raises(UsageError, match="is not a notebook of format 4"):
            file.read_notebook(path)

    def test_the_other_fields_survive_being_written(self, tmp_path: Path) -> None:
        path = tmp_path / "nb.ipynb"
        path.write_text(json.dumps(content(title="é")))
        file.write_notebook(file.read_notebook(path))
        assert file.load(path) == content(title="é")
        assert "é" in path.read_text(encoding="utf-8")


class TestWriting:
    def test_a_new_file_has_the_mode_of_any_new_file(self, tmp_path: Path) -> None:
        (tmp_path / "other").touch()
        file.write(tmp_path / "nb.ipynb", "a\n")
        assert (tmp_path / "nb.ipynb").read_bytes() == b"a\n"
        assert mode(tmp_path / "nb.ipynb") == mode(tmp_path / "other")

    @pytest.mark.parametrize("bits", [0o600, 0o664, 0o755])
    def test_an_existing_file_keeps_its_mode(self, tmp_path: Path, bits: int) -> None:
        path = tmp_path / "nb.ipynb"
        path.touch()
        path.chmod(bits)
        file.write(path, "new")
        assert (path.read_text(), mode(path)) == ("new", bits)

    def test_a_link_that_was_read_keeps_pointing_to_its_file(self, tmp_path: Path) -> None:
        (tmp_path / "there").mkdir()
        target, link = tmp_path / "there" / "nb.ipynb", tmp_path / "nb.ipynb"
        link.symlink_to(Path("there") / "nb.ipynb")
        target.write_text(json.dumps(content()))
        for title in ("made", "changed"):
            notebook = file.read_notebook(link)
            notebook.content["metadata"]["title"] = title
            file.write_notebook(notebook)
            assert link.is_symlink()
            assert file.load(target) == content(title=title)
        assert [*target.parent.iterdir()] == [target]

    @pytest.mark.parametrize("exists", [True, False])
    def test_a_link_that_lies_where_a_file_goes_is_replaced(
        self, tmp_path: Path, exists: bool
    ) -> None:
        """A repository may hold one that leads out of it."""
        target, link = tmp_path / "profile", tmp_path / "nb.hotclaude.jsonl"
        if exists:
            target.write_text("mine")
        link.symlink_to(target)
        file.write(link, "a cassette")
        assert link.read_text() == "a cassette"
        assert not link.is_symlink()
        assert target.exists() is exists
        assert not exists or target.read_text() == "mine"

    def test_a_stream_of_the_process_is_written_into(self, tmp_path: Path) -> None:
        with (tmp_path / "out").open("wb") as out:
            file.write(Path(f"/proc/self/fd/{out.fileno()}"), "text")
        assert (tmp_path / "out").read_text() == "text"

    def test_what_can_not_be_replaced_is_written_into(self, tmp_path: Path) -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        try:
            file.write(pipe, "text")
            assert os.read(reader, 100) == b"text"
        finally:
            os.close(reader)
        assert stat.S_ISFIFO(pipe.stat().st_mode)

    @pytest.mark.parametrize("step", ["chmod", "replace"])
    def test_a_failure_leaves_the_old_text_and_nothing_beside_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        path = tmp_path / "nb.ipynb"
        path.write_text("old")

        def fail(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, step, fail)
            with pytest.raises(UsageError) as caught:
                file.write(path, "new")
        assert caught.value.message == f"{path} can't be written: No space left on device"
        assert path.read_text() == "old"
        assert [*tmp_path.iterdir()] == [path]

    def test_text_that_is_not_unicode_touches_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "nb.ipynb"
        with pytest.raises(UnicodeEncodeError):
            file.write(path, "\ud800")
        assert [*tmp_path.iterdir()] == []

    def test_a_folder_that_is_not_there_or_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="can't be written: No such file"):
            file.write(tmp_path / "none" / "nb.ipynb", "a")
        with pytest.raises(UsageError, match="can't be written: Is a directory"):
            file.write(tmp_path, "a")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
