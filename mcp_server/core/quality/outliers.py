"""Numbers far from the rest of their column, or from what the other columns of their row say."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mcp_server.core.quality.numbers import Bools, Floats, NumberColumn
from mcp_server.core.quality.report import MAX_EXAMPLES, Example, Finding, Severity, rows_of
from mcp_server.core.quality.texts import MAX_CELL_ROWS
from mcp_server.core.screening import screen_rows

MAX_COLUMNS = 40
"""Numeric columns that are held against each other, the first so many."""

MOST_FAR = 0.05
"""The share of a column's cells up to which far ones are single cells, and not a group of their own."""

MAX_FITTED = 20_000
"""Rows that a column's relation to the others is learned from, evenly spread."""

_LEAST_ROWS = 60
_ROWS_A_COLUMN = 5
_EXPLAINED = 0.6
_CLIP = 4.0
_ROUNDS = 3
_AS_MUCH = 0.3
_WIDTHS, _BEYOND = 6.0, 1.5
_FAR = 6.0
"""Scales from which a residual is far, besides being apart from the residuals' own tail."""


def outlier_findings(
    columns: list[NumberColumn], told: dict[str, Bools], personal: frozenset[str]
) -> Iterator[Finding]:
    """Single cells that are far, column by column.

    Args:
        told: column to the rows that another rule has told; they are left out and not told again.
        personal: columns whose values aren't shown.
    """
    if not columns:
        return
    step = -(-columns[0].values.size // MAX_CELL_ROWS) or 1
    values = np.column_stack([_left(column.values, told.get(column.name), step) for column in columns])
    far = _far(values)
    for at, column in enumerate(columns):
        if 0 < far[:, at].mean() <= MOST_FAR:
            reason = "Far from the bulk of its column, and apart from the column's tail."
            yield _finding("outliers.value", "info", column, far[:, at], step, reason, 0.8, personal)
    unlike = _unlike_their_row(np.where(far, np.nan, values)[:, :MAX_COLUMNS])
    for at, column in enumerate(columns[:MAX_COLUMNS]):
        if unlike[:, at].any():
            reason = "In the range of its column, but far from what the other numbers of its row lead to elsewhere."
            yield _finding("outliers.context", "info", column, unlike[:, at], step, reason, 0.7, personal)


def _finding(
    rule: str,
    severity: Severity,
    column: NumberColumn,
    mask: Bools,
    step: int,
    reason: str,
    confidence: float,
    personal: frozenset[str],
) -> Finding:
    rows = tuple((row - 1) * step + 1 for row in rows_of(mask))
    shown = [] if column.name in personal else rows[:MAX_EXAMPLES]
    examples = tuple(Example(row, f"{column.values[row - 1]:g}") for row in shown)
    return Finding(
        rule,
        severity,
        (column.name,),
        len(rows),
        rows,
        reason,
        confidence=confidence,
        fix="look at it",
        examples=examples,
    )


def _left(values: Floats, told: Bools | None, step: int) -> Floats:
    """Every k-th value of a column, NaN where it was told already."""
    return values[::step] if told is None else np.where(told[::step], np.nan, values[::step])


def _far(values: Floats) -> Bools:
    """Which cells are far, shape as `values`: the farthest of each row, then the next where it had a far one."""
    found = np.zeros(values.shape, dtype=np.bool_)
    rest = values.copy()
    for _ in range(2):
        screening = screen_rows(rest)
        rows = np.flatnonzero(screening.anomalous)
        if not rows.size:
            break
        found[rows, screening.column[rows]] = True
        rest[rows, screening.column[rows]] = np.nan
    for at in range(values.shape[1]):
        found[:, at] |= gross(values[:, at])
    return found


def gross(values: Floats) -> Bools:
    """Which values lie so far out that one is enough to tell: screening wants several in a flat column.

    Far by the width of the column's bulk, and by the logarithm of the distance from the middle, so that no tail that is
    met in life reaches there: a log-normal of spread 1 in one value of a million, a Student's t of 3 degrees in fewer.

    >>> np.flatnonzero(gross(np.array([*range(18, 90), 700_000.0]))).tolist()
    [72]
    """
    known = values[~np.isnan(values)]
    nothing = np.zeros(values.size, dtype=np.bool_)
    if known.size < _LEAST_ROWS:
        return nothing
    low, middle, high = np.quantile(known, [0.05, 0.5, 0.95])
    distances = np.abs(values - middle)
    near, far = np.quantile(np.abs(known - middle), [0.25, 0.95])
    if near <= 0.0 or high <= low:
        return nothing
    with np.errstate(invalid="ignore"):
        return np.asarray((distances > _WIDTHS * (high - low)) & (distances > far * (far / near) ** _BEYOND))


def _unlike_their_row(values: Floats) -> Bools:
    """Which cells lie far from a robust linear reading of their column from the others, shape as `values`.

    Of each row one cell alone is meant: an error in one column makes the readings of others wrong too. Of the cells
    that their row contradicts by about as much, it's the one farthest out in its own column.
    """
    rows, width = values.shape
    found = np.zeros(values.shape, dtype=np.bool_)
    if width < 2 or rows < max(_LEAST_ROWS, _ROWS_A_COLUMN * width):
        return found
    scaled, usable = _scaled(values)
    if usable.sum() < 2:
        return found
    residuals = np.full(values.shape, np.nan)
    filled = np.clip(np.nan_to_num(scaled), -_CLIP, _CLIP)
    missing = np.isnan(scaled)
    step = -(-rows // MAX_FITTED)
    for at in np.flatnonzero(usable):
        others = usable.copy()
        others[at] = False
        residuals[:, at] = _residuals(scaled[:, at], filled[:, others], missing[:, others], step)
    related = ~np.isnan(residuals).all(axis=0)
    if not related.any():
        return found
    screening = screen_rows(residuals[:, related])
    far = screening.anomalous & (screening.scores >= _FAR)
    left = np.nan_to_num(np.abs(residuals[far]))
    contradicted = left >= _AS_MUCH * left.max(axis=1, keepdims=True)
    found[np.flatnonzero(far), np.where(contradicted, np.nan_to_num(np.abs(scaled[far])), -1.0).argmax(axis=1)] = True
    return found


def _scaled(values: Floats) -> tuple[Floats, Bools]:
    """Columns in robust scales, and which have one."""
    usable = np.zeros(values.shape[1], dtype=np.bool_)
    scaled = np.full(values.shape, np.nan)
    for at in range(values.shape[1]):
        known = values[~np.isnan(values[:, at]), at]
        if known.size < _LEAST_ROWS:
            continue
        low, middle, high = np.quantile(known, [0.25, 0.5, 0.75])
        if high > low:
            usable[at] = True
            scaled[:, at] = (values[:, at] - middle) / ((high - low) / 1.349)
    return scaled, usable


def _residuals(target: Floats, others: Floats, missing: Bools, step: int) -> Floats:
    """What a linear reading leaves of a column, in robust scales.

    NaN throughout where it explains too little, and in rows whose reading hangs on a value that is missing.
    """
    known = ~np.isnan(target)
    rows = np.flatnonzero(known)[::step]
    nothing = np.full(target.shape, np.nan)
    design = np.column_stack([np.ones(rows.size), others[rows]])
    wanted = np.clip(target[rows], -_CLIP, _CLIP)
    kept = np.ones(rows.size, dtype=np.bool_)
    weights = np.zeros(design.shape[1])
    penalty = 1e-3 * rows.size * np.eye(design.shape[1])
    for _ in range(_ROUNDS):
        chosen = design[kept]
        weights = np.linalg.solve(chosen.T @ chosen + penalty, chosen.T @ wanted[kept])
        left = np.abs(wanted - design @ weights)
        kept = left <= 4.0 * 1.4826 * float(np.median(left)) + 1e-12
    spread = 1.4826 * float(np.median(np.abs(wanted - design @ weights)))
    if spread <= 0.0 or spread**2 > 1.0 - _EXPLAINED:
        return nothing
    result: Floats = (target - weights[0] - others @ weights[1:]) / spread
    return np.where(missing @ np.abs(weights[1:]) > spread, np.nan, result)
