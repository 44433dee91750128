"""Units and words in columns of numbers that stayed text because of them."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from mcp_server.core.quality.texts import Suspects, TextColumn

MOSTLY = 0.85
"""The share of a column's cells that are numbers, with or without a unit, from which it is one of numbers."""

USUAL = 0.7
"""The share of those that are written in one way, from which the others are suspect."""

_SIGN = r"(?:[$€£¥₹]|[A-Z]{3} |[<>~≈=])"
_UNIT = r"(?:[\p{L}µ°²³/.%$€£¥₹\"' ]{1,20})"
_NUMBER = r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|[+-]?\.\d+"
_FORM = rf"^\s*(?<before>{_SIGN})? ?(?<number>{_NUMBER})(?<after>\s*{_UNIT})?\s*$"
_LEADING_ZERO = r"^\s*[+-]?0\d"


def number_texts(column: TextColumn) -> Iterator[Suspects]:
    """Cells that hold a number in another way than the column does, or no number among numbers.

    Columns of codes are left alone: where numbers begin with zeros, or come with ever other letters.
    """
    parts = column.values.str.extract_groups(_FORM).struct.unnest()
    number, before, after = (parts.get_column(name) for name in ("number", "before", "after"))
    parsed = number.is_not_null()
    if column.share(parsed) < MOSTLY or _codes(column):
        return
    affix = before.fill_null("").str.strip_chars() + "\x00" + after.fill_null("").str.strip_chars()
    ways = (
        pl.DataFrame({"way": affix, "count": column.counts}).filter(parsed).group_by("way").sum().sort("count", "way")
    )
    usual, cells = ways.row(-1)
    if cells < USUAL * column.total:
        return
    bare = number.str.replace_all(",", "", literal=True)
    grouped = number.str.contains(",", literal=True) & (column.share(number.str.contains(",", literal=True)) < 0.5)
    other = parsed & ((affix != usual) | grouped)
    if usual == "\x00":
        reason = "A number with a unit, a sign or grouping in a column of plain numbers, which it keeps text."
    else:
        reason = "A number without the unit of the column's other numbers, or with another."
        told = "The column is text because its numbers carry a unit."
        yield Suspects("numbers.unit", "info", told, 0.95, "strip the unit", {})
    if other.any():
        values = dict(zip(column.values.filter(other).to_list(), bare.filter(other).to_list(), strict=True))
        yield Suspects("numbers.text", "warn", reason, 0.9, "strip the unit", values)
    words = ~parsed
    if words.any():
        reason = "Not a number, in a column of numbers, which it keeps text."
        yield Suspects(
            "numbers.text", "warn", reason, 0.8, "look at it", dict.fromkeys(column.values.filter(words).to_list())
        )


def holds_numbers(column: TextColumn) -> bool:
    """Whether a column is one of numbers, in whatever way they're written."""
    return column.share(column.values.str.contains(_FORM)) >= MOSTLY and not _codes(column)


def _codes(column: TextColumn) -> bool:
    return bool(column.values.str.contains(_LEADING_ZERO).any())
