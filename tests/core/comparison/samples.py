"""Outcomes, and forecasts of them that are equally good by construction."""

from __future__ import annotations

from typing import Any

import numpy as np


def games(rng: np.random.Generator, rows: int, noise: float = 0.3, models: int = 2) -> tuple[Any, ...]:
    """Outcomes of two kinds, and forecasts that err equally and independently."""
    odds = rng.normal(size=rows) * 0.8
    target = (rng.random(rows) < 1 / (1 + np.exp(-odds))).astype(int)
    return target, *(1 / (1 + np.exp(-(odds + noise * rng.normal(size=rows)))) for _ in range(models))


def grades(rng: np.random.Generator, rows: int, models: int = 2) -> tuple[Any, ...]:
    """The same of three kinds."""
    odds = rng.normal(size=(rows, 3))
    shares = _shares(odds)
    target = (rng.random((rows, 1)) > shares.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    return target, *(_shares(odds + 0.3 * rng.normal(size=(rows, 3))) for _ in range(models))


def prices(rng: np.random.Generator, rows: int, models: int = 2) -> tuple[Any, ...]:
    """The same of a number."""
    target = 10.0 * rng.normal(size=rows)
    return target, *(target + rng.normal(size=rows) for _ in range(models))


def _shares(odds: Any) -> Any:
    raised = np.exp(odds)
    return raised / raised.sum(axis=1, keepdims=True)


MADE = {"binary": games, "multiclass": grades, "regression": prices}
