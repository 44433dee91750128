"""The estimators: a linear baseline, boosted trees and extremely randomised trees.

Source: Friedman (2001), Annals of Statistics 29(5), for boosting; Ke et al. (2017), NeurIPS, for its histograms;
Geurts, Ernst & Wehenkel (2006), Machine Learning 63(1), for extra trees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from mcp_server.core.metrics import Task
from mcp_server.core.predictor.scoring import LARGEST_SINGLE
from mcp_server.errors import TrainingRefused

FloatArray = NDArray[np.float64]

Algorithm = Literal["linear", "boosting", "extra_trees"]

MAX_NODES = 300_000
"""Of all trees of a model together: a serving form of about 15 MB."""

_LARGEST = 1e100  # squares of larger numbers, which the scaler takes, leave the range of a double
MOST_CURVE_POINTS = 50
_NEWTON_CELLS = 1_000  # coefficients up to which Newton's method, which converges to the last digits, is cheap


@dataclass(frozen=True, slots=True)
class BoostingParameters:
    """What boosting is told; recorded with the model.

    Args:
        learning_rate: share of each tree that is added.
        iterations: at most this many trees for each output; fewer where validation rows say so.
        leaves: of a tree, at most.
        l2: penalty on a leaf's value.
        minimum_leaf: rows in a leaf, at least.
        max_features: share of the features that a split may look at.
    """

    learning_rate: float = 0.05
    iterations: int = 300
    leaves: int = 15
    l2: float = 1.0
    minimum_leaf: int = 20
    max_features: float = 1.0


@dataclass(frozen=True, slots=True)
class ExtraTreesParameters:
    """What extra trees are told; recorded with the model.

    Args:
        trees: how many.
        minimum_leaf: rows in a leaf, at least.
        max_features: share of the features that a split may look at.
    """

    trees: int = 200
    minimum_leaf: int = 1
    max_features: float = 0.5


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted scikit-learn estimator on the encoded matrix.

    Args:
        estimator: `Pipeline` of a scaler and a linear model, a histogram gradient boosting, or extra trees.
        task: of the target.
        parameters: what it was told and what was chosen, as JSON.
        curve: `iterations` with the loss (`train`, `validation`) after each, evenly thinned, and the one `chosen`; None
            where none was watched.
    """

    estimator: Any
    task: Task
    parameters: dict[str, Any]
    curve: dict[str, Any] | None = None


def fit(
    algorithm: Algorithm,
    matrix: FloatArray,
    target: FloatArray,
    *,
    task: Task,
    parameters: Mapping[str, Any],
    rng: np.random.Generator,
) -> Fitted:
    """Fit with given parameters; of boosting they name the iterations."""
    if algorithm == "linear":
        return fit_linear(matrix, target, task=task, **parameters)
    if algorithm == "extra_trees":
        return fit_extra_trees(matrix, target, task=task, parameters=ExtraTreesParameters(**parameters), rng=rng)
    told = BoostingParameters(**parameters)
    return fit_boosting(matrix, target, task=task, parameters=told, exactly=True, rng=rng)


def fit_linear(matrix: FloatArray, target: FloatArray, *, task: Task, penalty: float = 1.0) -> Fitted:
    """Logistic regression, or ridge regression for numbers, on standardised columns.

    Args:
        matrix: shape (n, width), finite, of a `linear` preparation.
        target: shape (n,), class indexes, each at least once, or numbers.
        penalty: of the squared coefficients of the standardised columns, at least 0.
    Returns:
        the same for the same input: one thread, a method that converges to the last digits where that's affordable.
    Raises:
        TrainingRefused: numbers are too large to be squared.
    """
    _require_moderate(matrix, target if task == "regression" else None)
    model: Any
    if task == "regression":
        model = Ridge(alpha=penalty, solver="cholesky")
    else:
        cells = matrix.shape[1] * (len(np.unique(target)) if task == "multiclass" else 1)
        newton = cells <= _NEWTON_CELLS
        model = LogisticRegression(
            C=1.0 / penalty if penalty else np.inf,
            solver="newton-cholesky" if newton else "lbfgs",
            tol=1e-8 if newton else 1e-6,
            max_iter=200 if newton else 2_000,
        )
        target = target.astype(np.int64)
    estimator = Pipeline([("scale", StandardScaler()), ("model", model)])
    # Threads would add the same products in another order.
    with threadpool_limits(limits=1, user_api="blas"):
        estimator.fit(matrix, target)
    return Fitted(estimator, task, {"algorithm": "linear", "penalty": penalty})


