"""Where a conversation stands: where a cell is asked, what each move leaves, what goes on later."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from hotclaude_kernel.conversation.position import Position
from hotclaude_kernel.errors import UsageError
from hotclaude_kernel.pool.warm import Place
from hotclaude_kernel.record.notebook import Record
from hotclaude_kernel.record.notebooks import notebook_at
from hotclaude_kernel.turns import identity
from hotclaude_kernel.turns.prompt import Prompt
from hotclaude_kernel.turns.settings import Settings
from hotclaude_kernel.turns.tree import MAIN, Node
from hotclaude_kernel.turns.turn import Recorded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: A value of each setting, and whether it holds for the turns that follow, in a later kernel too.
VALUES: dict[str, tuple[Any, bool]] = {
    "model": ("haiku", True),
    "effort": ("low", True),
    "system": ("Be brief.", True),
    "append_system": ("Be kind.", True),
    "tools": (("Read",), True),
    "cwd": ("/elsewhere", True),
    "permission_mode": ("bypassPermissions", False),
    "allowed_tools": (("Bash",), False),
    "thinking_display": ("omitted", False),
    "fallback_model": ("sonnet", False),
    "max_turns": (3, False),
    "setting_sources": (("user",), False),
    "mcp_config": ('{"mcpServers":{}}', False),
    "extra_args": (("--verbose",), False),
}


class Book:
    """A notebook's position, in one kernel after another."""

    def __init__(self, folder: Path) -> None:
        self.path, self.store = str(folder / "book.ipynb"), str(folder / "store.db")
        self.records: list[Record] = []
        self.open()

    def open(self, settings: Settings | None = None, **options: Any) -> Position:
        """Stand where a kernel does that begins now."""
        self.record = Record(self.path, store=self.store)
        self.records.append(self.record)
        self.position = Position(self.record, settings or Settings(), **options)
        return self.position

    def restart(self, settings: Settings | None = None, **options: Any) -> Position:
        """End the kernel and begin another."""
        self.record.close()
        return self.open(settings, **options)

    def ask(self, cell: str | None, text: str = "", *, cli: str = "2.1.0") -> Node:
        """Ask a prompt as a conversation does, and stand on its turn; it is answered the same."""
        prompt = asking(cell, text)
        where = self.position.asked(prompt)
        self.position.rewind(where)
        self.position.say_goes_on()
        turn = Recorded(
            node=Node(
                id=identity.node_digest(where.key.turn, []),
                parent=where.before.id if where.before else None,
                number=where.number,
                prompt=prompt.text,
                status="ok",
                cell_id=cell,
                key=where.key.turn,
                settings=identity.settings_name(where.settings),
                ended=float(len(self.record.branches.nodes)),
            ),
            prompt=prompt,
            settings=where.settings,
            frames=b"",
            cli=cli,
        )
        self.record.add(turn)
        self.position.new = False
        self.position.settle(turn.node.id)
        return turn.node

    def rewind(self, cell: str | None) -> None:
        """Rewind as a conversation does before it asks a cell's prompt."""
        self.position.rewind(self.position.asked(asking(cell)))

    def replay(self, cell: str, node: Node) -> None:
        """Replay a turn in a cell, as a conversation does."""
        where = self.position.asked(asking(cell, node.prompt))
        self.position.rewind(where, node.id)
        self.position.follow(where, replace(node, cell_id=cell))

    def recorded(self) -> dict[str, str | None]:
        """The branches as a kernel would find them if this one were killed now."""
        store = self.record.store
        return dict(notebook_at(store, self.path).branches.branches)

    def ask_all(self, cells: str) -> list[Node]:
        return [self.ask(cell) for cell in cells]

    def path_now(self) -> list[str]:
        """The prompts that led to where it stands."""
        return [node.prompt for node in self.position.branches.path]


def asking(cell: str | None, text: str = "") -> Prompt:
    return Prompt(text=text or f"prompt {cell}", cell_id=cell)


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    made = Book(tmp_path)
    yield made
    for record in made.records:
        record.close()


