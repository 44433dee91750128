"""Triggers among usual values: rows that share them, and one label that the rest of the table contradicts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from scipy.stats import binom
from sklearn.base import ClassifierMixin
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from mcp_server.core.screening.half_sample import Floats
from mcp_server.core.screening.table import Bools, Integers
from mcp_server.core.screening.triggers import Trigger

LEAST_ROWS = 200
MOST_ROWS = 5_000

_FEWEST, _SHARE, _MOST = 8, 0.008, 0.2
"""Rows that share a trigger: so many and this share at least, and this share at most."""

_MOST_VALUES, _MOST_ITEMS = 50, 600
_PURE, _BY_CHANCE = 0.9, 1e-4
_MOST_CANDIDATES, _TRIED = 200, 3
"""Candidates, the least likely first, whose rows' neighbours are asked, and those left for which models are fitted."""

_AROUND, _ASKED, _AGREE = 40, 10, 0.6
"""Nearest rows that are known, those of them without the pair that are asked, and the part whose labels may agree."""

_OVERLAP = 0.5
_LEARN_FROM = 3_000
_TREES = 60
_AS_OFTEN, _CONTRADICTED = 0.7, 1e-4
"""A candidate is contradicted if both models agree with its label so much more seldom than this part of how often they
agree with the same label elsewhere."""


@dataclass(frozen=True, slots=True)
class _Item:
    column: int
    value: float
    rows: Bools


def find_contradictions(
    columns: Floats, continuous: list[int], matrix: Floats, labels: Integers, rng: np.random.Generator
) -> list[Trigger]:
    """Find usual values whose rows have one label that the rest of the table belies.

    Candidates are pairs of values, in columns where equal ones are usual, whose rows have one label nine times in ten,
    far more than the rows with either value alone; and the least and greatest values of the other columns. Honest
    interactions and honest limits look like that too. But a backdoor's rows look like other classes in everything
    else: a linear model and a forest that learned from the other rows must both seldom answer with the label.

    Args:
        columns: shape (n, c), NaN where missing.
        continuous: those of them in which equal values are rare.
        matrix: shape (n, d), finite, standardised: what the models learn from.
        labels: shape (n,), classes from 0, no missing ones.
        rng: draws the rows that the models learn from, and the forest's seed.
    Returns:
        disjoint groups of rows, most surprising first; none of fewer than `LEAST_ROWS` rows.
    """
    if len(labels) < LEAST_ROWS or matrix.shape[1] == 0:
        return []
    usual = [at for at in range(columns.shape[1]) if at not in continuous]
    candidates = [*_pairs(_items(columns, usual, labels), labels), *_ends(columns, continuous, labels)]
    candidates = sorted(candidates, key=lambda candidate: candidate[0].chance)
    if not candidates:
        return []
    around = min(_AROUND, len(labels) - 1)
    neighbours = NearestNeighbors(n_neighbors=around, n_jobs=1).fit(matrix).kneighbors(return_distance=False)
    unlike = [(trigger, label) for trigger, label in candidates if _unlike(trigger.rows, label, labels, neighbours)]
    found: list[Trigger] = []
    for trigger, label in unlike[:_TRIED]:
        seen = any((trigger.rows & other.rows).any() for other in found)
        if not seen and _contradicted(trigger.rows, label, matrix, labels, rng):
            found.append(trigger)
    return found


def _ends(columns: Floats, continuous: list[int], labels: Integers) -> Iterator[tuple[Trigger, int]]:
    """The least and greatest values that many rows of nearly one label have."""
    shares = np.bincount(labels) / len(labels)
    for at in continuous:
        present = columns[np.isfinite(columns[:, at]), at]
        for value in (present.min(), present.max()):
            rows = columns[:, at] == value
            count = int(rows.sum())
            if not max(_FEWEST, _SHARE * len(labels)) <= count <= _MOST * len(labels):
                continue
            label = int(np.bincount(labels[rows]).argmax())
            hits = int((labels[rows] == label).sum())
            chance = float(binom.sf(hits - 1, count, shares[label]))
            if hits >= _PURE * count and chance <= _BY_CHANCE / (2 * len(continuous)):
                yield Trigger((at,), rows, chance), label


