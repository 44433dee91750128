"""A table seen as rows with labels and rows without: what its target is, and the matrix that models learn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mcp_server.core.contract import Contract
from mcp_server.core.labelling.committee import FloatArray, ForecastKind, IntArray
from mcp_server.core.training.prepare import Preparation, prepare
from mcp_server.core.training.split import row_moments, synthetic_rows
from mcp_server.core.training.target import Target, describe_target, target_values
from mcp_server.errors import BadTarget

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class LabelTable:
    """A table and which of its rows have labels. Made-up rows are neither.

    Args:
        target: None where fewer than two different labels are there.
        values: shape (n,), class indexes or numbers, NaN where there is no label.
        labelled: indexes of the rows with a label, and with a time where the table has one.
        unlabelled: indexes of the rows without a label.
        moments: shape (n,), or None where the table has no time column.
    """

    frame: pl.DataFrame
    contract: Contract
    target: Target | None
    values: FloatArray
    labelled: IntArray
    unlabelled: IntArray
    moments: IntArray | None

    @property
    def goal(self) -> ForecastKind:
        """What the models forecast; two classes where nothing is known yet."""
        if self.target is None:
            return ForecastKind("binary", 2)
        return ForecastKind(self.target.task, 0 if self.target.classes is None else len(self.target.classes))

    def preparation(self) -> Preparation:
        """How a row becomes numbers, learned from the labelled rows; from all where there are none.

        Raises:
            TrainingRefused: no feature has a value in them.
        """
        rows = self.labelled if len(self.labelled) else np.arange(self.frame.height)
        return prepare(self.frame, self.contract, None, rows=rows, style="linear")


def label_table(frame: pl.DataFrame, contract: Contract) -> LabelTable:
    """See which rows of a table have labels.

    Args:
        frame: the table of the contract, shape (n, columns).
    Raises:
        BadTarget: the contract names no target, or one that can't be learned.
    """
    if contract.target is None:
        raise BadTarget("The data has no target.", hint="State the target when importing, or derive one.")
    series = frame.get_column(contract.target)
    target, values = None, np.full(frame.height, np.nan)
    there = series.is_not_null().to_numpy()
    if series.drop_nulls().n_unique() > 1:
        target = describe_target(frame, contract)
        values = target_values(frame, contract, target)
        there = ~np.isnan(values)
    made_up = synthetic_rows(frame, contract)
    moments = row_moments(frame, contract)
    labelled = there & ~made_up if moments is None else there & ~made_up & (moments >= 0)
    if target is None:
        labelled = np.zeros(frame.height, dtype=np.bool_)
    unlabelled = np.flatnonzero(~there & ~made_up)
    return LabelTable(frame, contract, target, values, np.flatnonzero(labelled), unlabelled, moments)


def encode(preparation: Preparation, frame: pl.DataFrame, rows: IntArray) -> FloatArray:
    """Some rows of a table as a matrix, shape (len(rows), width), finite.

    Args:
        frame: with the preparation's given columns; derived ones are computed.
    Raises:
        InvalidInput: a column is absent, of another kind or not finite.
    """
    encoder = preparation.table_encoder()
    return encoder.encode(encoder.columns(frame[rows.tolist()]))


def given_columns(preparation: Preparation) -> list[str]:
    """The columns that a row must give: the inputs that aren't derived from others."""
    derived = {part.name for part in preparation.derived}
    return [part.name for part in preparation.inputs if part.name not in derived]