class TestWhereACellIsAsked:
    def test_the_first_one_begins_the_conversation(self, book: Book) -> None:
        prompt = asking("a")
        before, settings, key = asked = book.position.asked(prompt)
        assert (before, settings, asked.number) == (None, book.position.settings, 1)
        assert key == identity.key_of(parent=None, prompt=prompt, settings=settings)

    def test_a_new_one_follows_the_head(self, book: Book) -> None:
        _, second = book.ask_all("ab")
        prompt = asking("c")
        asked = book.position.asked(prompt)
        assert (asked.before, asked.number) == (second, 3)
        under = asked.settings
        assert asked.key == identity.key_of(parent=second.id, prompt=prompt, settings=under)

    def test_one_that_has_a_turn_is_asked_in_its_place_under_the_same_key(self, book: Book) -> None:
        first, second, _ = book.ask_all("abc")
        asked = book.position.asked(asking("b"))
        assert (asked.before, asked.number, asked.key.turn) == (first, 2, second.key)

    def test_the_first_one_again_has_nothing_before_it(self, book: Book) -> None:
        book.ask_all("ab")
        asked = book.position.asked(asking("a"))
        assert (asked.before, asked.number) == (None, 1)

    def test_one_whose_turn_lies_on_another_branch_follows_the_head(self, book: Book) -> None:
        first, _ = book.ask_all("ab")
        book.position.go(lambda: book.position.branches.stand(first.id))
        assert book.position.asked(asking("b")).before == first

    def test_where_turns_are_appended_it_follows_the_head(self, book: Book) -> None:
        book.position.rerun = "append"
        _, second = book.ask_all("ab")
        asked = book.position.asked(asking("a"))
        assert (asked.before, asked.number) == (second, 3)

    def test_without_a_cell_it_follows_the_head(self, book: Book) -> None:
        book.ask(None, "one")
        last = book.ask(None, "two")
        assert book.position.asked(asking(None, "one")).before == last

    def test_to_look_where_it_is_asked_moves_nothing(self, book: Book) -> None:
        book.ask_all("abc")
        book.position.asked(asking("a"))
        assert book.path_now() == ["prompt a", "prompt b", "prompt c"]
        assert book.position.branches.branches.keys() == {MAIN}
        assert book.position.take_notices() == []

    def test_again_it_is_asked_under_what_held_before_its_turn(self, book: Book) -> None:
        book.position.settings = Settings(model="haiku")
        book.ask("a")
        book.position.settings = Settings(model="opus")
        book.ask_all("bc")
        assert book.position.asked(asking("b")).settings.model == "haiku"
        assert book.position.asked(asking("d")).settings.model == "opus"

    def test_a_process_is_wanted_after_the_turns_of_the_path(self, book: Book) -> None:
        nodes = tuple(book.ask_all("ab"))
        assert book.position.place == Place(book.position.settings, nodes)


class TestANewOne:
    def test_a_conversation_begins_with_a_process_that_was_never_used(self, book: Book) -> None:
        assert book.position.place == Place(Settings(), new=True)

    def test_one_that_was_rewound_to_its_beginning_may_have_one_that_was(self, book: Book) -> None:
        book.ask("a")
        position = book.restart()
        position.recognise("a")
        book.rewind("a")
        assert position.place == Place(Settings())


