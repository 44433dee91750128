"""Backdoor triggers: a few exact values that too many rows of one class share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.sparse import csr_matrix
from scipy.stats import binom

from mcp_server.core.screening.half_sample import Floats
from mcp_server.core.screening.table import Bools, Integers

LEAST_ROWS = 60
MOST_COLUMNS = 200

_FEWEST, _SHARE, _ENOUGH_ROWS = 6, 0.008, 60
"""Rows that share a trigger: so many at least, and this share of a table in which that is under `_ENOUGH_ROWS`."""

_DISTINCT, _DISTINCT_SHARE = 30, 0.3
"""A column is continuous from so many distinct values, and from this many for each row up to `_ENOUGH` of them."""

_ENOUGH = 3_000
_TOGETHER = 0.5
"""Of the rows with either value, the part that has both."""

_ABOVE = 2.0
"""Times as many rows as share the next two values of the same columns."""

_ABOVE_ALONE = 4.0
_PURE, _BY_CHANCE, _BY_CHANCE_ALONE = 0.9, 5e-3, 1e-8

SURE = 1e-3
"""Up to this chance a pair of values is no accident of a few rows."""

_ITEMS = 5


@dataclass(frozen=True, slots=True)
class Trigger:
    """Values that rows of one class share.

    Args:
        columns: indexes, one or two.
        rows: shape (n,), who shares them.
        chance: the probability of so pure a label among so many rows drawn at random.
    """

    columns: tuple[int, ...]
    rows: Bools
    chance: float


@dataclass(frozen=True, slots=True)
class _Item:
    column: int
    value: float
    rows: Integers


def continuous_columns(numbers: Floats) -> list[int]:
    """Columns in which equal values are rare enough to mean something."""
    found = []
    for at, column in enumerate(numbers.T[:MOST_COLUMNS]):
        present = column[np.isfinite(column)]
        distinct = np.unique(present).size
        if distinct >= max(_DISTINCT, _DISTINCT_SHARE * min(present.size, _ENOUGH)):
            found.append(at)
    return found


def find_triggers(numbers: Floats, labels: Integers) -> list[Trigger] | None:
    """Find values that far more rows share than the columns' other values, nearly all with one label.

    Two columns together, or one by itself with stronger evidence. Zeros are never a trigger (they stand for nothing in
    many honest tables), nor by itself is a column's least or greatest value (where honest columns are cut off).

    Args:
        numbers: shape (n, d), NaN where missing.
        labels: shape (n,), classes from 0, -1 where missing.
    Returns:
        most rows first; None where it can't be told: fewer than 60 rows, or not at least two continuous columns that
        are half of the varying ones.
    """
    columns = continuous_columns(numbers)
    varying = sum(np.unique(column[np.isfinite(column)]).size > 1 for column in numbers.T[:MOST_COLUMNS])
    if len(numbers) < LEAST_ROWS or len(columns) < 2 or len(columns) < varying / 2:
        return None
    fewest = max(_FEWEST, min(_SHARE * len(numbers), _ENOUGH_ROWS))
    items = [item for at in columns for item in _frequent(numbers[:, at], at, fewest)]
    found = [*_pairs(numbers, labels, items, fewest), *_alone(numbers, labels, items, fewest)]
    return sorted(found, key=lambda trigger: (-int(trigger.rows.sum()), trigger.columns))


def _frequent(column: Floats, at: int, fewest: float) -> Iterator[_Item]:
    values, counts = np.unique(column[np.isfinite(column)], return_counts=True)
    for which in np.argsort(-counts, kind="stable")[: _ITEMS + 1]:
        if counts[which] >= fewest and values[which] != 0:
            yield _Item(at, float(values[which]), np.flatnonzero(column == values[which]))


def _pairs(numbers: Floats, labels: Integers, items: list[_Item], fewest: float) -> Iterator[Trigger]:
    if not items:
        return
    starts = np.cumsum([0, *(item.rows.size for item in items)])
    marks = np.concatenate([item.rows for item in items])
    shape = (len(items), len(numbers))
    members = csr_matrix((np.ones(marks.size), marks, starts), shape=shape)
    shared = (members @ members.T).toarray()
    for one, other in combinations(range(len(items)), 2):
        first, second, both = items[one], items[other], shared[one, other]
        either = first.rows.size + second.rows.size - both
        if first.column == second.column or both < fewest or both < _TOGETHER * either:
            continue
        rows = np.zeros(len(numbers), dtype=np.bool_)
        rows[np.intersect1d(first.rows, second.rows)] = True
        chance = _label_chance(labels, rows)
        if chance > _BY_CHANCE or both < _ABOVE * _most_shared(numbers[:, [first.column, second.column]], rows):
            continue
        yield Trigger((first.column, second.column), rows, chance)


def _most_shared(pair: Floats, but: Bools) -> int:
    """How many rows share the most frequent pair of values, besides some rows and zeros."""
    rest = pair[~but & np.isfinite(pair).all(axis=1) & (pair != 0).all(axis=1)]
    return int(np.unique(rest, axis=0, return_counts=True)[1].max()) if len(rest) else 0


def _alone(numbers: Floats, labels: Integers, items: list[_Item], fewest: float) -> Iterator[Trigger]:
    for item in items:
        column = numbers[:, item.column]
        present = column[np.isfinite(column)]
        if item.value in (present.min(), present.max()):
            continue
        others = np.unique(present[(present != item.value) & (present != 0)], return_counts=True)[1]
        if item.rows.size < max(fewest, _ABOVE_ALONE * others.max()):
            continue
        rows = np.zeros(len(numbers), dtype=np.bool_)
        rows[item.rows] = True
        chance = _label_chance(labels, rows)
        if chance <= _BY_CHANCE_ALONE:
            yield Trigger((item.column,), rows, chance)


def _label_chance(labels: Integers, rows: Bools) -> float:
    """The probability that so many of as many random rows have one label, or 1 where less than nine tenths do."""
    mine, known = labels[rows & (labels >= 0)], labels[labels >= 0]
    if mine.size == 0:
        return 1.0
    top = int(np.bincount(mine).argmax())
    hits = int((mine == top).sum())
    if hits < _PURE * mine.size:
        return 1.0
    return float(binom.sf(hits - 1, mine.size, float((known == top).mean())))
