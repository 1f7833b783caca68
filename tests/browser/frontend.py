"""A Jupyter server of our own, and its two front ends as a person uses them: looked at, clicked.

`jupyter` runs the server of one front end in a throw-away home. `Sheet` is one notebook that is
open in a page; what differs between JupyterLab and Notebook 7 is in `FrontEnd`. Each has its own
server: one that serves both finds the fonts of the second in the folder of the first and refuses
them (jupyter_server looks files up by name alone), so maths would look broken.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from playwright.sync_api import expect

from ..support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from playwright.sync_api import Locator, Page

TOKEN = "browser-ring"
#: A page of JupyterLab takes some 3 s here, a kernel 1 s; both wait on two busy cores.
WAIT_MS = 30_000.0
CLOSE_S = 20.0

ARGUMENTS = (
    "--no-browser",
    "--allow-root",
    "--ip=127.0.0.1",
    "--ServerApp.port_retries=0",
    "--expose-app-in-browser",
    # What would leave this machine: news, updates, the list of extensions.
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
)
#: The question whether to fetch news is a popup that covers the page.
NO_NEWS = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}

#: Before it is connected, JupyterLab shows a kernel as idle and drops what is run, without a word.
CONNECTED = """() => {
    const context = window.jupyterapp?.shell.currentWidget?.sessionContext;
    return context?.isReady && context.session?.kernel?.connectionStatus === 'connected'
        && ['idle', 'busy'].includes(context.session.kernel.status);
}"""

SAVED = "() => !window.jupyterapp.shell.currentWidget.context.model.dirty"


class JupyterServer:
    """A running server; `root` is the folder it shows."""

    def __init__(self, origin: str, root: Path) -> None:
        self.origin = origin
        self.root = root

    def ask(self, path: str, method: str = "GET", body: object = None) -> Any:
        """Return what the REST API says."""
        request = urllib.request.Request(
            self.origin + path,
            method=method,
            headers={"Authorization": f"token {TOKEN}"},
            data=None if body is None else json.dumps(body).encode(),
        )
        with urllib.request.urlopen(request, timeout=CLOSE_S) as response:
            answer = response.read()
        return json.loads(answer) if answer else None

    def running(self) -> bool:
        """Whether it answers yet."""
        try:
            return bool(self.ask("/api/status"))
        except (urllib.error.URLError, ConnectionError):
            return False

    def start_kernel(self, name: str) -> None:
        """Start a notebook's kernel before its page is open, so that both are ready together."""
        kernel = {"name": "hotclaude"}
        body = {"path": name, "name": name, "type": "notebook", "kernel": kernel}
        self.ask("/api/sessions", "POST", body)

    def close_kernels(self) -> None:
        """End every notebook's kernel, and with it its claude process."""
        for session in self.ask("/api/sessions"):
            self.ask(f"/api/sessions/{session['id']}", "DELETE")

    def write(self, name: str, cells: Sequence[str] = ("",)) -> Path:
        """Put a notebook of prompts into the folder."""
        spec = {"name": "hotclaude", "display_name": "Hot Claude", "language": "markdown"}
        notebook = nbformat.v4.new_notebook(metadata={"kernelspec": spec})
        # With ids of their own: a notebook with another's would go on from that one's turns.
        notebook.cells = [nbformat.v4.new_code_cell(source) for source in cells]
        path = self.root / name
        path.write_text(nbformat.writes(notebook))
        return path

    def saved(self, name: str) -> Any:
        """Return a notebook as its file holds it now."""
        return nbformat.read(self.root / name, as_version=4)


