"""Columns that another column decides but for rare exceptions, such as the country of a city."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import numpy as np
import numpy.typing as npt
import polars as pl

from mcp_server.core.contract import Contract
from mcp_server.core.leakage.measures import errors_removed
from mcp_server.core.quality.comparisons import decisive_columns
from mcp_server.core.quality.report import MAX_EXAMPLES, Example, Finding, Severity, rows_of

MAX_COLUMNS = 20
"""Columns of few values among which dependencies are sought, the first so many."""

EXCEPTIONS = 0.05
"""The largest share of rows that counts as exceptions."""

_ERRORS_REMOVED = 0.9
_ROWS_A_VALUE = 5
_LEAST_ROWS = 50
_MOST_VALUES = 200
_FIRM = 0.9

Codes = npt.NDArray[np.intp]


def dependency_findings(frame: pl.DataFrame, contract: Contract) -> Iterator[Finding]:
    """Rows in which a column differs from what another column's value goes with in nearly all rows.

    A dependency counts if at most 5 % of the rows are exceptions and it removes 90 % of the errors of guessing. Where
    each column decides the other, nobody can say which of the two is wrong.
    """
    if frame.height < _LEAST_ROWS:
        return
    columns = list(_coded(frame, contract))[:MAX_COLUMNS]
    decisive = decisive_columns(contract)
    reported: set[frozenset[str]] = set()
    for (name, groups), (decided, classes) in permutations(columns, 2):
        if frozenset((name, decided)) in reported:
            continue
        known = (groups >= 0) & (classes >= 0)
        found = _exceptions(groups[known], classes[known])
        if found is None:
            continue
        wrong, usual = found
        at = np.flatnonzero(known)[wrong]
        rows = np.zeros(frame.height, dtype=np.bool_)
        rows[at] = True
        reported.add(frozenset((name, decided)))
        severity: Severity = "fail" if decisive & {name, decided} else "warn"
        mutual = _exceptions(classes[known], groups[known]) is not None
        reason = (
            "Elsewhere each of the two columns decides the other; in these rows they disagree."
            if mutual
            else "Elsewhere the first column decides the second; in these rows the second is another."
        )
        share = 1.0 - float(wrong.sum() / known.sum())
        shown = [] if contract.column(decided).personal else at[:MAX_EXAMPLES].tolist()
        names = {int(code): row for row, code in reversed(list(enumerate(classes.tolist())))} if shown else {}
        values = frame.get_column(decided)
        examples = tuple(
            Example(row + 1, str(values[row]), None if mutual else str(values[names[int(usual[groups[row]])]]))
            for row in shown
        )
        yield Finding(
            "contradictions.dependency",
            severity,
            (name, decided),
            int(rows.sum()),
            rows_of(rows),
            reason,
            share,
            confidence=0.85,
            fix="look at it" if mutual else "replace by the usual value",
            examples=examples,
        )


def _coded(frame: pl.DataFrame, contract: Contract) -> Iterator[tuple[str, Codes]]:
    for column in contract.columns:
        if column.role == "ignored" or column.unique or column.kind in ("number", "date", "datetime"):
            continue
        series = frame.get_column(column.name)
        distinct = series.drop_nulls().n_unique()
        if 2 <= distinct <= min(_MOST_VALUES, frame.height // _ROWS_A_VALUE):
            series = series.cast(pl.Int8) if series.dtype == pl.Boolean else series
            yield column.name, (series.rank("dense").cast(pl.Int64).fill_null(0).to_numpy() - 1).astype(np.intp)


def _exceptions(groups: Codes, classes: Codes) -> tuple[npt.NDArray[np.bool_], Codes] | None:
    """Which rows aren't of their group's class, and each group's class.

    None where the groups don't decide it or always do.
    """
    if groups.size < _LEAST_ROWS or classes.min() == classes.max():
        return None
    table = np.zeros((int(groups.max()) + 1, int(classes.max()) + 1))
    np.add.at(table, (groups, classes), 1)
    usual = table.max(axis=1)
    exceptions = groups.size - usual.sum()
    if not 0 < exceptions <= EXCEPTIONS * groups.size or errors_removed(groups, classes) < _ERRORS_REMOVED:
        return None
    firm = (usual >= _FIRM * table.sum(axis=1)) & (usual >= _ROWS_A_VALUE)
    likeliest = table.argmax(axis=1)
    wrong = firm[groups] & (classes != likeliest[groups])
    return (wrong, likeliest) if wrong.any() else None
