"""Columns that give a group away: a model that doesn't read the group may still tell it from these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mcp_server.core.fairness.grouping import Group
from mcp_server.core.leakage.measures import bins
from mcp_server.core.metrics.rank import RankArea

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.intp]

TELLING = 0.6
"""A column whose interval lies above this area is a proxy."""
_Z = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Proxy:
    """How well one column tells whether a row is in a group.

    Args:
        column: its name.
        group: the group that it tells best.
        area: the probability that a row of the group is ranked above one of the rest by the column; .5 tells nothing.
        low, high: its 95 % interval.
    """

    column: str
    group: str
    area: float
    low: float
    high: float

    @property
    def telling(self) -> bool:
        return self.low > TELLING


def proxies(frame: pl.DataFrame, groups: Sequence[Group], *, least: int, rng: np.random.Generator) -> list[Proxy]:
    """Ask each column about each group.

    A column is asked in any form: its values, or of a number 100 ranges, are ranked by how often rows of one half are
    in the group, and this is judged on the other half, both ways round.

    Args:
        frame: the columns to ask, shape (n, k).
        groups: of the same rows.
        least: rows that a group and the rest must have.
    Returns:
        for each column that can be asked its best group, the most telling first.
    """
    half = rng.permutation(frame.height) % 2 == 0
    asked = [
        group
        for group in groups
        if all(min(int(part.sum()), int((~part).sum())) * 2 >= least for part in (group.rows[half], group.rows[~half]))
    ]
    found = []
    for series in frame.get_columns():
        codes = _codes(series)
        if codes is None or not asked:
            continue
        found.append(max((_asked(series.name, codes, group, half) for group in asked), key=lambda one: one.area))
    return sorted(found, key=lambda one: -one.area)


def _codes(series: pl.Series) -> IntArray | None:
    """Each row's value or range as a whole number from 0; the last is for missing. None for what can't be asked."""
    missing = series.is_null().to_numpy()
    if series.dtype == pl.String:
        texts = series.fill_null("")
        codes = texts.rank("dense").to_numpy().astype(np.intp) - 1
    elif series.dtype == pl.Boolean or series.dtype.is_numeric():
        values = series.cast(pl.Float64).to_numpy()
        present = values[~missing]
        if not len(present):
            return None
        codes = np.zeros(len(values), dtype=np.intp)
        codes[~missing] = bins(present)
    else:
        return None
    codes = codes.copy()
    codes[missing] = codes.max(initial=0) + 1
    return codes


def _asked(column: str, codes: IntArray, group: Group, half: BoolArray) -> Proxy:
    value = spread = 0.0
    for learned in (half, ~half):
        judged = ~learned
        area = RankArea(group.rows[judged], _shares(codes, group.rows, learned)[judged])
        assert area.influence is not None
        weight = float(judged.mean())
        value += weight * area.value
        # Each half is learned from and judged on, so the two errors aren't independent: their sizes are added.
        spread += weight * _Z * float(np.sqrt((area.influence**2).mean() / len(area.influence)))
    return Proxy(column, group.name, value, max(0.0, value - spread), min(1.0, value + spread))


def _shares(codes: IntArray, member: BoolArray, learned: BoolArray) -> FloatArray:
    """For each row the share of members among the learned rows with its value, drawn to the share of all."""
    size = int(codes.max()) + 1
    rows = np.bincount(codes[learned], minlength=size)
    members = np.bincount(codes[learned], weights=member[learned], minlength=size)
    shares: FloatArray = ((members + member[learned].mean()) / (rows + 1.0))[codes]
    return shares
