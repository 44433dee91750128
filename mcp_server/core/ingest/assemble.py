"""One or several files as one typed table, or a refusal with file, row and column; never something in between."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, NoReturn, Protocol

import polars as pl

from mcp_server.core.ingest.columns import ColumnReader, Typist
from mcp_server.core.ingest.csv_file import CsvText
from mcp_server.core.ingest.finish import convert, lost, notes, settle
from mcp_server.core.ingest.foreign_parquet import ParquetText
from mcp_server.core.ingest.formats import HEAD, Format, format_of, suffix
from mcp_server.core.ingest.json_file import JsonText
from mcp_server.core.ingest.options import CsvOptions, FileRows, Limits, Note, Report, Table, bounded
from mcp_server.core.ingest.parts import NewParts, Parts
from mcp_server.core.ingest.rows import Block
from mcp_server.core.labels import closest, in_file, label, place
from mcp_server.errors import DataRejected, InvalidInput

_MANY_NAMES = 5


@dataclass(frozen=True, slots=True)
class File:
    """A file that isn't compressed (any more).

    Args:
        open: opens it for reading in binary mode, seekable; it's closed after each reading, and may be read twice.
        name: what it's called, or None; its suffix must fit its content.
    """

    open: Callable[[], BinaryIO]
    name: str | None = None


class Text(Protocol):
    """A file's rows, block by block."""

    names: tuple[str, ...]
    notes: tuple[Note, ...]
    delimiter: str
    encoding: str

    @property
    def rows(self) -> int: ...

    @property
    def share(self) -> float: ...

    def blocks(self) -> Iterator[Block]: ...

    def end_notes(self) -> list[Note]: ...


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
        rows in the file's order.
    Raises:
        DataRejected: an import code; details hold `row` (data row from 1, 0 for the header) and `column` (from 1).
        InvalidInput: `text_columns` names a column that isn't there.
    """
    limits, options = limits or Limits(), options or CsvOptions()
    file = File(lambda: io.BytesIO(source) if isinstance(source, bytes) else source)
    return _Assembly([file], limits, options, report, stated="csv").read()


def read_table(
    files: Sequence[File],
    *,
    limits: Limits | None = None,
    options: CsvOptions | None = None,
    as_text: frozenset[str] = frozenset(),
    new_parts: NewParts = Parts,
    report: Report | None = None,
) -> Table:
    """Read files of CSV, JSON, lines of JSON or Parquet with the same columns as one table, in the files' order.

    Args:
        files: at least one; the order of columns is the first one's.
        as_text: columns that stay text as those of `text_columns` do, where they're there; not those of Parquet.
        new_parts: makes the places where rows are kept; in memory unless it says otherwise.
        report: called with the share done, 0..1.
    Raises:
        DataRejected: an import code; details hold row and column, and `file` (from 1) where there are several.
        InvalidInput: `text_columns` names a column that isn't there.
    """
    return _Assembly(files, limits or Limits(), options or CsvOptions(), report, None, as_text, new_parts).read()


class _Assembly:
    def __init__(
        self,
        files: Sequence[File],
        limits: Limits,
        options: CsvOptions,
        report: Report | None,
        stated: Format | None = None,
        as_text: frozenset[str] = frozenset(),
        new_parts: NewParts = Parts,
    ) -> None:
        self._files = files
        self._limits = limits
        self._options = options
        self._report = report
        self._stated = stated
        self._as_text = as_text
        self._new_parts = new_parts
        self._formats: list[Format] = []
        self._names: tuple[str, ...] = ()
        self._counts: list[int] = []
        self._notes: list[Note] = []
        self._marks = ("", "")
        self._number = 0

    def read(self) -> Table:
        typist: Typist | None = None
        found = self._new_parts()
        for block, rows_before in self._blocks():
            if typist is None:
                typist = Typist(self._names, self._options, frozenset() if block.typed else self._as_text)
            found.put(typist.add(block, rows_before))
        if typist is None:
            raise AssertionError("a file without rows is refused")
        columns = typist.columns
        said = [*self._notes, *self._file_notes()]
        with self._row_told():
            for column in columns:
                settle(column, self._options)
            parts = self._converted(found, typist)
        for column in columns:
            said += notes(column, self._options)
        said += typist.notes()
        return Table(
            parts,
            bounded(said),
            self._formats[0],
            *self._marks,
            tuple(FileRows(file.name, count) for file, count in zip(self._files, self._counts, strict=True)),
        )

    def _converted(self, found: Parts, typist: Typist) -> Parts:
        """All blocks with each column's one type and name."""
        parts = self._new_parts()
        columns = typist.columns
        late = [column for column in columns if lost(column)]
        again = self._text_again(late, typist)
        before = 0
        for number, frame in enumerate(found.drained()):
            texts = next(again)
            if len(texts) != len(late) or any(values.len() != frame.height for values in texts.values()):
                _refuse_changed()
            series = []
            for column, values in zip(columns, frame.get_columns(), strict=True):
                values = texts.get(column.position, values)
                series.append(convert(column, column.kinds[number], values, before, self._options).alias(column.name))
            parts.put(pl.DataFrame(series))
            before += frame.height
        if next(again):
            _refuse_changed()
        return parts

    def _blocks(self) -> Iterator[tuple[Block, int]]:
        """All rows of all files, with how many there were before."""
        total = 0
        for number, file in enumerate(self._files, start=1):
            self._number = number
            with self._file_told(number), self._content(file) as content:
                text = self._opened(content, file.name, number)
                order = self._settle(text, number)
                for block in text.blocks():
                    rows_before = total + text.rows
                    self._limits.check_extent(rows_before + block.frame.height, len(self._names))
                    yield (block if order is None else block.ordered(order)), rows_before
                    self._tell_progress(number, text.share, rows_before + block.frame.height)
                if not text.rows:
                    raise DataRejected(
                        "E_NO_ROWS",
                        "The file has a header and no rows.",
                        hint="Is it the right file, and is the header one line?",
                    )
                self._counts.append(text.rows)
                total += text.rows
                self._add_notes([*text.notes, *text.end_notes()], first=number == 1)

    @contextmanager
    def _content(self, file: File) -> Iterator[BinaryIO]:
        content = file.open()
        try:
            yield content
        finally:
            if self._stated is None:  # a file that the caller opened is the caller's to close
                content.close()

    def _opened(self, content: BinaryIO, name: str | None, number: int) -> Text:
        if len(self._formats) < number:
            head = content.read(HEAD)
            self._formats.append(self._stated or format_of(head, name))
        kind = self._formats[number - 1]
        options = self._options
        if kind == "csv":
            if suffix(name) == ".tsv" and options.delimiter is None:
                options = options.model_copy(update={"delimiter": "\t"})
            return CsvText(content, self._limits, options)
        if kind == "parquet":
            return ParquetText(content, self._limits, options)
        return JsonText(content, self._limits, options, lines=kind == "ndjson")

    def _settle(self, text: Text, number: int) -> list[int] | None:
        """Where each column of the table stands in this file; None for the same order."""
        if number == 1:
            self._names, self._marks = text.names, (text.delimiter, text.encoding)
            for name in self._options.text_columns:
                if name not in text.names:
                    raise InvalidInput(
                        f"text_columns names {label(name)!r}, which isn't in the header.",
                        hint=closest(name, text.names),
                    )
        if text.names == self._names:
            return None
        lacking = [f"column {at}" for at, name in enumerate(self._names, start=1) if name not in text.names]
        further = [place(name, at) for at, name in enumerate(text.names, start=1) if name not in self._names]
        if lacking or further:
            told = [f"lacks {_listed(lacking)} of the first file"] if lacking else []
            told += [f"has {_listed(further)} beside those of the first file"] if further else []
            raise DataRejected(
                "E_SHAPE",
                f"The file {' and '.join(told)}.",
                hint="Give all files the same columns; their order may differ.",
            )
        return [text.names.index(name) for name in self._names]

    def _text_again(self, columns: list[ColumnReader], typist: Typist) -> Iterator[dict[int, pl.Series]]:
        """For each block, the text of the columns that turned out to be text late, by position; {} after the last.

        Raises:
            DataRejected: `E_CHANGED`, `E_SHAPE`.
        """
        if not columns:
            while True:
                yield {}
        counts, self._counts = self._counts, []
        said, self._report = list(self._notes), None
        for block, _ in self._blocks():
            block = typist.cleared(block)
            texts = {column.position: block.frame.to_series(column.position - 1) for column in columns}
            for column in columns:
                if block.typed and column.name not in self._options.text_columns:
                    self._check_text(column, texts[column.position])
            yield {position: values.cast(pl.String) for position, values in texts.items()}
        self._notes = said
        if self._counts != counts:
            _refuse_changed()
        yield {}

    def _check_text(self, column: ColumnReader, values: pl.Series) -> None:
        if values.dtype == pl.String:
            return
        refused = DataRejected(
            "E_SHAPE",
            f"The values in {place(column.name, column.position)} are of another type in another file.",
            hint="Write the column with one type in all files, or name it in text_columns.",
            details={"column": column.position},
        )
        raise in_file(refused, self._number, self._files[self._number - 1].name)

    def _add_notes(self, notes: list[Note], *, first: bool) -> None:
        """Keep a file's notes; of the later files, those that say something that wasn't said."""
        said = set() if first else {(note.about, note.column) for note in self._notes}
        self._notes += [note for note in notes if (note.about, note.column) not in said]

    def _file_notes(self) -> list[Note]:
        if len(self._files) == 1:
            return []
        notes, before = [], 0
        for number, (file, count) in enumerate(zip(self._files, self._counts, strict=True), start=1):
            where = place(file.name, number, "file")
            told = f"Rows {before + 1} to {before + count} are from {where}."
            notes.append(Note("file", told, row=before + 1, count=count))
            before += count
        return notes

    def _tell_progress(self, number: int, share: float, rows: int) -> None:
        if self._report is not None:
            self._report(0.9 * (number - 1 + share) / len(self._files), f"{rows} rows read")

    @contextmanager
    def _file_told(self, number: int) -> Iterator[None]:
        """Say in a refusal which of several files it's about."""
        try:
            yield
        except DataRejected as refused:
            if len(self._files) == 1 or "file" in refused.details:
                raise
            raise in_file(refused, number, self._files[number - 1].name) from None

    @contextmanager
    def _row_told(self) -> Iterator[None]:
        """Turn the row of a refusal about the whole table into a file and its row."""
        try:
            yield
        except DataRejected as refused:
            row = refused.details.get("row")
            if len(self._files) == 1 or row is None or "file" in refused.details:
                raise
            number = 1
            for count in self._counts:
                if row <= count:
                    break
                row, number = row - count, number + 1
            raise in_file(refused, number, self._files[number - 1].name, row_in_file=row) from None


def _refuse_changed() -> NoReturn:
    raise DataRejected("E_CHANGED", "The file changed while it was read.", hint="Import it again when it's complete.")


def _listed(places: list[str]) -> str:
    shown = ", ".join(places[:_MANY_NAMES])
    return shown if len(places) <= _MANY_NAMES else f"{shown} and {len(places) - _MANY_NAMES} more"
