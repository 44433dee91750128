"""The rows that a model is judged on: real ones with a known outcome that it wasn't trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mcp_server.core.contract import Overrides, apply_overrides, from_dict
from mcp_server.core.predictor.batch import BatchPredictor
from mcp_server.core.training.split import synthetic_rows
from mcp_server.core.training.target import Target, target_values
from mcp_server.errors import InvalidInput
from mcp_server.workflows.operations.reading import stored_table
from mcp_server.workflows.operations.unseen import unseen_rows

MINIMUM_ROWS = 20


@dataclass(frozen=True, slots=True)
class JudgedRows:
    """Rows to judge a model on.

    Args:
        frame: every real row of the table.
        rows: which of them are judged, shape (n,).
        target: of the judged rows: class indexes or numbers.
        left_out: real rows that the model has seen, or their like.
    """

    frame: pl.DataFrame
    rows: NDArray[np.bool_]
    target: NDArray[np.float64]
    left_out: int

    @property
    def judged(self) -> pl.DataFrame:
        return self.frame.filter(pl.Series(self.rows))


def real_rows(arguments: Mapping[str, Any]) -> pl.DataFrame:
    """The table of an operation without its made-up rows.

    Args:
        arguments: path (Parquet) and contract.
    """
    frame = stored_table(arguments["path"])
    return frame.filter(pl.Series(~synthetic_rows(frame, from_dict(arguments["contract"]))))


def judged_rows(arguments: Mapping[str, Any], form: Mapping[str, Any], predictor: BatchPredictor) -> JudgedRows:
    """What of a table a model can be judged on.

    Args:
        arguments: path (Parquet), contract, and held_out as for `unseen_rows`, or nothing where that isn't known.
        form: the serving form as JSON, and `predictor` the same ready for tables.
    Raises:
        InvalidInput: the target isn't there, or fewer than 20 rows are left.
    """
    table, contract = stored_table(arguments["path"]), from_dict(arguments["contract"])
    typed = predictor.form
    if typed.target not in table.columns:
        raise InvalidInput("The data doesn't have the model's target.", hint="Name a dataset with known outcomes.")
    if contract.target != typed.target:
        contract = apply_overrides(contract, Overrides(target=typed.target))
    real = ~synthetic_rows(table, contract)
    unseen = unseen_rows(arguments["held_out"], form, table, contract) & real
    classes = None if typed.classes is None else tuple(typed.classes)
    target = target_values(table, contract, Target(typed.target, typed.task, classes))
    judged = unseen & np.isfinite(target)
    if int(judged.sum()) < MINIMUM_ROWS:
        raise InvalidInput(
            f"Only {int(judged.sum())} rows with an outcome weren't seen by the model; {MINIMUM_ROWS} are needed.",
            hint="Name a dataset with rows that it wasn't trained on.",
        )
    return JudgedRows(
        table.filter(pl.Series(real)), judged[real], target[judged], int(real.sum()) - int((unseen & real).sum())
    )
