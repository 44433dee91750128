"""The groups of a column: its values, or ranges of a number."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mcp_server.core.labels import label
from mcp_server.errors import BadSample

BoolArray = NDArray[np.bool_]

MOST_GROUPS = 8
_COUNTED = 5  # numbers with so many values are groups by value
_RANGES = 4
_LONGEST = 200
_OTHER, _MISSING = "(other)", "(missing)"
_OURS = re.compile(r"\((other|missing|value [0-9]+)\)\Z|up to |above |group [0-9]+\Z")


@dataclass(frozen=True, slots=True)
class Group:
    """Some rows of a table.

    Args:
        name: a value of the column (untrusted), a range such as `12 to 30`, `(other)` or `(missing)`.
        value: whether the name is a value from the data.
        rows: which rows, shape (n,).
        rest: whether it's what no value or range holds together: rows of rare values, or without one.
    """

    name: str
    value: bool
    rows: BoolArray
    rest: bool = False


def group_rows(series: pl.Series) -> list[Group]:
    """Group rows by a column.

    Args:
        series: text, true/false or numbers, shape (n,).
    Returns:
        the largest group first: each value (from the ninth on together), or of a number with more than five values the
        ranges between its quartiles; and rows without a value. Each row is in one group.
    Raises:
        BadSample: the column is of another kind, or all rows are in one group.
    """
    if series.dtype.is_numeric() and series.drop_nulls().n_unique() > _COUNTED:
        groups = _ranges(series)
    elif series.dtype.is_numeric() or series.dtype in (pl.Boolean, pl.String):
        groups = _values(series)
    else:
        raise BadSample(
            f"{label(series.name)!r} isn't a category, true/false or a number, so it makes no groups.",
            hint="Derive such a column with prepare_data, or name another one.",
        )
    missing = series.is_null().to_numpy()
    if missing.any():
        groups.append(Group(_MISSING, False, missing, rest=True))
    if len(groups) < 2:
        raise BadSample(
            f"All rows are in one group of {label(series.name)!r}.",
            hint="Name a column that varies, or other data.",
        )
    return sorted(groups, key=lambda group: -int(group.rows.sum()))


def _values(series: pl.Series) -> list[Group]:
    texts = series.cast(pl.String)
    counts = texts.drop_nulls().value_counts(sort=True)
    ordered = sorted(counts.iter_rows(), key=lambda pair: (-pair[1], pair[0]))
    named = [value for value, _ in ordered]
    kept = named if len(named) <= MOST_GROUPS else named[: MOST_GROUPS - 1]
    groups = [
        Group(*_named(value, place), rows=(texts == value).fill_null(False).to_numpy())
        for place, value in enumerate(kept, start=1)
    ]
    if len(kept) < len(named):
        others = texts.is_not_null().to_numpy() & ~np.logical_or.reduce([group.rows for group in groups])
        groups.append(Group(_OTHER, False, others, rest=True))
    return groups


def _named(value: str, place: int) -> tuple[str, bool]:
    """A group's name and whether it's the value; one that is long, or reads like a name of ours, goes by its place."""
    plain = len(value) <= _LONGEST and not _OURS.match(value)
    return (value, True) if plain else (f"(value {place})", False)


def _ranges(series: pl.Series) -> list[Group]:
    values = series.cast(pl.Float64).fill_null(np.nan).to_numpy()
    present = values[np.isfinite(values)]
    inner = np.quantile(present, np.linspace(0.0, 1.0, _RANGES + 1)[1:-1], method="inverted_cdf")
    edges = [-np.inf, *(float(edge) for edge in np.unique(inner) if edge < present.max()), np.inf]
    groups = []
    for low, high in pairwise(edges):
        # A value at an edge belongs to the lower range.
        rows = (values > low) & (values <= high)
        groups.append(Group(_range(low, high), False, rows))
    return groups


def _range(low: float, high: float) -> str:
    if low == -np.inf:
        return f"up to {high:.6g}"
    return f"above {low:.6g}" if high == np.inf else f"above {low:.6g} to {high:.6g}"
