"""Whether forecast probabilities come true: the reliability table and the calibration error."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from mcp_server.core.metrics.direction import HIGHER_IS_BETTER
from mcp_server.core.metrics.measure import FloatArray, IntArray

BINS = 10
_ROWS_A_BIN = 20  # fewer rows would make a bin's observed share meaningless


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Rows with similar forecasts.

    Args:
        low, high: smallest and largest forecast in the bin.
        rows: how many.
        forecast: their mean forecast.
        observed: the share of them that came true.
        observed_low, observed_high: its Wilson interval.
    """

    low: float
    high: float
    rows: int
    forecast: float
    observed: float
    observed_low: float
    observed_high: float


class CalibrationError:
    """Expected calibration error: the mean distance of forecast and observed share over bins of equal mass.

    Args:
        happened: shape (n,).
        probability: its forecast, shape (n,), in [0, 1].
        bins: at most this many; fewer where a bin would have under 20 rows. Equal forecasts share a bin.

    It isn't smooth, and chance alone makes it positive: on n rows even a perfect forecast shows about
    0.35 * sqrt(bins / n).

    Source:
        Naeini, Cooper & Hauskrecht (2015), AAAI-15, with bins of equal mass.
    """

    name = "calibration_error"
    higher_is_better = name in HIGHER_IS_BETTER

    def __init__(self, happened: NDArray[np.bool_], probability: FloatArray, *, bins: int = BINS) -> None:
        order = np.argsort(probability, kind="stable")
        starts = _bin_starts(probability[order], bins)
        bin_of = np.empty(len(order), dtype=np.int64)
        bin_of[order] = np.searchsorted(starts, np.arange(len(order)), side="right") - 1
        # Row i's gap in the row of its bin: a resample's gaps are one product.
        self._gaps = np.zeros((len(starts), len(order)))
        self._gaps[bin_of, np.arange(len(order))] = happened - probability
        self.value = float(np.abs(self._gaps.sum(axis=1)).sum() / len(order))
        self.influence: FloatArray | None = None

    def at(self, weights: FloatArray) -> FloatArray:
        result: FloatArray = np.abs(self._gaps @ weights).sum(axis=0) / len(weights)
        return result


def reliability_table(
    happened: NDArray[np.bool_], probability: FloatArray, *, bins: int = BINS, level: float = 0.95
) -> list[ReliabilityBin]:
    """Forecast against observed share, over bins of equal mass.

    Args:
        happened, probability, bins: as for `CalibrationError`.
        level: of the Wilson intervals.
    Returns:
        the bins by rising forecast; their rows sum to n.
    """
    order = np.argsort(probability, kind="stable")
    forecasts, outcomes = probability[order], happened[order]
    edges = np.append(_bin_starts(forecasts, bins), len(forecasts))
    table = []
    for start, end in pairwise(edges):
        rows = int(end - start)
        came_true = int(outcomes[start:end].sum())
        low, high = wilson_interval(came_true, rows, level=level)
        table.append(
            ReliabilityBin(
                low=float(forecasts[start]),
                high=float(forecasts[end - 1]),
                rows=rows,
                forecast=float(forecasts[start:end].mean()),
                observed=came_true / rows,
                observed_low=low,
                observed_high=high,
            )
        )
    return table


def wilson_interval(successes: int, trials: int, *, level: float = 0.95) -> tuple[float, float]:
    """The interval of a share, good for few trials and near 0 and 1.

    Args:
        successes: 0 to `trials`.
        trials: at least 1.
    Returns:
        (low, high) within [0, 1], around successes / trials.
    Source:
        Wilson (1927), JASA 22(158).

    >>> [round(bound, 4) for bound in wilson_interval(8, 10)]
    [0.4902, 0.9433]
    """
    z = NormalDist().inv_cdf(0.5 + level / 2.0)
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * (share * (1 - share) / trials + z * z / (4 * trials * trials)) ** 0.5
    # At 0 and 1 the bound equals the share but for rounding.
    return min(max(0.0, centre - half), share), max(min(1.0, centre + half), share)


def binomial_band(trials: int, share: float, *, level: float = 0.95) -> tuple[int, int]:
    """The counts between which a binomial one stays with at least this probability, as many left out on either side.

    Args:
        trials: at least 1.
        share: of each trial, in (0, 1).

    >>> binomial_band(100, 0.9)
    (84, 95)
    """
    counts = np.arange(trials + 1)
    steps = np.log(np.maximum(counts, 1))
    factorials = np.cumsum(steps)
    logs = (
        factorials[-1] - factorials - factorials[::-1] + counts * np.log(share) + (trials - counts) * np.log1p(-share)
    )
    below = np.cumsum(np.exp(logs))
    tail = (1.0 - level) / 2.0
    return int(np.searchsorted(below, tail)), int(np.searchsorted(below, 1.0 - tail))


def calibration_by_chance(
    probability: FloatArray, *, rng: np.random.Generator, draws: int = 500, level: float = 0.95, bins: int = BINS
) -> float:
    """The calibration error that forecasts which do come true stay below with this probability.

    Args:
        probability: shape (n,): the outcomes are drawn by it.
    Source:
        Broecker & Smith (2007), Weather and Forecasting 22(3), for consistency bars.
    """
    forecasts = np.sort(probability, kind="stable")
    starts = _bin_starts(forecasts, bins)
    found = np.empty(draws)
    for at in range(draws):
        gaps = (rng.random(len(forecasts)) < forecasts) - forecasts
        found[at] = np.abs(np.add.reduceat(gaps, starts)).sum() / len(forecasts)
    return float(np.quantile(found, level))


def _bin_starts(ranked: FloatArray, bins: int) -> IntArray:
    """Where bins of about equal mass start in sorted forecasts; equal forecasts are never parted."""
    count = max(1, min(bins, len(ranked) // _ROWS_A_BIN))
    wanted = np.round(np.arange(count) * len(ranked) / count).astype(np.int64)
    # A boundary inside a run of equal forecasts moves to the run's start.
    return np.unique(np.searchsorted(ranked, ranked[wanted], side="left"))
