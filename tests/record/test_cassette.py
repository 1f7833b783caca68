"""Cassettes: the same file for the same turns, whole or not at all, nothing told by accident."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotclaude_kernel.claude.events import Usage
from hotclaude_kernel.claude.frames import dumps
from hotclaude_kernel.errors import StoreError, StoreTooNew
from hotclaude_kernel.record.answers import Scope, candidates
from hotclaude_kernel.record.cassettes import cassette
from hotclaude_kernel.record.notebook import Record
from hotclaude_kernel.record.notebooks import notebook_at
from hotclaude_kernel.record.store import Store
from hotclaude_kernel.turns import identity
from hotclaude_kernel.turns.prompt import Attachment, Prompt
from hotclaude_kernel.turns.settings import Settings
from hotclaude_kernel.turns.tape import events, kept
from hotclaude_kernel.turns.tree import Node
from hotclaude_kernel.turns.turn import Recorded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hotclaude_kernel.claude.frames import Frame

ANSWER: Frame = {"type": "text", "text": "fine"}


def frames_of(*content: Frame) -> bytes:
    """What is recorded of a turn that was answered with these blocks."""
    said = [
        {"type": "assistant", "message": {"id": "m", "role": "assistant", "content": [block]}}
        for block in content
    ]
    begin: Frame = {"type": "system", "subtype": "init", "model": "claude-x", "tools": ["Bash"]}
    end: Frame = {"type": "result", "subtype": "success", "stop_reason": "end_turn"}
    return b"".join(dumps(frame) for frame in map(kept, (begin, *said, end)) if frame)


class Book:
    """Turns put into a record one behind another, as a kernel does."""

    def __init__(self, store: Store, path: str | None = None) -> None:
        self.store = store
        self.notebook = notebook_at(store, path).id
        self.nodes: list[Node] = []

    def add(
        self,
        text: str = "go",
        *content: Frame,
        after: Node | None = None,
        status: str = "ok",
        asked_under: Settings | None = None,
        images: tuple[Attachment, ...] = (),
        **more: Any,
    ) -> Node:
        """Record a turn; return its node."""
        settings = asked_under or Settings(cwd="/somewhere")
        prompt = Prompt(text=text, attachments=images)
        parent = after.id if after else None
        key = identity.turn_key(parent=parent, prompt=prompt, settings=settings)
        frames = frames_of(*(content or (ANSWER,)))
        node = Node(
            id=identity.node_digest(key, identity.canonical_response(events(frames))),
            parent=parent,
            number=after.number + 1 if after else 1,
            prompt=text,
            status=status,
            key=key,
            settings=identity.settings_name(settings),
            uuid=f"uuid-{len(self.nodes)}",
            compacted=more.pop("compacted", False),
            model="claude-x",
            usage=more.pop("usage", Usage(input_tokens=3, output_tokens=4, cost_usd=0.25)),
            ended=1.0,
        )
        turn = Recorded(
            node=node,
            prompt=prompt,
            settings=settings,
            cli="2.1.0",
            entries=b'{"sessionId":"s"}\n',
            frames=frames,
            **{"first_text_s": 0.1234, "total_s": 1.5} | more,
        )
        self.store.save(self.notebook, turn, branch="main")
        self.nodes.append(node)
        return node

    def cassette(self) -> str:
        """All of it."""
        return cassette.write(self.store, [node.id for node in self.nodes])


@pytest.fixture
def store() -> Iterator[Store]:
    with closing(Store()) as made:
        yield made


@pytest.fixture
def other() -> Iterator[Store]:
    with closing(Store()) as made:
        yield made


@pytest.fixture
def book(store: Store) -> Book:
    return Book(store)


def changed(text: str, line: int, **values: Any) -> str:
    """A cassette with other values in one line."""
    rows = text.split("\n")
    rows[line - 1] = json.dumps(json.loads(rows[line - 1]) | values)
    return "\n".join(rows)


class TestWriting:
    def test_a_line_for_each_turn_sorted_by_key_with_sorted_fields(self, book: Book) -> None:
        first = book.add("one")
        book.add("two", after=first)
        header, *rows = map(json.loads, book.cassette().splitlines())
        assert header == {"hotclaude": "cassette", "v": 1}
        assert [row["key"] for row in rows] == sorted(node.key for node in book.nodes)
        assert all(list(row) == sorted(row) for row in rows)
        two = next(row for row in rows if row["prompt"] == "two")
        assert (two["parent"], two["number"]) == (first.id, 2)

    def test_what_a_turn_follows_comes_along(self, book: Book) -> None:
        last = None
        for text in "abc":
            last = book.add(text, after=last)
        book.add("beside")
        assert last is not None
        text = cassette.write(book.store, [last.id])
        assert [turn.prompt.text for turn in cassette.read(text)] == ["a", "b", "c"]

    def test_nothing_of_a_machine_a_session_or_a_moment_is_in_it(self, book: Book) -> None:
        config = '{"mcpServers":{"s":{"command":"s","env":{"TOKEN":"hush"}}}}'
        book.add(asked_under=Settings(cwd="/home/someone", mcp_config=config, model="opus"))
        text = book.cassette()
        for word in ("sessionId", "uuid", "/home/someone", "hush", "ended", "entries"):
            assert word not in text
        (turn,) = cassette.read(text)
        assert turn.settings.model == "opus"
        assert turn.derived_key == book.nodes[0].key

    def test_the_order_in_which_turns_came_makes_no_difference(
        self, store: Store, other: Store
    ) -> None:
        one, two = Book(store), Book(other)
        for text in "abc":
            one.add(text)
        for text in "cab":
            two.add(text)
        assert one.cassette() == two.cassette()

    def test_fields_of_a_tools_input_keep_their_order(self, book: Book) -> None:
        call = {"type": "tool_use", "id": "x", "name": "t", "input": {"z": 1, "a": 2}}
        book.add("go", call)
        (turn,) = cassette.read(book.cassette())
        assert turn.frames == frames_of(call)

    def test_a_turn_that_is_not_recorded_is_refused(self, store: Store) -> None:
        with pytest.raises(StoreError, match="not in the record"):
            cassette.write(store, ["feed"])

    def test_so_is_one_that_does_not_follow_from_its_content(self, book: Book) -> None:
        book.add()
        with book.store.write() as db:
            db.execute("update turn set prompt = 'another'")
        with pytest.raises(StoreError, match="its key does not follow"):
            book.cassette()

    @given(st.floats(0, 1e6))
    def test_times_are_shown_as_they_were(self, seconds: float) -> None:
        ms = cassette.milliseconds(seconds)
        assert f"{ms:.2f}" == f"{seconds:.2f}"
        assert abs(ms - seconds) < 0.0016
        assert cassette.milliseconds(ms) == ms == round(ms, 3)


def rows_of(store: Store) -> list[int]:
    with store.read() as db:
        return [at for (at,) in db.execute("select id from notebook")]


def replaying(store: Store, key: str, notebook: int = 0) -> str | None:
    """The node that replays for a key in a notebook beside which all cassettes lie."""
    with store.read() as db:
        rows = db.execute("select id from notebook where cassette is not null").fetchall()
    scope = Scope(notebook=notebook, cassettes={at: "a.hotclaude.jsonl" for (at,) in rows})
    return next((found.node for found in candidates(store, key, scope)), None)


class TestLoading:
    def test_what_is_loaded_replays(self, book: Book, other: Store) -> None:
        first = book.add("one")
        book.add("two", after=first)
        assert cassette.load(other, book.cassette()) == 2
        for node in book.nodes:
            assert replaying(other, node.key) == node.id
            assert other.turn(node.id).frames == frames_of(ANSWER)
            assert other.entries(node.id)[-1] == b""
            assert other.turn(node.id).node.usage == node.usage
        assert other.asked("two", rows_of(other)) == [book.nodes[-1].id]

    def test_the_answers_text_is_there_too(self, book: Book, other: Store) -> None:
        book.add("one", ANSWER, {"type": "text", "text": "and good"})
        cassette.load(other, book.cassette())
        with other.read() as db:
            assert db.execute("select answer from turn").fetchall() == [("fine\n\nand good",)]

    def test_again_it_does_nothing(self, book: Book, other: Store) -> None:
        book.add()
        text = book.cassette()
        assert [cassette.load(other, text) for _ in range(3)] == [1, 0, 0]
        # Not even when the file is another one of the same turns.
        assert cassette.load(other, text + "\n") == 0

    def test_an_unchanged_file_is_not_read(
        self, book: Book, other: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        book.add()
        text = book.cassette()
        cassette.load(other, text)
        monkeypatch.setattr(cassette, "read", lambda _: pytest.fail("it was read"))
        assert cassette.load(other, text) == 0

    def test_what_replays_already_goes_on_replaying(self, book: Book, other: Store) -> None:
        theirs = book.add("say", {"type": "text", "text": "theirs"})
        here = Book(other)
        mine = here.add("say", {"type": "text", "text": "mine"})
        assert cassette.load(other, book.cassette()) == 1
        assert replaying(other, theirs.key, here.notebook) == mine.id
        assert other.node(theirs.id) is not None

    def test_a_turn_of_ones_own_keeps_its_transcript(self, book: Book) -> None:
        node = book.add()
        assert cassette.load(book.store, book.cassette()) == 0
        assert book.store.entries(node.id) == [b'{"sessionId":"s"}\n']

    def test_of_two_answers_the_one_that_replayed_replays(self, book: Book, other: Store) -> None:
        for said in ("one", "two"):
            book.add("say", {"type": "text", "text": said})
        cassette.load(other, book.cassette())
        found = replaying(other, book.nodes[0].key)
        assert found is not None
        assert other.turn(found).frames == frames_of({"type": "text", "text": "two"})

    def test_of_what_is_exported_something_replays(self, book: Book, other: Store) -> None:
        first = book.add("say", {"type": "text", "text": "one"})
        book.add("say", {"type": "text", "text": "two"})
        cassette.load(other, cassette.write(book.store, [first.id]))
        assert replaying(other, first.key) is not None

    def test_an_interrupted_turn_comes_along_and_does_not_replay(
        self, book: Book, other: Store
    ) -> None:
        first = book.add("one", status="interrupted")
        second = book.add("two", after=first)
        assert cassette.load(other, book.cassette()) == 2
        assert replaying(other, first.key) is None
        assert replaying(other, second.key) is not None

    def test_what_follows_is_a_turn_like_any_other(self, book: Book, other: Store) -> None:
        book.add("one")
        cassette.load(other, book.cassette())
        known = other.node(book.nodes[0].id)
        assert known is not None
        here = Book(other)
        here.nodes.append(known)
        here.add("two", after=here.nodes[0])
        assert cassette.read(here.cassette())[1].prompt.text == "two"


class TestRefusing:
    @pytest.fixture
    def text(self, book: Book) -> str:
        first = book.add("one", images=(Attachment(name="a", media_type="image/png", data=b"x"),))
        book.add("two", after=first)
        return book.cassette()

    @pytest.fixture
    def line(self, text: str) -> int:
        """The line of the first turn, which has an image."""
        return next(n for n, row in enumerate(text.split("\n"), 1) if '"attachments"' in row)

    def test_a_newer_form(self, text: str, other: Store) -> None:
        with pytest.raises(StoreTooNew):
            cassette.load(other, changed(text, 1, v=2))

    @pytest.mark.parametrize("header", ["", "[]", "{}", "no", '{"hotclaude":"cassette","v":"1"}'])
    def test_what_is_no_cassette(self, header: str) -> None:
        with pytest.raises(StoreError, match="no cassette"):
            cassette.read(header)

    @pytest.mark.parametrize(
        "values",
        [
            {"prompt": "another"},
            {"settings": {"model": "another"}},
            {"frames": []},
            {"frames": 1},
            {"frames": [{"type": "assistant", "message": {}}]},
            {"frames": [{"type": ["x"]}]},
            {"attachments": []},
            {"attachments": [{"name": "a", "media_type": "image/png", "data": "!"}]},
            {"key": "0" * 32},
            {"node": "0" * 32},
            {"number": 3},
            {"number": True},
            {"status": "great"},
            {"settings": {"cwd": "/elsewhere"}},
            {"settings": {"unheard_of": 1}},
            {"settings": {"tools": "Bash"}},
            {"settings": {"max_turns": "3"}},
            {"usage": {}},
            {"total_s": "1"},
            {"total_s": -1},
            {"priced": 1},
            {"deltas": {"x": []}},
            {"deltas": {"1": [[1]]}},
            {"model": None},
            {"cli": "\ud83d"},
        ],
        ids=str,
    )
    def test_a_damaged_line_is_named_and_nothing_is_taken(
        self, text: str, line: int, values: dict[str, Any], other: Store
    ) -> None:
        with pytest.raises(StoreError, match=f"line {line} "):
            cassette.load(other, changed(text, line, **values))
        with other.read() as db:
            assert db.execute("select count(*) from turn").fetchone() == (0,)
            assert db.execute(
                "select count(*) from notebook where cassette is not null"
            ).fetchone() == (0,)

    @pytest.mark.parametrize("row", ["{", "[1]", "1", "{}", '{"key":NaN}', "[" * 100_000])
    def test_a_line_that_is_no_turn(self, text: str, row: str) -> None:
        with pytest.raises(StoreError, match="line 4 "):
            cassette.read(text + row)

    def test_a_turn_whose_parent_is_cut_off(self, text: str, line: int) -> None:
        rows = text.split("\n")
        del rows[line - 1]
        with pytest.raises(StoreError, match="follows is not in the file"):
            cassette.read("\n".join(rows))

    def test_a_frame_that_no_recording_holds(self, text: str, line: int, other: Store) -> None:
        row = json.loads(text.split("\n")[line - 1])
        asked = {"type": "control_request", "request_id": "1", "request": {"subtype": "x"}}
        with pytest.raises(StoreError, match=f"line {line} .*frame 1: no recording holds"):
            cassette.load(other, changed(text, line, frames=[asked, *row["frames"]]))

    def test_fields_that_no_recording_holds_are_left_out(self, text: str, line: int) -> None:
        row = json.loads(text.split("\n")[line - 1])
        frames = [{**frame, "cwd": "/x"} for frame in row["frames"]]
        turns = cassette.read(changed(text, line, frames=frames))
        assert turns[0].frames == frames_of(ANSWER)

    @pytest.mark.parametrize("ends", ["\r\n", "\n\n"])
    def test_other_line_ends_and_a_turn_that_is_there_twice_do_no_harm(
        self, text: str, ends: str
    ) -> None:
        twice = text + text.split("\n")[1]
        assert cassette.read(twice.replace("\n", ends)) == cassette.read(text)


words = st.text(max_size=12)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
blocks = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, words),
    st.builds(lambda text: {"type": "thinking", "thinking": text, "signature": "s"}, words),
    st.builds(
        lambda number, given: {
            "type": "tool_use", "id": f"tool-{number}", "name": "t", "input": given
        },
        st.integers(0, 2),
        st.dictionaries(words, st.none() | st.integers(-9, 2**70) | st.floats(-1, 1) | words),
    ),
)  # fmt: skip
under = st.builds(
    Settings,
    model=st.none() | texts,
    tools=st.none() | st.lists(texts, max_size=2).map(tuple),
    allowed_tools=st.lists(texts, max_size=2).map(tuple),
    max_turns=st.none() | st.integers(0, 9),
    thinking_display=st.none() | texts,
    mcp_config=st.none() | st.just('{"mcpServers":{"a":{"env":{"x":"y"}}}}') | texts,
    cwd=st.none() | st.just("/nowhere"),
)
asked = st.fixed_dictionaries(
    {
        "text": texts,
        "content": st.lists(blocks, max_size=3),
        "after": st.integers(0, 5),
        "status": st.sampled_from(["ok", "ok", "interrupted", "error"]),
        "asked_under": under,
        "images": st.lists(
            st.builds(Attachment, name=texts, media_type=texts, data=st.binary(max_size=9)),
            max_size=2,
        ).map(tuple),
        "total_s": st.floats(0, 100),
        "first_text_s": st.none() | st.floats(0, 100),
        "priced": st.booleans(),
        "deltas": st.sampled_from([b"", b'{"1":[[3,1],[5,2]],"12":[[9,4]]}']),
    }
)


class TestRoundTrip:
    @given(st.lists(asked, min_size=1, max_size=5))
    def test_write_read_load_and_write_is_the_same_file(self, turns: list[dict[str, Any]]) -> None:
        with closing(Store()) as store, closing(Store()) as other:
            book = Book(store)
            for turn in turns:
                turn = turn.copy()  # the drawn one may be tried again
                after, content = turn.pop("after"), turn.pop("content")
                before = book.nodes[after] if after < len(book.nodes) else None
                book.add(turn.pop("text"), *content, after=before, **turn)
            text = book.cassette()
            text.encode()
            cassette.load(other, text)
            again = cassette.write(other, {node.id for node in book.nodes})
            assert again == text
            for node in book.nodes:
                assert other.turn(node.id).fault() == ""


class TestBesideANotebook:
    @pytest.fixture
    def there(self, book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        book.add("one")
        (tmp_path / "nb.hotclaude.jsonl").write_text(book.cassette())
        monkeypatch.chdir(tmp_path)
        return tmp_path

    def found(self, there: Path, key: str, notebook: str | None) -> tuple[str | None, list[str]]:
        record = Record(notebook, store=str(there / "store.db"))
        try:
            found = record.candidates(key, widely=True)
            return next((turn.node for turn in found), None), record.take_notices()
        finally:
            record.close()

    @pytest.mark.parametrize("name", ["nb.ipynb", None])
    def test_the_first_turn_that_is_not_recorded_loads_it(
        self, book: Book, there: Path, name: str | None
    ) -> None:
        path = str(there / name) if name else None
        at, notices = self.found(there, book.nodes[0].key, path)
        assert at is not None
        assert notices == []

    def test_another_notebooks_is_left_alone(self, book: Book, there: Path) -> None:
        assert self.found(there, book.nodes[0].key, str(there / "other.ipynb"))[0] is None

    def test_with_one_the_notebook_counts_as_recorded(self, there: Path) -> None:
        for name, known in (("nb.ipynb", True), ("other.ipynb", False)):
            record = Record(str(there / name), store=str(there / "store.db"))
            with closing(record):
                record.candidates("something else", widely=True)
                assert record.kept is known

    def test_a_refused_one_is_said(self, book: Book, there: Path) -> None:
        path = there / "nb.hotclaude.jsonl"
        path.write_text(changed(path.read_text(), 2, prompt="another"))
        at, notices = self.found(there, book.nodes[0].key, str(there / "nb.ipynb"))
        assert at is None
        assert len(notices) == 1
        assert notices[0].startswith("nb.hotclaude.jsonl was not loaded: The cassette's line 2")

    @pytest.mark.parametrize("data", [b"\xff\xfe", b""])
    def test_so_is_one_that_is_no_text(self, book: Book, there: Path, data: bytes) -> None:
        (there / "nb.hotclaude.jsonl").write_bytes(data)
        assert "was not loaded" in self.found(there, "k", str(there / "nb.ipynb"))[1][0]
