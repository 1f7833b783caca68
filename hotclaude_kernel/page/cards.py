"""Tool uses as cards: the call, the user's decision on it, and its result.

A card is an HTML fold (`<details>`) that grows. It is made when the model calls the tool, and
completed by the decision, by a subagent's cards, and by the result. Its HTML is kept until the
card changes.
"""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from ..claude.frames import deeper
from .parts import literal
from .sections import MOST_CHARACTERS, Code, Console, Picture, Prose, Section
from .text import MARK, escape, marked, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..claude.events import Block, ToolResult
    from ..claude.frames import Frame
    from .document import Piece

TITLE_CHARACTERS = 100
# Added to the size of each card's text, so that many small cards fill a segment too.
CARD_CHARACTERS = 150
# A subagent's cards are on the card that started it. Further down they are shown in one row.
MOST_LEVELS = 20
MOST_INDENTS = 30
# The user reads these tools' input at once, so their cards are unfolded.
SHOWN = ("TodoWrite", "ExitPlanMode", "AskUserQuestion")
# Input fields that a tool's card shows in full. For a tool that is not listed it shows all of them.
SAID: dict[str, tuple[str, ...]] = {
    "Agent": ("description", "prompt"),
    "AskUserQuestion": ("questions",),
    "Bash": ("command", "description"),
    "Edit": ("old_string", "new_string"),
    "ExitPlanMode": ("plan",),
    "Glob": (),
    "Grep": (),
    "MultiEdit": ("edits",),
    "NotebookEdit": ("new_source",),
    "Read": (),
    "Task": ("description", "prompt"),
    "TodoWrite": ("todos",),
    "WebFetch": (),
    "WebSearch": (),
    "Write": ("content",),
}
LANGUAGES = {
    ".c": "c", ".cpp": "cpp", ".css": "css", ".go": "go", ".html": "html", ".java": "java",
    ".js": "javascript", ".json": "json", ".md": "markdown", ".py": "python", ".rb": "ruby",
    ".rs": "rust", ".sh": "bash", ".sql": "sql", ".toml": "toml", ".ts": "typescript",
    ".yaml": "yaml", ".yml": "yaml",
}  # fmt: skip