def _items(columns: Floats, usual: list[int], labels: Integers) -> list[_Item]:
    """Values that some but not most rows have, those first whose labels are least like all rows' labels."""
    size, classes = len(labels), int(labels.max()) + 1
    expected = np.bincount(labels, minlength=classes) / size
    fewest = max(_FEWEST, _SHARE * size)
    ranked: list[tuple[float, _Item]] = []
    for at in usual:
        column = columns[:, at]
        values, counts = np.unique(column[np.isfinite(column)], return_counts=True)
        enough = np.flatnonzero((counts >= fewest) & (counts <= _MOST * size))
        for which in enough[np.argsort(-counts[enough], kind="stable")[:_MOST_VALUES]]:
            rows = column == values[which]
            shares = np.bincount(labels[rows], minlength=classes) / counts[which]
            odd = float(((shares - expected) * np.sqrt(counts[which] / np.maximum(expected, 1 / size))).max())
            ranked.append((odd, _Item(at, float(values[which]), rows)))
    ranked.sort(key=lambda item: -item[0])
    return [item for _, item in ranked[:_MOST_ITEMS]]


def _pairs(items: list[_Item], labels: Integers) -> list[tuple[Trigger, int]]:
    """The least likely pairs that don't mostly have the same rows, and their labels."""
    if len(items) < 2:
        return []
    size = len(labels)
    members = csr_matrix(np.stack([item.rows for item in items]).astype(np.float64))
    both = (members @ members.T).toarray()
    alone = np.diag(both)
    column = np.array([item.column for item in items])
    fewest = max(_FEWEST, _SHARE * size)
    possible = np.triu((both >= fewest) & (column[:, None] != column[None, :]), 1)
    ranked: list[tuple[float, int, int, int]] = []
    for label in range(int(labels.max()) + 1):
        of = members[:, np.flatnonzero(labels == label)]
        hits = (of @ of.T).toarray()
        own = np.diag(hits)
        one, other = np.nonzero(possible & (hits >= _PURE * both))
        together, right = both[one, other], hits[one, other]
        # The share of the label among rows with just one of the values, as if of four more one had it.
        shares = [(own[at] - right + 1) / (alone[at] - together + 4) for at in (one, other)]
        share = np.maximum(np.maximum(*shares), (labels == label).mean())
        chances = binom.logsf(right - 1, together, share)
        likely = np.log(_BY_CHANCE) - np.log(max(int(possible.sum()), 1))
        ranked += [
            (float(chances[at]), int(one[at]), int(other[at]), label) for at in np.flatnonzero(chances <= likely)
        ]
    chosen: list[tuple[Trigger, int]] = []
    for chance, first, second, label in sorted(ranked):
        rows = items[first].rows & items[second].rows
        if all((rows & trigger.rows).sum() < _OVERLAP * (rows | trigger.rows).sum() for trigger, _ in chosen):
            chosen.append((Trigger((items[first].column, items[second].column), rows, float(np.exp(chance))), label))
        if len(chosen) == _MOST_CANDIDATES:
            break
    return chosen


def _unlike(rows: Bools, label: int, labels: Integers, neighbours: Integers) -> bool:
    """Whether the nearest rows without the pair have other labels."""
    near = neighbours[rows]
    outside = ~rows[near]
    asked = outside & (outside.cumsum(axis=1) <= _ASKED)
    return int((asked & (labels[near] == label)).sum()) <= _AGREE * max(int(asked.sum()), 1)


def _contradicted(rows: Bools, label: int, matrix: Floats, labels: Integers, rng: np.random.Generator) -> bool:
    """Whether models that learned from the other rows seldom give these rows their label, as they do elsewhere."""
    rest = rng.permutation(np.flatnonzero(~rows))[: 2 * _LEARN_FROM]
    learn, judge = rest[::2], rest[1::2]
    elsewhere = judge[labels[judge] == label]
    here = np.flatnonzero(rows & (labels == label))
    if elsewhere.size < _FEWEST or np.unique(labels[learn]).size < 2:
        return False
    seed = int(rng.integers(2**31))
    models: tuple[ClassifierMixin, ...] = (
        LogisticRegression(C=0.3, max_iter=200, tol=1e-3),
        ExtraTreesClassifier(n_estimators=_TREES, min_samples_leaf=2, random_state=seed, n_jobs=1),
    )
    with threadpool_limits(limits=1):
        for model in models:
            model.fit(matrix[learn], labels[learn])
            usual = float((model.predict(matrix[elsewhere]) == label).mean())
            agree = int((model.predict(matrix[here]) == label).sum())
            if binom.cdf(agree, here.size, _AS_OFTEN * usual) > _CONTRADICTED:
                return False
    return True
