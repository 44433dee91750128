"""Whether a model's answers tell the rows that it learned from: a membership attack by loss, and its area.

For a computing process: it loads numpy and polars.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mcp_server.core.contract import Contract
from mcp_server.core.metrics.rank import RankArea
from mcp_server.core.predictor.batch import compile_batch
from mcp_server.core.training.target import Target, target_values
from mcp_server.core.verification.checks import Check, not_done
from mcp_server.errors import BadSample, CourtsideError

FloatArray = NDArray[np.float64]

WARN, BLOCK = 0.60, 0.70
LEAST_ROWS, MOST_ROWS = 50, 2_000
RARE = 0.01
"""The share of false alarms at which the attack's yield is told."""

_LEAST_FOR_RARE = 500
_SMALLEST = 1e-15
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class MembershipEstimate:
    """How well the loss of a row tells that the model learned from it.

    Args:
        area: probability that a row learned from has a smaller loss than one held out; .5 where nothing tells.
        low, high: 95 % interval.
        caught: share of the rows learned from that are told at 1 % false alarms; None with under 500 held-out rows.
    """

    area: float
    low: float
    high: float
    caught: float | None


def estimate_membership(learned: FloatArray, held_out: FloatArray) -> MembershipEstimate:
    """Attack a model by the losses of rows: a small one is taken for a row that it learned from.

    Args:
        learned: shape (n,), losses of rows that the model learned from, n >= 2.
        held_out: shape (m,), losses of rows like them that it didn't, m >= 2.
    Raises:
        BadSample: a sample is too small or not finite.
    Source:
        Yeom, Giacomelli, Fredrikson & Jha (2018), IEEE CSF, for the attack; Carlini, Chien, Nasr, Song, Terzis &
        Tramèr (2022), IEEE S&P, for the yield at few false alarms, and for stronger attacks: the area bounds what an
        attacker can do from below. The interval is DeLong's (1988).

    >>> found = estimate_membership(np.array([0.1, 0.2, 0.3, 0.9]), np.array([0.4, 0.5, 0.6, 1.0]))
    >>> found.area, found.caught
    (0.8125, None)
    """
    losses = np.concatenate((learned, held_out))
    if min(len(learned), len(held_out)) < 2 or not np.isfinite(losses).all():
        raise BadSample("Telling members needs two finite losses of each kind.", hint="Use more rows.")
    found = RankArea(np.repeat([True, False], [len(learned), len(held_out)]), -losses)
    half = _NORMAL.inv_cdf(0.975) * sqrt(float((found.placed**2).sum())) / len(losses)
    caught = None
    if len(held_out) >= _LEAST_FOR_RARE:
        # Below the threshold lie at most 1 % of the held-out rows.
        threshold = np.sort(held_out)[int(RARE * len(held_out))]
        caught = float((learned < threshold).mean())
    return MembershipEstimate(found.value, max(0.0, found.value - half), min(1.0, found.value + half), caught)


def check_membership(
    form: Mapping[str, Any], contract: Contract, learned: pl.DataFrame, held_out: pl.DataFrame, *, always: bool = False
) -> Check:
    """Warn from an area of .60 on, if the interval lies above .5; from .70 on bar, or fail where rows are of people.

    Args:
        form: the serving form, as it answers.
        contract: of the data, with the model's target; a personal column says that its rows are about people.
        learned, held_out: rows that the model learned from, and others; those without an outcome don't count.
        always: fail from .70 on whatever the rows are about.
    """
    try:
        found = estimate_membership(*(_losses(form, contract, rows) for rows in (learned, held_out)))
    except BadSample as few:
        return not_done("membership", few.message)
    except CourtsideError as refused:
        return not_done("membership", f"The rows can't be answered again: {refused.message}")
    told = f"A row's loss tells with an area of {found.area:.2f} ({found.low:.2f} to {found.high:.2f}; .5 is chance)"
    told += " whether it was learned from"
    told += f", and at 1 % false alarms {found.caught:.0%} of those." if found.caught is not None else "."
    if found.area < WARN or found.low <= 0.5:
        return Check("membership", "passed", told)
    if found.area >= BLOCK:
        about_people = always or any(column.personal for column in contract.columns)
        further = "Train again: linear or boosting learn less by heart."
        return Check("membership", "failed" if about_people else "barred", f"{told} {further}")
    return Check("membership", "warned", f"{told} If its rows are about people, let no stranger ask it.")


def _losses(form: Mapping[str, Any], contract: Contract, rows: pl.DataFrame) -> FloatArray:
    """The loss of each answer, shape (n,): log loss in nats, or the squared error."""
    predictor = compile_batch(form)
    typed = predictor.form
    classes = None if typed.classes is None else tuple(typed.classes)
    values = target_values(rows, contract, Target(typed.target, typed.task, classes))
    known = np.isfinite(values)
    if int(known.sum()) < LEAST_ROWS:
        raise BadSample(f"Fewer than {LEAST_ROWS} rows were learned from, or held out and unlike all of those.")
    answers = predictor.answer(rows.filter(pl.Series(known)))
    values = values[known]
    if answers.probabilities is None:
        squares: FloatArray = (answers.values - values) ** 2
        return squares
    shares = answers.probabilities[np.arange(len(values)), values.astype(np.int64)]
    losses: FloatArray = -np.log(np.maximum(shares, _SMALLEST))
    return losses
