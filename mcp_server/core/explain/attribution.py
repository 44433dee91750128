"""What moved the answer for a row: Shapley values of the model's columns, checked to add up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcp_server.core.explain.tree_shap import TreeShapley, path_columns
from mcp_server.core.predictor.batch import BatchPredictor
from mcp_server.core.predictor.encodings import owners, products
from mcp_server.core.predictor.forest import AveragedForest, outputs_of_means
from mcp_server.core.predictor.form import Averaged, Form, Linear, Platt, Task, Temperature, Trees
from mcp_server.errors import ComputeFailed

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

TOLERANCE = 1e-6
MOST_BACKGROUND = 100
LEAST_BACKGROUND = 10
MOST_SUMMARISED = 200
LEAST_SUMMARISED = 20
_SAME = 1e-9  # of two averages; their quotient would have seven digits left
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
        exact: whether these are Shapley values of the outputs themselves; otherwise those of averaged shares, carried
            over to log-odds row by row of the background.
    """

    columns: tuple[str, ...]
    base: FloatArray
    values: FloatArray
    outputs: FloatArray
    largest_error: float
    exact: bool


class Explainer:
    """Explains answers of one serving form against background rows. Immutable.

    Args:
        predictor: the form, ready for tables.
        background: encoded rows, shape (m, form.width), m >= 1.
    """

    def __init__(self, predictor: BatchPredictor, background: FloatArray) -> None:
        self._predictor = predictor
        form = predictor.form
        self.columns, players = players_of(form)
        multiplied = [(at, told.first, told.second) for at, told in products(form.encoder).items()]
        self._base = predictor.score(background).mean(axis=0)
        self._members = []
        for weight, part, estimator in form.members:
            # A member's products are of numbers in its own part.
            own = [(at - part.start, one - part.start, other - part.start) for at, one, other in multiplied]
            inside = [told for told in own if 0 <= told[0] < part.stop - part.start]
            explainer = _explainer(estimator, form.task, players[part], len(self.columns), background[:, part], inside)
            self._members.append((weight, part, explainer))
        self._exact = form.task == "regression" or not any(
            isinstance(estimator, Averaged) for _, _, estimator in form.members
        )

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
        return Attribution(self.columns, self._base, values, outputs, largest, self._exact)

    def _values(self, matrix: FloatArray) -> FloatArray:
        # Outputs of a blend are weighted sums of its members', and so are their Shapley values.
        values = np.zeros((len(matrix), len(self.columns), self._predictor.form.outputs))
        for weight, part, member in self._members:
            values += weight * member.values(matrix[:, part])
        return values


class _LinearValues:
    """Contributions to linear outputs: the distance from the background's mean, times the coefficients.

    A product a * b is shared between its two columns by their Shapley values, which for two are the mean of what
    each moves when it comes first and when it comes second: with E for the background's mean, a's share is
    ((a * E[b] - E[a * b]) + (a * b - E[a] * b)) / 2, and b's is the same with the two exchanged.

    Args:
        products: (place, first, second) of those in `background`.
    """

    def __init__(
        self,
        estimator: Linear,
        players: IntArray,
        count: int,
        background: FloatArray,
        products: Sequence[tuple[int, int, int]],
    ) -> None:
        self._coefficients = np.array(estimator.coefficients)
        self._mean = background.mean(axis=0)
        self._players = players
        self._count = count
        self._products = products

    def values(self, matrix: FloatArray) -> FloatArray:
        mean, weights = self._mean, self._coefficients.T
        values = np.zeros((len(matrix), self._count, weights.shape[1]))
        multiplied = {at for at, _, _ in self._products}
        for at, player in enumerate(self._players):
            if at not in multiplied:
                values[:, player] += (matrix[:, at] - mean[at])[:, None] * weights[at]
        for at, first, second in self._products:
            for one, other in ((first, second), (second, first)):
                coming_first = matrix[:, one] * mean[other] - mean[at]
                coming_second = matrix[:, at] - mean[one] * matrix[:, other]
                values[:, self._players[one]] += ((coming_first + coming_second) / 2.0)[:, None] * weights[at]
        return values


