"""One column of a file: each block is read as what it looks like, and the whole becomes what all blocks agree on."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

import polars as pl

from mcp_server.core.ingest.dates import looks_like_date, read_dates
from mcp_server.core.ingest.numbers import (
    KINDS,
    LEADING_ZERO,
    SHORT,
    looks_like_number,
    plain_kind,
    read_numbers,
    rounding,
)
from mcp_server.core.ingest.options import MISSING_WORDS, CsvOptions, Note
from mcp_server.core.ingest.reading import Found, Reading, Sighting, sighting, text_because
from mcp_server.core.ingest.rows import Block
from mcp_server.core.labels import label

_TRUTH = ["true", "false"]
_REASONS: dict[Found, str] = {
    "date": "not_a_date",
    "datetime": "not_a_date",
    "slashed": "not_a_date",
    "boolean": "not_true_or_false",
}
_TOLD = frozenset(
    {"not_a_number", "leading_zeros", "plus_sign", "quoted_numbers", "impossible_date", *_REASONS.values()}
)
NUMERIC = frozenset(KINDS)
TEMPORAL = frozenset({"date", "datetime"})


@dataclass(slots=True)
class ColumnReader:
    """What has been read of one column.

    Attributes:
        name, position: as in the file; from 1.
        kinds: one for each block.
        kept: whether the text of all blocks can still be had.
        seen: sightings, with data rows (from 1) in place of indices.
        kind: what all blocks so far fit; once it's text, it stays text.
    """

    name: str
    position: int
    kind: Found = "unknown"
    kinds: list[Found] = field(default_factory=list)
    kept: bool = True
    seen: dict[str, Sighting] = field(default_factory=dict)

    def add(self, reading: Reading, rows_before: int) -> None:
        """Take note of a block's reading."""
        self.kinds.append(reading.kind)
        self.kept = self.kept and reading.kept
        self.kind = join(self.kind, reading.kind)
        self.see(reading.sightings, rows_before)

    def see(self, sightings: list[Sighting], rows_before: int) -> None:
        """Add sightings of a block to those of the column."""
        for sight in sightings:
            known = self.seen.get(sight.about)
            row = rows_before + sight.index + 1 if known is None else known.index
            self.seen[sight.about] = Sighting(sight.about, row, sight.count + (known.count if known else 0))


_WHOLE_AS_DECIMAL = r"^([+-]?[0-9]+)\.0*$"


def _as_written(word: str) -> str:
    """A word as cells are compared with it: -999.0 is -999."""
    return re.sub(_WHOLE_AS_DECIMAL, r"\1", word.strip(" \t"))


def _which(frame: pl.DataFrame, conditions: dict[int, pl.Expr]) -> set[int]:
    """Under which keys the condition holds for some row."""
    held = frame.select(condition.any() for condition in conditions.values()).row(0) if conditions else ()
    return {at for at, holds in zip(conditions, held, strict=True) if holds}


def _strange(values: pl.Series) -> pl.Expr:
    """Too large for a float, or perhaps too small."""
    column = pl.col(values.name)
    return ~column.is_finite() | (column == 0.0)


def join(one: Found, other: Found) -> Found:
    """The kind that two blocks of a column fit both."""
    if one == other or other == "unknown":
        return one
    if one == "unknown":
        return other
    both = {one, other}
    if both <= NUMERIC:
        return max(one, other, key=KINDS.index)
    return "datetime" if both <= TEMPORAL else "text"


_FOUND: dict[pl.DataType, Found] = {
    pl.Int64(): "integer",
    pl.Float64(): "decimal",
    pl.Boolean(): "boolean",
    pl.Date(): "date",
    pl.Datetime("us", "UTC"): "datetime",
    pl.String(): "text",
}


def as_typed(values: pl.Series) -> Reading:
    """A column that has one of a table's types already; one that is missing throughout says nothing of its kind."""
    if values.null_count() == values.len():
        return Reading("unknown", pl.Series(values.name, [None], dtype=pl.String).new_from_index(0, values.len()))
    return Reading(_FOUND[values.dtype], values)


