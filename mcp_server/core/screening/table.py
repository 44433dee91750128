"""What is screened: a table's features and labels as arrays, and what a method says of its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from mcp_server.core.screening.half_sample import Floats
from mcp_server.errors import BadSample

Bools = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.intp]
Grade = Literal["fail", "warn", "info"]

_MOST_CODES, _LEAST_CODED = 50, 5
_FARTHEST = 12.0
"""Standard deviations at which a value is far enough; farther ones would make all others look alike."""


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """Features and labels.

    Args:
        numbers: shape (n, d), NaN where missing, any units.
        codes: shape (n, c), categories as numbers from 0, -1 where missing.
        labels: shape (n,), classes as numbers from 0, -1 where missing; None where the target isn't a class.
        target: shape (n,), NaN where missing; None where the target isn't a number.
    Raises:
        BadSample: the parts have different numbers of rows.
    """

    numbers: Floats
    codes: Integers
    labels: Integers | None = None
    target: Floats | None = None

    def __post_init__(self) -> None:
        sizes = {len(part) for part in (self.numbers, self.codes, self.labels, self.target) if part is not None}
        if len(sizes) != 1 or self.numbers.ndim != 2 or self.codes.ndim != 2:
            raise BadSample("Screening takes a table of rows and columns.", hint="Pass parts with the same rows.")

    @property
    def rows(self) -> int:
        return len(self.numbers)

    def take(self, rows: Integers) -> FeatureTable:
        """The table of some rows."""
        labels = None if self.labels is None else self.labels[rows]
        target = None if self.target is None else self.target[rows]
        return FeatureTable(self.numbers[rows], self.codes[rows], labels, target)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one method says of a table.

    Args:
        method: `outliers`, `label_noise`, `duplicates_flood`, `trigger` or `shift`.
        grade: `fail`, `warn`, or `info` where nothing follows for the table as a whole.
        scores: shape (n,), higher is more suspicious, in the method's own unit; NaN where a row wasn't looked at.
        flagged: shape (n,), the rows that the method would have looked at by a person.
        columns: indexes of the columns that it concerns, if it concerns some: those of the numbers, then of the codes.
        reason: one sentence, without values from the data.
        statistic: the figure that decided, as `reason` explains.
        unreliable: whether the method found that it can't tell, and so flags no row.
    """

    method: str
    grade: Grade
    scores: Floats
    flagged: Bools
    columns: tuple[int, ...]
    reason: str
    statistic: float
    unreliable: bool = False

    @property
    def looked_at(self) -> int:
        """How many rows were looked at."""
        return int((~np.isnan(self.scores)).sum())


def sample(rows: Integers, most: int, rng: np.random.Generator) -> Integers:
    """At most so many of the rows, drawn without replacement, rising."""
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))


def spread(values: Floats, of: Integers, size: int) -> Floats:
    """Values of some rows as those of all, NaN elsewhere."""
    everywhere = np.full(size, np.nan)
    everywhere[of] = values
    return everywhere


def standardised(numbers: Floats, *, most_equal: float = 1.0) -> Floats:
    """Columns with mean 0 and standard deviation 1, missing values in the middle, constant ones left out.

    Args:
        numbers: shape (n, d), n >= 1, NaN where missing.
        most_equal: columns in which at least this share has one value are left out too.
    Returns:
        shape (n, at most d), finite.
    """
    kept = []
    for column in numbers.T:
        present = column[np.isfinite(column)]
        if present.size < 2:
            continue
        if most_equal < 1 and np.unique(present, return_counts=True)[1].max() >= most_equal * present.size:
            continue
        middle = np.median(present)
        size = float(np.abs(present).max())
        values = np.where(np.isfinite(column), column, middle) / (size if size > 0 else 1.0)
        width = values.std()
        if width > 1e-12:
            kept.append((values - values.mean()) / width)
    return np.column_stack(kept) if kept else np.empty((len(numbers), 0))


def encoded(table: FeatureTable, *, most_equal: float = 1.0) -> Floats:
    """Standardised numbers, whether each is missing, and categories as 0/1 columns: what a model can learn from.

    Of a category the 50 most frequent values count, if five rows have them. Numbers are cut at 12 standard deviations;
    `most_equal` is as in `standardised`.
    """
    parts = [np.clip(standardised(table.numbers, most_equal=most_equal), -_FARTHEST, _FARTHEST)]
    missing = ~np.isfinite(table.numbers)
    parts.append(missing[:, missing.any(axis=0) & ~missing.all(axis=0)].astype(np.float64))
    for column in table.codes.T:
        values, counts = np.unique(column[column >= 0], return_counts=True)
        values, counts = values[counts >= _LEAST_CODED], counts[counts >= _LEAST_CODED]
        frequent = np.sort(values[np.argsort(-counts, kind="stable")[:_MOST_CODES]])
        parts.append((column[:, None] == frequent[None, :]).astype(np.float64))
    return np.hstack(parts)
