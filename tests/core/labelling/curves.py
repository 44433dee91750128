"""Learning curves: how good models get as rows are labelled, chosen or at random, from the same start."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import t as student
from sklearn.datasets import load_digits

from core.quality.tables import nba_games
from mcp_server.core.labelling import Committee, ForecastKind, choose_with, scores

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Study:
    """A table in which labels are hidden until they are asked for.

    Args:
        matrix, target: all rows.
        judge: rows that judge, or how many of them, drawn by each seed.
        pool: rows that may be labelled, or None for all that don't judge; `most` of them are drawn by each seed.
        start, step, steps: labels at first, labels a round, rounds.
    """

    matrix: FloatArray
    target: FloatArray
    goal: ForecastKind
    judge: IntArray | int
    pool: IntArray | None = None
    most: int = 2_000
    start: int = 50
    step: int = 20
    steps: int = 10


def digits(**changes: int) -> Study:
    matrix, target = load_digits(return_X_y=True)
    return Study(matrix, target.astype(np.float64), ForecastKind("multiclass", 10), **({"judge": 600} | changes))


def games(**changes: int) -> Study:
    """Games of 2000 to 2010 to label, those of 2011 to 2015 judge; ratings, neutral ground, playoffs.

    A skip where the table is absent.
    """
    frame = nba_games().filter(pl.col("season") >= 2000)
    features = frame.select(
        "home_elo", "away_elo", (pl.col("home_elo") - pl.col("away_elo")).alias("gap"), "neutral", "playoff"
    )
    won = frame["home_win"].cast(pl.Float64).to_numpy()
    late = (frame["season"] >= 2011).to_numpy()
    return Study(
        features.cast(pl.Float64).to_numpy(),
        won,
        ForecastKind("binary", 2),
        judge=np.flatnonzero(late),
        pool=np.flatnonzero(~late),
        **changes,
    )


def curves(study: Study, seed: int) -> dict[str, FloatArray]:
    """Scores (negative log loss, accuracy) after each round, shape (steps + 1, 2), of chosen and of random labels."""
    rng = np.random.default_rng([seed, 0])
    if isinstance(study.judge, int):
        order = rng.permutation(len(study.target))
        judge, rest = order[: study.judge], order[study.judge :]
    else:
        judge = study.judge
        rest = rng.permutation(study.pool if study.pool is not None else len(study.target))
    rest = rest[: study.most]
    return {how: _curve(study, judge, rest, how, seed) for how in ("chosen", "random")}


def _curve(study: Study, judge: IntArray, rest: IntArray, how: str, seed: int) -> FloatArray:
    known, pool = rest[: study.start], rest[study.start :]
    rng = np.random.default_rng([seed, 1])
    found = []
    for done in range(study.steps + 1):
        committee = Committee(
            study.matrix[known], study.target[known], study.goal, np.random.default_rng([seed, 2, done])
        )
        found.append(scores(committee, study.matrix[judge], study.target[judge]))
        if done == study.steps:
            break
        if how == "chosen":
            picked = choose_with(committee, study.target[known], study.matrix[pool], count=study.step, rng=rng).rows
        else:
            picked = rng.permutation(len(pool))[: study.step]
        known, pool = np.concatenate([known, pool[picked]]), np.delete(pool, picked)
    return np.array(found)


def area(curve: FloatArray) -> FloatArray:
    """The mean height of a curve, by trapezoids, for each score."""
    return (curve[1:] + curve[:-1]).mean(axis=0) / 2.0


def paired(differences: FloatArray) -> tuple[float, float, float]:
    """The mean of differences by seed, and its 95 % interval."""
    half = student.ppf(0.975, len(differences) - 1) * differences.std(ddof=1) / np.sqrt(len(differences))
    return float(differences.mean()), float(differences.mean() - half), float(differences.mean() + half)
