"""Does a gap between groups keep a stated limit: pass, fail, or can't tell where the interval straddles it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mcp_server.core.labels import label
from mcp_server.errors import InvalidInput

Verdict = Literal["pass", "fail", "can't tell"]


@dataclass(frozen=True, slots=True)
class Limit:
    """What is asked of one rate, for every group against the reference group.

    Args:
        rate: such as `selection_rate`; see `rates_of`.
        kind: `ratio`: between the limit and its reciprocal; `difference`: at most the limit, either way.
        value: of a ratio in (0, 1], such as .8; of a difference at least 0, in the rate's unit.
    """

    rate: str
    kind: Literal["ratio", "difference"]
    value: float

    def __post_init__(self) -> None:
        allowed = 0.0 < self.value <= 1.0 if self.kind == "ratio" else 0.0 <= self.value < float("inf")
        if not allowed:
            raise InvalidInput(
                f"A limit of {self.value:g} on a {self.kind} of {label(self.rate)} asks for nothing sensible.",
                hint="State a ratio above 0 and up to 1, such as 0.8, or a difference of at least 0.",
            )


@dataclass(frozen=True, slots=True)
class Ruling:
    """A limit held against one group.

    Args:
        value, low, high: of the ratio or difference; None where it isn't known, or `high` has no end.
        reason: why it can't be told, in words; empty otherwise.
    """

    limit: Limit
    verdict: Verdict
    value: float | None
    low: float | None
    high: float | None
    reason: str = ""


def rule(limit: Limit, value: float | None, low: float | None, high: float | None, *, few: bool = False) -> Ruling:
    """Hold a limit against a ratio or difference and its 95 % interval.

    Args:
        value: None where it isn't defined, such as a ratio to a rate of 0.
        low, high: None where the sample is too small; a ratio's `high` alone: it has no upper end.
        few: whether the groups have too few rows to conclude anything.
    Returns:
        pass only where the whole interval keeps the limit, fail only where the whole of it breaks it.

    >>> rule(Limit("selection_rate", "ratio", 0.8), 0.6, 0.5, 0.72).verdict
    'fail'
    >>> rule(Limit("selection_rate", "ratio", 0.8), 0.85, 0.7, 1.02).verdict
    "can't tell"
    """
    if few:
        return Ruling(limit, "can't tell", value, low, high, "too few rows")
    if low is None:
        return Ruling(limit, "can't tell", value, low, high, "no interval is known")
    floor, ceiling = (limit.value, 1.0 / limit.value) if limit.kind == "ratio" else (-limit.value, limit.value)
    if low > ceiling or (high is not None and high < floor):
        return Ruling(limit, "fail", value, low, high)
    if high is not None and floor <= low and high <= ceiling:
        return Ruling(limit, "pass", value, low, high)
    return Ruling(limit, "can't tell", value, low, high, "the interval reaches to both sides of the limit")


def overall(rulings: list[Ruling]) -> Verdict:
    """Fail where one fails, pass where all pass, else can't tell; without any ruling it can't be told either."""
    verdicts = {ruling.verdict for ruling in rulings}
    return "fail" if "fail" in verdicts else "pass" if verdicts == {"pass"} else "can't tell"
