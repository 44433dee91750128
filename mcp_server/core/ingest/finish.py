"""From all blocks of a column to the column: one type, refusals, and notes of what was done."""

from __future__ import annotations

import polars as pl

from mcp_server.core.ingest.columns import ColumnReader
from mcp_server.core.ingest.dates import INSTANT, in_order
from mcp_server.core.ingest.numbers import as_decimals, rounding
from mcp_server.core.ingest.options import CsvOptions, Note
from mcp_server.core.ingest.reading import Found, sighting
from mcp_server.core.labels import place
from mcp_server.errors import DataRejected

_DTYPES: dict[Found, pl.DataType] = {
    "boolean": pl.Boolean(),
    "integer": pl.Int64(),
    "decimal": pl.Float64(),
    "date": pl.Date(),
    "datetime": INSTANT,
}
_KEEP = "To keep the column as text, name it in text_columns."

# About what was seen -> what is told of it; {row} and {count} are filled in.
_REASONS = {
    "not_a_number": "Kept as text: the cell in row {row} isn't a number.",
    "leading_zeros": "Kept as text: numbers with leading zeros, first in row {row}.",
    "plus_sign": "Kept as text: every number begins with a plus, as telephone numbers do.",
    "not_a_date": "Kept as text: the cell in row {row} isn't a date as the others are.",
    "impossible_date": "Kept as text: there is no such date as in row {row}.",
    "quoted_numbers": "Kept as text: numbers stand in quotes, first in row {row}.",
    "not_true_or_false": "Kept as text: the cell in row {row} is neither true nor false.",
}
_STATED = "{count} cells with a stated word were read as missing, first in row {row}."
_DEEDS = {
    "missing_words": "{count} cells such as NA or null were read as missing, first in row {row}.",
    "stated_words": _STATED,
    "nonfinite": "{count} infinite numbers were read as missing, first in row {row}.",
    "padded": "Spaces around {count} values were left out, first in row {row}.",
    "rounded": "{count} numbers have more digits than a 64-bit float keeps, first in row {row}.",
    "zoned": "{count} times with an offset were moved to UTC.",
    "zoneless": "{count} times without an offset were taken as UTC.",
    "cut_fractions": "{count} times were cut to microseconds, first in row {row}.",
}


def settle(column: ColumnReader, options: CsvOptions) -> None:
    """Decide what the column is, and refuse what can't be read in one way.

    Raises:
        DataRejected: `E_NUMBER`, `E_NONFINITE` or `E_DATE_AMBIGUOUS`, with row and column.
    """
    if column.kind == "grouped":
        hint = "Write 1234.5 without grouping marks, or state the decimal mark."
        raise _refusal("E_NUMBER", column, "grouped", "holds a number that can be read in two ways", hint)
    if column.kind in {"integer", "decimal"} and "nonfinite" in column.seen and options.nonfinite == "refuse":
        hint = "Set nonfinite to missing to read such numbers as missing."
        raise _refusal("E_NONFINITE", column, "nonfinite", "is infinite, not a number, or too large for one", hint)
    if column.kind == "slashed":
        _settle_order(column, options)


def _settle_order(column: ColumnReader, options: CsvOptions) -> None:
    both = {"day_first", "month_first"} & column.seen.keys()
    if options.date_order is None and len(both) != 1:
        reason = "holds dates in both orders" if both else "holds dates that can be day-month or month-day"
        about = max(both, key=lambda about: column.seen[about].index) if both else ""
        raise _refusal("E_DATE_AMBIGUOUS", column, about, reason, "State date_order as dmy or mdy.")
    wrong = column.seen.get("not_day_first" if _day_first(column, options) else "not_month_first")
    if wrong is None:
        return
    if options.date_order:
        raise _refusal_at("E_DATE_AMBIGUOUS", column, wrong.index, "isn't a date in the stated order", _KEEP)
    column.kind = "text"
    column.seen = {"impossible_date": wrong}


