"""What a cassette gives away: secrets and private names are found, and nothing else is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.record.cassettes.leaks import lint
from hotclaude_kernel.record.store import Store
from hotclaude_kernel.turns.prompt import Attachment
from hotclaude_kernel.turns.settings import Settings

from .test_cassette import Book

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def book() -> Iterator[Book]:
    store = Store()
    yield Book(store)
    store.close()


LEAKS = [
    ("sk-ant-" + "api03-abcdefghij", "an Anthropic key"),
    ("key: sk-" + "abcdefghij0123456789ab", "an API key"),
    ("AKIA" + "IOSFODNN7EXAMPLE", "an AWS key"),
    ("ghp_" + "0123456789abcdefghijABCDEFGHIJ012345", "a GitHub token"),
    ("Authorization: Bearer " + "abcdef0123456789abcdef", "a bearer token"),
    ("-----BEGIN RSA " + "PRIVATE KEY-----", "a private key"),
    ("see /home/alice/notes.txt", "a home folder"),
    ("see file:///home/alice/notes.txt", "a home folder"),
    ("cc -I/home/alice/include", "a home folder"),
    ("a:/home/alice/bin", "a home folder"),
    ('{"x": "\\n/home/alice"}', "a home folder"),
    ("/Users/alice", "a home folder"),
    ("/root" + "/work", "a home folder"),
    (r"C:\Users\alice\x", "a home folder"),
    (r"C:\\Users\\alice\\x", "a home folder"),
    ("/mnt/c/Users/alice", "a home folder"),
    ("ask alice@firm.com", "an e-mail address"),
    ("mailto:alice@mail.firm.co.uk", "an e-mail address"),
]
HARMLESS = [
    "https://example.org/home/page and https://example.org/Users/x",
    "/home and /Users and ~/home/x and ./home/x and /homepage",
    "/home/user/project, /Users/username, /home/runner/work, C:\\Users\\Public",
    "name@example.com, git@github.com, x@y, @mention, a @ b.com, plot@2x.png, react@18.2.0",
    "sk-circle-fade-dot-and-some-more-words, risk-sk-abc, sk-",
    "Bearer tokens are sent in a header, as Bearer $TOKEN or Bearer <token>",
    "-----BEGIN CERTIFICATE-----",
    "AKIA, ghp_, sk-ant-, a root/ folder, the /root of all evil",
    "noreply@anthropic.com",
    "0123456789abcdef" * 4,
]


class TestLint:
    @pytest.mark.parametrize(("said", "what"), LEAKS)
    def test_it_names_turn_field_and_kind_and_not_the_thing(
        self, book: Book, said: str, what: str
    ) -> None:
        node = book.add("go", {"type": "text", "text": said})
        (found, *more) = lint(book.cassette())
        assert not more
        assert found.startswith(f"turn 1 ({node.id[:8]}), frames[1].message.content[0].text: ")
        assert what in found
        assert said not in found

    @pytest.mark.parametrize("said", HARMLESS)
    def test_it_does_not_cry_wolf(self, book: Book, said: str) -> None:
        book.add(said)
        assert lint(book.cassette()) == []

    def test_it_looks_at_prompts_settings_and_names_of_fields(self, book: Book) -> None:
        call = {"type": "tool_use", "id": "x", "name": "t", "input": {"/home/alice": 1}}
        book.add("/home/alice", call, asked_under=Settings(system="/home/alice"))
        fields = [found.split(", ")[1].split(":")[0] for found in lint(book.cassette())]
        assert fields == ["frames[1].message.content[0].input", "prompt", "settings.system"]

    def test_bytes_are_not_read_as_words(self, book: Book) -> None:
        image = Attachment(name="a", media_type="image/png", data=b"\xfe\x1a\x1e\x9e" * 99)
        book.add("look", images=(image,))
        assert lint(book.cassette()) == []

    def test_how_the_user_and_the_machine_are_called(
        self, book: Book, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("getpass.getuser", lambda: "jdoe")
        monkeypatch.setattr("socket.gethostname", lambda: "kestrel.lan")
        book.add("/scratch/jdoe/x and //kestrel/share, but jdoe alone, /jdoe-x and kestrel are not")
        assert [found.split(": ")[1] for found in lint(book.cassette())] == [
            "the user's name (j…)",
            "the machine's name (k…)",
        ]

    def test_what_is_no_cassette_is_looked_through_too(self) -> None:
        assert lint("{\n/home/alice")[0].startswith("line 2, text: a home folder")
