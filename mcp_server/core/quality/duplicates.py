"""Rows that are there twice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from mcp_server.core.contract import Contract
from mcp_server.core.quality.numbers import Bools
from mcp_server.core.quality.report import Finding, Severity, rows_of

_ABOVE_CHANCE = 3


def duplicate_findings(frame: pl.DataFrame, contract: Contract, rng: np.random.Generator) -> Iterator[Finding]:
    """Second and later copies of a row, and rows that share a key without being copies.

    Columns that number the rows are left out of the comparison. Where as many copies are expected by chance, from few
    columns with few values, copies are only mentioned.

    Args:
        rng: shuffles the columns for that expectation.
    """
    numbering = [column.name for column in contract.columns if column.unique]
    content = frame.drop(numbering) if len(numbering) < frame.width else frame
    copies = _later_copies(content)
    count = int(copies.sum())
    if count:
        chance = int(_later_copies(_shuffled(content, rng)).sum())
        severity: Severity = "warn" if count > _ABOVE_CHANCE * chance else "info"
        reason = "Equal in every column to an earlier row; the statistic is the number expected by chance."
        yield Finding("duplicates.rows", severity, (), count, rows_of(copies), reason, float(chance))
    if contract.key:
        keyed = frame.select(contract.key)
        again = _later_copies(keyed) & ~copies & ~_mask_any_null(keyed)
        if again.any():
            reason = "An earlier row has the same key and other content."
            yield Finding("duplicates.key", "fail", contract.key, int(again.sum()), rows_of(again), reason)


def _later_copies(frame: pl.DataFrame) -> Bools:
    return (~frame.select(row=pl.struct(pl.all()).is_first_distinct()).to_series()).to_numpy()


def _mask_any_null(frame: pl.DataFrame) -> Bools:
    return frame.select(row=pl.any_horizontal(pl.all().is_null())).to_series().to_numpy()


def _shuffled(frame: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    return pl.DataFrame([series[rng.permutation(frame.height)] for series in frame])
