"""Rare classes: what is learned from may be weighted or thinned, what judges never is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.training.tables import a_contract, a_mixed_table
from mcp_server.core.predictor.batch import compile_batch
from mcp_server.core.training import estimators
from mcp_server.core.training.balance import BALANCES, Balance, balance_rows
from mcp_server.core.training.estimators import Algorithm, fit
from mcp_server.core.training.forming import to_form
from mcp_server.core.training.learn import learn_chosen
from mcp_server.core.training.parity import parity, require_parity
from mcp_server.core.training.prepare import STYLES, prepare
from mcp_server.core.training.split import plan_split
from mcp_server.core.training.target import describe_target
from mcp_server.core.training.training_form import load_training_form, training_form_bytes
from mcp_server.core.tuning import trials
from mcp_server.core.tuning.folds import plan_folds
from mcp_server.core.tuning.search import run_batch
from mcp_server.core.tuning.trials import FoldedTable, outputs_of, run_trial

OWN: dict[Algorithm, dict[str, Any]] = {
    "linear": {"penalty": 1.0},
    "boosting": {"iterations": 40, "leaves": 4},
    "extra_trees": {"trees": 40, "minimum_leaf": 20},
}
BALANCED: list[Balance] = ["weights", "undersample"]


def rare(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A matrix, a class of about 6 %, and its true probabilities."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(rows, 3))
    true = 1.0 / (1.0 + np.exp(3.5 - 1.3 * matrix[:, 0]))
    return matrix, (rng.random(rows) < true).astype(float), true


@settings(max_examples=50, deadline=None)
@given(counts=st.lists(st.integers(1, 60), min_size=2, max_size=5), kind=st.sampled_from(BALANCED), seed=st.integers(0))
def test_every_class_weighs_the_same_and_the_factors_say_by_how_much_each_was_changed(
    counts: list[int], kind: Balance, seed: int
) -> None:
    target = np.repeat(np.arange(len(counts)), counts).astype(float)
    balanced = balance_rows(target, kind, rng=np.random.default_rng(seed))
    weights = np.bincount(target[balanced.rows].astype(int), weights=balanced.weights)
    np.testing.assert_allclose(weights, weights[0])
    np.testing.assert_allclose(weights, np.array(counts) * balanced.factors)
    assert len(np.unique(balanced.rows)) == len(balanced.rows)
    assert len(balanced.rows) == (len(target) if kind == "weights" else len(counts) * min(counts))


@pytest.mark.parametrize("algorithm", list(OWN))
@pytest.mark.parametrize("kind", BALANCED)
def test_probabilities_come_back_to_the_rates_of_the_rows(algorithm: Algorithm, kind: Balance) -> None:
    matrix, target, _ = rare(6_000)
    unseen, _, true = rare(4_000, seed=1)
    fitted = fit(
        algorithm,
        matrix,
        target,
        task="binary",
        parameters={**OWN[algorithm], "balance": kind},
        rng=np.random.default_rng(0),
    )
    shares = 1.0 / (1.0 + np.exp(-outputs_of(fitted, unseen)[:, 0]))
    assert fitted.parameters["balance"] == kind
    assert shares.mean() == pytest.approx(true.mean(), abs=0.02), "uncorrected it would be near a half"
    assert np.corrcoef(shares, true)[0, 1] > 0.7


def test_uncorrected_probabilities_are_far_from_the_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimators, "restore_rates", lambda *_: None)
    matrix, target, true = rare(4_000)
    told = {"penalty": 1.0, "balance": "weights"}
    fitted = fit("linear", matrix, target, task="binary", parameters=told, rng=np.random.default_rng(0))
    shares = 1.0 / (1.0 + np.exp(-outputs_of(fitted, matrix)[:, 0]))
    assert shares.mean() > true.mean() + 0.15


@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize("algorithm", list(OWN))
def test_a_balanced_model_serves_as_its_estimator_answers_and_survives_its_file(
    algorithm: Algorithm, task: str
) -> None:
    frame, contract = a_mixed_table(400, task=task)
    target = describe_target(frame, contract)
    split = plan_split(frame, contract, target, calibrated_on_folds=True, rng=np.random.default_rng(0))
    own = {name: 10 if name in ("trees", "iterations") else told for name, told in OWN[algorithm].items()}
    for kind in BALANCED:
        learned = learn_chosen(
            frame,
            contract,
            target,
            split,
            members=[{"algorithm": algorithm, "parameters": {**own, "balance": kind}, "weight": 1.0}],
            calibration={"kind": "none"},
            half_width=None,
            rng=np.random.default_rng(0),
        )
        estimator = load_training_form(training_form_bytes(learned.estimator))
        held_out = frame[split.test.tolist()]
        require_parity(parity(learned.form, estimator, held_out, rng=np.random.default_rng(1)))


@pytest.mark.parametrize("algorithm", list(OWN))
def test_rows_that_judge_are_never_weighted_or_left_out(algorithm: Algorithm, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is balanced is the fold's own part to learn from; every other row of the fold judges, as it came."""
    frame, _ = a_mixed_table(300)
    contract = a_contract(frame, {"target": "target", "day": "ignored"})
    target = describe_target(frame, contract)
    split = plan_split(frame, contract, target, calibrated_on_folds=True, rng=np.random.default_rng(0))
    folds = plan_folds(frame, contract, target, split, rng=np.random.default_rng(1))[:2]
    table = FoldedTable(frame, contract, target, folds, features=None, allow_leaks=False)
    balanced, judged = [], []

    def watched(values: np.ndarray, kind: Balance, *, rng: np.random.Generator) -> Any:
        balanced.append(len(values))
        return balance_rows(values, kind, rng=rng)

    monkeypatch.setattr(estimators, "balance_rows", watched)
    losses_of = estimators.log_losses
    monkeypatch.setattr(
        estimators, "log_losses", lambda truth, shares: judged.append(len(truth)) or losses_of(truth, shares)
    )
    rows_of = trials.row_losses
    monkeypatch.setattr(trials, "row_losses", lambda *given: judged.append(len(given[1])) or rows_of(*given))
    own = {name: told for name, told in OWN[algorithm].items() if name not in ("trees", "iterations")}
    found = run_trial(table, algorithm, {**own, "balance": "undersample"}, [], seed=[0], stop=lambda: False)
    assert found is not None
    assert found["state"] == "complete"
    assert balanced == [len(fold.fit) for fold in folds]
    assert set(judged) == {len(fold.judge) for fold in folds}
    assert not {row for fold in folds for row in (*fold.fit, *fold.judge)} & set(split.test.tolist())


