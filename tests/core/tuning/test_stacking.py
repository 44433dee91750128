"""Stacks: one more model on top of several, taken only where it helps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from core.training.tables import a_mixed_table
from mcp_server.core.canonical import digest
from mcp_server.core.explain.attribution import Explainer
from mcp_server.core.predictor.batch import compile_batch
from mcp_server.core.training.learn import Learned, learn_chosen
from mcp_server.core.training.outputs import row_losses
from mcp_server.core.training.parity import parity, require_parity
from mcp_server.core.training.split import plan_split
from mcp_server.core.training.target import describe_target
from mcp_server.core.training.training_form import load_training_form, training_form_bytes
from mcp_server.core.tuning import stacking
from mcp_server.core.tuning.blending import cross_fitted
from mcp_server.core.tuning.stacking import stack
from mcp_server.errors import CorruptArtefact


def two_views(rows: int = 2_000, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Log-odds of two models that each see one half of what decides, the second far too unsure."""
    rng = np.random.default_rng(seed)
    parts = rng.normal(size=(rows, 2))
    target = (rng.random(rows) < 1.0 / (1.0 + np.exp(0.4 - 1.5 * parts.sum(axis=1)))).astype(float)
    return [1.5 * parts[:, :1], 0.3 * parts[:, 1:]], target


def test_without_its_pull_a_stack_is_the_logistic_regression_of_the_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacking, "STRENGTH", 0.0)
    outputs, target = two_views()
    found = stack(outputs, target, "binary")
    expected = LogisticRegression(C=np.inf, tol=1e-10).fit(np.hstack(outputs), target)
    assert found.weights == pytest.approx(expected.coef_[0], rel=1e-3)
    assert found.intercepts == pytest.approx(expected.intercept_, abs=1e-3)


def test_a_stack_of_two_views_beats_both_on_rows_that_did_not_make_it() -> None:
    outputs, target = two_views()
    honest = cross_fitted(outputs, target, np.arange(len(target)) % 5, "binary", stack)
    losses = [row_losses(one, target, "binary").mean() for one in (honest, *outputs)]
    assert losses[0] < min(losses[1:]) - 0.05


def test_a_stack_of_numbers_has_the_level_of_the_target_and_leaves_out_what_adds_nothing() -> None:
    rng = np.random.default_rng(0)
    target = rng.normal(500.0, 2.0, 1_000)
    good = (target + rng.normal(0.0, 1.0, 1_000)).reshape(-1, 1)
    useless = rng.normal(500.0, 2.0, (1_000, 1))
    found = stack([good, useless], target, "regression")
    assert found([good, useless]).mean() == pytest.approx(target.mean(), abs=0.05)
    assert found.weights[0] == pytest.approx(0.8, abs=0.05), "what shrinks the error of 1 beside a spread of 2"
    assert found.weights[1] < 0.03


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), classes=st.integers(3, 5), models=st.integers(2, 4))
def test_a_stack_has_no_negative_weight_and_is_the_same_every_time(seed: int, classes: int, models: int) -> None:
    rng = np.random.default_rng(seed)
    target = rng.integers(0, classes, 120).astype(float)
    outputs = [rng.normal(2.0 * (target[:, None] == np.arange(classes)), rng.uniform(0.5, 3.0)) for _ in range(models)]
    found = stack(outputs, target, "multiclass")
    assert min(found.weights) >= 0.0
    assert found.intercepts == [0.0] * classes, "between classes there is no level"
    assert stack(outputs, target, "multiclass") == found


def stacked(task: str, **changes: Any) -> tuple[Any, Any, Learned]:
    frame, contract = a_mixed_table(400, task=task)
    target = describe_target(frame, contract)
    split = plan_split(frame, contract, target, calibrated_on_folds=True, rng=np.random.default_rng(0))
    ranked = {} if task == "multiclass" else {"categories": "ranked"}
    members = [
        {"algorithm": "extra_trees", "parameters": {"trees": 10}, "weight": 2.75},
        {"algorithm": "linear", "parameters": {"penalty": 2.0}, "weight": 0.5},
        {"algorithm": "boosting", "parameters": {"iterations": 10, **ranked}, "weight": 0.25},
    ]
    told = {
        "members": members,
        "intercepts": [0.25] * (3 if task == "multiclass" else 1),
        "calibration": {"kind": "none"},
        "half_width": 3.0 if task == "regression" else None,
        **changes,
    }
    return frame, split, learn_chosen(frame, contract, target, split, rng=np.random.default_rng(0), **told)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_stack_serves_as_its_estimators_answer_with_one_digest(task: str) -> None:
    frame, split, learned = stacked(task)
    estimator = load_training_form(training_form_bytes(learned.estimator))
    held_out = frame[split.test.tolist()]
    require_parity(parity(learned.form, estimator, held_out, rng=np.random.default_rng(1)))
    assert digest(stacked(task)[2].form) == digest(learned.form)
    plain = {**learned.form, "estimator": {**learned.form["estimator"], "intercepts": None}}
    if task == "regression":
        values, without = (compile_batch(form).answer(held_out).values for form in (learned.form, plain))
        np.testing.assert_allclose(values, without + 0.25)
    predictor = compile_batch(learned.form)
    matrix = predictor.encode(held_out)
    assert Explainer(predictor, matrix[:10]).explain(matrix[10:20]).largest_error < 1e-6
    broken = {**learned.form, "estimator": {**learned.form["estimator"], "intercepts": [0.0] * 7}}
    with pytest.raises(CorruptArtefact, match="intercepts"):
        compile_batch(broken)
