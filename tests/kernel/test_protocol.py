"""Jupyter's own conformance suite, in full: each of its tests has something of ours to run."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import jupyter_kernel_test
import pytest

from hotclaude_kernel.claude.launch import find_claude
from hotclaude_kernel.modelserver.replies import Reply, Text
from hotclaude_kernel.modelserver.server import ModelServer

from ..support.environment import isolated_env

if TYPE_CHECKING:
    from jupyter_client.manager import KernelManager

    from hotclaude_kernel.modelserver.request import Request

pytestmark = [pytest.mark.kernel, pytest.mark.long]


def answer(request: Request) -> Reply:
    """Say what is wanted: the suite asks for particular words."""
    return Reply(Text(request.prompt.removeprefix("say "), chunk=1000))


class Isolated:
    """Puts a suite's kernel on a model server and into an environment of its own."""

    kernel_name = "hotclaude"
    km: KernelManager
    _home: tempfile.TemporaryDirectory[str]
    _server: Any
    _environ: dict[str, str]

    @classmethod
    def setUpClass(cls) -> None:
        cls._home = tempfile.TemporaryDirectory()
        cls._server = ModelServer(answer).in_thread()
        server = cls._server.__enter__()
        cls._environ = dict(os.environ)
        env = isolated_env(Path(cls._home.name), server.url, find_claude())
        os.environ.clear()
        os.environ.update(env)
        super().setUpClass()  # type: ignore[misc]

    @classmethod
    def tearDownClass(cls) -> None:
        try:
            super().tearDownClass()  # type: ignore[misc]
            cls.km.context.destroy()
        finally:
            os.environ.clear()
            os.environ.update(cls._environ)
            cls._server.__exit__(None, None, None)
            cls._home.cleanup()


class WelcomeTests(Isolated, jupyter_kernel_test.IopubWelcomeTests):  # type: ignore[misc]
    support_iopub_welcome = True


class HotClaudeKernelTests(Isolated, jupyter_kernel_test.KernelTests):  # type: ignore[misc]
    language_name = "markdown"
    file_extension = ".md"
    code_hello_world = "say hello, world"
    code_stderr = "%model a-model-nobody-lists"
    code_page_something = "%model?"
    code_generate_error = "%no-such-magic"
    code_clear_output = "%clear"
    code_inspect_sample = "%model"
    code_execute_result: ClassVar[list[dict[str, str]]] = [
        {"code": "%effort", "result": "default"},
        {"code": "%permission-mode", "result": "default"},
    ]
    code_display_data: ClassVar[list[dict[str, str]]] = [{"code": "%status", "mime": "text/html"}]
    completion_samples: ClassVar[list[dict[str, Any]]] = [
        {"text": "%mo", "matches": {"%model"}},
        {"text": "%effort hi", "matches": {"high"}},
    ]
    complete_code_samples: ClassVar[list[str]] = ["say it", "%model opus", "```\ncode\n```"]
    incomplete_code_samples: ClassVar[list[str]] = ["```python\nx = 1", "more \\"]
    invalid_code_samples: ClassVar[list[str]] = ["%no-such-magic"]
    code_history_pattern = "%eff?rt"
    supported_history_operations = ("tail", "range", "search")
