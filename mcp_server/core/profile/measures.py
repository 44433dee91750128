"""Figures about one column."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import polars as pl

from mcp_server.core.contract import Column
from mcp_server.core.labels import label

_EXACT_ROWS = 100_000
_EXACT_DISTINCT = 1_000
_TOP = 5
_QUANTILES = {"p05": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95}


def missing_and_distinct(columns: Iterable[pl.Series]) -> list[tuple[int, int]]:
    """For each column, how many values are missing and how many different ones there are.

    Counts of different values above 1,000 are approximate (about 1 %) in tables of more than 100,000 rows.
    """
    counts = []
    for values in columns:
        lacking = values.null_count()
        about = values.len()
        if values.len() > _EXACT_ROWS:
            about = min(about, int(values.to_frame().select(pl.nth(0).approx_n_unique()).item()))
        exact = values.len() <= _EXACT_ROWS or about <= _EXACT_DISTINCT
        distinct = values.n_unique() if exact else about
        # Missing counts as a value there.
        counts.append((lacking, distinct - bool(lacking)))
    return counts


def measure(values: pl.Series, column: Column, distinct: int) -> dict[str, Any]:
    """Range and distribution of numbers, range of dates, most frequent values of the others."""
    if values.null_count() == values.len():
        return {}
    match column.kind:
        case "integer" | "number":
            return _distribution(values)
        case "date" | "datetime":
            return {"min": shown(values.min()), "max": shown(values.max())}
        case _ if distinct < values.len() - values.null_count():
            return {"top": _most_frequent(values)}
        case _:
            return {}


def _distribution(values: pl.Series) -> dict[str, Any]:
    figures: dict[str, Any] = {"min": shown(values.min()), "max": shown(values.max()), "mean": shown(values.mean())}
    figures["quantiles"] = {name: shown(values.quantile(share, "lower")) for name, share in _QUANTILES.items()}
    return figures


def shown(value: object) -> object:
    """A number with six significant digits, a date in ISO form; None where a sum went beyond a float."""
    match value:
        case int():
            return value
        case float():
            return float(f"{value:.6g}") if math.isfinite(value) else None
        case _:
            return str(value)


def _most_frequent(values: pl.Series) -> list[list[Any]]:
    counts = values.drop_nulls().alias("value").value_counts(name="count")
    least = counts["count"].top_k(_TOP).min()
    # Among equally frequent values the first in order, so that the same table has the same profile.
    top = counts.filter(pl.col("count") >= least).sort("count", "value", descending=[True, False]).head(_TOP)
    return [[_text(value), count] for value, count in top.iter_rows()]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else label(str(value))
