"""What a model does to one group of rows: each rate with its 95 % interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcp_server.core.fairness.intervals import Rate
from mcp_server.core.metrics import Task, estimate, wilson_interval
from mcp_server.core.metrics.reliability import CalibrationError

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

SMALL = 30
"""Rows of a group below which nothing is concluded from it."""
FEW = 10
"""Rows that a single rate is of, below which nothing is concluded from it."""


@dataclass(frozen=True, slots=True)
class GroupRates:
    """One group.

    Args:
        name: see `Group`.
        rows: how many of the judged rows are in it.
        share, low, high: of the judged rows, with its interval.
        small: whether it has under 30 rows.
        rates: by name; see `rates_of`.
    """

    name: str
    rows: int
    share: float
    low: float
    high: float
    small: bool
    rates: dict[str, Rate]


def rates_of(target: FloatArray, forecast: FloatArray, *, task: Task, rng: np.random.Generator) -> dict[str, Rate]:
    """The rates of some rows.

    Args:
        target: class indexes or numbers, shape (n,), n >= 1.
        forecast: probabilities of the second class, shape (n,); of each class, shape (n, classes); or numbers.
    Returns:
        binary: base_rate (share of the second class), selection_rate (share that is answered with it),
        false_positive_rate, false_negative_rate, calibration_gap (mean forecast less base rate), calibration_error;
        multiclass: error_rate, calibration_gap (of the most probable class), calibration_error; regression:
        mean_error (forecast less target), mean_absolute_error. A rate of no rows is left out.
    """
    if task == "binary":
        happened, selected = target == 1.0, forecast > 0.5
        rates = {
            "base_rate": _share(happened),
            "selection_rate": _share(selected),
            "false_positive_rate": _share(selected[~happened]),
            "false_negative_rate": _share(~selected[happened]),
            **_calibration(happened, forecast, rng),
        }
        return {name: rate for name, rate in rates.items() if rate is not None}
    if task == "multiclass":
        right = forecast.argmax(axis=1) == target
        error = _share(~right)
        assert error is not None
        return {"error_rate": error, **_calibration(right, forecast.max(axis=1), rng)}
    errors = forecast - target
    return {"mean_error": _mean(errors), "mean_absolute_error": _mean(np.abs(errors))}


def _share(rows: BoolArray) -> Rate | None:
    if not len(rows):
        return None
    count = int(rows.sum())
    low, high = wilson_interval(count, len(rows))
    return Rate(count / len(rows), low, high, len(rows))


def _calibration(happened: BoolArray, probability: FloatArray, rng: np.random.Generator) -> dict[str, Rate]:
    error = CalibrationError(happened, probability)
    found = estimate([error], rows=len(happened), rng=rng)[error.name]
    return {
        "calibration_gap": _mean(probability - happened),
        "calibration_error": Rate(found.value, found.low, found.high, len(happened)),
    }


def _mean(values: FloatArray) -> Rate:
    """A mean with the interval of Student's t, whose quantile is by Cornish and Fisher's expansion."""
    value, count = float(values.mean()), len(values)
    if count < FEW:
        return Rate(value, None, None, count)
    z, freedom = 1.959963984540054, count - 1
    t = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    t += (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    half = t * float(values.std(ddof=1)) / count**0.5
    return Rate(value, value - half, value + half, count)
