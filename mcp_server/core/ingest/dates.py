"""Text as days and instants; nothing that can be read in two ways is read in one."""

from __future__ import annotations

import re

import polars as pl

from mcp_server.core.ingest.reading import Reading, Sighting, sighting, text_because

INSTANT = pl.Datetime("us", "UTC")
_ISO = (
    r"^(?P<year>\d{4})[-/](?P<month>\d{2})[-/](?P<day>\d{2})"
    r"(?:[T ](?P<hour>\d{2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"\s?(?P<zone>[Zz]|[+-]\d{2}(?::?\d{2})?)?)?$"
)
_DAY = r"^\d{4}-\d{2}-\d{2}$"
_SLASHED = r"^(?P<first>\d{1,2})[/.-](?P<second>\d{1,2})[/.-](?P<year>\d{4})$"
_LOOKS_ISO = re.compile(_ISO)
_LOOKS_SLASHED = re.compile(_SLASHED)


def looks_like_date(cell: str) -> bool:
    """Whether a cell might be a day or an instant."""
    cell = cell.strip()
    return bool(_LOOKS_ISO.match(cell) or _LOOKS_SLASHED.match(cell))


def read_dates(text: pl.Series, missing: frozenset[str]) -> Reading:
    """Read text as days or instants.

    Args:
        text: String; missing where the cell is empty.
        missing: words that stand for a missing value.
    Returns:
        `date` (Date), `datetime` (Datetime in UTC, microseconds), `slashed` (text: which number is the month is not
        known yet), or `text` with the reason. Sightings: `missing_words`, `zoned`, `zoneless`, `cut_fractions`,
        `day_first`, `month_first`, `not_day_first`, `not_month_first` (no day of the calendar so);
        reasons `not_a_date`, `impossible_date`.
    """
    if text.str.contains(_DAY).all():
        days = _days(text)
        if days.null_count() == text.null_count():
            return Reading("date", days)
    words = text.is_in(list(missing)).fill_null(False)
    cells = text.set(words, None).str.strip_chars(" \t")
    seen = sighting("missing_words", words)
    slashed = cells.str.contains(_SLASHED)
    if not slashed.any():
        return _read_iso(text, cells, seen)
    if not slashed.all():
        return text_because("not_a_date", text, ~slashed)
    first, second, _ = _parts(cells)
    impossible = (first < 1) | (second < 1) | (first > 31) | (second > 31) | ((first > 12) & (second > 12))
    if impossible.any():
        return text_because("impossible_date", text, impossible)
    _, not_day_first = in_order(text, missing, day_first=True)
    _, not_month_first = in_order(text, missing, day_first=False)
    seen += sighting("day_first", first > 12) + sighting("month_first", second > 12)
    seen += sighting("not_day_first", not_day_first) + sighting("not_month_first", not_month_first)
    return Reading("slashed", text, seen)


def _parts(cells: pl.Series) -> list[pl.Series]:
    return cells.str.extract_groups(_SLASHED).struct.unnest().cast(pl.Int64).get_columns()


def in_order(text: pl.Series, missing: frozenset[str], *, day_first: bool) -> tuple[pl.Series, pl.Series]:
    """Read `slashed` text as days, now that the order is known.

    Returns:
        Date, and a mask of the cells that can't be read so.
    """
    cells = text.set(text.is_in(list(missing)).fill_null(False), None).str.strip_chars(" \t")
    first, second, year = _parts(cells)
    day, month = (first, second) if day_first else (second, first)
    padded = [part.cast(pl.String).str.zfill(width) for part, width in ((year, 4), (month, 2), (day, 2))]
    days = _days(padded[0] + "-" + padded[1] + "-" + padded[2])
    return days, cells.is_not_null() & days.is_null()


def _days(cells: pl.Series) -> pl.Series:
    """The first ten characters as a day; missing where there's no such day."""
    days = cells.str.slice(0, 10).str.replace_all("/", "-", literal=True).str.to_date("%Y-%m-%d", strict=False)
    return days.set(days.dt.year().fill_null(1) < 1, None)


def _read_iso(text: pl.Series, cells: pl.Series, seen: list[Sighting]) -> Reading:
    shaped = cells.str.contains(_ISO)
    if not shaped.all():
        return text_because("not_a_date", text, ~shaped)
    days = _days(cells)
    if not (cells.str.len_bytes() > 10).any():
        impossible = cells.is_not_null() & days.is_null()
        return text_because("impossible_date", text, impossible) if impossible.any() else Reading("date", days, seen)
    parts = cells.str.extract_groups(_ISO).struct.unnest()
    zone, fraction = parts["zone"], parts["fraction"]
    hour, minute, second = (parts[name].cast(pl.Int64).fill_null(0) for name in ("hour", "minute", "second"))
    offset = _minutes(zone)
    seconds = (hour * 60 + minute - offset) * 60 + second
    micros = fraction.str.pad_end(6, "0").str.slice(0, 6).cast(pl.Int64).fill_null(0)
    instants = (days.cast(pl.Datetime("us")).cast(pl.Int64) + seconds * 1_000_000 + micros).cast(INSTANT)
    outside = ~instants.dt.year().fill_null(1).is_between(1, 9999)
    impossible = cells.is_not_null() & (
        days.is_null() | (hour > 23) | (minute > 59) | (second > 59) | (offset.abs() >= 24 * 60) | outside
    )
    if impossible.any():
        return text_because("impossible_date", text, impossible)
    seen += sighting("zoned", zone.is_not_null())
    seen += sighting("zoneless", parts["hour"].is_not_null() & zone.is_null())
    seen += sighting("cut_fractions", fraction.str.slice(6).str.contains("[1-9]"))
    return Reading("datetime", instants, seen)


def _minutes(zone: pl.Series) -> pl.Series:
    """`+05:30`, `-0800`, `+01` and `Z` as minutes east of UTC; 0 where there's no zone."""
    hours = zone.str.slice(1, 2).cast(pl.Int64, strict=False).fill_null(0)
    minutes = zone.str.slice(3).str.strip_chars(":").cast(pl.Int64, strict=False).fill_null(0)
    west = zone.str.starts_with("-").fill_null(False).cast(pl.Int64)
    return (hours * 60 + minutes) * (1 - 2 * west)
