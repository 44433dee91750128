"""Groups side by side: gaps to the largest one, and the definitions of fairness that can't hold together here.

Source: Chouldechova (2017), Big Data 5(2), and Kleinberg, Mullainathan & Raghavan (2017), ITCS, for the conflict of
calibration with equal error rates where base rates differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcp_server.core.contract.fairness import SHARES
from mcp_server.core.fairness.gates import Limit, Ruling, rule
from mcp_server.core.fairness.grouping import Group
from mcp_server.core.fairness.intervals import Rate, difference, ratio
from mcp_server.core.fairness.rates import FEW, SMALL, GroupRates, rates_of
from mcp_server.core.labels import label
from mcp_server.core.metrics import Task, wilson_interval
from mcp_server.errors import BadSample, InvalidInput

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Disparity:
    """One rate of a group against that of the reference group.

    Args:
        difference, low, high: the group's rate less the reference's; no interval where there are too few rows.
        ratio, ratio_low, ratio_high: of the two; None for what isn't a share, and see `intervals.ratio`.
        few: whether one of the two is of so few rows that nothing is concluded.
    """

    rate: str
    group: str
    difference: float
    low: float | None
    high: float | None
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    few: bool

    @property
    def detected(self) -> bool:
        """Whether the interval of the difference leaves 0 out, on enough rows."""
        return not self.few and self.low is not None and self.high is not None and (self.low > 0.0 or self.high < 0.0)


@dataclass(frozen=True, slots=True)
class DefinitionConflict:
    """A group whose base rate differs from the reference's, so that definitions of fairness exclude each other.

    Unless the model makes no errors at all, a score that is calibrated in both groups can't have equal false positive
    and false negative rates; and equal error rates can't go with equal selection rates.

    Args:
        group: against the reference group.
        base_rates: of the group and of the reference.
        needed_ratio: of the false positive rates, if precision and false negative rates were equal: the ratio of the
            odds of the base rates.
        observed_ratio: of the false positive rates, or None.
        needed_gap: of the selection rates, if both groups had the error rates of all rows.
    """

    group: str
    base_rates: tuple[float, float]
    needed_ratio: float | None
    observed_ratio: float | None
    needed_gap: float | None


@dataclass(frozen=True, slots=True)
class FairnessReport:
    """How a model treats the groups of one column.

    Args:
        reference: the largest group of a value or range, which the others are held against.
        groups: the largest first.
        disparities: of every other group and rate.
        conflicts: of groups with another base rate; empty for regressions and multi-class models.
        rulings: of each limit for each group but the reference: (group, ruling).
    """

    reference: str
    groups: tuple[GroupRates, ...]
    disparities: tuple[Disparity, ...]
    conflicts: tuple[DefinitionConflict, ...]
    rulings: tuple[tuple[str, Ruling], ...]


def fairness(
    target: FloatArray,
    forecast: FloatArray,
    groups: Sequence[Group],
    *,
    task: Task,
    limits: Sequence[Limit] = (),
    rng: np.random.Generator,
) -> FairnessReport:
    """Judge a model group by group.

    Args:
        target, forecast: as for `rates_of`, of rows that the model wasn't trained on.
        groups: of these rows, the largest first, at least two; one without a judged row is left out.
        limits: gates; each is ruled on for every group.
    Raises:
        BadSample: fewer than two groups have rows.
        InvalidInput: a limit on a rate that the task doesn't have, or on a ratio of what isn't a share.
    """
    present = [group for group in groups if group.rows.any()]
    if len(present) < 2:
        raise BadSample("Fewer than two groups have judged rows.", hint="Name another column, or data with more rows.")
    told = [_group(group, target, forecast, task, rng) for group in present]
    at = next((place for place, group in enumerate(present) if not group.rest), 0)
    reference, others = told[at], [*told[:at], *told[at + 1 :]]
    disparities = [_disparity(name, one, reference) for one in others for name in one.rates if name in reference.rates]
    return FairnessReport(
        reference.name,
        tuple(told),
        tuple(disparities),
        tuple(_conflicts(told, reference, disparities, target, forecast) if task == "binary" else ()),
        tuple((group, ruling) for limit in limits for group, ruling in _rulings(limit, others, disparities, reference)),
    )


def _group(group: Group, target: FloatArray, forecast: FloatArray, task: Task, rng: np.random.Generator) -> GroupRates:
    rows = int(group.rows.sum())
    low, high = wilson_interval(rows, len(target))
    rates = rates_of(target[group.rows], forecast[group.rows], task=task, rng=rng)
    return GroupRates(group.name, rows, rows / len(target), low, high, rows < SMALL, rates)


def _disparity(name: str, one: GroupRates, reference: GroupRates) -> Disparity:
    ours, theirs = one.rates[name], reference.rates[name]
    few = one.small or reference.small or min(ours.rows, theirs.rows) < FEW
    gap = difference(ours, theirs)
    return Disparity(name, one.name, *gap, *(ratio(ours, theirs) if name in SHARES else (None, None, None)), few)


def _rulings(
    limit: Limit, others: Sequence[GroupRates], disparities: Sequence[Disparity], reference: GroupRates
) -> list[tuple[str, Ruling]]:
    known = sorted({name for one in [reference, *others] for name in one.rates})
    if limit.rate not in known or (limit.kind == "ratio" and limit.rate not in SHARES):
        usable = [name for name in known if limit.kind == "difference" or name in SHARES]
        raise InvalidInput(
            f"This model has no {limit.kind} of {label(limit.rate)} to limit.",
            hint=f"It has: {', '.join(usable) or 'none; limit a difference'}.",
        )
    by_group = {one.group: one for one in disparities if one.rate == limit.rate}
    ruled = []
    for other in others:
        found = by_group.get(other.name)
        if found is None:
            ruled.append((other.name, rule(limit, None, None, None, few=True)))
        elif limit.kind == "ratio":
            ruled.append((other.name, rule(limit, found.ratio, found.ratio_low, found.ratio_high, few=found.few)))
        else:
            ruled.append((other.name, rule(limit, found.difference, found.low, found.high, few=found.few)))
    return ruled


def _conflicts(
    told: Sequence[GroupRates],
    reference: GroupRates,
    disparities: Sequence[Disparity],
    target: FloatArray,
    forecast: FloatArray,
) -> list[DefinitionConflict]:
    rates = {one.name: one.rates for one in told}
    happened, selected = target == 1.0, forecast > 0.5
    both = happened.any() and not happened.all()
    spread = float(selected[happened].mean() - selected[~happened].mean()) if both else None
    found = []
    for one in disparities:
        if one.rate != "base_rate" or not one.detected:
            continue
        ours, theirs = rates[one.group]["base_rate"].value, reference.rates["base_rate"].value
        defined = 0.0 < theirs < 1.0 and ours < 1.0
        needed = (ours / (1.0 - ours)) / (theirs / (1.0 - theirs)) if defined else None
        found.append(
            DefinitionConflict(
                one.group,
                (ours, theirs),
                needed,
                _observed(rates[one.group], reference.rates),
                None if spread is None else spread * (ours - theirs),
            )
        )
    return found


def _observed(ours: dict[str, Rate], theirs: dict[str, Rate]) -> float | None:
    name = "false_positive_rate"
    return ratio(ours[name], theirs[name])[0] if name in ours and name in theirs else None
