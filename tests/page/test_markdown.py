"""What Markdown becomes on the page, and where a growing answer may be cut."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotclaude_kernel.page.markdown import code
from hotclaude_kernel.page.markdown import render as render_module
from hotclaude_kernel.page.markdown.grammar import allows
from hotclaude_kernel.page.markdown.maths import BLOCK, INLINE
from hotclaude_kernel.page.markdown.render import Splitter, definitions, render, tame, wrap
from hotclaude_kernel.page.text import escape, visible, without_ansi

from ..hostile import corpus, violations
from ..support.examples import times

CORPUS = corpus()

#: Pieces that say something on their own or change what stands around them.
PIECES = [
    "# Heading\n",
    "Setext\n===\n",
    "A paragraph with *emphasis* and `code`.\n",
    "two\nlines\n",
    "- one\n- two\n",
    "- loose\n\n- items\n\n  with a paragraph\n",
    "- nested\n  - deeper\n\n    text\n",
    "- item\n\n  ```\n  code\n\n  more\n  ```\n",
    "3. three\n4. four\n",
    "10. ten\n   ```\n   x\n\n   y\n   ```\n",
    "1) a\n\n   b\n",
    "- [ ] open\n- [x] done\n",
    "| a | b |\n|---|--:|\n| 1 | 2 |\n",
    "a|b\n-|-\n2. c\n",
    "```python\nx = 1\n\ny = 2\n```\n",
    "````\n```\n\n````\n",
    "~~~ text\n```\n\n~~~~\n",
    "  ```\n  x\n\n",
    "```\n",
    "~~~\n",
    "    indented\n\n    code\n",
    "$$\nx^2\n$$\n",
    "$$\nx\n\ny\n$$\n",
    "$$ x $$\n",
    "$$\n",
    "$$ open\n",
    "\\[\nx \\\\[2pt]\n\\]\n",
    "\\[ x \\]\n",
    "\\[\n",
    "\\]\n",
    "inline $x$, \\(y\\), $$z$$, \\[w\\] and $5 and $10\n",
    "> quote\n> more\n",
    "> quote\nlazy\n",
    "> ```\n> x\n",
    "> - a\n>\n>   b\n",
    "<div>\n",
    "</div> <b>bold</b>\n",
    "see [one] and [two][One]\n",
    "[one]: https://example.invalid/1 'title'\n",
    "[two]:\n  <b.md>\n  'a\n  title'\n",
    "- [three]: c.md\n",
    "---\n",
    "***\n",
    "-\n",
    "*\n",
    "+ \n",
    "\t- tab\n",
    " - inset\n",
    "   inset\n",
    "\x1b[0m- x\n",
    "a\r\n",
    "a\rb\n",
    "\u202e- x\n",
    "\x0b\n",
    "\n",
    "\n",
    "\n",
    "\n\n",
    "   \n",
    "no newline ",
]
documents = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


def split(text: str, *sizes: int) -> list[str]:
    """Feeds text in pieces of the sizes given, over and over, and returns all its blocks."""
    splitter = Splitter()
    blocks: list[str] = []
    position = step = 0
    while position < len(text):
        size = sizes[step % len(sizes)]
        blocks += splitter.feed(text[position : position + size])
        position += size
        step += 1
        assert "".join(blocks) + splitter.tail == text[:position]
    return blocks + splitter.finish()


class TestSplitter:
    @given(documents, st.lists(st.integers(1, 40), min_size=1, max_size=5))
    def test_the_pieces_do_not_move_the_cuts(self, text: str, sizes: list[int]) -> None:
        assert split(text, *sizes) == split(text, max(1, len(text)))

    @given(documents)
    def test_the_blocks_together_are_the_text(self, text: str) -> None:
        assert "".join(split(text, 7)) == text

    @given(documents)
    @times(2)
    def test_blocks_rendered_one_by_one_are_the_whole_rendered_at_once(self, text: str) -> None:
        blocks = split(text, 5)
        known: dict[str, Any] = {}
        for block in blocks:
            known = {**definitions(block), **known}
        apart = "".join(render(block, references=known) for block in blocks)
        assert apart == render(text)

    @pytest.mark.parametrize(
        "whole",
        [
            "- a\n\n- b\n\n  c\n",
            "- a\n\n  ```\n  x\n\n  y\n  ```\n\n- b\n",
            "1. a\n\n2. b\n",
            "```\na\n\nb\n```\n",
            "````md\n```\n\n# a\n\n```\n\n````\n",
            "~~~\na\n\n```\n\n~~~~~\n",
            "```\na\n\nb\n   ```\n",
            "$$\na\n\nb\n$$\n",
            "\\[\na\n\nb\n\\]\n",
            "> a\n> b\n",
            "| a |\n|---|\n| b |\n",
        ],
    )
    def test_one_block_is_never_cut(self, whole: str) -> None:
        text = f"before\n\n{whole}\nafter\n"
        assert split(text, 3) == ["before\n\n", f"{whole}\n", "after\n"]

    def test_each_paragraph_and_heading_is_a_block(self) -> None:
        assert split("# a\n\nb\n\n\nc\n- d\n\n e\n", 4) == ["# a\n\n", "b\n\n\n", "c\n- d\n\n e\n"]

    def test_maths_that_never_closes_holds_the_text_up_for_a_while_only(self) -> None:
        text = "$$\n" + "line\n\n" * 60
        assert len(split(text, 9)) > 10

    def test_maths_right_under_a_table_is_not_cut(self) -> None:
        text = "| a |\n|---|\n| 1 |\n$$\nx\n\ny\n$$\n"
        assert split(text, 5) == [text]

    def test_an_empty_stream_has_no_blocks(self) -> None:
        assert Splitter().finish() == []
        assert Splitter().feed("") == []

    @pytest.mark.long
    @pytest.mark.parametrize(
        "text",
        [
            "# a\n\ntext **b**\n\n- c\n\n- d\n\n```\ne\n\nf\n```\n\n" * 500,
            "```\n" + "x = 1\n\n" * 3_000,
            "- a\n\n  b\n\n" * 2_000,
            "- a\n\n```\nb\n\nc\n" * 1_500,
            "```\na\n\nb\n```\n" * 1_600,
            "\\[\n\na\n\n" * 3_000,
            "$$ x\n\n- a\n\n" * 2_000,
            "a" * 20_000,
        ],
        ids=["mixed", "fence", "list", "broken lists", "fences", "maths", "no maths", "line"],
    )
    def test_the_lines_looked_at_grow_with_the_text(self, text: str) -> None:
        splitter = Splitter()
        for start in range(0, len(text), 5):
            splitter.feed(text[start : start + 5])
        splitter.finish()
        assert splitter.scanned <= 4 * (text.count("\n") + 1)


class TestDefinitions:
    def test_a_definition_serves_a_link_in_another_block(self) -> None:
        found = definitions('[Docs]: https://example.invalid/a "T"\n')
        assert render("see [docs]", references=found) == (
            '<p dir="auto">see <a href="https://example.invalid/a" title="T"'
            ' rel="noopener noreferrer" target="_blank">docs</a></p>\n'
        )

    def test_text_without_one_is_not_parsed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("hotclaude_kernel.page.markdown.grammar.parse_blocks", None)
        assert definitions("no [link] here") == {}

    def test_the_first_of_two_holds(self) -> None:
        assert definitions("[a]: b.md\n[a]: c.md\n") == {"A": {"title": "", "href": "b.md"}}

    def test_a_dangerous_definition_is_none(self) -> None:
        assert definitions("[a]: javascript:x\n") == {}

    def test_a_definition_in_a_fence_is_code(self) -> None:
        assert definitions("```\n[a]: b.md\n```\n") == {}


class TestRender:
    def test_raw_html_stays_text(self) -> None:
        assert render("<b>x</b>") == '<p dir="auto">&lt;b&gt;x&lt;/b&gt;</p>\n'

    def test_money_is_not_maths(self) -> None:
        for text in ("$5 and $10", "from $5 to $7.", "$1$2", "`$a` and $ b $", "$HOME and `$PATH`"):
            assert "mathjax" not in render(text)

    @pytest.mark.parametrize("text", ["$x^2$", "\\(x^2\\)"])
    def test_inline_maths_is_left_to_mathjax(self, text: str) -> None:
        assert (
            f'<span class="mathjax_process tex2jax_process" style="{INLINE}">\\(x^2\\)</span>'
            in (render(text))
        )

    @pytest.mark.parametrize("text", ["$$\nx\n$$", "\\[\nx\n\\]", "$$x$$", "\\[x\\]"])
    def test_display_maths_is_a_block(self, text: str) -> None:
        assert render(text) == (
            f'<div class="mathjax_process tex2jax_process" style="{BLOCK}">\\[x\\]</div>\n'
        )

    def test_display_maths_may_follow_a_line_of_text(self) -> None:
        assert render("so\n\\[\nx\n\\]\nand").count("<p") == 2

    def test_text_behind_display_maths_is_kept(self) -> None:
        assert "tail" in render("\\[ x \\] tail")

    def test_a_row_break_does_not_close_display_maths(self) -> None:
        assert "\\\\[2pt] b\\]" in render("\\[ a \\\\[2pt] b\\]")

    @pytest.mark.parametrize("name", [n for n in CORPUS if re.match("maths_(?!html|close)", n)])
    def test_maths_that_makes_links_or_names_is_shown_as_code(self, name: str) -> None:
        shown = render(CORPUS[name])
        assert "mathjax_process" not in shown
        assert "<code>" in shown

    def test_a_label_goes_because_the_next_refresh_would_define_it_again(self) -> None:
        assert "\\[x\\]" in render("\\[x\\label{eq:a}\\]")

    def test_a_fence_is_coloured_by_classes(self) -> None:
        assert render("```python\nif x:\n```") == (
            '<div class="highlight"><pre><code><span class="k">if</span> x'
            '<span class="p">:</span>\n</code></pre></div>\n'
        )

    @pytest.mark.parametrize("info", ["", "nonsense", 'python"x', "PYTHON3000"])
    def test_an_unknown_language_is_plain(self, info: str) -> None:
        assert "<span" not in render(f"```{info}\nif x:\n```")

    def test_every_language_listed_has_a_lexer(self) -> None:
        from pygments.lexers import find_lexer_class_by_name

        for language in code._LANGUAGES:
            assert find_lexer_class_by_name(language)

    def test_colours_keep_every_sign_of_the_code(self) -> None:
        code = "\n\n  x = '<&>'\t# é\n\n"
        shown = render(f"```python\n{code}```")
        assert re.sub("<[^>]*>", "", shown).strip("\n") == escape(code).strip("\n")

    def test_a_very_long_fence_is_plain(self) -> None:
        assert "<span" not in render("```python\n" + "if x:\n" * 10_000 + "```")

    @pytest.mark.parametrize("body", ["x" * 500 + "\n", "if x:\n" + "\n" * 50 + "y\n"])
    def test_code_that_a_lexer_could_choke_on_is_plain(self, body: str) -> None:
        assert "<span" not in render(f"```python\nif y:\n{body}```")

    def test_java_is_coloured_by_a_lexer_that_cannot_hang(self) -> None:
        assert '<span class="k">class</span>' in render("```java\nclass A {}\n```")

    def test_a_picture_becomes_a_link(self) -> None:
        shown = render("![chart](https://example.invalid/x.png)")
        assert "<img" not in shown
        assert ">[image: chart]</a>" in shown

    def test_a_picture_in_a_link_becomes_its_name(self) -> None:
        assert render("[![a](b.png)](c.md)") == '<p dir="auto"><a href="c.md">[image: a]</a></p>\n'

    def test_a_bare_address_is_a_link_and_its_full_stop_is_not(self) -> None:
        assert 'href="https://example.invalid/a_b_c"' in render(
            "see https://example.invalid/a_b_c."
        )

    def test_tasks_can_be_read_and_not_ticked(self) -> None:
        shown = render("- [x] done\n- [ ] open")
        assert shown.count('<input type="checkbox" disabled') == 2
        assert shown.count("checked") == 1

    def test_top_level_blocks_find_their_own_direction(self) -> None:
        shown = render("# שלום\n\nשלום\n\n- שלום\n\n> שלום\n")
        assert shown.count('dir="auto"') == 4
        assert "שלום" in shown

    def test_direction_overrides_are_spelled_out(self) -> None:
        assert "⟨U+202E⟩" in render("a\u202eb `c\u202ed`")

    def test_an_ordered_list_starts_where_it_says(self) -> None:
        assert '<ol start="5" dir="auto">' in render("5. a\n")

    @pytest.mark.parametrize(
        "sign", [">", "[", "- ", "> - ", "![", "*", "(", "` ", "<", "$", "\\("]
    )
    def test_deep_nesting_neither_fails_nor_loses_text(self, sign: str) -> None:
        shown = render(sign * 10_000 + "end")
        assert "end" in shown
        assert violations(shown) == []

    def test_what_the_parser_fails_on_is_shown_as_source(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail() -> None:
            raise RecursionError

        monkeypatch.setattr(render_module, "_renderer", fail)
        assert render("<b>") == "<pre>&lt;b&gt;</pre>\n"
        assert "shown as source" in caplog.text

    def test_the_same_text_renders_the_same_twice(self) -> None:
        text = "\n\n".join(CORPUS.values())
        assert render(text) == render(text)


class TestHostileText:
    def test_the_corpus_is_large(self) -> None:
        assert len(CORPUS) >= 60

    @pytest.mark.long
    def test_every_prefix_is_harmless(self) -> None:
        for text in CORPUS.values():
            for end in range(1, len(text) + 1):
                assert violations(render(text[:end])) == [], text[:end]

    @given(st.lists(st.sampled_from([*CORPUS.values(), *PIECES]), max_size=6), st.data())
    def test_mixtures_are_harmless(self, parts: list[str], data: st.DataObject) -> None:
        text = data.draw(st.sampled_from(["", "\n", "\n\n", " "])).join(parts)
        text = text[data.draw(st.integers(0, 20)) :]
        text = text[: data.draw(st.integers(0, len(text)))]
        assert violations(render(text)) == []

    @given(st.text(alphabet="[]()<>!`~*_$\\{}|-+#&;:\"'= \t\n\r\x00ajx/1.", max_size=80))
    @times(2)
    def test_noise_is_harmless(self, text: str) -> None:
        assert violations(render(text)) == []

    def test_the_rule_finds_what_it_is_for(self) -> None:
        for bad in (
            "<script>1</script>",
            '<p onclick="x">a</p>',
            '<a href="javascript:x">a</a>',
            '<a href="//x">a</a>',
            '<p style="color:red">a</p>',
            '<p id="a">b</p>',
            "</div>",
            "<p>",
            '<a href="https://x">a</a>',
        ):
            assert violations(bad) != []


class TestAddresses:
    @pytest.mark.parametrize(
        "address",
        ["https://a.b/c?d#e", "HTTP://a.b", "mailto:a@b.c", "#part", "a.md", "../a.md", "a/b:c"],
    )
    def test_these_are_links(self, address: str) -> None:
        assert allows(address)

    @pytest.mark.parametrize(
        "address",
        [
            "",
            "javascript:x",
            "JAVASCRIPT:x",
            "data:text/html,x",
            "data:image/png;base64,AA",
            "vbscript:x",
            "file:///x",
            "ftp://x",
            "blob:x",
            "//evil",
            "/path",
            "\\\\evil",
            "/\\evil",
            "a\\b",
            "http:evil",
            "https:/evil",
            "https:///evil",
            "java\tscript:x",
            "java\nscript:x",
            "\x01javascript:x",
            " javascript:x",
            "?query",
            ":x",
            "java\u2028script:x",
        ],
    )
    def test_these_are_text(self, address: str) -> None:
        assert not allows(address)


class TestLabels:
    @pytest.mark.parametrize(
        "text",
        [
            "report.txt",
            "دفتر یادداشت",
            "می\u200cخواهم",
            "שלום.md",
            "क्\u200dष",
            "👩\u200d👩\u200d👧 ❤\ufe0f 1\ufe0f\u20e3",
            "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
            "葛\U000e0100",
        ],
    )
    def test_ordinary_writing_is_left_alone(self, text: str) -> None:
        assert visible(text) == text

    @pytest.mark.parametrize(
        ("text", "label"),
        [
            ("a\u202egpj.exe", "a⟨U+202E⟩gpj.exe"),
            ("pay\u200bpal", "pay⟨U+200B⟩pal"),
            ("pay\u200dpal", "pay⟨U+200D⟩pal"),
            ("a\ufe0f.txt", "a⟨U+FE0F⟩.txt"),
            ("a\nb\tc\rd", "a␊b␉c␍d"),
            ("\x00\x7f\x9a", "␀␡⟨U+009A⟩"),
            ("\x1b[1;31mred\x1b[0m", "red"),
            ("\x1b]8;;http://x\x07link\x1b]8;;\x1b\\", "link"),
            ("\x1b]0;open", "␛]0;open"),
            ("x\U000e0061", "x⟨U+E0061⟩"),
            ("\udcff", "\ufffd"),
            ("\ufeffa", "⟨U+FEFF⟩a"),
            ("soft\xadhyphen", "soft⟨U+00AD⟩hyphen"),
        ],
    )
    def test_what_hides_is_spelled_out(self, text: str, label: str) -> None:
        assert visible(text) == label

    @given(st.text())
    def test_a_label_is_one_printable_line(self, text: str) -> None:
        assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]", visible(text))

    def test_terminal_output_keeps_its_lines(self) -> None:
        assert without_ansi("\x1b[31ma\r\nb\x1b[0m\tc\x00") == "a\nb\tc␀"

    @given(st.text(), st.text())
    def test_taming_pieces_is_taming_the_whole(self, left: str, right: str) -> None:
        if not (left.endswith("\r") and right.startswith("\n")):
            assert tame(left) + tame(right) == tame(left + right)


class TestWrap:
    def test_the_wrapper_switches_maths_off_around_what_is_marked(self) -> None:
        assert wrap("x") == '<div class="hotclaude tex2jax_ignore mathjax_ignore">x</div>'

    def test_escape_covers_both_quotes(self) -> None:
        assert escape("<\"'&>") == "&lt;&quot;&#x27;&amp;&gt;"


class TestLoading:
    def test_a_starting_kernel_loads_neither_parser_nor_colours(self) -> None:
        code = (
            "import sys, hotclaude_kernel.page.markdown.render as m;"
            "m.Splitter().feed('# a\\n\\nb\\n');"
            "m.definitions('a');"
            "print([n for n in ('markdown_it', 'pygments', 'linkify_it') if n in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "[]"
