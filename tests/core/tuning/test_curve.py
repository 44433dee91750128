from __future__ import annotations

import numpy as np
import polars as pl

from core.training.tables import a_contract
from mcp_server.core.training.split import plan_split
from mcp_server.core.training.target import describe_target
from mcp_server.core.tuning.curve import learning_curve
from mcp_server.core.tuning.folds import plan_folds
from mcp_server.core.tuning.trials import FoldedTable


def a_folded_table(rows: int) -> FoldedTable:
    """Ten numbers of which two decide."""
    rng = np.random.default_rng(0)
    columns = {f"x{at}": rng.normal(size=rows) for at in range(10)}
    odds = 1.5 * columns["x0"] - columns["x1"]
    frame = pl.DataFrame({**columns, "y": (rng.random(rows) < 1.0 / (1.0 + np.exp(-odds))).astype(np.int64)})
    contract = a_contract(frame, {"y": "target"})
    target = describe_target(frame, contract)
    split = plan_split(frame, contract, target, calibrated_on_folds=True, rng=rng)
    folds = plan_folds(frame, contract, target, split, rng=rng)[:3]
    return FoldedTable(frame, contract, target, folds, features=None, allow_leaks=False)


def test_with_more_rows_the_loss_falls_and_the_gap_to_the_rows_learned_from_closes() -> None:
    table = a_folded_table(800)
    told = {"iterations": 60, "leaves": 7}
    points = learning_curve(table, "boosting", told, seed=0)
    assert [point["rows"] for point in points] == [128, 256, 512]
    losses, gaps = [point["folds"] for point in points], [point["folds"] - point["train"] for point in points]
    assert losses == sorted(losses, reverse=True)
    assert gaps == sorted(gaps, reverse=True)
    assert min(gaps) > 0.0
    assert learning_curve(table, "boosting", told, seed=0, threads=3) == points


def test_a_share_with_too_few_rows_has_no_point() -> None:
    points = learning_curve(a_folded_table(160), "linear", {"penalty": 1.0}, seed=0)
    assert [point["rows"] for point in points] == [51, 102]
