"""A report as a PDF: set by Typst from blocks, with the shipped fonts, without anything of this machine in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from mcp_server.charts.lettering import FONT_FOLDER
from mcp_server.core.reports.page import width_of

_TEMPLATE = Path(__file__).with_name("report.typ")
# What the fonts have: Latin, Greek and Cyrillic, punctuation, arrows, mathematics, boxes. Anything else would be a
# box that looks like any other, so it's written as its number.
_UNPRINTABLE = re.compile("[^\n\x20-\x7e\xa0-\u052f\u1e00-\u1fff\u2000-\u22ff\u2500-\u25ff]")

# Names, digests and paths have no blanks, and a line that can't break runs off the page.
_LONG = re.compile(r"\S{21,}")
_PART = re.compile(r"\S{0,19}?[-_@./,:](?=\S)|\S{20}(?=\S)")
_MAY_BREAK = "\u200b"


def pdf(blocks: Sequence[dict[str, Any]], pictures: Sequence[bytes], *, title: str, foot: str, at: datetime) -> bytes:
    r"""The file; the same of the same blocks, whenever and wherever it's made.

    Args:
        blocks: as `core.reports.reading.blocks` gives them; their text is never read as markup. Characters that no
            font here has come out as `\u{..}`.
        pictures: PNG files, the first of which a block calls 1.
        foot: of each page.
        at: aware; the time that the file says it was made at.
    """
    # Comes with the extra `pdf`: who asks for a PDF has looked whether it's there.
    import typst

    given = {"blocks": list(blocks), "title": title, "foot": foot}
    # As numbers, since it takes no bytes but from files, and nothing here is a file.
    drawn = {"pictures": [{"png": list(png), "pixels": width_of(png)} for png in pictures]}
    fonts: list[Any] = [str(FONT_FOLDER)]
    return typst.compile(
        _TEMPLATE.read_bytes(),
        format="pdf",
        font_paths=fonts,
        ignore_system_fonts=True,
        sys_inputs={"report": orjson.dumps(_printable(given) | drawn).decode()},
        timestamp=at.replace(microsecond=0),
    )


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        shown = _UNPRINTABLE.sub(lambda found: rf"\u{{{ord(found[0]):x}}}", value)
        return _LONG.sub(lambda found: _PART.sub(lambda part: part[0] + _MAY_BREAK, found[0]), shown)
    if isinstance(value, dict):
        return {name: _printable(part) for name, part in value.items()}
    return [_printable(part) for part in value] if isinstance(value, list) else value