class Card:
    """A tool use on the page; a `Piece` of its document."""

    def __init__(self, block: Block) -> None:
        self.name = str(block.content.get("name") or "tool")
        given = block.content.get("input") or {}
        self.input: Frame = given if isinstance(given, dict) else {"input": given}
        self.result: ToolResult | None = None
        self.decision = ""
        self.waiting = self.stopped = False
        self.children: list[Piece] = []
        self.gap = ""
        self._parent: Card | None = None
        self._level = 1
        self._drawn: str | None = None

    @property
    def size(self) -> int:
        """The size of the call, in characters; the page adds that of later parts as they come."""
        return min(CARD_CHARACTERS + len(str(self.input)), MOST_CHARACTERS)

    @property
    def line(self) -> str:
        """The call as one line."""
        name = visible(self.name)
        return f"{name}: {self.about}" if self.about else name

    @property
    def root(self) -> Card:
        """The outermost card that holds this one; itself if no card does."""
        return self if self._parent is None else self._parent.root

    def add(self, child: Piece) -> None:
        """Add a subagent's step; below the last level it is shown beside this card."""
        if self._level >= MOST_LEVELS and self._parent is not None:
            self._parent.add(child)
            return
        if isinstance(child, Card):
            child._parent, child._level = self, self._level + 1
        self.children.append(child)
        self.changed()

    def end(self, result: ToolResult) -> None:
        """Add the tool's result."""
        self.result = result
        # If the result comes while the user is still asked, the question was withdrawn.
        self.waiting, self.stopped = False, self.waiting
        self.changed()

    def wait(self) -> None:
        """Mark the call as asked about. The question shows all of it, so the card does not."""
        self.waiting = True
        self.changed()

    def decide(self, decision: str) -> None:
        """Add the user's decision."""
        self.decision, self.waiting = visible(decision), False
        self.changed()

    def stop(self) -> None:
        """Mark a call that has no result as stopped; the turn is over."""
        if self.result is None:
            self.stopped = True
            self.changed()

    def changed(self) -> None:
        """Have this card, and the cards that hold it, rendered again."""
        self._drawn = None
        if self._parent is not None:
            self._parent.changed()

    def render(self, references: dict[str, Any]) -> str:
        """Return the card as HTML."""
        if self._drawn is None:
            sections = [] if self.waiting else self.sections()
            body = "".join(section.html() for section in sections)
            body += "".join(child.render(references) for child in self.children)
            report = self.report()
            self._drawn = self._folded(body + (report.html() if report else ""))
        return self._drawn

    @property
    def _asks_inside(self) -> bool:
        """Whether the user is asked about a subagent's call on this card."""
        cards = (child for child in self.children if isinstance(child, Card))
        return any(card.waiting or card._asks_inside for card in cards)

    def _folded(self, body: str) -> str:
        name = escape(visible(self.name))
        about = escape(self.about)
        code = f" <code>{about}</code>" if about else ""
        state = f' <span style="opacity:.65">· {escape(self.state)}</span>'
        said = self.name in SHOWN and not self.waiting
        shown = " open" if said or self._asks_inside else ""
        style = "margin:.4em 0;padding-left:.6em;border-left:3px solid var(--jp-border-color2,#ccc)"
        return (
            f'<details{shown} style="{style}"><summary>{MARK} <b>{name}</b>{code}{state}</summary>'
            f"{body}</details>"
        )

    @property
    def source(self) -> str:
        """The card as Markdown."""
        line = self.about.replace("`", "").strip()
        about = f" `{line}`" if line else ""
        name = literal(visible(self.name))
        head = marked(f"**{name}**{about} · {literal(self.state)}\n\n")
        report = self.report()
        parts = [section.source() for section in self.sections()]
        parts += [child.source for child in self.children]
        return self.gap + head + "".join(parts) + (report.source() if report else "")

    @property
    def about(self) -> str:
        """The most telling field of the call's input, as one line."""
        keys = ("command", "file_path", "notebook_path", "path", "pattern", "url", "query")
        values = [self.input.get(key) for key in (*keys, "description", "skill", "subject")]
        found = next((value for value in values if value), "")
        lines = str(found).strip().splitlines()
        line = visible(lines[0]) if lines else ""
        more = "…" if len(lines) > 1 or len(line) > TITLE_CHARACTERS else ""
        return line[:TITLE_CHARACTERS] + more

    @property
    def state(self) -> str:
        """How far the call is, after the user's decision if there was one."""
        if self.stopped:
            now = "stopped"
        elif self.waiting:
            now = "waiting for your answer"
        elif self.result is None:
            now = "running…"
        else:
            now = "failed" if self.result.is_error else "done"
        return f"{self.decision}, {now}" if self.decision else now

    @property
    def _refused(self) -> bool:
        """Whether the user said no; the tool's error then only repeats their answer."""
        failed = self.result is not None and self.result.is_error
        return failed and self.decision.startswith(("denied", "not approved"))

    def sections(self) -> list[Section]:
        """Return the sections of the call; a subagent's cards and the result follow them."""
        match self.name:
            case "Bash":
                command = str(self.input.get("command") or "")
                return [Code(command, "bash")] if self.about != command.strip() else []
            case "Edit" | "MultiEdit" | "Write" | "NotebookEdit":
                return list(self._changes())
            case "TodoWrite":
                return [Prose(_checklist(self.input.get("todos")))]
            case "ExitPlanMode":
                return [Prose(str(self.input.get("plan", "")))]
            case "AskUserQuestion":
                return [Prose(self._answers())]
            case "Task" | "Agent":
                return [Prose(str(self.input.get("prompt", "")))]
            case "Read" | "Glob" | "Grep" | "WebFetch" | "WebSearch":
                return []
        return [_json(self.input)]

    def report(self) -> Section | None:
        """Return the tool's result as a section, `None` if the card shows it already."""
        result = self.result
        if result is None or self._refused:
            return None
        if result.is_error:
            text = result.text.removeprefix("<tool_use_error>").removesuffix("</tool_use_error>")
            return Console(text)  # claude writes the tags for the model
        if result.pictures:
            return Pictures([Picture(*picture) for picture in result.pictures])
        match self.name:
            case "Edit" | "MultiEdit" | "Write" | "NotebookEdit":
                return None
            case "TodoWrite" | "AskUserQuestion" | "ExitPlanMode":
                return None
            case "Read":
                return _file(result)
            case "WebFetch" | "WebSearch":
                return Prose(result.text)
            case "Task" | "Agent":
                return Prose(_agent_report(result))
        return Console(result.text)

    def _changes(self) -> Iterator[Section]:
        """Yield a file's change: the tool's own patch, else a diff made from the call."""
        path = str(self.input.get("file_path") or self.input.get("notebook_path") or "")
        asked = _dicts(self.input.get("edits")) or [self.input]
        edits = [edit for edit in asked if "old_string" in edit]
        if patch := _dicts(_detail(self.result).get("structuredPatch")):
            yield Code(_patch(patch, path), "diff")
        elif edits:
            yield Code("\n".join(_diff(edit, path) for edit in edits), "diff")
        else:
            text = str(self.input.get("content") or self.input.get("new_source") or "")
            yield Code(text, language_of(path))

    def _answers(self) -> str:
        answers = _dict(_detail(self.result).get("answers"))
        lines = []
        for question in _dicts(self.input.get("questions")):
            asked = str(question.get("question", ""))
            lines.append(f"- {asked} **{answers.get(asked, '…')}**")
        return "\n".join(lines)


