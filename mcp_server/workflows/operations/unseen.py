"""Which rows of a table a model never saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from mcp_server.core.contract import Contract
from mcp_server.workflows.operations.reading import row_columns, row_digests, stored_table

BoolArray = NDArray[np.bool_]


def unseen_rows(
    held_out: Mapping[str, Any], form: Mapping[str, Any], frame: pl.DataFrame, contract: Contract
) -> BoolArray:
    """Which rows a model never saw, shape (n,); all of them where nothing tells.

    Of the very table that it was trained on: the rows that were held out (`test_rows`). Of any other: those unlike
    each row that it was fitted or calibrated on (`seen_rows`). Where the table descends from that one (`kin`), a row
    under the key of one that wasn't held out is seen too, whatever became of its values.
    """
    if "test_rows" in held_out:
        return _numbered(held_out["test_rows"], frame.height)
    unseen = np.ones(frame.height, dtype=np.bool_)
    if "seen_rows" in held_out:
        seen = np.frombuffer(Path(held_out["seen_rows"]).read_bytes(), dtype=np.uint64)
        unseen = ~np.isin(row_digests(frame, row_columns(form)), seen)
    if held_out.get("kin"):
        unseen &= ~_keyed(held_out["trained_on"], frame, contract)
    return unseen


def under_known_keys(held_out: Mapping[str, Any], frame: pl.DataFrame, contract: Contract) -> BoolArray:
    """Rows with the key of one that a model was trained on, in a data set that this one doesn't descend from."""
    if "trained_on" not in held_out or held_out.get("kin"):
        return np.zeros(frame.height, dtype=np.bool_)
    return _keyed(held_out["trained_on"], frame, contract)


def _keyed(trained_on: Mapping[str, str], frame: pl.DataFrame, contract: Contract) -> BoolArray:
    """Which rows have the key of a row that wasn't held out in training; none where the keys aren't the same."""
    keys = list(contract.key)
    table = stored_table(trained_on["path"])
    if not keys or not set(keys) <= set(table.columns):
        return np.zeros(frame.height, dtype=np.bool_)
    held = _numbered(trained_on["test_rows"], table.height)
    known = row_digests(table.filter(pl.Series(~held)), keys)
    again: BoolArray = np.isin(row_digests(frame, keys), known) & with_key(frame, keys)
    return again


def with_key(frame: pl.DataFrame, keys: Sequence[str]) -> BoolArray:
    """Rows whose key is whole: a missing part names nothing."""
    found: BoolArray = frame.select(pl.all_horizontal(pl.col(keys).is_not_null())).to_series().to_numpy()
    return found


def _numbered(path: str, rows: int) -> BoolArray:
    chosen = np.zeros(rows, dtype=np.bool_)
    chosen[orjson.loads(Path(path).read_bytes())] = True
    return chosen
