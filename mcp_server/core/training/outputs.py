"""What a scikit-learn estimator says, in the numbers that its serving form gives, and how wrong they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcp_server.core.metrics import Task
from mcp_server.core.predictor.forest import in_single, outputs_of_means
from mcp_server.core.predictor.form import Averaged, Blend, Estimator

FloatArray = NDArray[np.float64]


def estimator_outputs(estimator: Any, part: Estimator, matrix: FloatArray, task: Task) -> FloatArray:
    """The outputs before calibration, shape (n, outputs), asked of the estimator itself.

    Args:
        estimator: of the training form; for a blend the list of its members' estimators.
        part: the estimator of the serving form: it has the weights and slices, and the floor of shares.
        matrix: encoded rows, shape (n, form.width).
    """
    if isinstance(part, Blend):
        total: FloatArray = np.array(part.intercepts or [0.0])
        for one, member in zip(estimator, part.members, strict=True):
            columns = matrix[:, member.start : member.start + member.width]
            total = total + member.weight * estimator_outputs(one, member.estimator, columns, task)
        return total
    if isinstance(part, Averaged):
        return averaged_outputs(estimator, matrix, part.floor, task)
    ask = estimator.predict if task == "regression" else estimator.decision_function
    return np.asarray(ask(matrix), dtype=np.float64).reshape(len(matrix), -1)


def averaged_outputs(estimator: Any, matrix: FloatArray, floor: float, task: Task) -> FloatArray:
    """The outputs of extra trees, shape (n, outputs)."""
    rounded = in_single(matrix)
    if task == "regression":
        return np.asarray(estimator.predict(rounded), dtype=np.float64).reshape(-1, 1)
    shares = np.asarray(estimator.predict_proba(rounded), dtype=np.float64)
    return outputs_of_means(shares[:, 1:] if shares.shape[1] == 2 else shares, floor, task)


def row_losses(outputs: FloatArray, target: FloatArray, task: Task) -> FloatArray:
    """The loss of each row, shape (n,): log loss in nats of uncalibrated outputs, or the squared error.

    >>> [round(float(loss), 4) for loss in row_losses(np.array([[0.0], [2.0]]), np.array([1.0, 1.0]), "binary")]
    [0.6931, 0.1269]
    """
    if task == "regression":
        squares: FloatArray = (outputs[:, 0] - target) ** 2
        return squares
    if task == "binary":
        odds: FloatArray = np.logaddexp(0.0, outputs[:, 0]) - target * outputs[:, 0]
        return odds
    shifted = outputs - outputs.max(axis=1, keepdims=True)
    losses: FloatArray = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(target)), target.astype(np.int64)]
    return losses


def score(losses: FloatArray, task: Task) -> float:
    """The metric that decides, of the losses of rows: their mean, or its root for a regression."""
    mean = float(losses.mean())
    return float(mean**0.5) if task == "regression" else mean
