"""Images in a cell: what is one, what is sent, and what is said of those that can't be."""

from __future__ import annotations

import base64
import re
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotclaude_kernel.cells import attachments
from hotclaude_kernel.cells.attachments import MOST_BYTES, MOST_IMAGES, collect, read_image
from hotclaude_kernel.errors import UsageError

from ..support.steps import steps

BYTES = {
    "image/png": b"\x89PNG\r\n\x1a\n\0\0",
    "image/jpeg": b"\xff\xd8\xff\xe0\0\0",
    "image/gif": b"GIF89a\0\0",
    "image/webp": b"RIFF\0\0\0\0WEBPVP8 ",
}
PNG = BYTES["image/png"]


def uri(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "plot.png").write_bytes(PNG)
    (tmp_path / "my plot.png").write_bytes(PNG + b"2")
    (tmp_path / "notes.txt").write_text("notes")
    return tmp_path


class TestMentions:
    @pytest.mark.parametrize(
        ("text", "left"),
        [
            ("Look at @plot.png please", "Look at [plot.png] please"),
            ("@plot.png", "[plot.png]"),
            ("What is (@plot.png)?", "What is ([plot.png])?"),
            ("See @plot.png. And @plot.png, too", "See [plot.png]. And [plot.png], too"),
            ("@plot.png,@plot.png", "[plot.png],[plot.png]"),
            ("@./plot.png\nline", "[./plot.png]\nline"),
        ],
    )
    def test_one_is_sent_and_its_name_stays(self, folder: Path, text: str, left: str) -> None:
        prompt, images = collect(text, folder)
        assert prompt == left
        assert len(images) == text.count("@")
        assert {(i.name, i.media_type, i.data) for i in images} == {("plot.png", "image/png", PNG)}

    @pytest.mark.parametrize("after", [" please", "", ".", ", too", "\nline", "?"])
    def test_in_quotes_its_name_may_hold_spaces(self, folder: Path, after: str) -> None:
        prompt, [image] = collect(f'Look at @"my plot.png"{after}', folder)
        assert prompt == f"Look at [my plot.png]{after}"
        assert image.data == PNG + b"2"

    def test_signs_of_a_screens_density_are_part_of_a_name(self, folder: Path) -> None:
        (folder / "icon@2x.png").write_bytes(PNG)
        assert [i.name for i in collect("@icon@2x.png", folder)[1]] == ["icon@2x.png"]

    def test_case_does_not_matter_and_paths_may_be_absolute(self, folder: Path) -> None:
        (folder / "A.PNG").write_bytes(PNG)
        assert len(collect(f"@A.PNG @{folder}/plot.png", folder)[1]) == 2

    @pytest.mark.parametrize(
        "text",
        [
            "mail me@plot.png",
            "ada.l@example.org",
            "thanks @ada and @grace_h!",
            "https://example.org/@plot.png",
            "@@plot.png",
            "@notes.txt",
            '@"notes.txt"',
            '@"some words" he said',
            "@pytest.mark.parametrize",
            "@plot.png.bak",
            "@plot.pngx",
            "@plot.png/x",
            "plot.png",
            "@ plot.png",
            "@dataclass\nclass A: ...",
        ],
    )
    def test_what_is_none_is_left_to_claude(self, folder: Path, text: str) -> None:
        assert collect(text, folder) == (text, ())

    @given(st.text('@a ."\n/-_', max_size=40))
    def test_text_without_images_is_not_changed(self, text: str) -> None:
        assert collect(text, Path("/nowhere")) == (text, ())


class TestPasted:
    @pytest.mark.parametrize(("alt", "name"), [("cat", "cat"), ("", "pasted image 1")])
    @pytest.mark.parametrize("sign", ["!", ""])
    def test_one_is_sent_in_place_of_its_uri(
        self, folder: Path, alt: str, name: str, sign: str
    ) -> None:
        prompt, [image] = collect(f"This {sign}[{alt}]({uri(PNG)}) is", folder)
        assert prompt == f"This [{name}] is"
        assert (image.name, image.media_type, image.data) == (name, "image/png", PNG)

    def test_line_ends_in_its_base64_do_no_harm(self, folder: Path) -> None:
        [image] = collect(f"![x]({uri(PNG)[:30]}\n  {uri(PNG)[30:]})", folder)[1]
        assert image.data == PNG

    @pytest.mark.parametrize(("media_type", "data"), BYTES.items())
    def test_its_type_is_that_of_its_bytes(
        self, folder: Path, media_type: str, data: bytes
    ) -> None:
        [image] = collect(f"![x]({uri(data, 'image/png')})", folder)[1]
        assert image.media_type == media_type

    def test_a_damaged_one_is_refused(self, folder: Path) -> None:
        with pytest.raises(UsageError, match="The pasted image x is damaged"):
            collect("![x](data:image/png;base64,AAA)", folder)

    def test_one_that_is_no_image_is_refused(self, folder: Path) -> None:
        with pytest.raises(UsageError, match="is no image that can be sent"):
            collect(f"![x]({uri(b'<svg/>', 'image/svg+xml')})", folder)

    def test_a_link_to_an_image_is_left_alone(self, folder: Path) -> None:
        text = "![x](https://example.org/x.png)"
        assert collect(text, folder) == (text, ())


