"""Bring the classes of the target nearer to each other in size, among the rows that teach."""

from __future__ import annotations

import math

import numpy as np

from mcp_server.core.preparing.augmenting import copies, room_for
from mcp_server.core.preparing.looking import Looked, look
from mcp_server.core.preparing.plan import Balance
from mcp_server.core.preparing.table import Context, DataTable, Done, IntArray
from mcp_server.errors import PlanRefused


def apply(step: Balance, table: DataTable, context: Context) -> Done:
    """Afterwards no class is under `ratio` times the largest, as far as whole rows allow.

    `over` copies rows that teach; the copies are made up. `under` leaves rows out: of those that teach where later
    rows or a condition judge, so that these keep their shares; of all where the judging rows are drawn.

    Raises:
        PlanRefused: the target has no classes, or there are made-up rows.
        BadTarget, TrainingRefused: as a split says.
    """
    if table.contract.synthetic is not None:
        raise PlanRefused("The table has made-up rows already.", hint="Balance first, or use augment alone.")
    looked = look(table, context, step.test)
    if looked.target.classes is None:
        raise PlanRefused("The target is a number, which has no classes.", hint="Sample by a weight instead.")
    if step.how == "over":
        return _over(step, table, looked, context)
    return _under(step, table, looked, context)


def class_rows(looked: Looked, rows: IntArray) -> list[IntArray]:
    """The rows of each class."""
    assert looked.target.classes is not None
    return [rows[looked.values[rows] == index] for index in range(len(looked.target.classes))]


def _over(step: Balance, table: DataTable, looked: Looked, context: Context) -> Done:
    members = class_rows(looked, looked.fit)
    goal = math.ceil(step.ratio * max(map(len, members)))
    lacking = [max(0, goal - len(rows)) if len(rows) else 0 for rows in members]
    room_for(table, sum(lacking), context)
    drawn = [
        np.concatenate([np.tile(rows, count // len(rows)), context.rng.permutation(rows)[: count % len(rows)]])
        for rows, count in zip(members, lacking, strict=True)
        if count
    ]
    if not drawn:
        return Done(table, "The classes are as near as that already.")
    sources = np.concatenate(drawn)
    done = table.add_rows(copies(table, sources), (sources, sources))
    shown = {"before": [len(rows) for rows in members], "copies": lacking}
    return Done(done, f"Copied {len(sources):,} rows that teach.", shown, shown)


def _under(step: Balance, table: DataTable, looked: Looked, context: Context) -> Done:
    spared = looked.split.by_time or isinstance(step.test, str)
    among = looked.train if spared else np.flatnonzero(~np.isnan(looked.values))
    members = class_rows(looked, among)
    most = math.floor(min(len(rows) for rows in members if len(rows)) / step.ratio)
    gone = np.concatenate([context.rng.permutation(rows)[most:] for rows in members])
    kept = np.ones(table.rows, dtype=bool)
    kept[gone] = False
    shown = {"before": [len(rows) for rows in members], "after": [min(len(rows), most) for rows in members]}
    note = "" if spared else " The rows that judge change their shares too: state test as a condition to spare them."
    said = f"Left {len(gone):,} rows of large classes out.{note}"
    return Done(table.take(np.flatnonzero(kept)), said, shown, shown)
