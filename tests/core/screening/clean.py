"""Clean tables of many kinds, drawn at random: what screening must not fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mcp_server.core.screening.table import FeatureTable

Maker = Callable[[np.random.Generator, int], FeatureTable]


def _table(numbers: np.ndarray, labels: np.ndarray | None, codes: np.ndarray | None = None) -> FeatureTable:
    empty = np.empty((len(numbers), 0), dtype=np.intp)
    return FeatureTable(
        numbers.astype(np.float64),
        empty if codes is None else codes.astype(np.intp),
        None if labels is None else labels.astype(np.intp),
    )


def _chance(rng: np.random.Generator, numbers: np.ndarray, strength: float, offset: float = 0.0) -> np.ndarray:
    """Labels that a logistic model of the standardised numbers decides by chance."""
    standard = (numbers - numbers.mean(axis=0)) / numbers.std(axis=0)
    weights = rng.standard_normal(numbers.shape[1])
    logits = strength * (standard @ (weights / np.linalg.norm(weights))) - offset
    return (rng.random(len(numbers)) < 1 / (1 + np.exp(-logits))).astype(np.intp)


def logistic(strength: float, offset: float = 0.0) -> Maker:
    def make(rng: np.random.Generator, rows: int) -> FeatureTable:
        numbers = rng.standard_normal((rows, 6)) @ (np.eye(6) + 0.5 * rng.standard_normal((6, 6)))
        return _table(numbers, _chance(rng, numbers, strength, offset))

    return make


def skewed(rng: np.random.Generator, rows: int) -> FeatureTable:
    numbers = rng.lognormal(0, 1, (rows, 5))
    return _table(numbers, _chance(rng, np.log(numbers), 3.0))


def heavy(rng: np.random.Generator, rows: int) -> FeatureTable:
    numbers = rng.standard_t(3, (rows, 4))
    return _table(numbers, _chance(rng, np.clip(numbers, -3, 3), 2.0))


def classes(rng: np.random.Generator, rows: int) -> FeatureTable:
    """Four classes that can nearly be told apart, of different spreads."""
    labels = rng.integers(0, 4, rows)
    centres, spreads = 2.5 * rng.standard_normal((4, 5)), rng.uniform(0.5, 1.5, 4)
    return _table(centres[labels] + spreads[labels][:, None] * rng.standard_normal((rows, 5)), labels)


def counts(rng: np.random.Generator, rows: int) -> FeatureTable:
    numbers = rng.poisson(rng.uniform(1, 8, 5), (rows, 5)).astype(np.float64)
    return _table(numbers, _chance(rng, numbers, 2.0))


def mixed(rng: np.random.Generator, rows: int) -> FeatureTable:
    """Numbers with missing values and zeros, rounded ones, and two categories."""
    numbers = np.column_stack((rng.standard_normal((rows, 2)), rng.exponential(1, (rows, 2)).round(2)))
    numbers[:, 3] = np.where(rng.random(rows) < 0.4, 0.0, numbers[:, 3])
    labels = _chance(rng, numbers, 2.5, 1.0)
    numbers[rng.random(numbers.shape) < 0.05] = np.nan
    return _table(numbers, labels, rng.integers(0, 6, (rows, 2)))


def without_labels(rng: np.random.Generator, rows: int) -> FeatureTable:
    return _table(
        rng.standard_normal((rows, 2)) @ rng.standard_normal((2, 8)) + 0.3 * rng.standard_normal((rows, 8)), None
    )


def zero_inflated(rng: np.random.Generator, rows: int) -> FeatureTable:
    """Amounts of which a third to four fifths are nothing at all."""
    amounts = rng.lognormal(2, 1, (rows, 5))
    numbers = np.where(rng.random((rows, 5)) < rng.uniform(0.3, 0.8, 5), 0.0, amounts)
    return _table(numbers, _chance(rng, np.log1p(numbers), 2.0))


def answers(rng: np.random.Generator, rows: int) -> FeatureTable:
    """Answers from 1 to 5 to eight questions about one thing."""
    latent = rng.standard_normal((rows, 1)) + 0.8 * rng.standard_normal((rows, 8))
    numbers = np.clip(np.round(3 + latent), 1, 5)
    return _table(numbers, _chance(rng, numbers, 2.5))


def tied(rng: np.random.Generator, rows: int) -> FeatureTable:
    """Three classes of flowers: measures of one decimal, many of them equal."""
    labels = rng.integers(0, 3, rows)
    centres = np.array([5.0, 3.0, 4.0, 1.2]) + np.outer([-1.2, 0.0, 0.9], [0.8, 0.2, 1.5, 0.6])
    numbers = centres[labels] + 0.35 * rng.standard_normal((rows, 1)) + 0.2 * rng.standard_normal((rows, 4))
    return _table(numbers.round(1), labels)


def in_time(rng: np.random.Generator, rows: int) -> FeatureTable:
    """Measures that wander and have a season, and whether the first rises next."""
    steps = rng.standard_normal((rows + 1, 4)) * 0.3
    wander = np.zeros_like(steps)
    for at in range(1, rows + 1):
        wander[at] = 0.97 * wander[at - 1] + steps[at]
    season = np.sin(2 * np.pi * np.arange(rows + 1) / 30)[:, None]
    values = wander + season + 0.002 * np.arange(rows + 1)[:, None]
    return _table(values[:-1], (np.diff(values[:, 0]) > 0).astype(np.intp))


def repeated(rng: np.random.Generator, rows: int) -> FeatureTable:
    """People who were measured two to six times each, always with the same label."""
    person = np.repeat(np.arange(rows), rng.integers(2, 7, rows))[:rows]
    order = rng.permutation(rows)
    people = rng.standard_normal((rows, 6))
    labels = _chance(rng, people, 3.0)
    return _table((people[person] + 0.1 * rng.standard_normal((rows, 6)))[order], labels[person][order])


def at_rest(rng: np.random.Generator, rows: int) -> FeatureTable:
    """A machine that stands still for a third of the time, and seldom fails."""
    numbers = np.where(
        (rng.random(rows) < 0.35)[:, None],
        np.array([20.0, 0.5, 1.0, 0.2]) + 0.002 * rng.standard_normal((rows, 4)),
        rng.normal([60.0, 30.0, 8.0, 5.0], [10.0, 8.0, 2.0, 1.5], (rows, 4)),
    )
    return _table(numbers, rng.random(rows) < 0.12)


def games(rng: np.random.Generator, rows: int) -> FeatureTable:
    """Ratings of two teams and what chance makes of them."""
    ratings = rng.normal(1500, 110, (rows, 2)).round(2)
    flags = rng.random((rows, 2)) < [0.05, 0.08]
    won = rng.random(rows) < 1 / (1 + 10 ** (-(ratings[:, 0] - ratings[:, 1] + 80) / 400))
    return _table(np.hstack((ratings, flags)), won)


def categories(rng: np.random.Generator, rows: int) -> FeatureTable:
    """Nothing but categories."""
    codes = np.column_stack([rng.integers(0, most, rows) for most in (2, 3, 4, 6, 12)])
    effects = sum(rng.standard_normal(12)[column] for column in codes.T)
    return _table(np.empty((rows, 0)), rng.random(rows) < 1 / (1 + np.exp(-2 * np.asarray(effects))), codes)


def wide(rng: np.random.Generator, rows: int) -> FeatureTable:
    """Many more columns than say anything, often more than there are rows."""
    numbers = rng.standard_normal((rows, 90))
    return _table(numbers, _chance(rng, numbers[:, :4], 6.0))


def capped(rng: np.random.Generator, rows: int) -> FeatureTable:
    """Percentages, many of them none or all; who has all of two things mostly passes."""
    numbers = np.clip(rng.normal(60, 35, (rows, 5)) + rng.normal(0, 15, (rows, 1)), 0, 100).round(1)
    return _table(numbers, _chance(rng, numbers, 6.0))


def rings(rng: np.random.Generator, rows: int) -> FeatureTable:
    """Classes that no line divides."""
    numbers = rng.standard_normal((rows, 3))
    radius = np.sqrt((numbers**2).sum(axis=1))
    return _table(numbers, radius + 0.1 * rng.standard_normal(rows) > 1.54)


def either(rng: np.random.Generator, rows: int) -> FeatureTable:
    """A class that has one of two signs but not both, with a tenth of honest exceptions."""
    numbers = rng.uniform(-1, 1, (rows, 4))
    return _table(numbers, (numbers[:, 0] * numbers[:, 1] > 0) ^ (rng.random(rows) < 0.1))


def imputed(rng: np.random.Generator, rows: int) -> FeatureTable:
    """Two columns that were missing together and got their medians."""
    numbers = rng.standard_normal((rows, 5)) @ (np.eye(5) + 0.4 * rng.standard_normal((5, 5)))
    labels = _chance(rng, numbers, 3.0)
    lost = rng.random(rows) < rng.uniform(0.03, 0.2)
    numbers[np.ix_(lost, [1, 2])] = np.median(numbers[:, [1, 2]], axis=0)
    return _table(numbers, labels)


def clusters(rng: np.random.Generator, rows: int) -> FeatureTable:
    """Groups of very different sizes and spreads, some far from the others."""
    group = rng.choice(5, rows, p=[0.5, 0.25, 0.15, 0.07, 0.03])
    centres, spreads = 6 * rng.standard_normal((5, 4)), rng.uniform(0.2, 2.0, 5)
    numbers = centres[group] + spreads[group][:, None] * rng.standard_normal((rows, 4))
    return _table(numbers, group % 2)


def unbalanced(rng: np.random.Generator, rows: int) -> FeatureTable:
    """Five classes from frequent to rare that overlap a little."""
    labels = rng.choice(5, rows, p=[0.5, 0.25, 0.13, 0.08, 0.04])
    return _table(2.2 * rng.standard_normal((5, 6))[labels] + rng.standard_normal((rows, 6)), labels)


def defaults(rng: np.random.Generator, rows: int) -> FeatureTable:
    """A form whose fields keep their default for many who then seldom buy."""
    numbers = np.column_stack((rng.normal(40, 12, rows), rng.lognormal(3, 1, (rows, 3)), rng.exponential(5, rows)))
    labels = _chance(rng, numbers, 2.0)
    kept = rng.random(rows) < np.where(labels == 0, 0.25, 0.1)
    numbers[np.ix_(kept, [1, 4])] = [50.0, 1.0]
    return _table(numbers, labels)


def _goal(numbers: np.ndarray, target: np.ndarray, codes: np.ndarray | None = None) -> FeatureTable:
    return replace(_table(numbers, None, codes), target=target.astype(np.float64))


def _noise(kind: str, rng: np.random.Generator, rows: int) -> np.ndarray:
    if kind == "heavy":
        return rng.standard_t(3, rows) / np.sqrt(3)
    return rng.laplace(0, 1 / np.sqrt(2), rows) if kind == "laplace" else rng.standard_normal(rows)


def measured(strength: float, kind: str = "normal") -> Maker:
    """A number that is a sum of the others, and noise of a part of its spread."""

    def make(rng: np.random.Generator, rows: int) -> FeatureTable:
        numbers = rng.standard_normal((rows, 6)) @ (np.eye(6) + 0.5 * rng.standard_normal((6, 6)))
        signal = numbers @ rng.standard_normal(6)
        return _goal(numbers, strength * signal / signal.std() + _noise(kind, rng, rows))

    return make


def prices(rng: np.random.Generator, rows: int) -> FeatureTable:
    """Prices that vary by a share of themselves, of things in categories."""
    numbers = np.column_stack((rng.lognormal(4, 0.6, rows), rng.integers(1, 6, rows), rng.uniform(1900, 2020, rows)))
    place = rng.integers(0, 8, (rows, 1))
    level = 0.8 * np.log(numbers[:, 0]) + 0.1 * numbers[:, 1] + 0.4 * rng.standard_normal(8)[place[:, 0]]
    return _goal(numbers, np.exp(8 + level + 0.15 * rng.standard_normal(rows)).round(-2), place)


def counted(rng: np.random.Generator, rows: int) -> FeatureTable:
    """How often something rare happens, mostly never."""
    numbers = rng.standard_normal((rows, 5))
    return _goal(numbers, rng.poisson(np.exp(-0.5 + numbers[:, 0] + 0.5 * numbers[:, 1])))


def curved(rng: np.random.Generator, rows: int) -> FeatureTable:
    """Friedman's function: bends, a product, and five columns without a say."""
    numbers = rng.random((rows, 10))
    bends = 10 * np.sin(np.pi * numbers[:, 0] * numbers[:, 1]) + 20 * (numbers[:, 2] - 0.5) ** 2
    return _goal(numbers, bends + 10 * numbers[:, 3] + 5 * numbers[:, 4] + rng.standard_normal(rows))


