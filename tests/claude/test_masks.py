"""Private things in what the process says are masked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.claude import masks

if TYPE_CHECKING:
    from pathlib import Path

KEY = "sk-ant-" + "api03-" + "x1" * 20


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/adalovelace")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"bad key {KEY}, sorry", "bad key sk-ant-…, sorry"),
        (f"Authorization: Bearer {'a1' * 12}", "Authorization: Bearer …"),
        ("no file /home/adalovelace/.claude.json", "no file ~/.claude.json"),
        ("no file /home/babbage/.claude.json", "no file /home/b…/.claude.json"),
        ("ask ada@lovelace.org", "ask a…"),
        (
            "read -----BEGIN RSA PRIVATE KEY-----\nabc\ndef\n-----END RSA PRIVATE KEY-----\nend",
            "read -----BEGIN…\nend",
        ),
        ("-----BEGIN PRIVATE KEY-----\nabc\ndef", "-----BEGIN…"),
        ("said given-secret", "said …"),
        ("said from-the-environment", "said …"),
        ("nothing private in /usr/lib, at 12:30", "nothing private in /usr/lib, at 12:30"),
    ],
)
def test_only_their_beginning_is_shown(
    text: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_API_KEY", "from-the-environment")
    monkeypatch.setenv("DEBUG_TOKEN", "1")  # too short to be told from other text
    assert masks.masked(text, ["given-secret", "end", ""]) == shown


@pytest.mark.parametrize("home", ["/", ""])
def test_a_home_that_is_none_masks_nothing(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", home)
    assert masks.masked("a /b c") == "a /b c"
