"""Rare classes: learning as if all were equally frequent, and the way back to the rates that the rows came with.

Rows are weighted or left out of what is learned from, never of what judges. Either multiplies the odds of each class
by a known factor; dividing it out of the fitted estimator makes its probabilities those of the rows as they came.

Source: King & Zeng (2001), Political Analysis 9(2), "Logistic regression in rare events data", for the correction by
the prior; Elkan (2001), IJCAI, for the same with any learner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mcp_server.core.metrics import Task

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

Balance = Literal["none", "weights", "undersample"]
BALANCES: tuple[Balance, ...] = ("none", "weights", "undersample")

_RARE = 0.3  # of an equal share: below it the choice is worth trials


@dataclass(frozen=True, slots=True, eq=False)
class Balanced:
    """What is learned from in place of all rows.

    Args:
        rows: indexes, rising.
        weights: of these rows, shape (rows,).
        factors: shape (classes,): what the odds of each class are multiplied by.
    """

    rows: IntArray
    weights: FloatArray
    factors: FloatArray


def imbalanced(target: FloatArray, classes: int) -> bool:
    """Whether the rarest class has under three tenths of an equal share.

    >>> imbalanced(np.array([0.0] * 5 + [1.0]), 2), imbalanced(np.array([0.0] * 6 + [1.0]), 2)
    (False, True)
    """
    counts = np.bincount(target.astype(np.int64), minlength=classes)
    return bool(counts.min() * classes < _RARE * len(target))


def balance_rows(target: FloatArray, kind: Balance, *, rng: np.random.Generator) -> Balanced:
    """Make the classes of rows that are learned from equally frequent.

    Args:
        target: class indexes, shape (n,), each class at least once.
        kind: `weights` keeps every row, `undersample` as many of each class as the rarest has.
        rng: draws the rows that are kept.
    """
    classes = target.astype(np.int64)
    counts = np.bincount(classes)
    if kind == "undersample":
        kept = [rng.permutation(np.flatnonzero(classes == one))[: counts.min()] for one in range(len(counts))]
        rows = np.sort(np.concatenate(kept))
        return Balanced(rows, np.ones(len(rows)), counts.min() / counts)
    factors = len(classes) / (len(counts) * counts)
    return Balanced(np.arange(len(classes)), factors[classes], factors)


def restore_rates(estimator: Any, factors: FloatArray, task: Task) -> None:
    """Divide the factors out of a fitted estimator's odds, in place.

    Args:
        estimator: a pipeline that ends in a linear model, a histogram gradient boosting, or extra trees, whose leaves'
            shares are then those of the rows as they came.
        factors: shape (classes,).
    """
    if hasattr(estimator, "estimators_"):
        for tree in estimator.estimators_:
            shares = tree.tree_.value
            shares[:, 0, :] /= factors
            shares[:, 0, :] /= shares[:, 0, :].sum(axis=1, keepdims=True)
        return
    logs = np.log(factors)
    shift = logs[1:] - logs[:1] if task == "binary" else logs
    if hasattr(estimator, "_baseline_prediction"):
        estimator._baseline_prediction = estimator._baseline_prediction - shift.reshape(1, -1)
    else:
        model = estimator.named_steps["model"]
        model.intercept_ = model.intercept_ - shift
