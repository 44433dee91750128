"""A metric on one sample, ready to be asked again under other weights of the rows.

A resample of the bootstrap is a weighting of the rows, and so is the sample itself (all ones). A metric that can
answer for weights is resampled a thousand times without a loop, and two models are compared on the same weights.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mcp_server.core.metrics.direction import HIGHER_IS_BETTER
from mcp_server.errors import BadSample

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Measure(Protocol):
    """One metric of one sample of n rows."""

    name: str
    higher_is_better: bool
    value: float
    influence: FloatArray | None
    """Empirical influence of each row on the value, shape (n,), mean 0; None where the metric isn't smooth."""

    def at(self, weights: FloatArray) -> FloatArray:
        """The metric of b reweighted samples: weights of shape (n, b), each column summing to n, to shape (b,).

        NaN where it isn't defined, such as an area with one class only.
        """
        ...


class MeanLoss:
    """The mean of a loss of each row, shape (n,): log loss, Brier score, accuracy, absolute error."""

    def __init__(self, name: str, losses: FloatArray) -> None:
        self.name = name
        self.higher_is_better = name in HIGHER_IS_BETTER
        self.losses = losses
        self.value = float(losses.mean())
        self.influence: FloatArray | None = losses - self.value

    def at(self, weights: FloatArray) -> FloatArray:
        result: FloatArray = self.losses @ weights / len(self.losses)
        return result


class RootMeanSquare:
    """The root of the mean of squared errors, in the target's unit; `squares` has shape (n,)."""

    def __init__(self, squares: FloatArray, name: str = "rmse") -> None:
        self.name = name
        self.higher_is_better = name in HIGHER_IS_BETTER
        self.squares = squares
        mean = float(squares.mean())
        self.value = mean**0.5
        self.influence: FloatArray | None = (squares - mean) / (2.0 * self.value) if mean > 0.0 else squares * 0.0

    def at(self, weights: FloatArray) -> FloatArray:
        result: FloatArray = np.sqrt(self.squares @ weights / len(self.squares))
        return result


class Determination:
    """R2: 1 minus squared error over the target's variance in the same (re)sample; 0 is as good as the mean."""

    name = "r2"
    higher_is_better = name in HIGHER_IS_BETTER

    def __init__(self, target: FloatArray, squares: FloatArray) -> None:
        self.squares = squares
        # About the mean: the variance below is a difference of sums, which would cancel on large offsets.
        self.centred = target - target.mean()
        self._parts = np.stack([self.squares, self.centred, self.centred**2])
        error, spread = float(squares.mean()), float((self.centred**2).mean())
        if spread == 0.0:
            raise BadSample("R2 needs a target that varies.", hint="Use rows with more than one value of the target.")
        self.value = 1.0 - error / spread
        self.influence: FloatArray | None = -(squares - error) / spread + error / spread**2 * (self.centred**2 - spread)

    def at(self, weights: FloatArray) -> FloatArray:
        squares, centre, centred_squares = self._parts @ weights / len(self.squares)
        spread = centred_squares - centre**2
        with np.errstate(divide="ignore", invalid="ignore"):
            result = 1.0 - squares / spread
        return np.where(spread > 0.0, result, np.nan)


def numbers(values: object, name: str) -> FloatArray:
    """One-dimensional finite numbers.

    Raises:
        BadSample: another shape, no row, or a number that isn't finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise BadSample(f"{name} must be a list of at least one number.", hint="Send one number for each row.")
    if not np.isfinite(array).all():
        raise BadSample(f"{name} holds a number that isn't finite.", hint="Leave rows without a value out.")
    return array


def class_indexes(values: object, classes: int) -> IntArray:
    """Class indexes 0 to classes - 1, one for each row.

    Raises:
        BadSample: another shape, no row, or an index out of range.
    """
    array = numbers(values, "The target")
    indexes = array.astype(np.int64)
    if (indexes != array).any() or indexes.min() < 0 or indexes.max() >= classes:
        raise BadSample(
            f"The target must hold class indexes from 0 to {classes - 1}.",
            hint="Code the classes in the order of the model's classes.",
        )
    return indexes


def same_length(first: NDArray[np.generic], second: NDArray[np.generic]) -> None:
    """Raises BadSample where two samples aren't of the same rows."""
    if len(first) != len(second):
        raise BadSample(
            f"There are {len(first)} values of the target and {len(second)} forecasts.",
            hint="Send one forecast for each row of the target.",
        )
