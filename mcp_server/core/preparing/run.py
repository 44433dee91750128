"""Carry a plan out, step by step, and tell what each step did."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

import numpy as np

from mcp_server.core.preparing.plan import AnyStep, at_step
from mcp_server.core.preparing.table import Apply, Context, DataTable
from mcp_server.errors import CourtsideError, PlanRefused

Report = Callable[[float, str], None]

# Imported when a plan has such a step: some bring scikit-learn.
_HOMES = {
    "filter": ("filtering", "apply"),
    "derive": ("deriving", "apply"),
    "drop_columns": ("dropping", "drop_columns"),
    "drop_rows": ("dropping", "drop_rows"),
    "join": ("joining", "apply"),
    "impute": ("imputing", "apply"),
    "sample": ("sampling", "apply"),
    "balance": ("balancing", "apply"),
    "augment": ("augmenting", "apply"),
    "select_features": ("selecting", "apply"),
    "embed": ("embedding", "apply"),
    "contract": ("restating", "apply"),
}


@dataclass(frozen=True, slots=True)
class PlanLimits:
    """What a prepared table may be."""

    rows: int
    columns: int
    cells: int


@dataclass(frozen=True, slots=True)
class StepReport:
    """What a step did.

    Args:
        said: a sentence of ours.
        shown: names and values from the data, for an answer.
        added: names of the columns that weren't there before, in order.
    """

    do: str
    rows_before: int
    rows_after: int
    columns_before: int
    columns_after: int
    said: str
    shown: dict[str, Any]
    added: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PlanResult:
    """The table after the last step, with its contract measured anew.

    Args:
        fitted: by step number (from 1): what was measured, as JSON.
    """

    table: DataTable
    steps: tuple[StepReport, ...]
    fitted: dict[str, Any]


def prepare(
    table: DataTable,
    plan: Sequence[AnyStep],
    *,
    seed: int,
    limits: PlanLimits,
    checking_seed: int = 0,
    others: Mapping[str, DataTable] | None = None,
    report: Report = lambda _share, _what: None,
) -> PlanResult:
    """Carry a plan out.

    Args:
        others: for each data set that a join names, its table.
        seed: with the same table, others, plan and `checking_seed` it gives the same result.
        checking_seed: as in `Context`.
    Raises:
        PlanRefused: a step can't be done, leaves no row, or makes too much; the message begins with its number.
        CourtsideError: what a step was refused with from below, with the step's number.
    """
    before = table.contract
    steps: list[StepReport] = []
    fitted: dict[str, Any] = {}
    for number, step in enumerate(plan, start=1):
        report((number - 1) / (len(plan) + 1), f"Step {number}: {step.do}")
        context = Context(
            # Each step has a stream of its own: changing one doesn't move the others.
            rng=np.random.default_rng([seed, 1_000 + number]),
            seed=seed,
            checking_seed=checking_seed,
            others=others or {},
            most_rows=min(limits.rows, limits.cells // max(1, table.frame.width)),
        )
        try:
            done = _apply(step.do)(step, table, context)
            _require_room(done.table, limits)
        except CourtsideError as refused:
            raise at_step(number, step.do, refused) from None
        steps.append(
            StepReport(
                step.do,
                table.rows,
                done.table.rows,
                table.frame.width,
                done.table.frame.width,
                done.said,
                done.shown,
                tuple(name for name in done.table.frame.columns if name not in table.frame.columns),
            )
        )
        if done.fitted:
            fitted[str(number)] = {"do": step.do, **done.fitted} if "do" not in done.fitted else done.fitted
        table = done.table
    return PlanResult(table.settled(before), tuple(steps), fitted)


def _apply(do: str) -> Apply:
    home, name = _HOMES[do]
    return cast(Apply, getattr(import_module(f"mcp_server.core.preparing.{home}"), name))


def _require_room(table: DataTable, limits: PlanLimits) -> None:
    if not table.rows:
        raise PlanRefused("No row is left.", hint="Check the step against the ranges that describe_data shows.")
    if table.rows > limits.rows or table.frame.width > limits.columns or table.rows * table.frame.width > limits.cells:
        raise PlanRefused(
            f"The table would have {table.rows:,} rows and {table.frame.width:,} columns; {limits.rows:,} rows, "
            f"{limits.columns:,} columns and {limits.cells:,} cells are allowed.",
            hint="Sample or drop columns first.",
        )