def wavering(rng: np.random.Generator, rows: int) -> FeatureTable:
    """Noise that is ten times as wide at one end as at the other."""
    numbers = rng.uniform(0, 1, (rows, 4))
    return _goal(numbers, 3 * numbers[:, 0] + (0.05 + 0.5 * numbers[:, 1]) * rng.standard_normal(rows))


MAKERS: dict[str, Maker] = {
    "pure chance": logistic(0.0),
    "weak signal": logistic(1.0),
    "some signal": logistic(2.0),
    "strong signal": logistic(5.0),
    "rare class": logistic(3.0, offset=2.5),
    "nearly decided": logistic(20.0),
    "skewed": skewed,
    "heavy tails": heavy,
    "four classes": classes,
    "counts": counts,
    "mixed": mixed,
    "no labels": without_labels,
    "zero-inflated": zero_inflated,
    "answers 1 to 5": answers,
    "tied": tied,
    "in time": in_time,
    "repeated": repeated,
    "at rest": at_rest,
    "games": games,
    "categories": categories,
    "wide": wide,
    "capped": capped,
    "rings": rings,
    "either": either,
    "imputed": imputed,
    "clusters": clusters,
    "unbalanced": unbalanced,
    "defaults": defaults,
    "number, exact": measured(20.0),
    "number, good": measured(3.0),
    "number, poor": measured(0.5),
    "number, heavy": measured(3.0, "heavy"),
    "number, laplace": measured(6.0, "laplace"),
    "prices": prices,
    "counted": counted,
    "curved": curved,
    "wavering": wavering,
}
