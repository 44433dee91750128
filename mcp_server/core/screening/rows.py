"""Rows that don't belong: far from the bulk of a column, and apart from its own tail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from mcp_server.core.screening.half_sample import REFINE_FROM, Floats, half_sample
from mcp_server.core.screening.limits import limit_for
from mcp_server.core.screening.tails import start_of_group, two_groups
from mcp_server.errors import BadSample

Bools = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.intp]
Reason = Literal["too_few", "mostly_one_value", "zero_inflated", "two_groups", "heavy_tail"]

GROSS = 1000.0
"""Scales beyond which a group is a fault however large it is: two populations on one scale aren't that far apart."""

_SKEWED, _SKEWED_OF_FEW = 0.3, 0.4
"""Scale over centre from which a one-signed column counts as skewed; the second where the scale isn't refined."""

_MINORITY, _MINORITY_OF_FEW, _FEW = 0.3, 0.2, 100
"""A group apart is undecidable from this share of the rows; the second of fewer than `_FEW` rows."""

_ZEROS = 0.03
"""Zeros far from the rest are a kind of value, not a fault, from this share of the rows."""

_TAIL = 0.02
"""A tail is heavy if it holds this share of the rows beyond the limit. A Gaussian has 0.3 % there."""

_DISCRETE = 20
"""Up to so many distinct values, gaps between them are no sign of groups."""

_HEADROOM, _FARTHEST = 2.0**-20, 1e100
"""Differences of the largest floats, and squares of distances, must stay finite. A power of two changes no digit."""


@dataclass(frozen=True, slots=True)
class Undecidable:
    """A column in which poisoned rows can't be told from honest ones.

    Args:
        column: its index.
        reason: `too_few` values (under 3); `mostly_one_value`: at least half are equal, so there is no scale;
            `zero_inflated`: zeros apart from the rest; `two_groups` of which neither is small; `heavy_tail`: far
            values that follow from the column's own tail.
    """

    column: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class RowScreening:
    """What screening says of each row.

    Args:
        anomalous: shape (n,).
        scores: shape (n,), the largest distance in any column, in that column's scales, >= 0; infinite for an infinite
            value. A far value that isn't counted (tail, undecidable column) scores the limit at most.
        limit: a row is anomalous if its score is greater.
        column: shape (n,), the index of the column with the largest score; -1 where nothing was scored.
        undecidable: columns, by index, in which less was looked for, or nothing.
    """

    anomalous: Bools
    scores: Floats
    limit: float
    column: Integers
    undecidable: tuple[Undecidable, ...]

    @property
    def share(self) -> float:
        """The share of rows that are anomalous, in [0, 1]; 0.0 of no rows."""
        return float(self.anomalous.mean()) if self.anomalous.size else 0.0

    @property
    def gross(self) -> Bools:
        """The anomalous rows that are `GROSS` scales away: farther than an honest group of rows is from the others."""
        return self.anomalous & (self.scores >= GROSS)