@contextmanager
def jupyter(program: str, env: dict[str, str], log: Path) -> Iterator[JupyterServer]:
    """Run `jupyter lab` or `jupyter notebook` in an isolated environment."""
    home = Path(env["HOME"])
    root = home / "work"
    folders = {"JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime"}
    env = env | {name: str(home / f".jupyter-{kind}") for name, kind in folders.items()}
    labconfig = Path(env["JUPYTER_CONFIG_DIR"], "labconfig")
    labconfig.mkdir(parents=True, exist_ok=True)
    (labconfig / "page_config.json").write_text(json.dumps(NO_NEWS))
    port = _free_port()
    command = [sys.executable, "-m", "jupyter", program, *ARGUMENTS, f"--port={port}"]
    command += [f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={root}"]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command,
            env=env,
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        server = JupyterServer(f"http://127.0.0.1:{port}", root)
        until(lambda: server.running() or process.poll() is not None, "the Jupyter server")
        assert process.poll() is None, log.read_text()
        yield server
        server.close_kernels()
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEnd:
    """What one front end does its own way."""

    name: str
    program: str
    start: str
    notebook: str

    def new(self, page: Page, server: JupyterServer) -> Sheet:
        """Make a notebook as a person does: choose "Hot Claude" where new ones are made."""
        page.goto(f"{server.origin}{self.start}?token={TOKEN}&reset")
        if self.name == "lab":
            section = page.locator(".jp-Launcher-section", has_text="Notebook")
            section.locator(".jp-LauncherCard", has_text="Hot Claude").first.click()
            return Sheet(page)
        page.get_by_role("menuitem", name="New", exact=True).click()
        with page.context.expect_page() as opened:
            page.locator(".lm-Menu-item", has_text="Hot Claude").first.click()
        return Sheet(opened.value)

    def open(self, page: Page, server: JupyterServer, name: str) -> Sheet:
        """Open a notebook of the folder."""
        page.goto(f"{server.origin}{self.notebook}/{name}?token={TOKEN}&reset")
        return Sheet(page)


LAB = FrontEnd(name="lab", program="lab", start="/lab", notebook="/lab/tree")
NOTEBOOK_7 = FrontEnd(name="notebook7", program="notebook", start="/tree", notebook="/notebooks")


class Sheet:
    """One open notebook. Cells are counted from 0, as they stand on the page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.wait_connected()

    def wait_connected(self) -> None:
        """Wait until what is run reaches the kernel."""
        self.page.wait_for_function(CONNECTED, timeout=WAIT_MS)

    @property
    def cells(self) -> Locator:
        return self.page.locator(".jp-Notebook:visible .jp-CodeCell")

    def output(self, at: int) -> Locator:
        """All that a cell shows."""
        return self.cells.nth(at).locator(".jp-Cell-outputArea")

    def text(self, at: int) -> str:
        """What can be read below a cell."""
        return self.output(at).inner_text()

    def write(self, at: int, text: str) -> Locator:
        """Replace a cell's text, as by pasting: nothing is completed or closed while typing."""
        editor = self.cells.nth(at).locator(".cm-content")
        editor.click()
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.insert_text(text)
        return editor

    def start(self, text: str) -> int:
        """Write into the last cell and run it; a new one comes below. Return which it was."""
        at = self.cells.count() - 1
        self.write(at, text)
        self.page.keyboard.press("Shift+Enter")
        expect(self.cells).to_have_count(at + 2)
        return at

    def start_again(self, at: int) -> None:
        """Run a cell as it stands."""
        self.cells.nth(at).locator(".cm-content").click()
        self.page.keyboard.press("ControlOrMeta+Enter")

    def run(self, text: str) -> str:
        """Run a new cell to its end and return what it shows."""
        at = self.start(text)
        self.wait_done(at)
        return self.text(at)

    def wait_done(self, at: int) -> None:
        """Wait until a cell has its number."""
        prompt = self.cells.nth(at).locator(".jp-InputPrompt")
        expect(prompt).to_have_text(re.compile(r"^\[\d+\]:$"), timeout=WAIT_MS)

    def wait_waiting(self, at: int) -> None:
        """Wait until a cell is marked as running or queued."""
        prompt = self.cells.nth(at).locator(".jp-InputPrompt")
        expect(prompt).to_have_text("[*]:", timeout=WAIT_MS)

    def wait_text(self, at: int, text: str | re.Pattern[str]) -> None:
        """Wait until a cell shows a text."""
        expect(self.output(at)).to_contain_text(text, timeout=WAIT_MS)

    def wait_kernel(self, status: str) -> None:
        """Wait for the state that the kernel indicator shows."""
        indicator = self.page.locator(".jp-Notebook-ExecutionIndicator:visible")
        expect(indicator).to_have_attribute("data-status", status, timeout=WAIT_MS)

    def interrupt(self) -> None:
        """Press the stop button."""
        self.page.locator('[data-command="notebook:interrupt-kernel"]:visible').click()

    def save(self, name: str, server: JupyterServer) -> Any:
        """Save with the keyboard, and return what the file holds."""
        self.page.keyboard.press("ControlOrMeta+s")
        self.page.wait_for_function(SAVED, timeout=WAIT_MS)
        return server.saved(name)

    def press_i_i(self) -> None:
        """Interrupt by the keyboard."""
        for key in ("Escape", "i", "i"):
            self.page.keyboard.press(key)

    def ask_permission(self, prompt: str) -> int:
        """Run a prompt up to a permission question."""
        at = self.start(prompt)
        self.wait_asked(at, "Claude wants to use")
        return at

    def question(self, at: int) -> Locator:
        """The widgets that a cell asks by."""
        return self.output(at).locator(".jupyter-widgets.widget-vbox")

    def wait_asked(self, at: int, text: str | re.Pattern[str]) -> None:
        """Wait until a cell asks a question of this text, and has the buttons to answer it."""
        expect(self.question(at)).to_contain_text(text, timeout=WAIT_MS)
        expect(self.question(at).get_by_role("button").first).to_be_visible(timeout=WAIT_MS)

    def press(self, at: int, label: str) -> None:
        """Press a button of the question."""
        button = self.question(at).get_by_role("button", name=label, exact=True)
        button.click(timeout=WAIT_MS)

    def say(self, at: int, text: str) -> None:
        """Type into the question's field."""
        self.question(at).locator("input[type=text]").click(timeout=WAIT_MS)
        self.page.keyboard.insert_text(text)

    def wait_unasked(self, at: int) -> None:
        """Wait until a cell asks nothing."""
        expect(self.output(at).locator(".jupyter-widgets")).to_have_count(0, timeout=WAIT_MS)

    def reload(self) -> None:
        """Reload the page; what was not saved is lost."""
        self.page.reload()
        self.wait_connected()

    def theme(self, name: str) -> None:
        """Change to the Light or the Dark theme."""
        self.command("apputils:change-theme", theme=f"JupyterLab {name}")
        light = "true" if name == "Light" else "false"
        self.page.locator(f"body[data-jp-theme-light={light}]").wait_for(state="attached")
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")

    def command(self, name: str, **arguments: Any) -> None:
        """Run a command of the front end."""
        self.page.evaluate(
            "([name, args]) => window.jupyterapp.commands.execute(name, args)", [name, arguments]
        )

    def shoot(self, folder: Path, name: str) -> None:
        """Take a picture of the page."""
        self.page.screenshot(path=folder / f"{name}.png")


def screenshot_folder(default: Path) -> Path:
    """Where pictures go: `HOTCLAUDE_SCREENSHOTS`, or a folder that is thrown away."""
    folder = Path(os.environ.get("HOTCLAUDE_SCREENSHOTS") or default)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
