"""Targets that are numbers: values that two unlike models, neither of which has seen the row, agree to be far off."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from mcp_server.core.screening.forests import expected_numbers
from mcp_server.core.screening.half_sample import Floats
from mcp_server.core.screening.table import Bools

LEAST_ROWS = 60
MOST_ROWS = 3_000

_FOLDS = 5
_TREES = 60
_PENALTY = 1.0
_WIDE = 32

_FARTHEST = 12.0
"""Half-widths of the target beyond which a value is only far: farther ones would spoil the models."""

_AROUND = 30
"""Rows by which the usual error at a place is measured."""

_BULK, _BEYOND = (0.5, 0.8), 0.001
"""The part of the errors that says how their tail falls, and the share of an exponential tail beyond the limit."""


@dataclass(frozen=True, slots=True)
class NumberDoubts:
    """What two models say of a target's numbers.

    Args:
        scores: shape (n,), >= 0: how many times as far from the better model's answer as is usual there and in the
            table; less where it isn't far from the other's, 0 where that lies on the other side.
        limit: of `scores`, above which a number is doubted; it follows from how the errors themselves fall off.
        error: the usual error of the better model, as a part of the usual distance from the median; about 1 where it
            has learned nothing.
    """

    scores: Floats
    limit: float
    error: float

    @property
    def doubted(self) -> Bools:
        return self.scores > self.limit


def doubt_numbers(matrix: Floats, target: Floats, rng: np.random.Generator) -> NumberDoubts | None:
    """Doubt numbers by their robust residuals from a linear model and a forest, out of fold.

    One-signed targets that span orders of magnitude are judged by their logarithms. An error is measured by the median
    error of the rows next to it, by features and by prediction, or of the whole table, whichever is largest: noise may
    be wide in one place and narrow in another.

    Args:
        matrix: shape (n, d), finite, n >= `LEAST_ROWS`, d >= 1; about standardised.
        target: shape (n,), finite.
        rng: draws the folds and the forest's seed.
    Returns:
        None where it can't be told: at least half of the numbers are equal.
    """
    goal = _even(target)
    if goal is None:
        return None
    seed = int(rng.integers(2**31))
    features = 0.5 if matrix.shape[1] <= _WIDE else "sqrt"
    linear, forest = np.zeros_like(goal), np.zeros_like(goal)
    with threadpool_limits(limits=1):
        for learn, judge in KFold(_FOLDS, shuffle=True, random_state=seed).split(matrix):
            linear[judge] = _linear(matrix[learn], goal[learn]).predict(matrix[judge])
            forest[judge] = expected_numbers(
                matrix[learn], goal[learn], matrix[judge], seed=seed, trees=_TREES, leaf=2, features=features
            )
    errors = [float(np.median(np.abs(goal - prediction))) for prediction in (linear, forest)]
    better, other = (linear, forest) if errors[0] <= errors[1] else (forest, linear)
    away = (goal - better) / _usual(goal - better, better, matrix)
    too = (goal - other) / _usual(goal - other, other, matrix)
    scores = np.where(away * too > 0, np.abs(away) * np.minimum(np.abs(too), 1.0), 0.0)
    return NumberDoubts(scores, _limit(np.abs(away)), min(errors))


def _even(target: Floats) -> Floats | None:
    """The target, or its logarithm, with median 0 and median distance from it 1, cut where it's only far."""
    values = target / max(float(np.abs(target).max()), np.finfo(np.float64).tiny)
    magnitudes = np.abs(values)
    if (values > 0).all() or (values < 0).all():
        low, middle, high = np.quantile(magnitudes, [0.1, 0.5, 0.9])
        if high - middle > 2 * (middle - low):
            values = np.log(magnitudes)
    away = values - np.median(values)
    width = float(np.median(np.abs(away)))
    return np.clip(away / width, -_FARTHEST, _FARTHEST) if width > 0 else None


def _linear(matrix: Floats, goal: Floats) -> Ridge:
    """A linear model, fitted again without the rows that are far from it."""
    model = Ridge(alpha=_PENALTY).fit(matrix, goal)
    away = np.abs(goal - model.predict(matrix))
    near = away <= 4 * np.median(away)
    return model.fit(matrix[near], goal[near]) if near.sum() > len(goal) / 2 else model


def _usual(residuals: Floats, prediction: Floats, matrix: Floats) -> Floats:
    """The usual size of a residual at each row, > 0."""
    away = np.abs(residuals)
    overall = float(np.median(away))
    around = min(_AROUND, len(away) - 1)
    widths = [np.full(len(away), max(overall, 1e-9))]
    for places in (matrix, prediction[:, None]):
        which = NearestNeighbors(n_neighbors=around, n_jobs=1).fit(places).kneighbors(return_distance=False)
        widths.append(np.median(away[which], axis=1))
    return np.asarray(np.max(widths, axis=0), dtype=np.float64)


def _limit(away: Floats) -> float:
    """Where errors would end if they went on falling exponentially as they do in the bulk of the table."""
    low, high = np.quantile(away, _BULK)
    fall = (high - low) / math.log((1 - _BULK[0]) / (1 - _BULK[1]))
    return float(low + fall * math.log((1 - _BULK[0]) / _BEYOND))
