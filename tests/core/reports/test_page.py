"""A page runs nothing, fetches nothing and shows everything as text."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from mcp_server.core.reports.page import page
from mcp_server.core.reports.reading import blocks

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAABCAYAAAD0In+KAAAADklEQVR4nGP4z8DwHwQBEPgD/U6VwW8AAAAASUVORK5CYII="
)
KNOWN = {
    *("html", "head", "meta", "title", "style", "body", "main", "nav", "footer", "h1", "h2", "h3", "h4", "h5", "h6"),
    *("p", "ul", "ol", "li", "a", "div", "table", "thead", "tbody", "tr", "th", "td", "pre", "code", "blockquote"),
    *("img", "em", "br"),
}
HOSTILE = st.lists(
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "![x](http://example.org/a.png)",
            "![x](picture-1.png)",
            "![x](picture-9.png)",
            "[x](javascript:alert(1))",
            "<http://example.org>",
            "[x]: http://example.org",
            "&lt;b&gt;",
            "## A <b>heading</b>",
            "```html\n<i>\n```",
            "| a | b |\n|--:|---|\n| <u> | 2 |",
            "> said\n> so",
            "- one\n- two",
            '"><svg onload=alert(1)>',
            "text",
        ]
    )
    | st.text(max_size=30),
    max_size=8,
).map("\n\n".join)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@given(HOSTILE, st.text(max_size=20), st.text(max_size=20))
def test_nothing_in_a_report_becomes_a_tag_an_address_or_a_handler(markdown: str, title: str, foot: str) -> None:
    tags = Tags()
    tags.feed(page(markdown, [PNG], title=title, foot=foot))
    for tag, attributes in tags.found:
        assert tag in KNOWN
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert str(attributes.get("src") or "data:image/png;base64,").startswith("data:image/png;base64,")
        assert re.fullmatch(r"#section-\d+", str(attributes.get("href") or "#section-1"))


def test_the_policy_lets_the_page_s_own_style_act_and_nothing_else() -> None:
    made = page("# A\n\n## B\n\n## C\n\n![c](picture-1.png)", [PNG], title="A", foot="f")
    style = re.search("<style>(.*?)</style>", made, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:;" in made
    assert 'href="#section-2">C</a>' in made
    assert '<h2 id="section-2">C</h2>' in made
    assert f'src="data:image/png;base64,{base64.b64encode(PNG).decode()}" width="1" alt="c"' in made


def test_a_picture_that_isn_t_there_is_named() -> None:
    assert "<em>(gone)</em>" in page("![gone](picture-3.png)", [PNG], title="A", foot="f")


@given(HOSTILE)
def test_a_typesetter_gets_known_kinds_of_blocks_with_text_alone(markdown: str) -> None:
    for block in blocks(markdown):
        match block:
            case {"kind": "heading" | "paragraph" | "quote" | "code", "text": str()}:
                pass
            case {"kind": "list", "items": list() as items}:
                assert all(isinstance(item, str) for item in items)
            case {"kind": "table", "head": head, "rows": rows, "right": right}:
                assert {len(row) for row in [head, right, *rows]} == {len(head)}
            case {"kind": "picture", "number": int(), "text": str()}:
                pass
            case _:
                raise AssertionError(block)


def test_blocks_keep_the_order_and_the_marks_of_a_report() -> None:
    text = "# T\n\n> said\n>\n> so\n\n- a\n- b `c`\n\n| x | y |\n|---|--:|\n| 1 | 2 |\n\n```text\n*z*\n```\n"
    assert blocks(text) == [
        {"kind": "heading", "level": 1, "text": "T"},
        {"kind": "quote", "text": "said"},
        {"kind": "quote", "text": "so"},
        {"kind": "list", "items": ["a", "b c"]},
        {"kind": "table", "head": ["x", "y"], "rows": [["1", "2"]], "right": [False, True]},
        {"kind": "code", "text": "*z*"},
    ]
