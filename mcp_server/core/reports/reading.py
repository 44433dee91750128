"""A report's Markdown read back, as CommonMark with tables; of addresses, only those of its own pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

PICTURE = re.compile(r"picture-([1-9]\d{0,2})\.png")
_OFF = ("link", "autolink", "reference", "html_inline", "html_block", "emphasis", "lheading", "hr", "code")

Block = dict[str, Any]


def parser() -> MarkdownIt:
    """The reader: no HTML, no links, no emphasis, so that text is text."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable(list(_OFF))
    reader.validateLink = lambda url: PICTURE.fullmatch(url) is not None  # type: ignore[method-assign]
    return reader


def blocks(markdown: str) -> list[Block]:
    """The parts of a report, in order, for a typesetter.

    Returns:
        each with its `kind`: `heading` (`level`, `text`), `paragraph`, `quote`, `code` (`text`), `list` (`items`),
        `table` (`head`, `rows`, `right`: for each column whether it's set to the right), `picture` (`number`, `text`).

    >>> blocks("# A `b`\\n\\n- one\\n- two\\n\\n![c](picture-1.png)")[1:]
    [{'kind': 'list', 'items': ['one', 'two']}, {'kind': 'picture', 'number': 1, 'text': 'c'}]
    """
    tokens = iter(parser().parse(markdown))
    return [block for token in tokens for block in _block(token, tokens)]


def _block(token: Token, rest: Iterator[Token]) -> list[Block]:
    match token.type:
        case "heading_open":
            return [{"kind": "heading", "level": int(token.tag[1]), "text": _words(_until(rest, "heading_close"))}]
        case "paragraph_open":
            return _paragraph(_until(rest, "paragraph_close"))
        case "blockquote_open":
            inside = _until(rest, "blockquote_close")
            return [{"kind": "quote", "text": text} for text in map(_text, inside) if text]
        case "bullet_list_open" | "ordered_list_open":
            return [{"kind": "list", "items": _items(_until(rest, token.type.replace("open", "close")))}]
        case "fence":
            return [{"kind": "code", "text": token.content.rstrip("\n")}]
        case "table_open":
            return [_table(_until(rest, "table_close"))]
        case _:
            return []


def _until(rest: Iterator[Token], end: str) -> list[Token]:
    """The tokens up to the end of what was begun, such things inside it counted."""
    begin, depth = end.replace("close", "open"), 1
    found: list[Token] = []
    for token in rest:
        depth += (token.type == begin) - (token.type == end)
        if depth == 0:
            return found
        found.append(token)
    return found


def _paragraph(inside: Sequence[Token]) -> list[Block]:
    found: list[Block] = []
    for token in inside:
        for child in token.children or ():
            if child.type == "image":
                number = PICTURE.fullmatch(str(child.attrs["src"]))
                assert number is not None  # the reader lets no other address through
                found.append({"kind": "picture", "number": int(number[1]), "text": child.content})
    return found or [{"kind": "paragraph", "text": _words(inside)}]


def _items(inside: Sequence[Token]) -> list[str]:
    items: list[list[Token]] = []
    for token in inside:
        if token.type == "list_item_open":
            items.append([])
        elif items:
            items[-1].append(token)
    return [_words(item) for item in items]


def _table(inside: Sequence[Token]) -> Block:
    rows: list[list[str]] = []
    right: list[bool] = []
    for token in inside:
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "th_open":
            right.append("right" in str(token.attrs.get("style", "")))
        elif token.type == "inline":
            rows[-1].append(_text(token))
    return {"kind": "table", "head": rows[0], "rows": rows[1:], "right": right}


def _words(tokens: Sequence[Token]) -> str:
    return " ".join(filter(None, map(_text, tokens)))


def _text(token: Token) -> str:
    """What an inline token says, without marks."""
    if token.type != "inline":
        return ""
    breaks = {"softbreak": " ", "hardbreak": "\n"}
    parts = [breaks.get(child.type, child.content) for child in token.children or ()]
    return "".join(parts).strip()
