"""Pairs of features that give the target away only together, such as the two final scores of a game."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations, islice

import numpy as np

from mcp_server.core.leakage.columns import Feature, Goal
from mcp_server.core.leakage.leak import AUC, PAIR_ERRORS_REMOVED, PAIR_GAIN, R2, Leak, Strength
from mcp_server.core.leakage.measures import Codes, Floats, errors_removed, separation, squared_correlation

MAX_PAIRS = 2_000
"""Pairs looked at: all of 63 comparable columns, the first so many of more."""

_FIRST_LOOK = 2_000
_SLACK = 0.02
_LEAST_ROWS = 30


def pair_leaks(features: list[Feature], target: Goal, alone: Mapping[str, Strength]) -> list[Leak]:
    """Pairs whose difference, order or equality gives the target away; for a number also sum, product and ratio.

    Numbers are compared where their ranges overlap and no different units are stated, categories where they share
    values. A first look at about 2,000 rows decides which pairs are measured on all.

    Args:
        features: those that aren't leaks by themselves.
        alone: what each tells by itself.
    Returns:
        at most one leak a pair.
    """
    step = max(1, target.rows // _FIRST_LOOK)
    glance = target.every(step)
    found: list[Leak] = []
    for one, other in islice(_comparable(features), MAX_PAIRS):
        best = alone[one.name].better(alone[other.name])
        if step > 1 and _leak(one.every(step), other.every(step), glance, best, slack=_SLACK) is None:
            continue
        leak = _leak(one, other, target, best, slack=0.0)
        if leak is not None:
            found.append(leak)
    return found


def _comparable(features: list[Feature]) -> Iterator[tuple[Feature, Feature]]:
    ranges = {}
    for feature in features:
        if feature.numbers is not None and feature.present.any():
            ranges[feature.name] = np.quantile(feature.numbers[feature.present], [0.05, 0.95])
    values = {feature.name: np.unique(feature.codes) for feature in features if feature.codes is not None}
    for one, other in combinations(features, 2):
        if one.name in ranges and other.name in ranges:
            (low, high), (lowest, highest) = ranges[one.name], ranges[other.name]
            if may_be_compared(one.unit, other.unit) and low <= highest and lowest <= high:
                yield one, other
        elif one.name in values and other.name in values and np.isin(values[one.name], values[other.name]).any():
            yield one, other


def may_be_compared(unit: str | None, other: str | None) -> bool:
    """Whether two columns have the same unit, as far as units are stated."""
    return unit is None or other is None or unit == other


def _leak(one: Feature, other: Feature, target: Goal, best: Strength, *, slack: float) -> Leak | None:
    both = one.present & other.present
    if both.sum() < max(_LEAST_ROWS, both.size // 2):
        return None
    names = (one.name, other.name)
    if one.numbers is None or other.numbers is None:
        if one.codes is None or other.codes is None or target.classes is None:
            return None
        same = (one.codes == other.codes)[both].astype(np.intp)
        return _by_looking_up(names, same, target.classes[both], best, slack, "Whether they're equal")
    a, b = one.numbers[both], other.numbers[both]
    if target.numbers is not None:
        return _by_formula(names, a, b, target.numbers[both], best, slack)
    if target.classes is None:
        return None
    classes = target.classes[both]
    order = (np.sign(a - b) + 1).astype(np.intp)
    leak = _by_looking_up(names, order, classes, best, slack, "Which of them is larger")
    if leak is None and target.two and 0 < classes.sum() < classes.size:
        area = separation(a - b, classes == 1)
        if _tells(area, AUC, best.area, slack):
            return Leak(names, "auc", area, "Their difference separates the two classes.")
    return leak


def _by_looking_up(
    names: tuple[str, str], groups: Codes, classes: Codes, best: Strength, slack: float, what: str
) -> Leak | None:
    if classes.min() == classes.max():
        return None
    removed = errors_removed(groups, classes)
    if not _tells(removed, PAIR_ERRORS_REMOVED, best.removed, slack):
        return None
    return Leak(names, "errors_removed", removed, f"{what} decides the target in nearly every row.")


def _by_formula(
    names: tuple[str, str], a: Floats, b: Floats, target: Floats, best: Strength, slack: float
) -> Leak | None:
    if target.min() == target.max():
        return None
    formulas = {"A weighted sum of them": _two_lines(a, b, target), "Their product": squared_correlation(a * b, target)}
    for above, below in ((a, b), (b, a)):
        if (np.abs(below) > 0).all():
            ratio = squared_correlation(above / below, target)
            formulas["Their ratio"] = max(ratio, formulas.get("Their ratio", 0.0))
    what, explained = max(formulas.items(), key=lambda item: item[1])
    if not _tells(explained, R2, best.explained, slack):
        return None
    return Leak(names, "r2", explained, f"{what} is nearly the target.")


def _two_lines(a: Floats, b: Floats, target: Floats) -> float:
    """The share of variance that a plane over two columns explains."""
    design = np.column_stack([a - a.mean(), b - b.mean()])
    scales = np.sqrt((design**2).sum(axis=0))
    if not scales.all():
        return 0.0
    centred = target - target.mean()
    weights = np.linalg.lstsq(design / scales, centred, rcond=1e-9)[0]
    return 1.0 - float(((centred - design / scales @ weights) ** 2).sum() / (centred**2).sum())


def _tells(value: float, wanted: float, best: float, slack: float) -> bool:
    return value >= wanted - slack and 1.0 - value <= PAIR_GAIN * (1.0 - best) + slack
