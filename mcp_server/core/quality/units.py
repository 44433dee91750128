"""Blocks of rows in another unit: centimetres among inches, points times ten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mcp_server.core.quality.numbers import Bools, Floats, NumberColumn
from mcp_server.core.quality.report import MAX_ANOMALOUS, Finding, Severity, rows_of
from mcp_server.core.screening import screen_rows

FACTORS: dict[float, str] = {
    10.0: "10",
    100.0: "100",
    1000.0: "1,000",
    1_000_000.0: "1,000,000",
    2.54: "2.54 (centimetres and inches)",
    1 / 0.3048: "3.281 (metres and feet)",
    1.609344: "1.609 (miles and kilometres)",
    1 / 0.45359237: "2.205 (kilograms and pounds)",
    35.27396195: "35.27 (kilograms and ounces)",
    12.0: "12 (dozens, feet and inches, years and months)",
    24.0: "24 (days and hours)",
    60.0: "60 (hours, minutes and seconds)",
    3600.0: "3,600 (hours and seconds)",
}
"""Ratios of units that are mixed up in practice, and how they're told."""

_LEAST_ROWS = 3
_LEAST_VALUES = 20
_LEAST_SHARE = 0.001
_MANY_ROWS = 20
_WIDEST = 0.3
"""Logarithm of the ratio: groups whose centre is less sure than that fit several factors."""


@dataclass(frozen=True, slots=True)
class _Match:
    factor: float
    above: bool


def unit_findings(columns: list[NumberColumn]) -> Iterator[Finding]:
    """Groups of far values whose centre and spread become the column's own when divided by a known factor.

    Only groups apart from the rest can be told: a factor within the column's own spread can't.
    """
    for column in columns:
        suspects = suspected_unit(column.values)
        if suspects is None:
            continue
        rows, match = suspects
        where = "above" if match.above else "below"
        reason = f"These lie {where} the rest by about the factor {FACTORS[match.factor]}: suspected unit."
        severity: Severity = "fail" if rows.mean() > MAX_ANOMALOUS else "warn"
        yield Finding("units.block", severity, (column.name,), int(rows.sum()), rows_of(rows), reason, match.factor)


def suspected_unit(values: Floats) -> tuple[Bools, _Match] | None:
    """The rows of a one-signed column that look as if they were in another unit, and by which factor.

    Args:
        values: shape (n,), NaN where missing. Zeros are left out, as they're zero in every unit.
    """
    used = np.isfinite(values) & (values != 0)
    if np.unique(values[used]).size < _LEAST_VALUES or not ((values[used] > 0).all() or (values[used] < 0).all()):
        return None
    far = screen_rows(values[:, None]).anomalous & used
    logs = np.where(used, np.log(np.abs(np.where(used, values, 1.0))), np.nan)
    rest = logs[used & ~far]
    centre, spread = _centre(rest)
    for above in (True, False):
        group = far & ((logs > centre) == above)
        if group.sum() < max(_LEAST_ROWS, _LEAST_SHARE * used.sum()):
            continue
        match = _match(logs[group], centre, spread, above=above)
        if match is not None:
            return group, match
    return None


def _match(group: Floats, centre: float, spread: float, *, above: bool) -> _Match | None:
    own_centre, own_spread = _centre(group)
    # A factor leaves the spread of logarithms as it is; that of few rows is little known.
    times = 2.0 if group.size >= _MANY_ROWS else 5.0
    if not spread / times <= own_spread <= times * max(spread, 0.01):
        return None
    unsure = 2.5 * 1.2533 * max(spread, own_spread) / np.sqrt(group.size) + 0.02
    if unsure > _WIDEST:
        return None
    apart = abs(own_centre - centre)
    factor = min(FACTORS, key=lambda factor: abs(apart - np.log(factor)))
    return _Match(factor, above) if abs(apart - np.log(factor)) <= unsure else None


def _centre(logs: Floats) -> tuple[float, float]:
    low, middle, high = np.quantile(logs, [0.25, 0.5, 0.75])
    return float(middle), float((high - low) / 1.349)
