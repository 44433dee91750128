"""The first line: which character separates columns, and what they're called."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mcp_server.core.ingest.options import MIB, CsvOptions, Delimiter, Limits, Note
from mcp_server.core.ingest.stream import Lines, too_many_columns
from mcp_server.core.labels import place, reads_as_pattern
from mcp_server.errors import DataRejected

DELIMITERS: tuple[Delimiter, ...] = (",", "\t", ";", "|")
_SAMPLE = MIB
_SAMPLE_RECORDS = 100
_FIELD = 64 * MIB
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ].*)?|\d{1,2}[/.]\d{1,2}[/.]\d{4}")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


@dataclass(frozen=True, slots=True)
class Header:
    """What the first line says.

    Args:
        names: one for each column, distinct, not empty.
    """

    names: tuple[str, ...]
    delimiter: Delimiter
    notes: tuple[Note, ...]


def records(lines: Iterable[str], delimiter: str, *, strict: bool = True) -> Iterator[list[str]]:
    """Split lines (with their ends) into fields; quotes as in RFC 4180."""
    # The module's own bound, 128 KiB and for the whole process, is under ours; cells are measured by the callers.
    csv.field_size_limit(_FIELD)
    return csv.reader(lines, delimiter=delimiter, strict=strict)


def read_header(lines: Lines, options: CsvOptions, limits: Limits) -> Header:
    """Read the first line that isn't blank, leaving `lines` at the first data row.

    Raises:
        DataRejected: `E_EMPTY`, `E_DELIM`, `E_COLUMNS`, `E_HEADER`, `E_DUP_HEADER`, `E_QUOTE`, or one of the stream's.
    """
    block = lines.take()
    text = block.decode()
    while block and not text.strip():
        block = lines.take()
        text = block.decode()
    if not block:
        raise DataRejected("E_EMPTY", "The file has no content.", hint="Is it the right file?")
    body = text.lstrip("\r\n")
    skipped = len(text) - len(body)
    delimiter = options.delimiter or _find_delimiter(body)
    if options.delimiter is not None:
        _check_delimiter(body, options.delimiter)
    elif delimiter != "," and options.decimal == ".":
        _check_decimal_mark(body, delimiter)
    names = take_header(lines, body, delimiter)
    notes = [Note("blank_lines", "Blank lines before the header were left out.")] if skipped else []
    return Header(check_names(names, options, limits, notes), delimiter, tuple(notes))


def take_header(lines: Lines, text: str, delimiter: Delimiter) -> list[str]:
    """The first record of `text`; the rest goes back to `lines`."""
    source = io.StringIO(text, newline="")
    try:
        names = next(records(source, delimiter))
    except csv.Error:
        raise DataRejected(
            "E_QUOTE",
            "A quote in the header is never closed, or is followed by more text.",
            hint='Close the quote; write a quote inside a quoted name as "".',
            details={"row": 0},
        ) from None
    lines.give_back(source.read().encode())
    lines.rows = 0
    return names


def _sample(text: str, delimiter: str) -> list[list[str]]:
    """The first records, without blank ones and without a last one that may be cut."""
    cut = text[:_SAMPLE]
    whole = len(cut) == len(text)
    found: list[list[str]] = []
    try:
        for record in records(io.StringIO(cut, newline=""), delimiter, strict=False):
            if record:
                found.append(record)
            if len(found) > _SAMPLE_RECORDS:
                return found
    except csv.Error:
        return found
    return found if whole or len(found) < 2 else found[:-1]


def _find_delimiter(text: str) -> Delimiter:
    first = text[:_SAMPLE].splitlines()[0]
    widths: dict[Delimiter, list[int]] = {}
    for mark in DELIMITERS:
        if mark in first:
            lengths = [len(record) for record in _sample(text, mark)]
            if lengths and lengths[0] > 1:
                widths[mark] = lengths
    if not widths:
        _check_not_aligned(text)
        return ","
    ranked = sorted(widths, key=lambda mark: _regularity(widths[mark]), reverse=True)
    if len(ranked) > 1 and _regularity(widths[ranked[0]]) == _regularity(widths[ranked[1]]):
        raise DataRejected(
            "E_DELIM",
            "Columns could be separated in two ways, and both fit.",
            hint="State the delimiter: one of , ; | or tab.",
        )
    return ranked[0]


def _regularity(widths: list[int]) -> tuple[float, int]:
    """How well rows agree with the header, then how many columns that makes."""
    return sum(width == widths[0] for width in widths) / len(widths), widths[0]


def _check_delimiter(text: str, stated: Delimiter) -> None:
    if any(len(record) > 1 for record in _sample(text, stated)):
        return
    for mark in DELIMITERS:
        widths = {len(record) for record in _sample(text, mark)}
        if len(widths) == 1 and widths.pop() > 1:
            raise DataRejected(
                "E_DELIM",
                "The stated delimiter doesn't occur, and another one separates the rows evenly.",
                hint="Leave the delimiter out to have it found.",
            )


def _check_not_aligned(text: str) -> None:
    """Columns set with spaces would be read as one column."""
    rows = [line.split() for line in text[:_SAMPLE].splitlines()[:_SAMPLE_RECORDS] if line.strip()]
    widths = {len(row) for row in rows}
    if len(rows) < 2 or len(widths) != 1 or widths == {1}:
        return
    header, *body = rows
    numeric = any(
        all(_NUMBER.fullmatch(row[column]) for row in body) and not _NUMBER.fullmatch(header[column])
        for column in range(len(header))
    )
    if numeric or re.search(r"\S {2,}\S", text.splitlines()[0]):
        raise DataRejected(
            "E_DELIM",
            "The columns seem to be separated by spaces.",
            hint="Export the table with commas or tabs between columns.",
        )


def _check_decimal_mark(text: str, delimiter: Delimiter) -> None:
    _, *body = _sample(text, delimiter)
    for position, cells in enumerate(zip(*body, strict=False), start=1):
        filled = [cell.strip() for cell in cells if cell.strip()]
        marked = [cell for cell in filled if _DECIMAL_COMMA.fullmatch(cell)]
        if marked and all(cell in marked or _NUMBER.fullmatch(cell) for cell in filled):
            shown = "tab" if delimiter == "\t" else delimiter
            raise DataRejected(
                "E_DELIM",
                f"Columns are separated by {shown!r} and {place(None, position)} seems to use a decimal comma.",
                hint=f"State the delimiter {shown!r} and the decimal ',' to read 1,5 as one and a half.",
                details={"column": position},
            )


def check_names(names: list[str], options: CsvOptions, limits: Limits, notes: list[Note]) -> tuple[str, ...]:
    """The names of columns, without spaces around them; what was done is added to `notes`.

    Raises:
        DataRejected: `E_COLUMNS`, `E_HEADER`, `E_DUP_HEADER`.
    """
    if len(names) > limits.columns:
        raise too_many_columns(len(names), limits)
    trimmed = [name.strip() for name in names]
    for position, name in enumerate(trimmed, start=1):
        if not name:
            _refuse_name(position, "has no name", "Name every column; pandas: to_csv(..., index=False).")
        if len(name) > limits.name:
            _refuse_name(position, f"has a name longer than {limits.name} characters", "Shorten the name.")
        if reads_as_pattern(name):
            _refuse_name(position, "is named by a pattern: * alone, or something between ^ and $", "Rename the column.")
    if trimmed != names:
        notes.append(Note("trimmed_names", "Spaces around column names were left out."))
    trimmed = _distinct(trimmed, options, notes)
    folded = Counter(name.casefold() for name in trimmed)
    if max(folded.values()) > 1:
        notes.append(Note("similar_names", "Some column names differ only in upper and lower case."))
    if all(_NUMBER.fullmatch(name) or _DATE.fullmatch(name) for name in trimmed):
        notes.append(Note("header_like_data", "The first line looks like data, not like names: is the header missing?"))
    return tuple(trimmed)


def _distinct(names: list[str], options: CsvOptions, notes: list[Note]) -> list[str]:
    first: dict[str, int] = {}
    taken = set(names)
    result: list[str] = []
    for position, name in enumerate(names, start=1):
        if name not in first:
            first[name] = position
            result.append(name)
            continue
        if options.duplicate_names == "refuse":
            raise DataRejected(
                "E_DUP_HEADER",
                f"{place(name, first[name]).capitalize()} and column {position} have the same name.",
                hint="Rename one, or set duplicate_names to rename.",
                details={"row": 0, "column": position, "first": first[name]},
            )
        number = 2
        while f"{name}_{number}" in taken:
            number += 1
        taken.add(f"{name}_{number}")
        result.append(f"{name}_{number}")
    if result != names:
        count = sum(one != other for one, other in zip(result, names, strict=True))
        notes.append(Note("renamed_columns", "Columns with a name that had occurred got a number.", count=count))
    return result


def _refuse_name(position: int, what: str, hint: str) -> None:
    raise DataRejected(
        "E_HEADER", f"{place(None, position).capitalize()} {what}.", hint=hint, details={"row": 0, "column": position}
    )