def test_the_balance_is_searched_where_a_class_is_rare_and_only_there() -> None:
    def tried(share: float) -> set[str]:
        frame, _ = a_mixed_table(400)
        rng = np.random.default_rng(0)
        frame = frame.with_columns(target=(rng.random(400) < share).astype(np.int64)).drop("day")
        contract = a_contract(frame, {"target": "target"})
        target = describe_target(frame, contract)
        split = plan_split(frame, contract, target, calibrated_on_folds=True, rng=rng)
        folds = plan_folds(frame, contract, target, split, rng=rng)[:2]
        table = FoldedTable(frame, contract, target, folds, features=None, allow_leaks=False)
        return {
            trial["parameters"].get("balance", "not searched")
            for trial in run_batch(table, "linear", [], size=14, seed=0)
        }

    assert tried(0.1) == set(BALANCES)
    assert tried(0.4) == {"not searched"}


def test_a_form_of_balanced_trees_has_the_rates_of_the_rows_in_its_leaves() -> None:
    frame, _ = a_mixed_table(600)
    rng = np.random.default_rng(0)
    frame = frame.with_columns(target=(rng.random(600) < 0.1).astype(np.int64)).drop("day")
    contract = a_contract(frame, {"target": "target"})
    target = describe_target(frame, contract)
    rows = np.arange(600)
    prepared = prepare(frame, contract, None, rows=rows, style=STYLES["extra_trees"])
    encoder = prepared.table_encoder()
    told = {"trees": 5, "minimum_leaf": 600, "balance": "weights"}
    fitted = fit(
        "extra_trees",
        encoder.encode(encoder.columns(frame)),
        frame["target"].to_numpy().astype(float),
        task="binary",
        parameters=told,
        rng=rng,
    )
    form = to_form(fitted, prepared, target)
    assert np.ravel(form["estimator"]["leaves"]) == pytest.approx(frame["target"].mean()), "one leaf holds every row"
    assert compile_batch(form).answer(frame).forecast.mean() == pytest.approx(frame["target"].mean(), abs=0.1)
