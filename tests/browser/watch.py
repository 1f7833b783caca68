"""Watches a page for what an answer must never do: run, ask another address, or take one away.

`watched` hooks a Playwright browser context, so it serves a bare page as well as JupyterLab: name
the origin that the page may talk to, open pages in the context, and read what was seen.
"""

from __future__ import annotations

import re
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, Dialog, Page, Playwright, Route

#: Chromium without the requests that it makes on its own.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

#: Records every write of the flag that payloads set, in every frame and before any page script.
_FLAG = """
Object.defineProperty(window, '__hacked', {
    set(name) { top.__ran.push(String(name)); },
    get() { return top.__ran.join(' '); },
});
if (window === top) window.__ran = [];
for (const name of ['alert', 'confirm', 'prompt', 'print']) {
    window[name] = () => { top.__ran.push(name); };
}
"""


@dataclass(slots=True)
class Seen:
    """What happened in a watched context; a harmless page leaves the first three empty."""

    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)


@contextmanager
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """Runs the Chromium of this machine, headless; without one it raises `LookupError`."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise LookupError("no Chromium on PATH")
    browser = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
    try:
        yield browser
    finally:
        browser.close()


@contextmanager
def watched(browser: Browser, origin: str) -> Iterator[tuple[BrowserContext, Seen]]:
    """Opens a context in which only `origin` answers and everything else is noted and refused."""
    context = browser.new_context(service_workers="block")
    seen = Seen()

    def refuse(route: Route) -> None:
        seen.requests.append(route.request.url)
        route.abort()

    def dismiss(dialog: Dialog) -> None:
        if dialog.type == "beforeunload":  # the page's own question whether to leave unsaved work
            dialog.accept()
            return
        seen.dialogs.append(dialog.message)
        dialog.dismiss()

    # A pattern is matched by the browser's driver; a function would cost a call for each request.
    context.route(re.compile(rf"^(?!{re.escape(origin)}/)[a-z]+://"), refuse)
    context.add_init_script(_FLAG)
    context.on("dialog", dismiss)
    context.on("console", lambda message: seen.console.append(message.text))
    context.on("weberror", lambda error: seen.errors.append(str(error.error)))
    try:
        yield context, seen
    finally:
        context.close()


def executions(page: Page) -> list[str]:
    """Returns the names of the payloads that ran in a page."""
    ran = page.evaluate("window.__ran")
    return [str(name) for name in ran]


def click_all_links(page: Page, selector: str) -> list[str]:
    """Clicks every link under `selector`, in each way a person can, and returns where they led.

    Navigation is stopped at the last moment, after every other listener had its turn.
    """
    targets = page.evaluate(
        """async (selector) => {
            const targets = [];
            const stop = (event) => {
                const link = event.composedPath().find((node) => node.href !== undefined);
                if (link) targets.push(String(link.href?.baseVal ?? link.href));
                event.preventDefault();
            };
            for (const kind of ['click', 'auxclick']) window.addEventListener(kind, stop);
            for (const link of document.querySelectorAll(`${selector} :is(a, area, [href])`)) {
                for (const kind of ['mouseover', 'mouseenter', 'focus', 'mousedown', 'mouseup'])
                    link.dispatchEvent(new MouseEvent(kind, {bubbles: true, cancelable: true}));
                link.click();
                link.dispatchEvent(
                    new MouseEvent('auxclick', {bubbles: true, cancelable: true, button: 1}));
            }
            for (const control of document.querySelectorAll(`${selector} :is(button, summary)`))
                control.click();
            await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
            for (const kind of ['click', 'auxclick']) window.removeEventListener(kind, stop);
            return targets;
        }""",
        selector,
    )
    return [str(target) for target in targets]
