"""A report's figures as rows of a table that any spreadsheet opens, none of them a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

from mcp_server.core.labels import visible

MOST_FACTS = 2_000
FORMULA = r"^(?:\s*[=+\-@＝＋－＠]|[\t\r])"
"""How a cell begins that a spreadsheet could take for a formula."""
HEAD = ("section", "about", "fact", "value")

Fact = tuple[str, str | float | int | bool | None]


def flattened(value: Any, most: int = MOST_FACTS) -> list[Fact]:
    """A JSON value as paths and what stands there, in its order.

    Args:
        most: how many are kept, texts before numbers; one more then says how many weren't.

    >>> flattened({"models": [{"name": "a", "loss": 0.5}], "notes": []})
    [('models.1.name', 'a'), ('models.1.loss', 0.5)]
    >>> flattened({"a": 1, "b": 2, "c": 3}, most=2)
    [('a', 1), ('b', 2), ('left out', 1)]
    """
    found = list(leaves(value, ""))
    if len(found) <= most:
        return found
    by_weight = sorted(range(len(found)), key=lambda at: not isinstance(found[at][1], str))
    return [*(found[at] for at in sorted(by_weight[:most])), ("left out", len(found) - most)]


def leaves(value: Any, path: str) -> Iterator[Fact]:
    """Every number, text and such in a JSON value, with the names and places that lead to it behind `path`."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from leaves(part, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple):
        for number, part in enumerate(value, start=1):
            yield from leaves(part, f"{path}.{number}" if path else str(number))
    else:
        yield (path, value)


def sheet(sections: Sequence[tuple[str, str, Sequence[Fact]]]) -> bytes:
    """Rows of section, what it's about, fact and value, as UTF-8 CSV with a header.

    A cell of text that a spreadsheet could take for a formula gets an apostrophe in front; numbers keep all their
    digits. Hidden characters come out as `\\u{..}`, but for the ends of lines.

    Args:
        sections: kind, what it's about, and facts of each.

    >>> print(sheet([("data", "a@1", [("rows", 3), ("name", "=1+1"), ("missing", None)])]).decode())
    section,about,fact,value
    data,a@1,rows,3
    data,a@1,name,'=1+1
    data,a@1,missing,
    <BLANKLINE>
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEAD)
    for kind, about, facts in sections:
        for path, value in facts:
            writer.writerow([_plain(cell) for cell in (kind, about, path, value)])
    return text.getvalue().encode("utf-8", "backslashreplace")


def _plain(cell: object) -> object:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if not isinstance(cell, str):
        return cell
    shown = "\n".join(visible(line) for line in cell.split("\n"))
    return f"'{shown}" if re.match(FORMULA, shown) else shown
