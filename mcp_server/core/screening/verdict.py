"""Every method over one table, with one verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from mcp_server.core.screening import contradictions, floods, label_noise, numeric_labels, outliers, shift, triggers
from mcp_server.core.screening.half_sample import Floats
from mcp_server.core.screening.table import (
    Bools,
    Evidence,
    FeatureTable,
    Grade,
    Integers,
    encoded,
    sample,
    spread,
    standardised,
)

FALSE_ALARMS = 0.01
"""The limits below aim at this share of clean tables failing; `tests/performance/poisoning_rates.py` counts them."""

CANT_SEE = (
    "Flipped labels of noisy outcomes (a flipped result looks like an upset), and wrong numbers of a target that are "
    "within the usual error of models of it.",
    "Values exchanged, shifted or scrambled within their column's range.",
    "Attacks that keep the labels right in less than 1 % of the rows.",
    "Triggers in fewer than 6 rows, or of zeros; in columns of few values those in under 8 rows or 0.8 %, of one value "
    "alone, or of values that are usual together.",
    "Triggers of one value that is its column's least or greatest, unless the other rows speak for another label.",
)
"""What an attacker can do without any method seeing it; said with every verdict."""

MOST_CELLS = 600_000
"""Rows times columns that a method which compares rows with each other, or learns from them, looks at."""

_WORST: dict[Grade, int] = {"info": 0, "warn": 1, "fail": 2}
_FEW = 4
_MOSTLY = 0.9
_MOST_CLASSES = 50

_OUTLIERS = (0.03, 0.10)
_LABELS = (0.015, 0.075)
"""Shares of the rows from which a table gets a warning, and from which it fails."""

_COPIES = 0.005
"""The share from which copies are a warning; never more, as a machine at rest repeats itself too."""

_APART = 1.4
"""Below it, doubtful labels are what honest chance leaves: see `LabelDoubts.apart`."""

_LEARNED = 0.7
"""The part of the errors of guessing that the models may make at most, or else they haven't learned the classes."""


@dataclass(frozen=True, slots=True)
class Screening:
    """What screening says of a table.

    Args:
        evidence: of each method that could be used, in a fixed order.
        skipped: one sentence for each that couldn't.
    """

    evidence: tuple[Evidence, ...]
    skipped: tuple[str, ...]

    @property
    def verdict(self) -> Grade:
        """The worst grade: the aim is that `FALSE_ALARMS` of clean tables get `fail`."""
        return max((item.grade for item in self.evidence), key=_WORST.__getitem__, default="info")

    def reasons(self, row: int) -> tuple[str, ...]:
        """The methods that flag a row, by its index."""
        return tuple(item.method for item in self.evidence if item.flagged[row])


def screen_table(
    table: FeatureTable,
    *,
    baseline: FeatureTable | None = None,
    known_to_differ: frozenset[int] = frozenset(),
    explained: Bools | None = None,
    rng: np.random.Generator,
) -> Screening:
    """Look for poisoned rows by every method that suits the table.

    Of a long table each method draws its rows; `Evidence.looked_at` says how many. None of them sees what
    `CANT_SEE` lists.

    Args:
        table: what is screened.
        baseline: an earlier table with the same columns and codes that is trusted.
        known_to_differ: columns, numbers first, that needn't be compared with the baseline.
        explained: shape (n,), rows that are known to be far for a reason; they aren't called outliers again.
        rng: draws rows, folds and seeds: the same generator gives the same answer.
    """
    evidence: list[Evidence] = []
    skipped: list[str] = []
    open_rows = np.arange(table.rows) if explained is None else np.flatnonzero(~explained)
    for found in (
        _outliers(table, open_rows, rng),
        _label_noise(table, rng),
        _flood(table, rng),
        _trigger(table, rng),
        _shift(table, baseline, known_to_differ, rng),
    ):
        if isinstance(found, Evidence):
            evidence.append(found)
        elif found:
            skipped.append(found)
    return Screening(tuple(evidence), tuple(skipped))


def _grade(flagged: Bools, warns: float, fails: float = math.inf) -> Grade:
    share = float(flagged.mean())
    if flagged.sum() < _FEW or share < warns:
        return "info"
    return "warn" if share < fails else "fail"


