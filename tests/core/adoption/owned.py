"""Models as a person keeps them: fitted by scikit-learn outside of the product, in every form of file."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import joblib
import numpy as np
import polars as pl
import skops.io

from core.training.tables import a_contract, from_scikit_learn
from mcp_server.core.adoption.audit import audit_file
from mcp_server.core.adoption.model import AdoptedModel, adopted_target, for_columns, model_columns, serving_form
from mcp_server.core.adoption.rebuild import Rebuilt, rebuild
from mcp_server.core.contract import Contract
from mcp_server.core.training.target import Target

TARGET = "target"


def by_joblib(model: Any) -> bytes:
    kept = io.BytesIO()
    joblib.dump(model, kept)
    return kept.getvalue()


WAYS: dict[str, Callable[[Any], bytes]] = {
    **{f"pickle {protocol}": partial(pickle.dumps, protocol=protocol) for protocol in range(2, 6)},
    "joblib": by_joblib,
    "skops": skops.io.dumps,
}


def columns_of(frame: pl.DataFrame) -> list[str]:
    return [name for name in frame.columns if name != TARGET]


def table(name: str) -> tuple[pl.DataFrame, Contract, Any, Any]:
    """A third of one of scikit-learn's tables: frame, contract, matrix and target as a person fits on them."""
    frame, contract = from_scikit_learn(name)
    frame = frame.gather_every(3 if name != "wine" else 1)
    return frame, contract, frame.select(columns_of(frame)).to_numpy(), frame[TARGET].to_numpy()


def a_mixed_table(rows: int = 400, seed: int = 3) -> tuple[pl.DataFrame, Contract, Any, Any]:
    """Two numbers with holes, a count, and two texts with holes; the matrix holds objects, a hole is NaN."""
    rng = np.random.default_rng(seed)
    size, age = rng.normal(50.0, 10.0, rows), rng.gamma(2.0, 15.0, rows)
    count = rng.integers(0, 9, rows)
    colour = rng.choice(["blue", "green", "red"], rows)
    town = rng.choice([f"town {number}" for number in range(12)], rows)
    target = np.where(size / 10 + (colour == "red") + 0.2 * count + rng.normal(size=rows) > 6.3, "yes", "no")
    frame = pl.DataFrame({"size": size, "age": age, "count": count, "colour": colour, "town": town, TARGET: target})
    frame = frame.with_columns(
        pl.when(pl.Series(rng.random(rows) < 0.1)).then(None).otherwise(pl.col(name)).alias(name)
        for name in ("size", "age", "town")
    )
    return frame, a_contract(frame, {TARGET: "target"}), objects(frame), target


def objects(frame: pl.DataFrame) -> Any:
    """The table as an array of objects, as pandas would hand it over."""
    cells = np.empty((frame.height, len(columns_of(frame))), dtype=object)
    for at, name in enumerate(columns_of(frame)):
        cells[:, at] = [np.nan if one is None else one for one in frame[name].to_list()]
    return cells


def read(content: bytes) -> Rebuilt:
    """Audit a file and rebuild its model."""
    return rebuild(audit_file(content).root)


def adopt(
    content: bytes, frame: pl.DataFrame, contract: Contract, columns: list[str] | None = None
) -> tuple[dict[str, Any], AdoptedModel, Target, list[str]]:
    """The steps of an adoption, without its gate."""
    rebuilt = read(content)
    chosen = model_columns(rebuilt, contract, TARGET, columns)
    model = for_columns(rebuilt.estimator, chosen, contract)
    target = adopted_target(model, contract, TARGET)
    form, notes = serving_form(model, frame, contract, target)
    return form, model, target, notes