def fit_boosting(
    matrix: FloatArray,
    target: FloatArray,
    *,
    task: Task,
    validation: tuple[FloatArray, FloatArray] | None = None,
    parameters: BoostingParameters | None = None,
    exactly: bool = False,
    threads: int = 1,
    rng: np.random.Generator,
) -> Fitted:
    """Histogram gradient boosting.

    Args:
        matrix: shape (n, width), of a `trees` preparation; NaN where missing.
        target: shape (n,), class indexes, each at least once, or numbers.
        validation: (matrix, target) of rows that aren't in `matrix`, later ones where there is a time: the number of
            iterations with the least loss on them is taken, and all rows are learned from with it. Without them, or
            where their classes aren't all in `target`, a third of the iterations are made.
        exactly: make the iterations that the parameters say, without validation rows.
        threads: to compute with; the result doesn't depend on it. On a busy machine more than one is many times
            slower, because they wait for each other at every step.
        rng: seeds the choice of features at a split, where `max_features` is below 1.
    Returns:
        the same for the same input and seed.
    """
    told = parameters or BoostingParameters()
    seed = int(rng.integers(2**31 - 1))
    iterations = told.iterations if exactly else max(1, told.iterations // 3)
    chosen_on, curve = 0, None
    with threadpool_limits(limits=threads, user_api="openmp"):
        if validation is not None and len(validation[1]) and _covered(target, validation[1], task):
            iterations, _, curve = _stopped(matrix, target, validation, task, told, seed)
            chosen_on = len(validation[1])
        if validation is not None:
            matrix = np.concatenate([matrix, validation[0]])
            target = np.concatenate([target, validation[1]])
        estimator = _boosting(task, told, iterations, seed)
        estimator.fit(matrix, _typed(target, task))
    # Needed while fitting only; without it the stored form holds no random generator to rebuild.
    estimator._feature_subsample_rng = None
    made = {
        "algorithm": "boosting",
        **asdict(told),
        "iterations": iterations,
        "validation_rows": chosen_on,
        "seed": seed,
    }
    return Fitted(estimator, task, made, curve)


def stopped_boosting(
    matrix: FloatArray,
    target: FloatArray,
    validation: tuple[FloatArray, FloatArray],
    *,
    task: Task,
    parameters: BoostingParameters,
    rng: np.random.Generator,
) -> tuple[int, float]:
    """How many iterations are best on validation rows, and the loss there with so many.

    Args:
        as for `fit_boosting`; every class of the validation rows is in `target`.
    Returns:
        (iterations, loss): the log loss in nats, or the root of the mean squared error.
    """
    with threadpool_limits(limits=1, user_api="openmp"):
        seed = int(rng.integers(2**31 - 1))
        iterations, loss, _ = _stopped(matrix, target, validation, task, parameters, seed)
    # scikit-learn's loss is half of the squared error.
    return iterations, float((2.0 * loss) ** 0.5) if task == "regression" else loss


def fit_extra_trees(
    matrix: FloatArray,
    target: FloatArray,
    *,
    task: Task,
    parameters: ExtraTreesParameters | None = None,
    rng: np.random.Generator,
) -> Fitted:
    """Extra trees, on numbers in single precision, no deeper than 40 and with at most `MAX_NODES` nodes in all.

    Args:
        matrix: shape (n, width), of a `trees` preparation; NaN where missing.
        target: shape (n,), class indexes, each at least once, or numbers.
        rng: seeds the thresholds and the choice of features.
    Returns:
        the same for the same input and seed.
    Raises:
        TrainingRefused: a number is beyond single precision.
    """
    told = parameters or ExtraTreesParameters()
    _require_moderate(np.nan_to_num(matrix), largest=LARGEST_SINGLE)
    leaves = MAX_NODES // (2 * told.trees)
    seed = int(rng.integers(2**31 - 1))
    kind = ExtraTreesRegressor if task == "regression" else ExtraTreesClassifier
    estimator = kind(
        n_estimators=told.trees,
        min_samples_leaf=told.minimum_leaf,
        max_features=told.max_features,
        max_depth=40,
        max_leaf_nodes=leaves if len(target) // told.minimum_leaf > leaves else None,
        n_jobs=1,
        random_state=seed,
    )
    estimator.fit(matrix, _typed(target, task))
    return Fitted(estimator, task, {"algorithm": "extra_trees", **asdict(told), "seed": seed})


def _stopped(
    matrix: FloatArray,
    target: FloatArray,
    validation: tuple[FloatArray, FloatArray],
    task: Task,
    told: BoostingParameters,
    seed: int,
) -> tuple[int, float, dict[str, Any]]:
    trial = _boosting(task, told, told.iterations, seed)
    trial.set_params(early_stopping=True, n_iter_no_change=20, tol=0.0, scoring="loss")
    trial.fit(matrix, _typed(target, task), X_val=validation[0], y_val=_typed(validation[1], task))
    # The first score is of the constant forecast, before any tree.
    best = max(1, int(np.argmax(trial.validation_score_)))
    return best, -float(trial.validation_score_[best]), _curve(trial, best)


def _curve(trial: Any, best: int) -> dict[str, Any]:
    last = len(trial.validation_score_) - 1
    shown = np.unique(np.append(np.linspace(0, last, min(last + 1, MOST_CURVE_POINTS)).round().astype(int), best))
    return {
        "iterations": shown.tolist(),
        "train": [round(-float(trial.train_score_[i]), 6) for i in shown],
        "validation": [round(-float(trial.validation_score_[i]), 6) for i in shown],
        "chosen": best,
    }


def _boosting(task: Task, told: BoostingParameters, iterations: int, seed: int) -> Any:
    kind = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    return kind(
        learning_rate=told.learning_rate,
        max_iter=iterations,
        max_leaf_nodes=told.leaves,
        l2_regularization=told.l2,
        min_samples_leaf=told.minimum_leaf,
        max_features=told.max_features,
        categorical_features=None,
        early_stopping=False,
        random_state=seed,
    )


def _typed(target: FloatArray, task: Task) -> NDArray[Any]:
    return target if task == "regression" else target.astype(np.int64)


def _covered(target: FloatArray, validation: FloatArray, task: Task) -> bool:
    return task == "regression" or bool(np.isin(validation, target).all())


def _require_moderate(matrix: FloatArray, target: FloatArray | None = None, *, largest: float = _LARGEST) -> None:
    found = max((float(np.abs(part).max()) for part in (matrix, target) if part is not None and part.size), default=0.0)
    if not found < largest:
        raise TrainingRefused(
            "A number is too large for this kind of model.",
            hint="Check the units and the outliers with validate_data.",
        )
