"""The estimators: a linear baseline, alone or on splines, boosted trees and extremely randomised trees.

Source: Friedman (2001), Annals of Statistics 29(5), for boosting; Ke et al. (2017), NeurIPS, for its histograms;
Geurts, Ernst & Wehenkel (2006), Machine Learning 63(1), for extra trees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
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

from mcp_server.core.metrics import Task, log_losses
from mcp_server.core.predictor.batch import shares_of
from mcp_server.core.predictor.scoring import LARGEST_SINGLE
from mcp_server.core.training.balance import Balance, Balanced, balance_rows, restore_rates
from mcp_server.core.training.light import fit_light, light_parameters
from mcp_server.core.training.outputs import row_losses, score
from mcp_server.core.training.parameters import BoostingParameters, ExtraTreesParameters
from mcp_server.errors import TrainingRefused

FloatArray = NDArray[np.float64]

Algorithm = Literal["linear", "splines", "boosting", "lightgbm", "extra_trees"]

MAX_NODES = 300_000
"""Of all trees of a model together: a serving form of about 15 MB."""

BESIDES = ("balance", "categories", "products")
"""Of an algorithm's parameters, what isn't the estimator's own: how rows and columns reach it."""

_LARGEST = 1e100  # squares of larger numbers, which the scaler takes, leave the range of a double
MOST_CURVE_POINTS = 50
_NEWTON_CELLS = 1_000  # coefficients up to which Newton's method, which converges to the last digits, is cheap


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
    """Fit with given parameters; of boosting they name the iterations.

    Where they name a `balance`, rare classes count for more while learning; the probabilities are those of the rows as
    they came all the same.
    """
    own, besides = apart(parameters)
    balanced = _balanced(target, besides.get("balance", "none"), rng)
    weights = None
    if balanced is not None:
        matrix, target, weights = matrix[balanced.rows], target[balanced.rows], balanced.weights
    if algorithm in ("linear", "splines"):
        fitted = fit_linear(matrix, target, task=task, weights=weights, **own)
        fitted = replace(fitted, parameters={**fitted.parameters, "algorithm": algorithm})
    elif algorithm == "extra_trees":
        told = ExtraTreesParameters(**own)
        fitted = fit_extra_trees(matrix, target, task=task, parameters=told, weights=weights, rng=rng)
    elif algorithm == "lightgbm":
        grown, seed = BoostingParameters(**own), int(rng.integers(2**31 - 1))
        estimator, made = fit_light(matrix, target, task=task, parameters=grown, weights=weights, seed=seed)
        fitted = Fitted(estimator, task, light_parameters(grown, made, seed))
    else:
        fitted = fit_boosting(
            matrix, target, task=task, parameters=BoostingParameters(**own), exactly=True, weights=weights, rng=rng
        )
    if balanced is not None:
        restore_rates(fitted.estimator, balanced.factors, task)
    return replace(fitted, parameters={**fitted.parameters, **besides})


