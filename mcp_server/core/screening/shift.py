"""A version against an earlier one that is trusted: what was added or changed, and whether it's of the same kind."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2_contingency, ks_2samp
from sklearn.model_selection import StratifiedKFold

from mcp_server.core.screening.forests import class_probabilities
from mcp_server.core.screening.half_sample import Floats
from mcp_server.core.screening.table import Bools, FeatureTable, Integers, encoded, sample, spread

LEAST_ROWS = 30
MOST_ROWS = 3_000
LEAST_DIFFERENCE = 0.1
"""Of two columns' distributions (Kolmogorov-Smirnov, or half the sum of the shares' differences)."""

_FALSE = 1e-3
_UNIQUE = 0.9
_KEPT = 0.5
_TREES, _FOLDS = 100, 3
_BEYOND = 0.995


@dataclass(frozen=True, slots=True)
class Shift:
    """How a table differs from its baseline.

    Args:
        relabelled: shape (n,), rows that have the features of a baseline row and another label.
        compared: the rows that were compared with the baseline's: those that aren't in it, if most are.
        columns: numeric columns, by index, whose distribution differs, widest first.
        code_columns: columns of categories, likewise.
        difference: the widest difference of a column, in [0, 1].
        unlike: the share of the compared rows that is certainly unlike the baseline, in [0, 1].
        scores: shape (n,), probability that a row isn't of the baseline, out of fold; NaN where not looked at.
        flagged: shape (n,), rows less like the baseline than 99.5 % of its own, where there is something unlike.
    """

    relabelled: Bools
    compared: Integers
    columns: tuple[int, ...]
    code_columns: tuple[int, ...]
    difference: float
    unlike: float
    scores: Floats
    flagged: Bools


def measure_shift(table: FeatureTable, baseline: FeatureTable, rng: np.random.Generator) -> Shift | None:
    """Compare a table with a baseline of the same columns.

    Where most rows are the baseline's own, only the others are compared, so that a small addition isn't drowned. A
    column differs if a test says so (at .001, Benjamini-Hochberg over the columns) and by at least
    `LEAST_DIFFERENCE`; rows differ if a forest tells the tables apart out of fold.

    Args:
        table, baseline: the same columns with the same codes, in the same order.
        rng: draws rows, folds and the forest's seed.
    Returns:
        None where either has fewer than 30 rows.
    Source:
        Benjamini & Hochberg (1995), J. Royal Statistical Society B 57(1); Lopez-Paz & Oquab (2017), ICLR (classifier
        two-sample test).
    """
    if min(table.rows, baseline.rows) < LEAST_ROWS:
        return None
    compared, relabelled = _new_rows(table, baseline)
    if len(compared) < LEAST_ROWS:
        empty = np.full(table.rows, np.nan)
        return Shift(relabelled, compared, (), (), 0.0, 0.0, empty, np.zeros(table.rows, dtype=np.bool_))
    new = table.take(compared)
    numbers = [_of_numbers(new.numbers[:, at], baseline.numbers[:, at]) for at in range(new.numbers.shape[1])]
    codes = [_of_codes(new.codes[:, at], baseline.codes[:, at]) for at in range(new.codes.shape[1])]
    differs = _rejected(np.array([chance for chance, _ in (*numbers, *codes)]))
    sizes = np.array([size for _, size in (*numbers, *codes)])
    wide = [int(at) for at in np.argsort(-sizes, kind="stable") if differs[at] and sizes[at] >= LEAST_DIFFERENCE]
    looked, scores, flagged, unlike = _told_apart(table, compared, baseline, rng)
    everywhere = np.zeros(table.rows, dtype=np.bool_)
    everywhere[looked] = flagged
    return Shift(
        relabelled,
        compared,
        tuple(at for at in wide if at < len(numbers)),
        tuple(at - len(numbers) for at in wide if at >= len(numbers)),
        float(sizes[wide].max()) if wide else 0.0,
        unlike,
        spread(scores, looked, table.rows),
        everywhere,
    )


def _new_rows(table: FeatureTable, baseline: FeatureTable) -> tuple[Integers, Bools]:
    """The rows to compare, and those that have a baseline row's features with another label."""
    here, there = _keys(table), _keys(baseline)
    every, none = np.arange(table.rows), np.zeros(table.rows, dtype=np.bool_)
    if len(np.unique(np.concatenate((here, there)))) < _UNIQUE * max(len(here), len(there)):
        return every, none
    values, first = np.unique(there, return_index=True)
    at = np.minimum(np.searchsorted(values, here), len(values) - 1)
    known = values[at] == here
    if known.mean() < _KEPT:
        return every, none
    if table.labels is not None and baseline.labels is not None:
        before = baseline.labels[first[at]]
        none = known & (before >= 0) & (table.labels >= 0) & (before != table.labels)
    return np.flatnonzero(~known), none


