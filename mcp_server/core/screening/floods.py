"""The same row over and over, each copy changed a little."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sklearn.neighbors import NearestNeighbors

from mcp_server.core.screening.half_sample import Floats
from mcp_server.core.screening.table import Bools, Integers

LEAST_ROWS = 40
MOST_ROWS = 5_000

_LEAST_COPIES = 3
"""Rows in a group: two alike are chance or a slip, three are a beginning."""

_DIFFERENT = 0.6
"""Share of the rows that are different at all; with fewer, equal rows are usual."""

_CLOSE = ((2, 0.06), (4, 0.10), (8, 0.14), (16, 0.18))
"""Neighbours, and how near the last of them must be, as a part of what is usual for as many."""

_EVIDENCE, _EVIDENCE_OF_PAIRS = 7.0, 2.0
"""Nats by which a group's closeness must be less likely than one over the number of rows."""

_AS_CLOSE = 2.0
"""Times the usual distance within the floods found, up to which two rows alike are taken for one more."""

_GAP = 3.0
"""The nearest row outside is at least so many times as far from the middle as most of the group."""

_STRAGGLING = 4.0
"""Times the median distance from the middle beyond which a row is near a group by chance."""

_MOST_OF_IT = 0.9
"""Part of a group that says how wide it is: in a dense place, a few honest rows are next to it."""

_AROUND = 12
_MOST_DIMENSIONS = 6.0
_TIMES_EQUAL = 4
"""Equal rows are a flood if there are so many, and so many times as many as of any other row."""

_MOST_GROUPS = 200


@dataclass(frozen=True, slots=True)
class Flood:
    """Groups of near-copies.

    Args:
        nearness: shape (n,), the usual distance to a row's second neighbour over its own; large in a flood.
        group: shape (n,), from 0, -1 for rows in none.
        copies: shape (n,), the rows of a group but one, which the others seem to be copies of.
    """

    nearness: Floats
    group: Integers
    copies: Bools


def find_flood(matrix: Floats) -> Flood | None:
    """Find groups of at least three rows that are far closer to each other than to anything around them.

    Chance may bring a few rows together: that one of n rows in D dimensions has its m - 1 nearest within the c-th part
    of the distance to the next is about n c^(D (m - 1)). D is measured around each group. Equal rows count as one;
    they are a flood of their own only if they are many more than any others. Two alike are never a flood, but where
    there is one they belong to it if they are as close. The row that others seem to be copies of is the one with the
    most values that rows elsewhere have too, and of those the most central.

    Args:
        matrix: shape (n, d), finite, standardised.
    Returns:
        None where it can't be told: fewer than 40 rows, no column, or equal rows are usual.
    Source:
        Levina & Bickel (2004), NeurIPS (local dimension).
    """
    rows, width = matrix.shape
    if rows < LEAST_ROWS or width == 0:
        return None
    distinct, of, counts = np.unique(matrix, axis=0, return_inverse=True, return_counts=True)
    if len(distinct) < max(_DIFFERENT * rows, LEAST_ROWS / 2):
        return None
    distances, component = _close_together(distinct)
    groups = [core for core in (_core(distinct, group) for group in _components(component)) if core is not None]
    groups += _pairs_as_close(distinct, groups)
    groups += [np.array([at]) for at in _often_equal(distinct, counts)]
    times = _times(matrix)
    group = np.full(rows, -1, dtype=np.intp)
    copies = np.zeros(rows, dtype=np.bool_)
    for number, which in enumerate(groups):
        members = np.flatnonzero(np.isin(of, which))
        group[members] = number
        copies[members] = True
        copies[members[_source(matrix[members], times[members])]] = False
    second = distances[:, 1]
    usual = float(np.median(second))
    nearness = usual / np.maximum(second, usual * 1e-6)
    return Flood(nearness[of], group, copies)


def _close_together(distinct: Floats) -> tuple[Floats, Integers]:
    """Distances to the nearest neighbours, and for each row a number that it shares with those that are very close."""
    rows = len(distinct)
    most = min(max(count for count, _ in _CLOSE), rows - 1)
    distances, neighbours = NearestNeighbors(n_neighbors=most, n_jobs=1).fit(distinct).kneighbors()
    radius = np.zeros(rows)
    for count, part in _CLOSE:
        last = distances[:, min(count, most) - 1]
        radius = np.where(last <= part * np.median(last), np.maximum(radius, last), radius)
    at, which = np.nonzero(distances <= radius[:, None])
    links = coo_matrix((np.ones(at.size), (at, neighbours[at, which])), shape=(rows, rows))
    return distances, connected_components(links, directed=False)[1]