class TestRewinding:
    def test_what_it_leaves_is_a_branch_with_a_name_and_that_is_said_once(self, book: Book) -> None:
        _, second, _ = book.ask_all("abc")
        book.rewind("b")
        assert book.position.take_notices() == [
            "Rewound before turn 2; turns 2–3 are branch branch-1"
        ]
        assert book.position.take_notices() == []
        tree = book.position.branches
        left = [node.prompt for node in tree.path_to(tree.branches["branch-1"])]
        assert (book.path_now(), left) == (["prompt a"], ["prompt a", "prompt b", "prompt c"])
        assert book.position.rewound == second

    def test_of_one_turn_it_speaks_as_of_one(self, book: Book) -> None:
        book.ask_all("ab")
        book.rewind("b")
        assert book.position.take_notices() == ["Rewound before turn 2; turn 2 is branch branch-1"]

    def test_what_another_branch_holds_gets_no_second_name(self, book: Book) -> None:
        book.ask_all("ab")
        book.position.go(lambda: book.position.branches.fork("side"))
        book.rewind("b")
        assert book.position.take_notices() == ["Rewound before turn 2; turn 2 is branch main"]
        assert book.position.branches.branches.keys() == {MAIN, "side"}

    @pytest.mark.parametrize(("cell", "rerun"), [("z", "fork"), (None, "fork"), ("a", "append")])
    def test_a_cell_that_is_asked_at_the_end_leaves_nothing(
        self, book: Book, cell: str | None, rerun: str
    ) -> None:
        book.ask_all("ab")
        book.position.rerun = rerun
        book.rewind(cell)
        assert book.path_now() == ["prompt a", "prompt b"]
        assert book.position.branches.branches.keys() == {MAIN}
        assert (book.position.take_notices(), book.position.rewound) == ([], None)

    def test_it_goes_on_under_what_held_there(self, book: Book) -> None:
        book.position.settings = Settings(model="haiku")
        book.ask("a")
        book.position.settings = Settings(model="opus")
        book.ask("b")
        book.rewind("b")
        assert book.position.settings == Settings(model="haiku")

    def test_a_later_kernel_finds_both_ends(self, book: Book) -> None:
        first, second = book.ask_all("ab")
        book.rewind("b")
        branches = book.restart().branches
        assert branches.branches == {MAIN: first.id, "branch-1": second.id}
        assert branches.head == first


class TestReplayingAlongTheBranch:
    """Six turns, a restart, and cells that are run again and replay."""

    @pytest.fixture
    def six(self, book: Book) -> list[Node]:
        nodes = book.ask_all("abcdef")
        book.restart().recognise("a")
        return nodes

    def test_nothing_is_said_and_no_branch_is_made(self, book: Book, six: list[Node]) -> None:
        for cell, node in zip("abcdef", six, strict=True):
            book.replay(cell, node)
            assert book.position.take_notices() == []
            assert book.recorded() == {MAIN: six[-1].id}
        assert [node.id for node in book.position.branches.path] == [node.id for node in six]
        assert book.position.branches.ahead == []

    def test_a_replayed_rerun_on_the_way_says_nothing_either(
        self, book: Book, six: list[Node]
    ) -> None:
        for at in (0, 1, 2, 1, 0, 1, 2, 3, 4, 5):
            book.replay("abcdef"[at], six[at])
        assert book.position.take_notices() == []
        assert book.recorded() == {MAIN: six[-1].id}

    def test_the_first_new_turn_leaves_the_rest_and_says_so(
        self, book: Book, six: list[Node]
    ) -> None:
        book.replay("a", six[0])
        book.rewind("g")
        assert book.position.take_notices() == [
            "Rewound before turn 2; turns 2–6 are branch branch-1"
        ]
        assert book.recorded() == {MAIN: six[0].id, "branch-1": six[-1].id}
        new = book.ask("g")
        assert book.recorded() == {MAIN: new.id, "branch-1": six[-1].id}
        assert book.position.rewound is not None
        assert book.position.rewound.id == six[1].id

    def test_so_does_a_replay_of_another_turn(self, book: Book, six: list[Node]) -> None:
        other = book.ask("c", "another c")
        book.position.go(lambda: book.position.branches.checkout("branch-1"))
        book.position.take_notices()
        book.replay("a", six[0])
        book.replay("b", six[1])
        assert book.position.take_notices() == []
        book.replay("c", other)
        assert book.position.take_notices() == [
            "Rewound before turn 3; turns 3–6 are branch branch-2"
        ]
        ends = {MAIN: other.id, "branch-1": other.id, "branch-2": six[-1].id}
        assert book.recorded() == ends

    def test_a_new_turn_is_asked_under_what_holds_there(self, book: Book, six: list[Node]) -> None:
        book.replay("a", six[0])
        book.position.settings = Settings(model="haiku", permission_mode="plan")
        book.rewind("g")
        assert book.position.settings == Settings(model="haiku", permission_mode="plan")

    @pytest.mark.parametrize("end", ["close", "kill"])
    def test_a_kernel_that_ends_meanwhile_leaves_the_next_one_at_the_end(
        self, book: Book, six: list[Node], end: str
    ) -> None:
        book.replay("b", six[1])
        position = book.restart() if end == "close" else book.open()
        assert [node.id for node in position.branches.path] == [node.id for node in six]

    def test_a_new_conversation_keeps_all_of_it(self, book: Book, six: list[Node]) -> None:
        book.replay("a", six[0])
        assert book.position.renew() == "branch-1"
        assert book.recorded() == {MAIN: None, "branch-1": six[-1].id}


