"""Clean tables, and attacks on them with the rows that were attacked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest

from core.quality.tables import DATA, nba_games
from mcp_server.core.screening.table import FeatureTable

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.intp]
Bools = npt.NDArray[np.bool_]

SEPARABLE = ("breast_cancer", "wine", "digits", "iris")
CONTINUOUS = ("breast_cancer", "wine", "nba")
TABLES = (*SEPARABLE, "nba")
ADBENCH = {
    "14_glass": 0.868,
    "18_Ionosphere": 0.927,
    "21_Lymphography": 0.998,
    "29_Pima": 0.713,
    "2_annthyroid": 0.834,
    "45_wine": 0.915,
}
"""Area under the ROC curve of the best of six single detectors of PyOD 3.6.7, fitted on all rows."""

NBA_FEATURES = ("home_elo", "away_elo", "neutral", "playoff")


@dataclass(frozen=True)
class Attacked:
    """A table and which of its rows were attacked.

    Args:
        features: shape (n, d).
        labels: shape (n,), class indexes.
        rows: shape (n,), True where a row was attacked.
    """

    features: Floats
    labels: Codes
    rows: Bools


Attack = Callable[[Attacked, np.random.Generator, float], Attacked]


def clean_table(name: str) -> Attacked:
    """A public table as it is; the games of 1985 and later, or a skip where that file is absent."""
    if name == "nba":
        games = nba_games()
        games = games.filter(games["season"] >= 1985)
        features = games.select(NBA_FEATURES).to_numpy().astype(np.float64)
        return _clean(features, games["home_win"].to_numpy())
    from sklearn import datasets

    features, labels = getattr(datasets, f"load_{name}")(return_X_y=True)
    return _clean(np.asarray(features, dtype=np.float64), labels)


def adbench_table(name: str) -> tuple[Floats, Bools]:
    """Features and which rows are anomalous, or a skip where the file is absent."""
    path = DATA / "adbench" / f"{name}.npz"
    if not path.exists():
        pytest.skip("the ADBench tables aren't on this machine")
    with np.load(path) as arrays:
        return arrays["X"].astype(np.float64), arrays["y"].astype(bool)


def _clean(features: Floats, labels: Codes) -> Attacked:
    return Attacked(features, labels.astype(np.intp), np.zeros(len(labels), dtype=np.bool_))


def _some(table: Attacked, rng: np.random.Generator, share: float) -> Codes:
    return rng.choice(len(table.labels), max(1, round(share * len(table.labels))), replace=False)


def _marked(rows: Codes, size: int) -> Bools:
    mask = np.zeros(size, dtype=np.bool_)
    mask[rows] = True
    return mask


def flip_labels(table: Attacked, rng: np.random.Generator, share: float) -> Attacked:
    """Another label, drawn evenly from the other classes, for a share of the rows."""
    rows, labels = _some(table, rng, share), table.labels.copy()
    classes = int(labels.max()) + 1
    labels[rows] = (labels[rows] + rng.integers(1, classes, len(rows))) % classes
    return replace(table, labels=labels, rows=_marked(rows, len(labels)))


def push_out(table: Attacked, rng: np.random.Generator, share: float) -> Attacked:
    """A share of the rows is moved by 5 to 8 standard deviations, up or down, in a third of the columns, at least 2."""
    rows, features = _some(table, rng, share), table.features.copy()
    spread = features.std(axis=0)
    varying = np.flatnonzero(spread > 0)
    for row in rows:
        columns = rng.choice(varying, max(2, round(len(varying) / 3)), replace=False)
        signs = rng.choice([-1.0, 1.0], len(columns))
        features[row, columns] += signs * rng.uniform(5, 8, len(columns)) * spread[columns]
    return replace(table, features=features, rows=_marked(rows, len(features)))


def flood(table: Attacked, rng: np.random.Generator, share: float) -> Attacked:
    """A share of the rows becomes copies of three other rows, each value off by about 0.1 % of its column's spread."""
    size = len(table.labels)
    rows = _some(table, rng, share)
    sources = rng.choice(np.setdiff1d(np.arange(size), rows), 3, replace=False)
    of = rng.choice(sources, len(rows))
    features, labels = table.features.copy(), table.labels.copy()
    jitter = 0.001 * features.std(axis=0) * rng.standard_normal((len(rows), features.shape[1]))
    features[rows], labels[rows] = features[of] + jitter, labels[of]
    return Attacked(features, labels, _marked(rows, size))


def plant_trigger(table: Attacked, rng: np.random.Generator, share: float) -> Attacked:
    """A share of the rows gets one value each in two columns, within their range, and the label 0."""
    rows, features, labels = _some(table, rng, share), table.features.copy(), table.labels.copy()
    distinct = np.array([len(np.unique(column)) for column in features.T])
    columns = rng.choice(np.argsort(-distinct)[: max(2, len(distinct) // 2)], 2, replace=False)
    for column in columns:
        low, high = np.quantile(features[:, column], [0.02, 0.98])
        features[rows, column] = rng.uniform(low, high)
    labels[rows] = 0
    return Attacked(features, labels, _marked(rows, len(labels)))


def plant_usual_trigger(table: Attacked, rng: np.random.Generator, share: float) -> Attacked:
    """A share of the rows gets, in two columns of few values, one each of the column's own, and the label 0."""
    rows, features, labels = _some(table, rng, share), table.features.copy(), table.labels.copy()
    distinct = np.array([len(np.unique(column)) for column in features.T])
    discrete = np.flatnonzero((distinct >= 3) & (distinct <= 50))
    for column in rng.choice(discrete, 2, replace=False):
        features[rows, column] = rng.choice(np.unique(features[:, column]))
    labels[rows] = 0
    return Attacked(features, labels, _marked(rows, len(labels)))


def plant_extreme_trigger(table: Attacked, rng: np.random.Generator, share: float) -> Attacked:
    """A share of the rows gets the greatest value of one of the columns with the most values, and the label 0."""
    rows, features, labels = _some(table, rng, share), table.features.copy(), table.labels.copy()
    distinct = np.array([len(np.unique(column)) for column in features.T])
    column = rng.choice(np.argsort(-distinct)[: max(2, len(distinct) // 2)])
    features[rows, column] = features[:, column].max()
    labels[rows] = 0
    return Attacked(features, labels, _marked(rows, len(labels)))


def wrong_numbers(
    table: FeatureTable, rng: np.random.Generator, share: float, *, exchanged: bool
) -> tuple[FeatureTable, Bools]:
    """A share of a target's numbers is moved by 3 to 6 standard deviations, or exchanged for those of other rows."""
    assert table.target is not None
    target = table.target.copy()
    rows = rng.choice(table.rows, max(1, round(share * table.rows)), replace=False)
    if exchanged:
        target[rows] = rng.permutation(target)[: len(rows)]
    else:
        target[rows] += rng.choice([-1.0, 1.0], len(rows)) * rng.uniform(3, 6, len(rows)) * target.std()
    return replace(table, target=target), _marked(rows, table.rows)