class Pictures:
    """Several pictures as one section."""

    def __init__(self, pictures: list[Picture]) -> None:
        self._pictures = pictures

    def html(self) -> str:
        """Return the pictures one below the other."""
        return "".join(picture.html() for picture in self._pictures)

    def source(self) -> str:
        """Return the pictures' names."""
        return "".join(picture.source() for picture in self._pictures)


def language_of(path: str) -> str:
    """Return pygments' name of a file's language, by the file's suffix; "" if unknown."""
    return LANGUAGES.get(PurePath(path).suffix.lower(), "")


def _json(value: Frame) -> Code:
    """Return a value as a section. In a deep one the indents would hide what they indent."""
    indent = None if deeper(value, MOST_INDENTS) else 2
    return Code(json.dumps(value, indent=indent, ensure_ascii=False), "json")


# A tool's input and its result's detail come from outside: any value may have any type.


def _dict(value: Any) -> Frame:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[Frame]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _detail(result: ToolResult | None) -> Frame:
    return _dict(result.detail) if result else {}


def _file(result: ToolResult) -> Section:
    file = _dict(_detail(result).get("file"))
    if isinstance(file.get("content"), str):
        return Code(file["content"], language_of(str(file.get("filePath", ""))))
    return Console(result.text)


def _patch(hunks: list[Frame], path: str) -> str:
    """Return the tool's hunks as a unified diff."""
    lines = [f"--- {visible(path)}", f"+++ {visible(path)}"]
    for hunk in hunks:
        old = f"-{hunk.get('oldStart')},{hunk.get('oldLines')}"
        new = f"+{hunk.get('newStart')},{hunk.get('newLines')}"
        changed = hunk.get("lines")
        lines.append(f"@@ {old} {new} @@")
        lines += [str(line) for line in changed] if isinstance(changed, list) else []
    return "\n".join(lines)


def _diff(edit: Frame, path: str) -> str:
    import difflib  # takes 2 ms, and few calls are edits

    old, new = str(edit["old_string"]), str(edit.get("new_string", ""))
    name = visible(path)
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), name, name, lineterm="")
    return "\n".join(lines)


def _checklist(todos: Any) -> str:
    lines = []
    for todo in _dicts(todos):
        done = "x" if todo.get("status") == "completed" else " "
        text = str(todo.get("content", ""))
        lines.append(
            f"- [{done}] " + (f"**{text}**" if todo.get("status") == "in_progress" else text)
        )
    return "\n".join(lines)


def _agent_report(result: ToolResult) -> str:
    """Return a subagent's own words, without claude's notes to the model around them."""
    texts = [str(block.get("text", "")) for block in _dicts(_detail(result).get("content"))]
    own = [text for text in texts if not text.lstrip().startswith("<tools-used")]
    return "\n\n".join(own) or result.text
