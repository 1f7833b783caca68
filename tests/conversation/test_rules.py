"""Where the rules of a session hold, without a process."""

from __future__ import annotations

import pytest

from hotclaude_kernel.conversation.rules import Rules
from hotclaude_kernel.questions.rules import Rule
from hotclaude_kernel.turns.tree import Branches, Node

NPM, GIT = Rule("commands", "npm run"), Rule("commands", "git commit")
LOST = "The rule of this session for `npm run *` does not hold here"
AGAIN = "The rule of this session for `npm run *` holds here again"


class Notebook:
    """A position in a tree of the turns a, b and, beside b, c."""

    def __init__(self) -> None:
        nodes = [
            Node(id=name, parent=parent, number=1, prompt="", status="ok")
            for name, parent in (("a", None), ("b", "a"), ("c", "a"))
        ]
        self.branches = Branches(nodes, branches={"main": "b", "side": "c"})
        self.cwd: str | None = None
        self.rules = Rules(lambda: self.branches.path, lambda: self.cwd)

    def allow(self, rule: Rule, node: str | None) -> None:
        """Allow a rule in a turn that becomes this node."""
        self.rules.allow(rule)
        self.rules.settle(node)

    def stand(self, node: str | None) -> list[str]:
        self.branches.stand(node)
        return self.rules.take_notices()


@pytest.fixture
def notebook() -> Notebook:
    made = Notebook()
    made.stand("b")
    return made


class TestRules:
    def test_one_holds_in_its_turn_and_after_it(self, notebook: Notebook) -> None:
        notebook.rules.allow(NPM)
        assert notebook.rules.holding == [NPM]
        notebook.rules.settle("b")
        assert notebook.rules.holding == [NPM]
        assert notebook.rules.take_notices() == []

    def test_before_its_turn_and_beside_it_it_does_not(self, notebook: Notebook) -> None:
        notebook.allow(NPM, "b")
        assert notebook.stand("a") == [LOST]
        assert notebook.rules.holding == []
        assert notebook.stand("c") == []
        assert notebook.stand(None) == []
        assert notebook.stand("b") == [AGAIN]
        assert notebook.rules.holding == [NPM]

    def test_each_goes_by_its_own_turn(self, notebook: Notebook) -> None:
        notebook.allow(GIT, "a")
        notebook.allow(NPM, "b")
        assert notebook.rules.holding == [GIT, NPM]
        assert notebook.stand("c") == [LOST]
        assert notebook.rules.holding == [GIT]

    def test_a_turn_that_left_no_node_takes_its_rules_with_it(self, notebook: Notebook) -> None:
        notebook.allow(GIT, "a")
        notebook.allow(NPM, None)
        assert notebook.rules.holding == [GIT]
        assert notebook.rules.take_notices() == [LOST]

    def test_a_turn_that_came_out_again_has_only_its_new_ones(self, notebook: Notebook) -> None:
        notebook.allow(NPM, "b")
        notebook.stand("a")
        notebook.allow(GIT, "b")
        notebook.stand("b")
        assert notebook.rules.holding == [GIT]

    def test_a_replayed_turn_has_none(self, notebook: Notebook) -> None:
        notebook.allow(NPM, "b")
        notebook.stand("a")
        notebook.rules.forget("b")
        assert notebook.stand("b") == []
        assert notebook.rules.holding == []

    def test_another_folder_has_others(self, notebook: Notebook) -> None:
        notebook.allow(NPM, "b")
        notebook.cwd = "/elsewhere"
        assert notebook.rules.take_notices() == [LOST]
        assert notebook.rules.holding == []
        notebook.cwd = None
        assert notebook.rules.take_notices() == [AGAIN]

    def test_one_that_is_revoked_is_gone_everywhere_and_nothing_more_is_said(
        self, notebook: Notebook
    ) -> None:
        notebook.allow(NPM, "b")
        notebook.allow(GIT, "b")
        notebook.stand("c")
        notebook.allow(NPM, "c")
        notebook.rules.revoke(NPM)
        assert notebook.rules.take_notices() == []
        notebook.stand("b")
        assert notebook.rules.holding == [GIT]

    def test_all_are_revoked_wherever_they_hold(self, notebook: Notebook) -> None:
        notebook.allow(NPM, "b")
        notebook.stand("c")
        notebook.allow(GIT, "c")
        notebook.rules.revoke()
        assert notebook.rules.holding == []
        assert notebook.stand("b") == []
        assert notebook.rules.holding == []
