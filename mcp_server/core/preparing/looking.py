"""Which rows a step may look at: those that training would learn from, never those that judge or calibrate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mcp_server.core.preparing.table import Context, DataTable, IntArray
from mcp_server.core.training.split import Split, plan_split
from mcp_server.core.training.target import Target, describe_target, target_values


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """The target, and the split that training makes with the same `test` and seed.

    Args:
        values: shape (n,): class index or number; NaN where the target is missing.
        moments: shape (n,): rising with the time; None without a time column.
    """

    target: Target
    values: NDArray[np.float64]
    split: Split
    made_up: NDArray[np.bool_]
    moments: IntArray | None

    @property
    def train(self) -> IntArray:
        """Indexes of the real rows that are learned from, rising."""
        rows = self.split.train
        return rows[~self.made_up[rows]]

    @property
    def fit(self) -> IntArray:
        """Those of them that don't choose the number of iterations either: only what is made from these may teach."""
        rows = self.split.fit
        return rows[~self.made_up[rows]]


def look(table: DataTable, context: Context, test: str | float | None) -> Looked:
    """Split as training would.

    Raises:
        BadTarget: the table has no usable target.
        TrainingRefused: too few rows.
    """
    target = describe_target(table.frame, table.contract)
    split = plan_split(table.frame, table.contract, target, test=test, rng=context.split_rng())
    time = table.contract.time
    moments = None
    if time is not None:
        moments = table.frame.get_column(time).rank("dense").cast(pl.Int64).fill_null(0).to_numpy()
    return Looked(target, target_values(table.frame, table.contract, target), split, table.synthetic(), moments)
