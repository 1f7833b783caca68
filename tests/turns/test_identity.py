"""What makes two turns the same one, and what does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

import hotclaude_kernel
from hotclaude_kernel.turns.identity import (
    digest,
    node_digest,
    settings_digest,
    settings_values,
    turn_key,
)
from hotclaude_kernel.turns.prompt import Attachment, Prompt
from hotclaude_kernel.turns.settings import EFFORTS, PERMISSION_MODES, Settings

from ..support.examples import times

# Lone surrogates too: half an emoji is what a cut string ends in.
anything = st.text(st.characters(exclude_categories=()), max_size=12)
words = st.text("abc ", max_size=4)
rules = st.lists(st.sampled_from(["Read", "Grep", "Bash(git *)", "Edit"]), max_size=4).map(tuple)
servers = st.builds(
    lambda name, command: json.dumps({"mcpServers": {name: {"command": command}}}), words, words
)

#: How to draw a value of each field.
DRAWN: dict[str, st.SearchStrategy[Any]] = {
    "model": st.none() | st.sampled_from(["opus", "sonnet", ""]),
    "effort": st.none() | st.sampled_from(EFFORTS),
    "permission_mode": st.sampled_from(PERMISSION_MODES),
    "system": st.none() | words,
    "append_system": st.none() | words,
    "tools": st.none() | rules,
    "allowed_tools": rules,
    "thinking_display": st.none() | words,
    "fallback_model": st.none() | words,
    "max_turns": st.none() | st.integers(0, 9),
    "setting_sources": st.none() | rules,
    "mcp_config": st.none() | servers,
    "extra_args": st.lists(st.sampled_from(["--add-dir", "/tmp", "--betas", "x"])).map(tuple),
    "cwd": st.none() | words,
}
UNORDERED = ("tools", "allowed_tools")
UNKEYED = ("thinking_display", "cwd")

some_settings = st.builds(Settings, **DRAWN)
attachments = st.builds(
    Attachment, name=words, media_type=st.sampled_from(["image/png", "image/gif"]), data=st.binary()
)


def key(text: str = "Hello", **changes: Any) -> str:
    asked: dict[str, Any] = {"parent": None, "prompt": Prompt(text=text), "settings": Settings()}
    return turn_key(**asked | changes)


def with_attachments(*attached: Attachment) -> str:
    return key(prompt=Prompt(text="Look", attachments=attached))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | anything,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


class TestDigest:
    def test_it_is_32_hex_digits(self) -> None:
        assert len(digest("x.v1", None)) == 32
        assert int(digest("x.v1", None), 16) > 0

    def test_the_tag_participates(self) -> None:
        assert digest("x.v1", 1) != digest("x.v2", 1)

    def test_the_tag_and_the_value_cannot_run_into_each_other(self) -> None:
        assert digest("x", "yz") != digest("xy", "z")
        assert digest("x", ["y"]) != digest('x",["y', "")

    @given(values)
    def test_what_a_file_gives_back_has_the_same_digest(self, value: Any) -> None:
        assert digest("x.v1", json.loads(json.dumps(value))) == digest("x.v1", value)

    @given(anything, anything)
    def test_two_texts_have_two_digests(self, one: str, other: str) -> None:
        assume(json.loads(json.dumps(one)) != json.loads(json.dumps(other)))
        assert digest("x.v1", one) != digest("x.v1", other)

    def test_the_order_of_keys_does_not_participate_and_that_of_items_does(self) -> None:
        assert digest("x.v1", {"a": 1, "b": 2}) == digest("x.v1", {"b": 2, "a": 1})
        assert digest("x.v1", [1, 2]) != digest("x.v1", [2, 1])

    @pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
    def test_numbers_that_are_not_json_are_refused(self, number: float) -> None:
        with pytest.raises(ValueError, match="not JSON compliant"):
            digest("x.v1", [number])

    def test_half_an_emoji_is_not_the_text_of_its_escape(self) -> None:
        texts = ["\ud83d", "\\ud83d", "\ud83e", "?", "\ufffd", ""]
        assert len({digest("x.v1", text) for text in texts}) == len(texts)

    def test_two_halves_of_an_emoji_are_the_emoji(self) -> None:
        assert digest("x.v1", "\ud83d\ude00") == digest("x.v1", "😀")
        assert digest("x.v1", "\ude00\ud83d") != digest("x.v1", "😀")

    def test_texts_that_only_look_alike_differ(self) -> None:
        assert digest("x.v1", "é") != digest("x.v1", "e\u0301")


class TestSettings:
    def test_every_field_is_drawn_here(self) -> None:
        assert set(DRAWN) == {spec.name for spec in fields(Settings)}

    @pytest.mark.parametrize("spec", fields(Settings), ids=lambda spec: spec.name)
    def test_every_field_is_classified(self, spec: Any) -> None:
        assert type(spec.metadata["key"]) is bool
        assert spec.metadata["key"] is (spec.name not in UNKEYED)

    @pytest.mark.parametrize("spec", fields(Settings), ids=lambda spec: spec.name)
    def test_a_field_is_unset_by_default_or_changes_every_key(self, spec: Any) -> None:
        """A new field with another default voids every record: see `settings_values`."""
        always = spec.metadata["key"] and spec.default not in (None, ())
        assert always is (spec.name == "permission_mode")

    @given(some_settings)
    def test_every_flag_comes_from_a_classified_field(self, some: Settings) -> None:
        known = {spec.metadata["flag"] for spec in fields(Settings)} | set(some.extra_args)
        assert {word for word in some.argv() if word.startswith("--")} <= known

    @pytest.mark.parametrize("name", [name for name in DRAWN if name not in UNKEYED])
    @given(data=st.data(), some=some_settings)
    @times(0.4)
    def test_a_keyed_field_changes_the_key(self, name: str, data: Any, some: Settings) -> None:
        other = some.changed(**{name: data.draw(DRAWN[name])})
        before, after = getattr(some, name), getattr(other, name)
        if name in UNORDERED and None not in (before, after):
            before, after = set(before), set(after)
        assert (key(settings=some) == key(settings=other)) is (before == after)

    @given(some_settings, st.data())
    def test_what_is_shown_and_where_it_runs_does_not_change_the_key(
        self, some: Settings, data: Any
    ) -> None:
        other = some.changed(**{name: data.draw(DRAWN[name]) for name in UNKEYED})
        assert key(settings=some) == key(settings=other)

    @given(some_settings, st.randoms(use_true_random=False))
    def test_the_order_of_tools_does_not_change_the_key(self, some: Settings, dice: Any) -> None:
        shuffled = {
            name: tuple(dice.sample(tools, len(tools)))
            for name in UNORDERED
            if (tools := getattr(some, name))
        }
        assert key(settings=some) == key(settings=some.changed(**shuffled))

    def test_the_order_of_further_arguments_changes_the_key(self) -> None:
        one, other = Settings(extra_args=("--a", "b")), Settings(extra_args=("b", "--a"))
        assert settings_digest(one) != settings_digest(other)

    def test_only_what_is_set_is_a_value(self) -> None:
        assert settings_values(Settings()) == {"permission_mode": "default"}
        assert settings_values(Settings(extra_args=("--x",), allowed_tools=("b", "a", "b"))) == {
            "permission_mode": "default",
            "extra_args": ["--x"],
            "allowed_tools": ["a", "b"],
        }

    @pytest.mark.parametrize("change", [{"tools": ()}, {"setting_sources": ()}, {"system": ""}])
    def test_none_of_them_is_not_unset(self, change: dict[str, Any]) -> None:
        assert settings_digest(Settings(**change)) != settings_digest(Settings())

    @given(some_settings)
    def test_values_are_json_and_the_digest_is_theirs(self, some: Settings) -> None:
        values = settings_values(some)
        assert json.loads(json.dumps(values)) == values
        assert settings_digest(some) == digest("settings.v1", values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Later(Settings):
    """The settings of a later version."""

    schema: str | None = field(default=None, metadata={"key": True})
    plugins: tuple[str, ...] = field(default=(), metadata={"key": True})


class TestLaterVersions:
    @given(some_settings)
    def test_a_new_field_that_is_unset_changes_no_key(self, some: Settings) -> None:
        later = Later(**{spec.name: getattr(some, spec.name) for spec in fields(some)})
        assert settings_values(later) == settings_values(some)
        assert key(settings=later) == key(settings=some)

    def test_a_new_field_that_is_used_does(self) -> None:
        used = [Later(), Later(schema="{}"), Later(plugins=("a",)), Later(plugins=("b",))]
        assert len({settings_digest(later) for later in used}) == len(used)


MCP = {
    "mcpServers": {
        "db": {"command": "serve", "args": ["-q"], "env": {"TOKEN": "s3cret", "A": "1"}},
        "web": {"type": "http", "url": "https://x.org", "headers": {"Authorization": "s3cret"}},
    }
}


def mcp(**server: Any) -> dict[str, Any]:
    """The configuration with another server `db`."""
    changed = {name: value for name, value in server.items() if value is not None}
    return {"mcpServers": {**MCP["mcpServers"], "db": changed}}


def mcp_key(config: Any, **changes: Any) -> str:
    text = config if isinstance(config, str) else json.dumps(config)
    return key(settings=Settings(mcp_config=text, **changes))


class TestMcpConfig:
    def test_a_file_is_its_content_wherever_it_lies(self, tmp_path: Path) -> None:
        for name in ("a.json", "b.json"):
            (tmp_path / name).write_text(json.dumps(MCP, indent=4))
        inline = mcp_key(MCP)
        assert mcp_key(str(tmp_path / "a.json")) == mcp_key(str(tmp_path / "b.json")) == inline

    def test_another_content_is_another_key(self, tmp_path: Path) -> None:
        path = tmp_path / "mcp.json"
        path.write_text(json.dumps(MCP))
        before = mcp_key(str(path))
        path.write_text(json.dumps(mcp(command="other")))
        assert mcp_key(str(path)) != before

    def test_a_path_counts_from_the_folder_of_the_process(self, tmp_path: Path) -> None:
        (tmp_path / "mcp.json").write_text(json.dumps(MCP))
        assert mcp_key("mcp.json", cwd=str(tmp_path)) == mcp_key(MCP)
        assert mcp_key("mcp.json", cwd=str(tmp_path / "missing")) != mcp_key(MCP)

    def test_a_file_with_a_byte_order_mark_is_read(self, tmp_path: Path) -> None:
        (tmp_path / "mcp.json").write_text(json.dumps(MCP), "utf-8-sig")
        assert mcp_key("mcp.json", cwd=str(tmp_path)) == mcp_key(MCP)

    def test_spaces_and_the_order_of_servers_do_not_participate(self) -> None:
        turned = {"mcpServers": dict(reversed(MCP["mcpServers"].items()))}
        assert mcp_key(json.dumps(turned, indent=2)) == mcp_key(MCP)

    @given(words, words, words)
    def test_values_of_variables_and_headers_do_not_participate(
        self, token: str, other: str, header: str
    ) -> None:
        servers = json.loads(json.dumps(MCP["mcpServers"]))
        servers["db"]["env"] = {"TOKEN": token, "A": other}
        servers["web"]["headers"] = {"Authorization": header}
        assert mcp_key({"mcpServers": servers}) == mcp_key(MCP)

    @pytest.mark.parametrize(
        "server",
        [
            {"command": "other", "args": ["-q"], "env": {"TOKEN": "", "A": ""}},
            {"command": "serve", "args": ["-v"], "env": {"TOKEN": "", "A": ""}},
            {"command": "serve", "args": ["-q"], "env": {"TOKEN": ""}},
            {"command": "serve", "args": ["-q"], "env": {"TOKEN": "", "B": ""}},
            {"command": "serve", "args": ["-q"]},
        ],
        ids=["command", "args", "fewer variables", "other variables", "no variables"],
    )
    def test_the_rest_of_a_server_participates(self, server: dict[str, Any]) -> None:
        assert mcp_key(mcp(**server)) != mcp_key(MCP)

    def test_the_names_of_servers_and_of_headers_participate(self) -> None:
        renamed = json.dumps(MCP).replace('"web"', '"net"')
        assert len({mcp_key(MCP), mcp_key(renamed)}) == 2
        assert mcp_key(json.dumps(MCP).replace("Authorization", "X-Key")) != mcp_key(MCP)

    def test_a_server_called_env_is_a_server(self) -> None:
        one, other = ({"mcpServers": {"env": {"command": c}}} for c in "ab")
        assert mcp_key(one) != mcp_key(other)

    def test_no_secret_is_among_the_values(self) -> None:
        assert "s3cret" not in json.dumps(settings_values(Settings(mcp_config=json.dumps(MCP))))

    @pytest.mark.parametrize(
        "text",
        ["", "no-such-file.json", "\0", "\ud83d", "[1]", "{}", "null", '{"mcpServers":[]}',
         '{"mcpServers":{"a":"b"}}', '{"mcpServers":{"a":{"env":"b"}}}', "x" * 100_000,
         "[" * 100_000],
    )  # fmt: skip
    def test_what_is_no_configuration_has_a_key_of_its_own(self, text: str) -> None:
        assert mcp_key(text) == mcp_key(text)
        assert mcp_key(text) not in {mcp_key(MCP), mcp_key(text + "x"), key()}

    def test_bytes_that_are_no_text_have_a_key(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"\xff\xfe")
        (tmp_path / "b").write_bytes(b"\xff\xfd")
        assert mcp_key("a", cwd=str(tmp_path)) != mcp_key("b", cwd=str(tmp_path))


class TestKey:
    @given(anything, anything)
    def test_the_text_participates(self, one: str, other: str) -> None:
        assume("\r" not in one + other)
        assume(json.dumps(one.removesuffix("\n")) != json.dumps(other.removesuffix("\n")))
        assert key(one) != key(other)

    @given(st.text("ab \n", max_size=6))
    def test_the_kind_of_line_ends_does_not_participate(self, text: str) -> None:
        assert key(text.replace("\n", "\r\n")) == key(text)

    @given(st.text("ab \n", max_size=6))
    def test_one_newline_at_the_end_does_not_participate(self, text: str) -> None:
        assume(not text.endswith("\n"))
        assert key(text + "\n") == key(text + "\r\n") == key(text)
        assert key(text + "\n\n") != key(text)

    def test_nothing_else_of_the_text_is_normalised(self) -> None:
        texts = ["a", " a", "a ", "a\t", "\na", "a\r", "a\rb", "a\nb", "A", "a\u2028"]
        assert len({key(text) for text in texts}) == len(texts)

    @given(st.none() | words)
    def test_the_cell_does_not_participate(self, cell_id: str | None) -> None:
        assert key(prompt=Prompt(text="Hello", cell_id=cell_id)) == key()

    def test_the_parent_participates(self) -> None:
        assert len({key(), key(parent="a"), key(parent="b"), key(parent="")}) == 4

    @given(st.integers(0, 9), st.integers(0, 9))
    def test_the_sample_participates(self, one: int, other: int) -> None:
        assert (key(sample=one) == key(sample=other)) is (one == other)
        assert key(sample=0) == key()

    @given(attachments, st.binary(max_size=2))
    def test_the_bytes_of_an_attachment_participate(self, one: Attachment, data: bytes) -> None:
        other = replace(one, data=data)
        assert (with_attachments(one) == with_attachments(other)) is (one == other)

    @given(attachments, words)
    def test_the_type_of_an_attachment_participates(self, one: Attachment, kind: str) -> None:
        assert with_attachments(one) != with_attachments(replace(one, media_type=f"image/{kind}"))

    @given(attachments, words)
    def test_the_name_of_an_attachment_does_not_participate(
        self, one: Attachment, name: str
    ) -> None:
        assert with_attachments(replace(one, name=name)) == with_attachments(one)

    def test_number_and_order_of_attachments_participate(self) -> None:
        one, two = (Attachment(name="a", media_type="image/png", data=d) for d in (b"1", b"2"))
        attached: list[tuple[Attachment, ...]] = [(), (one,), (one, one), (one, two), (two, one)]
        assert len({with_attachments(*some) for some in attached}) == len(attached)


class TestNode:
    def test_key_and_response_participate(self) -> None:
        nodes = [node_digest("k", []), node_digest("l", []), node_digest("k", [1])]
        assert len(set(nodes)) == 3

    def test_a_node_is_no_key(self) -> None:
        assert node_digest("k", []) != digest("turn.v1", {"key": "k", "response": []})


#: Two calls of one message, the first one with a subagent that makes a call itself.


PROGRAM = """
from hotclaude_kernel.claude.events import Block, Result, ToolResult
from hotclaude_kernel.turns.identity import (
    canonical_response, node_digest, settings_digest, turn_key
)
from hotclaude_kernel.turns.prompt import Attachment, Prompt
from hotclaude_kernel.turns.settings import Settings

