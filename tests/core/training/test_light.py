"""LightGBM's trees, kept and served as data; needs the extra `boost`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("lightgbm")

from core.training.tables import a_mixed_table
from mcp_server.core.canonical import digest
from mcp_server.core.predictor.batch import compile_batch
from mcp_server.core.training.balance import BALANCES
from mcp_server.core.training.learn import Learned, learn_chosen
from mcp_server.core.training.light import fit_light
from mcp_server.core.training.parameters import BoostingParameters
from mcp_server.core.training.parity import parity, require_parity
from mcp_server.core.training.split import plan_split
from mcp_server.core.training.target import describe_target
from mcp_server.core.training.training_form import load_training_form, training_form_bytes
from mcp_server.core.tuning.choose import choose
from mcp_server.core.tuning.folds import plan_folds
from mcp_server.core.tuning.search import run_batch
from mcp_server.core.tuning.trials import FoldedTable


def learned(task: str, **parameters: Any) -> tuple[Any, Any, Learned]:
    frame, contract = a_mixed_table(500, task=task)
    target = describe_target(frame, contract)
    split = plan_split(frame, contract, target, calibrated_on_folds=True, rng=np.random.default_rng(0))
    told = {"iterations": 15, "leaves": 7, "max_features": 0.5, **parameters}
    model = learn_chosen(
        frame,
        contract,
        target,
        split,
        members=[{"algorithm": "lightgbm", "parameters": told, "weight": 1.0}],
        calibration={"kind": "none"},
        half_width=None,
        rng=np.random.default_rng(0),
    )
    return frame, split, model


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_it_is_kept_and_served_exactly_with_one_digest(task: str) -> None:
    for balance in BALANCES if task != "regression" else ("none",):
        frame, split, model = learned(task, balance=balance)
        estimator = load_training_form(training_form_bytes(model.estimator))
        require_parity(parity(model.form, estimator, frame[split.test.tolist()], rng=np.random.default_rng(1)))
        assert model.fitted[0].parameters["algorithm"] == "lightgbm"
        assert digest(learned(task, balance=balance)[2].form) == digest(model.form)
        assert b"lightgbm" not in training_form_bytes(model.estimator)


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_missing_values_go_where_lightgbm_sends_them(missing: float) -> None:
    import lightgbm

    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(800, 4))
    target = matrix[:, 0] + (matrix[:, 1] > 0.3) + rng.normal(0.0, 0.1, 800)
    matrix[rng.random(matrix.shape) < missing] = np.nan
    told = BoostingParameters(iterations=30, leaves=7)
    estimator, iterations = fit_light(matrix, target, task="regression", parameters=told, seed=3)
    unseen = rng.normal(size=(400, 4))
    unseen[rng.random(unseen.shape) < 0.3] = np.nan
    twin = lightgbm.LGBMRegressor(
        n_estimators=30,
        learning_rate=told.learning_rate,
        num_leaves=7,
        reg_lambda=told.l2,
        min_child_samples=told.minimum_leaf,
        n_jobs=1,
        deterministic=True,
        force_row_wise=True,
        verbose=-1,
    ).fit(matrix, target)
    np.testing.assert_allclose(estimator.predict(unseen), twin.predict(unseen), rtol=1e-9, atol=1e-9)
    assert iterations == 30


def test_the_folds_stop_it_and_it_stands_among_the_candidates() -> None:
    frame, contract = a_mixed_table(400)
    target = describe_target(frame, contract)
    split = plan_split(frame, contract, target, calibrated_on_folds=True, rng=np.random.default_rng(0))
    folds = plan_folds(frame, contract, target, split, rng=np.random.default_rng(1))[:2]
    table = FoldedTable(frame, contract, target, folds, features=None, allow_leaks=False)
    history = run_batch(table, "lightgbm", [], size=2, seed=0)
    assert [trial["state"] for trial in history] == ["complete", "complete"]
    assert all(1 <= made < 600 for trial in history for made in trial["iterations"])
    choice = choose(table, {"lightgbm": history}, seed=0)
    assert choice.account["candidates"][0]["name"] == "lightgbm by default"


def test_a_form_of_it_answers_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    frame, split, model = learned("binary")
    content = training_form_bytes(model.estimator)
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    assert len(compile_batch(model.form).answer(frame[split.test.tolist()]).forecast) == len(split.test)
    assert load_training_form(content).n_iter_ == 15
