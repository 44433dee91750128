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
from mcp_server.core.quality.report import Finding, Severity, rows_of

MAX_COLUMNS = 20
"""Columns of few values among which dependencies are sought, the first so many."""

EXCEPTIONS = 0.02
"""The largest share of rows that counts as exceptions."""

_ERRORS_REMOVED = 0.93
_ROWS_A_VALUE = 5
_LEAST_ROWS = 50
_MOST_VALUES = 200
_FIRM = 0.9

Codes = npt.NDArray[np.intp]


def dependency_findings(frame: pl.DataFrame, contract: Contract) -> Iterator[Finding]:
    """Rows in which a column differs from what another column's value goes with in nearly all rows.

    A dependency counts if at most 2 % of the rows are exceptions and it removes 93 % of the errors of guessing.
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
        wrong = _exceptions(groups[known], classes[known])
        if wrong is None:
            continue
        rows = np.zeros(frame.height, dtype=np.bool_)
        rows[np.flatnonzero(known)[wrong]] = True
        reported.add(frozenset((name, decided)))
        severity: Severity = "fail" if decisive & {name, decided} else "warn"
        share = 1.0 - float(wrong.sum() / known.sum())
        reason = "Elsewhere the first column decides the second; in these rows the second is another."
        count = int(rows.sum())
        yield Finding("contradictions.dependency", severity, (name, decided), count, rows_of(rows), reason, share)


def _coded(frame: pl.DataFrame, contract: Contract) -> Iterator[tuple[str, Codes]]:
    for column in contract.columns:
        if column.role == "ignored" or column.unique or column.kind in ("number", "date", "datetime"):
            continue
        series = frame.get_column(column.name)
        distinct = series.drop_nulls().n_unique()
        if 2 <= distinct <= min(_MOST_VALUES, frame.height // _ROWS_A_VALUE):
            series = series.cast(pl.Int8) if series.dtype == pl.Boolean else series
            yield column.name, (series.rank("dense").cast(pl.Int64).fill_null(0).to_numpy() - 1).astype(np.intp)


def _exceptions(groups: Codes, classes: Codes) -> npt.NDArray[np.bool_] | None:
    """Which rows aren't of their group's class, or None where the groups don't decide it or always do."""
    if groups.size < _LEAST_ROWS or classes.min() == classes.max():
        return None
    table = np.zeros((int(groups.max()) + 1, int(classes.max()) + 1))
    np.add.at(table, (groups, classes), 1)
    usual = table.max(axis=1)
    exceptions = groups.size - usual.sum()
    if not 0 < exceptions <= EXCEPTIONS * groups.size or errors_removed(groups, classes) < _ERRORS_REMOVED:
        return None
    firm = (usual >= _FIRM * table.sum(axis=1)) & (usual >= _ROWS_A_VALUE)
    wrong = firm[groups] & (classes != table.argmax(axis=1)[groups])
    return wrong if wrong.any() else None
