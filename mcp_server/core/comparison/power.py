"""What a sample can show: the smallest difference that it would find, and the rows that a difference needs."""

from __future__ import annotations

from math import ceil, inf
from statistics import NormalDist

POWER = 0.8
MOST_ROWS = 10**9

_NORMAL = NormalDist()


def detectable(half_width: float, *, level: float = 0.95, power: float = POWER, tests: int = 1) -> float:
    """The smallest true difference that a sample like this shows in `power` of all cases.

    Args:
        half_width: of the interval of the difference at `level`, >= 0. An interval's half width is what is found half
            the time; more of the time takes more.
        tests: among how many this one stands; with several, a difference must be larger to count.

    >>> round(detectable(1.96), 2)
    2.8
    """
    alone = _NORMAL.inv_cdf(0.5 + level / 2.0)
    among = _NORMAL.inv_cdf(1.0 - (1.0 - level) / (2.0 * tests))
    return half_width * (among + _NORMAL.inv_cdf(power)) / alone


def rows_needed(difference: float, detectable: float, rows: int) -> int | None:
    """How many rows like these would show a true difference as large as the one seen, in 80 % of all cases.

    Args:
        difference: seen, in the unit of `detectable`.
        detectable: what `rows` rows show.
    Returns:
        None where there is no difference to find, or over a thousand million rows would be needed. The difference
        seen is itself uncertain, and with it this number: take it for its order of magnitude.
    Source:
        Chow, Shao & Wang (2008), Sample Size Calculations in Clinical Research, 3.1, for paired means.

    >>> rows_needed(0.002, 0.005, 5_000)
    31250
    """
    ratio = inf if difference == 0.0 else abs(detectable / difference)
    if ratio == inf or rows * ratio * ratio > MOST_ROWS:
        return None
    return ceil(rows * ratio * ratio - 1e-6)
