"""Procedures that are trained anew: what was tuned with what was chosen, and rows with a time by what came before."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from core.training.tables import a_contract
from mcp_server.core.contract import to_dict
from mcp_server.errors import InvalidInput, TrainingRefused
from mcp_server.workflows.operations import retraining

BOOSTED = {"learning_rate": 0.1, "iterations": 30, "leaves": 7, "minimum_leaf": 10}
MEMBERS = [
    {"algorithm": "linear", "parameters": {}, "weight": 0.6, "tuned": False},
    {"algorithm": "boosting", "parameters": BOOSTED, "weight": 0.4, "tuned": True},
]
LINEAR = {"algorithm": "linear", "features": ["x", "z"], "allow_leaks": False, "chosen": None}


def tuned(members: list[dict[str, Any]] = MEMBERS, **changed: Any) -> dict[str, Any]:
    chosen = {"members": members, "intercepts": None, "calibration": "none", **changed}
    return {**LINEAR, "algorithm": "tuned", "chosen": chosen}


def stored(folder, *, rows: int = 800, timed: bool = False, regression: bool = False) -> dict[str, Any]:
    """A table whose rows are not in order of their time, and whose slope turns half way."""
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(2, rows))
    day = rng.permutation(rows)
    odds = 2.0 * x + z * z
    y = odds + rng.normal(size=rows) if regression else (rng.random(rows) < 1.0 / (1.0 + np.exp(-odds))).astype(int)
    frame = pl.DataFrame({"x": x, "z": z, "day": [datetime.date(2020, 1, 1) + datetime.timedelta(int(d)) for d in day]})
    frame = frame.with_columns(y=pl.Series(y))
    contract = a_contract(frame, {"y": "target", "day": "time" if timed else "ignored"})
    path = folder / "table.parquet"
    frame.write_parquet(path)
    return {"path": str(path), "contract": to_dict(contract), "target": "y", "margin": None, "seed": 0}


def retrained(table: dict[str, Any], *recipes: dict[str, Any], runs: int = 3) -> dict[str, Any]:
    names = [f"m@{number}" for number in range(1, len(recipes) + 1)]
    return retraining.retrain({**table, "recipes": list(recipes), "names": names, "runs": runs}, lambda *_: None)


def noted_splits(monkeypatch) -> list[Any]:
    """The splits that are planned from now on."""
    splits: list[Any] = []
    planned = retraining.plan_split

    def noted(*given, **told):
        splits.append(planned(*given, **told))
        return splits[-1]

    monkeypatch.setattr(retraining, "plan_split", noted)
    return splits


@pytest.mark.parametrize("calibration", ["none", "platt"])
def test_what_was_tuned_is_made_again_from_its_parameters_and_weights(tmp_path, calibration):
    table = stored(tmp_path)
    alone = tuned([{**MEMBERS[1], "weight": 1.0}], calibration=calibration)
    found = retrained(table, LINEAR, tuned(calibration=calibration), alone)
    assert found["reused"] == ["m@2", "m@3"]
    assert not found["in_time"]
    assert len(set(found["losses"].values())) == 3
    assert found["losses"]["m@2"] < found["losses"]["m@1"], "the square is seen by boosting only"
    assert found == retrained(table, LINEAR, tuned(calibration=calibration), alone), "the same for the same seed"


def test_a_tuned_regression_is_made_again(tmp_path):
    found = retrained(stored(tmp_path, regression=True), LINEAR, tuned())
    assert found["losses"]["m@2"] < found["losses"]["m@1"]


def test_rows_with_a_time_are_judged_by_what_came_before_and_each_once(tmp_path, monkeypatch):
    table = stored(tmp_path, timed=True)
    days = pl.read_parquet(table["path"])["day"].to_numpy()
    splits = noted_splits(monkeypatch)
    found = retrained(table, LINEAR, tuned(), runs=5)
    assert found["in_time"]
    for split in splits:
        assert days[split.seen].max() < days[split.test].min()
    judged = np.concatenate([split.test for split in splits])
    assert len(set(judged.tolist())) == len(judged), "no row judges twice"
    assert len(judged) == pytest.approx(400, abs=5), "the later half"
    assert days[judged].max() == days.max()
    assert 0.0 < found["test_share"] < 0.2
    sizes = [len(split.seen) for split in splits]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize(
    "recipe",
    [
        {**LINEAR, "algorithm": "tuned"},
        {**LINEAR, "algorithm": None, "chosen": None},
        tuned([{**MEMBERS[0], "algorithm": "lightgbm"}]),
    ],
    ids=["tuned without its recipe", "adopted", "a library that doesn't load"],
)
def test_what_cant_be_made_again_is_named(tmp_path, monkeypatch, recipe):
    monkeypatch.setattr(retraining, "is_usable", lambda: False)
    with pytest.raises(InvalidInput, match="m@2 can't be made again"):
        retrained(stored(tmp_path), LINEAR, recipe)


def test_of_rows_that_share_their_times_no_run_judges_what_another_did(tmp_path, monkeypatch):
    table = stored(tmp_path, timed=True)
    frame = pl.read_parquet(table["path"])
    # 20 seasons of 40 games, each on one day.
    season = (frame["day"].rank("ordinal").cast(pl.Int64) - 1) // 40
    days = [datetime.date(2000 + int(one), 1, 1) for one in season]
    frame.with_columns(day=pl.Series(days)).write_parquet(table["path"])
    splits = noted_splits(monkeypatch)
    found = retrained(table, LINEAR, LINEAR, runs=4)
    judged = np.concatenate([split.test for split in splits])
    assert len(set(judged.tolist())) == len(judged) == 400
    assert {len(split.test) for split in splits} == {80, 120}
    assert found["test_share"] == pytest.approx(np.mean([80 / 480, 120 / 600, 80 / 680, 120 / 800]), abs=0.03)
    with pytest.raises(InvalidInput) as refused:
        retrained(table, LINEAR, LINEAR, runs=20)
    assert refused.value.hint == "Retrain 10 times at most."


def test_too_few_rows_in_time_are_refused(tmp_path):
    with pytest.raises(TrainingRefused):
        retrained(stored(tmp_path, rows=120, timed=True), LINEAR, LINEAR, runs=20)
