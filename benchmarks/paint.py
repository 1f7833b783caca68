"""From the model's delta to the paint in Chromium: `python -m benchmarks.paint`.

The model server sends 200 words a second for 10 s. Every word holds its own number; the server
notes when it wrote each, and a MutationObserver in the page notes, after the frame that follows,
the highest number shown. Both read the clock of this machine. What is printed is JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import sync_playwright

from hotclaude_kernel.claude.launch import find_claude
from hotclaude_kernel.modelserver.replies import Reply, Text
from hotclaude_kernel.modelserver.server import ModelServer
from tests.browser.frontend import LAB, NOTEBOOK_7, jupyter
from tests.browser.watch import chromium, watched
from tests.support.environment import isolated_env

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hotclaude_kernel.modelserver.request import Request
    from tests.browser.frontend import FrontEnd

WORDS_PER_S = 200.0
PARAGRAPH = 60
FRONT_ENDS = {front.name: front for front in (LAB, NOTEBOOK_7)}

#: Notes `[number, time in ms]` whenever a higher number was painted. The task that a frame posts
#: runs after that frame has been handed to the compositor.
WATCH = """() => {
    window.__painted = [];
    let last = 0;
    const after = new MessageChannel();
    const due = [];
    after.port1.onmessage = () => {
        const now = performance.timeOrigin + performance.now();
        while (due.length) window.__painted.push([due.shift(), now]);
    };
    const look = () => {
        const shown = [...document.querySelectorAll('.jp-OutputArea-output')].slice(-2);
        const text = shown.map((output) => output.textContent.slice(-400)).join(' ');
        const highest = Math.max(0, ...[...text.matchAll(/w(\\d+)/g)].map((word) => +word[1]));
        if (highest <= last) return;
        last = highest;
        requestAnimationFrame(() => { due.push(highest); after.port2.postMessage(0); });
    };
    new MutationObserver(look).observe(
        document.querySelector('.jp-Notebook'),
        {childList: true, subtree: true, characterData: true});
}"""


class TimedPieces(list[str]):
    """Words that note when each is taken; the server writes a word when it takes the next."""

    def __init__(self, words: list[str]) -> None:
        super().__init__(words)
        self.taken: list[float] = []

    def __iter__(self) -> Iterator[str]:
        for word in super().__iter__():
            self.taken.append(time.time())
            yield word

    @property
    def sent(self) -> list[float]:
        """When each numbered word was written; the last one's time is not known."""
        written = zip(self[:-1], self.taken[1:], strict=True)
        return [moment for word, moment in written if "w" in word]


class TimedText(Text):
    """An answer of numbered words."""

    def __init__(self, count: int) -> None:
        super().__init__(numbered(count), words_per_s=WORDS_PER_S)
        object.__setattr__(self, "timed", TimedPieces(super().pieces()))

    timed: TimedPieces

    def pieces(self) -> list[str]:
        """The words, which note when they are taken."""
        return self.timed


def numbered(count: int) -> str:
    """Return Markdown of so many words, numbered from 1: paragraphs, lists, some bold, headings."""
    parts = []
    for number in range(1, count + 1):
        at, part = (number - 1) % PARAGRAPH, (number - 1) // PARAGRAPH
        start = ""
        if at == 0:
            start = "\n\n"
        elif part % 5 == 4 and at % 10 == 1:
            start = "\n- "
        word = f"**w{number}**" if number % 17 == 0 else f"w{number}"
        parts.append(f"{start}{word}" if start else f" {word}")
    return "".join(parts).lstrip()


def measure(front: FrontEnd, count: int) -> dict[str, Any]:
    """Run one answer and return the delays in milliseconds."""
    answer = TimedText(count)

    def model(request: Request) -> Reply:
        return Reply(answer) if request.prompt == "stream" else Reply("Warm: $a^2$.")

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hotclaude-paint-")))
        served = stack.enter_context(ModelServer(model).in_thread())
        env = isolated_env(folder, served.url, find_claude())
        server = stack.enter_context(jupyter(front.program, env, folder / "jupyter.log"))
        browser = stack.enter_context(chromium(stack.enter_context(sync_playwright())))
        context, _ = stack.enter_context(watched(browser, server.origin))
        page = context.new_page()
        server.write("paint.ipynb")
        sheet = front.open(page, server, "paint.ipynb")
        sheet.run("warm up")
        page.evaluate(WATCH)
        sheet.wait_done(sheet.start("stream"))
        page.wait_for_function(f"() => window.__painted.at(-1)?.[0] === {count}")
        painted = page.evaluate("window.__painted")
    return summary(front.name, answer.timed.sent, painted)


def summary(name: str, sent: list[float], painted: list[tuple[int, float]]) -> dict[str, Any]:
    """Return the numbers of a run: from each word's writing to the paint that showed it."""
    delays: list[float] = []
    for highest, at_ms in painted:
        delays += [at_ms - moment * 1000 for moment in sent[len(delays) : highest]]
    cuts = statistics.quantiles(delays, n=100, method="inclusive")
    return {
        "front_end": name,
        "words": len(delays),
        "seconds": round(sent[-1] - sent[0], 2),
        "paints": len(painted),
        "p50_ms": round(cuts[49], 1),
        "p95_ms": round(cuts[94], 1),
        "max_ms": round(max(delays), 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paint", description=__doc__)
    parser.add_argument("front_ends", nargs="*", default=["lab"], help=", ".join(FRONT_ENDS))
    parser.add_argument("--words", type=int, default=2000)
    options = parser.parse_args()
    if unknown := set(options.front_ends) - set(FRONT_ENDS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    for name in options.front_ends:
        print(json.dumps(measure(FRONT_ENDS[name], options.words)), flush=True)


if __name__ == "__main__":
    main()
