"""Which rows are most worth labelling: those that the models are unsure of or contradict each other on, spread out."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import rankdata
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from mcp_server.core.labelling.committee import Committee, FloatArray, ForecastKind, Forecasts, IntArray

Why = Literal["undecided", "disagreement", "spread"]

DISAGREEMENT_SHARE = 0.3
"""How much disagreement counts beside uncertainty in what a row is worth; both as ranks among the candidates."""

CANDIDATES_A_ROW = 5
"""Of so many times the rows wanted, the worthiest, the rows are taken that stand for a group each."""

LEAST_ROWS = 12
LEAST_OF_A_CLASS = 3
_FARTHEST = 6.0


@dataclass(frozen=True, slots=True)
class Chosen:
    """The rows to label, the worthiest first.

    Args:
        rows: shape (k,), indexes of the candidates; fewer than wanted where fewer differ.
        why: for each, what decided: undecided, disagreement, or spread where no model could be asked.
        uncertainty: shape (k,): for classes 1 less the gap between the two likeliest, in [0, 1]; for numbers by how
            much the trees contradict each other, in standard deviations of the target. Zeros where no model was asked.
        disagreement: shape (k,): for classes the Jensen-Shannon divergence of the two models, in bits, in [0, 1]; for
            numbers the gap between them, in standard deviations of the target.
        alike: shape (k,), how many of the worthiest candidates each row stands for, itself included.
        likeliest: shape (k, 2), the two likeliest classes; no column for numbers and where no model was asked.
    """

    rows: IntArray
    why: tuple[Why, ...]
    uncertainty: FloatArray
    disagreement: FloatArray
    alike: IntArray
    likeliest: IntArray


def can_ask_models(target: FloatArray, goal: ForecastKind) -> bool:
    """Whether there are labels enough for models whose doubts mean something."""
    if not goal.classes:
        return len(target) >= LEAST_ROWS
    counts = np.bincount(target.astype(np.int64), minlength=goal.classes)
    return len(target) >= LEAST_ROWS and int((counts >= LEAST_OF_A_CLASS).sum()) >= 2


def choose(
    matrix: FloatArray,
    target: FloatArray,
    candidates: FloatArray,
    goal: ForecastKind,
    *,
    count: int,
    rng: np.random.Generator,
) -> Chosen:
    """Choose rows to label.

    Args:
        matrix: shape (n, width), finite: the labelled rows.
        target: shape (n,), their class indexes or numbers.
        candidates: shape (m, width), m >= 1.
        count: how many, at least 1.
        rng: draws folds, seeds and the first centres.
    Source:
        Settles (2009), Active Learning Literature Survey, sections 3.1 and 3.2 (margin, committee); Zhdanov (2019),
        arXiv:1901.05954 (a batch by weighted k-means over the most informative rows).
    """
    if not can_ask_models(target, goal):
        return choose_spread(candidates, count=count, rng=rng)
    return choose_with(Committee(matrix, target, goal, rng), target, candidates, count=count, rng=rng)


def choose_with(
    committee: Committee, target: FloatArray, candidates: FloatArray, *, count: int, rng: np.random.Generator
) -> Chosen:
    """As `choose`, with models that have learned from the labelled rows."""
    goal = committee.goal
    said = committee.forecasts(candidates)
    uncertainty, disagreement = doubts(said, target, goal)
    unsure, apart = _ranks(uncertainty), _ranks(disagreement)
    worth = (1.0 - DISAGREEMENT_SHARE) * unsure + DISAGREEMENT_SHARE * apart
    # Ties are broken by chance: the first rows of a file are no better than the last.
    order = rng.permutation(len(candidates))
    order = order[np.argsort(-worth[order], kind="stable")][: CANDIDATES_A_ROW * count]
    picked, alike = _spread(_unit(candidates)[order], worth[order], count, rng)
    rows = order[picked]
    first = np.argsort(-worth[rows], kind="stable")
    rows, alike = rows[first], alike[first]
    why: list[Why] = ["undecided" if unsure[row] >= apart[row] else "disagreement" for row in rows]
    likeliest = np.argsort(-said.mean[rows], axis=1, kind="stable")[:, : 2 if goal.classes else 0]
    return Chosen(rows, tuple(why), uncertainty[rows], disagreement[rows], alike, likeliest)


def choose_spread(candidates: FloatArray, *, count: int, rng: np.random.Generator) -> Chosen:
    """Rows that stand for the table: what can be done before there are labels to learn from."""
    rows, alike = _spread(_unit(candidates), np.ones(len(candidates)), count, rng)
    first = np.argsort(-alike, kind="stable")
    rows, alike = rows[first], alike[first]
    none = np.zeros(len(rows))
    why: list[Why] = ["spread"] * len(rows)
    return Chosen(rows, tuple(why), none, none, alike, np.empty((len(rows), 0), dtype=np.int64))


def doubts(said: Forecasts, target: FloatArray, goal: ForecastKind) -> tuple[FloatArray, FloatArray]:
    """Uncertainty and disagreement of each row, shape (n,), as `Chosen` has them; `target` gives a number's unit."""
    mean = said.mean
    if goal.classes:
        top = np.partition(mean, goal.classes - 2, axis=1)[:, -2:]
        apart = ((part * np.log2(part / mean)).sum(axis=1) for part in (said.linear, said.trees))
        return 1.0 - (top[:, 1] - top[:, 0]), np.clip(sum(apart) / 2.0, 0.0, 1.0)
    width = float(target.std()) or 1.0
    return said.spread / width, np.abs(said.linear - said.trees)[:, 0] / width


def _ranks(values: FloatArray) -> FloatArray:
    """Ranks from 0 to 1, ties sharing theirs."""
    return np.asarray((rankdata(values) - 1.0) / max(1, len(values) - 1))


def _unit(matrix: FloatArray) -> FloatArray:
    """Columns of mean 0 and deviation 1, so that each counts alike in a distance."""
    width = matrix.std(axis=0)
    unit: FloatArray = np.clip(
        (matrix - matrix.mean(axis=0)) / np.where(width > 0.0, width, 1.0), -_FARTHEST, _FARTHEST
    )
    return unit


def _spread(points: FloatArray, weights: FloatArray, count: int, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """The point nearest to the middle of each of `count` groups, and how many points are in its group."""
    seed = int(rng.integers(2**31 - 1))
    wanted = min(count, len(points))
    with threadpool_limits(limits=1), warnings.catch_warnings():
        # Fewer different points than groups: the groups that are left empty are left out below.
        warnings.simplefilter("ignore", ConvergenceWarning)
        groups = KMeans(wanted, n_init=1, random_state=seed).fit(points, sample_weight=np.maximum(weights, 1e-3))
    picked, alike = [], []
    for group in range(wanted):
        members = np.flatnonzero(groups.labels_ == group)
        if not len(members):
            continue
        away = ((points[members] - groups.cluster_centers_[group]) ** 2).sum(axis=1)
        picked.append(int(members[np.argmin(away)]))
        alike.append(len(members))
    return np.array(picked, dtype=np.int64), np.array(alike, dtype=np.int64)
