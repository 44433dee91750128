"""Tables that were stored: their digest was checked before the child was told their path."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from mcp_server.core.ingest import read_parquet


def stored_table(path: str) -> pl.DataFrame:
    """The table in a Parquet file of ours."""
    return read_parquet(Path(path).read_bytes())