def _most(rows: int, columns: int) -> int:
    return max(min(rows, MOST_CELLS // max(columns, 1)), 300)


def _outliers(table: FeatureTable, open_rows: Integers, rng: np.random.Generator) -> Evidence | str:
    looked = sample(open_rows, _most(outliers.MOST_ROWS, table.numbers.shape[1]), rng)
    found = outliers.outlyingness(standardised(table.numbers[looked]), rng) if looked.size else None
    if found is None:
        return "Rows far from all others in several numeric columns: too few rows or columns, or most rows are equal."
    far = found.excess > found.limit
    grade = _grade(far, *_OUTLIERS)
    reason = (
        "Far from every other row in several columns together; the statistic is the largest distance, in multiples of "
        "the usual one."
    )
    statistic = float(found.excess.max())
    return _evidence("outliers", grade, table, looked, found.rank, far, (), reason, statistic)


def _label_noise(table: FeatureTable, rng: np.random.Generator) -> Evidence | str:
    if table.labels is None:
        return _wrong_numbers(table, table.target, rng) if table.target is not None else ""
    counts = np.bincount(table.labels[table.labels >= 0], minlength=1)
    enough = np.flatnonzero(counts >= label_noise.LEAST_OF_A_CLASS)
    usable = np.flatnonzero(np.isin(table.labels, enough))
    width = table.numbers.shape[1] + table.codes.shape[1]
    looked = sample(usable, _most(label_noise.MOST_ROWS, width), rng)
    counts = np.bincount(table.labels[looked], minlength=1)
    enough = np.flatnonzero(counts >= label_noise.LEAST_OF_A_CLASS)
    looked = looked[np.isin(table.labels[looked], enough)]
    matrix = encoded(table.take(looked)) if looked.size else np.empty((0, 0))
    if not (2 <= len(enough) <= _MOST_CLASSES) or len(looked) < label_noise.LEAST_ROWS or matrix.shape[1] == 0:
        return "Wrong labels: too few rows of each class, too many classes, or no feature."
    labels = np.searchsorted(enough, np.asarray(table.labels)[looked])
    found = label_noise.doubt_labels(matrix, labels, rng)
    confident, doubted = float(found.confident.mean()), found.doubted
    many = found.confident.sum() >= _FEW and confident >= _LABELS[0]
    guessing = 1 - float(np.bincount(labels).max()) / len(labels)
    if many and (found.apart < _APART or found.error > _LEARNED * guessing):
        reason = (
            "The labels are inherently noisy: two models that haven't seen a row doubt many of them, but doubtful rows "
            "don't stand apart from undecided ones, as wrong labels would. So flags are unreliable: none is raised, "
            "and flipped labels can't be found. The statistic is the share of labels that the models don't predict."
        )
        nothing = np.zeros(len(looked), dtype=np.bool_)
        told = _evidence("label_noise", "info", table, looked, found.scores, nothing, (), reason, found.error)
        return replace(told, unreliable=True)
    grade: Grade = "info"
    if many:
        # In a rare class honest surprises look like wrong labels: there, a look is all that is asked for.
        classes = np.bincount(labels)
        balanced = 2 * classes.size * classes.min() >= len(labels)
        grade = "fail" if balanced and doubted.mean() >= _LABELS[1] else "warn"
    reason = (
        "Two unlike models that haven't seen the row agree on another class; the statistic is the share of such labels."
    )
    return _evidence("label_noise", grade, table, looked, found.scores, doubted, (), reason, float(doubted.mean()))


def _wrong_numbers(table: FeatureTable, target: Floats, rng: np.random.Generator) -> Evidence | str:
    usable = np.flatnonzero(np.isfinite(target))
    width = table.numbers.shape[1] + table.codes.shape[1]
    looked = sample(usable, _most(numeric_labels.MOST_ROWS, width), rng)
    matrix = encoded(table.take(looked)) if looked.size else np.empty((0, 0))
    if len(looked) < numeric_labels.LEAST_ROWS or matrix.shape[1] == 0:
        return "Wrong numbers in the target: too few rows, or no feature."
    found = numeric_labels.doubt_numbers(matrix, target[looked], rng)
    if found is None:
        return "Wrong numbers in the target: at least half of them are equal."
    if found.error > _LEARNED:
        reason = (
            "The target is inherently noisy: two models that haven't seen a row are nearly as far off as the median "
            "is, so wrong numbers can't be told from honest ones and none is flagged. The statistic is their usual "
            "error as a part of the median's."
        )
        nothing = np.zeros(len(looked), dtype=np.bool_)
        told = _evidence("label_noise", "info", table, looked, found.scores, nothing, (), reason, found.error)
        return replace(told, unreliable=True)
    grade = _grade(found.doubted, *_LABELS)
    reason = (
        "Two unlike models that haven't seen the row expect quite another number, on the same side; the statistic is "
        "the share of such numbers. Wrong numbers within the models' usual error aren't found."
    )
    share = float(found.doubted.mean())
    return _evidence("label_noise", grade, table, looked, found.scores, found.doubted, (), reason, share)


def _flood(table: FeatureTable, rng: np.random.Generator) -> Evidence | str:
    width = table.numbers.shape[1] + table.codes.shape[1]
    looked = sample(np.arange(table.rows), _most(floods.MOST_ROWS, width), rng)
    found = floods.find_flood(encoded(table.take(looked), most_equal=_MOSTLY)) if looked.size else None
    if found is None:
        return "Near-copies of rows: too few rows, or equal rows are usual in this table."
    grade = _grade(found.copies, _COPIES)
    reason = (
        "Nearly the same as other rows, three or more together and pairs as close, and far closer than rows of this "
        "table are; the statistic is the number of such groups. The likely source of each group isn't counted."
    )
    groups = float(found.group.max() + 1)
    return _evidence("duplicates_flood", grade, table, looked, found.nearness, found.copies, (), reason, groups)


def _trigger(table: FeatureTable, rng: np.random.Generator) -> Evidence | str:
    if table.labels is None:
        return ""
    shared = triggers.find_triggers(table.numbers, table.labels)
    belied = _belied(table, table.labels, rng)
    if shared is None and belied is None:
        return "Triggers: in a table of few rows that isn't mostly of continuous columns, equal values mean nothing."
    rows = np.zeros(table.rows, dtype=np.bool_)
    for trigger in (*(shared or ()), *(belied or ())):
        rows |= trigger.rows
    grade: Grade = "warn" if rows.any() else "info"
    if any(len(trigger.columns) > 1 and trigger.chance <= triggers.SURE for trigger in shared or ()):
        grade = "fail"
    columns = tuple(dict.fromkeys(at for trigger in (*(shared or ()), *(belied or ())) for at in trigger.columns))
    told = []
    if shared or not belied:
        told.append(
            "Far more rows share these exact values than any others, and nearly all have one label: so does a "
            "backdoor's trigger."
        )
    if belied:
        told.append(
            "Rows share usual values and a label that two models of the other rows contradict: a backdoor's do, and so "
            "does an honest rule that only these rows show."
        )
    reason = f"{' '.join(told)} The statistic is the number of those rows."
    every = np.arange(table.rows)
    return _evidence("trigger", grade, table, every, rows.astype(np.float64), rows, columns, reason, float(rows.sum()))


def _belied(table: FeatureTable, labels: Integers, rng: np.random.Generator) -> list[triggers.Trigger] | None:
    """Triggers of usual values, looked for in some rows and found in all; None where there are too few rows."""
    columns = np.hstack((table.numbers, np.where(table.codes >= 0, table.codes.astype(np.float64), np.nan)))
    counts = np.bincount(labels[labels >= 0], minlength=1)
    enough = np.flatnonzero(counts >= label_noise.LEAST_OF_A_CLASS)
    usable = np.flatnonzero(np.isin(labels, enough))
    looked = sample(usable, _most(contradictions.MOST_ROWS, columns.shape[1]), rng)
    if len(looked) < contradictions.LEAST_ROWS or not 2 <= len(enough) <= _MOST_CLASSES:
        return None
    matrix = encoded(table.take(looked))
    known = np.searchsorted(enough, labels[looked])
    continuous = triggers.continuous_columns(table.numbers[looked])
    found = contradictions.find_contradictions(columns[looked], continuous, matrix, known, rng)
    everywhere = []
    for trigger in found:
        at = list(trigger.columns)
        values = columns[looked[trigger.rows.argmax()], at]
        everywhere.append(replace(trigger, rows=(columns[:, at] == values).all(axis=1)))
    return everywhere


def _shift(
    table: FeatureTable, baseline: FeatureTable | None, known: frozenset[int], rng: np.random.Generator
) -> Evidence | str:
    if baseline is None:
        return ""
    width, more = table.numbers.shape[1], table.codes.shape[1]
    numbers = [at for at in range(width) if at not in known]
    codes = [at for at in range(more) if at + width not in known]

    def kept(of: FeatureTable) -> FeatureTable:
        return FeatureTable(of.numbers[:, numbers], of.codes[:, codes], of.labels)

    found = shift.measure_shift(kept(table), kept(baseline), rng)
    if found is None:
        return "Shift against the baseline: fewer than 30 rows."
    columns = (*(numbers[at] for at in found.columns), *(codes[at] + width for at in found.code_columns))
    flagged = found.flagged | found.relabelled
    scores = np.where(found.relabelled, 1.0, found.scores)
    every = np.arange(table.rows)
    if found.relabelled.any():
        reason = "Rows have the features of a baseline row and another label; the statistic is their share of all rows."
        share = float(found.relabelled.mean())
        grade: Grade = "fail" if share >= _LABELS[1] else "warn"
        return _evidence("shift", grade, table, every, scores, flagged, columns, reason, share)
    grade = "warn" if found.unlike > 0 or columns else "info"
    new = len(found.compared)
    of = "" if new == table.rows else f" Compared were the {new} rows that the baseline doesn't have."
    reason = f"Not distributed as in the baseline; the statistic is the share of rows that is certainly unlike it.{of}"
    return _evidence("shift", grade, table, every, scores, flagged, columns, reason, found.unlike)


def _evidence(
    method: str,
    grade: Grade,
    table: FeatureTable,
    looked: Integers,
    scores: np.ndarray,
    flagged: Bools,
    columns: tuple[int, ...],
    reason: str,
    statistic: float,
) -> Evidence:
    everywhere = np.zeros(table.rows, dtype=np.bool_)
    everywhere[looked] = flagged
    if len(looked) < table.rows:
        reason = f"{reason} Looked at {len(looked)} of {table.rows} rows."
    return Evidence(method, grade, spread(scores, looked, table.rows), everywhere, columns, reason, statistic)
