"""Add columns that expressions compute."""

from __future__ import annotations

from mcp_server.core.preparing.plan import Derive
from mcp_server.core.preparing.table import Context, DataTable, Done, columns_said


def apply(step: Derive, table: DataTable, _context: Context) -> Done:
    """Each after those that it's computed from; the expressions stay in the contract, so that predicting computes them.

    Raises:
        PlanRefused: a name is taken, or a column isn't there.
        DataRejected: `E_EXPRESSION`.
    """
    derived = table.derive(step.columns)
    late = sum(derived.contract.column(name).role == "known_after" for name in step.columns)
    note = f" {late} are known only after the event." if late else ""
    return Done(derived, f"Derived {columns_said(len(step.columns))}.{note}")
