"""Keep the rows where a condition holds."""

from __future__ import annotations

import numpy as np

from mcp_server.core.preparing.plan import Filter
from mcp_server.core.preparing.table import Context, DataTable, Done


def apply(step: Filter, table: DataTable, _context: Context) -> Done:
    """Rows where the condition is missing go, as in SQL.

    Raises:
        PlanRefused, DataRejected: it isn't a condition over the table's columns.
    """
    kept = table.take(np.flatnonzero(table.condition(step.where)))
    return Done(kept.with_filter(step.where), "Kept the rows where the condition holds.")
