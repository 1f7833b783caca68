"""Questions in the cell: buttons and fields, awaited while the cell runs.

ipywidgets is loaded at the first question. The model's text is escaped before it gets into a
widget. The widgets are closed with the question, and the page shows the decision instead: a saved
notebook can't show a widget.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ..page.markdown.render import wrap
from ..page.text import escape, marked, visible
from .decide import Choice, Verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..claude.session import PermissionRequest
    from ..page.parts import Data
    from .rules import Rule

# Shown by front ends without widgets, in place of the question.
WAITING = (
    "Waiting for your decision. This front end needs ipywidgets to ask for it; "
    "an interrupt withdraws the question."
)
LABEL_CHARACTERS = 100
ON_A_BUTTON = 45  # a longer label is cut where the page is narrow
WIDE = {"width": "auto", "max_width": "40em"}


class ButtonAsker:
    """Asks by widgets. `show` displays their MIME bundle in the cell, and `hide` removes it.

    A question is asked by the task that reads the process, whose context is not the cell's.
    `enter` is called there before the widgets are made, so that a host can set the cell's context.
    """

    def __init__(
        self,
        show: Callable[[dict[str, Any]], None],
        hide: Callable[[], None],
        *,
        enter: Callable[[], None] = lambda: None,
    ) -> None:
        self._show = show
        self._hide = hide
        self._enter = enter
        self._offered: _Offer | None = None

    async def permission(
        self, request: PermissionRequest, about: str, rule: Rule | None
    ) -> Verdict:
        """Ask whether a tool may be used; `about` is the call as safe HTML."""
        form = self._form()
        reason = form.text("why not, for Claude (optional)")
        buttons = [form.button("Allow once", "success", lambda: Verdict(allow=True))]
        if rule:
            label = f"Allow {rule.text} for this session"
            about += in_full(label)
            buttons.append(form.button(label, "", lambda: Verdict(allow=True, lasts=True)))
        deny = form.button("Deny", "danger", lambda: Verdict(allow=False, reason=reason.value))
        reason.on_submit(lambda _: form.settle(Verdict(allow=False, reason=reason.value)))
        title = f"<b>{marked(f'Claude wants to use {escape(visible(request.tool_name))}')}</b>"
        row = form.row(*buttons, deny)
        verdict: Verdict = await self._ask(form, [form.html(title + about), row, reason])
        return verdict

    async def plan(self, plan: str) -> Verdict:
        """Ask whether a plan is to be carried out; `plan` is safe HTML."""
        form = self._form()
        reason = form.text("what to change (optional)")
        approve = form.button("Approve the plan", "success", lambda: Verdict(allow=True))
        keep = form.button(
            "Keep planning", "warning", lambda: Verdict(allow=False, reason=reason.value)
        )
        title = f"<b>{marked('Claude has a plan. Carry it out?')}</b>"
        row = form.row(approve, keep)
        verdict: Verdict = await self._ask(form, [form.html(title + plan), row, reason])
        return verdict

    async def trust(self, about: Data, show: Callable[[Data], None]) -> bool:
        """Ask whether a folder is trusted; `about` is safe HTML."""
        form = self._form()
        yes = form.button("Trust this folder", "warning", lambda: True)
        no = form.button("Go on without", "", lambda: False)
        box = form.column(form.html(about["text/html"]), form.row(yes, no))
        try:
            plain = f"{about['text/plain']}\n{WAITING}"
            show(about | box._repr_mimebundle_() | {"text/plain": plain})
            return bool(await form.answer)
        finally:
            form.close()

    def offer(
        self, line: Data, show: Callable[[Data], None], trust: Callable[[], Awaitable[None]]
    ) -> None:
        """Show a line with a button that trusts the folder, until `withdraw`."""
        form = self._form()
        yes = form.button("Trust this folder", "", lambda: True)
        box = form.column(form.html(line["text/html"]), form.row(yes))
        show(box._repr_mimebundle_() | line)

        def end(_: object = None) -> None:
            form.close()
            show(line)

        form.answer.add_done_callback(end)
        self._offered = _Offer(form, end, trust)

    async def withdraw(self) -> None:
        """Take the button away, and trust the folder if it was pressed; the line stays."""
        offered, self._offered = self._offered, None
        if offered is None:
            return
        if offered.form.answer.done():
            await offered.trust()
            return
        offered.form.answer.remove_done_callback(offered.end)
        offered.form.answer.cancel()
        offered.end()

    async def choice(self, choice: Choice) -> str:
        """Ask one of Claude's own questions."""
        form = self._form()
        own = form.text("something else")
        title = form.html(_title(choice))
        widgets = self._several(form, choice, own) if choice.several else None
        if widgets is None:
            widgets = self._single(form, choice, own)
        return str(await self._ask(form, [title, *widgets]))

    def _single(self, form: Form, choice: Choice, own: Any) -> list[Any]:
        buttons = [
            form.button(label, "", partial(str, label), tip)
            for label, tip in zip(choice.labels, choice.tips, strict=True)
        ]
        send = form.button("Answer in own words", "primary", lambda: own.value)
        own.on_submit(lambda _: form.settle(own.value))
        return [form.row(*buttons), own, form.row(send)]

    def _several(self, form: Form, choice: Choice, own: Any) -> list[Any]:
        boxes = [form.box(label) for label in choice.labels]

        def picked() -> str:
            ticked = [box for box in zip(choice.labels, boxes, strict=True) if box[1].value]
            return ", ".join([label for label, _ in ticked] + ([own.value] if own.value else []))

        return [*boxes, own, form.row(form.button("Answer", "primary", picked))]

    def _form(self) -> Form:
        self._enter()
        return Form()

    async def _ask(self, form: Form, widgets: list[Any]) -> Any:
        box = form.column(*widgets)
        try:
            self._show(box._repr_mimebundle_() | {"text/plain": WAITING})
            return await form.answer
        finally:
            self._hide()
            form.close()


