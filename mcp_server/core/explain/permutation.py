"""How much worse a model gets when one column is shuffled among rows that it never saw.

A column here is one that a caller gives: what is derived or encoded from it is shuffled with it.

Source: Breiman (2001), Machine Learning 45, sect. 10; Fisher, Rudin & Dominici (2019), JMLR 20(177), for the expected
loss of a shuffled column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mcp_server.core.expressions import parse
from mcp_server.core.metrics import draw, interval, log_losses
from mcp_server.core.metrics.measure import MeanLoss, Measure, RootMeanSquare
from mcp_server.core.predictor.batch import BatchPredictor, calibrated
from mcp_server.core.predictor.encodings import owners, products
from mcp_server.core.predictor.form import Form, Linear

FloatArray = NDArray[np.float64]

REPEATS = 5
RESAMPLES = 1_000


@dataclass(frozen=True, slots=True)
class Importance:
    """One column.

    Args:
        column: its name.
        increase: of the loss where its values are shuffled: log loss in nats, or RMSE in the target's unit. Near 0 for
            a column that the model doesn't need, also where another one says the same.
        low, high: its 95 % interval; None where the sample is too small to tell.
    """

    column: str
    increase: float
    low: float | None
    high: float | None


def permutation_importance(
    predictor: BatchPredictor,
    frame: pl.DataFrame,
    target: FloatArray,
    *,
    columns: Sequence[str],
    rng: np.random.Generator,
    repeats: int = REPEATS,
) -> list[Importance]:
    """Shuffle each column `repeats` times.

    Args:
        frame: rows that the model wasn't trained on, with its inputs, shape (n, any), n >= 20.
        target: shape (n,): class indexes or numbers.
        columns: given inputs; others aren't asked about.
    Returns:
        one for each column, the most important first. The interval is of the rows' mean losses over the repeats, so it
        holds for new rows like these.
    """
    form = predictor.form
    given = frame.select(given_inputs(form))
    matrix = predictor.encode(given)
    usual = _losses(predictor, matrix, target)
    used = used_inputs(form)
    found = []
    for column in columns:
        if column not in used:
            found.append(Importance(column, 0.0, 0.0, 0.0))
            continue
        total = np.zeros(len(target))
        for _ in range(repeats):
            shuffled = _shuffled(predictor, given, matrix, column, rng.permutation(given.height))
            total += _losses(predictor, shuffled, target)
        found.append(_importance(column, usual, total / repeats, form, rng))
    return sorted(found, key=lambda one: -one.increase)


def given_inputs(form: Form) -> list[str]:
    """The inputs of a form that no expression computes."""
    derived = {column.name for column in form.derived}
    return [column.name for column in form.inputs if column.name not in derived]


def used_inputs(form: Form) -> frozenset[str]:
    """The given inputs that can move an answer: a branch or a coefficient other than 0 depends on them."""
    columns, multiplied = owners(form.encoder), products(form.encoder)
    asked: set[str | None] = set()
    for place in np.flatnonzero(_live(form)).tolist():
        factors = (multiplied[place].first, multiplied[place].second) if place in multiplied else (place,)
        asked |= {columns[factor] for factor in factors}
    return frozenset().union(*(sources_of(form, column) for column in asked if column is not None))


def sources_of(form: Form, column: str) -> frozenset[str]:
    """The given inputs that a column is computed from, through all steps; a given one is its own."""
    derived = {one.name: one.expression for one in form.derived}
    found, waiting, seen = set(), [column], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in derived:
            waiting += parse(derived[name]).columns
        else:
            found.add(name)
    return frozenset(found)


def _live(form: Form) -> NDArray[np.bool_]:
    """Which encoded columns the estimator looks at, shape (form.width,)."""
    live = np.zeros(form.width, dtype=np.bool_)
    for _, part, estimator in form.members:
        if isinstance(estimator, Linear):
            live[part] |= (np.array(estimator.coefficients) != 0.0).any(axis=0)
        else:
            asked = {node["f"] for tree in estimator.trees for node in tree if "f" in node}
            live[[part.start + place for place in asked]] = True
    return live


def _shuffled(
    predictor: BatchPredictor, given: pl.DataFrame, matrix: FloatArray, column: str, order: NDArray[np.int64]
) -> FloatArray:
    """The encoded rows with one given column in another order; `matrix` is that of `given`."""
    form = predictor.form
    if any(column in parse(one.expression).columns for one in form.derived):
        # What is derived from it is computed anew.
        return predictor.encode(given.with_columns(given.get_column(column).gather(order.tolist()).alias(column)))
    shuffled = matrix.copy()
    own = np.array([at for at, owner in enumerate(owners(form.encoder)) if owner == column], dtype=np.intp)
    shuffled[:, own] = matrix[np.ix_(order, own)]
    predictor.encoder.multiply(shuffled)
    return shuffled


def _losses(predictor: BatchPredictor, matrix: FloatArray, target: FloatArray) -> FloatArray:
    outputs = predictor.score(matrix)
    if predictor.form.classes is None:
        return (outputs[:, 0] - target) ** 2
    return log_losses(target.astype(np.int64), calibrated(outputs, predictor.form.calibration))


def _importance(
    column: str, usual: FloatArray, shuffled: FloatArray, form: Form, rng: np.random.Generator
) -> Importance:
    measures: list[Measure] = (
        [RootMeanSquare(shuffled), RootMeanSquare(usual)]
        if form.classes is None
        else [MeanLoss("log_loss", shuffled), MeanLoss("log_loss", usual)]
    )
    with_it, without = draw(measures, rows=len(usual), rng=rng, resamples=RESAMPLES)
    first, second = measures
    assert first.influence is not None
    assert second.influence is not None
    found = interval(first.value - second.value, with_it - without, first.influence - second.influence)
    return Importance(column, found.value, found.low, found.high)
