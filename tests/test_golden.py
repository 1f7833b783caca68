"""The golden set: what the first versions recorded is shown the same, byte for byte, for ever.

`tests/golden` holds notebooks as they were saved after they had run live, their cassettes, and the
record that they were answered into, as SQL. `golden/make.py` tells how they were made. They hold
tools, decisions, pictures, thinking, hostile text, parameters, several settings, branches, turns
that were stopped or failed, and compactions.

The set is not made again when the code changes: whatever modules, keys, tables or pages become,
this data must replay to these bytes, with nothing asked and no process started. Each notebook is
run by nbclient, where the kernel learns neither path nor cell ids, and as JupyterLab runs all cells
of a restarted kernel; once with the record, once with an empty record beside the cassette.

Some cells can't show in each manner what they showed live: a stopped turn has no recording to
replay, `%fork side` finds its name taken the second time. What they show instead is pinned too, in
`NAME.MANNER.ipynb`. `printed.txt` pins what the commands print on all of it.

A change that alters bytes on purpose says so here and in its commit, and makes anew only what it
must: what is shown, by `python -m tests.golden.make shown`. The record and the cassettes stay.
A new release of Pygments or markdown-it that writes other HTML is such a change too.

Such changes so far: `%tree` says of each turn that was replayed where it comes from. Decisions and
notices from a cassette are shown as recorded, so `tools` by a cassette is pinned too. All that
the kernel itself says begins with a mark that no answer can show, and a formula has a box that it
can't leave: before, an answer could look like the kernel's own words, and a formula cover them.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import nbformat
import pytest
from jupyter_core.utils import ensure_event_loop

from .golden import manners
from .golden.manners import (
    MANNERS,
    NOTEBOOKS,
    code_cells,
    environment,
    golden,
    lay_out,
    open_lab,
    outputs_of,
    replay,
    shown,
)

if TYPE_CHECKING:
    from pathlib import Path

    from hotclaude_kernel.modelserver.server import ModelServer

    from .golden.manners import Outputs

pytestmark = pytest.mark.kernel

#: Stands where `claude` would, and tells whether it was started.
TRAP = "#!/bin/sh\necho \"$@\" >> '{spawned}'\nexit 1\n"


def trapped(folder: Path, url: str) -> dict[str, str]:
    """Return an environment in which a process that is started leaves a file `spawned`."""
    env = environment(folder, url)
    trap = folder / "claude"
    trap.write_text(TRAP.format(spawned=folder / "spawned"))
    trap.chmod(trap.stat().st_mode | stat.S_IXUSR)
    return env | {"HOTCLAUDE_CLI": os.fspath(trap)}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_shown_as_it_was_in_every_manner_and_nothing_is_asked(
    name: str, server: ModelServer, tmp_path: Path
) -> None:
    def replayed(manner: str) -> list[Outputs]:
        folder = tmp_path / manner
        try:
            return replay(folder, name, manner, trapped(folder, server.url))
        finally:
            ensure_event_loop().close()  # of this thread, made by jupyter_client

    with ThreadPoolExecutor(len(MANNERS)) as threads:
        found = dict(zip(MANNERS, threads.map(replayed, MANNERS), strict=True))
    assert server.requests == []
    assert list(tmp_path.glob("*/spawned")) == []
    known = {manner: golden(name, manner) for manner in MANNERS}
    differing = {
        manner: [at for at, cell in enumerate(cells, 1) if cell != found[manner][at - 1]]
        for manner, cells in known.items()
    }
    assert differing == {manner: [] for manner in MANNERS}
    assert found == known


def test_replays_and_replayed_reruns_say_nothing_and_make_no_branch(
    server: ModelServer, tmp_path: Path
) -> None:
    """As after a restart: some cells are run, some of them again, and then all."""
    path = lay_out(tmp_path, "tools", "store")
    env = trapped(tmp_path, server.url)
    env |= {"HOTCLAUDE_RECORD": "none", "JPY_SESSION_NAME": str(path)}
    notebook = nbformat.read(path, as_version=4)
    cells = code_cells(notebook)
    known = golden("tools")
    before = branches_in(tmp_path)
    with open_lab(env, *NOTEBOOKS["tools"], at_once=True) as lab:
        for at in (0, 1, 2, 1, 2, 0, *range(len(cells))):
            cells[at].outputs = shown(lab, cells[at].source, cells[at].id)
            assert outputs_of(notebook)[at] == known[at], f"cell {at + 1}"
            assert branches_in(tmp_path) == before, f"cell {at + 1}"
    assert server.requests == []


def branches_in(folder: Path) -> list[tuple[int, str, int]]:
    """The branches in a record, of all notebooks."""
    connection = sqlite3.connect(folder / "store.db")
    try:
        return connection.execute("select * from branch order by notebook, name").fetchall()
    finally:
        connection.close()


@pytest.mark.long
def test_commands_say_the_same_of_it_and_export_the_same(tmp_path: Path) -> None:
    printed = manners.printed(tmp_path)
    assert printed == manners.PRINTED.read_text(encoding="utf-8")


def test_the_set_holds_what_it_was_made_for(tmp_path: Path) -> None:
    """A test of the test: a set that was made anew with less in it would prove less."""
    path = manners.rebuild(tmp_path)
    connection = sqlite3.connect(path)

    def counted(what: str) -> int:
        return int(connection.execute(f"select count(*) from {what}").fetchone()[0])

    try:
        for status, count in (("ok", 45), ("error", 1), ("interrupted", 2)):
            assert counted(f"turn where status = '{status}'") >= count, status
        assert counted("turn where compacted") >= 2
        assert counted("turn where not pure") >= 5
        assert counted("(select key from turn group by key having count(*) > 1)") >= 1
        assert counted("(select distinct settings from turn)") >= 8
        assert counted("attachment") >= 4
        assert counted("branch") >= 10
        assert counted("checkpoint") >= 2
        assert counted("notebook where path is null") + counted("notebook") >= 4
    finally:
        connection.close()


def test_nearly_every_cell_is_shown_in_every_manner_as_it_was_live() -> None:
    live_only = {"tree": {8, 9, 10}, "moves": {1, 5, 7, 14, 16, 20}}
    as_recorded = {"tools by lab-cassette", "tools by nbclient-cassette"}
    decided = {3, 4, 10, 11, 12, 13}
    for name in NOTEBOOKS:
        live = golden(name)
        for manner in MANNERS:
            pinned = golden(name, manner)
            other = {at for at, cell in enumerate(live, 1) if cell != pinned[at - 1]}
            which = f"{name} by {manner}"
            assert other <= (decided if which in as_recorded else live_only.get(name, set())), which