def _day_first(column: ColumnReader, options: CsvOptions) -> bool:
    return options.date_order == "dmy" if options.date_order else "day_first" in column.seen


def lost(column: ColumnReader) -> bool:
    """Whether the column is text of which some was turned into numbers on the way, and has to be read again."""
    return column.kind in {"text", "long"} and not column.kept


def convert(column: ColumnReader, found: Found, values: pl.Series, rows_before: int, options: CsvOptions) -> pl.Series:
    """A block of a settled column as the type that the whole column has.

    Args:
        found: what the block was read as.
        rows_before: in the blocks before.
    Raises:
        DataRejected: `E_NONFINITE`: a whole number beyond a float, among decimals.
    """
    if column.kind in {"text", "long", "unknown"}:
        return _cast(values, pl.String())
    if column.kind == "slashed":
        return in_order(values, frozenset(options.missing), day_first=_day_first(column, options))[0]
    if column.kind == "decimal" and found == "long":
        cells = values.set(values.is_in(list(options.missing)).fill_null(False), None)
        values, beyond = as_decimals(cells)
        if beyond.any() and options.nonfinite == "refuse":
            row = rows_before + int(beyond.arg_max() or 0) + 1
            raise _refusal_at("E_NONFINITE", column, row, "is too large for a number", _KEEP)
        column.see([*sighting("nonfinite", beyond), *rounding(cells, values)], rows_before)
    return _cast(values, _DTYPES[column.kind])


def _cast(piece: pl.Series, dtype: pl.DataType) -> pl.Series:
    if piece.dtype == pl.String and piece.null_count() == piece.len():
        return pl.Series(piece.name, [None], dtype=dtype).new_from_index(0, piece.len())
    if piece.dtype == pl.Date and dtype == INSTANT:
        return piece.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return piece.cast(dtype)


def notes(column: ColumnReader, options: CsvOptions) -> list[Note]:
    """What was done to a column and seen in it, once all its blocks were converted."""
    if column.kind in {"text", "long", "unknown"}:
        return _text_notes(column)
    told = _notes(column, _DEEDS)
    if column.kind == "slashed":
        order = "day-month-year" if _day_first(column, options) else "month-day-year"
        return [Note("date_order", f"Dates were read as {order}.", column=column.name), *told]
    return told


def _text_notes(column: ColumnReader) -> list[Note]:
    stated = _notes(column, {"stated_words": _STATED})
    if column.kind == "long":
        message = "Kept as text: whole numbers beyond 64 bits."
        return [Note("kept_as_text", message, column=column.name), *stated]
    if column.kind == "unknown":
        return [Note("all_missing", "Every value is missing.", column=column.name), *_notes(column, _DEEDS)]
    for about, message in _REASONS.items():
        if about in column.seen:
            seen = column.seen[about]
            return [_note(column, "kept_as_text", message, seen.index, seen.count), *stated]
    return stated


def _notes(column: ColumnReader, messages: dict[str, str]) -> list[Note]:
    return [
        _note(column, about, message, column.seen[about].index, column.seen[about].count)
        for about, message in messages.items()
        if about in column.seen
    ]


def _note(column: ColumnReader, about: str, message: str, row: int, count: int) -> Note:
    return Note(about, message.format(row=row, count=count), column=column.name, row=row, count=count)


def _refusal(code: str, column: ColumnReader, about: str, what: str, hint: str) -> DataRejected:
    if about in column.seen:
        return _refusal_at(code, column, column.seen[about].index, what, hint)
    message = f"{place(column.name, column.position).capitalize()} {what}."
    return DataRejected(code, message, hint=f"{hint} {_KEEP}", details={"column": column.position})


def _refusal_at(code: str, column: ColumnReader, row: int, what: str, hint: str) -> DataRejected:
    return DataRejected(
        code,
        f"The cell in row {row}, {place(column.name, column.position)}, {what}.",
        hint=hint if hint == _KEEP else f"{hint} {_KEEP}",
        details={"row": row, "column": column.position},
    )
