"""Settings, turns and where transcripts are."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

from hotclaude_kernel.claude.events import Block, MessageStarted
from hotclaude_kernel.errors import Interrupted
from hotclaude_kernel.record.transcripts import transcript_path
from hotclaude_kernel.turns.identity import key_of
from hotclaude_kernel.turns.prompt import Attachment, Prompt
from hotclaude_kernel.turns.settings import (
    EFFORTS,
    LIVE_SETTINGS,
    PERMISSION_MODES,
    RESTRICTED,
    RESTRICTED_LOCKS,
    Settings,
)
from hotclaude_kernel.turns.turn import Clock, Turn, recorded

if TYPE_CHECKING:
    from pathlib import Path

ALWAYS = ["--permission-mode", "default", "--thinking-display", "summarized"]

#: One value for each field, and the flags it must become.
EXAMPLES: dict[str, tuple[Any, list[str]]] = {
    "model": ("opus", ["--model", "opus"]),
    "effort": ("high", ["--effort", "high"]),
    "permission_mode": ("plan", ["--permission-mode", "plan"]),
    "system": ("You are terse.", ["--system-prompt", "You are terse."]),
    "append_system": ("Be brief.", ["--append-system-prompt", "Be brief."]),
    "tools": (("Read", "Grep"), ["--tools", "Read,Grep"]),
    "allowed_tools": (("Bash(git *)", "Read"), ["--allowedTools", "Bash(git *),Read"]),
    "thinking_display": ("updates", ["--thinking-display", "updates"]),
    "fallback_model": ("sonnet", ["--fallback-model", "sonnet"]),
    "max_turns": (3, ["--max-turns", "3"]),
    "setting_sources": (("user", "local"), ["--setting-sources", "user,local"]),
    "mcp_config": ('{"mcpServers":{}}', ["--mcp-config", '{"mcpServers":{}}']),
    "extra_args": (("--add-dir", "/tmp"), ["--add-dir", "/tmp"]),
    "cwd": ("/tmp", []),
}


def flags(settings: Settings) -> list[list[str]]:
    """The argv, cut before each flag, in any order."""
    cut: list[list[str]] = []
    for word in settings.argv():
        if word.startswith("--"):
            cut.append([])
        cut[-1].append(word)
    return sorted(cut)


class TestSettings:
    @pytest.mark.parametrize("spec", fields(Settings), ids=lambda spec: spec.name)
    def test_every_field_is_classified(self, spec: Any) -> None:
        assert set(spec.metadata) == {"flag", "key", "live", "encode"}
        assert isinstance(spec.metadata["key"], bool)
        assert isinstance(spec.metadata["live"], bool)
        flag = spec.metadata["flag"]
        # A field that is no flag must say what it is instead.
        assert flag.startswith("--") if flag is not None else spec.metadata["encode"]

    def test_no_two_fields_share_a_flag(self) -> None:
        known = [spec.metadata["flag"] for spec in fields(Settings) if spec.metadata["flag"]]
        assert len(known) == len(set(known))

    def test_every_field_has_an_example_here(self) -> None:
        assert set(EXAMPLES) == {spec.name for spec in fields(Settings)}

    @pytest.mark.parametrize("name", EXAMPLES)
    def test_a_field_becomes_its_flag_and_nothing_else(self, name: str) -> None:
        value, words = EXAMPLES[name]
        ours = flags(Settings().changed(**{name: value}))
        others = [flag for flag in flags(Settings()) if flag[:1] != words[:1]]
        assert ours == sorted([*others, words] if words else others)

    def test_unset_settings_are_no_flags_but_the_mode_is_always_named(self) -> None:
        assert Settings().argv() == ALWAYS

    def test_two_equal_settings_make_the_same_argv(self) -> None:
        changes = {name: value for name, (value, _) in EXAMPLES.items()}
        assert Settings(**changes).argv() == Settings(**changes).argv()
        assert Settings(**changes) == Settings().changed(**changes)

    def test_no_tools_at_all_is_a_flag_and_unset_tools_are_not(self) -> None:
        assert ["--tools", ""] in flags(Settings(tools=()))
        assert "--tools" not in Settings(tools=None).argv()

    def test_no_setting_sources_at_all_is_a_flag_and_unset_ones_are_not(self) -> None:
        assert ["--setting-sources", ""] in flags(Settings(setting_sources=()))
        assert "--setting-sources" not in Settings().argv()

    def test_empty_lists_of_allowed_tools_and_further_arguments_are_no_flags(self) -> None:
        assert Settings(allowed_tools=(), extra_args=()).argv() == ALWAYS

    def test_an_empty_system_prompt_is_a_flag(self) -> None:
        assert ["--system-prompt", ""] in flags(Settings(system=""))

    def test_the_folder_is_no_flag(self) -> None:
        assert Settings(cwd="/tmp").argv() == Settings().argv()

    def test_changed_leaves_the_value_it_came_from(self) -> None:
        before = Settings(model="opus")
        after = before.changed(model="sonnet", effort="low")
        assert (before.model, before.effort) == ("opus", None)
        assert (after.model, after.effort) == ("sonnet", "low")

    def test_a_name_that_is_no_setting_is_refused(self) -> None:
        with pytest.raises(TypeError):
            Settings().changed(temperature=0)

    @pytest.mark.parametrize("name", EXAMPLES)
    def test_differing_names_the_field_that_differs(self, name: str) -> None:
        changed = Settings().changed(**{name: EXAMPLES[name][0]})
        assert changed.differing(Settings()) == {name}
        assert Settings().differing(changed) == {name}
        assert changed.differing(changed) == set()

    def test_model_effort_and_permission_mode_change_live(self) -> None:
        assert {"model", "effort", "permission_mode"} == LIVE_SETTINGS

    def test_what_only_changes_the_showing_is_not_part_of_a_turns_identity(self) -> None:
        unkeyed = {spec.name for spec in fields(Settings) if not spec.metadata["key"]}
        assert unkeyed == {"thinking_display", "cwd"}

    def test_the_default_mode_is_one_of_the_modes(self) -> None:
        assert Settings().permission_mode in PERMISSION_MODES

    def test_efforts_go_from_low_to_max(self) -> None:
        assert (EFFORTS[0], EFFORTS[-1]) == ("low", "max")


def block(text: str, **fields: Any) -> Block:
    kind = fields.pop("kind", "text")
    content = {"type": kind, kind: text}
    return Block(uuid="u", message_id="m", kind=kind, content=content, **fields)


def turn(*events: Any) -> Turn:
    return Turn(
        prompt=Prompt(text="Hello"),
        uuid="u",
        clock=Clock(hot=True, sent=100.0),
        number=1,
        events=list(events),
    )


class TestTurn:
    def test_its_text_is_its_text_blocks_as_paragraphs(self) -> None:
        assert turn(block("One."), MessageStarted(message_id="m"), block("Two.")).text == (
            "One.\n\nTwo."
        )

    @pytest.mark.parametrize(
        "other",
        [
            block("hm", kind="thinking"),
            block("a subagent's", parent="toolu_1"),
            block("API Error: 500", error="server_error"),
            Block(uuid="u", message_id="m", kind="tool_use", content={"type": "tool_use"}),
        ],
        ids=["thinking", "subagent", "error", "tool"],
    )
    def test_nothing_else_is_in_its_text(self, other: Block) -> None:
        assert turn(block("One."), other).text == "One."

    def test_what_an_interrupt_left_is_in_its_text(self) -> None:
        assert turn(block("Half a", aborted=True)).text == "Half a"

    def test_a_turn_without_words_has_an_empty_text(self) -> None:
        assert turn().text == ""

    def test_it_runs_until_it_is_ended(self) -> None:
        running = turn()
        assert running.clock is not None
        assert (running.status, running.clock.ended) == ("running", None)
        error = Interrupted("Interrupted")
        running.end("interrupted", error)
        assert (running.status, running.error) == ("interrupted", error)
        assert running.clock.ended is not None


class TestClock:
    def test_times_count_from_the_sending(self) -> None:
        clock = Clock(hot=True, sent=100.0, first_text=100.25, ended=103.0)
        assert clock.first_text_s == 0.25
        assert clock.total_s == 3.0

    def test_without_a_word_there_is_no_time_to_it(self) -> None:
        assert Clock(hot=False, sent=100.0).first_text_s is None

    def test_a_running_turn_takes_until_now(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = Clock(hot=True, sent=100.0)
        monkeypatch.setattr("hotclaude_kernel.turns.turn.time.monotonic", lambda: 107.5)
        assert clock.total_s == 7.5


class TestPrompt:
    def test_text_alone_is_sent_as_text(self) -> None:
        assert Prompt(text="Hello").content == "Hello"

    def test_images_follow_the_text_as_blocks(self) -> None:
        image = Attachment(name="a.png", media_type="image/png", data=b"\x89PNG\xff\xfe")
        source = {"type": "base64", "media_type": "image/png", "data": "iVBOR//+"}
        block = {"type": "image", "source": source}
        content = Prompt(text="Look", attachments=(image, image)).content
        assert content == [{"type": "text", "text": "Look"}, block, block]

    def test_another_image_makes_another_prompt(self) -> None:
        """Else a cell whose image changed would be shown its old answer."""
        one, two = (Attachment(name="a", media_type="image/png", data=d) for d in (b"1", b"2"))
        assert Prompt(text="x", attachments=(one,)) != Prompt(text="x", attachments=(two,))


class TestRestricted:
    def test_it_only_reads_and_asks_nobody(self) -> None:
        argv = Settings().changed(**RESTRICTED).argv()
        assert argv[argv.index("--permission-mode") + 1] == "dontAsk"
        assert argv[argv.index("--tools") + 1] == "Glob,Grep,Read"
        assert argv[argv.index("--setting-sources") + 1] == ""
        assert "--strict-mcp-config" in argv
        assert not {"--allowedTools", "--mcp-config"} & {*argv}

    def test_what_it_sets_is_locked_and_so_is_the_folder(self) -> None:
        assert {*RESTRICTED, "cwd"} == RESTRICTED_LOCKS
        assert {spec.name for spec in fields(Settings)} >= RESTRICTED_LOCKS


class TestTranscriptPath:
    def test_a_session_is_found_in_any_projects_folder(self, tmp_path: Path) -> None:
        for folder in ("-home-user-a", "-home-user-b"):
            (tmp_path / "projects" / folder).mkdir(parents=True)
        path = tmp_path / "projects" / "-home-user-b" / "893541a6.jsonl"
        path.write_text("{}\n")
        assert transcript_path(tmp_path, "893541a6") == path

    def test_one_that_was_never_written_is_none(self, tmp_path: Path) -> None:
        assert transcript_path(tmp_path, "893541a6") is None
        assert transcript_path(tmp_path / "missing", "893541a6") is None


def test_a_recorded_turn_holds_no_servers_that_were_given_as_json() -> None:
    """It goes to the record, to a journal and to a cassette as it is."""
    config = '{"mcpServers":{"s":{"command":"s","env":{"KEY":"hush"}}}}'
    settings = Settings(mcp_config=config, system="Be kind.")
    key = key_of(parent=None, prompt=Prompt(text="a"), settings=settings)
    turn = Turn(prompt=Prompt(text="a"), uuid="u", number=1, settings=settings, key=key)
    turn.end("ok")
    made = recorded(turn, parent=None, entries=b"", cli="")
    assert "hush" not in str(made)
    assert (made.settings.system, made.derived_key) == ("Be kind.", key.turn)
    assert turn.settings == settings
