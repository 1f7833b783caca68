"""A tool input nested 980 levels deep, from the model through the real binary onto the page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from hotclaude_kernel.claude.frames import CUT
from hotclaude_kernel.modelserver.replies import Reply, ToolUse

if TYPE_CHECKING:
    from hotclaude_kernel.modelserver.request import Request
    from hotclaude_kernel.modelserver.server import ModelServer

    from ..support.frontend import Notebook

pytestmark = [pytest.mark.kernel, pytest.mark.long]


def test_it_is_shown_cut_and_the_process_lives_on(notebook: Notebook, server: ModelServer) -> None:
    # With some more levels the model server could not read the request that holds the history.
    deep = '{"subject":"Draw","deep":' + "[" * 980 + "]" * 980 + "}"

    def model(request: Request) -> Reply:
        if request.prompt == "Deep" and len(server.requests) == 2:
            return Reply(ToolUse("TaskCreate", raw_input=deep))
        return Reply("Done.")

    server.model = model
    assert notebook.run("Before").status == "ok"
    cell = notebook.run("Deep", cell_id="deep")
    assert cell.status == "ok"
    assert json.dumps(CUT, ensure_ascii=False) in cell.markdown
    after = notebook.run("After", cell_id="after")
    assert after.status == "ok"
    assert not any("resumed" in output.get("text", "") for output in after.outputs)
