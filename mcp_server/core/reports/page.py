"""A report as one HTML file: no script, nothing from outside, readable on a phone, in the dark and on paper."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from mcp_server.core.reports.reading import PICTURE, parser

_STYLE = """
:root{color-scheme:light dark;--surface:#fff;--text:#171b21;--muted:#5a6472;--line:#dfe3ea;--band:#f4f6f9}
@media (prefers-color-scheme:dark){
:root{--surface:#14171c;--text:#eceff4;--muted:#a3adba;--line:#313844;--band:#1e222a}}
*{box-sizing:border-box}
body{margin:0;background:var(--surface);color:var(--text);font:16px/1.55 Inter,system-ui,sans-serif}
main{max-width:52rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 1rem}
h2{font-size:1.25rem;margin:2.5rem 0 .75rem;padding-top:1.25rem;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:1.5rem 0 .5rem}
p,ul,table,pre,blockquote,figure{margin:.6rem 0}
ul{padding-left:1.25rem}
nav ul{list-style:none;padding:0;columns:2 14rem}
nav a{color:inherit}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums}
th,td{padding:.35rem .9rem .35rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
th{color:var(--muted);font-weight:500}
.right{text-align:right}
code,pre{font:.8125rem/1.5 ui-monospace,monospace}
code{overflow-wrap:anywhere}
pre{background:var(--band);padding:.75rem;border-radius:6px;white-space:pre-wrap;overflow-wrap:anywhere}
blockquote{padding:.1rem 1rem;border-left:3px solid var(--line);color:var(--muted)}
img{display:block;max-width:100%;height:auto;border:1px solid var(--line);border-radius:6px;background:#fff}
footer{margin-top:3rem;color:var(--muted);font-size:.8125rem;overflow-wrap:anywhere}
@media print{nav{display:none}body{font-size:11pt}main{max-width:none;padding:0}img,table,pre{break-inside:avoid}
h2,h3{break-after:avoid}}
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src data:; base-uri 'none'; form-action 'none'"


def page(markdown: str, pictures: Sequence[bytes], *, title: str, foot: str) -> str:
    """The whole file.

    Args:
        markdown: of a report.
        pictures: PNG files, the first of which is `picture-1.png`.
        title: of the window; any text.
        foot: what the file says of itself at its end; any text.
    """
    reader = parser()
    tokens = reader.parse(markdown)
    headings = _numbered(tokens)
    for token in tokens:
        _without_style(token)
    renderer = RendererHTML(reader)
    sources = {number: _source(png) for number, png in enumerate(pictures, start=1)}

    def drawn(inline: Sequence[Token], index: int, _options: Any, _env: Any) -> str:
        return _image(inline[index], sources)

    further: dict[str, Any] = {
        "image": drawn,
        "table_open": lambda *_: '<div class="scroll"><table>\n',
        "table_close": lambda *_: "</table></div>\n",
    }
    renderer.rules |= further
    body = renderer.render(tokens, reader.options, {})
    listed = "".join(f'<li><a href="#{anchor}">{escape(text)}</a></li>' for anchor, text in headings.items())
    contents = f"<nav aria-label='Sections'><ul>{listed}</ul></nav>\n" if len(headings) > 1 else ""
    first, mark, rest = body.partition("<h2")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"{first}{contents}{mark}{rest}<footer>{escape(foot)}</footer>\n</main>\n</body>\n</html>\n"
    )


def _numbered(tokens: Sequence[Token]) -> dict[str, str]:
    """Gives each section's heading an anchor; anchor -> what the heading says."""
    found: dict[str, str] = {}
    for at, token in enumerate(tokens):
        if token.type == "heading_open" and token.tag == "h2":
            anchor = f"section-{len(found) + 1}"
            token.attrSet("id", anchor)
            found[anchor] = "".join(child.content for child in tokens[at + 1].children or ())
    return found


def _without_style(token: Token) -> None:
    """Alignment as a class: the page's policy lets no `style` attribute act."""
    style = token.attrs.pop("style", None)
    if style is not None and "right" in str(style):
        token.attrSet("class", "right")


def _image(token: Token, sources: Mapping[int, str]) -> str:
    number = PICTURE.fullmatch(str(token.attrs["src"]))
    says = escape(token.content)
    source = None if number is None else sources.get(int(number[1]))
    return f"<em>({says})</em>" if source is None else f'<img {source} alt="{says}">'


def _source(png: bytes) -> str:
    """The file itself, at half its pixels: pictures are drawn with two to each of the page's."""
    return f'src="data:image/png;base64,{base64.b64encode(png).decode()}" width="{width_of(png) // 2}"'


def width_of(png: bytes) -> int:
    """Pixels across, as its header says."""
    return int.from_bytes(png[16:20], "big")
