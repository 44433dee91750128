"""Tables with contracts for the tests of screening, leakage and quality."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from mcp_server.core.contract import Column, Contract, Role

_KINDS = {pl.Boolean: "boolean", pl.String: "category", pl.Date: "date"}


def contract_of(frame: pl.DataFrame, roles: Mapping[str, Role] | None = None, **units: str) -> Contract:
    """The contract that a frame keeps, with roles other than `feature` by name."""
    columns = []
    for series in frame:
        kind = _KINDS.get(series.dtype.base_type()) or ("integer" if series.dtype.is_integer() else "number")
        numeric = kind in ("integer", "number")
        distinct = sorted(series.drop_nulls().unique().to_list()) if kind == "category" else []
        columns.append(
            Column(
                name=series.name,
                kind=kind,
                role=(roles or {}).get(series.name, "feature"),
                nullable=series.null_count() > 0,
                unit=units.get(series.name),
                minimum=float(series.min()) if numeric else None,
                maximum=float(series.max()) if numeric else None,
                allowed=tuple(distinct) if 0 < len(distinct) <= 200 else None,
            )
        )
    return Contract(columns=tuple(columns))


def sklearn_table(name: str) -> tuple[pl.DataFrame, Contract]:
    """One of the tables that scikit-learn ships, with its target."""
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    names = [str(column) for column in bunch.feature_names]
    frame = pl.DataFrame(np.asarray(bunch.data), schema=names).with_columns(pl.Series("target", bunch.target))
    return frame, contract_of(frame, {"target": "target"})


REPOSITORY = Path(__file__).parents[3]
# Beside the repository, or one folder further up where that's a worktree.
_PLACES = (REPOSITORY.parent / "shared" / "data", REPOSITORY.parent.parent / "shared" / "data")
DATA = next((place for place in _PLACES if place.is_dir()), _PLACES[0])


def nba_games() -> pl.DataFrame:
    """The public NBA table with its target, or a skip where it's absent."""
    path = DATA / "nba" / "nba_games_1947_2015.csv"
    if not path.exists():
        pytest.skip("the NBA table isn't on this machine")
    return pl.read_csv(path, try_parse_dates=True).with_columns(
        home_win=(pl.col("home_score") > pl.col("away_score")).cast(pl.Int64)
    )
