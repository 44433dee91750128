"""Extremely randomised trees over small tables: those of scikit-learn, without what it spends on each tree."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from sklearn import config_context
from sklearn.tree import ExtraTreeClassifier, ExtraTreeRegressor
from sklearn.utils import check_random_state

from mcp_server.core.screening.half_sample import Floats
from mcp_server.core.screening.table import Integers

Tree = TypeVar("Tree", ExtraTreeClassifier, ExtraTreeRegressor)


def class_probabilities(
    learn: Floats,
    labels: Integers,
    judge: Floats,
    *,
    seed: int,
    trees: int,
    leaf: int,
    features: float | str,
    balanced: bool = False,
) -> Floats:
    """What a forest that learned from some rows says of others.

    The same as `ExtraTreesClassifier(n_estimators=trees, min_samples_leaf=leaf, max_features=features,
    random_state=seed)` says: copying and checking each tree's parameters, which it does, takes longer than growing a
    tree on a few hundred rows.

    Args:
        learn: shape (n, d), finite.
        labels: shape (n,), classes from 0, each at least once.
        judge: shape (m, d), finite.
        seed: of the draws, >= 0.
        trees, leaf, features: how many, the fewest rows in a leaf, and the columns tried at a split.
        balanced: whether classes weigh the same however many rows they have.
    Returns:
        shape (m, classes), rows sum to 1.
    """
    counts = np.bincount(labels)
    weights = (len(labels) / (counts.size * counts))[labels] if balanced else None

    def tree(one: int) -> ExtraTreeClassifier:
        return ExtraTreeClassifier(min_samples_leaf=leaf, max_features=features, random_state=one)

    return _grown(tree, ExtraTreeClassifier.predict_proba, learn, labels, judge, seed, trees, weights)


def expected_numbers(
    learn: Floats, target: Floats, judge: Floats, *, seed: int, trees: int, leaf: int, features: float | str
) -> Floats:
    """What such a forest expects of a number, as `ExtraTreesRegressor` does; the arguments are those above.

    Args:
        target: shape (n,), finite.
    Returns:
        shape (m,), in the target's unit.
    """

    def tree(one: int) -> ExtraTreeRegressor:
        return ExtraTreeRegressor(min_samples_leaf=leaf, max_features=features, random_state=one)

    return _grown(tree, ExtraTreeRegressor.predict, learn, target, judge, seed, trees)


def _grown(
    tree: Callable[[int], Tree],
    answer: Callable[..., Floats],
    learn: Floats,
    goal: Floats | Integers,
    judge: Floats,
    seed: int,
    trees: int,
    weights: Floats | None = None,
) -> Floats:
    """The mean of the trees' answers."""
    here, there = (np.ascontiguousarray(part, dtype=np.float32) for part in (learn, judge))
    seeds = check_random_state(seed).randint(np.iinfo(np.int32).max, size=trees)
    with config_context(skip_parameter_validation=True, assume_finite=True):
        total = np.zeros(())
        for one in seeds.tolist():
            grown = tree(one).fit(here, goal, sample_weight=weights, check_input=False)
            total = total + answer(grown, there, check_input=False)
    return np.asarray(total / trees, dtype=np.float64)
