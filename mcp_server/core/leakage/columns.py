"""A table's target and features as arrays, the way leaks are looked for in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import polars as pl

from mcp_server.core.contract import Contract
from mcp_server.core.leakage.measures import Bools, Codes, Floats

Values = TypeVar("Values", Floats, Codes)

_COUNTED_CLASSES = 10
_LEAST_ROWS = 30
_LEAST_OF_A_CLASS = 10


@dataclass(frozen=True, slots=True)
class Goal:
    """What may be given away.

    Args:
        name: its column.
        numbers: shape (n,), finite, for a regression; else None.
        classes: shape (n,), from 0, for classes; else None.
        two: whether there are two classes.
    """

    name: str
    numbers: Floats | None
    classes: Codes | None
    two: bool

    @property
    def rows(self) -> int:
        values = self.numbers if self.numbers is not None else self.classes
        return 0 if values is None else values.size

    def every(self, step: int) -> Goal:
        """The same for every `step`-th row."""
        return Goal(self.name, _thinned(self.numbers, step), _thinned(self.classes, step), self.two)


@dataclass(frozen=True, slots=True)
class Feature:
    """What may give it away.

    Args:
        name: its column.
        unit: as in the contract.
        numbers: shape (n,), NaN where missing, for numbers, booleans and dates; else None.
        codes: shape (n,), -1 where missing, for categories and text; equal text has equal codes in every column.
        present: shape (n,).
    """

    name: str
    unit: str | None
    numbers: Floats | None
    codes: Codes | None
    present: Bools

    def every(self, step: int) -> Feature:
        """The same for every `step`-th row."""
        numbers, codes = _thinned(self.numbers, step), _thinned(self.codes, step)
        return Feature(self.name, self.unit, numbers, codes, self.present[::step])


def read_target(frame: pl.DataFrame, contract: Contract) -> Goal | None:
    """The target of a frame without missing targets, or None where too little varies to judge by.

    Two values, a category or up to 10 whole numbers are classes; other numbers are a regression. 30 rows are needed,
    and 10 of each of two classes.
    """
    name = contract.target
    if name is None or frame.height < _LEAST_ROWS:
        return None
    series = frame.get_column(name)
    kind = contract.column(name).kind
    distinct = series.n_unique()
    numeric = kind in ("integer", "number")
    if distinct < 2 or kind in ("date", "datetime"):
        return None
    if numeric and distinct > (_COUNTED_CLASSES if kind == "integer" else 2):
        return Goal(name, series.cast(pl.Float64).to_numpy(), None, two=False)
    classes = (series.rank("dense") - 1).cast(pl.Int64).to_numpy().astype(np.intp)
    two = distinct == 2
    if two and np.bincount(classes).min() < _LEAST_OF_A_CLASS:
        return None
    return Goal(name, None, classes, two)


def read_features(frame: pl.DataFrame, contract: Contract) -> list[Feature]:
    """The features that have at least two different values or a missing one."""
    features: list[Feature] = []
    texts: list[str] = [column.name for column in contract.features if column.kind in ("category", "text")]
    codes = _shared_codes(frame, texts)
    for column in contract.features:
        series = frame.get_column(column.name)
        if series.n_unique() < 2:
            continue
        if column.name in codes:
            coded = codes[column.name]
            features.append(Feature(column.name, column.unit, None, coded, coded >= 0))
            continue
        physical = series.to_physical() if column.kind in ("date", "datetime") else series
        numbers = physical.cast(pl.Float64).fill_null(np.nan).to_numpy()
        numbers = np.where(np.isfinite(numbers), numbers, np.nan)
        features.append(Feature(column.name, column.unit, numbers, None, ~np.isnan(numbers)))
    return features


def _thinned(values: Values | None, step: int) -> Values | None:
    return None if values is None else values[::step]


def _shared_codes(frame: pl.DataFrame, names: list[str]) -> dict[str, Codes]:
    """Text as numbers from 0 that mean the same text in each column, so that columns can be compared."""
    if not names:
        return {}
    stacked = pl.concat([frame.get_column(name).cast(pl.String).rename("text") for name in names])
    ranks = stacked.rank("dense").cast(pl.Int64).fill_null(0).to_numpy().astype(np.intp) - 1
    return dict(zip(names, np.split(ranks, len(names)), strict=True))