class _AveragedValues:
    """Contributions to averaged trees' outputs.

    The averages are explained exactly against each background row. Where they are shares, each of these explanations
    is stretched to the distance of the outputs: what a share's way from the background row to the row is to log-odds.

    Source: Chen, Lundberg & Lee (2022), Nature Communications 13, for values carried through a series of models.
    """

    def __init__(self, estimator: Averaged, task: Task, players: IntArray, count: int, background: FloatArray) -> None:
        self._forest = AveragedForest(estimator, len(players), task)
        asked = self._forest.asked(background)
        self._shapley = TreeShapley(estimator, players, count, asked)
        self._floor, self._task = estimator.floor, task
        self._background = self._forest.means(asked)

    def values(self, matrix: FloatArray) -> FloatArray:
        asked = self._forest.asked(matrix)
        if self._task == "regression":
            return self._shapley.values(asked)
        ours = self._forest.means(asked)
        stretched = self._shapley.values_each(asked) * self._slopes(ours)[:, :, None, :]
        mean: FloatArray = stretched.mean(axis=1)
        return mean

    def _slopes(self, ours: FloatArray) -> FloatArray:
        """The outputs' way over the averages' way, shape (n, m, outputs)."""
        theirs = self._background
        way = ours[:, None, :] - theirs[None]
        there = outputs_of_means(ours, self._floor, self._task)[:, None, :]
        gone = there - outputs_of_means(theirs, self._floor, self._task)[None]
        here = np.broadcast_to(ours[:, None, :], way.shape)
        steep = 1.0 / (here + self._floor)
        if self._task == "binary":
            steep = steep + 1.0 / (1.0 - here + self._floor)
        # Of two equal averages the curve's own slope; the quotient of differences would be noise.
        near = np.abs(way) < _SAME
        slopes: FloatArray = np.where(near, steep, gone / np.where(near, 1.0, way))
        return slopes


def _explainer(
    estimator: Linear | Trees | Averaged,
    task: Task,
    players: IntArray,
    count: int,
    background: FloatArray,
    products: Sequence[tuple[int, int, int]],
) -> _LinearValues | _AveragedValues | TreeShapley:
    if isinstance(estimator, Linear):
        return _LinearValues(estimator, players, count, background, products)
    if isinstance(estimator, Averaged):
        return _AveragedValues(estimator, task, players, count, background)
    return TreeShapley(estimator, players, count, background)


def players_of(form: Form) -> tuple[tuple[str, ...], IntArray]:
    """The columns that the encoder reads, and for each encoded one its place among them, shape (form.width,).

    A product is of two columns, and has the place -1.
    """
    columns = owners(form.encoder)
    places = {column: place for place, column in enumerate(dict.fromkeys(one for one in columns if one is not None))}
    return tuple(places), np.array([-1 if one is None else places[one] for one in columns], dtype=np.int64)


def background_size(form: Form) -> int:
    """How many background rows are affordable: 100, or down to 10 for very large forests."""
    cost = _path_columns(form)
    if not cost:
        return MOST_BACKGROUND
    return int(np.clip(_AFFORDABLE // cost, LEAST_BACKGROUND, MOST_BACKGROUND))


def summary_size(form: Form) -> int:
    """How many rows an explanation of the whole may explain in a few seconds: 200, or down to 20."""
    cost = _path_columns(form) * background_size(form)
    if not cost:
        return MOST_SUMMARISED
    return int(np.clip(_AFFORDABLE_SUMMARY // cost, LEAST_SUMMARISED, MOST_SUMMARISED))


def _path_columns(form: Form) -> int:
    return sum(
        path_columns(estimator, part.stop - part.start)
        for _, part, estimator in form.members
        if not isinstance(estimator, Linear)
    )


def calibration_effect(form: Form) -> tuple[float, float]:
    """What calibration makes of the raw outputs: they're multiplied by the first number, then the second is added.

    An isotonic one bends them too, which no two numbers tell: for it they are as where there is none.
    """
    if isinstance(form.calibration, Platt):
        return form.calibration.a, form.calibration.b
    if isinstance(form.calibration, Temperature):
        return 1.0 / form.calibration.t, 0.0
    return 1.0, 0.0
