"""Fill missing values with one value a column, which is told."""

from __future__ import annotations

from typing import Any

import polars as pl

from mcp_server.core.contract import Column
from mcp_server.core.contract.lineage import MARK, deciding
from mcp_server.core.labels import label
from mcp_server.core.preparing.plan import Impute
from mcp_server.core.preparing.table import Context, DataTable, Done, columns_said
from mcp_server.errors import PlanRefused

MOST_SHOWN = 30
_NUMERIC = frozenset({"integer", "number"})


def apply(step: Impute, table: DataTable, _context: Context) -> Done:
    """Whole numbers stay whole: their median and mean are rounded, half to even.

    Raises:
        PlanRefused: the column is the target, time, key or decides the target; the value isn't of its kind; there is
            none to measure.
    """
    contract = table.contract
    decisive = set()
    if contract.target is not None:
        decisive = {contract.target, *deciding(contract.target, contract.expressions, contract.ingredients)}
    measured = table.frame.filter(pl.Series(table.condition(step.where))) if step.where is not None else table.frame
    filled: list[pl.Series] = []
    marks: list[pl.Series] = []
    fitted: dict[str, Any] = {}
    cells = 0
    for name in dict.fromkeys(step.columns):
        column = table.column(name)
        if name in decisive or column.role in ("time", "key"):
            raise PlanRefused(
                f"{label(name)!r} is or decides the target, or is the time or the key: filling it would invent facts.",
                hint="Leave the rows out with a filter, such as not is_missing(x).",
            )
        value = _value(step, column, measured.get_column(name))
        series = table.frame.get_column(name)
        cells += series.null_count()
        filled.append(series.fill_null(pl.lit(value, dtype=series.dtype)))
        if step.mark:
            marks.append(series.is_null().alias(f"{name}{MARK}"))
        fitted[name] = value.isoformat() if hasattr(value, "isoformat") else value
    taken = next((mark.name for mark in marks if mark.name in table.frame.columns), None)
    if taken is not None:
        raise PlanRefused(f"There is a column {label(taken)!r} already.", hint="Leave mark out, or drop that column.")
    of = {mark.name: frozenset({mark.name.removesuffix(MARK)}) for mark in marks}
    done = table.put([*filled, *marks], of=of)
    on = "all rows" if step.where is None else f"{measured.height:,} rows"
    how = "a constant" if step.by == "constant" else f"the {step.by} of {on}"
    shown = {name: fitted[name] for name in list(fitted)[:MOST_SHOWN] if not table.column(name).personal}
    return Done(done, f"Filled {cells:,} missing values in {columns_said(len(filled))} with {how}.", fitted, shown)


def _value(step: Impute, column: Column, series: pl.Series) -> Any:
    if step.by == "constant":
        return _constant(step.value, column)
    if step.by in ("median", "mean") and column.kind not in _NUMERIC:
        raise PlanRefused(
            f"{label(column.name)!r} is {column.kind}, which has no {step.by}.", hint="Use by mode, or a constant."
        )
    present = series.drop_nulls()
    if not len(present):
        raise PlanRefused(
            f"{label(column.name)!r} has no value to measure.", hint="State a constant, other rows, or drop the column."
        )
    if step.by == "mode":
        # The smallest of the most frequent: the same whatever the order of the rows.
        return present.mode().sort()[0]
    middle = present.cast(pl.Float64).median() if step.by == "median" else present.cast(pl.Float64).mean()
    assert isinstance(middle, float)
    return round(middle) if column.kind == "integer" else middle


def _constant(value: Any, column: Column) -> Any:
    kind = column.kind
    fits = {
        "integer": isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63,
        "number": isinstance(value, int | float) and not isinstance(value, bool),
        "boolean": isinstance(value, bool),
        "category": isinstance(value, str),
        "text": isinstance(value, str),
    }
    if not fits.get(kind, False):
        raise PlanRefused(
            f"The constant isn't of the kind of {label(column.name)!r}, which is {kind}.",
            hint="Give one step for the columns of each kind; dates take by mode.",
        )
    return float(value) if kind == "number" else value
