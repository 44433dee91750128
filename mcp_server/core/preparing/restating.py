"""State what a contract promises: by a change of it, or by another program's document."""

from __future__ import annotations

from typing import Any

from mcp_server.core.contract.edit import differences, edit, read_change
from mcp_server.core.contract.great_expectations import from_great_expectations
from mcp_server.core.contract.pandera import from_pandera
from mcp_server.core.labels import label
from mcp_server.core.preparing.plan import Restate
from mcp_server.core.preparing.table import Context, DataTable, Done

MOST_SHOWN = 40


def apply(step: Restate, table: DataTable, _context: Context) -> Done:
    """The table stays; the contract says what the step says.

    Raises:
        InvalidInput, DataRejected: the change or the document isn't well formed, or doesn't fit the columns.
    """
    not_carried: tuple[str, ...] = ()
    if step.change is not None:
        contract = edit(table.contract, read_change(step.change))
    else:
        foreign = from_pandera(step.pandera) if step.pandera is not None else from_great_expectations(_suite(step))
        contract, not_carried = foreign.onto(table.contract), foreign.not_carried
    found = differences(table.contract, contract)
    shown: dict[str, Any] = {"changes": [difference.to_list() for difference in found[:MOST_SHOWN]]}
    said = f"Changed {len(found)} parts of the contract."
    if not_carried:
        said += f" {len(not_carried)} parts of the document aren't carried."
        shown["not_carried"] = [label(line, 120) for line in not_carried[:MOST_SHOWN]]
    return Done(DataTable(table.frame, contract), said, shown=shown)


def _suite(step: Restate) -> str:
    assert step.great_expectations is not None
    return step.great_expectations
