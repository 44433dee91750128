from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from core.training.tables import a_mixed_table, from_scikit_learn
from mcp_server.core.canonical import digest
from mcp_server.core.predictor.batch import compile_batch
from mcp_server.core.training.estimators import MOST_CURVE_POINTS, Algorithm, fit_boosting, fit_linear
from mcp_server.core.training.evaluate import evaluate
from mcp_server.core.training.learn import learn
from mcp_server.core.training.parameters import BoostingParameters, ExtraTreesParameters
from mcp_server.core.training.parity import parity, require_parity
from mcp_server.core.training.split import plan_split
from mcp_server.core.training.target import describe_target
from mcp_server.errors import TrainingRefused

ALGORITHMS: list[Algorithm] = ["linear", "splines", "boosting", "extra_trees"]
SMALL = ExtraTreesParameters(trees=20)


def trained(frame: Any, contract: Any, algorithm: Algorithm, seed: int = 0, **options: Any) -> Any:
    if algorithm == "extra_trees":
        options = {"parameters": SMALL, **options}
    rng = np.random.default_rng(seed)
    target = describe_target(frame, contract)
    split = plan_split(frame, contract, target, rng=rng)
    return target, split, learn(frame, contract, target, split, algorithm=algorithm, rng=rng, **options)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    ("name", "metric", "least"),
    [
        ("iris", "accuracy", 0.85),
        ("wine", "accuracy", 0.85),
        ("breast_cancer", "accuracy", 0.9),
        ("diabetes", "r2", 0.25),
    ],
)
def test_a_known_table_is_learned_and_its_serving_form_is_exact(
    name: str, metric: str, least: float, algorithm: Algorithm
) -> None:
    frame, contract = from_scikit_learn(name)
    target, split, model = trained(frame, contract, algorithm)
    held_out = frame[split.test.tolist()]
    require_parity(parity(model.form, model.estimator, held_out, rng=np.random.default_rng(1)))
    found = evaluate(model.form, frame, contract, target, split, rng=np.random.default_rng(2), resamples=200)
    assert found["metrics"][metric]["value"] >= least
    assert found["metrics"][metric]["low"] <= found["metrics"][metric]["value"] <= found["metrics"][metric]["high"]
    assert found["metrics"][metric]["value"] > found["baseline"].get(metric, -1.0)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_mixed_table_is_learned_and_its_serving_form_is_exact(task: str, algorithm: Algorithm) -> None:
    frame, contract = a_mixed_table(2_500, task=task)
    target, split, model = trained(frame, contract, algorithm)
    assert target.task == task
    held_out = frame[split.test.tolist()]
    require_parity(parity(model.form, model.estimator, held_out, rng=np.random.default_rng(1)))
    found = evaluate(model.form, frame, contract, target, split, rng=np.random.default_rng(2), resamples=200)
    deciding = "rmse" if task == "regression" else "log_loss"
    assert found["metrics"][deciding]["high"] < found["baseline"][deciding]
    if task == "regression":
        assert found["interval"]["coverage"] == pytest.approx(0.9, abs=0.05)
        assert model.form["interval"]["level"] == 0.9
    else:
        assert model.form["calibration"]["kind"] == ("platt" if task == "binary" else "temperature")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_same_seed_and_data_give_the_same_digest(algorithm: Algorithm) -> None:
    frame, contract = a_mixed_table(900)
    first, second = (trained(frame, contract, algorithm, seed=7)[2] for _ in range(2))
    assert digest(first.form) == digest(second.form)
    assert first.fitted[0].parameters == second.fitted[0].parameters
    changed = frame.with_columns(size=frame["size"] + 1e-3)
    assert digest(trained(changed, contract, algorithm, seed=7)[2].form) != digest(first.form)


def test_neither_threads_nor_a_choice_of_features_make_the_digest_waver() -> None:
    frame, contract = a_mixed_table(900)
    options = {"parameters": BoostingParameters(iterations=12, max_features=0.5)}
    one, two = (trained(frame, contract, "boosting", threads=count, **options)[2] for count in (1, 2))
    assert digest(one.form) == digest(two.form)
    other = trained(frame, contract, "boosting", seed=1, **options)[2]
    assert digest(other.form) != digest(one.form)


def test_coefficients_are_those_of_the_columns_themselves() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(1_000.0, [1.0, 50.0], (5_000, 2))
    target = 3.0 + 2.0 * matrix[:, 0] - 0.5 * matrix[:, 1]
    model = fit_linear(matrix, target, task="regression", penalty=0.0).estimator
    scaler, ridge = model.named_steps["scale"], model.named_steps["model"]
    np.testing.assert_allclose(ridge.coef_ / scaler.scale_, [2.0, -0.5], rtol=1e-9)


def test_validation_rows_stop_boosting_before_it_overfits() -> None:
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(3_000, 4))
    target = (rng.random(3_000) < 1 / (1 + np.exp(-0.3 * matrix[:, 0]))).astype(float)
    fitted = fit_boosting(
        matrix[:2_500], target[:2_500], task="binary", validation=(matrix[2_500:], target[2_500:]), rng=rng
    )
    assert 1 <= fitted.parameters["iterations"] < 100
    assert fitted.parameters["validation_rows"] == 500
    curve = fitted.curve
    assert curve is not None
    assert curve["chosen"] == fitted.parameters["iterations"]
    assert len(curve["iterations"]) == len(curve["train"]) == len(curve["validation"]) <= MOST_CURVE_POINTS + 1
    # What is learned by heart goes on to fall on the rows that are learned from, and rises on the others.
    at = curve["iterations"].index(curve["chosen"])
    assert curve["validation"][at] == min(curve["validation"][1:]) < curve["validation"][-1]
    assert curve["train"][-1] < curve["train"][at] < curve["train"][0]
    assert len(fitted.estimator._predictors) == fitted.parameters["iterations"]


def test_a_class_that_only_validation_rows_have_does_not_stop_training() -> None:
    rng = np.random.default_rng(2)
    matrix = rng.normal(size=(300, 2))
    target = np.concatenate([np.arange(200) % 2, np.full(100, 2)]).astype(float)
    fitted = fit_boosting(
        matrix[:200], target[:200], task="multiclass", validation=(matrix[200:], target[200:]), rng=rng
    )
    assert fitted.estimator.classes_.tolist() == [0, 1, 2]


def test_numbers_beyond_squaring_are_refused_by_the_linear_model() -> None:
    matrix = np.array([[1e200], [2.0], [3.0], [4.0]])
    with pytest.raises(TrainingRefused):
        fit_linear(matrix, np.array([0.0, 1.0, 0.0, 1.0]), task="binary")


def test_unseen_categories_and_missing_values_are_answered_and_flagged() -> None:
    frame, contract = a_mixed_table(1_500)
    for algorithm in ALGORITHMS:
        _, split, model = trained(frame, contract, algorithm)
        odd = frame[split.test.tolist()].with_columns(colour=pl.lit("violet"))
        counts = compile_batch(model.form).answer(odd).counts()
        assert counts["colour"] == {"unseen_category": len(odd)}
        assert counts["size"]["missing"] > 0
