"""From a vector to the estimator's outputs, in plain Python."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from math import log
from struct import Struct

from mcp_server.core.predictor.form import Averaged, Blend, Form, Linear, Trees
from mcp_server.core.predictor.trees import grow, grow_leaves, walk, walk_with_missing

Score = Callable[[list[float], bool], list[float]]

LARGEST_SINGLE = 3.4028234663852886e38
"""What single precision can hold; trees that are asked in it take larger numbers for this one."""


def scorer(form: Form) -> Score:
    """The outputs of a checked form's estimator for a vector of `form.width`, told whether it holds a NaN.

    Raises:
        CorruptArtefact: a tree is malformed.
    """
    estimator = form.estimator
    if isinstance(estimator, Blend):
        return _blend(form, estimator)
    return _part(form, estimator, form.width)


def between(x: Sequence[float], y: Sequence[float], at: float) -> float:
    """The height at `at` of straight lines through points with rising `x`; level beyond the ends.

    >>> [between([0.0, 2.0], [0.25, 0.75], at) for at in (-1.0, 1.0, 3.0)]
    [0.25, 0.5, 0.75]
    """
    right = bisect_right(x, at)
    if right == 0:
        return y[0]
    if right == len(x):
        return y[-1]
    slope = (y[right] - y[right - 1]) / (x[right] - x[right - 1])
    return slope * (at - x[right - 1]) + y[right - 1]


def _part(form: Form, estimator: Linear | Trees | Averaged, width: int) -> Score:
    if isinstance(estimator, Linear):
        return _linear(estimator)
    if isinstance(estimator, Trees):
        return _forest(estimator, width)
    return _averaged(form, estimator, width)


def _linear(estimator: Linear) -> Score:
    rows = list(zip(estimator.intercepts, estimator.coefficients, strict=True))

    def score(vector: list[float], _: bool) -> list[float]:
        outputs = []
        for total, coefficients in rows:
            # Not sum(): from Python 3.12 on it compensates, and would differ from the table's evaluation.
            for value, coefficient in zip(vector, coefficients, strict=True):
                total += value * coefficient
            outputs.append(total)
        return outputs

    return score


def _forest(estimator: Trees, width: int) -> Score:
    roots = grow(estimator.trees, width=width, outputs=len(estimator.base))
    forest = list(zip(roots, estimator.base, strict=True))

    def score(vector: list[float], has_missing: bool) -> list[float]:
        descend = walk_with_missing if has_missing else walk
        return [descend(roots, vector, base) for roots, base in forest]

    return score


def _averaged(form: Form, estimator: Averaged, width: int) -> Score:
    roots = grow_leaves(estimator.trees, width=width, leaves=len(estimator.leaves))
    leaves, floor, count = estimator.leaves, estimator.floor, len(roots)
    single = Struct(f"{width}f")
    outputs = range(form.outputs)
    task = form.task

    def score(vector: list[float], has_missing: bool) -> list[float]:
        rounded = vector
        if estimator.single:
            # The lesser of a NaN and a number would be the number: a NaN stays as it is.
            held = [
                value if -LARGEST_SINGLE <= value <= LARGEST_SINGLE or value != value else _nearest(value)
                for value in vector
            ]
            rounded = list(single.unpack(single.pack(*held)))
        descend = walk_with_missing if has_missing else walk
        totals = [0.0] * len(outputs)
        for root in roots:
            reached = leaves[int(descend(root, rounded, 0.0))]
            for at in outputs:
                totals[at] += reached[at]
        means = [total / count for total in totals]
        if task == "regression":
            return means
        if task == "binary":
            return [log((means[0] + floor) / (1.0 - means[0] + floor))]
        return [log(mean + floor) for mean in means]

    return score


def _blend(form: Form, estimator: Blend) -> Score:
    members = [
        (member.weight, member.start, member.start + member.width, _part(form, member.estimator, member.width))
        for member in estimator.members
    ]
    outputs = range(form.outputs)
    begin = estimator.intercepts or [0.0] * form.outputs

    def score(vector: list[float], has_missing: bool) -> list[float]:
        totals = list(begin)
        for weight, start, end, member in members:
            found = member(vector[start:end], has_missing)
            for at in outputs:
                totals[at] += weight * found[at]
        return totals

    return score


def _nearest(value: float) -> float:
    return LARGEST_SINGLE if value > 0.0 else -LARGEST_SINGLE
