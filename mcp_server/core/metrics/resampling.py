"""Intervals by the bootstrap: resampled rows as weights, bias-corrected and accelerated.

Source: Efron (1987), JASA 82(397), for BCa; Efron & Tibshirani (1993), An Introduction to the Bootstrap, ch. 14 and 22.
Rows are resampled as if they were independent: on rows that come in dependent groups the intervals are too narrow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from mcp_server.core.metrics.measure import FloatArray, Measure

RESAMPLES = 1_000
LEVEL = 0.95

_CELLS = 200_000  # of a block of weights: it stays in the processor's cache while all metrics read it
_MOST_CELLS = 400_000_000  # of all weights together; beyond, the normal limit is as good and a thousand times cheaper
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval; `low` and `high` are None where the sample is too small to tell."""

    value: float
    low: float | None
    high: float | None


def estimate(
    measures: Sequence[Measure],
    *,
    rows: int,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> dict[str, Estimate]:
    """Give each metric its interval, all on the same resamples.

    Args:
        measures: metrics of one sample of `rows` rows.
        resamples: at least 100; 1,000 give an interval's ends to a few per cent of its width.
        level: of the intervals, two-sided.
    Returns:
        the metric's name to its estimate.
    """
    large = rows * resamples > _MOST_CELLS
    resampled = [measure for measure in measures if not large or measure.influence is None]
    affordable = min(resamples, max(100, _MOST_CELLS // rows))
    drawn = dict(zip(map(id, resampled), draw(resampled, rows=rows, rng=rng, resamples=affordable), strict=True))
    found = {}
    for measure in measures:
        if id(measure) not in drawn:
            found[measure.name] = _normal(measure.value, measure.influence, level)
            continue
        result = interval(measure.value, drawn[id(measure)], measure.influence, level=level)
        if measure.influence is None and result.low is not None:
            result = Estimate(result.value, max(0.0, result.low), result.high)  # an error is never negative
        found[measure.name] = result
    return found


def draw(measures: Sequence[Measure], *, rows: int, rng: np.random.Generator, resamples: int) -> list[FloatArray]:
    """Each metric on the same resamples: a list of arrays of shape (resamples,), NaN where undefined."""
    values = [np.empty(resamples) for _ in measures]
    if not values:
        return []
    at = 0
    for weights in resample_weights(rows, resamples, rng):
        for drawn, measure in zip(values, measures, strict=True):
            drawn[at : at + weights.shape[1]] = measure.at(weights)
        at += weights.shape[1]
    return values


def resample_weights(rows: int, resamples: int, rng: np.random.Generator) -> Iterator[FloatArray]:
    """How often each row is in each resample, in blocks of shape (rows, b); each column sums to `rows`."""
    block = max(1, _CELLS // rows)
    for start in range(0, resamples, block):
        count = min(block, resamples - start)
        picked = rng.integers(0, rows, size=(count, rows))
        picked += (np.arange(count) * rows)[:, None]
        drawn = np.bincount(picked.ravel(), minlength=count * rows).reshape(count, rows)
        yield np.ascontiguousarray(drawn.T, dtype=np.float64)


def interval(value: float, drawn: FloatArray, influence: FloatArray | None, *, level: float = LEVEL) -> Estimate:
    """An interval from resampled values.

    Args:
        value: on the sample itself.
        drawn: on the resamples, shape (b,); NaN ones are left out.
        influence: of each row on the value, for the acceleration; None for a metric that isn't smooth, whose
            quantiles are then moved to lie around the value (resampling itself biases such a metric).
    Returns:
        the estimate; without bounds where over a tenth of the resamples is undefined.
    """
    usable = np.sort(drawn[np.isfinite(drawn)])
    if len(usable) < 0.9 * len(drawn) or not len(usable):
        return Estimate(value, None, None)
    tail = (1.0 - level) / 2.0
    if influence is None:
        low, middle, high = np.quantile(usable, [tail, 0.5, 1.0 - tail])
        return Estimate(value, float(value - (middle - low)), float(value + (high - middle)))
    spread = float((influence**2).sum())
    # Rounding makes resamples of a constant differ in the last digit: that isn't a distribution.
    if spread <= 1e-24 * max(1.0, value * value) * len(influence):
        return Estimate(value, value, value)
    below = (np.searchsorted(usable, value, side="left") + np.searchsorted(usable, value, side="right")) / 2.0
    edge = 1.0 / (len(usable) + 1.0)
    bias = _NORMAL.inv_cdf(float(np.clip(below / len(usable), edge, 1.0 - edge)))
    acceleration = float((influence**3).sum()) / (6.0 * spread**1.5)
    low, high = np.quantile(usable, [_shifted(tail, bias, acceleration), _shifted(1.0 - tail, bias, acceleration)])
    return Estimate(value, float(low), float(high))


def _shifted(share: float, bias: float, acceleration: float) -> float:
    z = bias + _NORMAL.inv_cdf(share)
    return _NORMAL.cdf(bias + z / (1.0 - acceleration * z))


def _normal(value: float, influence: FloatArray | None, level: float) -> Estimate:
    if influence is None:
        return Estimate(value, None, None)
    half = _NORMAL.inv_cdf(0.5 + level / 2.0) * float(np.sqrt((influence**2).mean() / len(influence)))
    return Estimate(value, value - half, value + half)
