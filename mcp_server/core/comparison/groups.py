"""The groups of a table within which models are compared: values of a category, quarters of a number's range."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mcp_server.core.comparison.slices import FEWEST, RowGroup
from mcp_server.core.contract import Contract

MOST_COLUMNS = 30
MOST_VALUES = 12
_QUARTERS = 4
_MOST_CELLS = 200_000_000  # rows times groups: a byte each
# What is known only after the event would sort rows by their outcomes; a key names single rows.
_ROLES = frozenset({"feature", "time", "ignored"})


def groups(frame: pl.DataFrame, contract: Contract, *, besides: frozenset[str] = frozenset()) -> list[RowGroup]:
    """Groups by each column of a table; a row is in one group of each column at most.

    Args:
        frame: the table of the contract, or rows of it, shape (n, columns).
        besides: columns that make no groups, such as one of forecasts.
    Returns:
        for a category, truth value or number of few values its 12 most frequent values; for other numbers, dates and
        times about quarters of equal size; rows without a value. Of at most 30 columns, none of them personal, none
        of them key, target or known after the event, and of fewer where memory would grow beyond bounds; groups of
        under 20 rows and of all rows are left out.
    """
    found: list[RowGroup] = []
    left_out = besides | (set() if contract.synthetic is None else set(contract.synthetic.columns))
    chosen = [
        column
        for column in contract.columns
        if column.role in _ROLES
        and not column.personal
        and column.name not in left_out
        and column.name in frame.columns
    ]
    for column in chosen[:MOST_COLUMNS]:
        if (len(found) + MOST_VALUES) * frame.height > _MOST_CELLS:
            break
        series = frame.get_column(column.name)
        masks = _values(series) if _few(series) else _ranges(series)
        masks.append(("missing", series.is_null().to_numpy()))
        found += [RowGroup(column.name, value, rows) for value, rows in masks if FEWEST <= rows.sum() < len(rows)]
    return found


def _few(series: pl.Series) -> bool:
    ordered = series.dtype.is_numeric() or series.dtype.is_temporal()
    return not ordered or series.n_unique() <= MOST_VALUES


def _values(series: pl.Series) -> list[tuple[str, NDArray[np.bool_]]]:
    counted = series.drop_nulls().value_counts(sort=True, name="rows").head(MOST_VALUES)
    values = counted.get_column(series.name)
    shown = values.cast(pl.String).to_list()
    return [
        (text, (series == value).fill_null(False).to_numpy())
        for text, value in zip(shown, values.to_list(), strict=True)
    ]


def _ranges(series: pl.Series) -> list[tuple[str, NDArray[np.bool_]]]:
    order = series.to_physical().cast(pl.Float64).fill_nan(None).to_numpy()
    known = order[~np.isnan(order)]
    if not len(known):
        return []
    edges = np.unique(np.quantile(known, np.linspace(0.0, 1.0, _QUARTERS + 1), method="lower"))
    found = []
    for low, high in pairwise(edges):
        last = high == edges[-1]
        # A missing value compares as false.
        rows = (order >= low) & ((order <= high) if last else (order < high))
        inside = series.filter(pl.Series(rows))
        found.append((f"{_shown(inside.min())} .. {_shown(inside.max())}", rows))
    return found


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