class Typist:
    """Reads frames of text as typed columns.

    Args:
        names: of the columns, as in the file.
        as_text: columns that stay text, beside those that the options name.
    """

    def __init__(self, names: tuple[str, ...], options: CsvOptions, as_text: frozenset[str] = frozenset()) -> None:
        stated = options.missing != MISSING_WORDS
        # Stated words are taken out of every column before anything is read; the usual ones only of some kinds.
        self._stated = {_as_written(word): word for word in options.missing} if stated else {}
        self._unmatched = dict(self._stated)
        self._missing = frozenset() if stated else frozenset(options.missing)
        self._decimal = options.decimal
        stay = as_text | frozenset(options.text_columns)
        self.columns = [
            ColumnReader(name, position, kind="text" if name in stay else "unknown")
            for position, name in enumerate(names, start=1)
        ]

    def add(self, block: Block, rows_before: int) -> pl.DataFrame:
        """Read some rows of all columns.

        Returns:
            the values as they were read, each column of the type that its kind in this block has.
        """
        block = self.cleared(block, rows_before)
        texts = block.frame.get_columns()
        quick = {} if block.typed else self._quickly(block, texts)
        found = []
        for index, (column, text) in enumerate(zip(self.columns, texts, strict=True)):
            reading = as_typed(text) if block.typed else quick.get(index)
            if reading is None:
                reading = self._read(column, text, quoted=index in block.quoted)
            if reading.kind not in {"unknown", column.kind} and join(column.kind, reading.kind) == "text":
                reading = self._with_reason(column, reading, text)
            column.add(reading, rows_before)
            found.append(reading.values.alias(text.name))
        return pl.DataFrame(found)

    def cleared(self, block: Block, rows_before: int | None = None) -> Block:
        """The block without its cells that hold a stated word, in columns of every kind.

        Args:
            rows_before: to take note of those cells; None where that was done.
        """
        if not self._stated:
            return block
        series = []
        for column, values in zip(self.columns, block.frame.get_columns(), strict=True):
            cells = values.cast(pl.String).str.strip_chars(" \t").str.replace(_WHOLE_AS_DECIMAL, "$1")
            stated = cells.is_in(list(self._stated)).fill_null(False)
            if stated.any():
                for word in cells.filter(stated).unique():
                    self._unmatched.pop(word, None)
                if rows_before is not None:
                    column.see(sighting("stated_words", stated), rows_before)
                values = pl.select(pl.when(~stated).then(values)).to_series().alias(values.name)
            series.append(values)
        return replace(block, frame=pl.DataFrame(series))

    def notes(self) -> list[Note]:
        """Which of the stated words occurred nowhere."""
        return [
            Note("missing_unmatched", f"No cell holds {label(word)!r}, which missing states.")
            for word in self._unmatched.values()
        ]

    def _quickly(self, block: Block, texts: list[pl.Series]) -> dict[int, Reading]:
        """Read all columns at once that are expected to be plain numbers; those that aren't are left out."""
        expected = self._expected(block) if self._decimal == "." else {}
        casts = [pl.col(texts[at].name).cast(dtype, strict=False) for at, dtype in expected.items()]
        typed = dict(zip(expected, block.frame.select(casts).get_columns(), strict=True))
        typed = {at: values for at, values in typed.items() if values.null_count() == texts[at].null_count()}
        suspects = typed.keys() if block.zero_led is None else typed.keys() & block.zero_led
        zero_led = _which(block.frame, {at: pl.col(texts[at].name).str.contains(LEADING_ZERO) for at in suspects})
        floats = {at: values for at, values in typed.items() if values.dtype == pl.Float64}
        strange = _which(pl.DataFrame(list(floats.values())), {at: _strange(values) for at, values in floats.items()})
        strange |= _which(block.frame, {at: pl.col(texts[at].name).str.len_bytes() > SHORT for at in floats})
        found: dict[int, Reading] = {}
        for at, values in typed.items():
            if at in zero_led:
                continue
            if values.dtype == pl.Int64:
                found[at] = Reading("integer", values)
            elif at not in strange:
                found[at] = Reading("decimal", values)
            elif values.is_finite().all():
                found[at] = Reading("decimal", values, rounding(texts[at], values))
        return found

    def _expected(self, block: Block) -> dict[int, pl.DataType]:
        """By index, the type of each column that was numbers so far, or begins with one."""
        expected: dict[int, pl.DataType] = {}
        for at, (column, cell) in enumerate(zip(self.columns, block.frame.row(0), strict=True)):
            if at in block.quoted:
                continue
            kind = column.kind
            if kind == "unknown" and cell is not None:
                kind = plain_kind(cell)
            if kind in {"integer", "decimal"}:
                expected[at] = pl.Int64() if kind == "integer" else pl.Float64()
        return expected

    def _read(self, column: ColumnReader, text: pl.Series, *, quoted: bool) -> Reading:
        if column.kind == "text":
            return Reading("text", text)
        cell = self._first_telling(text)
        if cell is None:
            return self._nothing(text)
        if quoted and looks_like_number(cell):
            return text_because("quoted_numbers", text, text.is_not_null())
        if quoted and not looks_like_date(cell):
            return Reading("text", text)
        if looks_like_number(cell):
            return read_numbers(text, self._missing, self._decimal)
        if looks_like_date(cell):
            return read_dates(text, self._missing)
        if cell.strip().lower() in _TRUTH:
            return self._read_truth(text)
        return self._plain_text(text)

    def _with_reason(self, column: ColumnReader, reading: Reading, text: pl.Series) -> Reading:
        """The reading that makes text of a column that was something else so far, with what it shows of that."""
        if text.dtype != pl.String:
            return reading
        about = "not_a_number" if column.kind in NUMERIC else _REASONS.get(column.kind)
        if about is None or any(sight.about in _TOLD for sight in reading.sightings):
            return reading
        telling = text.is_not_null() & ~text.is_in(list(self._missing))
        return Reading(reading.kind, reading.values, [*reading.sightings, *sighting(about, telling)])

    def _first_telling(self, text: pl.Series) -> str | None:
        """The first cell that isn't missing in any kind of column."""
        for cell in text.drop_nulls().head(100):
            if cell not in self._missing:
                return str(cell)
        telling = text.filter(text.is_not_null() & ~text.is_in(list(self._missing))).head(1)
        return str(telling[0]) if telling.len() else None

    def _nothing(self, text: pl.Series) -> Reading:
        return Reading("unknown", text.clear(text.len()), sighting("missing_words", text.is_not_null()))

    def _read_truth(self, text: pl.Series) -> Reading:
        words = text.is_in(list(self._missing)).fill_null(False)
        cells = text.set(words, None).str.strip_chars(" \t").str.to_lowercase()
        wrong = cells.is_not_null() & ~cells.is_in(_TRUTH)
        if wrong.any():
            return text_because("not_true_or_false", text, wrong)
        return Reading("boolean", cells == "true", sighting("missing_words", words))

    def _plain_text(self, text: pl.Series) -> Reading:
        """Text; told where most of it would have been numbers."""
        numeric = text.cast(pl.Float64, strict=False).is_not_null()
        if numeric.sum() * 2 > text.len() - text.null_count():
            return text_because("not_a_number", text, text.is_not_null() & ~numeric)
        return Reading("text", text)
