"""From scores to probabilities that come true, and from values to intervals, on rows that weren't learned from.

Source: Platt (1999), Advances in Large Margin Classifiers, with the targets of his section 3 and the Newton method of
Lin, Lin & Weng (2007), Machine Learning 68; Guo et al. (2017), ICML, for the temperature; Lei et al. (2018), JASA
113(523), for split conformal intervals; Zadrozny & Elkan (2002), KDD, for isotonic calibration.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import TypeAdapter
from sklearn.isotonic import IsotonicRegression

from mcp_server.core.metrics import Task, log_losses
from mcp_server.core.predictor.batch import BatchPredictor, calibrated, compile_batch, expit
from mcp_server.core.predictor.encodings import MAX_VALUES
from mcp_server.core.predictor.form import Calibration
from mcp_server.core.training.split import MIN_CALIBRATION

FloatArray = NDArray[np.float64]

LEVEL = 0.9
_MIN_CLASS = 10  # rows of each of two classes, below which two parameters would be guesses

_EXTREME, _TURNS = 4.0, 10  # times the line, beyond which an error counts as that much
_LEAST_SCALE = 0.2  # of the mean: that of the earliest errors
_MIN_ISOTONIC = 1_000  # rows, below which its steps follow chance
_CALIBRATION: TypeAdapter[Calibration] = TypeAdapter(Calibration)


def calibrate(
    form: Mapping[str, Any], rows: pl.DataFrame, target: FloatArray, *, level: float = LEVEL
) -> dict[str, Any]:
    """Fit the calibration of a form.

    Args:
        form: a serving form, not calibrated.
        rows: held out of learning and of judging, shape (n, columns).
        target: of these rows, shape (n,): class indexes or numbers.
        level: of a regression's interval.
    Returns:
        a copy of the form: with Platt's two parameters (binary) or a temperature (multiclass) from 200 rows on, with
        a split conformal interval (regression) from 40 rows on; as it was with fewer, with under ten rows of one of
        two classes, or where the scores rank the classes the wrong way round.
    """
    made = dict(form)
    if len(target) < MIN_CALIBRATION[form["task"]]:
        return made
    predictor = compile_batch(form)
    outputs = _outputs(predictor, rows)
    if form["task"] == "regression":
        half = conformal_half_width(np.abs(target - outputs[:, 0]), level=level)
        made["interval"] = {"kind": "split_conformal", "half_width": half, "level": level}
    elif form["task"] == "multiclass":
        made["calibration"] = {"kind": "temperature", "t": fit_temperature(outputs, target.astype(np.int64))}
    elif min(target.sum(), (1 - target).sum()) >= _MIN_CLASS:
        a, b = fit_platt(outputs[:, 0], target == 1.0)
        if a > 0.0:
            made["calibration"] = {"kind": "platt", "a": a, "b": b}
    return made


def fit_platt(scores: FloatArray, happened: NDArray[np.bool_]) -> tuple[float, float]:
    """Platt's scaling: the a and b of `expit(a * score + b)` with the greatest likelihood.

    Args:
        scores: log-odds, shape (n,).
        happened: shape (n,), both classes.
    Returns:
        (a, b); outcomes count as slightly uncertain, by Platt's prior, so that separable scores stay finite.
    """
    positives = int(happened.sum())
    negatives = len(happened) - positives
    goal = np.where(happened, (positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0))
    a, b = 0.0, float(np.log((positives + 1.0) / (negatives + 1.0)))
    loss = _cross_entropy(a * scores + b, goal)
    for _ in range(100):
        shares = expit(a * scores + b)
        gap, curve = shares - goal, np.maximum(shares * (1.0 - shares), 1e-12)
        slope = np.array([(gap * scores).sum(), gap.sum()])
        cross = float((curve * scores).sum())
        bend = np.array([[(curve * scores**2).sum() + 1e-10, cross], [cross, curve.sum() + 1e-10]])
        step = np.linalg.solve(bend, slope)
        size = 1.0
        while size > 1e-10:
            tried = _cross_entropy((a - size * step[0]) * scores + b - size * step[1], goal)
            if tried <= loss:
                break
            size /= 2.0
        a, b, gained, loss = a - size * float(step[0]), b - size * float(step[1]), loss - tried, min(loss, tried)
        if gained < 1e-12 * len(scores) and float(np.abs(slope).max()) < 1e-8 * len(scores):
            break
    return a, b


def fit_temperature(outputs: FloatArray, target: NDArray[np.int64]) -> float:
    """The t > 0 of `softmax(outputs / t)` with the greatest likelihood, between 0.05 and 20.

    Args:
        outputs: shape (n, classes).
        target: class indexes, shape (n,).
    """
    low, high = np.log(0.05), np.log(20.0)
    # The loss has one minimum in 1 / t, so in log t too: a golden section search finds it.
    ratio = (5.0**0.5 - 1.0) / 2.0
    for _ in range(60):
        near, far = high - ratio * (high - low), low + ratio * (high - low)
        if _softmax_loss(outputs / np.exp(near), target) < _softmax_loss(outputs / np.exp(far), target):
            high = far
        else:
            low = near
    return float(np.exp((low + high) / 2.0))


def fit_isotonic(scores: FloatArray, happened: NDArray[np.bool_]) -> tuple[list[float], list[float]]:
    """Rising probabilities at rising scores with the least squared error, at most 1,000 points.

    Args:
        scores: log-odds, shape (n,).
        happened: shape (n,), both classes.
    Returns:
        (x, y); none of y is nearer to 0 or 1 than one row in n + 2.
    """
    fitted = IsotonicRegression(out_of_bounds="clip").fit(scores, happened.astype(np.float64))
    x, first = np.unique(fitted.X_thresholds_, return_index=True)
    y = fitted.y_thresholds_[first]
    if len(x) > MAX_VALUES:
        kept = np.unique(np.linspace(0, len(x) - 1, MAX_VALUES).round().astype(np.int64))
        x, y = x[kept], y[kept]
    edge = 1.0 / (len(scores) + 2.0)
    return x.tolist(), np.clip(y, edge, 1.0 - edge).tolist()


def calibrations(outputs: FloatArray, target: FloatArray, task: Task) -> dict[str, dict[str, Any]]:
    """Each kind of calibration that a form can have, fitted to outputs: kind to the form's part.

    Args:
        outputs: of rows that weren't learned from, shape (n, outputs).
        target: class indexes, shape (n,).
    """
    found: dict[str, dict[str, Any]] = {"none": {"kind": "none"}}
    if task == "multiclass":
        found["temperature"] = {"kind": "temperature", "t": fit_temperature(outputs, target.astype(np.int64))}
    elif min(target.sum(), (1 - target).sum()) >= _MIN_CLASS:
        a, b = fit_platt(outputs[:, 0], target == 1.0)
        if a > 0.0:
            found["platt"] = {"kind": "platt", "a": a, "b": b}
        if len(target) >= _MIN_ISOTONIC:
            x, y = fit_isotonic(outputs[:, 0], target == 1.0)
            found["isotonic"] = {"kind": "isotonic", "x": x, "y": y}
    return found


def choose_calibration(
    outputs: FloatArray, target: FloatArray, parts: NDArray[np.int64], task: Task
) -> tuple[dict[str, Any], FloatArray, dict[str, float]]:
    """The calibration that rows speak for: fitted without each part in turn, judged by log loss on it.

    Args:
        outputs: of rows that weren't learned from, shape (n, outputs).
        target: class indexes, shape (n,).
        parts: of each row, shape (n,), at least two.
    Returns:
        the form's part, fitted to all rows; the probabilities of each row, calibrated without its part, shape
        (n, classes); and the mean log loss of each kind. None is taken unless another one is better by more than a
        standard error of the difference.
    """
    shares: dict[str, FloatArray] = {}
    for part in np.unique(parts):
        inside = parts == part
        for kind, fitted in calibrations(outputs[~inside], target[~inside], task).items():
            made = calibrated(outputs[inside], _CALIBRATION.validate_python(fitted))
            shares.setdefault(kind, np.full((len(target), made.shape[1]), np.nan))[inside] = made
    whole = calibrations(outputs, target, task)
    # One that a part, or all rows together, couldn't fit is no candidate.
    losses = {
        kind: log_losses(target.astype(np.int64), found)
        for kind, found in shares.items()
        if kind in whole and not np.isnan(found).any()
    }
    best = min(losses, key=lambda kind: float(losses[kind].mean()))
    gain = losses["none"] - losses[best]
    if float(gain.mean()) <= float(gain.std() / np.sqrt(len(gain))):
        best = "none"
    return whole[best], shares[best], {kind: float(rows.mean()) for kind, rows in losses.items()}


def conformal_half_width(errors: FloatArray, *, weights: FloatArray | None = None, level: float = LEVEL) -> float:
    """The half width that holds at least a share `level` of new errors, if they come like these.

    Source: Barber et al. (2023), Annals of Statistics 51(2), for errors that count for less the older they are.

    Args:
        errors: absolute, of held-out rows, shape (n,), n >= 1.
        weights: of the errors, shape (n,), positive; None where they all count alike. The new one has the largest.
    Returns:
        the ceil((n + 1) * level)-th smallest error, or the first one that the errors up to it have that share of the
        weights at; the largest where that is beyond n.

    >>> conformal_half_width(np.arange(1.0, 20.0), level=0.9)
    18.0
    >>> conformal_half_width(np.array([1.0, 2.0, 8.0, 9.0]), weights=np.array([4.0, 4.0, 1.0, 1.0]), level=0.5)
    2.0
    """
    order = np.argsort(errors, kind="stable")
    if weights is None:
        rank = min(len(errors), ceil((len(errors) + 1) * level))
        return float(errors[order[rank - 1]])
    reached = np.cumsum(weights[order])
    wanted = level * (reached[-1] + float(weights.max()))
    at = int(np.searchsorted(reached, wanted * (1.0 - 1e-12)))
    return float(errors[order[min(at, len(errors) - 1)]])


def relative_scales(errors: FloatArray, at: FloatArray, *, ahead: float) -> FloatArray:
    """How large errors were in their time, of what a straight line through them expects at a later one.

    An interval from errors that grow with time is too narrow for what comes next; divided by these they are as large
    as the next ones are expected to be. Errors that don't grow stay as they are: an interval never gets narrower. One
    of over four times the line counts as four times, so that no single error bends it.

    Source: Lei et al. (2018), JASA 113(523), section 5.2, for errors that are divided by their scale.

    Args:
        errors: absolute, of held-out rows, shape (n,), n >= 1.
        at: when each was made, shape (n,).
        ahead: when the new ones will be, not before any of these.
    Returns:
        shape (n,), above 0, at most 1.

    >>> relative_scales(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0]), ahead=4.0).tolist()
    [0.25, 0.5, 0.75]
    >>> relative_scales(np.array([3.0, 1.0]), np.array([1.0, 2.0]), ahead=4.0).tolist()
    [1.0, 1.0]
    """
    from_middle = at - at.mean()
    spread = float(from_middle @ from_middle)
    usual, line = errors, np.zeros(0)
    for _ in range(_TURNS):
        level = float(usual.mean())
        slope = float(from_middle @ usual) / spread if spread > 0.0 else 0.0
        # A line that is steep may pass below 0 at its beginning.
        line = np.maximum(level + slope * from_middle, _LEAST_SCALE * level)
        usual = np.minimum(errors, _EXTREME * line)
    if slope <= 0.0:
        return np.ones(len(errors))
    return np.asarray(line / (level + slope * (ahead - float(at.mean()))), dtype=np.float64)


def _outputs(predictor: BatchPredictor, rows: pl.DataFrame) -> FloatArray:
    return predictor.score(predictor.encode(rows))


def _cross_entropy(odds: FloatArray, goal: FloatArray) -> float:
    return float((np.logaddexp(0.0, odds) - goal * odds).sum())


def _softmax_loss(outputs: FloatArray, target: NDArray[np.int64]) -> float:
    shifted = outputs - outputs.max(axis=1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(target)), target]).mean())
