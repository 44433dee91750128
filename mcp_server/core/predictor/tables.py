"""From a table to the estimator's matrix, by the same rules as from one row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mcp_server.core.contract import Derived
from mcp_server.core.expressions.polars_backend import compute
from mcp_server.core.labels import label
from mcp_server.core.predictor.encodings import (
    NUMERIC,
    CalendarEncoding,
    ColumnEncoding,
    Encoding,
    HashEncoding,
    HingesEncoding,
    LookupEncoding,
    NumberEncoding,
    OneHotEncoding,
    OrdinalEncoding,
    ProductEncoding,
    products,
)
from mcp_server.core.predictor.flags import UNIT_FACTORS, FlagKind
from mcp_server.core.predictor.form import Input, derivations
from mcp_server.core.predictor.hashing import hashed
from mcp_server.errors import InvalidInput

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


class TableEncoder:
    """The encoder of a form, for tables. Immutable.

    Args:
        derived, inputs, encoder: the form's parts of these names.
    Raises:
        CorruptArtefact: a derived column can't be computed from the inputs.
    """

    def __init__(self, derived: Sequence[Derived], inputs: Sequence[Input], encoder: Sequence[Encoding]) -> None:
        self._derived = derivations(derived, inputs)
        self._computed = {name for name, _ in self._derived}
        self._inputs = list(inputs)
        self._encoder = list(encoder)
        self._products = [(at, told.first, told.second) for at, told in products(encoder).items()]
        self.width = sum(encoding.width for encoding in encoder)

    def columns(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The model's inputs, derived ones computed where the table doesn't give them.

        Args:
            frame: shape (n, any): further columns are ignored.
        Raises:
            InvalidInput: a column that the model needs is absent or of another kind, or isn't finite.
        """
        given = [spec for spec in self._inputs if spec.name not in self._computed]
        lacking = [spec.name for spec in given if spec.name not in frame.columns]
        if lacking:
            listed = ", ".join(repr(label(name)) for name in lacking[:10])
            raise InvalidInput(
                f"The data lacks columns that the model reads: {listed}.",
                hint="Predict on data with the columns of the training data, or add them as derived columns.",
                details={"columns": [label(name) for name in lacking[:20]]},
            )
        taken = pl.DataFrame([_typed(frame.get_column(spec.name), spec) for spec in given])
        for name, expression in self._derived:
            series = _computed(compute(expression, taken))
            if name in frame.columns:
                stated = _computed(frame.get_column(name)).cast(series.dtype)
                series = stated.zip_with(stated.is_not_null(), series)
            taken = taken.with_columns(series.alias(name))
        return taken

    def encode(self, columns: pl.DataFrame) -> FloatArray:
        """The estimator's matrix, shape (n, width), of what `columns` gave; NaN where a tree sees a missing value."""
        matrix = np.empty((columns.height, self.width))
        at = 0
        for encoding in self._encoder:
            if not isinstance(encoding, ProductEncoding):
                matrix[:, at : at + encoding.width] = _encoded(columns.get_column(encoding.column), encoding)
            at += encoding.width
        self.multiply(matrix)
        return matrix

    def multiply(self, matrix: FloatArray) -> None:
        """Put the products into a matrix that has everything else, shape (n, width)."""
        # What overflows is infinite, as it is row by row.
        with np.errstate(over="ignore", invalid="ignore"):
            for at, first, second in self._products:
                matrix[:, at] = matrix[:, first] * matrix[:, second]

    def flags(self, columns: pl.DataFrame) -> dict[tuple[str, FlagKind], BoolArray]:
        """(column, kind) to the rows so flagged, shape (n,), of what `columns` gave; only pairs with such a row."""
        found: dict[tuple[str, FlagKind], BoolArray] = {}
        for spec in self._inputs:
            series = columns.get_column(spec.name)
            found[spec.name, "missing"] = series.is_null().to_numpy()
            if spec.kind in NUMERIC:
                values = series.cast(pl.Float64).fill_null(np.nan).to_numpy()
                low = -np.inf if spec.minimum is None else spec.minimum
                high = np.inf if spec.maximum is None else spec.maximum
                outside = (values < low) | (values > high)
                found[spec.name, "out_of_range"] = outside
                if spec.name not in self._computed and spec.kind != "boolean":
                    found[spec.name, "suspected_unit"] = outside & _other_unit(values, spec)
            elif spec.kind == "category":
                known = spec.allowed if spec.allowed is not None else self._listed(spec.name)
                if known is not None:
                    seen = series.is_in(known).fill_null(True)
                    found[spec.name, "unseen_category"] = ~seen.to_numpy()
        return {pair: rows for pair, rows in found.items() if rows.any()}

    def _listed(self, column: str) -> list[str] | None:
        for encoding in self._encoder:
            if isinstance(encoding, OneHotEncoding | OrdinalEncoding | LookupEncoding) and encoding.column == column:
                return encoding.values
        return None


