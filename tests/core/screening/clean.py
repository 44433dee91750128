"""Clean tables of many kinds, drawn at random: what screening must not fail."""

from __future__ import annotations

from collections.abc import Callable

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
}
