"""What labels are worth: expected, from the labels that are there, and measured, once further ones have come."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from mcp_server.core.comparison import Comparison, compare_predictions
from mcp_server.core.comparison.paired import MINIMUM_ROWS
from mcp_server.core.labelling.choosing import can_ask_models, choose_with
from mcp_server.core.labelling.committee import Committee, FloatArray, ForecastKind, IntArray, dealt
from mcp_server.core.metrics import PRIMARY, Estimate, measures

REPEATS = 8
JUDGING_SHARE = 0.3
POOL_A_LABEL = 4
"""Rows to choose from for each row chosen, when choosing is tried out on labelled rows."""

LEAST_LABELS = 80
FOLDS = 5
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Tried:
    """By how much a metric got better, whichever way is better; each with its interval.

    Args:
        chosen, random: with chosen labels, and with as many random ones.
        difference: by how much more with chosen ones.
    """

    chosen: Estimate
    random: Estimate
    difference: Estimate


@dataclass(frozen=True, slots=True)
class ExpectedGain:
    """What `added` labels gained on top of `start`, tried out on labelled rows.

    Args:
        start: labels that the models had before.
        added: labels that were added.
        repeats: how often it was tried, each time on other rows.
        metrics: log_loss and accuracy, or rmse; the deciding one first.
        now: the deciding metric's gain with chosen labels, carried over to the labels that there are and those wanted,
            as if the loss above its floor fell as one over the number of labels.
    """

    start: int
    added: int
    repeats: int
    metrics: dict[str, Tried]
    now: Estimate


def expected_gain(
    matrix: FloatArray,
    target: FloatArray,
    goal: ForecastKind,
    *,
    count: int,
    labels: int | None = None,
    moments: IntArray | None = None,
    repeats: int = REPEATS,
    rng: np.random.Generator,
) -> ExpectedGain | str:
    """Try out on the labelled rows what labelling further ones gains.

    Each time a part is held out to judge, most of the rest counts as labelled, and of the remainder `count` rows (or
    as many as an eighth of the rest) are labelled: chosen as `choose` does, and at random. The curve falls ever more
    slowly: beyond the labels that are there, less is to be expected.

    Args:
        matrix, target: as for `Committee`, n labelled rows.
        count: how many labels are to be added.
        labels: how many there are, where these are a sample of them; None for n.
        moments: shape (n,), when each row happened; the latest then judge what is learned from those before.
        rng: draws the parts.
    Returns:
        the gain; or why it can't be told, as a sentence.
    Source:
        Nadeau & Bengio (2003), Machine Learning 52, for an interval over repeats that share rows.
    """
    late = None if moments is None else _latest(moments)
    earlier = None if moments is None or late is None else np.flatnonzero(moments < _first(moments, late))
    judged = round(JUDGING_SHARE * len(target)) if late is None else (len(late) + 1) // 2
    learnable = len(target) - judged if earlier is None else len(earlier)
    added = min(count, learnable // (2 * POOL_A_LABEL))
    if len(target) < LEAST_LABELS or not judged or not added:
        return f"{len(target)} labels are too few to try it out: about {LEAST_LABELS} are needed."
    start = learnable - POOL_A_LABEL * added
    gains = []
    for _ in range(repeats):
        if late is None or earlier is None:
            order = rng.permutation(len(target))
            judge, rest = order[:judged], order[judged:]
        else:
            judge, rest = rng.permutation(late)[:judged], rng.permutation(earlier)
        known, pool = rest[:start], rest[start:]
        if can_ask_models(target[known], goal):
            gains.append(_tried(matrix, target, goal, known, pool, judge, added, rng))
    if len(gains) < max(3, repeats // 2):
        return "There are too few labels of each class to try it out."
    told, ratio = np.array(gains), judged / (start + added)
    metrics = {
        name: Tried(*(mean_of_repeats(values, ratio) for values in (chosen, random, chosen - random)))
        for name, chosen, random in zip(_judged_by(goal), told[:, 0].T, told[:, 1].T, strict=True)
    }
    # a + b / m falls by b k / (m (m + k)) from m labels to m + k.
    there = len(target) if labels is None else labels
    scale = count / (there * (there + count)) * start * (start + added) / added
    first = metrics[PRIMARY[goal.task]].chosen
    now = Estimate(first.value * scale, *(None if end is None else end * scale for end in (first.low, first.high)))
    return ExpectedGain(start, added, len(gains), metrics, now)


def measured_gain(
    matrix: FloatArray,
    target: FloatArray,
    goal: ForecastKind,
    *,
    before: int,
    moments: IntArray | None = None,
    rng: np.random.Generator,
) -> Comparison | str:
    """What labels that came gained: models that learned with them against models without, on the same rows.

    The rows that judge had their labels before; each is forecast by models that haven't learned from it.

    Args:
        matrix, target: as for `Committee`: first the rows that had labels before, then those that got them since.
        before: how many had labels before.
        moments: shape (n,), when each row happened, or None; the latest third of the earlier labels then judges, and
            nothing is learned from rows that aren't older.
    Returns:
        the comparison, with the models that learned from the new labels as the candidate; or why it can't be told.
    """
    old, new = np.arange(before), np.arange(before, len(target))
    if moments is None:
        fold = dealt(target[:before], FOLDS, rng)
        rounds = [(np.flatnonzero(fold != at), new, np.flatnonzero(fold == at)) for at in range(FOLDS)]
    else:
        judge = _latest(moments[:before])
        if not len(judge):
            return "The rows that had labels have too few different times to hold out the latest."
        earlier = moments < _first(moments, judge)
        rounds = [(old[earlier[:before]], new[earlier[before:]], judge)]
        if not len(rounds[0][1]):
            return "The rows labelled since are as late as those that had labels: nothing later is there to judge them."
    judged = np.concatenate([judge for _, _, judge in rounds])
    if len(judged) < MINIMUM_ROWS or not all(can_ask_models(target[known], goal) for known, _, _ in rounds):
        return "Too few rows had labels before to judge by them."
    said: tuple[list[FloatArray], list[FloatArray]] = ([], [])
    for known, more, judge in rounds:
        for part, rows in zip(said, (np.concatenate([known, more]), known), strict=True):
            part.append(Committee(matrix[rows], target[rows], goal, rng).forecasts(matrix[judge]).mean)
    first, second = (_as_metrics_take_it(np.concatenate(part), goal) for part in said)
    return compare_predictions(_typed(target[judged], goal), first, second, task=goal.task, rng=rng)


def scores(committee: Committee, matrix: FloatArray, target: FloatArray) -> FloatArray:
    """How good a committee's forecasts are, higher is better: the metrics of `ExpectedGain`, losses negative."""
    goal = committee.goal
    said = _as_metrics_take_it(committee.forecasts(matrix).mean, goal)
    found = {measure.name: measure for measure in measures(_typed(target, goal), said, task=goal.task)}
    chosen = [found[name] for name in _judged_by(goal)]
    return np.array([measure.value if measure.higher_is_better else -measure.value for measure in chosen])