def _typed(series: pl.Series, spec: Input) -> pl.Series:
    """A column as the row by row evaluation types it, so that expressions give the same."""
    dtype = series.dtype
    wanted: pl.DataType | type[pl.DataType] = {
        "number": pl.Float64,
        "integer": pl.Int64,
        "boolean": pl.Boolean,
        "category": pl.String,
        "date": pl.Date,
    }.get(spec.kind, pl.Datetime("us", "UTC"))
    if dtype in (wanted, pl.Null):
        fits = True
    elif spec.kind in NUMERIC:
        fits = dtype.is_numeric() or dtype == pl.Boolean
    else:
        fits = spec.kind == "datetime" and isinstance(dtype, pl.Datetime) and dtype.time_zone is not None
    if fits and dtype.is_float():
        series = series.fill_nan(None)
        if series.is_infinite().any():
            raise InvalidInput(
                f"Column {label(spec.name)!r} holds a number that isn't finite.",
                hint="Replace it, or leave it out where the value is unknown.",
            )
        fits = spec.kind != "integer" or not (series != series.floor()).any()
    if not fits:
        raise InvalidInput(
            f"Column {label(spec.name)!r} isn't of the kind {spec.kind} that the model reads.",
            hint="Import the data again and state the column's kind as the training data has it.",
            details={"column": label(spec.name), "kind": "wrong_type"},
        )
    return series if dtype == wanted else series.cast(wanted)


def _computed(series: pl.Series) -> pl.Series:
    """A derived column: what isn't a finite number or a boolean counts as missing, as it does row by row."""
    if series.dtype.is_float():
        return series.replace([np.nan, np.inf, -np.inf], [None, None, None])
    if series.dtype.is_numeric() or series.dtype == pl.Boolean:
        return series
    return pl.Series(series.name, [None], dtype=pl.Float64).new_from_index(0, len(series))


def _encoded(series: pl.Series, encoding: ColumnEncoding) -> FloatArray:
    if isinstance(encoding, CalendarEncoding):
        series = {"year": series.dt.year, "month": series.dt.month, "weekday": series.dt.weekday}[encoding.as_]()
    if isinstance(encoding, NumberEncoding | CalendarEncoding):
        fill = np.nan if encoding.fill is None else encoding.fill
        return series.cast(pl.Float64).fill_null(fill).to_numpy().reshape(-1, 1)
    if isinstance(encoding, HingesEncoding):
        numbers = series.cast(pl.Float64).fill_null(encoding.center).to_numpy()
        held = np.minimum(np.maximum(numbers, encoding.low), encoding.high)
        beyond = [np.maximum(0.0, held - knot) for knot in encoding.knots]
        return np.column_stack([held - encoding.center, *beyond]) / encoding.scale
    if isinstance(encoding, HashEncoding):
        values = series.drop_nulls().unique().to_list()
        places = _positions(series, values)
        marks = [sign * (place == encoding.place) for place, sign in (hashed(text, encoding.places) for text in values)]
        return np.array([*marks, 0.0])[places].reshape(-1, 1)
    positions = _positions(series, encoding.values)
    if isinstance(encoding, LookupEncoding):
        other, missing = (np.nan if one is None else one for one in (encoding.other, encoding.missing))
        numbers = np.array([*encoding.numbers, other])[positions]
        return np.where(series.is_null().to_numpy(), missing, numbers).reshape(-1, 1)
    if isinstance(encoding, OneHotEncoding):
        block = np.zeros((len(series), encoding.width))
        present = np.flatnonzero(~series.is_null().to_numpy())
        block[present, positions[present]] = 1.0
        return block
    return np.where(positions == len(encoding.values), np.nan, positions.astype(np.float64)).reshape(-1, 1)


def _positions(series: pl.Series, values: list[str]) -> NDArray[np.int64]:
    """The index of each value in `values`, and their number for any other or a missing one."""
    other = len(values)
    if not values:
        return np.zeros(len(series), dtype=np.int64)
    # A missing value would be matched by replace_strict's default or not, as polars likes: it's taken out first.
    present = series.is_not_null()
    found = series.filter(present).replace_strict(values, list(range(other)), default=other, return_dtype=pl.Int64)
    positions = np.full(len(series), other, dtype=np.int64)
    positions[present.to_numpy()] = found.to_numpy()
    return positions


def _other_unit(values: FloatArray, spec: Input) -> BoolArray:
    """Which numbers a common factor takes between the training quantiles; the same rule as for one row."""
    hit = np.zeros(len(values), dtype=bool)
    if spec.p01 is None or spec.p99 is None or spec.median is None or (spec.p01 >= 0.0 and spec.p99 <= 1.0):
        return hit
    if spec.p01 < 0.0 < spec.p99:
        return hit
    for factor, _ in UNIT_FACTORS:
        for candidate in (values / factor, values * factor):
            hit |= (candidate >= spec.p01) & (candidate <= spec.p99)
    hit &= values != 0.0
    return hit
