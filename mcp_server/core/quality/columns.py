"""Each column by itself: does it keep the contract, and how full is it?"""

from __future__ import annotations

from collections.abc import Iterator, Set

import polars as pl

from mcp_server.core.contract import Column, Contract, Part
from mcp_server.core.quality.numbers import Bools
from mcp_server.core.quality.report import Finding, Severity, rows_of

_MOSTLY_MISSING = 0.5
_OFTEN_MISSING = 0.05


def contract_findings(frame: pl.DataFrame, contract: Contract) -> Iterator[Finding]:
    """Columns, kinds, missing values, infinite numbers, ranges, allowed values and uniqueness as the contract has them.

    Values outside an inferred range or list are a warning: the contract describes what was seen so far. Outside a
    stated one they fail.
    """
    for column in contract.columns:
        if column.name not in frame.columns:
            reason = "The contract has this column and the table doesn't."
            yield Finding("contract.column", "fail", (column.name,), 1, (), reason)
            continue
        series = frame.get_column(column.name)
        if not _fits(series, column):
            reason = "The column's type isn't the kind that the contract states."
            yield Finding("contract.kind", "fail", (column.name,), 1, (), reason)
            continue
        yield from _values(series, column, {part for part in _PROMISED if contract.states(column, part)})
    for name in frame.columns:
        if all(column.name != name for column in contract.columns):
            reason = "The table has this column and the contract doesn't."
            yield Finding("contract.column", "info", (name,), 1, (), reason)


def usable(frame: pl.DataFrame, contract: Contract) -> bool:
    """Whether every column is there and of its kind, so that further rules can be tried."""
    return all(
        column.name in frame.columns and _fits(frame.get_column(column.name), column) for column in contract.columns
    )


def completeness_findings(frame: pl.DataFrame, contract: Contract) -> Iterator[Finding]:
    """Columns that are empty, often missing or constant, the worst first; ignored columns aren't looked at."""
    shares: dict[str, float] = {}
    constant: list[str] = []
    for column in contract.columns:
        if column.role == "ignored" or not frame.height:
            continue
        series = frame.get_column(column.name)
        missing = series.null_count()
        shares[column.name] = missing / frame.height
        if column.role != "target" and frame.height - missing > 1 and series.drop_nulls().n_unique() == 1:
            constant.append(column.name)
    worst = sorted(shares, key=lambda name: -shares[name])
    grades: tuple[tuple[str, Severity, float, float, str], ...] = (
        ("completeness.empty", "warn", 1.0, 1.0, "Every value is missing."),
        ("completeness.missing", "warn", _MOSTLY_MISSING, 1.0, "Most values are missing."),
        ("completeness.missing", "info", _OFTEN_MISSING, _MOSTLY_MISSING, "Some values are missing."),
    )
    for rule, severity, least, most, reason in grades:
        names = tuple(name for name in worst if least <= shares[name] and (shares[name] < most or least == most))
        if names:
            reason = f"{reason} The statistic is the largest share."
            yield Finding(rule, severity, names, len(names), (), reason, shares[names[0]])
    if constant:
        reason = "Every value is the same, so it tells nothing."
        yield Finding("completeness.constant", "info", tuple(constant), len(constant), (), reason)


def _fits(series: pl.Series, column: Column) -> bool:
    kind, dtype = column.kind, series.dtype
    if kind == "integer":
        return dtype.is_integer()
    if kind == "number":
        return dtype.is_numeric()
    if kind == "boolean":
        return dtype == pl.Boolean
    if kind == "date":
        return dtype == pl.Date
    if kind == "datetime":
        return dtype.base_type() == pl.Datetime
    return dtype.base_type() in (pl.String, pl.Categorical, pl.Enum)


_PROMISED: tuple[Part, ...] = ("minimum", "maximum", "allowed")


def _values(series: pl.Series, column: Column, stated: Set[Part]) -> Iterator[Finding]:
    names = (column.name,)

    def finding(rule: str, severity: Severity, wrong: pl.Series, reason: str) -> Iterator[Finding]:
        rows = rows_of(_mask(wrong))
        if rows:
            yield Finding(rule, severity, names, len(rows), rows, reason)

    if not column.nullable:
        yield from finding("contract.missing", "fail", series.is_null(), "The contract allows no missing value here.")
    if series.dtype.is_float():
        wrong = series.is_infinite() | series.is_nan()
        yield from finding("contract.finite", "fail", wrong, "A number is infinite or not a number.")
        series = series.set(wrong.fill_null(False), None)
    if series.dtype.is_numeric():
        if column.minimum is not None:
            grave: Severity = "fail" if "minimum" in stated else "warn"
            yield from finding("contract.range", grave, series < column.minimum, "Below the range of the contract.")
        if column.maximum is not None:
            grave = "fail" if "maximum" in stated else "warn"
            yield from finding("contract.range", grave, series > column.maximum, "Above the range of the contract.")
    if column.allowed is not None:
        unknown = ~series.cast(pl.String).is_in(list(column.allowed)) & series.is_not_null()
        grave = "fail" if "allowed" in stated else "warn"
        yield from finding("contract.allowed", grave, unknown, "Not one of the values that the contract lists.")
    if column.unique:
        again = ~series.is_first_distinct() & series.is_not_null()
        yield from finding("contract.unique", "fail", again, "The contract says that no value occurs twice.")


def _mask(series: pl.Series) -> Bools:
    return series.fill_null(False).to_numpy()