def _judged_by(goal: ForecastKind) -> tuple[str, ...]:
    return (PRIMARY[goal.task], "accuracy") if goal.classes else (PRIMARY[goal.task],)


def _tried(
    matrix: FloatArray,
    target: FloatArray,
    goal: ForecastKind,
    known: IntArray,
    pool: IntArray,
    judge: IntArray,
    added: int,
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray]:
    """By how much the scores rise with chosen labels, and with random ones."""
    asked = Committee(matrix[known], target[known], goal, rng)
    before = scores(asked, matrix[judge], target[judge])
    chosen = pool[choose_with(asked, target[known], matrix[pool], count=added, rng=rng).rows]
    drawn = rng.permutation(pool)[: len(chosen)]
    gained = []
    for more in (chosen, drawn):
        rows = np.concatenate([known, more])
        after = scores(Committee(matrix[rows], target[rows], goal, rng), matrix[judge], target[judge])
        gained.append(after - before)
    return gained[0], gained[1]


def _latest(moments: IntArray) -> IntArray:
    """The rows of the last moments, about a third of all; none where nothing would be earlier."""
    late = np.flatnonzero(moments >= np.quantile(moments, 1.0 - JUDGING_SHARE))
    return late if len(late) < len(moments) else late[:0]


def _first(moments: IntArray, rows: IntArray) -> int:
    return int(moments[rows].min()) if len(rows) else int(moments.min())


def mean_of_repeats(values: FloatArray, ratio: float) -> Estimate:
    """The mean of repeats that share rows, with its interval.

    Args:
        values: shape (n,), n >= 2.
        ratio: of the rows that judge to those that are learned from.

    >>> told = mean_of_repeats(np.array([1.0, 2.0, 3.0]), 0.5)
    >>> round(told.value, 3), round(told.high - told.value, 3)  # 4.303 * sqrt(1 / 3 + 1 / 2)
    (2.0, 3.928)
    """
    repeats = len(values)
    deviation = float(values.std(ddof=1)) * math.sqrt(1.0 / repeats + ratio)
    half = float(student.ppf(0.5 + LEVEL / 2.0, repeats - 1)) * deviation
    middle = float(values.mean())
    return Estimate(middle, middle - half, middle + half)


def _as_metrics_take_it(said: FloatArray, goal: ForecastKind) -> FloatArray:
    if goal.task == "multiclass":
        return said
    return said[:, 1] if goal.task == "binary" else said[:, 0]


def _typed(target: FloatArray, goal: ForecastKind) -> FloatArray | IntArray:
    return target.astype(np.int64) if goal.classes else target
