"""Two unlike models that forecast a target together: what they are unsure of, and where they contradict each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from mcp_server.core.metrics import Task
from mcp_server.core.training.calibrate import fit_temperature

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

FOLDS = 3
_TREES = 60
_TRIED_COLUMNS = 32  # at a split of numbers
_PENALTY = 1.0
_FARTHEST = 12.0
"""Standard deviations at which a value is far enough; a linear forecast beyond is no forecast."""
_LEAST = 1e-6
"""The least probability that a forecast gives a class: none is impossible."""


@dataclass(frozen=True, slots=True)
class ForecastKind:
    """What is forecast.

    Args:
        task: binary, multiclass or regression.
        classes: how many there are; 0 for a regression.
    """

    task: Task
    classes: int


@dataclass(frozen=True, slots=True)
class Forecasts:
    """What the two models say of some rows.

    Args:
        linear, trees: shape (n, classes), probabilities; or shape (n, 1), values.
        spread: shape (n,), by how much the trees contradict each other, in the target's unit; zeros for classes.
    """

    linear: FloatArray
    trees: FloatArray
    spread: FloatArray

    @property
    def mean(self) -> FloatArray:
        """The forecast of both, shape (n, classes) or (n, 1)."""
        return (self.linear + self.trees) / 2.0


class Committee:
    """A linear model and a forest, each calibrated on rows that it hadn't seen.

    Args:
        matrix: shape (n, width), finite: the rows to learn from.
        target: shape (n,), class indexes or numbers.
        rng: draws the folds and the forest's seed.
    """

    def __init__(self, matrix: FloatArray, target: FloatArray, goal: ForecastKind, rng: np.random.Generator) -> None:
        self.goal = goal
        seed = int(rng.integers(2**31 - 1))
        with threadpool_limits(limits=1):
            self._temperatures = (1.0, 1.0)
            if goal.classes:
                self._temperatures = self._calibrated(matrix, target, seed, rng)
            self._models = _fitted(matrix, target, goal, seed)

    def forecasts(self, matrix: FloatArray) -> Forecasts:
        """What both models say of rows, shape (n, width)."""
        with threadpool_limits(limits=1):
            linear, trees, spread = _raw(self._models, matrix, self.goal)
        if self.goal.classes:
            linear, trees = (_tempered(part, t) for part, t in zip((linear, trees), self._temperatures, strict=True))
        return Forecasts(linear, trees, spread)

    def _calibrated(
        self, matrix: FloatArray, target: FloatArray, seed: int, rng: np.random.Generator
    ) -> tuple[float, float]:
        """Both models' temperatures, from forecasts out of fold."""
        fold = dealt(target, FOLDS, rng)
        said = [np.zeros((len(target), self.goal.classes)) for _ in range(2)]
        for at in range(FOLDS):
            learn, judge = np.flatnonzero(fold != at), np.flatnonzero(fold == at)
            found = _raw(_fitted(matrix[learn], target[learn], self.goal, seed), matrix[judge], self.goal)
            for part, own in zip(said, found[:2], strict=True):
                part[judge] = own
        first, second = (fit_temperature(_logs(part), target.astype(np.int64)) for part in said)
        return first, second


def dealt(target: FloatArray, folds: int, rng: np.random.Generator) -> IntArray:
    """The fold of each row, shape (n,): each class, or each stretch of the numbers, is dealt out evenly."""
    order = rng.permutation(len(target))
    order = order[np.argsort(target[order], kind="stable")]
    fold = np.empty(len(target), dtype=np.int64)
    fold[order] = np.arange(len(target)) % folds
    return fold


def _fitted(matrix: FloatArray, target: FloatArray, goal: ForecastKind, seed: int) -> tuple[Any, Any, Any]:
    scale = StandardScaler().fit(matrix)
    scaled = _scaled(scale, matrix)
    linear: Any
    trees: Any
    if goal.classes:
        target = target.astype(np.int64)
        linear = LogisticRegression(C=1.0 / _PENALTY, max_iter=200, tol=1e-3)
        trees = ExtraTreesClassifier(n_estimators=_TREES, random_state=seed, n_jobs=1)
    else:
        linear = Ridge(alpha=_PENALTY)
        share = min(1.0, _TRIED_COLUMNS / matrix.shape[1])
        trees = ExtraTreesRegressor(
            n_estimators=_TREES, min_samples_leaf=2, max_features=share, random_state=seed, n_jobs=1
        )
    return scale, linear.fit(scaled, target), trees.fit(matrix, target)


def _raw(
    models: tuple[Any, Any, Any], matrix: FloatArray, goal: ForecastKind
) -> tuple[FloatArray, FloatArray, FloatArray]:
    scale, linear, trees = models
    scaled = _scaled(scale, matrix)
    if not goal.classes:
        each = np.array([tree.predict(matrix.astype(np.float32)) for tree in trees.estimators_])
        return linear.predict(scaled)[:, None], each.mean(axis=0)[:, None], each.std(axis=0)
    both = []
    for model, rows in ((linear, scaled), (trees, matrix)):
        shares = np.zeros((len(matrix), goal.classes))
        # A class without a row to learn from has no column in what the model says.
        shares[:, model.classes_] = model.predict_proba(rows)
        both.append(shares)
    return both[0], both[1], np.zeros(len(matrix))


def _scaled(scale: Any, matrix: FloatArray) -> FloatArray:
    scaled: FloatArray = np.clip(scale.transform(matrix), -_FARTHEST, _FARTHEST)
    return scaled


def _logs(shares: FloatArray) -> FloatArray:
    # A forest is sure only as far as it has trees.
    doubt = 0.5 / _TREES
    logs: FloatArray = np.log((shares + doubt / shares.shape[1]) / (1.0 + doubt))
    return logs


def _tempered(shares: FloatArray, temperature: float) -> FloatArray:
    logs = _logs(shares) / temperature
    raised: FloatArray = np.exp(logs - logs.max(axis=1, keepdims=True))
    raised = np.maximum(raised / raised.sum(axis=1, keepdims=True), _LEAST)
    raised /= raised.sum(axis=1, keepdims=True)
    return raised
