"""Against an earlier table: whole columns in another unit, or missing far more often."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from mcp_server.core.contract import Contract
from mcp_server.core.quality.numbers import Floats, number_columns
from mcp_server.core.quality.report import Finding
from mcp_server.core.quality.units import FACTORS

_LEAST_ROWS = 20
_OFF = 0.05
_WIDEST = 0.25
_MORE_MISSING = 0.2


def baseline_findings(frame: pl.DataFrame, baseline: pl.DataFrame, contract: Contract) -> Iterator[Finding]:
    """Columns whose values, or whose missing values, aren't on the scale of the baseline's.

    Args:
        baseline: has some or all of the contract's columns, of the same kinds.
    """
    if not baseline.height:
        return
    earlier = {column.name: column.values for column in number_columns(baseline, contract)}
    for column in number_columns(frame, contract):
        if column.name in earlier:
            factor = _factor(column.values, earlier[column.name])
            if factor is not None:
                reason = f"Differs from the baseline by about the factor {FACTORS[factor]}: suspected unit."
                yield Finding("units.column", "warn", (column.name,), frame.height, (), reason, factor)
    for name in frame.columns:
        if name in baseline.columns:
            before = baseline.get_column(name).null_count() / baseline.height
            more = frame.get_column(name).null_count() / frame.height - before
            if more > _MORE_MISSING:
                reason = "Missing more often than in the baseline; the statistic is the difference of the shares."
                yield Finding("completeness.baseline", "warn", (name,), frame.height, (), reason, more)


def _factor(values: Floats, earlier: Floats) -> float | None:
    """The known factor by which two samples' medians differ, if their spreads do too; else None."""
    logs = [np.log(np.abs(sample[np.isfinite(sample) & (sample != 0)])) for sample in (values, earlier)]
    if min(sample.size for sample in logs) < _LEAST_ROWS:
        return None
    (low, middle, high), (low_before, middle_before, high_before) = (np.quantile(s, [0.25, 0.5, 0.75]) for s in logs)
    spread, spread_before = high - low, high_before - low_before
    if not spread_before / 2 <= spread <= 2 * spread_before:
        return None
    unsure = 3 * 1.2533 / 1.349 * max(spread, spread_before) / np.sqrt(min(sample.size for sample in logs))
    if unsure > _WIDEST:
        return None
    apart = abs(middle - middle_before)
    factor = min(FACTORS, key=lambda factor: abs(apart - np.log(factor)))
    return factor if abs(apart - np.log(factor)) <= unsure + _OFF else None
