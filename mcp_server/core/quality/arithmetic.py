"""Numbers that are the sum, difference or product of two others, and the rows in which they aren't."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations

import numpy as np

from mcp_server.core.quality.numbers import Bools, Floats, NumberColumn
from mcp_server.core.quality.report import Finding, Severity, rows_of

MAX_COLUMNS = 40
"""Numeric columns among which relations are sought, the first so many."""

AGREEMENT = 0.95

_GLANCE = 200
_LEAST_ROWS = 50
_LEAST_SHARE = 0.8
_FINE = 0.1

_FORMULAS: tuple[tuple[str, Callable[[Floats, Floats], Floats], bool], ...] = (
    ("the sum", np.add, True),
    ("the difference", np.subtract, False),
    ("the product", np.multiply, True),
)


def arithmetic_findings(columns: list[NumberColumn], decisive: frozenset[str]) -> Iterator[Finding]:
    """Rows in which a column isn't the sum, difference or product of two others that it is in 95 % of the rows.

    Equal means to the precision that the result is written with. Columns of which half is one value are left out:
    adding a zero is no relation.
    """
    varied = [column for column in columns if _varies(column.values)][:MAX_COLUMNS]
    if len(varied) < 3 or varied[0].values.size < _LEAST_ROWS:
        return
    step = max(1, varied[0].values.size // _GLANCE)
    matrix = np.column_stack([column.values[::step] for column in varied])
    # A column that hardly varies at the precision it's written with equals anything of its size.
    spreads = [float(np.nanstd(column.values)) for column in varied]
    tolerances = np.array([_tolerance(column.values) for column in varied])
    tolerances = np.where(tolerances < _FINE * np.array(spreads), tolerances, -1.0)
    reported: set[frozenset[str]] = set()
    for left, right in permutations(range(len(varied)), 2):
        for what, formula, symmetric in _FORMULAS:
            if symmetric and left > right:
                continue
            with np.errstate(over="ignore", invalid="ignore"):
                result = formula(matrix[:, left], matrix[:, right])
                close = np.abs(matrix - result[:, None]) <= tolerances
            known = ~np.isnan(matrix) & ~np.isnan(result)[:, None]
            likely = close.sum(axis=0) >= (AGREEMENT - 0.05) * np.maximum(known.sum(axis=0), 1)
            likely &= known.sum(axis=0) >= _LEAST_SHARE * result.size
            for at in np.flatnonzero(likely).tolist():
                names = (varied[at].name, varied[left].name, varied[right].name)
                if at in (left, right) or frozenset(names) in reported:
                    continue
                wrong, share = _contradicted(
                    varied[at].values, formula, varied[left].values, varied[right].values, float(tolerances[at])
                )
                if AGREEMENT <= share < 1.0:
                    reported.add(frozenset(names))
                    severity: Severity = "fail" if decisive & {*names} else "warn"
                    reason = f"Elsewhere the first column is {what} of the other two; in these rows it isn't."
                    count = int(wrong.sum())
                    yield Finding("contradictions.arithmetic", severity, names, count, rows_of(wrong), reason, share)


def _contradicted(
    result: Floats, formula: Callable[[Floats, Floats], Floats], left: Floats, right: Floats, tolerance: float
) -> tuple[Bools, float]:
    with np.errstate(over="ignore", invalid="ignore"):
        apart = np.abs(result - formula(left, right))
    known = ~np.isnan(apart)
    wrong = known & (apart > tolerance)
    return wrong, 1.0 - float(wrong.sum() / max(int(known.sum()), 1))


def _varies(values: Floats) -> bool:
    finite = values[~np.isnan(values)]
    if finite.size < _LEAST_ROWS:
        return False
    counts = np.unique(finite, return_counts=True)[1]
    return bool(counts.size > 5 and counts.max() < 0.5 * finite.size)


def _tolerance(values: Floats) -> float:
    """Half a unit of the last decimal place that is used, and what adding floats of this size loses."""
    finite = values[~np.isnan(values)][:1_000]
    size = float(np.abs(finite).max(initial=1.0))
    for places in range(7):
        if np.abs(finite - np.round(finite, places)).max(initial=0.0) <= 1e-9 * size:
            return 0.5000001 * 10.0**-places + 1e-9 * size if places else 1e-9 * size
    return 1e-6 * size
