"""The public door: what `import hotclaude_kernel` gives, and what it loads."""

from __future__ import annotations

import subprocess
import sys

import pytest

import hotclaude_kernel

#: What each name is, by the module that defines it.
NAMES = {
    "Conversation": "hotclaude_kernel.conversation.conversation",
    "HotClaudeError": "hotclaude_kernel.errors",
    "Prompt": "hotclaude_kernel.turns.prompt",
    "Settings": "hotclaude_kernel.turns.settings",
    "Turn": "hotclaude_kernel.turns.turn",
}


def printed(program: str) -> str:
    command = [sys.executable, "-P", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


class TestDoor:
    def test_it_names_what_there_is(self) -> None:
        assert set(hotclaude_kernel.__all__) == {*NAMES, "__version__"}
        assert dir(hotclaude_kernel) == sorted(hotclaude_kernel.__all__)

    @pytest.mark.parametrize(("name", "module"), NAMES.items())
    def test_each_name_is_the_one_of_its_room(self, name: str, module: str) -> None:
        found = getattr(hotclaude_kernel, name)
        assert (found.__name__, found.__module__) == (name, module)

    def test_it_loads_nothing_until_a_name_is_used(self) -> None:
        before = "import sys; known = set(sys.modules)\nimport hotclaude_kernel\n"
        loaded = "print(sorted(n for n in set(sys.modules) - known if n != '__future__'))"
        assert printed(before + loaded).strip() == "['hotclaude_kernel']"

    def test_what_is_not_public_is_not_there(self) -> None:
        with pytest.raises(AttributeError, match="has no attribute 'Store'"):
            _ = hotclaude_kernel.Store

    def test_a_star_import_brings_the_public_names(self) -> None:
        program = "from hotclaude_kernel import *; print(Turn.__name__, Prompt(text='x').text)"
        assert printed(program).strip() == "Turn x"
