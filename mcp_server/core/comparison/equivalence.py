"""Whether two models lie within a stated margin of each other; never that they are the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mcp_server.errors import BadSample

Standing = Literal["within the margin", "beyond the margin", "not shown"]


@dataclass(frozen=True, slots=True)
class Equivalence:
    """Two one-sided tests of a difference against a margin, at 5 % each.

    Args:
        margin: stated, in the metric's unit.
        low, high: the 90 % interval of the difference.
        standing: within the margin where it holds the whole interval; beyond where it holds none of it.
    """

    margin: float
    low: float
    high: float
    standing: Standing


def equivalence(low: float, high: float, *, margin: float) -> Equivalence:
    """Hold a 90 % interval of a difference against a margin.

    Args:
        low, high: of the interval, low <= high.
        margin: > 0, the largest difference that doesn't matter.
    Raises:
        BadSample: a margin that isn't positive.
    Source:
        Schuirmann (1987), Journal of Pharmacokinetics and Biopharmaceutics 15(6): two one-sided tests at 5 % agree
        with the 90 % interval.

    >>> equivalence(-0.002, 0.003, margin=0.005).standing
    'within the margin'
    """
    if not 0.0 < margin < float("inf"):
        raise BadSample("A margin of equivalence is above 0.", hint="Write it in the unit of the deciding metric.")
    standing: Standing = "not shown"
    if -margin < low and high < margin:
        standing = "within the margin"
    elif high <= -margin or low >= margin:
        standing = "beyond the margin"
    return Equivalence(margin, low, high, standing)
