"""Small tables for tests of preparing, with the contract that an import would give them."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from mcp_server.core.contract import Derived
from mcp_server.core.ingest import shape_table
from mcp_server.core.preparing.plan import read_plan
from mcp_server.core.preparing.run import PlanLimits, PlanResult, prepare
from mcp_server.core.preparing.table import DataTable

LIMITS = PlanLimits(rows=100_000, columns=500, cells=10_000_000)


def a_table(columns: dict[str, Any], derived: dict[str, str] | None = None, **stated: Any) -> DataTable:
    """A table as an import gives it."""
    computed = [Derived(name=name, expression=text) for name, text in (derived or {}).items()]
    return DataTable(*shape_table(pl.DataFrame(columns), derived=computed, **stated))


def prepared(table: DataTable, *steps: dict[str, Any], seed: int = 0, **others: DataTable) -> PlanResult:
    """The plan carried out; data sets that joins name are keyword arguments."""
    return prepare(table, read_plan(list(steps)), seed=seed, limits=LIMITS, others=others)


def made(table: DataTable, *steps: dict[str, Any], seed: int = 0, **others: DataTable) -> DataTable:
    return prepared(table, *steps, seed=seed, **others).table


def roles(table: DataTable) -> dict[str, str]:
    return {column.name: column.role for column in table.contract.columns}


def two_classes(rows: int = 400, rare: float = 0.15, seed: int = 0) -> DataTable:
    """Numbers, whole numbers, a category and two classes of unequal size; `sum` is derived."""
    rng = np.random.default_rng(seed)
    label = rng.random(rows) < rare
    frame = {
        "x": rng.normal(size=rows) + 2 * label,
        "n": rng.integers(0, 50, rows) + 10 * label,
        "colour": rng.choice(["blue", "green", "red"], rows),
        "y": label,
    }
    return a_table(frame, derived={"sum": "x + n"}, target="y")
