"""What the steps of a training job find on the test rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from mcp_server.workflows.operations.fitting import plan_training, summarise_training, train_algorithm
from workflows.test_operations_labelling import stored


def trained(folder, columns: dict[str, Any], **stated: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The linear model's metrics, and the summary."""
    told = {"target": "y", "features": None, "test": None, "seed": 0, "allow_leaks": False, **stated}
    table, plan = stored(folder, columns), str(folder / "plan.json")
    plan_training({**table, **told, "out": plan}, lambda *_: None)
    given = {**table, **told, "plan": plan, "algorithm": "linear", "embeddings": [], "out": str(folder / "linear")}
    metrics = train_algorithm(given, lambda *_: None)["metrics"]
    forms = {"linear": str(folder / "linear" / "form.json")}
    summary = summarise_training({**table, "forms": forms, "plan": plan, "seed": 0}, lambda *_: None)
    return metrics, summary


def some_rows(seed: int, slope: float, at: float = 0.0, count: int = 300) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=count)
    return {"x": x, "y": [int(one) for one in rng.random(count) < 1.0 / (1.0 + np.exp(-at - slope * x))]}


def test_skill_is_shown_row_for_row_where_the_loss_and_a_constant_are_both_uncertain(tmp_path):
    metrics, summary = trained(tmp_path, some_rows(1, 1.5, -2.0))
    loss = metrics["test"]["log_loss"]
    assert loss["high"] > metrics["baseline"]["log_loss"], "the interval of the loss alone doesn't tell"
    assert summary["skill"]
    assert summary["rows"] == metrics["rows"]["test"]


def test_skill_is_not_claimed_of_noise(tmp_path):
    _, summary = trained(tmp_path, some_rows(0, 0.0))
    assert not summary["skill"]


def test_tuning_that_found_nothing_better_leaves_the_default_recommended(tmp_path):
    trained(tmp_path, some_rows(1, 1.5, -2.0))
    form = str(tmp_path / "linear" / "form.json")
    (table,) = tmp_path.glob("*.parquet")
    given = {"path": str(table), "plan": str(tmp_path / "plan.json"), "seed": 0}
    summary = summarise_training({**given, "forms": {"linear": form, "tuned": form}}, lambda *_: None)
    assert summary["recommended"] == "linear"
    assert "nothing that is shown to be better than linear" in summary["sentence"]