settings = Settings(
    model="opus", tools=tuple("hgfedcba"), allowed_tools=tuple("zyxwvuts"), system="Überall 😀",
    mcp_config='{"mcpServers": {"a": {"command": "x", "env": {"C": "", "B": "", "A": ""}}}}',
)
image = Attachment(name="a.png", media_type="image/png", data=bytes(range(256)))
prompt = Prompt(text="Was ist das?\\r\\nHalb: \\ud83d\\n", attachments=(image,))
key = turn_key(parent="0" * 32, prompt=prompt, settings=settings, sample=2)
use = {"type": "tool_use", "id": "x", "name": "Add", "input": {"b": 0.1, "a": 10**17, "c": 1e-7}}
response = canonical_response([
    Block(uuid="u", message_id="m", kind="tool_use", content=use),
    ToolResult(uuid="v", tool_use_id="x", text="é", is_error=False, pictures=(("image/png", "A"),)),
    Result(session_id="s", subtype="", is_error=False, terminal_reason="", text="",
           stop_reason="end_turn"),
])
print(settings_digest(settings), key, node_digest(key, response))
"""

#: If these change, every record that anybody keeps is void: change the tag instead.
GOLDEN = [
    "65e335ab266e62d9f3d7fbabe2a9e7df",
    "889417bf8613bf05976283bfb58a9fbf",
    "06fec23da65a44d732ef35259c0fe3e7",
]


class TestAcrossProcesses:
    @pytest.mark.parametrize("seed", ["1", "2"])
    def test_digests_are_the_same_in_every_process_and_version(self, seed: str) -> None:
        root = str(Path(hotclaude_kernel.__file__).parents[1])
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": root},
            text=True,
            timeout=60,
        )
        assert run.stdout.split() == GOLDEN