class TestTheSameAnswerAgain:
    def test_nothing_was_left_and_the_rest_is_ahead(self, book: Book) -> None:
        first, second, third = book.ask_all("abc")
        again = book.ask("b")
        line = "Rewound before turn 2; turns 2–3 are branch branch-1"
        assert again.id == second.id
        assert book.position.take_withdrawn() == [line]
        assert book.position.take_withdrawn() == []
        assert book.recorded() == {MAIN: third.id}
        assert book.position.branches.branches == {MAIN: third.id}
        assert book.path_now() == ["prompt a", "prompt b"]
        assert [node.id for node in book.position.branches.ahead] == [third.id]
        assert first.id == book.position.branches.path[0].id

    def test_a_kernel_that_is_killed_before_it_is_known_has_the_branch_that_was_announced(
        self, book: Book
    ) -> None:
        first, _, third = book.ask_all("abc")
        book.rewind("b")
        assert book.recorded() == {MAIN: first.id, "branch-1": third.id}

    def test_a_branch_that_was_there_stays(self, book: Book) -> None:
        _, second = book.ask_all("ab")
        book.position.go(lambda: book.position.branches.fork("side"))
        book.ask("b")
        assert book.position.take_withdrawn() == ["Rewound before turn 2; turn 2 is branch main"]
        assert book.recorded() == {MAIN: second.id, "side": second.id}

    def test_a_turn_that_does_not_finish_withdraws_nothing(self, book: Book) -> None:
        first, second = book.ask_all("ab")
        book.rewind("b")
        book.position.settle(None)
        book.replay("b", second)
        book.position.settle(second.id)
        assert book.position.take_withdrawn() == []
        assert book.recorded() == {MAIN: second.id, "branch-1": second.id}
        assert book.path_now() == ["prompt a", "prompt b"]
        assert first.id == second.parent


class TestGoing:
    def test_a_move_is_made_and_recorded_and_its_value_given_back(self, book: Book) -> None:
        first, _ = book.ask_all("ab")
        branches = book.position.branches
        assert book.position.go(lambda: branches.mark("good")).prompt == "prompt b"
        book.position.go(lambda: branches.stand(first.id))
        assert book.path_now() == ["prompt a"]
        again = book.restart().branches
        assert (again.head, set(again.checkpoints)) == (first, {"good"})

    def test_it_goes_on_under_what_holds_there(self, book: Book) -> None:
        book.position.settings = Settings(model="haiku")
        first = book.ask("a")
        book.position.settings = Settings(model="opus")
        book.ask("b")
        book.position.go(lambda: book.position.branches.stand(first.id))
        assert book.position.settings == Settings(model="haiku")

    def test_at_the_beginning_it_is_no_new_conversation(self, book: Book) -> None:
        book.ask("a")
        position = book.restart()
        position.go(lambda: position.branches.stand(None))
        assert position.place == Place(Settings())

    def test_a_move_that_fails_changes_nothing(self, book: Book) -> None:
        book.position.settings = Settings(model="haiku")
        with pytest.raises(UsageError):
            book.position.go(lambda: book.position.branches.checkout("nowhere"))
        assert (book.position.new, book.position.settings) == (True, Settings(model="haiku"))


