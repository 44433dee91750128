"""Leave columns or rows out."""

from __future__ import annotations

import numpy as np

from mcp_server.core.labels import closest, label
from mcp_server.core.preparing.plan import DropColumns, DropRows
from mcp_server.core.preparing.table import BoolArray, Context, DataTable, Done, columns_said
from mcp_server.core.quality import validate
from mcp_server.errors import PlanRefused

MOST_RULES = 20


def drop_columns(step: DropColumns, table: DataTable, _context: Context) -> Done:
    """Without some columns; what was derived from them stays.

    Raises:
        PlanRefused: a column isn't there, is the target, or marks made-up rows; or none would be left.
    """
    gone = [table.column(name) for name in dict.fromkeys(step.columns)]
    if any(column.role == "target" for column in gone):
        raise PlanRefused("The target can't be dropped.", hint="Name another target when importing or training.")
    if len(gone) == len(table.contract.columns):
        raise PlanRefused("No column would be left.", hint="Keep at least one.")
    timeless = any(column.role == "time" for column in gone)
    note = " Without the time column, training will judge on random rows." if timeless else ""
    return Done(table.without(column.name for column in gone), f"Dropped {columns_said(len(gone))}.{note}")


def drop_rows(step: DropRows, table: DataTable, context: Context) -> Done:
    """Without some rows, by number or by what a rule of the validation flags.

    Raises:
        PlanRefused: a number is beyond the table, or no rule of the name flags rows.
    """
    gone = np.zeros(table.rows, dtype=bool)
    if step.rule is not None:
        gone |= _flagged(step.rule, table, context.checking_seed)
        said = "Dropped the rows that the rule flags."
    else:
        for entry in step.rows or []:
            first, last = (entry, entry) if isinstance(entry, int) else (entry[0], entry[1])
            if first > last or last > table.rows:
                raise PlanRefused(
                    f"The span {first} to {last} doesn't lie within the {table.rows:,} rows at this step.",
                    hint="Rows are numbered from 1; drop rows before steps that move them.",
                )
            gone[first - 1 : last] = True
        said = "Dropped the named rows."
    return Done(table.take(np.flatnonzero(~gone)), said)


def _flagged(rule: str, table: DataTable, seed: int) -> BoolArray:
    settled = table.settled(table.contract)
    report = validate(settled.frame, settled.contract, rng=np.random.default_rng(seed))
    with_rows = {finding.rule for finding in report.findings if finding.rows}
    if rule not in with_rows:
        listed = ", ".join(sorted(with_rows)[:MOST_RULES]) or "none"
        # A rule of the contract is named without its prefix as often as with it.
        near = closest(f"rule.{rule}" if f"rule.{rule}" in with_rows else rule, with_rows)
        raise PlanRefused(
            f"The rule {label(rule)!r} flags no rows at this step.",
            hint=f"{near} Rules that flag rows here: {listed}.".strip(),
        )
    gone = np.zeros(table.rows, dtype=bool)
    for finding in report.findings:
        if finding.rule == rule:
            gone[np.array(finding.rows, dtype=np.int64) - 1] = True
    return gone
