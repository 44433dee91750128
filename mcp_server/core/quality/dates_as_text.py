"""Dates that are kept as text: written in several ways, in one that can be read in two, or of days that never were."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from mcp_server.core.quality.texts import Suspects, TextColumn

MOSTLY = 0.8
"""The share of a column's cells that look like dates, from which it is one of dates."""

USUAL = 0.8
"""The share of them that are written in one way, from which the rows written otherwise are named."""

_TIME = r"(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?"
_FORMS = {
    "year-month-day": rf"^\d{{4}}-\d{{1,2}}-\d{{1,2}}{_TIME}$",
    "year/month/day": rf"^\d{{4}}/\d{{1,2}}/\d{{1,2}}{_TIME}$",
    "year.month.day": r"^\d{4}\.\d{1,2}\.\d{1,2}$",
    "eight digits": r"^(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])$",
    "slashes": rf"^\d{{1,2}}/\d{{1,2}}/(?:\d{{4}}|\d{{2}}){_TIME}$",
    "dots": r"^\d{1,2}\.\d{1,2}\.(?:\d{4}|\d{2})$",
    "dashes": r"^\d{1,2}-\d{1,2}-(?:\d{4}|\d{2})$",
    "day month-name year": r"^\d{1,2}(?:st|nd|rd|th)?[ ]\p{L}{3,9}\.?,?[ ](?:\d{4}|\d{2})$",
    "day-month-name-year": r"^\d{1,2}-\p{L}{3,9}-(?:\d{4}|\d{2})$",
    "month-name day, year": r"^\p{L}{3,9}\.? \d{1,2}(?:st|nd|rd|th)?,? \d{4}$",
}
_TWO_ORDERS = ("slashes", "dots", "dashes")
_YEAR_FIRST = ("year-month-day", "year/month/day", "year.month.day")


def text_dates(column: TextColumn) -> Iterator[Suspects]:
    """The column where it has several ways of writing or an open order of day and month; days that can't be.

    Nothing is guessed: a date that can be read in two ways has no replacement.
    """
    form = _form(column.values)
    if column.share(form.is_not_null()) < MOSTLY:
        return
    ways = pl.DataFrame({"form": form, "count": column.counts}).drop_nulls().group_by("form").sum()
    ways = ways.sort("count", "form", descending=True)
    usual, cells = ways.row(0)
    open_order = form.is_in(
        [way for way in ways.get_column("form") if way in _TWO_ORDERS and _is_open(column, form, way)]
    )
    impossible = _impossible(column.values, form)
    if impossible.any():
        reason = "There is no such day."
        yield Suspects(
            "dates.impossible", "warn", reason, 0.95, "look at it", dict.fromkeys(column.values.filter(impossible))
        )
    if cells >= USUAL * column.total:
        otherwise = (form != usual).fill_null(True) & ~impossible
        if otherwise.any():
            reason = "Not written as the column's other dates are, so the whole column is text."
            yield Suspects(
                "dates.mixed", "warn", reason, 0.9, "look at it", dict.fromkeys(column.values.filter(otherwise))
            )
    elif ways.height > 1:
        reason = "The dates of this column are written in several ways, none of them the usual one."
        yield Suspects("dates.mixed", "warn", reason, 0.9, "look at it", {})
    if open_order.any():
        reason = "Day and month of these dates can be read in either order; nothing in the column decides it."
        yield Suspects("dates.ambiguous", "warn", reason, 0.9, "state the order of day and month", {})


def _form(values: pl.Series) -> pl.Series:
    """The name of the way in which each text is a date, or null."""
    plain = values.str.strip_chars()
    found = pl.Series([None], dtype=pl.String).new_from_index(0, values.len())
    for name, pattern in _FORMS.items():
        matching = plain.str.contains(pattern) & found.is_null()
        found = found.set(matching, name)
    return found


def _is_open(column: TextColumn, form: pl.Series, way: str) -> bool:
    """Whether no date of this way has a part above 12, or dates of both orders occur."""
    written = column.values.filter(form == way).str.extract_groups(r"^\s*(\d{1,2})[/.-](\d{1,2})").struct.unnest()
    first, second = (written.get_column(name).cast(pl.Int64) for name in ("1", "2"))
    return bool((first > 12).any()) == bool((second > 12).any())


def _impossible(values: pl.Series, form: pl.Series) -> pl.Series:
    """Texts that name the year first and a day that the calendar doesn't have, or have no part that can be a month."""
    plain = values.str.strip_chars()
    day = plain.str.slice(0, 10).str.replace_all(r"[/.]", "-").str.to_date("%Y-%m-%d", strict=False)
    wrong = form.is_in(_YEAR_FIRST) & day.is_null() & plain.str.contains(r"^\d{4}.\d{2}.\d{2}")
    parts = plain.str.extract_groups(r"^(\d{1,2})[/.-](\d{1,2})[/.-]").struct.unnest()
    first, second = (parts.get_column(name).cast(pl.Int64) for name in ("1", "2"))
    neither = form.is_in(_TWO_ORDERS) & ((first > 31) | (second > 31) | ((first > 12) & (second > 12)))
    return wrong.fill_null(False) | neither.fill_null(False)
