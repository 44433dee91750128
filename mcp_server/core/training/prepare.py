"""How columns become numbers: fitted on the rows that are learned from, and written into the serving form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mcp_server.core.contract import Contract, Derived
from mcp_server.core.expressions import parse
from mcp_server.core.labels import label
from mcp_server.core.predictor.encodings import (
    NUMERIC,
    CalendarEncoding,
    ColumnEncoding,
    Encoding,
    NumberEncoding,
    OneHotEncoding,
    OrdinalEncoding,
)
from mcp_server.core.predictor.form import Input
from mcp_server.core.predictor.tables import TableEncoder
from mcp_server.core.training.splines import hinges, knots_each, most_terms, products
from mcp_server.errors import LeakFound, TrainingRefused

Style = Literal["linear", "trees", "ranked", "splines", "crossed"]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

STYLES: dict[str, Style] = {
    "linear": "linear",
    "splines": "splines",
    "boosting": "trees",
    "lightgbm": "trees",
    "extra_trees": "trees",
}
"""Algorithm to the style of encoding that it learns from, unless its parameters say otherwise."""

_TREES = frozenset({"trees", "ranked"})

CATEGORIES = ("named", "ranked")
"""What the parameter `categories` of trees may say."""

ONEHOT_VALUES = 50
ORDINAL_VALUES = 200
_PRIOR = 10.0  # rows of the overall rate that a category's own rate starts with
_LONGEST = 500  # characters of a category that a form keeps
_DEFAULT_KINDS = NUMERIC | {"category"}
_PLAIN = Input(
    name="x",
    kind="number",
    minimum=None,
    maximum=None,
    p01=None,
    p99=None,
    median=None,
    missing_rate=0.0,
    unit=None,
    allowed=None,
)


@dataclass(frozen=True, slots=True)
class Preparation:
    """The parts of a serving form that turn a row into the estimator's vector.

    Args:
        derived, inputs, encoder: as in the form.
        notes: what was left out or shortened, one sentence each.
    """

    derived: tuple[Derived, ...]
    inputs: tuple[Input, ...]
    encoder: tuple[Encoding, ...]
    notes: tuple[str, ...] = field(default=())

    def table_encoder(self) -> TableEncoder:
        """The encoder, for tables."""
        return TableEncoder(self.derived, self.inputs, self.encoder)

    def to_dict(self) -> dict[str, Any]:
        """The parts as they stand in a serving form."""
        return {
            "derived": [part.model_dump(by_alias=True) for part in self.derived],
            "inputs": [part.model_dump(by_alias=True) for part in self.inputs],
            "encoder": [part.model_dump(by_alias=True) for part in self.encoder],
        }


def style_of(algorithm: str, parameters: Mapping[str, Any]) -> Style:
    """The style of encoding that an algorithm with these parameters learns from."""
    if parameters.get("categories") == "ranked":
        return "ranked"
    return "crossed" if parameters.get("products") == "pairs" else STYLES[algorithm]


def default_features(contract: Contract) -> tuple[str, ...]:
    """The columns with the role feature that can be learned from as they are: numbers, true/false and categories."""
    return tuple(column.name for column in contract.features if column.kind in _DEFAULT_KINDS)


def prepare(
    frame: pl.DataFrame,
    contract: Contract,
    features: Sequence[str] | None,
    *,
    rows: IntArray,
    style: Style,
    outcomes: FloatArray | None = None,
    allow_leaks: bool = False,
) -> Preparation:
    """Fit the encoder.

    Source: Fisher (1958), JASA 53(284), for ordering categories by the outcome; Micci-Barreca (2001), SIGKDD
    Explorations 3(1), for shrinking the rates of small ones.

    Args:
        frame: the table of the contract, shape (n, columns).
        features: columns to learn from; None for `default_features`. A date counts as its year, month and weekday.
        rows: indexes of the rows that are learned from: nothing else is looked at.
        style: `linear` (medians for missing values, a column for each of the 50 most frequent categories) or `trees`
            (missing values stay missing, categories become their position by name) or `ranked` (as trees, but by the
            mean outcome, so that one split parts those with high rates from those with low ones) or `splines` (as
            linear, with hinges of the numbers) or `crossed` (as splines, with products of pairs of columns).
        outcomes: shape (n,): numbers, or 0.0 and 1.0; `ranked` needs them, of `rows`.
        allow_leaks: whether a column that is known only after the event may be a feature.
    Raises:
        LeakFound: a feature is the target, or known only after the event.
        TrainingRefused: a feature is text or has another role, or none has a value.
        InvalidInput: there is no such column.
    """
    chosen = tuple(dict.fromkeys(default_features(contract) if features is None else features))
    for name in chosen:
        _check_feature(contract, name, allow_leaks=allow_leaks)
    learned = frame[rows.tolist()] if len(rows) < frame.height else frame
    outcomes = None if outcomes is None or style != "ranked" else outcomes[rows]
    derived, raw = _sources(contract, chosen)
    plain = [_PLAIN.model_copy(update={"name": name, "kind": _kind(contract, name)}) for name in raw]
    columns = TableEncoder(derived, plain, []).columns(learned)

    inputs: list[Input] = []
    encoder: list[ColumnEncoding] = []
    notes: list[str] = []
    bent: list[tuple[Input, pl.Series]] = []
    # Of all rows, so that the folds' vectors may be as wide as that of the model.
    terms = most_terms(frame.height)
    for name in [*raw, *(part.name for part in derived)]:
        column = contract.column(name)
        series = columns.get_column(name)
        spec = described_input(name, _kind(contract, name), column.unit, series)
        inputs.append(spec)
        if name not in chosen:
            continue
        if series.null_count() == len(series):
            notes.append(f"{label(name)} has no value in the rows to learn from and is left out.")
            continue
        # What was made of another column is told by that one when the model predicts: a plain number can be.
        if style in ("splines", "crossed") and spec.kind in NUMERIC and name not in contract.ingredients:
            bent.append((spec, series))
        else:
            encoder += _encodings(spec, series, style, outcomes, notes)
    knots = knots_each(len(bent), terms - sum(encoding.width for encoding in encoder))
    encoder += [hinges(spec, series, knots) for spec, series in bent]
    if not encoder:
        raise TrainingRefused(
            "There is no feature to learn from.",
            hint="Give columns the role feature, or list features that have values in the rows to learn from.",
        )
    position = {name: at for at, name in enumerate(chosen)}
    encoder.sort(key=lambda encoding: position[encoding.column])
    crossed = products(encoder, terms) if style == "crossed" else []
    return Preparation(tuple(derived), tuple(inputs), (*encoder, *crossed), tuple(notes))


def _check_feature(contract: Contract, name: str, *, allow_leaks: bool) -> None:
    column = contract.column(name)
    if name == contract.target:
        raise LeakFound(f"{label(name)!r} is the target itself.", hint="Leave it out of the features.")
    if name in contract.not_before_the_event and not allow_leaks:
        raise LeakFound(
            f"{label(name)!r} is known only after the event: the model would know the answer.",
            hint="Leave it out of the features; state allow_leaks only to show what a leak does.",
            details={"column": label(name)},
        )
    if column.role != "feature" and name not in contract.not_before_the_event:
        raise TrainingRefused(
            f"{label(name)!r} has the role {column.role}, so it isn't learned from.",
            hint="Give the column the role feature with import_data, or leave it out.",
            details={"column": label(name)},
        )
    if column.kind == "text" or (column.source == "derived" and column.kind not in NUMERIC):
        raise TrainingRefused(
            f"{label(name)!r} is {column.kind}, which a model can't learn from.",
            hint="Derive a number or a true/false column from it, or leave it out.",
            details={"column": label(name)},
        )


def _kind(contract: Contract, name: str) -> str:
    """Text is read as a category: an expression may compare it, though nothing is learned from it directly."""
    kind = contract.column(name).kind
    return "category" if kind == "text" else kind


def _sources(contract: Contract, features: Iterable[str]) -> tuple[list[Derived], list[str]]:
    """The derived columns that the features need, each after its own sources, and the columns that must be given."""
    expressions = contract.expressions
    derived: dict[str, Derived] = {}
    raw: dict[str, None] = {}

    def visit(name: str) -> None:
        if name in derived or name in raw:
            return
        if name not in expressions:
            raw[name] = None
            return
        for source in sorted(parse(expressions[name]).columns):
            visit(source)
        derived[name] = Derived(name=name, expression=expressions[name])

    for name in features:
        visit(name)
    return list(derived.values()), list(raw)


def described_input(name: str, kind: str, unit: str | None, series: pl.Series) -> Input:
    """What training saw of a column, in its training rows."""
    update: dict[str, Any] = {
        "name": name,
        "kind": kind,
        "unit": unit,
        "missing_rate": series.null_count() / max(1, len(series)),
    }
    present = series.drop_nulls()
    if kind in NUMERIC and len(present):
        values = present.cast(pl.Float64).to_numpy()
        low, p01, median, p99, high = (float(value) for value in np.quantile(values, [0.0, 0.01, 0.5, 0.99, 1.0]))
        update |= {"minimum": low, "p01": p01, "median": median, "p99": p99, "maximum": high}
    elif kind == "category":
        values_seen = sorted(present.unique().to_list())
        if len(values_seen) <= ORDINAL_VALUES and all(len(value) <= _LONGEST for value in values_seen):
            update["allowed"] = values_seen
    return Input.model_validate(_PLAIN.model_dump() | update)


def _encodings(
    spec: Input, series: pl.Series, style: Style, outcomes: FloatArray | None, notes: list[str]
) -> list[ColumnEncoding]:
    summed = style not in _TREES
    if spec.kind in NUMERIC:
        return [_encoding(spec.name, "number", fill=spec.median if summed else None)]
    if spec.kind == "category":
        limit = ONEHOT_VALUES if summed else ORDINAL_VALUES
        kept, total = _most_frequent(series, limit)
        if len(kept) < total:
            notes.append(f"{label(spec.name)} has {total} values; the {len(kept)} most frequent count apart.")
        if outcomes is not None:
            kept = _by_outcome(series, outcomes, kept)
        return [_encoding(spec.name, "onehot" if summed else "ordinal", values=kept)]
    found: list[ColumnEncoding] = []
    for part, numbers in (
        ("year", series.dt.year()),
        ("month", series.dt.month()),
        ("weekday", series.dt.weekday()),
    ):
        middle = float(np.median(numbers.drop_nulls().to_numpy()))
        found.append(_encoding(spec.name, part, fill=middle if summed else None))
    return found


def _encoding(column: str, style: str, **rest: object) -> ColumnEncoding:
    parts: dict[str, type[NumberEncoding] | type[OneHotEncoding] | type[OrdinalEncoding]] = {
        "number": NumberEncoding,
        "onehot": OneHotEncoding,
        "ordinal": OrdinalEncoding,
    }
    return parts.get(style, CalendarEncoding).model_validate({"column": column, "as": style, **rest})


def _by_outcome(series: pl.Series, outcomes: FloatArray, kept: Sequence[str]) -> list[str]:
    """The values by their mean outcome, that of a rare one drawn to the overall mean; ties by name."""
    overall = float(outcomes.mean())
    rows = pl.DataFrame({"value": series, "outcome": outcomes})
    summed = rows.group_by("value").agg(pl.col("outcome").sum().alias("sum"), pl.len().alias("rows"))
    rates = {value: (total + _PRIOR * overall) / (count + _PRIOR) for value, total, count in summed.iter_rows()}
    return sorted(kept, key=lambda value: (rates[value], value))


def _most_frequent(series: pl.Series, limit: int) -> tuple[list[str], int]:
    """The most frequent values, sorted, ties by name; and how many there are at all."""
    present = series.drop_nulls()
    counted = present.alias("value").value_counts(name="rows")
    ranked = sorted((-rows, value) for value, rows in counted.select("value", "rows").iter_rows())
    short = [value for _, value in ranked if len(value) <= _LONGEST]
    return sorted(short[:limit]), len(ranked)
