"""A weighted sum of several models' outputs, chosen greedily on rows that none of them learned from.

Source: Caruana et al. (2004), ICML, "Ensemble selection from libraries of models".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcp_server.core.metrics import Task
from mcp_server.core.training.outputs import row_losses

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Combination:
    """How several models make one: the weight of each, and the intercept of each output, None for none."""

    weights: list[float]
    intercepts: list[float] | None = None

    def __call__(self, outputs: Sequence[FloatArray]) -> FloatArray:
        """The outputs of the one, shape (n, outputs)."""
        total: FloatArray = np.zeros_like(outputs[0]) + np.array(self.intercepts or [0.0])
        for one, weight in zip(outputs, self.weights, strict=True):
            total = total + weight * one
        return total


def blend_weights(outputs: Sequence[FloatArray], target: FloatArray, task: Task) -> list[float]:
    """How much of each: from the best one on, one model a round is added, again or anew, while the loss falls.

    Args:
        outputs: of each model, shape (n, outputs), of rows that it didn't learn from.
        target: shape (n,).
    Returns:
        weights that sum to 1; most are 0 where one model does it all.
    """
    losses = [float(row_losses(one, target, task).mean()) for one in outputs]
    counts = [0] * len(outputs)
    at = int(np.argmin(losses))
    counts[at], least, total = 1, losses[at], outputs[at]
    for size in range(2, ROUNDS + 1):
        tried = [float(row_losses((total + one) / size, target, task).mean()) for one in outputs]
        at = int(np.argmin(tried))
        if tried[at] >= least:
            break
        counts[at], least, total = counts[at] + 1, tried[at], total + outputs[at]
    return [count / sum(counts) for count in counts]


def blend(outputs: Sequence[FloatArray], target: FloatArray, task: Task) -> Combination:
    """The weights of `blend_weights` as a combination."""
    return Combination(blend_weights(outputs, target, task))


def cross_fitted(
    outputs: Sequence[FloatArray],
    target: FloatArray,
    parts: IntArray,
    task: Task,
    combine: Callable[[Sequence[FloatArray], FloatArray, Task], Combination] = blend,
) -> FloatArray:
    """The combination's outputs of each part, as the other parts make it: an honest forecast of its loss."""
    made = np.empty_like(outputs[0])
    for part in np.unique(parts):
        inside = parts == part
        combination = combine([one[~inside] for one in outputs], target[~inside], task)
        made[inside] = combination([one[inside] for one in outputs])
    return made
