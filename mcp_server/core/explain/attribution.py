"""What moved the answer for a row: Shapley values of the model's columns, checked to add up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcp_server.core.explain.tree_shap import TreeShapley, path_columns
from mcp_server.core.predictor.batch import BatchPredictor
from mcp_server.core.predictor.form import Form, Linear, Platt, Temperature
from mcp_server.errors import ComputeFailed

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

TOLERANCE = 1e-6
MOST_BACKGROUND = 100
LEAST_BACKGROUND = 10
MOST_SUMMARISED = 200
LEAST_SUMMARISED = 20
_AFFORDABLE = 6_000_000  # path columns times background rows: a fraction of a second for a row
_AFFORDABLE_SUMMARY = 400_000_000


@dataclass(frozen=True, slots=True)
class Attribution:
    """Contributions of columns to the model's raw outputs: log-odds of classes, or the number itself.

    Args:
        columns: what the encoder reads, each once; a derived column counts as one of its own.
        base: the mean output over the background, shape (outputs,).
        values: shape (n, columns, outputs); they and `base` sum to `outputs`.
        outputs: of the model itself, shape (n, outputs), before calibration.
        largest_error: of that sum, as a share of the output where this is above 1.
    """

    columns: tuple[str, ...]
    base: FloatArray
    values: FloatArray
    outputs: FloatArray
    largest_error: float


class Explainer:
    """Explains answers of one serving form against background rows. Immutable.

    Args:
        predictor: the form, ready for tables.
        background: encoded rows, shape (m, form.width), m >= 1.
    """

    def __init__(self, predictor: BatchPredictor, background: FloatArray) -> None:
        self._predictor = predictor
        self.columns, players = players_of(predictor.form)
        estimator = predictor.form.estimator
        self._base = predictor.score(background).mean(axis=0)
        self._trees = None if isinstance(estimator, Linear) else TreeShapley(estimator, players, background)
        self._coefficients = np.array(estimator.coefficients) if isinstance(estimator, Linear) else None
        self._mean = background.mean(axis=0)
        self._players = players

    def explain(self, matrix: FloatArray) -> Attribution:
        """Explain encoded rows.

        Args:
            matrix: shape (n, form.width), as `BatchPredictor.encode` gives it.
        Raises:
            ComputeFailed: the contributions don't add up to the model's own outputs to 1e-6.
        """
        values = self._values(matrix)
        outputs = self._predictor.score(matrix)
        gap = np.abs(self._base + values.sum(axis=1) - outputs)
        scale = np.maximum(1.0, np.maximum(np.abs(outputs), np.abs(self._base)))
        # What isn't a number isn't within the tolerance either.
        largest = float((gap / scale).max(initial=0.0))
        if not largest <= TOLERANCE:
            raise ComputeFailed(
                "The contributions don't add up to the model's answer, so none is told.",
                hint="Check the row's units: very large values lose their digits. Otherwise call verify_model.",
                details={"reason": "additivity", "error": largest if np.isfinite(largest) else None},
            )
        return Attribution(self.columns, self._base, values, outputs, largest)

    def _values(self, matrix: FloatArray) -> FloatArray:
        if self._trees is not None:
            return self._trees.values(matrix)
        assert self._coefficients is not None
        moved = (matrix - self._mean)[:, :, None] * self._coefficients.T[None]
        values = np.zeros((len(matrix), len(self.columns), moved.shape[2]))
        for at, player in enumerate(self._players):
            values[:, player] += moved[:, at]
        return values


def players_of(form: Form) -> tuple[tuple[str, ...], IntArray]:
    """The columns that the encoder reads, and for each encoded one its place among them, shape (form.width,)."""
    places: dict[str, int] = {}
    players = []
    for encoding in form.encoder:
        place = places.setdefault(encoding.column, len(places))
        players += [place] * encoding.width
    return tuple(places), np.array(players, dtype=np.int64)


def background_size(form: Form) -> int:
    """How many background rows are affordable: 100, or down to 10 for very large forests."""
    if isinstance(form.estimator, Linear):
        return MOST_BACKGROUND
    cost = max(1, path_columns(form.estimator, form.width))
    return int(np.clip(_AFFORDABLE // cost, LEAST_BACKGROUND, MOST_BACKGROUND))


def summary_size(form: Form) -> int:
    """How many rows an explanation of the whole may explain in a few seconds: 200, or down to 20."""
    if isinstance(form.estimator, Linear):
        return MOST_SUMMARISED
    cost = max(1, path_columns(form.estimator, form.width)) * background_size(form)
    return int(np.clip(_AFFORDABLE_SUMMARY // cost, LEAST_SUMMARISED, MOST_SUMMARISED))


def calibration_effect(form: Form) -> tuple[float, float]:
    """What calibration makes of the raw outputs: they're multiplied by the first number, then the second is added."""
    if isinstance(form.calibration, Platt):
        return form.calibration.a, form.calibration.b
    if isinstance(form.calibration, Temperature):
        return 1.0 / form.calibration.t, 0.0
    return 1.0, 0.0
