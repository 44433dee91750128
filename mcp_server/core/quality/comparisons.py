"""Columns of few values that say which of two numbers is larger, and the rows in which they say it wrongly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, islice

import numpy as np
import numpy.typing as npt
import polars as pl

from mcp_server.core.contract import Contract
from mcp_server.core.contract.lineage import deciding
from mcp_server.core.leakage.pairs import may_be_compared
from mcp_server.core.quality.numbers import Bools, Floats, NumberColumn
from mcp_server.core.quality.report import Finding, Severity, rows_of

MAX_PAIRS = 2_000
"""Pairs of numbers that are tried: all of 63 comparable columns, the first so many of more."""

AGREEMENT = 0.95
"""Share of the rows from which a relation is taken to be meant, so that the other rows contradict it."""

_ERRORS_REMOVED = 0.9
_FIRST_LOOK = 2_000
_SLACK = 0.02
_MOST_VALUES = 5
_LEAST_ROWS = 50
_FIRM = 0.9
_WIDER = 10.0  # a column that varies a tenth as much as the other is no more than a threshold for it

Codes = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Statement:
    """A column of few values, or whether two categories are equal.

    Args:
        columns: one name, or the two that are compared.
        codes: shape (n,), from 0; -1 where missing.
        count: different values.
    """

    columns: tuple[str, ...]
    codes: Codes
    count: int


def comparison_findings(frame: pl.DataFrame, contract: Contract, numbers: list[NumberColumn]) -> Iterator[Finding]:
    """Rows in which a column of 2 to 5 values contradicts the comparison that it follows elsewhere.

    Such as a winner that isn't the side with the higher score. Each column is held to the pair that it follows most
    closely. A relation counts if it holds in 95 % of the rows, but not in all, and removes 90 % of the errors of
    guessing.
    """
    statements = list(_statements(frame, contract))
    if frame.height < _LEAST_ROWS or not statements:
        return
    step = max(1, frame.height // _FIRST_LOOK)
    several = [column for column in numbers if np.unique(column.values[::step]).size > _MOST_VALUES]
    closest: dict[tuple[str, ...], tuple[float, NumberColumn, NumberColumn, Bools]] = {}
    for one, other in islice(_comparable(several), MAX_PAIRS):
        glance = _order(one.values[::step], other.values[::step])
        for statement in statements:
            if {one.name, other.name} & set(statement.columns):
                continue
            if _agreement(glance, statement.codes[::step], statement.count, _SLACK) is None:
                continue
            found = _agreement(_order(one.values, other.values), statement.codes, statement.count, 0.0)
            if found is None:
                continue
            if statement.columns not in closest or found[0] > closest[statement.columns][0]:
                closest[statement.columns] = (found[0], one, other, found[1])
    decisive = decisive_columns(contract)
    for columns, (share, one, other, wrong) in closest.items():
        if not wrong.any():
            continue
        severity: Severity = "fail" if decisive & {*columns, one.name, other.name} else "warn"
        subject = "the first column says" if len(columns) == 1 else "whether the first two columns are equal says"
        reason = f"Elsewhere {subject} which of the last two is larger; in these rows it contradicts them."
        names = (*columns, one.name, other.name)
        yield Finding("contradictions.comparison", severity, names, int(wrong.sum()), rows_of(wrong), reason, share)


def decisive_columns(contract: Contract) -> frozenset[str]:
    """The target and what it is computed from: a contradiction among these makes it wrong."""
    if contract.target is None:
        return frozenset()
    return deciding(contract.target, contract.expressions, contract.ingredients) | {contract.target}


def _statements(frame: pl.DataFrame, contract: Contract) -> Iterator[Statement]:
    categories: list[tuple[str, pl.Series]] = []
    for column in contract.columns:
        if column.role == "ignored" or column.unique or column.kind in ("date", "datetime"):
            continue
        series = frame.get_column(column.name)
        distinct = series.drop_nulls().n_unique()
        if column.kind in ("category", "text") and distinct > 2:
            categories.append((column.name, series.cast(pl.String)))
        if 2 <= distinct <= _MOST_VALUES:
            yield Statement((column.name,), _codes(series), distinct)
    for (one, left), (other, right) in islice(combinations(categories, 2), 50):
        equal = left == right
        share = equal.sum() / max(equal.len() - equal.null_count(), 1)
        if 0.05 < share < 0.95:
            yield Statement((one, other), _codes(equal), 2)


def _codes(series: pl.Series) -> Codes:
    series = series.cast(pl.Int8) if series.dtype == pl.Boolean else series
    return (series.rank("dense").cast(pl.Int64).fill_null(0).to_numpy() - 1).astype(np.intp)


def _comparable(columns: list[NumberColumn]) -> Iterator[tuple[NumberColumn, NumberColumn]]:
    ranges = {column.name: np.nanquantile(column.values, [0.05, 0.95]) for column in columns}
    for one, other in combinations(columns, 2):
        (low, high), (lowest, highest) = ranges[one.name], ranges[other.name]
        widths = sorted((high - low, highest - lowest))
        if (
            may_be_compared(one.unit, other.unit)
            and low <= highest
            and lowest <= high
            and widths[1] <= _WIDER * widths[0]
        ):
            yield one, other


def _order(one: Floats, other: Floats) -> Codes:
    """0 where the first is smaller, 1 where they're equal, 2 where it's larger; -1 where one is missing."""
    with np.errstate(invalid="ignore"):
        signs = np.sign(one - other)
    return np.where(np.isnan(signs), -1, signs + 1).astype(np.intp)


def _agreement(order: Codes, codes: Codes, count: int, slack: float) -> tuple[float, Bools] | None:
    """The share of rows that follow the relation and a mask of those that don't, or None where there is none."""
    known = (order >= 0) & (codes >= 0)
    table = np.bincount(order[known] * count + codes[known], minlength=3 * count).reshape(3, count)
    total = int(table.sum())
    guess = int(table.sum(axis=0).max(initial=0))
    if total < _LEAST_ROWS or guess == total:
        return None
    right = int(table.max(axis=1).sum())
    removed = 1.0 - (total - right) / (total - guess)
    if right / total < AGREEMENT - slack or removed < _ERRORS_REMOVED - 2 * slack:
        return None
    # Where the order itself is mixed (ties, mostly), no row contradicts.
    firm = table.max(axis=1) >= _FIRM * table.sum(axis=1)
    wrong = known & firm[order] & (codes != table.argmax(axis=1)[order])
    return right / total, wrong