def _title(choice: Choice) -> str:
    """Return Claude's question; its options in full where the buttons would cut them."""
    title = f"<b>{marked('Claude asks:')}</b> {escape(visible(choice.question))}"
    if all(len(visible(label)) <= LABEL_CHARACTERS for label in choice.labels):
        return title
    return title + "".join(f"<li>{escape(visible(label))}</li>" for label in choice.labels)


def in_full(label: str) -> str:
    """Return a button's label as HTML that wraps, if a narrow page would cut the button's own."""
    if len(label) <= ON_A_BUTTON:
        return ""
    line = escape(marked(f"The second button: {label}"))
    return f'<div style="overflow-wrap:anywhere">{line}</div>'


class _Offer(NamedTuple):
    """A button that nobody waits for: what takes it away, and what a press does in the end."""

    form: Form
    end: Callable[..., None]
    trust: Callable[[], Awaitable[None]]


class Form:
    """The widgets of one question, and the future of its answer."""

    def __init__(self) -> None:
        import ipywidgets

        ipywidgets.register_comm_target()  # so that a reloaded page finds the widgets again
        self._kit = ipywidgets
        self._loop = asyncio.get_running_loop()
        self._widgets: list[Any] = []
        self.answer: asyncio.Future[Any] = self._loop.create_future()

    def settle(self, answer: Any) -> None:
        """Set the answer, from any thread; only the first one counts."""
        self._loop.call_soon_threadsafe(self._settle, answer)

    def _settle(self, answer: Any) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)

    def button(self, label: str, style: str, answer: Callable[[], Any], tip: str = "") -> Any:
        """Return a button that settles the question with `answer()`."""
        # Not narrower than its label, but never out of view.
        layout = {"width": "auto", "flex": "none", "max_width": "100%"}
        button = self._keep(
            self._kit.Button(
                description=visible(label)[:LABEL_CHARACTERS],
                button_style=style,
                tooltip=visible(tip),
                layout=layout,
            )
        )
        button.on_click(lambda _: self.settle(answer()))
        return button

    def text(self, placeholder: str) -> Any:
        """Return a one-line field."""
        return self._keep(self._kit.Text(placeholder=placeholder, layout=WIDE))

    def box(self, label: str) -> Any:
        """Return a check box."""
        return self._keep(self._kit.Checkbox(description=visible(label), indent=False, layout=WIDE))

    def html(self, body: str) -> Any:
        """Return safe HTML as a widget."""
        return self._keep(self._kit.HTML(wrap(body)))

    def row(self, *widgets: Any) -> Any:
        """Return widgets side by side, in several rows if the page is narrow."""
        return self._keep(self._kit.HBox(widgets, layout={"flex_flow": "row wrap"}))

    def column(self, *widgets: Any) -> Any:
        """Return widgets one below the other."""
        return self._keep(self._kit.VBox(widgets))

    def close(self) -> None:
        """Close the widgets, here and in the front end."""
        for widget in self._widgets:
            widget.close()

    def _keep(self, widget: Any) -> Any:
        self._widgets.append(widget)
        return widget
