"""Rows far from every other: several detectors together, without labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import NearestNeighbors

from mcp_server.core.screening.half_sample import Floats

LEAST_ROWS = 30
LEAST_COLUMNS = 2
MOST_ROWS = 4_000

LIMIT = 3.2
"""Times as far, and as sparse, as is usual in the table: below it nothing is an outlier."""

_BULK, _BEYOND = (0.3, 0.7), 0.003
"""The part of the table that says how its tail falls, and the share of an exponential tail beyond the limit."""

_NEIGHBOURS = (10, 20)
_LOCAL = (20, 35)
_TREES = 100
_FLOOR = 0.05
"""Of the usual distance to a neighbour: equal rows would otherwise make their neighbourhood infinitely dense."""


@dataclass(frozen=True, slots=True)
class Outlyingness:
    """How far out each row is.

    Args:
        rank: shape (n,), in (0, 1]: the median over five detectors of the row's rank; only the order means something.
        excess: shape (n,), > 0: how many times as far from its neighbours as is usual, in the table and next to it
            (geometric mean); about 1 for a usual row.
        limit: of `excess`, above which a row is an outlier: `LIMIT`, or more where the table itself has a long tail.
    """

    rank: Floats
    excess: Floats
    limit: float


def outlyingness(matrix: Floats, rng: np.random.Generator) -> Outlyingness | None:
    """Rank rows by five detectors together, and measure how far out they are.

    The rank is the median of those by isolation forest, by the distance to the 10th and the 20th neighbour and by local
    outlier factor with 20 and 35 neighbours: none of them is best everywhere, and the median is spoilt by none.

    Args:
        matrix: shape (n, d), finite, standardised.
        rng: draws the forest's seed.
    Returns:
        None where nothing can be far: fewer than 30 rows, fewer than two columns (`screen_rows` looks at one), or at
        least half of the rows have 20 equals.
    Source:
        Liu, Ting & Zhou (2008), ICDM; Ramaswamy, Rastogi & Shim (2000), SIGMOD; Breunig et al. (2000), SIGMOD; compared
        by Han et al. (2022), ADBench, NeurIPS.
    """
    rows, width = matrix.shape
    if rows < LEAST_ROWS or width < LEAST_COLUMNS:
        return None
    most = min(max(_LOCAL), rows - 1)
    distances, neighbours = NearestNeighbors(n_neighbors=most, n_jobs=1).fit(matrix).kneighbors()
    usual = float(np.median(distances[:, min(max(_NEIGHBOURS), most) - 1]))
    if usual <= 0:
        return None
    forest = IsolationForest(n_estimators=_TREES, random_state=int(rng.integers(2**31)), n_jobs=1).fit(matrix)
    far = [distances[:, min(count, most) - 1] for count in _NEIGHBOURS]
    sparse = [_local_outlier_factor(distances, neighbours, min(count, most), _FLOOR * usual) for count in _LOCAL]
    ranks = [rankdata(scores) for scores in (-forest.score_samples(matrix), *far, *sparse)]
    excess = np.sqrt(np.sqrt(sparse[0] * sparse[1]) * far[-1] / usual)
    return Outlyingness(np.median(ranks, axis=0) / rows, excess, _limit(excess))


def _limit(excess: Floats) -> float:
    """Where the logarithm of the excess would end if it went on falling as it does in the bulk of the table.

    The bulk ends at .7, so that up to a fifth of the rows may be outliers without hiding each other.
    """
    bulk = np.quantile(excess, _BULK)
    if bulk[0] <= 0.0:
        return LIMIT
    low, high = np.log(bulk)
    slope = (high - low) / np.log((1 - _BULK[0]) / (1 - _BULK[1]))
    return max(LIMIT, float(np.exp(low + slope * np.log((1 - _BULK[0]) / _BEYOND))))


def _local_outlier_factor(distances: Floats, neighbours: np.ndarray, count: int, floor: float) -> Floats:
    """How much sparser a row's neighbourhood is than those of its neighbours."""
    near, who = distances[:, :count], neighbours[:, :count]
    reach = np.maximum(near, distances[who, count - 1]).mean(axis=1) + floor
    return np.asarray(reach * (1 / reach)[who].mean(axis=1), dtype=np.float64)
