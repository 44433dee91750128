"""Intervals of a difference and a ratio of two groups' rates, from the intervals of the rates.

Source: Newcombe (1998), Statistics in Medicine 17, method 10, for the difference; Donner & Zou (2012), Statistical
Methods in Medical Research 21(4), for the ratio by the same recovery of variances.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt


@dataclass(frozen=True, slots=True)
class Rate:
    """A share or a mean with its 95 % interval.

    Args:
        low, high: None where there are too few rows to tell.
        rows: that it's of, such as those on which nothing happened, for false positives.
    """

    value: float
    low: float | None
    high: float | None
    rows: int


def difference(first: Rate, second: Rate) -> tuple[float, float | None, float | None]:
    """`first - second` of two independent groups, with its interval; no interval where one of them has none.

    >>> from mcp_server.core.metrics import wilson_interval
    >>> one, other = Rate(56 / 70, *wilson_interval(56, 70), 70), Rate(48 / 80, *wilson_interval(48, 80), 80)
    >>> [round(bound, 4) for bound in difference(one, other)]
    [0.2, 0.0524, 0.3339]
    """
    gap = first.value - second.value
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return gap, None, None
    below = sqrt((first.value - first.low) ** 2 + (second.high - second.value) ** 2)
    above = sqrt((first.high - first.value) ** 2 + (second.value - second.low) ** 2)
    return gap, gap - below, gap + above


def ratio(first: Rate, second: Rate) -> tuple[float | None, float | None, float | None]:
    """`first / second` of two independent groups' shares, with its interval.

    Returns:
        (ratio, low, high): no ratio where the second share is 0, and no upper end where it may be 0.
    """
    value = first.value / second.value if second.value > 0.0 else None
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return value, None, None
    both = first.value * second.value
    ours, theirs = first.low * (2 * first.value - first.low), second.high * (2 * second.value - second.high)
    # The source's (both - root) / theirs, multiplied out: `theirs` may be 0 or below it.
    beneath = both + sqrt(max(0.0, both**2 - ours * theirs))
    low = ours / beneath if beneath > 0.0 else 0.0
    high = None
    if second.low > 0.0:
        ours, theirs = first.high * (2 * first.value - first.high), second.low * (2 * second.value - second.low)
        high = (both + sqrt(max(0.0, both**2 - ours * theirs))) / theirs
    return value, low, high
