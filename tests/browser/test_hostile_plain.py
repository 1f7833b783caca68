"""The hostile corpus, rendered, in a real browser: nothing runs, asks or leads out.

The pages come from a server on loopback that also counts who asks for `/leak`. That the watcher
sees what it should is tested on the same payloads unrendered.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from hotclaude_kernel.page.markdown.render import render, wrap

from ..hostile import corpus
from .watch import click_all_links, executions, watched

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

_HEAD = "<!DOCTYPE html><html><head><meta charset='utf-8'><title>x</title></head><body>"


class Site(ThreadingHTTPServer):
    """Serves the pages given by path, and notes every other path that is asked for."""

    daemon_threads = True
    block_on_close = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.pages: dict[str, str] = {}
        self.unexpected: list[str] = []

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Answer(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        body = self.server.pages.get(self.path)
        if body is None:
            self.server.unexpected.append(self.path)
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write((body or "").encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def _serving() -> Iterator[Site]:
    with Site() as site:
        thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield site
        finally:
            site.shutdown()
            thread.join()


@pytest.fixture
def site() -> Iterator[Site]:
    with _serving() as server:
        yield server


def _page(entries: dict[str, str]) -> str:
    sections = (f"<section id='e-{name}'>{html}</section>" for name, html in entries.items())
    return _HEAD + "".join(sections) + "</body></html>"


def _prefixes(text: str) -> list[str]:
    """Returns some states of a stream: cuts next to every sign that matters to a parser."""
    return [text[:end] for end in range(1, len(text)) if text[end - 1] in "<>\"'`$\\]\n)"]


def test_the_watcher_sees_payloads_that_run(site: Site, browser: Browser) -> None:
    site.pages["/"] = _HEAD + (
        "<img src=x: onerror=\"window.__hacked='image'\"><script>window.__hacked='script'</script>"
        "<iframe srcdoc=\"<script>parent.window.__hacked='frame'</script>\"></iframe>"
        f"<img src='{site.origin}/leak?image'><img src='http://leak.invalid/leak'>"
        "<div id=links><a href='javascript:void 0'>x</a></div></body>"
    )
    with watched(browser, site.origin) as (context, seen):
        page = context.new_page()
        page.goto(f"{site.origin}/")
        page.wait_for_load_state("load")
        assert {"image", "script", "frame"} <= set(executions(page))
        assert click_all_links(page, "#links") == ["javascript:void 0"] * 2
    assert site.unexpected == ["/leak?image"]
    assert seen.requests == ["http://leak.invalid/leak"]


def test_the_rendered_corpus_is_inert(site: Site, browser: Browser) -> None:
    entries = corpus(f"{site.origin}/leak")
    site.pages["/"] = _page({name: wrap(render(text)) for name, text in entries.items()})
    with watched(browser, site.origin) as (context, seen):
        page = context.new_page()
        page.goto(f"{site.origin}/")
        page.wait_for_load_state("networkidle")
        assert page.locator("section > div.hotclaude").count() == len(entries)
        assert page.locator("section").count() == len(entries)
        targets = click_all_links(page, "body")
        page.wait_for_load_state("networkidle")
        assert executions(page) == []
        assert page.url == f"{site.origin}/"
        assert len(context.pages) == 1
    assert targets
    assert {urlsplit(target).scheme for target in targets} <= {"http", "https", "mailto"}
    assert site.unexpected == []
    assert (seen.requests, seen.dialogs, seen.errors) == ([], [], [])


def test_every_state_of_the_stream_is_inert(site: Site, browser: Browser) -> None:
    entries = corpus(f"{site.origin}/leak")
    site.pages["/"] = _page({"live": ""})
    states = [wrap(render(state)) for text in entries.values() for state in _prefixes(text)]
    with watched(browser, site.origin) as (context, seen):
        page = context.new_page()
        page.goto(f"{site.origin}/")
        page.evaluate(
            """async (states) => {
                const live = document.querySelector('#e-live');
                for (const [index, state] of states.entries()) {
                    live.innerHTML = state;
                    live.replaceChildren(document.createRange().createContextualFragment(state));
                    if (index % 50 === 0) await new Promise((done) => setTimeout(done));
                }
            }""",
            states,
        )
        page.wait_for_load_state("networkidle")
        assert executions(page) == []
        assert len(context.pages) == 1
    assert site.unexpected == []
    assert (seen.requests, seen.dialogs, seen.errors) == ([], [], [])
