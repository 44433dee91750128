"""What is learned: the target's task, its classes, and its values as numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mcp_server.core.contract import Contract
from mcp_server.core.contract.lineage import fill_marks
from mcp_server.core.labels import label
from mcp_server.core.metrics import Task
from mcp_server.errors import BadTarget

FloatArray = NDArray[np.float64]

MAX_CLASSES = 50
_COUNTED_CLASSES = 10  # whole numbers with up to so many values are taken as classes, unless the task is stated


@dataclass(frozen=True, slots=True)
class Target:
    """The target of a model.

    Args:
        name: its column.
        task: binary, multiclass or regression.
        classes: as text, in the order of the model's outputs; the second of two is the one whose probability is
            forecast. None for a regression. False and true are "0" and "1".
    """

    name: str
    task: Task
    classes: tuple[str, ...] | None


def describe_target(frame: pl.DataFrame, contract: Contract, *, task: Task | None = None) -> Target:
    """Decide what kind of target a table has.

    Args:
        frame: the table of the contract, shape (n, columns).
        contract: names the target.
        task: states the task; without it two values or a category make classes, up to 10 whole numbers too, and
            other numbers a regression.
    Raises:
        BadTarget: there is no target, or it is missing, constant, of too many classes or not of the stated task.
    """
    name = contract.target
    if name is None:
        raise BadTarget("The data has no target.", hint="State the target when importing, or derive one.")
    kind = contract.column(name).kind
    texts = _as_text(frame.get_column(name), kind)
    distinct = texts.drop_nulls().unique()
    if kind in ("date", "datetime"):
        raise _bad(name, "is a date", "Derive a number from it, such as a count of days.")
    if not len(distinct):
        raise _bad(name, "has no value in any row", "Choose a column that is filled.")
    if len(distinct) == 1:
        raise _bad(name, "has the same value in every row", "Choose a column that varies, or other rows.")
    found = task or _inferred(kind, len(distinct))
    if found == "regression":
        if kind not in ("integer", "number"):
            raise _bad(name, "isn't a number, as a regression needs", "State another task, or leave it out.")
        return Target(name, found, None)
    if len(distinct) > MAX_CLASSES:
        raise _bad(name, f"has {len(distinct)} different values", f"Classes are limited to {MAX_CLASSES}: group them.")
    if task == "binary" and len(distinct) != 2:
        raise _bad(name, f"has {len(distinct)} classes, not two", "State the task multiclass, or leave it out.")
    if kind == "number" and any("." in text and not text.endswith(".0") for text in distinct):
        raise _bad(name, "holds fractions, which can't be classes", "State the task regression, or leave it out.")
    ordered = sorted(distinct.to_list(), key=float) if kind in ("integer", "number") else sorted(distinct.to_list())
    if any(len(text) > 500 for text in ordered):
        raise _bad(name, "has a class of over 500 characters", "Give the classes short names.")
    return Target(name, "binary" if len(ordered) == 2 else "multiclass", tuple(ordered))


def target_values(frame: pl.DataFrame, contract: Contract, target: Target) -> FloatArray:
    """The target of every row, shape (n,): a class index or a number; NaN where it's missing, filled in or no class."""
    values = _values(frame.get_column(target.name), contract, target)
    marks = fill_marks(target.name, contract.expressions, contract.ingredients).values()
    for mark in marks:
        if mark is not None and mark in frame.columns:
            # What a preparation filled in never happened: it neither teaches nor judges.
            values[frame.get_column(mark).fill_null(False).to_numpy()] = np.nan
    return values


def _values(series: pl.Series, contract: Contract, target: Target) -> FloatArray:
    if target.classes is None:
        return series.cast(pl.Float64).fill_null(np.nan).to_numpy().copy()
    indexes = {text: float(index) for index, text in enumerate(target.classes)}
    texts = _as_text(series, contract.column(target.name).kind).to_list()
    return np.array([indexes.get(text, np.nan) for text in texts])


def _as_text(series: pl.Series, kind: str) -> pl.Series:
    if kind == "boolean":
        series = series.cast(pl.Int8)
    if kind == "number":
        series = series.cast(pl.Float64).fill_nan(None)
    return series.cast(pl.String)


def _inferred(kind: str, distinct: int) -> Task:
    if distinct == 2:
        return "binary"
    if kind == "number" or (kind == "integer" and distinct > _COUNTED_CLASSES):
        return "regression"
    return "multiclass"


def _bad(name: str, what: str, hint: str) -> BadTarget:
    return BadTarget(f"The target {label(name)!r} {what}.", hint=hint, details={"column": label(name)})
