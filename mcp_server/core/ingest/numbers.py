"""Text as numbers, exactly: what would lose something by becoming a number stays text or is refused."""

from __future__ import annotations

import re

import polars as pl

from mcp_server.core.ingest.reading import KEPT, Found, Reading, Sighting, sighting, text_because

KINDS: tuple[Found, ...] = ("integer", "long", "decimal", "grouped")
"""Kinds of numbers; a column that has several is of the last of them."""

LEADING_ZERO = r"^[+-]?0[0-9]"
_PLAIN = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]+")
_INFINITE = re.compile(r"[+-]?(?:inf|infinity|nan)", re.IGNORECASE)
_GROUPED = re.compile(
    r"[+-]?[0-9]{1,3}(?:[,'\u00a0\u202f][0-9]{3})+(?:\.[0-9]*)?|[+-]?[0-9]{1,3}(?:\.[0-9]{3})+,[0-9]*"
)
_OTHER_MARK = {".": re.compile(r"[+-]?[0-9]*,[0-9]+"), ",": re.compile(r"[+-]?[0-9]*\.[0-9]+")}
SHORT = 18  # The 17 digits that a 64-bit float can tell apart, and a point.
_MANY = 10_000


def looks_like_number(cell: str) -> bool:
    """Whether a cell might be a number, in some notation."""
    cell = cell.strip()
    return any(form.fullmatch(cell) for form in (_PLAIN, _INFINITE, _GROUPED, *_OTHER_MARK.values()))


def plain_kind(cell: str) -> Found:
    """What a column that begins with this cell may be: `integer`, `decimal`, or `unknown` where that takes a look."""
    if cell.startswith("+") or not _PLAIN.fullmatch(cell):
        return "unknown"
    return "integer" if _WHOLE.fullmatch(cell) else "decimal"


def read_numbers(text: pl.Series, missing: frozenset[str], decimal: str = ".") -> Reading:
    """Read text as numbers, whole ones where all are.

    Args:
        text: String; missing where the cell is empty.
        missing: words that stand for a missing value.
        decimal: the mark between whole and fraction.
    Returns:
        `integer` (Int64), `decimal` (Float64, finite), `long` or `grouped` (text); or `text` with the reason.
        Sightings: `missing_words`, `nonfinite`, `grouped`, `padded`, `rounded`; reasons `not_a_number`,
        `leading_zeros`, `plus_sign`.
    """
    plain = text if decimal == "." else text.str.replace(",", ".", literal=True)
    zeros = plain.str.contains(LEADING_ZERO)
    if zeros.any():
        return text_because("leading_zeros", text, zeros)
    whole = plain.cast(pl.Int64, strict=False)
    odd = text.is_not_null() & whole.is_null()
    if not odd.any():
        return _unless_telephone(text, Reading("integer", whole))
    real = plain.cast(pl.Float64, strict=False)
    finite = real.is_finite().fill_null(False)
    verdicts = _judge(text.filter(text.is_not_null() & ~finite).unique(), missing, decimal)
    if "text" in verdicts:
        return text_because("not_a_number", text, _among(text, verdicts["text"]))
    if "padded" in verdicts:
        return _read_stripped(text, missing, decimal)
    sightings = sighting("missing_words", _among(text, verdicts.get("missing", [])))
    ambiguous = _among(text, verdicts.get("grouped", []))
    if decimal == ",":
        ambiguous |= finite & text.str.contains(".", literal=True)
    if ambiguous.any():
        return Reading("grouped", text, [*sightings, *sighting("grouped", ambiguous)])
    beyond_whole = text.filter(odd & finite)
    fractional = bool(beyond_whole.str.contains(r"[^0-9+-]").any())
    if not fractional and (beyond_whole.len() or "long" in verdicts):
        return Reading("long", text, sightings)
    sightings += sighting("nonfinite", _among(text, verdicts.get("nonfinite", []) + verdicts.get("long", [])))
    if not fractional:
        return Reading("integer", whole, sightings)
    values = real.set(~finite, None)
    return Reading("decimal", values, [*sightings, *rounding(plain, values)])


def _read_stripped(text: pl.Series, missing: frozenset[str], decimal: str) -> Reading:
    """Read text without the spaces around its cells; text keeps them."""
    stripped = text.str.strip_chars(" \t")
    reading = read_numbers(stripped, missing, decimal)
    if reading.kind == "text":
        return Reading("text", text, reading.sightings)
    values = text if reading.kind in KEPT else reading.values
    return Reading(reading.kind, values, [*reading.sightings, *sighting("padded", text != stripped)])


def _judge(cells: pl.Series, missing: frozenset[str], decimal: str) -> dict[str, list[str]]:
    """By verdict, the cells that didn't become finite numbers.

    Returns:
        `missing`, `padded`, `long`, `nonfinite`, `grouped` or `text` to the cells; too many different ones are `text`.
    """
    if cells.len() > _MANY:
        return {"text": cells.head(_MANY).to_list()}
    found: dict[str, list[str]] = {}
    for cell in cells:
        found.setdefault(_verdict(cell, missing, decimal), []).append(cell)
    return found


def _verdict(cell: str, missing: frozenset[str], decimal: str) -> str:
    if cell in missing:
        return "missing"
    if cell != cell.strip(" \t"):
        return "padded"
    if _WHOLE.fullmatch(cell):
        return "long"
    if _INFINITE.fullmatch(cell) or _PLAIN.fullmatch(cell.replace(",", ".") if decimal == "," else cell):
        return "nonfinite"
    if _GROUPED.fullmatch(cell) or _OTHER_MARK[decimal].fullmatch(cell):
        return "grouped"
    return "text"


def _among(text: pl.Series, cells: list[str]) -> pl.Series:
    return text.is_in(cells).fill_null(False)


def _unless_telephone(text: pl.Series, reading: Reading) -> Reading:
    """A plus before every number means a telephone number, not a sum."""
    signed = text.drop_nulls().head(1).str.starts_with("+")
    if signed.any() and text.str.contains(r"^\+[0-9]{7,}$").all():
        return text_because("plus_sign", text, text.is_not_null())
    return reading


def rounding(plain: pl.Series, values: pl.Series) -> list[Sighting]:
    """Which decimals carry more digits than a 64-bit float keeps, or are too small for one."""
    # A sign and a zero before the point are no digits.
    room = SHORT + (values < 0.0).cast(pl.UInt32) + (values.abs() < 1.0).cast(pl.UInt32)
    suspects = ((plain.str.len_bytes() > room) | (values == 0.0)).arg_true()
    if not suspects.len():
        return []
    cells = plain.gather(suspects)
    digits = cells.str.replace(r"[eE].*$", "").str.replace_all(r"[^0-9]", "").str.strip_chars("0")
    lost = (digits.str.len_bytes() > 17) | ((values.gather(suspects) == 0.0) & (digits.str.len_bytes() > 0))
    return [Sighting(sight.about, int(suspects[sight.index]), sight.count) for sight in sighting("rounded", lost)]


def as_decimals(text: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Whole numbers of any length as floats.

    Returns:
        the values, missing where they're beyond a float; a mask of those.
    """
    values = text.str.strip_chars(" \t").cast(pl.Float64, strict=False)
    beyond = text.is_not_null() & ~values.is_finite().fill_null(False)
    return values.set(beyond, None), beyond
