"""The question about a folder: all that would run is in it, as data, or nothing is asked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.claude.folders import Act, Look
from hotclaude_kernel.claude.trust import Ground
from hotclaude_kernel.page.base import Page
from hotclaude_kernel.questions import trust

from ..hostile import corpus, violations
from ..support.askers import Bystander

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hotclaude_kernel.page.parts import Data

HOSTILE = corpus()
# The attributes of the question's own HTML.
OURS = (
    "class='hotclaude tex2jax_ignore mathjax_ignore'",
    f"style='{trust.BOX}'",
    f"style='{trust.CODE}'",
)


class Sheet(Page):
    """A page that keeps what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[Data] = []
        self.notes: list[str] = []

    def panel(self, data: Data) -> Callable[[Data], None]:
        self.shown.append(data)
        return self.shown.append

    def note(self, text: str) -> None:
        self.notes.append(text)


class Yes(Bystander):
    trusts = True


def look(folder: str, *acts: Act, texts: tuple[str, ...] = ()) -> Look:
    return Look(
        ground=Ground(folder),
        trusted=False,
        by="",
        acts=acts,
        texts=texts,
        files={},
        digest="1",
        commands=frozenset(),
        home=False,
        changed=False,
        servers="",
    )


async def test_all_is_in_view_and_the_answer_replaces_it(tmp_path: Path) -> None:
    acts = [Act("hook Stop", f"touch {number}; {'x' * 80}", "/f") for number in range(100)]
    page, asker = Sheet(), Yes()
    assert await trust.ask(look(str(tmp_path), *acts), "", asker, page)
    card = page.shown[0]
    for act in acts:
        assert act.does in card["text/html"]
        assert act.does in card["text/plain"]
    assert "100 things" in card["text/plain"]
    assert page.shown[-1]["text/plain"] == "Trusted: this folder"
    assert asker.about == [card["text/plain"]]


async def test_what_cannot_be_shown_is_not_asked(tmp_path: Path) -> None:
    page, asker = Sheet(), Yes()
    long = Act("hook Stop", "x" * trust.MOST_CHARACTERS, "/f")
    assert not await trust.ask(look(str(tmp_path), long), "", asker, page)
    assert (page.shown, asker.about) == ([], [])
    assert "too much to be shown" in page.notes[0]


async def test_what_stays_on_the_page_names_no_path_of_this_machine(tmp_path: Path) -> None:
    page = Sheet()
    seen = look(str(tmp_path), Act("hook Stop", "touch x", f"{tmp_path}/.claude/settings.json"))
    assert not await trust.ask(seen, "", Bystander(), page)
    assert str(tmp_path) in page.shown[0]["text/plain"]
    assert str(tmp_path) not in str(page.shown[-1])
    assert "1 hook" in page.shown[-1]["text/plain"]


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_data(name: str, tmp_path: Path) -> None:
    """A name, a command, a path or a text of the folder is shown and is nothing else."""
    text = HOSTILE[name]
    seen = look(str(tmp_path), Act(f"hook {text}", text, text), texts=(text,))
    page, asker = Sheet(), Yes()
    asyncio.run(trust.ask(seen, text, asker, page))
    for card in page.shown:
        found = [v for v in violations(card["text/html"], card=True) if not v.endswith(OURS)]
        assert found == []
        assert "\x1b" not in str(card)
        assert "\u202e" not in str(card)
    assert "\x1b" not in trust.told(seen)
    assert "\n" not in trust.told(seen)
