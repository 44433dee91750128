"""Parquet from outside as blocks of our types: held exactly, or by a rule that is noted, or refused."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, BinaryIO, NoReturn

import polars as pl

from mcp_server.core.ingest.dates import INSTANT
from mcp_server.core.ingest.header import check_names
from mcp_server.core.ingest.options import CsvOptions, Limits, Note
from mcp_server.core.ingest.rows import Block, internal
from mcp_server.core.labels import place
from mcp_server.errors import DataRejected

_LARGEST = 2**63 - 1
_EPOCH_YEAR_1, _EPOCH_YEAR_9999 = -719_162, 2_932_896
"""The first and the last day that tables hold, in days from 1970-01-01."""
# Tuples, not sets: a type such as Categorical() equals its class and has another hash.
_WHOLE = (pl.Int8, pl.Int16, pl.Int32, pl.UInt8, pl.UInt16, pl.UInt32)
_FLOATS = (pl.Float32, pl.Float64)
_TEXTS = (pl.String, pl.Categorical, pl.Enum, pl.Null)
_LONG = (pl.UInt64, pl.Int128, pl.UInt128)
_UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, OverflowError, ValueError)


class ParquetText:
    """A Parquet file as rows of our types.

    Whole numbers, floats, true/false, text and days are held as they are; instants in UTC, to the microsecond; numbers
    beyond 64 bits as text; decimals as whole numbers where they have no fraction, else as the nearest float; NaN as
    missing.

    Args:
        file: open for reading in binary mode, seekable.
    Raises:
        DataRejected: `E_DAMAGED`, `E_FORMAT` (encrypted), `E_NESTED`, `E_TYPE`, `E_HEADER`, `E_DUP_HEADER`,
            `E_COLUMNS`, `E_ROWS`, `E_SIZE`, `E_NO_ROWS`. Rows are counted before anything is decoded.
    """

    delimiter = ""
    encoding = ""

    def __init__(self, file: BinaryIO, limits: Limits, options: CsvOptions) -> None:
        self._limits = limits
        self._options = options
        file.seek(0)
        self._content = file.read(limits.size + 1)
        if len(self._content) > limits.size:
            raise DataRejected(
                "E_SIZE",
                f"The file has more than {limits.size} bytes.",
                hint="Split the file, or have the limit raised.",
                details={"limit": limits.size},
            )
        if self._content.endswith(b"PARE"):
            raise DataRejected("E_FORMAT", "The Parquet file is encrypted.", hint="Write it again without encryption.")
        schema = _trusted(lambda: pl.read_parquet_schema(io.BytesIO(self._content)))
        if not schema:
            raise DataRejected("E_EMPTY", "The Parquet file has no columns.", hint="Is it the right file?")
        notes: list[Note] = []
        self._own_names = tuple(schema)
        self.names = check_names(list(schema), options, limits, notes)
        for position, (name, dtype) in enumerate(schema.items(), start=1):
            _check_type(name, position, dtype)
        self._height = _trusted(
            lambda: int(pl.scan_parquet(io.BytesIO(self._content)).select(pl.len()).collect().item())
        )
        limits.check_extent(self._height, len(self.names))
        self.notes = tuple(notes)
        self._told: list[Note] = []
        self.rows = 0
        self.share = 0.0

    def blocks(self) -> Iterator[Block]:
        """All rows, in one block.

        Raises:
            DataRejected: `E_DAMAGED`, `E_NONFINITE`, `E_NUL`, `E_CELL`, `E_TYPE`; details hold row and column.
        """
        frame = _trusted(lambda: pl.read_parquet(io.BytesIO(self._content), glob=False)).rechunk()
        self._content = b""
        if frame.height != self._height or tuple(frame.columns) != self._own_names:
            _refuse_damaged()
        if not frame.height:
            return
        columns = [
            _trusted(partial(self._held, values, at)).alias(internal(at))
            for at, values in enumerate(frame.get_columns())
        ]
        yield Block(pl.DataFrame(columns), typed=True)
        self.rows = self._height
        self.share = 1.0

    def end_notes(self) -> list[Note]:
        """What was done to keep values."""
        return self._told

    def _held(self, values: pl.Series, at: int) -> pl.Series:
        name, dtype = self.names[at], values.dtype
        if dtype in _WHOLE:
            return values.cast(pl.Int64)
        if dtype in _LONG:
            return self._long(values, name)
        if isinstance(dtype, pl.Decimal):
            return self._decimal(values, at)
        if dtype in _FLOATS:
            return self._float(values.cast(pl.Float64), at)
        if isinstance(dtype, pl.Datetime):
            return self._instant(values, at)
        if dtype == pl.Date:
            self._check_days(values.cast(pl.Int32), at)
        if dtype in _TEXTS:
            return self._text(values.cast(pl.String), at)
        return values

    def _long(self, values: pl.Series, name: str) -> pl.Series:
        whole = values.cast(pl.Int64, strict=False)
        if whole.null_count() == values.null_count():
            return whole
        self._told.append(Note("kept_as_text", "Kept as text: whole numbers beyond 64 bits.", column=name))
        return values.cast(pl.String)

    def _decimal(self, values: pl.Series, at: int) -> pl.Series:
        if isinstance(values.dtype, pl.Decimal) and values.dtype.scale == 0:
            return self._long(values.cast(pl.Int128), self.names[at])
        real = values.cast(pl.Float64)
        lost = (real.cast(values.dtype, strict=False) != values).fill_null(True) & values.is_not_null()
        self._note(
            "rounded", "{count} decimals have more digits than a 64-bit float keeps, first in row {row}.", at, lost
        )
        return real

    def _float(self, values: pl.Series, at: int) -> pl.Series:
        nan = values.is_nan().fill_null(False)
        self._note("missing_words", "{count} NaN were read as missing, first in row {row}.", at, nan)
        values = values.fill_nan(None)
        infinite = values.is_infinite().fill_null(False)
        if infinite.any():
            if self._options.nonfinite == "refuse":
                hint = "Set nonfinite to missing to read such numbers as missing."
                self._refuse("E_NONFINITE", "is infinite", hint, at, infinite)
            self._note("nonfinite", "{count} infinite numbers were read as missing, first in row {row}.", at, infinite)
            values = values.set(infinite, None)
        return values

    def _instant(self, values: pl.Series, at: int) -> pl.Series:
        dtype = values.dtype
        assert isinstance(dtype, pl.Datetime)
        counts = values.cast(pl.Int64)
        per_day = {"ns": 86_400_000_000_000, "us": 86_400_000_000, "ms": 86_400_000}[dtype.time_unit]
        self._check_days(counts // per_day, at)
        if dtype.time_unit == "ns":
            cut = (counts % 1000 != 0).fill_null(False)
            self._note("cut_fractions", "{count} times were cut to microseconds, first in row {row}.", at, cut)
            counts = counts // 1000
        elif dtype.time_unit == "ms":
            counts = counts * 1000
        if dtype.time_zone is None:
            self._note("zoneless", "{count} times without an offset were taken as UTC.", at, values.is_not_null())
        elif dtype.time_zone != "UTC":
            self._note("zoned", "{count} times with an offset were moved to UTC.", at, values.is_not_null())
        return counts.cast(INSTANT)

    def _check_days(self, days: pl.Series, at: int) -> None:
        outside = ~days.is_between(_EPOCH_YEAR_1, _EPOCH_YEAR_9999).fill_null(True)
        if outside.any():
            self._refuse(
                "E_TYPE", "is a date outside the years 1 to 9999", "Correct it, or leave it empty.", at, outside
            )

    def _text(self, values: pl.Series, at: int) -> pl.Series:
        large = (values.str.len_bytes() > self._limits.cell).fill_null(False)
        if large.any():
            self._refuse("E_CELL", f"has more than {self._limits.cell} bytes", "Shorten the text.", at, large)
        marked = values.str.contains("\0", literal=True).fill_null(False)
        if marked.any():
            if self._options.nul == "refuse":
                hint = "Set nul to strip to remove NUL characters."
                self._refuse("E_NUL", "has a NUL character", hint, at, marked)
            self._note("nul_removed", "{count} texts with NUL characters lost these, first in row {row}.", at, marked)
            values = values.str.replace_all("\0", "", literal=True)
        return values

    def _note(self, about: str, message: str, at: int, mask: pl.Series) -> None:
        count = int(mask.sum())
        if count:
            row = int(mask.arg_max() or 0) + 1
            told = message.format(count=count, row=row)
            self._told.append(Note(about, told, column=self.names[at], row=row, count=count))

    def _refuse(self, code: str, what: str, hint: str, at: int, mask: pl.Series) -> NoReturn:
        row = int(mask.arg_max() or 0) + 1
        raise DataRejected(
            code,
            f"The cell in row {row}, {place(self.names[at], at + 1)}, {what}.",
            hint=hint,
            details={"row": row, "column": at + 1},
        )


def _trusted(step: Callable[[], Any]) -> Any:
    """What a step of the reader gives; a damaged file makes it fail in many ways."""
    try:
        return step()
    except pl.exceptions.DuplicateError:
        raise DataRejected("E_DUP_HEADER", "Two columns have the same name.", hint="Rename one of them.") from None
    except _UNREADABLE:
        _refuse_damaged()


def _refuse_damaged() -> NoReturn:
    raise DataRejected(
        "E_DAMAGED", "The Parquet file is cut off or damaged.", hint="Copy or download it again, or write it again."
    )


def _check_type(name: str, position: int, dtype: pl.DataType) -> None:
    if dtype.is_nested():
        raise DataRejected(
            "E_NESTED",
            f"{place(name, position)[0].upper()}{place(name, position)[1:]} holds lists or records.",
            hint="Give each part of it a column of its own.",
            details={"column": position},
        )
    simple = (*_WHOLE, *_LONG, *_FLOATS, *_TEXTS, pl.Int64, pl.Boolean, pl.Date)
    if dtype not in simple and not isinstance(dtype, pl.Decimal | pl.Datetime):
        raise DataRejected(
            "E_TYPE",
            f"{place(name, position)[0].upper()}{place(name, position)[1:]} has a type that tables can't hold.",
            hint="Write it as a number, text, true/false, a date or an instant.",
            details={"column": position},
        )
