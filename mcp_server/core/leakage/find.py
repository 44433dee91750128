"""Features that know what is to be predicted."""

from __future__ import annotations

import numpy as np
import polars as pl

from mcp_server.core.contract import Contract
from mcp_server.core.leakage.columns import Feature, Goal, read_features, read_target
from mcp_server.core.leakage.leak import AUC, ERRORS_REMOVED, R2, Leak, Strength
from mcp_server.core.leakage.measures import (
    Bools,
    Codes,
    bins,
    errors_removed,
    separation,
    squared_correlation,
    variance_explained,
)
from mcp_server.core.leakage.pairs import pair_leaks

_LEAST_ROWS = 30
_REPEATED = 0.5


def find_leaks(
    frame: pl.DataFrame, contract: Contract, *, rows_limit: int = 20_000, rng: np.random.Generator
) -> list[Leak]:
    """Find features that give the target away, alone or with one other.

    Alone: two classes by the area under the ROC curve, classes by what looking them up removes of the errors of
    guessing (also where the relation isn't monotone, and for categories that repeat), numbers by the variance
    explained; and whether a value is missing counts as a column too. Together: see `pairs.pair_leaks`. The limits, and
    the honest features that they were set by, are in `leak`. An honest feature that separates the classes as well as
    that is called a leak too: nothing in the data tells one from the other.

    Args:
        frame: the table of the contract, shape (n, columns).
        contract: names the target and the features; other roles aren't looked at.
        rows_limit: of a longer table, so many rows are drawn without replacement.
        rng: draws the rows.
    Returns:
        strongest first; empty where there is no target, fewer than 30 rows with one, or fewer than 10 of either of two
        classes.
    """
    if contract.target is None or contract.target not in frame.columns:
        return []
    known = frame.filter(pl.col(contract.target).is_not_null())
    if known.height > rows_limit:
        known = known[np.sort(rng.choice(known.height, rows_limit, replace=False))]
    target = read_target(known, contract)
    if target is None:
        return []
    found: list[Leak] = []
    alone: dict[str, Strength] = {}
    innocent: list[Feature] = []
    for feature in read_features(known, contract):
        leak, alone[feature.name] = _by_itself(feature, target)
        leak = leak or _by_being_missing(feature, target)
        if leak is None:
            innocent.append(feature)
        else:
            found.append(leak)
    found += pair_leaks(innocent, target, alone)
    return sorted(found, key=lambda leak: (-leak.value, leak.columns))


def _by_itself(feature: Feature, target: Goal) -> tuple[Leak | None, Strength]:
    """Whether a column's values give the target away, in the rows that have one."""
    present = feature.present
    if feature.codes is not None:
        # A category that occurs once can't be looked up; where most do, the column is a name.
        present = present & (np.bincount(feature.codes + 1)[feature.codes + 1] > 1)
    if present.sum() < max(_LEAST_ROWS, _REPEATED * feature.present.sum()):
        return None, Strength()
    groups = _groups(feature, present)
    names = (feature.name,)
    if target.numbers is not None:
        numbers = target.numbers[present]
        if numbers.min() == numbers.max():
            return None, Strength()
        explained = variance_explained(groups, numbers)
        if feature.numbers is not None:
            explained = max(explained, squared_correlation(feature.numbers[present], numbers))
        leak = Leak(names, "r2", explained, "It explains nearly all of the target's variance.")
        return leak if explained >= R2 else None, Strength(explained=max(explained, 0.0))
    if target.classes is None:
        return None, Strength()
    classes = target.classes[present]
    if classes.min() == classes.max():
        return None, Strength()
    removed = errors_removed(groups, classes)
    area = 0.0
    if target.two and feature.numbers is not None:
        area = separation(feature.numbers[present], classes == 1)
    strength = Strength(area=area, removed=max(removed, 0.0))
    if area >= AUC:
        return Leak(names, "auc", area, "Its order separates the two classes."), strength
    if removed >= ERRORS_REMOVED:
        return Leak(names, "errors_removed", removed, "Each of its values goes with one class."), strength
    return None, strength


def _groups(feature: Feature, present: Bools) -> Codes:
    if feature.codes is not None:
        return feature.codes[present]
    if feature.numbers is None:
        raise AssertionError("a feature has numbers or codes")
    return bins(feature.numbers[present])


def _by_being_missing(feature: Feature, target: Goal) -> Leak | None:
    if not target.two or target.classes is None or feature.present.all():
        return None
    area = separation(feature.present.astype(np.float64), target.classes == 1)
    if area < AUC:
        return None
    return Leak((feature.name,), "missing_auc", area, "Whether it's missing separates the two classes.")
