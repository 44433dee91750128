"""A table of deliveries with faults planted in known rows; nothing in it is about any one field."""

from __future__ import annotations

import numpy as np
import polars as pl

from core.quality.tables import contract_of
from mcp_server.core.contract import Contract

KEY = {"on_time": "target", "spent_hours": "known_after", "promised_hours": "known_after", "late": "known_after"}


def clean_deliveries(rng: np.random.Generator, rows: int = 2_000) -> pl.DataFrame:
    """Parcels with honest features; `on_time` and `late` follow from two columns that are known afterwards."""
    promised = rng.integers(20, 100, rows)
    weight = rng.normal(80, 9, rows).round(1)
    spent = np.maximum(promised + rng.normal(0, 12, rows) - 0.2 * (weight - 80) + 0.5, 1).round().astype(int)
    spent = np.where(spent == promised, spent + 1, spent)
    net = rng.uniform(5, 500, rows).round(2)
    tax = (net * rng.choice([0.07, 0.19], rows)).round(2)
    city = rng.integers(0, 12, rows)
    return pl.DataFrame(
        {
            "day": np.sort(rng.integers(0, 700, rows)),
            "city": [f"city {at}" for at in city],
            "country": [f"country {at % 3}" for at in city],
            "weight_kg": weight,
            "distance_km": rng.lognormal(5, 0.6, rows).round(1),
            "net": net,
            "tax": tax,
            "gross": (net + tax).round(2),
            "promised_hours": promised,
            "spent_hours": spent,
            "late": (spent > promised).astype(int),
            "on_time": (spent < promised).astype(int),
        }
    )


def contract_for(frame: pl.DataFrame) -> Contract:
    return contract_of(frame, KEY)


def rows_for(rng: np.random.Generator, frame: pl.DataFrame, share: float) -> np.ndarray:
    """0-based rows, rising."""
    return np.sort(rng.choice(frame.height, round(share * frame.height), replace=False))


def changed(frame: pl.DataFrame, column: str, rows: np.ndarray, change) -> pl.DataFrame:  # type: ignore[no-untyped-def]
    values = frame.get_column(column).to_numpy().copy()
    values[rows] = change(values[rows])
    return frame.with_columns(pl.Series(column, values))


def numbers_of(rows: np.ndarray) -> set[int]:
    """1-based row numbers, as findings have them."""
    return {int(row) + 1 for row in rows}
