"""Labels that two unlike models, neither of which has seen the row, agree to doubt."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from mcp_server.core.screening.forests import class_probabilities
from mcp_server.core.screening.half_sample import Floats
from mcp_server.core.screening.table import Bools, Integers

LEAST_ROWS = 60
LEAST_OF_A_CLASS = 10
MOST_ROWS = 3_000

_FOLDS = 5
_TREES = 60
_PENALTY = 3.0
_WIDE = 32
_PLAIN = 0.3
"""By how much both models together must prefer another class."""

_SOME = 0.012
"""From this share of confident doubts, labels are wrong somewhere, and the wider rule is used."""

_AT_LEAST = 4


@dataclass(frozen=True, slots=True)
class LabelDoubts:
    """What two models say of the labels.

    Args:
        scores: shape (n,), in [-1, 1]: probability of the likeliest other class minus that of the label.
        confident: shape (n,), labels that confident learning doubts with both models.
        doubted: shape (n,), the rows to look at: `confident`, and where those are many, also the rows for which both
            models plainly prefer another class.
        error: share of the labels that the two together don't predict.
        apart: how far doubtful labels stand apart from undecided ones, as a multiple of what outcomes with honest
            chance in them show; about 1 for those, 2 and more for flipped labels of classes that can be told apart.
    """

    scores: Floats
    confident: Bools
    doubted: Bools
    error: float
    apart: float


def doubt_labels(matrix: Floats, labels: Integers, rng: np.random.Generator) -> LabelDoubts:
    """Doubt labels by confident learning across a linear model and a forest, out of fold.

    Args:
        matrix: shape (n, d), finite, d >= 1; about standardised.
        labels: shape (n,), classes from 0, each at least `LEAST_OF_A_CLASS` times, at least two of them.
        rng: draws the folds and the forest's seed.
    Source:
        Northcutt, Jiang & Chuang (2021), J. Artificial Intelligence Research 70 (confident learning).
    """
    seed = int(rng.integers(2**31))
    features = 0.5 if matrix.shape[1] <= _WIDE else "sqrt"
    linear = np.zeros((len(labels), int(labels.max()) + 1))
    forest = np.zeros_like(linear)
    with threadpool_limits(limits=1):
        for learn, judge in StratifiedKFold(_FOLDS, shuffle=True, random_state=seed).split(matrix, labels):
            model = LogisticRegression(C=1 / _PENALTY, max_iter=200, tol=1e-3)
            linear[judge] = model.fit(matrix[learn], labels[learn]).predict_proba(matrix[judge])
            forest[judge] = class_probabilities(
                matrix[learn], labels[learn], matrix[judge], seed=seed, trees=_TREES, leaf=2, features=features
            )
    return _compare(linear, forest, labels)


def _compare(linear: Floats, forest: Floats, labels: Integers) -> LabelDoubts:
    rows = np.arange(len(labels))
    both = (linear + forest) / 2
    rest = both.copy()
    rest[rows, labels] = -1
    margin = both[rows, labels] - rest.max(axis=1)
    likely, likely_too = _confident_class(linear, labels), _confident_class(forest, labels)
    confident = (likely == likely_too) & (likely >= 0) & (likely != labels)
    prefer = linear.argmax(axis=1)
    plain = (prefer == forest.argmax(axis=1)) & (prefer != labels) & (margin < -_PLAIN)
    many = confident.sum() >= max(_AT_LEAST, _SOME * len(labels))
    error = float((both.argmax(axis=1) != labels).mean())
    return LabelDoubts(-margin, confident, confident | plain if many else confident, error, _apart(both, margin, error))


def _confident_class(probabilities: Floats, labels: Integers) -> Integers:
    """The class that a row surely has: the likeliest of those as probable as they usually are for their own; or -1."""
    own = np.array([probabilities[labels == of, of].mean() for of in range(probabilities.shape[1])])
    sure = np.where(probabilities >= own, probabilities, -1.0)
    return np.where(sure.max(axis=1) >= 0, sure.argmax(axis=1), -1).astype(np.intp)


_BY_CHANCE = 2.7
"""Doubtful over undecided rows, per share of errors, where the errors are honest chance; measured on logistic models of
every strength and on outcomes of games: 0.7 to 1.3 times this."""

_CLEAR = 0.15
"""Up to this share of errors, honest chance leaves hardly any confident doubts that could seem to stand apart."""

_UNSURE = 1.2
"""Standard errors of a count of doubtful rows that are taken off: a dozen of them may seem apart by chance."""


def _apart(both: Floats, margin: Floats, error: float) -> float:
    """Whether doubtful rows are a group apart (flipped labels) or the end of a slope (honest chance)."""
    top = np.sort(both, axis=1)
    typical = float(np.median(top[:, -1] - top[:, -2]))
    if typical <= 0 or error == 0:
        return 0.0
    doubtful = float((margin < -typical / 2).mean())
    undecided = float((np.abs(margin) <= typical / 2).mean())
    ratio = doubtful / (undecided + 1 / len(margin)) / (_BY_CHANCE * error)
    if error <= _CLEAR:
        return ratio
    return ratio / (1 + _UNSURE / math.sqrt(max(doubtful * len(margin), 1)))
