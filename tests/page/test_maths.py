"""Formulas: honest ones are drawn in a box of their own; what would leave it is shown as code."""

from __future__ import annotations

import pytest

from hotclaude_kernel.page.markdown.maths import BLOCK, INLINE, drawn
from hotclaude_kernel.page.markdown.render import render

from ..hostile import corpus

MATHS = [name for name in corpus() if name.startswith("maths_")]

HONEST = (
    r"a^2+b^2", r"\int_0^1 x\,dx", r"\begin{aligned} a&=b\\[6pt] c&=d\end{aligned}",
    r"x = 5 \text{ if } y", r"\color{red}x", r"\textcolor{blue}{y}", r"\hspace{1cm} x \quad y",
    r"l = \text{300 mm}", r"\phantom{0}1 + \vphantom{\frac12}x", r"\boxed{x}\tag{1}",
    r"\frac{a}{b}\!\left(x\right)", r"\kern-2pt x", r"20\exp(x)", r"\Large x",
    r"a \rightarrow b \overset{!}{=} c", r"\underbrace{a+b}_{n} \rho \lambda \rangle \overline{x}",
    r"\begin{array}{l|cr}a&b&c\\ \hline d&e&f\end{array}", r"\sqrt[3]{x} \not= \mathcal{L}",
    r"\begin{pmatrix} 1 & 0 \\ 0 & 1 \end{pmatrix}", r"\cancel{x} + \operatorname{rank}(A)",
    r"\sum_{\substack{i<n\\j<m}} \binom{n}{k} \mathbb{E}[X]", r"\left\lbrace x \right. \;\: y",
)  # fmt: skip

LEAVING = (
    r"\smash{x}", r"\lower 5.5em{x}", r"\raise3em{x}", r"\raisebox{3em}{x}", r"\rlap{x}",
    r"\llap{x}", r"\clap{x}", r"\mathllap{x}", r"\mathclap{x}", r"\moveleft 5em {x}",
    r"\vcenter{x}",
    r"\rule{1em}{1em}", r"\Rule{1em}{1em}{1em}", r"\Space{9em}{9em}{9em}", r"\skew{99}\hat x",
    r"\hspace{-70em}x", r"\hspace{31em}", r"\hspace*{ 1000 em }", r"\hskip-900pt x",
    r"\mkern-900mu",
    r"\kern 1000pt", r"\mspace{90000mu}", r"\\[100000em]", r"\\ [-50em]", r"\cr[-50em]",
    r"\begin{array}{p{1000em}}x\end{array}", r"\begin{array}{*{9999}{c}}x\end{array}",
    r"\sqrt[\uproot{10000}3]{x}", r"\genfrac{}{}{1000em}{}{a}{b}", r"{\Huge{\Huge x}}",
    r"\xmathstrut{9999}", r"\MoveEqLeft[999] x", r"\color{white}x",
    r"\color white", r"\color{#fff}x",
    r"\textcolor[rgb]{1,1,1}{x}", r"\colorbox{white}{x}", r"\fcolorbox{red}{white}{x}",
    r"\enclose{box}{x}", r"\cancel[mathbackground=white]{x}", r"\bcancel [padding=9em]{x}",
    r"\char`x", r"\!" * 20, "{" * 30 + "x" + "}" * 30, r"\\" * 200, r"\frac1" * 200, r"\hat" * 200,
)  # fmt: skip


@pytest.mark.parametrize("tex", HONEST)
def test_an_honest_formula_is_drawn_in_its_box(tex: str) -> None:
    assert f'style="{INLINE}">' in drawn(tex, display=False, block=False)
    assert f'style="{BLOCK}">' in drawn(tex, display=True, block=True)


@pytest.mark.parametrize("tex", LEAVING)
def test_one_that_leaves_its_box_is_shown_as_code(tex: str) -> None:
    assert drawn(f"x {tex} y", display=False, block=False).startswith("<code>x ")
    assert drawn(f"x {tex} y", display=True, block=True).startswith("<pre><code>x ")


@pytest.mark.parametrize("name", MATHS)
def test_none_of_the_corpus_is_left_to_mathjax(name: str) -> None:
    if name not in ("maths_html", "maths_html_display", "maths_close"):  # harmless once escaped
        assert "mathjax_process" not in render(corpus()[name])


def test_a_box_clips_what_it_holds_in_every_front_end() -> None:
    """An untrusted notebook keeps `overflow` and `max-height`, but not `contain`."""
    assert "contain:paint" in INLINE
    assert "display:inline-block" in INLINE
    for part in ("contain:paint", "overflow-y:hidden", "max-height:200em"):
        assert part in BLOCK
