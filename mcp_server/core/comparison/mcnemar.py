"""Two classifiers' right and wrong answers on the same rows: only the rows on which they differ tell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, gammaln

from mcp_server.core.metrics.measure import same_length


@dataclass(frozen=True, slots=True)
class McNemar:
    """The rows on which one of two is right and the other wrong.

    Args:
        only_first, only_second: rows that only this one answered right.
        exact: two-sided p, binomial: never too small.
        mid: two-sided mid-p: less cautious, and nearer to its nominal level.
    """

    only_first: int
    only_second: int
    exact: float
    mid: float


def mcnemar(first_right: NDArray[np.bool_], second_right: NDArray[np.bool_]) -> McNemar:
    """Test whether two classifiers are right equally often.

    Args:
        first_right, second_right: shape (n,): whether each answered a row right.
    Returns:
        both p are 1 where they never differ.
    Source:
        McNemar (1947), Psychometrika 12(2); Fagerland, Lydersen & Laake (2013), BMC Medical Research Methodology
        13:91, for the mid-p.

    >>> found = mcnemar(np.array([True] * 8 + [False]), np.array([False] * 8 + [False]))
    >>> found.only_first, found.only_second, round(found.exact, 4), round(found.mid, 4)
    (8, 0, 0.0078, 0.0039)
    """
    same_length(first_right, second_right)
    only_first = int((first_right & ~second_right).sum())
    only_second = int((second_right & ~first_right).sum())
    return McNemar(only_first, only_second, *_two_sided(only_first, only_second))


def _two_sided(first: int, second: int) -> tuple[float, float]:
    """Exact and mid p of a fair coin that fell on its sides so often."""
    fewer, tosses = min(first, second), first + second
    if not tosses:
        return 1.0, 1.0
    tail = float(bdtr(fewer, tosses, 0.5))
    at = float(np.exp(gammaln(tosses + 1) - gammaln(fewer + 1) - gammaln(tosses - fewer + 1) - tosses * np.log(2.0)))
    return min(1.0, 2.0 * tail), min(1.0, 2.0 * tail - at)