def _keys(table: FeatureTable) -> np.ndarray:
    """Each row's features as one value that is equal where they are."""
    numbers = np.where(np.isfinite(table.numbers), table.numbers + 0.0, np.nan)
    whole = np.ascontiguousarray(np.hstack((numbers, table.codes.astype(np.float64))))
    if whole.shape[1] == 0:
        return np.zeros(table.rows)
    return whole.view(np.dtype((np.void, whole.dtype.itemsize * whole.shape[1]))).ravel()


def _of_numbers(new: Floats, old: Floats) -> tuple[float, float]:
    """Chance and size of the difference of two samples."""
    new, old = new[np.isfinite(new)], old[np.isfinite(old)]
    if min(new.size, old.size) < LEAST_ROWS:
        return 1.0, 0.0
    tested = ks_2samp(new, old, method="asymp")
    return float(tested.pvalue), float(tested.statistic)


def _of_codes(new: Integers, old: Integers) -> tuple[float, float]:
    new, old = new[new >= 0], old[old >= 0]
    if min(new.size, old.size) < LEAST_ROWS:
        return 1.0, 0.0
    most = int(max(new.max(), old.max())) + 1
    counts = np.vstack((np.bincount(new, minlength=most), np.bincount(old, minlength=most)))
    pooled = counts.sum(axis=0)
    # Rare values together: chi-squared needs five expected in each cell.
    rare = pooled * min(new.size, old.size) / (new.size + old.size) < 5
    counts = np.column_stack((counts[:, ~rare], counts[:, rare].sum(axis=1)))
    counts = counts[:, counts.sum(axis=0) > 0]
    if counts.shape[1] < 2:
        return 1.0, 0.0
    shares = counts / counts.sum(axis=1, keepdims=True)
    return float(chi2_contingency(counts)[1]), float(np.abs(shares[0] - shares[1]).sum() / 2)


def _rejected(chances: Floats) -> Bools:
    """Benjamini-Hochberg at `_FALSE`."""
    if chances.size == 0:
        return np.zeros(0, dtype=np.bool_)
    order = np.argsort(chances, kind="stable")
    below = np.flatnonzero(chances[order] <= _FALSE * np.arange(1, chances.size + 1) / chances.size)
    rejected = np.zeros(chances.size, dtype=np.bool_)
    rejected[order[: below.max() + 1 if below.size else 0]] = True
    return rejected


def _told_apart(
    table: FeatureTable, compared: Integers, baseline: FeatureTable, rng: np.random.Generator
) -> tuple[Integers, Floats, Bools, float]:
    """The rows looked at, their scores, which are flagged, and the share that is certainly unlike the baseline."""
    looked = sample(compared, MOST_ROWS, rng)
    old = baseline.take(sample(np.arange(baseline.rows), MOST_ROWS, rng))
    new = table.take(looked)
    both = FeatureTable(np.vstack((new.numbers, old.numbers)), np.vstack((new.codes, old.codes)))
    matrix = encoded(both)
    isnew = np.repeat([1, 0], [new.rows, old.rows])
    if matrix.shape[1] == 0:
        return looked, np.zeros(new.rows), np.zeros(new.rows, dtype=np.bool_), 0.0
    seed = int(rng.integers(2**31))
    scores = np.zeros(len(matrix))
    for learn, judge in StratifiedKFold(_FOLDS, shuffle=True, random_state=seed).split(matrix, isnew):
        told = class_probabilities(
            matrix[learn], isnew[learn], matrix[judge], seed=seed, trees=_TREES, leaf=3, features=0.5, balanced=True
        )
        scores[judge] = told[:, 1]
    mine, theirs = scores[: new.rows], scores[new.rows :]
    apart = ks_2samp(mine, theirs, alternative="less", method="asymp")
    noise = math.sqrt(-math.log(_FALSE) / 2 * (1 / mine.size + 1 / theirs.size))
    unlike = max(0.0, float(apart.statistic) - noise)
    flagged = mine > np.quantile(theirs, _BEYOND) if unlike > 0 else np.zeros(new.rows, dtype=np.bool_)
    return looked, mine, flagged, unlike
