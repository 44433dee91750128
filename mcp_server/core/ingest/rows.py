"""Blocks of lines as frames of text, each row as wide as the header: one scan over the bytes, one reader."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import polars as pl

from mcp_server.core.ingest.cells import Cells, Indices, measure, measure_quoted, plain_ends, zero_led
from mcp_server.core.ingest.header import Header, records
from mcp_server.core.ingest.options import CsvOptions, Limits
from mcp_server.core.ingest.stream import Lines, long_line
from mcp_server.core.labels import place
from mcp_server.errors import DataRejected


def internal(position: int) -> str:
    """The name of a column while it's read: the file's own names could be patterns or worse."""
    return f"c{position}"


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows as text.

    Args:
        frame: columns `c0`, `c1`.., at least one row. String, an empty cell being missing; or, where `typed`, of the
            types that tables have.
        zero_led: positions (from 0) of the columns with a cell such as 007 or -007.5; None where it wasn't looked for.
        quoted: positions of the columns that the file says are text; only dates are looked for in them.
    """

    frame: pl.DataFrame
    zero_led: frozenset[int] | None = None
    quoted: frozenset[int] = frozenset()
    typed: bool = False

    def ordered(self, order: Sequence[int]) -> Block:
        """The same rows with the columns in another order: first the one at `order[0]`."""
        columns = [pl.col(internal(at)).alias(internal(to)) for to, at in enumerate(order)]
        zero_led = None if self.zero_led is None else _moved(self.zero_led, order)
        return Block(self.frame.select(columns), zero_led, _moved(self.quoted, order), self.typed)


def _moved(positions: frozenset[int], order: Sequence[int]) -> frozenset[int]:
    return frozenset(to for to, at in enumerate(order) if at in positions)


