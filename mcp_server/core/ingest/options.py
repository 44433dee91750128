"""What a reader of files is told, what it may not exceed, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import BaseModel, BeforeValidator, ConfigDict

from mcp_server.core.ingest.parts import Parts
from mcp_server.errors import DataRejected

MIB = 1024 * 1024

MISSING_WORDS = ("NA", "N/A", "NaN", "nan", "null", "NULL", "None")
"""Read as missing in columns whose other values are numbers, dates or true/false, unless others are stated; text keeps
them. Stated words are read as missing in every column."""

Report = Callable[[float, str], None]
"""(share done in 0..1, what is being done) -> None."""

Delimiter = Literal[",", ";", "\t", "|"]
Encoding = Literal["utf-8", "utf-16", "utf-16-le", "utf-16-be", "latin-1", "cp1252"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one file; at the bound is allowed, one more is refused.

    Args:
        size: bytes of the file.
        rows: data rows.
        columns: columns.
        cell: bytes of one cell, as UTF-8.
        line: bytes of one line, as UTF-8.
        cells: rows times columns.
        name: characters of a column's name.
        block: bytes that are read and typed at a time; not a bound, and no result depends on it.
    """

    size: int = 1024 * MIB
    rows: int = 5_000_000
    columns: int = 10_000
    cell: int = MIB
    line: int = 10 * MIB
    cells: int = 120_000_000
    name: int = 256
    block: int = 16 * MIB

    def check_size(self, size: int) -> None:
        """Refuse a file that is too large.

        Raises:
            DataRejected: `E_SIZE`.
        """
        if size > self.size:
            raise DataRejected(
                "E_SIZE",
                f"The file has {size} bytes; {self.size} are allowed.",
                hint="Split the file, or have the limit raised.",
                details={"bytes": size, "limit": self.size},
            )

    def check_extent(self, rows: int, columns: int) -> None:
        """Refuse a table that is too large.

        Raises:
            DataRejected: `E_ROWS`, or `E_SIZE` for too many cells.
        """
        if rows > self.rows:
            raise DataRejected(
                "E_ROWS",
                f"The table has more than {self.rows} rows.",
                hint="Split it, or have the limit raised.",
                details={"limit": self.rows},
            )
        if rows * columns > self.cells:
            raise DataRejected(
                "E_SIZE",
                f"The table has more than {self.cells} cells.",
                hint="Leave columns out, or split it.",
                details={"limit": self.cells, "columns": columns},
            )


def _sequence(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


class CsvOptions(BaseModel):
    """How a text file is to be read; what isn't stated is found out, or refused where it can't be told.

    Args:
        delimiter, encoding: None to find out (encoding: UTF-8, or UTF-16 with a byte order mark).
        decimal: the mark between whole and fraction.
        date_order: how 03/04/2015 is meant; None refuses dates that can be read in two ways.
        missing: words that stand for a missing value, numbers such as -999 too; those that are stated in every column,
            the usual ones among numbers, dates and true/false.
        nonfinite: what becomes of inf, Infinity and numbers beyond 1.8e308.
        nul: what becomes of NUL characters.
        short_rows: what becomes of rows with fewer fields than the header, and of objects that lack a key.
        duplicate_names: what becomes of a column name that occurs again.
        text_columns: columns that stay text whatever they look like.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    delimiter: Delimiter | None = None
    encoding: Encoding | None = None
    decimal: Literal[".", ","] = "."
    date_order: Literal["dmy", "mdy"] | None = None
    missing: Annotated[tuple[str, ...], BeforeValidator(_sequence)] = MISSING_WORDS
    nonfinite: Literal["refuse", "missing"] = "refuse"
    nul: Literal["refuse", "strip"] = "refuse"
    short_rows: Literal["refuse", "pad"] = "refuse"
    duplicate_names: Literal["refuse", "rename"] = "refuse"
    text_columns: Annotated[tuple[str, ...], BeforeValidator(_sequence)] = ()


@dataclass(frozen=True, slots=True)
class Note:
    """Something that a reader did or saw, worth telling; never an error.

    Args:
        about: a stable word such as `missing_words` or `kept_as_text`.
        message: one sentence, ours.
        column: the column's name as in the file, or None.
        row: the first data row concerned, from 1, or None.
        count: how many values or rows are concerned, or None.
    """

    about: str
    message: str
    column: str | None = None
    row: int | None = None
    count: int | None = None

    def to_dict(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class FileRows:
    """Which rows of a table came from which file.

    Args:
        name: as the file is called, or None.
        rows: how many; the files' rows follow each other.
    """

    name: str | None
    rows: int


@dataclass(frozen=True, slots=True)
class Table:
    """One or several files, read.

    Args:
        parts: Int64, Float64, Boolean, String, Date and Datetime("us", "UTC") columns, named as in the file.
        notes: what was done and seen, in column order; at most 200, the last one counting the rest.
        format: `csv`, `json`, `ndjson` or `parquet`; of the first file, as are
        delimiter, encoding: as stated or found; empty where the format has none.
        files: in the order in which they were read.
    """

    parts: Parts
    notes: tuple[Note, ...]
    format: str
    delimiter: str
    encoding: str
    files: tuple[FileRows, ...]

    @property
    def frame(self) -> pl.DataFrame:
        """All rows in memory."""
        return self.parts.whole()


MAX_NOTES = 200


def bounded(notes: list[Note]) -> tuple[Note, ...]:
    """At most `MAX_NOTES` notes; the rest is counted in the last one."""
    if len(notes) <= MAX_NOTES:
        return tuple(notes)
    rest = len(notes) - MAX_NOTES + 1
    return (*notes[: MAX_NOTES - 1], Note("more", f"{rest} more notes aren't listed.", count=rest))
