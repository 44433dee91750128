from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from core.training.tables import a_mixed_table
from mcp_server.core.predictor import compile_form
from mcp_server.core.training.evaluate import evaluate, golden_rows
from mcp_server.core.training.learn import learn
from mcp_server.core.training.split import plan_split
from mcp_server.core.training.target import describe_target, target_values
from mcp_server.core.verification import check_golden_rows


def test_a_judgement_is_json_and_says_how_far_from_guessing_it_is() -> None:
    frame, contract = a_mixed_table(2_000)
    rng = np.random.default_rng(0)
    target = describe_target(frame, contract)
    split = plan_split(frame, contract, target, rng=rng)
    model = learn(frame, contract, target, split, algorithm="linear", rng=rng)
    found = evaluate(model.form, frame, contract, target, split, rng=rng, resamples=200)
    assert json.loads(json.dumps(found)) == found
    assert found["rows"] == {"train": len(split.train), "calibration": len(split.calibration), "test": len(split.test)}
    judged = target_values(frame, contract, target)[split.test]
    assert found["base_rate"] == pytest.approx(judged.mean())
    assert found["baseline"]["roc_auc"] == 0.5
    assert sum(row["rows"] for row in found["reliability"]) == len(split.test)
    assert set(found["train"]) == set(found["metrics"])


def test_nothing_that_judges_was_learned_from() -> None:
    """Test rows whose outcomes are turned round change the judgement, and not the model."""
    frame, contract = a_mixed_table(2_000)
    target = describe_target(frame, contract)
    split = plan_split(frame, contract, target, rng=np.random.default_rng(0))
    turned = frame.with_columns(
        pl.when(pl.Series(split.parts == 4))
        .then(pl.when(pl.col("target") == "yes").then(pl.lit("no")).otherwise(pl.lit("yes")))
        .otherwise(pl.col("target"))
        .alias("target")
    )
    forms = [
        learn(table, contract, target, split, algorithm="boosting", rng=np.random.default_rng(1)).form
        for table in (frame, turned)
    ]
    assert forms[0] == forms[1]
    areas = [
        evaluate(forms[0], table, contract, target, split, rng=np.random.default_rng(2), resamples=100)["metrics"]
        for table in (frame, turned)
    ]
    assert areas[0]["roc_auc"]["value"] == pytest.approx(1 - areas[1]["roc_auc"]["value"])


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_golden_rows_are_json_and_are_answered_again(task: str) -> None:
    frame, contract = a_mixed_table(1_500, task=task)
    rng = np.random.default_rng(0)
    target = describe_target(frame, contract)
    split = plan_split(frame, contract, target, rng=rng)
    form = learn(frame, contract, target, split, algorithm="boosting", rng=rng).form
    golden = json.loads(json.dumps(golden_rows(form, frame[split.test.tolist()], rng=rng)))
    assert len(golden) == 20
    assert check_golden_rows(form, golden).state == "passed"
    predictor = compile_form(form)
    assert predictor.answer(golden[0]["row"]).value == golden[0]["value"]
