"""A delimited text file as a typed table, or a refusal with row and column; never something in between."""

from __future__ import annotations

import io
from typing import BinaryIO

import polars as pl

from mcp_server.core.ingest.columns import ColumnReader, Typist
from mcp_server.core.ingest.finish import check, finish, lost
from mcp_server.core.ingest.header import Header, read_header, skip_header
from mcp_server.core.ingest.options import CsvOptions, Limits, Note, Report, Table, bounded
from mcp_server.core.ingest.reading import Reading
from mcp_server.core.ingest.rows import Rows
from mcp_server.core.ingest.stream import Lines
from mcp_server.core.labels import closest, label
from mcp_server.errors import DataRejected, InvalidInput


def read_csv(
    source: BinaryIO | bytes,
    *,
    limits: Limits | None = None,
    options: CsvOptions | None = None,
    report: Report | None = None,
) -> Table:
    """Read a file of comma-, semicolon-, tab- or bar-separated text with a header line.

    The bytes are checked first (encoding, width of every row, sizes), then read as text by one reader, then typed by
    our rules: nothing that would lose something becomes a number or a date, and what is changed is noted.

    Args:
        source: open for reading in binary mode and seekable, or the content itself.
        report: called with the share done, 0..1.
    Returns:
        rows in the file's order; memory is a small multiple of the table's, whatever the file's size.
    Raises:
        DataRejected: an import code; details hold `row` (data row from 1, 0 for the header) and `column` (from 1).
        InvalidInput: `text_columns` names a column that isn't there.
    """
    limits = limits or Limits()
    options = options or CsvOptions()
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    lines = Lines(file, limits, encoding=options.encoding, strip_nul=options.nul == "strip")
    header = read_header(lines, options, limits)
    _check_text_columns(header, options)
    rows = Rows(lines, header, options, limits)
    typist = Typist(header.names, options)
    for block in rows.blocks():
        typist.add(block, lines.rows)
        if report is not None:
            report(0.9 * lines.share, f"{lines.rows + block.frame.height} rows read")
    if not lines.rows:
        raise DataRejected(
            "E_NO_ROWS", "The file has a header and no rows.", hint="Is it the right file, and is the header one line?"
        )
    notes = [*header.notes, *_file_notes(lines, rows)]
    for column in typist.columns:
        check(column, options)
    _read_again(lines, header, options, limits, [column for column in typist.columns if lost(column)])
    series = []
    for column in typist.columns:
        values, told = finish(column, options)
        column.readings.clear()
        series.append(values.alias(column.name))
        notes += told
    return Table(pl.DataFrame(series), bounded(notes), header.delimiter, lines.encoding)


def _check_text_columns(header: Header, options: CsvOptions) -> None:
    for name in options.text_columns:
        if name not in header.names:
            raise InvalidInput(
                f"text_columns names {label(name)!r}, which isn't in the header.", hint=closest(name, header.names)
            )


def _file_notes(lines: Lines, rows: Rows) -> list[Note]:
    notes = []
    if lines.encoding != "utf-8":
        notes.append(Note("encoding", f"The file was read as {lines.encoding.upper()}."))
    if rows.blank:
        notes.append(Note("blank_lines", f"{rows.blank} blank lines were left out.", count=rows.blank))
    if rows.padded:
        notes.append(Note("padded_rows", f"{rows.padded} short rows were filled up.", count=rows.padded))
    if lines.nuls:
        notes.append(Note("nul_removed", f"{lines.nuls} NUL characters were removed.", count=lines.nuls))
    return notes


def _read_again(lines: Lines, header: Header, options: CsvOptions, limits: Limits, columns: list[ColumnReader]) -> None:
    """Columns that turned out to be text late get their early rows back as they were."""
    if not columns:
        return
    rows = lines.rows
    for column in columns:
        column.readings.clear()
    lines.rewind()
    skip_header(lines, header.delimiter)
    for block in Rows(lines, header, options, limits).blocks():
        for column in columns:
            column.readings.append(Reading("text", block.frame.to_series(column.position - 1)))
    if lines.rows != rows:
        raise DataRejected(
            "E_CHANGED", "The file changed while it was read.", hint="Import it again when it's complete."
        )
