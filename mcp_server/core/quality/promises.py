"""What a contract promises beyond kinds and ranges: patterns, groups, freshness, size, and rules across columns."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import polars as pl

from mcp_server.core.contract import Column, Contract, Rule
from mcp_server.core.contract.pattern import compiled, for_columns
from mcp_server.core.expressions import parse
from mcp_server.core.expressions.polars_backend import compute
from mcp_server.core.quality.report import Finding, Severity, rows_of

FRESHNESS_UNCHECKED = "How fresh the table is: nobody said what time it is."


def promise_findings(frame: pl.DataFrame, contract: Contract, now: datetime | None) -> Iterator[Finding]:
    """Rows, columns or the whole table, where they don't keep what the contract promises.

    What was inferred is a warning where it's broken, as it describes what was seen; what was stated fails.

    Args:
        frame: shape (n, columns), n >= 1, the contract's columns of their kinds.
        now: an instant; None leaves out a freshness that is promised against it.
    """
    for column in contract.columns:
        if column.pattern is not None:
            yield from _pattern(frame.get_column(column.name), column, contract)
    for group in contract.unique_together:
        yield from _group(frame, group)
    yield from size_findings(frame.height, contract)
    yield from _freshness(frame, contract, now)
    for rule in contract.rules:
        yield from _rule(frame, contract, rule)


def unchecked(contract: Contract, now: datetime | None) -> list[str]:
    """What the contract promises and `promise_findings` can't tell without knowing the time."""
    freshness = contract.freshness
    return [FRESHNESS_UNCHECKED] if freshness is not None and freshness.against == "now" and now is None else []


def _pattern(series: pl.Series, column: Column, contract: Contract) -> Iterator[Finding]:
    assert column.pattern is not None
    rows = rows_of(unlike(column.pattern, series.cast(pl.String)).fill_null(False).to_numpy())
    if rows:
        severity: Severity = "fail" if contract.states(column, "pattern") else "warn"
        yield Finding("contract.pattern", severity, (column.name,), len(rows), rows, "Not of the contract's pattern.")


def unlike(pattern: str, texts: pl.Series) -> pl.Series:
    """Which texts don't have a pattern as a whole; missing where they are."""
    written = for_columns(pattern)
    if written is not None:
        try:
            return ~texts.str.contains(rf"\A(?:{written})\z")
        except pl.exceptions.ComputeError:
            pass  # too large for that engine; RE2 has taken it
    known = compiled(pattern)
    wrong = [value for value in texts.drop_nulls().unique() if not known.matches(value)]
    return texts.is_in(wrong) if wrong else pl.Series([False]).new_from_index(0, texts.len())


def _group(frame: pl.DataFrame, group: tuple[str, ...]) -> Iterator[Finding]:
    together = pl.DataFrame([frame.get_column(name) for name in group])
    whole = together.select(pl.all_horizontal(pl.all().is_not_null())).to_series()
    again = (~together.select(pl.struct(pl.all()).is_first_distinct()).to_series()) & whole
    rows = rows_of(again.to_numpy())
    if rows:
        reason = "The contract says that these columns together never hold the same values twice."
        yield Finding("contract.unique_together", "fail", group, len(rows), rows, reason)


def size_findings(rows: int, contract: Contract) -> Iterator[Finding]:
    """Whether the table has as many rows as the contract says."""
    bounds = contract.row_bounds
    if bounds is None:
        return
    if bounds.minimum is not None and rows < bounds.minimum:
        reason = "The table has fewer rows than the contract's least; the statistic is that number."
        yield Finding("contract.rows", "fail", (), rows, (), reason, float(bounds.minimum))
    if bounds.maximum is not None and rows > bounds.maximum:
        reason = "The table has more rows than the contract's most; the statistic is that number."
        yield Finding("contract.rows", "fail", (), rows, (), reason, float(bounds.maximum))


def _freshness(frame: pl.DataFrame, contract: Contract, now: datetime | None) -> Iterator[Finding]:
    promised, time = contract.freshness, contract.time
    if promised is None or time is None:
        return
    newest = _newest(frame.get_column(time))
    if promised.against == "data":
        others = [_newest(frame.get_column(name)) for name, kind in contract.kinds.items() if kind in _TEMPORAL]
        now = max((moment for moment in others if moment is not None), default=None)
    if now is None:
        return
    if newest is None:
        reason = "The contract promises a fresh table, and every time is missing."
        yield Finding("contract.freshness", "fail", (time,), 1, (), reason)
        return
    age = (now - newest) / timedelta(days=1)
    if age > promised.days:
        reason = "The newest row is older than the contract promises; the statistic is its age in days."
        yield Finding("contract.freshness", "fail", (time,), 1, (), reason, age)


_TEMPORAL = ("date", "datetime")


def _newest(series: pl.Series) -> datetime | None:
    newest = series.max()
    if isinstance(newest, datetime):
        return newest if newest.tzinfo is not None else newest.replace(tzinfo=UTC)
    return datetime(newest.year, newest.month, newest.day, tzinfo=UTC) if isinstance(newest, date) else None


def _rule(frame: pl.DataFrame, contract: Contract, rule: Rule) -> Iterator[Finding]:
    expression = parse(rule.expression)
    rows = rows_of((~compute(expression, frame)).fill_null(False).to_numpy())
    if rows:
        names = tuple(column.name for column in contract.columns if column.name in expression.columns)
        reason = "These rows break a rule of the contract."
        yield Finding(f"rule.{rule.name}", rule.severity, names, len(rows), rows, reason)