class TestRenewing:
    def test_the_conversation_so_far_stays_as_a_branch(self, book: Book) -> None:
        _, second = book.ask_all("ab")
        assert book.position.renew() == "branch-1"
        assert book.path_now() == []
        again = book.restart().branches
        assert again.branches == {MAIN: None, "branch-1": second.id}

    def test_it_wants_a_process_that_was_never_used_under_the_same_settings(
        self, book: Book
    ) -> None:
        book.position.settings = Settings(model="haiku", permission_mode="plan")
        book.ask("a")
        book.position.renew()
        assert book.position.place == Place(book.position.settings, new=True)
        assert book.position.settings == Settings(model="haiku", permission_mode="plan")

    def test_before_the_first_turn_there_is_nothing_to_keep(self, book: Book) -> None:
        assert book.position.renew() == ""
        assert book.position.branches.branches == {MAIN: None}

    def test_a_cell_of_the_old_conversation_begins_the_new_one(self, book: Book) -> None:
        book.ask_all("ab")
        book.position.renew()
        assert book.position.asked(asking("b")).number == 1


class TestSettingsAfterATurn:
    def after(self, position: Position, **asked: Any) -> Settings:
        """What holds in a later kernel after a turn that was asked under these settings."""
        node = Node(id="n", parent=None, number=1, prompt="", status="ok", settings="s")
        settings = Settings(**asked)
        position.record.settings_of = lambda node: settings  # type: ignore[method-assign]
        return position.settings_after(node)

    def test_each_setting_is_told_of_here(self) -> None:
        assert VALUES.keys() == {spec.name for spec in fields(Settings)}

    @pytest.mark.parametrize("name", [name for name, (_, holds) in VALUES.items() if holds])
    def test_what_shapes_the_answers_holds(self, book: Book, name: str) -> None:
        value = VALUES[name][0]
        assert self.after(book.position, **{name: value}) == Settings(**{name: value})

    @pytest.mark.parametrize("name", [name for name, (_, holds) in VALUES.items() if not holds])
    def test_what_is_allowed_and_how_it_runs_does_not(self, book: Book, name: str) -> None:
        assert self.after(book.position, **{name: VALUES[name][0]}) == Settings()

    def test_what_the_kernel_was_started_with_comes_first(self, book: Book) -> None:
        position = book.restart(Settings(model="opus", permission_mode="plan"))
        found = self.after(position, model="haiku", effort="low", permission_mode="default")
        assert found == Settings(model="opus", effort="low", permission_mode="plan")

    def test_what_is_locked_stays_as_the_kernel_was_started(self, book: Book) -> None:
        book.position.locked = frozenset({"tools", "cwd"})
        found = self.after(book.position, model="haiku", tools=("Bash",), cwd="/elsewhere")
        assert found == Settings(model="haiku")

    def test_once_a_cell_has_set_something_that_stays_wherever_it_goes(self, book: Book) -> None:
        book.position.touched = True
        book.position.settings = Settings(effort="high")
        assert self.after(book.position, model="haiku") == Settings(effort="high")
        assert book.position.settings_after(None) == Settings(effort="high")

    def test_before_the_first_turn_they_are_those_of_the_kernel(self, book: Book) -> None:
        position = book.restart(Settings(model="opus"))
        position.settings = Settings(model="haiku")
        assert position.settings_after(None) == Settings(model="opus")

    def test_those_that_are_not_recorded_are_those_of_the_kernel(self, book: Book) -> None:
        node = replace(book.ask("a"), settings="not recorded")
        assert book.position.settings_after(node) == Settings()


