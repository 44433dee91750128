"""Whether far values stand apart from a column, or are merely the end of its own tail."""

from __future__ import annotations

import numpy as np

from mcp_server.core.screening.half_sample import Floats

EVIDENCE = 5.5
"""Nats by which a group apart must explain the far values better than the column's own tail (odds of about 250)."""

_RATE = 0.4
"""The slowest exponential fall, per scale, that counts as a tail: a bare exponential column falls at about 0.5."""

_WIDTH = 1.3
"""A valley ends at least this many times as far out as it begins: narrower gaps are in every sample."""

_BODY = 2.0
"""Beyond this many scales the column's own fall so far says how steep its tail is; closer in, that's noise."""

_VALLEY = 1 / 3
"""A valley is at most this part as dense as the group beyond it: a flat tail isn't one."""

_BEST = 0.5
"""A group begins where the evidence is at least this part of the most that is found."""

_EDGES = 32
"""How many of the widest gaps, and how many places in between, are tried as the ends of the valley."""


def start_of_group(scores: Floats, *, grain: float = 0.0) -> float:
    """The distance at which a group of far values begins that the column's own tail doesn't explain.

    The tail is taken to fall at least like a power of -1 (a Cauchy's) or an exponential, whichever is slower, and more
    steeply where the column's own values have done so. A valley from a to b with too few values in it, for the number
    that lies beyond b, contradicts that; Chernoff's bound on the binomial says how much. An empty gap is the special
    case of a valley with nothing in it.

    Args:
        scores: shape (k,), distances from the centre in scales, >= 0, finite, sorted.
        grain: the step of the column's values, in scales: a gap of one step is none.
    Returns:
        that distance, or infinity where the tail explains every value.
    """
    tail = scores[np.searchsorted(scores, 1.0, side="right") :]
    if tail.size == 0:
        return np.inf
    before = np.concatenate(([1.0], tail[:-1]))
    widest = np.argsort(-(tail / before), kind="stable")[:_EDGES]
    between = np.linspace(0, tail.size - 1, _EDGES).astype(np.intp)
    edges = np.unique(np.concatenate((widest, between)))
    starts, ends, beyond = before[edges], tail[edges], (tail.size - edges).astype(np.float64)
    fallen = np.where(starts >= _BODY, np.log(tail.size / beyond), 0.0)
    power = np.maximum(fallen / np.log(np.maximum(starts, _BODY)), 1.0)
    rate = np.maximum(fallen / np.maximum(starts - 1.0, 1.0), _RATE)
    a, b = starts[:, None], ends[None, :] - grain
    nearest = np.maximum(b, a)
    expected = np.maximum((a / nearest) ** power[:, None], np.exp(-rate[:, None] * (nearest - a)))
    observed = beyond[None, :] / beyond[:, None]
    evidence = beyond[:, None] * _divergence(observed, expected)
    valley = (b >= _WIDTH * a) & (observed <= 1.0) & (observed > expected) & (evidence >= EVIDENCE)
    best = np.zeros(ends.size)
    for at in np.flatnonzero(valley.any(axis=0)):
        shallow = _VALLEY * _density(tail[edges[at] :], grain)
        between = (beyond - beyond[at]) / np.maximum(ends[at] - starts, 1e-100)
        best[at] = evidence[valley[:, at] & (between <= shallow), at].max(initial=0.0)
    # The last values before a gap are nearly as good a start as the first beyond it, but not half as good.
    found = best >= max(EVIDENCE, _BEST * best.max())
    return float(ends[found].min()) if found.any() else np.inf


def _density(group: Floats, grain: float) -> float:
    """Values per scale where a group is densest: in its shortest half."""
    half = (group.size + 1) // 2
    width = float((group[half - 1 :] - group[: group.size - half + 1]).min())
    return half / max(width, grain, 1e-100)


def _divergence(observed: Floats, expected: Floats) -> Floats:
    """Kullback-Leibler divergence between two coins, nats; the largest finite number where `expected` is 0."""
    expected = np.clip(expected, np.finfo(np.float64).tiny, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        heads = observed * np.log(observed / expected)
        tails = np.where(observed < 1.0, (1.0 - observed) * np.log((1.0 - observed) / (1.0 - expected)), 0.0)
    return np.nan_to_num(heads + tails, nan=0.0, posinf=0.0)


def two_groups(values: Floats, *, minority: float) -> bool:
    """Whether a column falls into two groups of which neither is small, with next to nothing between them.

    The split is the one with the least variance within the groups; the column is in two groups if the middle third of
    the way between their means holds less than 5 % of the values.

    Args:
        values: shape (n,), finite, sorted, n >= 2.
        minority: the least share of the smaller group, in (0, 0.5].
    Source:
        Otsu (1979), IEEE Trans. Systems, Man and Cybernetics 9(1) (the split).
    """
    size = values.size
    sums = np.cumsum(values)
    left = np.arange(1, size)
    means_left, means_right = sums[:-1] / left, (sums[-1] - sums[:-1]) / (size - left)
    between = left * (size - left) * (means_right - means_left) ** 2
    best = int(between.argmax())
    if min(best + 1, size - best - 1) < minority * size:
        return False
    low, high = means_left[best], means_right[best]
    inside = np.searchsorted(values, [low + (high - low) / 3, high - (high - low) / 3])
    return bool(inside[1] - inside[0] < 0.05 * size)
