"""The serving form over a table, with polars and numpy: for large requests, metrics and calibration.

It agrees with the row by row evaluation to 1e-12: sums run in the same order. Not for the server process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mcp_server.core.predictor.flags import FlagKind
from mcp_server.core.predictor.forest import AveragedForest, Forest
from mcp_server.core.predictor.form import (
    Averaged,
    Blend,
    Calibration,
    Form,
    Isotonic,
    Linear,
    Platt,
    Temperature,
    Trees,
    Unsmoothed,
    read_form,
)
from mcp_server.core.predictor.tables import BoolArray, FloatArray, TableEncoder
from mcp_server.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class BatchAnswers:
    """Answers for n rows.

    Args:
        values: shape (n,): the index of the most probable class, or of the one that the costs ask for; or the number.
        probabilities: shape (n, classes), calibrated, rows summing to 1; None for a regression.
        interval: (low, high), each shape (n,); None for classes, or where the model has none.
        flags: (column, kind) to the rows so flagged, shape (n,); only pairs with at least one row.
    """

    values: FloatArray
    probabilities: FloatArray | None
    interval: tuple[FloatArray, FloatArray] | None
    flags: dict[tuple[str, FlagKind], BoolArray]

    def counts(self) -> dict[str, dict[str, int]]:
        """How many rows of each column have each flag."""
        counted: dict[str, dict[str, int]] = {}
        for (column, kind), rows in self.flags.items():
            counted.setdefault(column, {})[kind] = int(rows.sum())
        return counted

    @property
    def forecast(self) -> FloatArray:
        """What metrics take: probabilities of the second class (n,) or of every class (n, classes), or numbers (n,)."""
        if self.probabilities is None:
            return self.values
        return self.probabilities[:, 1] if self.probabilities.shape[1] == 2 else self.probabilities


class BatchPredictor:
    """A serving form made ready for tables. Immutable."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.encoder = TableEncoder(form.derived, form.inputs, form.encoder)
        self._score = _scorer(form)

    def encode(self, frame: pl.DataFrame) -> FloatArray:
        """The estimator's matrix, shape (n, form.width); NaN where a tree sees a missing value.

        Raises:
            InvalidInput: a column that the model needs is absent or of another kind, or isn't finite.
        """
        return self.encoder.encode(self.encoder.columns(frame))

    def score(self, matrix: FloatArray) -> FloatArray:
        """The estimator's outputs before calibration, shape (n, form.outputs), for a matrix as `encode` gives it."""
        # What overflows is infinite, as it is row by row; whoever takes it further refuses it.
        with np.errstate(over="ignore", invalid="ignore"):
            return self._score(matrix)

    def answer(self, frame: pl.DataFrame) -> BatchAnswers:
        """Answer for every row.

        Args:
            frame: shape (n, any), the contract's types.
        Raises:
            InvalidInput: as `encode`, or the values are so large that the model has no finite answer.
        """
        columns = self.encoder.columns(frame)
        outputs = self.score(self.encoder.encode(columns))
        if not np.isfinite(outputs).all():
            raise InvalidInput(
                "Some values are so large that the model has no finite answer.",
                hint="Check the units of the data; the columns' usual ranges are in the model's card.",
            )
        flags = self.encoder.flags(columns)
        if self.form.classes is None:
            values = outputs[:, 0]
            band = self.form.interval
            interval = None if band is None else (values - band.half_width, values + band.half_width)
            return BatchAnswers(values, None, interval, flags)
        shares = calibrated(outputs, self.form.calibration)
        return BatchAnswers(best_classes(shares, self.form).astype(np.float64), shares, None, flags)


def compile_batch(form: Mapping[str, Any]) -> BatchPredictor:
    """Check a serving form and make it ready for tables.

    Raises:
        CorruptArtefact: the form is malformed; the message says where.
    """
    return BatchPredictor(read_form(form))


def best_classes(shares: FloatArray, form: Form) -> NDArray[np.int64]:
    """The index of the class that is answered, shape (n,): of two the first wins a tie, as it does row by row."""
    if form.outputs == 1:
        return (shares[:, 1] > form.threshold).astype(np.int64)
    best: NDArray[np.int64] = shares.argmax(axis=1)
    return best


def calibrated(outputs: FloatArray, calibration: Calibration) -> FloatArray:
    """Probabilities, shape (n, classes), from the outputs of a classifier's estimator, shape (n, 1) for two classes."""
    if outputs.shape[1] == 1:
        odds = outputs[:, 0]
        if isinstance(calibration, Platt):
            odds = calibration.a * odds + calibration.b
        second = np.interp(odds, calibration.x, calibration.y) if isinstance(calibration, Isotonic) else expit(odds)
        if isinstance(calibration, Unsmoothed):
            second = _unsmoothed(second, calibration, 2)
        return np.column_stack([1.0 - second, second])
    shares = shares_of(outputs / calibration.t if isinstance(calibration, Temperature) else outputs)
    return _unsmoothed(shares, calibration, shares.shape[1]) if isinstance(calibration, Unsmoothed) else shares


def shares_of(outputs: FloatArray) -> FloatArray:
    """Probabilities without calibration, shape (n, classes), of outputs, shape (n, 1) for two classes."""
    if outputs.shape[1] == 1:
        second = expit(outputs[:, 0])
        return np.column_stack([1.0 - second, second])
    powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    shares: FloatArray = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _unsmoothed(shares: FloatArray, calibration: Unsmoothed, classes: int) -> FloatArray:
    """As `Unsmoothed.share`, elementwise."""
    result: FloatArray = np.clip(shares * (1.0 + classes * calibration.floor) - calibration.floor, 0.0, 1.0)
    return result


def expit(values: FloatArray) -> FloatArray:
    """The logistic function, elementwise, without overflow."""
    small = np.exp(-np.abs(values))
    result: FloatArray = np.where(values >= 0.0, 1.0, small) / (1.0 + small)
    return result


def _scorer(form: Form) -> Callable[[FloatArray], FloatArray]:
    estimator = form.estimator
    if not isinstance(estimator, Blend):
        return _part(form, estimator, form.width)
    members = [(member, _part(form, member.estimator, member.width)) for member in estimator.members]

    begin = np.array(estimator.intercepts or [0.0] * form.outputs)

    def score(matrix: FloatArray) -> FloatArray:
        total = np.tile(begin, (len(matrix), 1))
        for member, part in members:
            total += member.weight * part(matrix[:, member.start : member.start + member.width])
        return total

    return score


def _part(form: Form, estimator: Linear | Trees | Averaged, width: int) -> Callable[[FloatArray], FloatArray]:
    if isinstance(estimator, Trees):
        return Forest(estimator, width).score
    if isinstance(estimator, Averaged):
        return AveragedForest(estimator, width, form.task).score
    rows = list(zip(estimator.intercepts, estimator.coefficients, strict=True))

    def score(matrix: FloatArray) -> FloatArray:
        outputs = np.empty((len(matrix), len(rows)))
        for at, (intercept, row) in enumerate(rows):
            total = np.full(len(matrix), intercept)
            for position, coefficient in enumerate(row):
                total += matrix[:, position] * coefficient
            outputs[:, at] = total
        return outputs

    return score
