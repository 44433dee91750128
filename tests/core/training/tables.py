"""Tables with contracts for tests: scikit-learn's own, a mixed one with missing values, and basketball."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from mcp_server.core.contract import Column, Contract, Derived

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
NBA = SHARED / "nba" / "nba_games_1947_2015.csv"

KINDS = {
    pl.Int64: "integer",
    pl.Float64: "number",
    pl.Boolean: "boolean",
    pl.String: "category",
    pl.Date: "date",
}


def a_contract(frame: pl.DataFrame, roles: dict[str, str], derived: dict[str, str] | None = None) -> Contract:
    """A contract for a table as it is; columns without a stated role are features."""
    derived = derived or {}
    columns: list[Any] = [
        Column(
            name=name,
            kind=KINDS[dtype.base_type()],  # type: ignore[index, arg-type]
            role=roles.get(name, "feature"),  # type: ignore[arg-type]
            nullable=frame[name].null_count() > 0,
            source="derived" if name in derived else "file",
        )
        for name, dtype in frame.schema.items()
    ]
    made = tuple(Derived(name=name, expression=text) for name, text in derived.items())
    return Contract(columns=tuple(columns), derived=made)


def from_scikit_learn(name: str) -> tuple[pl.DataFrame, Contract]:
    """iris, wine, breast_cancer, digits or diabetes, with the target `target`."""
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    names = [str(column) for column in bunch.feature_names]
    frame = pl.DataFrame({column: bunch.data[:, at].astype(float) for at, column in enumerate(names)})
    kind = pl.Float64 if name == "diabetes" else pl.Int64
    frame = frame.with_columns(target=pl.Series(bunch.target).cast(kind))
    return frame, a_contract(frame, {"target": "target"})


def a_mixed_table(rows: int = 1_500, seed: int = 0, *, task: str = "binary") -> tuple[pl.DataFrame, Contract]:
    """Numbers, counts, true/false, categories (one with many values) and a date; a tenth missing.

    The target depends on all but `noise`; the date is the time.
    """
    rng = np.random.default_rng(seed)
    size = rng.normal(50.0, 10.0, rows)
    count = rng.integers(0, 9, rows)
    flag = rng.random(rows) < 0.3
    colour = rng.choice(["blue", "green", "red"], rows, p=[0.5, 0.3, 0.2])
    town = np.array([f"town {number:03d}" for number in rng.zipf(1.6, rows).clip(1, 90)])
    strength = (size - 50) / 10 + 0.3 * count + flag + (colour == "red") * 1.5 - 1.8
    noise = rng.normal(size=rows)
    target: Any
    if task == "binary":
        target = np.where(rng.random(rows) < 1 / (1 + np.exp(-strength)), "yes", "no")
    elif task == "multiclass":
        target = np.array(["low", "middle", "top"])[np.digitize(strength + noise, [-0.7, 1.0])]
    else:
        target = 10.0 * strength + noise
    frame = pl.DataFrame(
        {
            "day": pl.date_range(pl.date(2010, 1, 1), pl.date(2024, 12, 31), eager=True)[:rows],
            "size": size,
            "count": count,
            "flag": flag,
            "colour": colour,
            "town": town,
            "noise": rng.normal(size=rows),
            "target": target,
        }
    )
    holes = [
        pl.when(pl.Series(rng.random(rows) < 0.1)).then(None).otherwise(pl.col(name)).alias(name)
        for name in ("size", "count", "flag", "colour", "town")
    ]
    frame = frame.with_columns(holes).with_columns(
        double=pl.col("size") * 2,
        big=pl.col("size") > 60,
    )
    derived = {"double": "size * 2", "big": "size > 60"}
    return frame, a_contract(frame, {"target": "target", "day": "time"}, derived)


def a_drifting_table(
    seed: int, rows: int = 1_500, *, moving: float = 1.0, noisier: float = 1.0
) -> tuple[pl.DataFrame, Contract]:
    """A slope and a level that rise by .3 over the time, a noise by 15 %, and a bend that no linear model follows.

    Args:
        moving, noisier: of these rises; 0 where nothing drifts.
    """
    rng = np.random.default_rng(seed)
    moved, size = np.linspace(0.0, 0.15, rows), rng.normal(size=(rows, 3))
    made = size[:, 0] * (1.0 + 2.0 * moving * moved) + 0.5 * np.sin(2.0 * size[:, 1])
    frame = pl.DataFrame(
        {
            "day": pl.date_range(pl.date(2010, 1, 1), pl.date(2024, 12, 31), eager=True)[:rows],
            **{f"x{at}": size[:, at] for at in range(3)},
            "y": made + 2.0 * moving * moved + rng.normal(0.0, 0.5 * (1.0 + noisier * moved)),
        }
    )
    return frame, a_contract(frame, {"y": "target", "day": "time"})


def basketball() -> tuple[pl.DataFrame, Contract]:
    """The games of the seasons from 1985 on, as an import would give them; skips where the file is absent."""
    if not NBA.is_file():
        pytest.skip("the shared basketball data is absent")
    frame = pl.read_csv(NBA, try_parse_dates=True).filter(pl.col("season") >= 1985)
    frame = frame.with_columns(
        home_win=pl.col("home_score") > pl.col("away_score"),
        elo_diff=pl.col("home_elo") - pl.col("away_elo"),
    )
    roles = {
        "home_win": "target",
        "date": "time",
        "home_score": "known_after",
        "away_score": "known_after",
        "elo_home_win_prob": "known_after",
    }
    derived = {"home_win": "home_score > away_score", "elo_diff": "home_elo - away_elo"}
    return frame, a_contract(frame, roles, derived)
