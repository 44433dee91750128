"""The numeric columns of a table as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from mcp_server.core.contract import Contract

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class NumberColumn:
    """One numeric column.

    Args:
        name: in the table.
        unit: as in the contract.
        values: shape (n,), NaN where missing or not finite.
    """

    name: str
    unit: str | None
    values: Floats


def number_columns(frame: pl.DataFrame, contract: Contract) -> list[NumberColumn]:
    """Integers and numbers of the contract that the frame has and that are neither ignored nor name a row, in order."""
    found = []
    for column in contract.columns:
        if column.kind not in ("integer", "number") or column.role in ("ignored", "key") or column.unique:
            continue
        if column.name not in frame.columns or not frame.get_column(column.name).dtype.is_numeric():
            continue
        values = frame.get_column(column.name).cast(pl.Float64).fill_null(np.nan).to_numpy()
        found.append(NumberColumn(column.name, column.unit, np.where(np.isfinite(values), values, np.nan)))
    return found