#: What a pasted image is; but from each `[` on, this looks to the end of the line.
PASTED = re.compile(r"!?\[([^\]\n]*)\]\(data:(image/[\w+.-]+);base64,([A-Za-z0-9+/=\s]+)\)")
PIECES = ("!", "[", "]", "\n", "a", "(", ")", "=", f"]({uri(PNG)})", "](data:image/pn")


class TestMany:
    @given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
    def test_what_is_found_is_what_the_plain_pattern_finds(self, text: str) -> None:
        names = [match[1] for match in PASTED.finditer(text)]
        prompt, images = collect(text, Path("/nowhere"))
        wanted = [name or f"pasted image {at}" for at, name in enumerate(names, 1)]
        assert [image.name for image in images] == wanted
        left = iter(wanted)
        assert prompt == PASTED.sub(lambda _: f"[{next(left)}]", text)

    @pytest.mark.parametrize("mark", ["![", "[", "![x](", "]("])
    def test_marks_of_images_are_looked_at_once(self, mark: str) -> None:
        """The search starts at what only an image has; a mark alone takes no step of ours."""
        assert attachments._image().pattern.startswith(r"\]\(data:")
        image = f"![x]({uri(PNG)})"
        few, many = (
            steps(partial(collect, f"{mark * count}\n{image}", Path("/nowhere")))
            for count in (10, 8_000)
        )
        assert many == few


class TestRefused:
    @pytest.mark.parametrize("text", ["@gone.png", '@"gone too.png"', "@~nobody-at-all/x.png"])
    def test_one_that_is_not_there(self, folder: Path, text: str) -> None:
        with pytest.raises(UsageError, match=r"The image .* can't be read") as caught:
            collect(text, folder)
        assert str(folder) in caught.value.hint

    def test_a_folder_and_what_is_no_path_at_all(self, folder: Path) -> None:
        (folder / "folder.png").mkdir()
        for name in ("folder.png", "a\0.png"):
            with pytest.raises(UsageError, match="can't be read"):
                read_image(name, folder)

    def test_one_whose_name_lies(self, folder: Path) -> None:
        (folder / "text.png").write_text("not an image")
        with pytest.raises(UsageError, match=r"text\.png is no image") as caught:
            collect("@text.png", folder)
        assert "PNG, JPEG, GIF or WebP" in caught.value.hint

    def test_one_that_is_too_large(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert MOST_BYTES * 4 / 3 <= 5_000_000
        monkeypatch.setattr(attachments, "MOST_BYTES", len(PNG))
        collect("@plot.png", folder)
        with pytest.raises(UsageError, match=r"my plot\.png is too large"):
            collect('@"my plot.png"', folder)

    def test_too_many_together(self, folder: Path) -> None:
        assert len(collect("@plot.png " * MOST_IMAGES, folder)[1]) == MOST_IMAGES
        for text, named in (
            ("@plot.png " * (MOST_IMAGES + 1), []),
            ("@plot.png", ["plot.png"] * MOST_IMAGES),
        ):
            with pytest.raises(UsageError, match="21 images are too many"):
                collect(text, folder, named)


class TestNamed:
    def test_those_named_come_first(self, folder: Path) -> None:
        prompt, images = collect("What is @plot.png?", folder, ["my plot.png"])
        assert prompt == "What is [plot.png]?"
        assert [image.name for image in images] == ["my plot.png", "plot.png"]

    @pytest.mark.parametrize(("media_type", "data"), BYTES.items())
    def test_the_type_is_that_of_the_bytes_whatever_the_name(
        self, folder: Path, media_type: str, data: bytes
    ) -> None:
        (folder / "any").write_bytes(data)
        assert read_image("any", folder).media_type == media_type

    def test_a_home_folder_may_be_short(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HOME", str(folder))
        assert read_image("~/plot.png", folder / "elsewhere").name == "plot.png"