def apart(parameters: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """An estimator's own parameters, and those besides.

    >>> apart({"penalty": 1.0, "balance": "weights"})
    ({'penalty': 1.0}, {'balance': 'weights'})
    """
    besides = {name: parameters[name] for name in BESIDES if name in parameters}
    return {name: value for name, value in parameters.items() if name not in BESIDES}, besides


def fit_linear(
    matrix: FloatArray, target: FloatArray, *, task: Task, penalty: float = 1.0, weights: FloatArray | None = None
) -> Fitted:
    """Logistic regression, or ridge regression for numbers, on standardised columns.

    Args:
        matrix: shape (n, width), finite, of a `linear`, `splines` or `crossed` preparation.
        target: shape (n,), class indexes, each at least once, or numbers.
        penalty: of the squared coefficients of the standardised columns, at least 0.
        weights: of the rows, shape (n,).
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
        estimator.fit(matrix, target, **({} if weights is None else {"model__sample_weight": weights}))
    return Fitted(estimator, task, {"algorithm": "linear", "penalty": penalty})


def fit_boosting(
    matrix: FloatArray,
    target: FloatArray,
    *,
    task: Task,
    validation: tuple[FloatArray, FloatArray] | None = None,
    parameters: BoostingParameters | None = None,
    exactly: bool = False,
    weights: FloatArray | None = None,
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
        weights: of the rows, shape (n,), without validation rows.
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
        estimator.fit(matrix, _typed(target, task), sample_weight=weights)
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
    balance: Balance = "none",
    rng: np.random.Generator,
) -> tuple[int, float]:
    """How many iterations are best on validation rows, and the loss there with so many.

    Args:
        as for `fit_boosting`; every class of the validation rows is in `target`.
        balance: of the rows that are learned from; those of the validation are judged as they come.
    Returns:
        (iterations, loss): the log loss in nats, or the root of the mean squared error.
    """
    with threadpool_limits(limits=1, user_api="openmp"):
        balanced = _balanced(target, balance, rng)
        seed = int(rng.integers(2**31 - 1))
        iterations, loss, _ = _stopped(matrix, target, validation, task, parameters, seed, balanced)
    # scikit-learn's loss is half of the squared error.
    return iterations, float((2.0 * loss) ** 0.5) if task == "regression" else loss


def stopped_light(
    matrix: FloatArray,
    target: FloatArray,
    validation: tuple[FloatArray, FloatArray],
    *,
    task: Task,
    parameters: BoostingParameters,
    balance: Balance = "none",
    rng: np.random.Generator,
) -> tuple[int, float]:
    """As `stopped_boosting`, of LightGBM."""
    balanced = _balanced(target, balance, rng)
    judged, truth = validation
    weights = judged_weights = None
    if balanced is not None:
        matrix, target, weights = matrix[balanced.rows], target[balanced.rows], balanced.weights
        judged_weights = balanced.factors[truth.astype(np.int64)]
    estimator, iterations = fit_light(
        matrix,
        target,
        task=task,
        parameters=parameters,
        weights=weights,
        validation=(judged, truth, judged_weights),
        seed=int(rng.integers(2**31 - 1)),
    )
    if balanced is not None:
        restore_rates(estimator, balanced.factors, task)
    ask = estimator.predict if task == "regression" else estimator.decision_function
    outputs = np.asarray(ask(judged), dtype=np.float64).reshape(len(judged), -1)
    return iterations, score(row_losses(outputs, truth, task), task)


def fit_extra_trees(
    matrix: FloatArray,
    target: FloatArray,
    *,
    task: Task,
    parameters: ExtraTreesParameters | None = None,
    weights: FloatArray | None = None,
    rng: np.random.Generator,
) -> Fitted:
    """Extra trees, on numbers in single precision, no deeper than 40 and with at most `MAX_NODES` nodes in all.

    Args:
        matrix: shape (n, width), of a `trees` preparation; NaN where missing.
        target: shape (n,), class indexes, each at least once, or numbers.
        weights: of the rows, shape (n,).
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
    estimator.fit(matrix, _typed(target, task), sample_weight=weights)
    return Fitted(estimator, task, {"algorithm": "extra_trees", **asdict(told), "seed": seed})


def _stopped(
    matrix: FloatArray,
    target: FloatArray,
    validation: tuple[FloatArray, FloatArray],
    task: Task,
    told: BoostingParameters,
    seed: int,
    balanced: Balanced | None = None,
) -> tuple[int, float, dict[str, Any] | None]:
    trial = _boosting(task, told, told.iterations, seed)
    trial.set_params(early_stopping=True, n_iter_no_change=20, tol=0.0, scoring="loss")
    judged, truth = validation
    if balanced is None:
        trial.fit(matrix, _typed(target, task), X_val=judged, y_val=_typed(truth, task))
        # The first score is of the constant forecast, before any tree.
        best = max(1, int(np.argmax(trial.validation_score_)))
        return best, -float(trial.validation_score_[best]), _curve(trial, best)
    classes = truth.astype(np.int64)
    trial.fit(
        matrix[balanced.rows],
        _typed(target[balanced.rows], task),
        sample_weight=balanced.weights,
        X_val=judged,
        y_val=classes,
        sample_weight_val=balanced.factors[classes],
    )
    # It stopped by the balanced loss; what decides is the loss of the rows as they come.
    restore_rates(trial, balanced.factors, task)
    losses = [
        float(log_losses(classes, shares_of(outputs.reshape(len(classes), -1))).mean())
        for outputs in trial.staged_decision_function(judged)
    ]
    best = int(np.argmin(losses))
    return best + 1, losses[best], None  # its own scores are of balanced rows


def _curve(trial: Any, best: int) -> dict[str, Any]:
    last = len(trial.validation_score_) - 1
    shown = np.unique(np.append(np.linspace(0, last, min(last + 1, MOST_CURVE_POINTS)).round().astype(int), best))
    return {
        "iterations": shown.tolist(),
        # Six significant digits: a target may be in any unit.
        "train": [float(f"{-float(trial.train_score_[i]):.6g}") for i in shown],
        "validation": [float(f"{-float(trial.validation_score_[i]):.6g}") for i in shown],
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


def _balanced(target: FloatArray, kind: Balance, rng: np.random.Generator) -> Balanced | None:
    return None if kind == "none" else balance_rows(target, kind, rng=rng.spawn(1)[0])


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
