"""Tables that were stored, and how their rows are told apart."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mcp_server.core.ingest import read_parquet

_BYTES = 8


def stored_table(path: str) -> pl.DataFrame:
    """The table in a Parquet file of ours; its digest was checked before the child was told its path."""
    return read_parquet(Path(path).read_bytes())


def stored_column(path: str, name: str) -> pl.Series:
    """One column of such a table, without reading the others."""
    return read_parquet(Path(path).read_bytes(), columns=[name]).to_series()


def row_columns(form: Mapping[str, Any]) -> list[str]:
    """What makes a row the same for a model: its given inputs and its target."""
    derived = {column["name"] for column in form["derived"]}
    return [column["name"] for column in form["inputs"] if column["name"] not in derived] + [form["target"]]


def row_digests(frame: pl.DataFrame, columns: Sequence[str]) -> NDArray[np.uint64]:
    """A digest for each row over some columns, shape (n,); a column that isn't there counts as missing.

    Numbers count by value, so that 1 and 1.0 of two imports are one row.
    """
    shown = [_shown(frame, name) for name in columns]
    text = frame.select(pl.concat_str(shown, separator="\x1f", ignore_nulls=False)).to_series().to_list()
    digests = b"".join(
        hashlib.blake2b(row.encode("utf-8", "surrogatepass"), digest_size=_BYTES).digest() for row in text
    )
    return np.frombuffer(digests, dtype=np.uint64)


def _shown(frame: pl.DataFrame, name: str) -> pl.Expr:
    if name not in frame.columns:
        return pl.lit("\x00")
    kind = frame.schema[name]
    column = pl.col(name)
    if kind.is_numeric() or kind == pl.Boolean:
        column = column.cast(pl.Float64)
    return column.cast(pl.String).fill_null("\x00")
