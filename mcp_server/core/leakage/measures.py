"""How much of a target one column gives away."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.intp]

_MOST_BINS = 100
_ROWS_A_BIN = 20


def separation(values: Floats, positive: Bools) -> float:
    """The area under the ROC curve of a column as a score, in whichever direction it is larger.

    Args:
        values: shape (n,), finite; only their order matters, a tie counts half.
        positive: shape (n,), at least one true and one false.
    Returns:
        in [0.5, 1]; 1.0 if the column's order separates the classes.
    """
    losing = np.sort(values[~positive])
    winning = values[positive]
    placed = np.searchsorted(losing, winning, side="left") + np.searchsorted(losing, winning, side="right")
    area = float(placed.mean() / (2.0 * losing.size))
    return max(area, 1.0 - area)


def bins(values: Floats) -> Codes:
    """Group a column into up to 100 quantile bins of about 20 rows or more; equal values stay together.

    Args:
        values: shape (n,), finite, n >= 1.
    Returns:
        shape (n,), bin indexes from 0.
    """
    count = int(np.clip(values.size // _ROWS_A_BIN, 2, _MOST_BINS))
    edges = np.unique(np.quantile(values, np.linspace(0, 1, count + 1)[1:-1], method="inverted_cdf"))
    return np.searchsorted(edges, values, side="left")


def errors_removed(groups: Codes, classes: Codes) -> float:
    """The share of guessing errors that goes away when the class is looked up in a row's group.

    Each row is left out of its own group, so that a column of distinct values tells nothing.

    Args:
        groups: shape (n,), from 0.
        classes: shape (n,), from 0, at least two different ones.
    Returns:
        at most 1 (the group decides the class); 0 or less where it doesn't help.
    Source:
        Goodman & Kruskal (1954), J. American Statistical Association 49 (lambda), here leave-one-out.
    """
    most = int(classes.max()) + 1
    cells, at, count = np.unique(groups * most + classes, return_inverse=True, return_counts=True)
    group_of, counts = cells // most, count.astype(np.float64)
    start = np.flatnonzero(np.r_[True, group_of[1:] != group_of[:-1]])
    which = np.cumsum(np.r_[False, group_of[1:] != group_of[:-1]])
    best = np.maximum.reduceat(counts, start)
    is_best = counts == best[which]
    # The largest count among a group's other classes: the best, or the second best for the best itself.
    second = np.maximum.reduceat(np.where(is_best, 0.0, counts), start)
    tied = np.add.reduceat(is_best.astype(np.intp), start) > 1
    other = np.where(is_best & ~tied[which], second[which], best[which])
    right = np.where(counts - 1 > other, 1.0, np.where((counts - 1 == other) & (other > 0), 0.5, 0.0))
    wrong = float((1.0 - right[at]).mean())
    guessing = 1.0 - np.bincount(classes).max() / classes.size
    return 1.0 - wrong / float(guessing)


def variance_explained(groups: Codes, target: Floats) -> float:
    """The share of a number's variance that the mean of the other rows in its group explains.

    Args:
        groups: shape (n,), from 0; a row alone in its group is foretold by the mean of all.
        target: shape (n,), finite, not constant.
    Returns:
        at most 1; 0 or less where the groups don't help.
    """
    target = target - target.mean()
    count = np.bincount(groups).astype(np.float64)
    total = np.bincount(groups, weights=target)
    own = count[groups]
    others = np.where(own > 1, (total[groups] - target) / np.maximum(own - 1, 1), 0.0)
    return 1.0 - float(((target - others) ** 2).sum() / (target**2).sum())


def squared_correlation(values: Floats, target: Floats) -> float:
    """The share of a number's variance that a straight line in the values explains; 0.0 for constant values."""
    values = values - values.mean()
    target = target - target.mean()
    product = float((values**2).sum() * (target**2).sum())
    return float((values @ target) ** 2 / product) if product > 0 else 0.0