class TestGoingOnAfterAnEarlierKernel:
    def test_that_it_does_is_said_once_at_the_first_live_turn(self, book: Book) -> None:
        book.ask_all("ab")
        position = book.restart()
        position.recognise("c")
        assert position.take_notices() == []
        position.say_goes_on()
        position.say_goes_on()
        assert position.take_notices() == ["Goes on after turn 2, from the record"]
        assert book.path_now() == ["prompt a", "prompt b"]

    def test_it_goes_on_under_the_settings_of_the_last_turn(self, book: Book) -> None:
        book.position.settings = Settings(model="haiku", permission_mode="plan")
        book.ask("a")
        position = book.restart()
        position.recognise("b")
        assert position.settings == Settings(model="haiku")

    def test_settings_that_a_cell_has_set_before_it_hold(self, book: Book) -> None:
        book.position.settings = Settings(model="haiku")
        book.ask("a")
        position = book.restart()
        position.touched, position.settings = True, Settings(model="opus")
        position.recognise("b")
        assert position.settings == Settings(model="opus")

    def test_a_first_one_says_nothing(self, book: Book) -> None:
        book.position.recognise("a")
        book.position.say_goes_on()
        assert book.position.take_notices() == []

    def test_one_that_rewinds_first_says_only_that(self, book: Book) -> None:
        book.ask_all("ab")
        position = book.restart()
        position.recognise("b")
        book.rewind("b")
        position.say_goes_on()
        [said] = position.take_notices()
        assert said.startswith("Rewound before turn 2")

    def test_one_that_has_moved_before_the_first_cell_goes_on_from_there_and_keeps_its_settings(
        self, book: Book
    ) -> None:
        first, _ = book.ask_all("ab")
        position = book.restart()
        position.go(lambda: position.branches.stand(first.id))
        position.settings = Settings(permission_mode="plan")  # as Claude's own change does
        position.recognise("c")
        position.say_goes_on()
        assert position.take_notices() == ["Goes on after turn 1, from the record"]
        assert position.settings == Settings(permission_mode="plan")

    def test_one_whose_first_cells_move_about_goes_on_from_where_they_end(self, book: Book) -> None:
        first, _ = book.ask_all("ab")
        position = book.restart()
        position.recognise("c")
        position.go(lambda: position.branches.stand(None))
        position.go(lambda: position.branches.stand(first.id))
        position.say_goes_on()
        assert position.take_notices() == ["Goes on after turn 1, from the record"]

    @pytest.mark.parametrize("move", ["start", "renew", "replay"])
    def test_one_that_begins_anew_or_has_replayed_the_turn_goes_on_after_none(
        self, book: Book, move: str
    ) -> None:
        _, second = book.ask_all("ab")
        position = book.restart()
        if move == "start":
            position.go(lambda: position.branches.stand(None))
        elif move == "renew":
            position.renew()
        position.recognise("c")
        if move == "replay":
            book.replay("b", second)
        position.say_goes_on()
        assert position.take_notices() == []

    def test_what_the_record_has_to_say_comes_first(self, book: Book) -> None:
        book.ask("a")
        other = Record(book.path, store=book.store)
        other.kernel = "another kernel"
        book.records.append(other)
        position = Position(other, Settings())
        position.notice("Something was moved")
        position.recognise("b")
        record, moved = position.take_notices()
        assert "this one goes on as branch main-1" in record
        assert moved == "Something was moved"


class TestVersions:
    def going_on(self, book: Book, cli: str) -> Position:
        """A conversation that goes on after a turn of this version."""
        book.ask("a", cli=cli)
        position = book.restart()
        position.recognise("b")
        position.say_goes_on()
        position.take_notices()
        return position

    def test_that_another_one_goes_on_is_said_once(self, book: Book) -> None:
        position = self.going_on(book, "2.1.0")
        for _ in range(2):
            position.compare_version("2.2.0")
        assert position.take_notices() == [
            "The turns so far are of claude 2.1.0; it goes on with 2.2.0"
        ]

    def test_they_are_compared_with_the_first_process_only(self, book: Book) -> None:
        position = self.going_on(book, "2.1.0")
        position.compare_version("2.1.0")
        position.compare_version("2.2.0")
        assert position.take_notices() == []

    @pytest.mark.parametrize(("then", "now"), [("2.1.0", "2.1.0"), ("", "2.1.0"), ("2.1.0", "")])
    def test_the_same_one_and_one_that_is_not_known_say_nothing(
        self, book: Book, then: str, now: str
    ) -> None:
        position = self.going_on(book, then)
        position.compare_version(now)
        assert position.take_notices() == []

    def test_within_one_kernels_life_nothing_is_compared(self, book: Book) -> None:
        book.ask("a", cli="2.1.0")
        book.position.say_goes_on()
        book.position.compare_version("2.2.0")
        assert book.position.take_notices() == []
