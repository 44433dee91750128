"""Two areas under the ROC curve on the same rows: their difference, its spread and a test."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from mcp_server.core.comparison.spread import p_of_normal
from mcp_server.core.metrics.measure import FloatArray, same_length
from mcp_server.errors import BadSample

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class AreaDifference:
    """Two correlated areas.

    Args:
        first, second: the areas.
        difference: first minus second.
        error: standard error of the difference; 0 where both scores order the rows alike.
        low, high: the interval of the difference.
        p: two-sided; 1 where the scores order the rows alike.
    """

    first: float
    second: float
    difference: float
    error: float
    low: float
    high: float
    p: float


def delong(
    positive: NDArray[np.bool_], first: FloatArray, second: FloatArray, *, level: float = 0.95
) -> AreaDifference:
    """Test whether two scores rank the same rows equally well, in O(n log n) by mid-ranks.

    Args:
        positive: shape (n,), at least two true and two false.
        first, second: shape (n,), finite; only their order matters.
        level: of the interval.
    Raises:
        BadSample: a class with fewer than two rows, or samples of unlike length.
    Source:
        DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44(3); Sun & Xu (2014), IEEE Signal Processing Letters
        21(11), for the mid-ranks.

    >>> happened = np.array([False, False, False, True, True, True])
    >>> found = delong(happened, np.array([1.0, 2, 4, 3, 5, 6]), np.array([1.0, 5, 4, 3, 2, 6]))
    >>> round(found.first, 3), round(found.second, 3)
    (0.889, 0.556)
    """
    same_length(positive, first)
    same_length(positive, second)
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if min(positives, negatives) < 2:
        raise BadSample(
            "Comparing areas under the ROC curve needs two rows of each class.", hint="Use rows of both outcomes."
        )
    of_positive, of_negative = zip(*(_placements(positive, scores) for scores in (first, second)), strict=True)
    areas = [float(shares.mean()) for shares in of_positive]
    spread = (of_positive[0] - of_positive[1]).var(ddof=1) / positives
    spread += (of_negative[0] - of_negative[1]).var(ddof=1) / negatives
    error = float(np.sqrt(spread))
    difference = areas[0] - areas[1]
    half = _NORMAL.inv_cdf(0.5 + level / 2.0) * error
    p = p_of_normal(difference, error)
    return AreaDifference(areas[0], areas[1], difference, error, difference - half, difference + half, p)


def _placements(positive: NDArray[np.bool_], scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """For each positive the share of negatives below it, for each negative that of positives above it."""
    above, below = scores[positive], scores[~positive]
    ranks = rankdata(np.concatenate([above, below]))
    of_positive = (ranks[: len(above)] - rankdata(above)) / len(below)
    of_negative = 1.0 - (ranks[len(above) :] - rankdata(below)) / len(above)
    return of_positive, of_negative
