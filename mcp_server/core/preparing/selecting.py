"""Keep the features that tell of the target, judged on rows that training learns from and no others."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.feature_selection import mutual_info_classif, mutual_info_regression

from mcp_server.core.contract import Contract
from mcp_server.core.preparing.looking import Looked, look
from mcp_server.core.preparing.plan import SelectFeatures
from mcp_server.core.preparing.table import Context, DataTable, Done, IntArray
from mcp_server.errors import PlanRefused

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

KINDS = frozenset({"integer", "number", "boolean", "category"})
MOST_ROWS = 10_000  # of each measurement; more rows change the order of features little and cost much
REPEATS = 5
MOST_SHOWN = 30


def apply(step: SelectFeatures, table: DataTable, context: Context) -> Done:
    """Text and dates aren't judged and stay as they are.

    Raises:
        PlanRefused: fewer features than are to be kept.
        BadTarget, TrainingRefused: as a split says.
    """
    looked = look(table, context, step.test)
    names = judged(table.contract)
    if step.keep > len(names):
        raise PlanRefused(
            f"{step.keep} features are to be kept of {len(names)} that can be judged.", hint="Keep fewer."
        )
    rows = looked.train
    matrix, discrete = encoded(table, names, rows)
    scores = _SCORES[step.by](step, matrix, discrete, looked, rows, context.rng)
    # Ties by the order of the columns.
    order = np.lexsort((np.arange(len(names)), -scores))
    kept = {names[at] for at in order[: step.keep]}
    done = table.with_roles({name: "ignored" for name in names if name not in kept})
    fitted = {names[at]: round(float(scores[at]), 6) for at in order}
    said = (
        f"Kept {len(kept)} of {len(names)} features by {step.by.replace('_', ' ')} on {len(rows):,} rows that teach; "
        f"{len(looked.split.test):,} rows that judge weren't looked at."
    )
    return Done(done, said, {"scores": fitted}, {"scores": dict(list(fitted.items())[:MOST_SHOWN])})


def judged(contract: Contract) -> list[str]:
    """The features that can be judged."""
    return [column.name for column in contract.features if column.kind in KINDS]


def encoded(table: DataTable, names: list[str], rows: IntArray) -> tuple[FloatArray, BoolArray]:
    """Features as numbers, shape (rows, names): categories by rank, missing ones NaN; and which are discrete."""
    frame = table.frame[rows]
    matrix = np.empty((len(rows), len(names)))
    discrete = np.zeros(len(names), dtype=bool)
    for at, name in enumerate(names):
        series = frame.get_column(name)
        discrete[at] = not series.dtype.is_numeric()
        if series.dtype == pl.String:
            series = series.rank("dense")
        matrix[:, at] = series.cast(pl.Float64).fill_null(np.nan).to_numpy()
    return matrix, discrete


def _mutual_information(
    _step: SelectFeatures,
    matrix: FloatArray,
    discrete: BoolArray,
    looked: Looked,
    rows: IntArray,
    rng: np.random.Generator,
) -> FloatArray:
    """In nats; Kraskov et al. (2004), Ross (2014) where one side is discrete."""
    drawn = np.sort(rng.permutation(len(rows))[:MOST_ROWS])
    return _information(matrix[drawn], discrete, looked.values[rows][drawn], looked, rng)


def _information(
    matrix: FloatArray, discrete: BoolArray, values: FloatArray, looked: Looked, rng: np.random.Generator
) -> FloatArray:
    filled = _filled(matrix)
    measure = mutual_info_regression if looked.target.classes is None else mutual_info_classif
    # The estimator shifts ties by a little noise, so that it needs a seed.
    found = measure(filled, values, discrete_features=discrete, random_state=int(rng.integers(2**31)))
    return np.asarray(found, dtype=np.float64)


def _permutation(
    _step: SelectFeatures,
    matrix: FloatArray,
    _discrete: BoolArray,
    looked: Looked,
    rows: IntArray,
    rng: np.random.Generator,
) -> FloatArray:
    """How much worse boosting forecasts rows that it hasn't learned from when a feature is shuffled among them.

    Breiman (2001), on a third of the rows: the latest by time, else a random third. In nats or squared units.
    """
    values = looked.values[rows]
    order = rng.permutation(len(rows)) if looked.moments is None else np.argsort(looked.moments[rows], kind="stable")
    order = order[-3 * MOST_ROWS :]
    fit, held = np.split(order, [len(order) * 2 // 3])
    kind: Any = HistGradientBoostingRegressor if looked.target.classes is None else HistGradientBoostingClassifier
    model = kind(early_stopping=False, random_state=int(rng.integers(2**31))).fit(matrix[fit], values[fit])
    held = held[np.isin(values[held], model.classes_)] if looked.target.classes is not None else held
    if not len(held):
        raise PlanRefused("No row is left to judge the features on.", hint="Use by mutual_information.")
    plain = _loss(model, matrix[held], values[held])
    found = np.zeros(matrix.shape[1])
    for at in range(matrix.shape[1]):
        for _ in range(REPEATS):
            shuffled = matrix[held]
            shuffled[:, at] = shuffled[rng.permutation(len(held)), at]
            found[at] += (_loss(model, shuffled, values[held]) - plain) / REPEATS
    return found


def _loss(model: Any, matrix: FloatArray, values: FloatArray) -> float:
    if not hasattr(model, "classes_"):
        return float(np.mean((model.predict(matrix) - values) ** 2))
    chosen = model.predict_proba(matrix)[np.arange(len(values)), np.searchsorted(model.classes_, values)]
    return float(-np.mean(np.log(np.clip(chosen, 1e-15, 1.0))))


def _stability(
    step: SelectFeatures,
    matrix: FloatArray,
    discrete: BoolArray,
    looked: Looked,
    rows: IntArray,
    rng: np.random.Generator,
) -> FloatArray:
    """In which share of random halves of the rows a feature is among the best by mutual information.

    Meinshausen & Bühlmann (2010). The mean information, scaled far below a share, decides between equal shares.
    """
    values = looked.values[rows]
    size = min(MOST_ROWS // 2, max(2, len(rows) // 2))
    shares, means = np.zeros(matrix.shape[1]), np.zeros(matrix.shape[1])
    for _ in range(step.resamples):
        drawn = np.sort(rng.permutation(len(rows))[:size])
        found = _information(matrix[drawn], discrete, values[drawn], looked, rng)
        shares[np.argsort(-found, kind="stable")[: step.keep]] += 1.0 / step.resamples
        means += found / step.resamples
    scores: FloatArray = shares + 1e-3 * means / (1.0 + means.max())
    return scores


def _filled(matrix: FloatArray) -> FloatArray:
    """Missing numbers at the column's median, or 0 where there is none."""
    filled = matrix.copy()
    for column in filled.T:
        missing = np.isnan(column)
        if missing.any():
            column[missing] = np.median(column[~missing]) if not missing.all() else 0.0
    return filled


_SCORES = {
    "mutual_information": _mutual_information,
    "permutation": _permutation,
    "stability": _stability,
}
