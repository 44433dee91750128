"""What a leak is, and from where on a feature knows too much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Measure = Literal["auc", "errors_removed", "r2", "missing_auc"]

AUC = 0.98
"""Of two classes. The strongest single feature of scikit-learn's breast cancer table has .9755 and is honest; a copy of
the target with 2 % of its values wrong has .98."""

ERRORS_REMOVED = 0.97
"""Of classes, by looking up. The strongest single feature of the iris table removes .94 of the errors."""

R2 = 0.99
"""Of a number's variance."""

PAIR_ERRORS_REMOVED = 0.90
"""By which of two columns is larger (or whether they're equal): no threshold was fitted, so less is asked for."""

PAIR_GAIN = 0.25
"""A pair must leave at most this part of what the better of the two columns leaves unexplained."""


@dataclass(frozen=True, slots=True)
class Leak:
    """One or two features that give the target away.

    Args:
        columns: one name, or two.
        measure: what `value` is: `auc` in [.5, 1] (`missing_auc`: of whether the value is missing);
            `errors_removed`, the share of guessing errors that looking up removes; `r2`, the share of variance.
        value: at most 1.
        reason: one sentence of ours, without values from the data.
    """

    columns: tuple[str, ...]
    measure: Measure
    value: float
    reason: str


@dataclass(frozen=True, slots=True)
class Strength:
    """What a column tells about the target by itself; 0.0 where that isn't measured.

    Args:
        area: under the ROC curve, for two classes.
        removed: share of guessing errors removed, for classes.
        explained: share of variance, for a number.
    """

    area: float = 0.0
    removed: float = 0.0
    explained: float = 0.0

    def better(self, other: Strength) -> Strength:
        """The larger of each."""
        return Strength(
            max(self.area, other.area), max(self.removed, other.removed), max(self.explained, other.explained)
        )