def _components(component: Integers) -> list[Integers]:
    sizes = np.bincount(component)
    large = np.flatnonzero(sizes >= _LEAST_COPIES)
    large = large[np.argsort(-sizes[large], kind="stable")[:_MOST_GROUPS]]
    return [np.flatnonzero(component == which) for which in large]


def _central(members: Floats) -> int:
    return int(((members - np.median(members, axis=0)) ** 2).sum(axis=1).argmin())


def _times(matrix: Floats) -> Integers:
    """How often each value is in its column."""
    counted = [np.unique(column, return_inverse=True, return_counts=True) for column in matrix.T]
    return np.column_stack([counts[of] for _, of, counts in counted])


def _source(members: Floats, times: Integers) -> int:
    """Which of a group the others are copies of: values that are changed a little are seldom those of other rows."""
    elsewhere = (times > _times(members)).sum(axis=1)
    likely = np.flatnonzero(elsewhere == elsewhere.max())
    away = ((members - np.median(members, axis=0)) ** 2).sum(axis=1)
    return int(likely[away[likely].argmin()])


def _pairs_as_close(distinct: Floats, groups: list[Integers]) -> list[Integers]:
    """Two rows, each the other's nearest, as close as those of the groups are and closer than chance has it."""
    if not groups:
        return []
    within = [np.sqrt(((distinct[group] - distinct[group].mean(axis=0)) ** 2).sum(axis=1)).mean() for group in groups]
    rest = np.setdiff1d(np.arange(len(distinct)), np.concatenate(groups))
    if rest.size <= _AROUND + 1:
        return []
    distances, neighbours = NearestNeighbors(n_neighbors=1, n_jobs=1).fit(distinct[rest]).kneighbors()
    near, nearest = distances[:, 0], neighbours[:, 0]
    one = np.flatnonzero((near <= _AS_CLOSE * max(within)) & (nearest[nearest] == np.arange(rest.size)))
    pairs = [rest[[at, nearest[at]]] for at in one if at < nearest[at]][:_MOST_GROUPS]
    return [pair for pair in pairs if _beyond_chance(_away(distinct, pair[0]), pair, _EVIDENCE_OF_PAIRS)]


def _away(distinct: Floats, row: int) -> Floats:
    return np.asarray(np.sqrt(((distinct - distinct[row]) ** 2).sum(axis=1)))


def _core(distinct: Floats, group: Integers) -> Integers | None:
    """A group, with or without its stragglers, or None where chance might bring either so close together."""
    away = _away(distinct, group[_central(distinct[group])])
    core = group[away[group] <= _STRAGGLING * np.median(away[group])]
    parts = (part for part in (group, core) if len(part) >= _LEAST_COPIES)
    return next((part for part in parts if _beyond_chance(away, part, _EVIDENCE)), None)


def _beyond_chance(away: Floats, group: Integers, least: float) -> bool:
    """Whether the rows of a group are too close for chance, given all rows' distances from its middle."""
    radius = max(float(np.quantile(away[group], _MOST_OF_IT, method="higher")), 1e-100)
    outside = np.sort(np.delete(away, group))[:_AROUND]
    if outside.size < _AROUND or outside[0] < _GAP * radius:
        return False
    logs = np.log(outside[-1] / outside[:-1]).sum()
    dimensions = min(max((_AROUND - 2) / logs if logs > 0 else 1.0, 1.0), _MOST_DIMENSIONS)
    evidence = (len(group) - 1) * dimensions * math.log(outside[0] / radius)
    return bool(evidence >= math.log(len(away)) + least)


def _often_equal(distinct: Floats, counts: Integers) -> Integers:
    """Rows that are there many more times than any others; a row of nothing but usual values may be."""
    order = np.argsort(-counts, kind="stable")
    ranked = counts[order]
    steps = np.flatnonzero((ranked[:-1] >= _TIMES_EQUAL * ranked[1:]) & (ranked[:-1] >= _TIMES_EQUAL))
    if steps.size == 0:
        return np.zeros(0, dtype=np.intp)
    often = order[: steps[-1] + 1]
    usual = np.array([_most_frequent(column) for column in distinct.T])
    return np.asarray(often[~(distinct[often] == usual).all(axis=1)], dtype=np.intp)


def _most_frequent(column: Floats) -> float:
    """The value that most different rows have: copies of a row don't make its values usual."""
    values, counts = np.unique(column, return_counts=True)
    return float(values[counts.argmax()])