def screen_rows(matrix: Floats, *, threshold: float = 3.0) -> RowScreening:
    """Find rows with values far from the bulk of their column.

    Location and scale come from each column's shortest half, so up to half of the rows may be poisoned. One-signed
    skewed columns must be far on a logarithmic scale too. Far values count if they stand apart from the column's own
    tail, in a group of less than 30 % of the rows (20 % of fewer than 100 rows) or `GROSS` scales away. Below 20 rows
    only gross errors are found. `tests/performance/screening_rates.py` measures what this finds and misses.

    Args:
        matrix: shape (n, d), any units; NaN is missing, an infinite value is anomalous.
        threshold: the Gaussian-equivalent z of one column in a large table, > 0 and finite.
    Returns:
        per row: flag, score and column. Columns of one or two distinct values are never anomalous.
    Raises:
        BadSample: the matrix isn't two-dimensional, or the threshold isn't a positive number.
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.ndim != 2:
        raise BadSample("Screening takes a table of rows and columns.", hint="Pass a two-dimensional array.")
    if not (np.isfinite(threshold) and threshold > 0):
        raise BadSample("The anomaly threshold must be a positive number.", hint="Use 3.0 unless you know better.")
    rows, width = matrix.shape
    candidates = [at for at in range(width) if _has_three_values(matrix[:, at])]
    limit = limit_for(max(rows, 1), max(len(candidates), 1), threshold)
    scores = np.where(np.isinf(matrix), np.inf, 0.0)
    undecidable: list[Undecidable] = []
    for at in range(width):
        finite = np.flatnonzero(np.isfinite(matrix[:, at]))
        values = matrix[finite, at]
        if 0 < values.size < 3 < rows:
            undecidable.append(Undecidable(at, "too_few"))
        if at not in candidates:
            continue
        own = limit_for(values.size, len(candidates), threshold)
        distances, counted, reason = _column(values, own)
        scaled = distances * (limit / own)
        scores[finite, at] = np.where(counted, scaled, np.minimum(scaled, limit))
        if reason is not None:
            undecidable.append(Undecidable(at, reason))
    best = scores.max(axis=1, initial=0.0)
    column = np.where(best > 0, scores.argmax(axis=1), -1) if width else np.full(rows, -1)
    return RowScreening(best > limit, best, limit, column.astype(np.intp), tuple(undecidable))


def _has_three_values(column: Floats) -> bool:
    finite = column[np.isfinite(column)]
    if finite.size < 3:
        return False
    low, high = finite.min(), finite.max()
    return bool(((finite != low) & (finite != high)).any())


def _column(values: Floats, limit: float) -> tuple[Floats, Bools, Reason | None]:
    """One column's distances, which of them count as anomalous, and why less could be told than usual."""
    values = values * _HEADROOM
    ordered = np.sort(values)
    centre, scale = (float(part[0]) for part in half_sample(ordered[:, None]))
    none = np.zeros(values.size, dtype=np.bool_)
    if scale == 0.0:
        return np.zeros_like(values), none, "zero_inflated" if centre == 0.0 else "mostly_one_value"
    with np.errstate(over="ignore"):
        signed = np.clip((values - centre) / scale, -_FARTHEST, _FARTHEST)
    distances = np.abs(signed)
    skewed = _SKEWED if values.size >= REFINE_FROM else _SKEWED_OF_FEW
    if (ordered[0] >= 0 or ordered[-1] <= 0) and scale > skewed * abs(centre):
        distances = np.minimum(distances, _on_a_log_scale(values))
    minority = _MINORITY if values.size >= _FEW else _MINORITY_OF_FEW
    far = distances > limit
    steps = np.diff(ordered)
    steps = steps[steps > 0]
    if far.any():
        grain = float(steps.min()) / scale
        counted, reason = _judge(values == 0.0, signed, distances, far, minority, grain)
        if counted.any() or reason is not None:
            return distances, counted, reason
    with np.errstate(over="ignore"):
        standard = np.clip((ordered - centre) / scale, -_FARTHEST, _FARTHEST)
    split = steps.size >= _DISCRETE and two_groups(standard, minority=minority)
    return distances, none, "two_groups" if split else None


def _on_a_log_scale(values: Floats) -> Floats:
    """Distances of the logarithms of one-signed values; zeros take half of the smallest magnitude."""
    magnitudes = np.abs(values)
    smallest = max(float(magnitudes[magnitudes > 0].min()), 2 * np.finfo(np.float64).tiny)
    logs = np.log(magnitudes + smallest / 2)
    centre, scale = half_sample(np.sort(logs)[:, None])
    return np.abs(logs - centre) / scale if scale[0] > 0 else np.full_like(logs, np.inf)


def _judge(
    zero: Bools, signed: Floats, distances: Floats, far: Bools, minority: float, grain: float
) -> tuple[Bools, Reason | None]:
    """Which far values count, and what can't be told."""
    size = zero.size
    apart = distances >= start_of_group(np.sort(distances), grain=grain)
    gross = apart & (np.abs(signed) >= GROSS)
    modest = apart & ~gross
    reason: Reason | None = None
    for side in (modest & (signed > 0), modest & (signed < 0)):
        if side.any() and zero[side].mean() > 0.5 and zero.sum() >= max(2, _ZEROS * size):
            modest = modest & ~side
            reason = "zero_inflated"
    if (far & ~apart).sum() >= max(3, _TAIL * size):
        return gross & far, "heavy_tail"
    if modest.mean() > minority:
        return gross & far, "two_groups"
    return (gross | modest) & far, reason
