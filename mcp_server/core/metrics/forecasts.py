"""The metrics of a task: which there are, and how to make them of a target and its forecasts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from mcp_server.core.metrics.measure import (
    Determination,
    FloatArray,
    IntArray,
    MeanLoss,
    Measure,
    RootMeanSquare,
    class_indexes,
    numbers,
    same_length,
)
from mcp_server.core.metrics.rank import AveragePrecision, MacroArea, RankArea
from mcp_server.core.metrics.reliability import CalibrationError
from mcp_server.errors import BadSample

Task = Literal["binary", "multiclass", "regression"]

PRIMARY: dict[str, str] = {"binary": "log_loss", "multiclass": "log_loss", "regression": "rmse"}
"""The metric that decides: a proper score, or the error that training minimised."""

_EPSILON = float(np.finfo(np.float64).eps)


def measures(target: Sequence[float] | FloatArray | IntArray, forecast: object, *, task: Task) -> list[Measure]:
    """Every metric of a task.

    Args:
        target: shape (n,): 1 where the second class happened (binary), class indexes (multiclass), or numbers.
        forecast: probabilities of the second class, shape (n,); of each class, shape (n, classes); or numbers.
    Returns:
        binary: log_loss (nats), brier, roc_auc, average_precision, accuracy, calibration_error; multiclass: log_loss,
        brier (of all classes together), accuracy, macro_roc_auc, calibration_error (of the most probable class);
        regression: rmse, mae (target's unit), r2.
        A metric that this sample can't have (an area with one class, R2 of a constant target) is left out.
    Raises:
        BadSample: shapes differ, a number isn't finite, or a probability is outside [0, 1].
    """
    if task == "binary":
        return _binary(target, forecast)
    if task == "multiclass":
        return _multiclass(target, forecast)
    return _regression(target, forecast)


def row_losses(target: Sequence[float] | FloatArray | IntArray, forecast: object, *, task: Task) -> FloatArray:
    """What each row adds to the metric that decides: its log loss in nats, or its squared error, shape (n,).

    Args:
        target, forecast: as for `measures`.
    Raises:
        BadSample: as for `measures`.
    """
    if task == "regression":
        actual, values = numbers(target, "The target"), numbers(forecast, "The forecast")
        same_length(actual, values)
        return (values - actual) ** 2
    if task == "binary":
        share = probability(forecast)
        shares = np.column_stack([1.0 - share, share])
    else:
        shares = class_probabilities(forecast)
    indexes = class_indexes(target, shares.shape[1])
    same_length(indexes, shares)
    return log_losses(indexes, shares)


def log_losses(target: IntArray, probabilities: FloatArray) -> FloatArray:
    """The log loss of each row in nats, shape (n,); a probability of 0 counts as 2.2e-16, as in scikit-learn.

    Args:
        target: class indexes, shape (n,).
        probabilities: shape (n, classes).

    >>> [round(float(loss), 4) for loss in log_losses(np.array([1, 0]), np.array([[0.25, 0.75], [0.5, 0.5]]))]
    [0.2877, 0.6931]
    """
    of_target = probabilities[np.arange(len(target)), target]
    result: FloatArray = -np.log(np.clip(of_target, _EPSILON, 1.0 - _EPSILON))
    return result


def class_probabilities(forecast: object) -> FloatArray:
    """Probabilities of shape (n, classes), rows summing to 1.

    Raises:
        BadSample: another shape, or a row that isn't a distribution.
    """
    shares = np.asarray(forecast, dtype=np.float64)
    if shares.ndim != 2 or not len(shares) or shares.shape[1] < 2:
        raise BadSample("The forecasts must have a probability for each class.", hint="Send n rows of k probabilities.")
    if not (np.isfinite(shares).all() and (shares >= 0.0).all() and np.allclose(shares.sum(axis=1), 1.0, atol=1e-6)):
        raise BadSample("A row of forecasts isn't a distribution.", hint="Probabilities are 0 or more and sum to 1.")
    return shares


def probability(forecast: object) -> FloatArray:
    """Probabilities of shape (n,).

    Raises:
        BadSample: another shape, or a number outside [0, 1].
    """
    shares = numbers(forecast, "The forecast")
    if shares.min() < 0.0 or shares.max() > 1.0:
        raise BadSample(
            "A forecast is outside 0 to 1.",
            hint="Send the probability of the second class; divide per cent by 100.",
        )
    return shares


def _binary(target: object, forecast: object) -> list[Measure]:
    happened = class_indexes(target, 2)
    share = probability(forecast)
    same_length(happened, share)
    positive = happened == 1
    found: list[Measure] = [
        MeanLoss("log_loss", log_losses(happened, np.column_stack([1.0 - share, share]))),
        MeanLoss("brier", (share - happened) ** 2),
    ]
    if positive.any() and not positive.all():
        found += [RankArea(positive, share), AveragePrecision(positive, share)]
    found.append(MeanLoss("accuracy", ((share > 0.5) == positive).astype(np.float64)))
    found.append(CalibrationError(positive, share))
    return found


def _multiclass(target: object, forecast: object) -> list[Measure]:
    shares = class_probabilities(forecast)
    indexes = class_indexes(target, shares.shape[1])
    same_length(indexes, shares)
    right = shares.argmax(axis=1) == indexes
    found: list[Measure] = [
        MeanLoss("log_loss", log_losses(indexes, shares)),
        MeanLoss("brier", ((shares - np.eye(shares.shape[1])[indexes]) ** 2).sum(axis=1)),
        MeanLoss("accuracy", right.astype(np.float64)),
    ]
    if len(np.unique(indexes)) > 1:
        found.append(MacroArea(indexes, shares))
    found.append(CalibrationError(right, shares.max(axis=1)))
    return found


def _regression(target: object, forecast: object) -> list[Measure]:
    actual = numbers(target, "The target")
    values = numbers(forecast, "The forecast")
    same_length(actual, values)
    errors = values - actual
    found: list[Measure] = [RootMeanSquare(errors**2), MeanLoss("mae", np.abs(errors))]
    if len(actual) > 1 and np.ptp(actual) > 0.0:
        found.append(Determination(actual, errors**2))
    return found
