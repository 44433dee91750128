"""Units and words in columns of numbers that stayed text because of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from mcp_server.core.quality.numbers import Floats
from mcp_server.core.quality.texts import Suspects, TextColumn

MOSTLY = 0.85
"""The share of a column's cells that are numbers, with or without a unit, from which it is one of numbers."""

USUAL = 0.7
"""The share of those that are written in one way, from which the others are suspect."""

CODES = 0.01
"""The share of the cells with a zero before other figures above which they are codes."""

_SIGN = r"(?:[$€£¥₹]|[A-Z]{3} |[<>~≈=])"
_UNIT = r"(?:[\p{L}µ°²³/.%$€£¥₹\"' ]{1,20})"
_NUMBER = r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|[+-]?\.\d+"
_FORM = rf"^\s*(?<before>{_SIGN})? ?(?<number>{_NUMBER})(?<after>\s*{_UNIT})?\s*$"
_LEADING_ZERO = r"^\s*[+-]?0\d"


@dataclass(frozen=True, slots=True)
class _Numbers:
    """The values of a column as numbers.

    Args:
        bare: one for each value, without sign and unit; null where it's none.
        usual: which values are written as most are.
        unit: whether the usual way has one.
    """

    bare: pl.Series
    usual: pl.Series
    unit: bool


def number_texts(column: TextColumn) -> Iterator[Suspects]:
    """Cells that hold a number in another way than the column does, or no number among numbers.

    Columns of codes are left alone: where numbers begin with zeros, or come with ever other letters.
    """
    numbers = _numbers(column)
    if numbers is None:
        return
    if numbers.unit:
        reason = "A number without the unit of the column's other numbers, or with another."
        told = "The column is text because its numbers carry a unit."
        yield Suspects("numbers.unit", "info", told, 0.95, "strip the unit", {})
    else:
        reason = "A number with a unit, a sign or grouping in a column of plain numbers, which it keeps text."
    words = numbers.bare.is_null()
    other = ~words & ~numbers.usual
    if other.any():
        values = dict(zip(column.values.filter(other).to_list(), numbers.bare.filter(other).to_list(), strict=True))
        yield Suspects("numbers.text", "warn", reason, 0.9, "strip the unit", values)
    if words.any():
        reason = "Not a number, in a column of numbers, which it keeps text."
        values = dict.fromkeys(column.values.filter(words).to_list())
        yield Suspects("numbers.text", "warn", reason, 0.8, "look at it", values)


def numbers_under(column: TextColumn) -> Floats | None:
    """The numbers of a column that words or units keep text, or None where it isn't one of numbers.

    Returns:
        shape (rows of the table,), NaN where a cell is missing, isn't written as most are, or wasn't read.
    """
    numbers = _numbers(column)
    if numbers is None:
        return None
    usual = column.values.filter(numbers.usual)
    values = column.cells.replace_strict(
        usual, numbers.bare.filter(numbers.usual).cast(pl.Float64), default=None, return_dtype=pl.Float64
    )
    found = np.full(column.rows, np.nan)
    found[:: column.step] = values.fill_null(np.nan).to_numpy()
    return np.where(np.isfinite(found), found, np.nan)


def holds_numbers(column: TextColumn) -> bool:
    """Whether a column is one of numbers, in whatever way they're written."""
    return column.share(column.values.str.contains(_FORM)) >= MOSTLY and not _codes(column)


def _numbers(column: TextColumn) -> _Numbers | None:
    if not holds_numbers(column):
        return None
    parts = column.values.str.extract_groups(_FORM).struct.unnest()
    number, before, after = (parts.get_column(name) for name in ("number", "before", "after"))
    affix = before.fill_null("").str.strip_chars() + "\x00" + after.fill_null("").str.strip_chars()
    counted = pl.DataFrame({"way": affix, "count": column.counts}).filter(number.is_not_null())
    way, cells = counted.group_by("way").sum().sort("count", "way").row(-1)
    if cells < USUAL * column.total:
        return None
    grouped = number.str.contains(",", literal=True).fill_null(False)
    usual = number.is_not_null() & (affix == way) & ~(grouped & (column.share(grouped) < 0.5))
    return _Numbers(number.str.replace_all(",", "", literal=True), usual, way != "\x00")


def _codes(column: TextColumn) -> bool:
    return column.share(column.values.str.contains(_LEADING_ZERO)) > CODES
