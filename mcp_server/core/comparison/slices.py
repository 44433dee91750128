"""Where in the table one model is worse than another, and where each is at its worst."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mcp_server.core.comparison.false_discovery import benjamini_hochberg
from mcp_server.core.comparison.paired import Verdict, paired_influence
from mcp_server.core.comparison.spread import p_of_normal, p_of_t, standard_error, t_half_width
from mcp_server.core.metrics import Task
from mcp_server.core.metrics.forecasts import row_losses
from mcp_server.core.metrics.measure import FloatArray, IntArray, MeanLoss, Measure, RootMeanSquare

SMALL = 100
"""Rows from which on a group's difference is tested; smaller groups are shown and marked."""
FEWEST = 20
FALSE_SHARE = 0.05
_REACH = 1.959964


@dataclass(frozen=True, slots=True, eq=False)
class RowGroup:
    """Rows that share a value of a column.

    Args:
        column: its name.
        value: what they share, as text from the data.
        rows: shape (n,), which.
    """

    column: str
    value: str
    rows: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Slice:
    """Two models on the rows of a group, by the deciding metric.

    Args:
        group: its place among the groups.
        rows: how many it has.
        small: under 100 rows: its difference isn't tested.
        first, second: the metric of each.
        difference: how much better the first is: positive favours it.
        low, high: its 95 % t interval, for this group alone.
        q: p after Benjamini and Hochberg over all tested groups; None where it's small.
        verdict: of the first; better or worse where q is below 5 %.
        excess: how much worse the first model is here than on the other rows, in the metric's unit; 0 where there are
            too few others.
        excess_low, excess_high: its 95 % interval.
        excess_q: p of no excess, after Benjamini and Hochberg over all tested groups; None where it's small.
    """

    group: int
    rows: int
    small: bool
    first: float
    second: float
    difference: float
    low: float
    high: float
    q: float | None
    verdict: Verdict
    excess: float
    excess_low: float
    excess_high: float
    excess_q: float | None


def slices(
    target: Sequence[float] | FloatArray | IntArray,
    first: object,
    second: object,
    groups: Sequence[RowGroup],
    *,
    task: Task,
) -> list[Slice]:
    """Compare two models within groups of rows.

    Args:
        target, first, second: as for `compare_predictions`, shape (n,).
        groups: of the same n rows; those of under 20 rows are left out.
    Returns:
        the groups, where the first model does worst against the second in front: what is found (q below 5 %) first,
        then by the difference; small groups last. At most 5 % of what is found is false on average.
    """
    ours, theirs = row_losses(target, first, task=task), row_losses(target, second, task=task)
    found: list[Slice] = []
    p_values: list[tuple[float, float]] = []
    for place, group in enumerate(groups):
        rows = int(group.rows.sum())
        if rows < FEWEST:
            continue
        here, there = _measure(ours[group.rows], task), _measure(theirs[group.rows], task)
        gain = there.value - here.value
        influence = paired_influence(there, here)
        assert influence is not None
        half = t_half_width(influence)
        excess, excess_error = _excess(here, ours[~group.rows], task)
        small = rows < SMALL
        if not small:
            p_values.append((p_of_t(gain, influence), p_of_normal(excess, excess_error)))
        found.append(
            Slice(
                group=place,
                rows=rows,
                small=small,
                first=here.value,
                second=there.value,
                difference=gain,
                low=gain - half,
                high=gain + half,
                q=None,
                verdict="no detectable difference",
                excess=excess,
                excess_low=excess - _REACH * excess_error,
                excess_high=excess + _REACH * excess_error,
                excess_q=None,
            )
        )
    families = [benjamini_hochberg([pair[at] for pair in p_values]) for at in (0, 1)]
    adjusted = iter(zip(*families, strict=True))
    return sorted((one if one.small else _judged(one, *next(adjusted)) for one in found), key=_worst_first)


def worst_group(found: Sequence[Slice]) -> Slice | None:
    """The group on which the first model is worst, of those where it's found to be worse than elsewhere."""
    weak = [one for one in found if one.excess_q is not None and one.excess_q < FALSE_SHARE and one.excess > 0.0]
    return max(weak, key=lambda one: one.excess, default=None)


def _judged(one: Slice, q: float, excess_q: float) -> Slice:
    verdict: Verdict = "no detectable difference"
    if q < FALSE_SHARE:
        verdict = "better" if one.difference > 0.0 else "worse"
    return replace(one, q=q, excess_q=excess_q, verdict=verdict)


def _worst_first(one: Slice) -> tuple[bool, bool, float]:
    return one.small, one.verdict != "worse", one.difference


def _measure(losses: FloatArray, task: Task) -> Measure:
    return RootMeanSquare(losses) if task == "regression" else MeanLoss("log_loss", losses)


def _influence(measure: Measure) -> FloatArray:
    assert measure.influence is not None
    return measure.influence


def _excess(here: Measure, elsewhere: FloatArray, task: Task) -> tuple[float, float]:
    """How much larger the loss is than on the other rows, and the standard error of that."""
    if len(elsewhere) < FEWEST:
        return 0.0, 0.0
    rest = _measure(elsewhere, task)
    error = np.hypot(standard_error(_influence(here)), standard_error(_influence(rest)))
    return here.value - rest.value, float(error)
