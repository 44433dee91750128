"""Several models' outputs as the features of one more: a logistic or ridge regression that is held near their mean.

Source: Wolpert (1992), Neural Networks 5(2), for stacking; Breiman (1996), Machine Learning 24, for weights that aren't
negative; Ting & Witten (1999), JAIR 10, for probabilities as the features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from mcp_server.core.metrics import Task
from mcp_server.core.predictor.batch import shares_of
from mcp_server.core.training.calibrate import fit_temperature
from mcp_server.core.tuning.blending import Combination

FloatArray = NDArray[np.float64]

STRENGTH = 10.0
"""Of the pull towards equal weights, in rows: enough that alike models share a weight, soon outweighed by rows."""

_LARGEST = 20.0  # weight of a model whose outputs have their own temperature already
_LEAST = 1e-3
_STOP = {"ftol": 1e-12, "maxiter": 500}


def stack(outputs: Sequence[FloatArray], target: FloatArray, task: Task) -> Combination:
    """Learn how much of each model's outputs makes the best forecast.

    Args:
        outputs: of each model, shape (n, outputs), of rows that it didn't learn from.
        target: shape (n,).
    Returns:
        a weight for each model, none negative, 0 for one that adds next to nothing, and an intercept for each output.
        The same for the same input.
    """
    scales = [_scale(one, target, task) for one in outputs]
    scaled = np.stack([one / scale for one, scale in zip(outputs, scales, strict=True)])
    count, rows, width = scaled.shape
    # Deviations in units that a row's loss has: the target's variance, or nats.
    unit = max(float(target.var()), 1e-300) if task == "regression" else 1.0
    spread = float(scaled.var(axis=1).mean()) / unit
    truth = _truth(target, width, task)
    # Between classes a level of each would be as many more free parameters.
    free = width == 1
    centre = float(truth.mean()) if task == "regression" else 0.0
    scaled = scaled - centre

    def loss(told: FloatArray) -> tuple[float, FloatArray]:
        weights, level = told[:count], float(told[count:].sum())
        made = np.tensordot(weights, scaled, axes=1) + level
        gap, total = _gaps(made, truth, centre, task)
        pull = weights - 1.0 / count
        value = total / unit + 0.5 * STRENGTH * spread * float(pull @ pull)
        slope = np.concatenate(
            [(scaled * gap).sum(axis=(1, 2)) / unit + STRENGTH * spread * pull, [float(gap.sum()) / unit] * free]
        )
        return value / rows, slope / rows

    begin = np.concatenate([np.full(count, 1.0 / count), np.zeros(int(free))])
    bounds = [(0.0, _LARGEST)] * count + [(None, None)] * int(free)
    # Threads would add the same products in another order.
    with threadpool_limits(limits=1, user_api="blas"):
        found = minimize(
            loss, begin, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-12, "maxiter": 500}
        )
    weights = np.where(found.x[:count] < _LEAST, 0.0, found.x[:count])
    level = float(found.x[count]) if free else 0.0
    told = weights / np.array(scales)
    return Combination(told.tolist(), [level + centre * (1.0 - float(weights.sum()))] * width)


def _scale(outputs: FloatArray, target: FloatArray, task: Task) -> float:
    """What a model's outputs are divided by, so that equal weights mean equal say."""
    if task == "regression":
        return 1.0
    logits = outputs if outputs.shape[1] > 1 else np.column_stack([np.zeros(len(outputs)), outputs])
    return fit_temperature(logits, target.astype(np.int64))


def _truth(target: FloatArray, width: int, task: Task) -> FloatArray:
    if task != "multiclass":
        return target.reshape(-1, 1)
    return np.asarray(target[:, None] == np.arange(width), dtype=np.float64)


def _gaps(made: FloatArray, truth: FloatArray, centre: float, task: Task) -> tuple[FloatArray, float]:
    """The slope of the rows' losses by the outputs, shape (n, outputs), and their sum: half squares, or log losses."""
    if task == "regression":
        gap: FloatArray = made + centre - truth
        return gap, 0.5 * float((gap**2).sum())
    shares = shares_of(made)
    if task == "binary":
        odds = np.logaddexp(0.0, made) - truth * made
        return shares[:, 1:] - truth, float(odds.sum())
    shifted = made - made.max(axis=1, keepdims=True)
    total = np.log(np.exp(shifted).sum(axis=1)) - (shifted * truth).sum(axis=1)
    return shares - truth, float(total.sum())
