"""The text columns of a table by their different values, and the way from suspect values to a finding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from mcp_server.core.contract import Contract
from mcp_server.core.quality.report import MAX_EXAMPLES, Example, Finding, Fix, Severity, rows_of

LEAST_CELLS = 20
"""Cells of a column from which its usual form can be told."""

MAX_CELL_ROWS = 200_000
"""Rows whose single cells are looked at; of more, every k-th."""


@dataclass(frozen=True, slots=True)
class TextColumn:
    """One column of text.

    Args:
        name: in the table.
        personal: whether its values may never be shown.
        rows: of the table.
        cells: of every `step`-th row of the table, String; null where missing.
        step: >= 1.
        values, counts: the different values that are still in question and how often each occurs, the most frequent
            first, ties by value.
    """

    name: str
    personal: bool
    rows: int
    cells: pl.Series
    step: int
    values: pl.Series
    counts: pl.Series

    @property
    def total(self) -> int:
        """Cells that are still in question."""
        return int(self.counts.sum())

    def share(self, chosen: pl.Series) -> float:
        """The share of the cells whose value is chosen: a Boolean for each of `values`; 0.0 of no cells."""
        return float(self.counts.filter(chosen).sum() / self.total) if self.total else 0.0

    def without(self, values: Sequence[str]) -> TextColumn:
        """The column without some values, which were told already."""
        if not values:
            return self
        kept = ~self.values.is_in(list(values))
        return replace(self, values=self.values.filter(kept), counts=self.counts.filter(kept))


@dataclass(frozen=True, slots=True)
class Suspects:
    """Values of one column that look wrong for one reason.

    Args:
        replacements: each value, and what the fix makes of it; empty where the whole column is meant.
        reason: one sentence of ours.
    """

    rule: str
    severity: Severity
    reason: str
    confidence: float
    fix: Fix
    replacements: Mapping[str, str | None]

    def finding(self, column: TextColumn) -> Finding:
        """The cells that hold such a value, as a finding."""
        wrong = column.cells.is_in(list(self.replacements)).fill_null(False)
        rows = tuple((row - 1) * column.step + 1 for row in rows_of(wrong.to_numpy()))
        first = [] if column.personal else wrong.arg_true().head(MAX_EXAMPLES).to_list()
        examples = tuple(
            Example(at * column.step + 1, column.cells[at], self.replacements[column.cells[at]]) for at in first
        )
        return Finding(
            self.rule,
            self.severity,
            (column.name,),
            len(rows) or 1,
            rows,
            self.reason,
            confidence=self.confidence,
            fix=self.fix,
            examples=examples,
        )


def text_columns(frame: pl.DataFrame, contract: Contract) -> Iterator[TextColumn]:
    """Categories and text of the contract that aren't ignored, in order; of long tables every k-th row."""
    step = -(-frame.height // MAX_CELL_ROWS) or 1
    for column in contract.columns:
        if column.kind not in ("category", "text") or column.role == "ignored":
            continue
        cells = frame.get_column(column.name).gather_every(step).cast(pl.String)
        counted = cells.drop_nulls().alias("value").value_counts(name="count")
        counted = counted.sort("count", "value", descending=[True, False])
        yield TextColumn(
            column.name,
            column.personal,
            frame.height,
            cells,
            step,
            counted.get_column("value"),
            counted.get_column("count"),
        )