class Rows:
    """The data rows of a file as text.

    Attributes:
        blank: blank lines left out.
        padded: rows that were filled up to the header's width.
    """

    def __init__(self, lines: Lines, header: Header, options: CsvOptions, limits: Limits) -> None:
        self._lines = lines
        self._header = header
        self._width = len(header.names)
        self._pad = options.short_rows == "pad"
        self._limits = limits
        self._held = 0
        self.blank = 0
        self.padded = 0

    def blocks(self) -> Iterator[Block]:
        """All rows in order; `lines.rows` counts those before the current block.

        Raises:
            DataRejected: `E_RAGGED`, `E_CELL`, `E_LINE`, `E_QUOTE`, or one of the stream's.
        """
        while data := self._lines.take():
            block = (self._well_quoted(data) or self._oddly_quoted(data)) if b'"' in data else self._plain(data)
            if block is None:
                continue
            yield block
            self._lines.rows += block.frame.height

    def _plain(self, data: bytes) -> Block | None:
        """Rows without a quote."""
        data = plain_ends(data)
        if self._width == 1:
            return self._single(data)
        cells = measure(data, self._header.delimiter)
        if not cells.regular(self._width):
            cells = measure(self._without_blank_lines(data), self._header.delimiter)
            if not cells.data:
                return None
            self._check_widths(cells.widths)
        self._check_sizes(cells)
        frame = self._parsed(cells.data, None)
        if frame.height != cells.lines:
            raise DataRejected(
                "E_FORMAT",
                f"Two readings of the rows after row {self._lines.rows} disagree.",
                hint="Save the file again with plain line ends.",
            )
        return Block(frame, None if self.padded else zero_led(cells, self._width))

    def _parsed(self, data: bytes, quote: str | None) -> pl.DataFrame:
        return pl.read_csv(
            data,
            has_header=False,
            separator=self._header.delimiter,
            quote_char=quote,
            schema={internal(position): pl.String for position in range(self._width)},
        )

    def _single(self, data: bytes) -> Block | None:
        """One column: a blank line is a missing value, unless it only ends the file, which what follows tells."""
        body = data.rstrip(b"\n")
        held, self._held = self._held, len(data) - len(body) - bool(body)
        if not body:
            self._held += held
            return None
        data = b"\n" * held + body + b"\n"
        cells = measure(data, self._header.delimiter)
        self._check_widths(cells.widths)
        self._check_sizes(cells)
        return Block(_frame([data.decode().split("\n")[:-1]]))

    def _without_blank_lines(self, data: bytes) -> bytes:
        before = len(data)
        data = re.sub(rb"\n{2,}", b"\n", data).removeprefix(b"\n")
        self.blank += before - len(data)
        return data

    def _check_widths(self, widths: Indices) -> None:
        short = widths < self._width
        wrong = widths > self._width if self._pad else widths != self._width
        if wrong.any():
            at = int(wrong.argmax())
            self._refuse_width(at, int(widths[at]))
        self.padded += int(short.sum())

    def _refuse_width(self, at: int, width: int) -> NoReturn:
        row = self._lines.rows + at + 1
        hint = "Quote cells that hold the delimiter."
        if width < self._width:
            hint = "Set short_rows to pad to fill short rows with missing values."
        raise DataRejected(
            "E_RAGGED",
            f"Row {row} has {width} field{'s' * (width != 1)}; the header has {self._width}.",
            hint=hint,
            details={"row": row, "fields": width, "columns": self._width},
        )

    def _check_sizes(self, cells: Cells) -> None:
        sizes = cells.sizes
        if sizes.max() > self._limits.cell:
            at = int(sizes.argmax())
            row = int(cells.newline[:at].sum())
            line_start = int(np.flatnonzero(cells.newline[:at])[-1]) + 1 if row else 0
            self._refuse_cell(row, at - line_start)
        lengths = cells.lengths
        if lengths.max() > self._limits.line:
            raise long_line(self._lines.rows + int(lengths.argmax()) + 1, self._limits)

    def _refuse_cell(self, at: int, column: int) -> NoReturn:
        row = self._lines.rows + at + 1
        name = self._header.names[column] if column < self._width else None
        raise DataRejected(
            "E_CELL",
            f"The cell in row {row}, {place(name, column + 1)}, is larger than {self._limits.cell} bytes.",
            hint="Shorten the cell, or leave the column out.",
            details={"row": row, "column": column + 1, "limit": self._limits.cell},
        )

    def _well_quoted(self, data: bytes) -> Block | None:
        """Rows with quotes where these belong; None, with nothing taken, where Python's csv module has to look."""
        if self._width == 1 or not data.endswith(b"\n"):
            return None
        measured = measure_quoted(data, self._header.delimiter)
        if measured is None:
            return None
        cells, rest = measured
        small = cells.sizes.max() <= self._limits.cell and cells.lengths.max() <= self._limits.line
        if not small or not cells.regular(self._width):
            return None
        frame = self._parsed(cells.data, '"')
        if frame.height != cells.lines:
            return None
        self._lines.give_back(rest)
        return Block(missing_where_empty(frame) if b'""' in cells.data else frame)

    def _oddly_quoted(self, data: bytes) -> Block | None:
        """Rows with quotes, by Python's csv module, going on into the next blocks to end the last row."""
        first = _Source(data)
        current = first

        def feed() -> Iterator[str]:
            nonlocal current
            yield from current.lines()
            beyond = 0
            while more := self._lines.take():
                beyond += len(more)
                if beyond > self._limits.line + self._limits.block:
                    self._refuse_quote(len(found))
                current = _Source(more)
                yield from current.lines()

        found: list[list[str]] = []
        try:
            for record in records(feed(), self._header.delimiter):
                found.append(record)
                if current is not first or first.ended:
                    break
        except csv.Error:
            self._refuse_quote(len(found))
        self._lines.give_back(current.text.read().encode())
        return self._framed(found, longest=len(data) if current is first else self._limits.cell + 1)

    def _framed(self, found: list[list[str]], longest: int) -> Block | None:
        if self._width == 1:
            held, self._held = self._held, 0
            while found and not found[-1]:
                found.pop()
                self._held += 1
            if not found:
                self._held += held
            else:
                found = [[""]] * held + [record or [""] for record in found]
        else:
            count = len(found)
            found = [record for record in found if record]
            self.blank += count - len(found)
        if not found:
            return None
        widths = np.fromiter(map(len, found), dtype=np.int64, count=len(found))
        if (widths != self._width).any():
            self._check_widths(widths)
            found = [record + [""] * (self._width - len(record)) for record in found]
        if longest > self._limits.cell:
            self._check_cells(found)
        return Block(_frame(list(zip(*found, strict=True))))

    def _check_cells(self, found: list[list[str]]) -> None:
        for at, record in enumerate(found):
            if sum(map(len, record)) * 4 <= self._limits.cell:
                continue
            for column, cell in enumerate(record):
                if len(cell.encode()) > self._limits.cell:
                    if "\n" in cell:
                        self._refuse_quote(at)
                    self._refuse_cell(at, column)
            if sum(len(cell.encode()) + 1 for cell in record) - 1 > self._limits.line:
                raise long_line(self._lines.rows + at + 1, self._limits)

    def _refuse_quote(self, at: int) -> NoReturn:
        row = self._lines.rows + at + 1
        raise DataRejected(
            "E_QUOTE",
            f"A quote in row {row} is never closed, or is followed by more text.",
            hint='Close the quote; write a quote inside a quoted cell as "".',
            details={"row": row},
        )


class _Source:
    """Text by lines, with their ends as they are."""

    def __init__(self, block: bytes) -> None:
        self.text = io.StringIO(block.decode(), newline="")
        self._size = self.text.seek(0, 2)
        self.text.seek(0)

    def lines(self) -> Iterator[str]:
        # Not the text itself: a generator that is dropped closes what it was delegating to.
        return iter(self.text.readline, "")

    @property
    def ended(self) -> bool:
        return self.text.tell() >= self._size


def _frame(columns: list[Any]) -> pl.DataFrame:
    """Columns of text, an empty cell being missing."""
    schema = {internal(position): pl.String for position in range(len(columns))}
    return missing_where_empty(pl.DataFrame(dict(zip(schema, columns, strict=True)), schema=schema))


def missing_where_empty(frame: pl.DataFrame) -> pl.DataFrame:
    """The same text, an empty cell being missing."""
    return frame.select(pl.when(pl.all() != "").then(pl.all()))
