"""A quantile of a sample with its interval, whatever the distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, lgamma, log

_EACH_SIDE = 0.025


@dataclass(frozen=True, slots=True)
class Quantile:
    """A quantile of the values' distribution.

    Args:
        value: of the sample.
        low, high: 95 % interval; None where the sample is too small for that end.
    """

    value: float
    low: float | None
    high: float | None


def quantile(values: Sequence[float], share: float) -> Quantile:
    """A quantile, between the order statistics whose ranks a binomial count stays between.

    Args:
        values: at least one; any unit. The interval holds where they're independent.
        share: in (0, 1), such as .99.
    Returns:
        with an interval whose each side is missed with a probability of at most 2.5 %.
    Source:
        David & Nagaraja (2003), Order Statistics, 3rd ed., section 7.1.

    >>> quantile([float(value) for value in range(1, 101)], 0.5)
    Quantile(value=51.0, low=40.0, high=61.0)
    """
    ordered, n = sorted(values), len(values)
    # How many of n values lie at or below the quantile: P(at most k), for k = 0 to n.
    below: list[float] = []
    total = 0.0
    for count in range(n + 1):
        chosen = lgamma(n + 1) - lgamma(count + 1) - lgamma(n - count + 1)
        total += exp(chosen + count * log(share) + (n - count) * log(1.0 - share))
        below.append(total)
    low = max((rank for rank in range(1, n + 1) if below[rank - 1] <= _EACH_SIDE), default=None)
    high = next((rank for rank in range(1, n + 1) if 1.0 - below[rank - 1] <= _EACH_SIDE), None)
    return Quantile(
        ordered[min(n - 1, int(n * share))],
        None if low is None else ordered[low - 1],
        None if high is None else ordered[high - 1],
    )
