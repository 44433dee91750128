"""Screening for poisoned rows, and what couldn't be screened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from mcp_server.core.contract import Contract
from mcp_server.core.leakage.columns import read_features, read_target
from mcp_server.core.quality.numbers import Bools, Floats, NumberColumn
from mcp_server.core.quality.report import MAX_ANOMALOUS, Finding, Severity, rows_of
from mcp_server.core.screening import screen_rows
from mcp_server.core.screening.groups import of_another_kind
from mcp_server.core.screening.table import Evidence, FeatureTable, Integers
from mcp_server.core.screening.verdict import screen_table

_COMPARED = ("units.column", "completeness.baseline")

REASONS: dict[str, str] = {
    "too_few": "Fewer than three values: nothing can be far from them.",
    "mostly_one_value": "At least half of the values are equal, so there is no spread to be far by.",
    "zero_inflated": "Zeros are apart from the rest or the most frequent: neither is called far.",
    "two_groups": "The values fall into two groups of which neither is small: neither is called far.",
    "heavy_tail": "Far values follow from the column's own tail, so honest and poisoned ones look alike.",
}


def poisoning_findings(columns: list[NumberColumn], explained: Bools) -> Iterator[Finding]:
    """Rows with values far from the bulk of their column, and columns in which that can't be told.

    Args:
        columns: those to screen.
        explained: shape (n,), rows that another rule has reported for being far; they don't count again.
    """
    if not columns:
        return
    matrix = np.column_stack([column.values for column in columns])
    screening = screen_rows(matrix)
    far = screening.anomalous & ~explained
    if far.any():
        which = np.bincount(screening.column[far], minlength=len(columns))
        names = tuple(columns[at].name for at in np.argsort(-which, kind="stable") if which[at])
        severity: Severity = "warn"
        if far.mean() > MAX_ANOMALOUS and (far & ~of_another_kind(matrix, screening)).mean() > MAX_ANOMALOUS:
            severity = "fail"
        reason = "Far from the bulk of the column, and apart from its tail; the statistic is the largest robust z."
        largest = float(screening.scores[far].max())
        yield Finding("screening.far_rows", severity, names, int(far.sum()), rows_of(far), reason, largest)
    for code, reason in REASONS.items():
        names = tuple(columns[item.column].name for item in screening.undecidable if item.reason == code)
        if names:
            yield Finding("screening.undecidable", "info", names, len(names), (), reason)


def table_findings(
    frame: pl.DataFrame,
    contract: Contract,
    findings: Sequence[Finding],
    *,
    baseline: pl.DataFrame | None,
    rng: np.random.Generator,
) -> tuple[list[Finding], tuple[str, ...]]:
    """Rows that are odd among the others: far, wrongly labelled, copied, marked, or unlike a trusted baseline.

    Args:
        findings: those of the other rules: rows in another unit are far for a reason, and columns that differ from the
            baseline's needn't be found again.
        baseline: an earlier table that is trusted; columns of its own, or of another kind, aren't compared.
        rng: draws rows, folds and seeds. Rows that are marked as made up aren't looked at.
    Returns:
        the findings, and a sentence for each method that doesn't suit the table.
    """
    explained = np.zeros(frame.height, dtype=np.bool_)
    for finding in findings:
        if finding.rule == "units.block":
            explained[np.array(finding.rows) - 1] = True
    places = _real_rows(frame, contract)
    if places.size < frame.height:
        frame, explained = frame[places], explained[places]
    together, rows = frame, frame.height
    apart = {name for item in findings if item.rule in _COMPARED for name in item.columns}
    alike = [] if baseline is None else comparable(frame, baseline)
    if baseline is not None and alike:
        together = pl.concat([frame, baseline.select(alike)], how="diagonal_relaxed")
        apart |= set(frame.columns) - set(alike)
    numbers, codes, names = feature_arrays(together, contract)
    whole = FeatureTable(numbers, codes, *_target(together, contract))

    screening = screen_table(
        whole.take(np.arange(rows)),
        baseline=whole.take(np.arange(rows, together.height)) if together.height > rows else None,
        known_to_differ=frozenset(at for at, name in enumerate(names) if name in apart),
        explained=explained,
        rng=rng,
    )
    findings = [
        _finding(item, tuple(names[at] for at in item.columns), places, contract)
        for item in screening.evidence
        if item.flagged.any() or item.columns or item.grade != "info" or item.unreliable
    ]
    skipped = screening.skipped
    if whole.target is not None:
        skipped += ("Triggers: the target is a number, and a trigger is told by its rows having one class.",)
    elif whole.labels is None and contract.target is not None:
        skipped += ("Wrong labels and triggers: the target is a time, hardly varies, or has too few rows.",)
    return findings, skipped


def comparable(frame: pl.DataFrame, baseline: pl.DataFrame) -> list[str]:
    """The columns that a baseline has too, of the same kind; none where it has no row."""
    shared = [name for name in frame.columns if name in baseline.columns] if baseline.height else []
    return [name for name in shared if _alike(frame[name], baseline[name])]


def _alike(series: pl.Series, other: pl.Series) -> bool:
    if series.dtype.is_numeric():
        return other.dtype.is_numeric()
    return series.dtype.base_type() == other.dtype.base_type()


def _real_rows(frame: pl.DataFrame, contract: Contract) -> Integers:
    """The places of the rows that aren't marked as made up: those are copies and mixtures, and known to be."""
    if contract.synthetic is None:
        return np.arange(frame.height)
    made_up = frame.get_column(contract.synthetic.flag).fill_null(False).to_numpy()
    return np.flatnonzero(~made_up)


def _finding(item: Evidence, columns: tuple[str, ...], places: Integers, contract: Contract) -> Finding:
    if item.method == "label_noise" and contract.target is not None:
        columns = (contract.target,)
    count = int(item.flagged.sum()) or len(columns)
    rows = tuple((places[item.flagged] + 1).tolist())
    return Finding(f"screening.{item.method}", item.grade, columns, count, rows, item.reason, item.statistic)


def feature_arrays(frame: pl.DataFrame, contract: Contract) -> tuple[Floats, Integers, list[str]]:
    """The features as numbers and codes, and their names: those of the numbers, then those of the codes."""
    unlisted = {column.name for column in contract.columns if column.kind == "text" or column.unique}
    features = [feature for feature in read_features(frame, contract) if feature.name not in unlisted]
    numbers = [(feature.name, feature.numbers) for feature in features if feature.numbers is not None]
    codes = [(feature.name, feature.codes) for feature in features if feature.codes is not None]
    return (
        np.column_stack([values for _, values in numbers]) if numbers else np.empty((frame.height, 0)),
        np.column_stack([values for _, values in codes]) if codes else np.empty((frame.height, 0), dtype=np.intp),
        [name for name, _ in (*numbers, *codes)],
    )


def _target(frame: pl.DataFrame, contract: Contract) -> tuple[Integers | None, Floats | None]:
    """The target's classes from 0, -1 where missing, or its numbers, NaN where missing; None where it isn't such."""
    if contract.target is None:
        return None, None
    known = frame.get_column(contract.target).is_not_null().to_numpy()
    goal = read_target(frame.filter(known), contract)
    if goal is not None and goal.classes is not None:
        labels = np.full(frame.height, -1, dtype=np.intp)
        labels[known] = goal.classes
        return labels, None
    if goal is None or goal.numbers is None:
        return None, None
    numbers = np.full(frame.height, np.nan)
    numbers[known] = goal.numbers
    return None, numbers
