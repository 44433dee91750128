"""Carrying out a preparation plan on stored tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mcp_server.core.canonical import canonical_bytes
from mcp_server.core.contract import from_dict, to_dict
from mcp_server.core.ingest import write_parquet
from mcp_server.core.preparing.plan import read_plan
from mcp_server.core.preparing.run import PlanLimits, prepare
from mcp_server.core.preparing.table import DataTable
from mcp_server.core.profile import profile
from mcp_server.workflows.operations.reading import stored_table

Report = Callable[[float, str], None]


def prepare_table(arguments: dict[str, Any], report: Report) -> dict[str, Any]:
    """Carry a plan out, and write the table and what was fitted unless it's a dry run.

    Args:
        arguments: path, contract, steps, others (reference to path and contract), seed, checking_seed, max_rows,
            max_columns, max_cells; and out and fitted_out for the two files, both None in a dry run.
    Returns:
        rows, columns, steps, contract, fitted: whether there is something fitted; and, but in a dry run, profile.
    Raises:
        CourtsideError: what a step was refused with, with its number; nothing is written.
    """
    report(0.0, "Reading")
    table = _table(arguments)
    others = {reference: _table(other) for reference, other in arguments["others"].items()}
    found = prepare(
        table,
        read_plan(arguments["steps"]),
        seed=arguments["seed"],
        checking_seed=arguments["checking_seed"],
        others=others,
        limits=PlanLimits(arguments["max_rows"], arguments["max_columns"], arguments["max_cells"]),
        report=lambda share, what: report(0.9 * share, what),
    )
    frame, contract = found.table.frame, found.table.contract
    answer: dict[str, Any] = {
        "rows": frame.height,
        "columns": frame.width,
        "steps": [asdict(step) for step in found.steps],
        "fitted": bool(found.fitted),
        "contract": to_dict(contract),
    }
    if arguments["out"] is None:
        return answer
    report(0.9, "Writing")
    with open(arguments["out"], "wb") as target:
        write_parquet(frame, target)
    if found.fitted:
        Path(arguments["fitted_out"]).write_bytes(canonical_bytes(found.fitted))
    return {**answer, "profile": profile(frame, contract)}


def _table(stored: dict[str, Any]) -> DataTable:
    return DataTable(stored_table(stored["path"]), from_dict(stored["contract"]))
