from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.training.tables import a_contract, a_drifting_table, a_mixed_table, from_scikit_learn
from mcp_server.core.canonical import digest
from mcp_server.core.metrics import binomial_band
from mcp_server.core.predictor.batch import compile_batch
from mcp_server.core.training.calibrate import choose_calibration
from mcp_server.core.training.evaluate import evaluate
from mcp_server.core.training.learn import Learned, learn_chosen
from mcp_server.core.training.outputs import row_losses
from mcp_server.core.training.parity import parity, require_parity
from mcp_server.core.training.split import Split, plan_split
from mcp_server.core.training.target import Target, describe_target, target_values
from mcp_server.core.training.training_form import load_training_form, training_form_bytes
from mcp_server.core.tuning import choose as choosing
from mcp_server.core.tuning.blending import Combination, blend_weights, cross_fitted
from mcp_server.core.tuning.choose import Candidate, Choice, _beyond_an_error, _Judged, _paired, _simplest, choose
from mcp_server.core.tuning.folds import plan_folds
from mcp_server.core.tuning.search import run_batch
from mcp_server.core.tuning.trials import FoldedTable


def tuned(
    frame: pl.DataFrame,
    contract: Any,
    *,
    test: str | None = None,
    algorithms: Any = ("linear", "boosting"),
    size: int = 2,
    folds: int = 5,
) -> tuple[Target, Split, Choice, Learned]:
    """From a table to a model as a job goes about it."""
    target = describe_target(frame, contract)
    split = plan_split(frame, contract, target, test=test, calibrated_on_folds=True, rng=np.random.default_rng(0))
    planned = plan_folds(frame, contract, target, split, rng=np.random.default_rng(1))[-folds:]
    table = FoldedTable(frame, contract, target, planned, features=None, allow_leaks=False)
    histories = {algorithm: run_batch(table, algorithm, [], size=size, seed=0) for algorithm in algorithms}
    choice = choose(table, histories, seed=0)
    learned = learn_chosen(
        frame,
        contract,
        target,
        split,
        members=choice.members,
        calibration=choice.calibration,
        half_width=choice.half_width,
        intercepts=choice.intercepts,
        rng=np.random.default_rng(2),
    )
    return target, split, choice, learned


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_nothing_of_the_test_rows_reaches_the_model(task: str) -> None:
    frame, contract = a_mixed_table(500, task=task)
    frame = frame.with_columns(late=pl.col("day") >= pl.date(2011, 2, 1))
    contract = a_contract(frame, {"target": "target", "day": "time", "late": "ignored"})
    rng = np.random.default_rng(0)
    late = frame["late"]
    assert 50 < late.sum() < 200
    scrambled = {
        "size": pl.Series(rng.normal(-1e5, 1e4, 500)),
        "count": pl.Series(rng.integers(1_000, 2_000, 500)),
        "colour": pl.Series(rng.choice(["violet", "grey"], 500)),
        "noise": pl.Series([None] * 500, dtype=pl.Float64),
        "target": frame["target"].shuffle(seed=1),
    }
    spoilt = frame.with_columns(
        pl.when(late).then(values).otherwise(pl.col(name)).alias(name) for name, values in scrambled.items()
    )
    forms = [tuned(table, contract, test="late", folds=2)[3].form for table in (frame, spoilt)]
    assert digest(forms[0]) == digest(forms[1])
    # The control: what is learned from does reach it.
    early = frame.with_columns(size=pl.when(late).then(pl.col("size")).otherwise(pl.col("size") + 1.0))
    assert digest(tuned(early, contract, test="late", folds=2)[3].form) != digest(forms[0])


def test_what_was_chosen_is_accounted_for_and_serves_exactly() -> None:
    frame, contract = from_scikit_learn("wine")
    target, split, choice, learned = tuned(frame, contract, algorithms=("linear", "extra_trees"))
    account = choice.account
    assert account["winner"] in ("linear", "extra_trees", "blend", "stack")
    assert account["rows"] == len(split.train)
    assert {one["name"] for one in account["candidates"]} >= {"linear by default", "extra_trees by default"}
    simpler = account["simpler_than"]
    behind = 0.0 if simpler is None else -simpler["difference"]
    assert account["loss"] == pytest.approx(min(one["loss"] for one in account["candidates"]) + behind, abs=1e-9)
    found = evaluate(learned.form, frame, contract, target, split, rng=np.random.default_rng(0), resamples=100)
    assert found["metrics"]["accuracy"]["value"] > 0.9
    assert 0.0 < found["chance"] < 0.5


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_blend_of_all_kinds_serves_as_its_estimators_answer(task: str) -> None:
    frame, contract = a_mixed_table(400, task=task)
    target = describe_target(frame, contract)
    split = plan_split(frame, contract, target, calibrated_on_folds=True, rng=np.random.default_rng(0))
    members = [
        {"algorithm": "extra_trees", "parameters": {"trees": 20}, "weight": 0.25},
        {"algorithm": "linear", "parameters": {"penalty": 2.0}, "weight": 0.3},
        {"algorithm": "boosting", "parameters": {"iterations": 15}, "weight": 0.25},
        {"algorithm": "splines", "parameters": {"penalty": 30.0, "products": "pairs"}, "weight": 0.2},
    ]
    learned = learn_chosen(
        frame,
        contract,
        target,
        split,
        members=members,
        calibration={"kind": "none"},
        half_width=3.0 if task == "regression" else None,
        rng=np.random.default_rng(0),
    )
    estimator = load_training_form(training_form_bytes(learned.estimator))
    held_out = frame[split.test.tolist()]
    require_parity(parity(learned.form, estimator, held_out, rng=np.random.default_rng(1)))
    estimator[0], estimator[1] = learned.estimator[0], estimator[1].set_params(scale="passthrough")
    assert parity(learned.form, estimator, held_out, rng=np.random.default_rng(1)).largest > 1e-6, "the control"
    assert len(compile_batch(learned.form).form.encoder) > len(learned.form["inputs"])


def a_crossed_table(rows: int = 1_500) -> tuple[pl.DataFrame, Any]:
    """A bend in x and a slope of z that two colours turn round, some of all missing: no plain sum follows either."""
    rng = np.random.default_rng(3)
    x, z, colour = rng.normal(size=rows), rng.normal(size=rows), rng.choice(["blue", "red"], rows)
    frame = pl.DataFrame({"x": x, "z": z, "colour": colour})
    holes = [
        pl.when(pl.Series(rng.random(rows) < 0.05)).then(None).otherwise(pl.col(name)).alias(name)
        for name in frame.columns
    ]
    made = np.maximum(x, 0.0) + np.where(colour == "red", z, -z) + rng.normal(0.0, 0.3, rows)
    frame = frame.with_columns(holes).with_columns(y=made)
    return frame, a_contract(frame, {"y": "target"})


def test_bends_and_slopes_that_differ_by_category_are_found_by_splines_with_products() -> None:
    frame, contract = a_crossed_table()
    target, split, choice, learned = tuned(frame, contract, algorithms=("linear", "splines"))
    losses = {one["name"]: one["loss"] for one in choice.account["candidates"]}
    assert losses["splines tuned"] < 0.7 * losses["splines by default"] < 0.7 * losses["linear by default"]
    assert choice.account["winner"] == "splines"
    assert choice.account["members"][0]["products"] == "pairs"
    estimator = load_training_form(training_form_bytes(learned.estimator))
    held_out = frame[split.test.tolist()]
    require_parity(parity(learned.form, estimator, held_out, rng=np.random.default_rng(1)))
    found = evaluate(learned.form, frame, contract, target, split, rng=np.random.default_rng(0), resamples=100)
    assert found["metrics"]["r2"]["value"] > 0.75


def test_the_interval_of_the_folds_holds_new_rows() -> None:
    frame, _ = a_mixed_table(2_000, task="regression")
    contract = a_contract(frame, {"target": "target", "day": "ignored"})
    target, split, _, learned = tuned(frame, contract, algorithms=("linear",))
    found = evaluate(learned.form, frame, contract, target, split, rng=np.random.default_rng(0), resamples=100)
    assert learned.form["interval"]["kind"] == "cross_conformal"
    assert found["interval"]["held"], found["interval"]
    assert found["interval"]["low"] < 0.9 < found["interval"]["high"]
    assert 0.0 < found["metrics"]["pinball"]["value"] < found["metrics"]["mae"]["value"]


def test_in_a_drift_that_goes_on_the_interval_holds_what_it_promises() -> None:
    inside, fading, alike, judged = 0.0, 0.0, 0.0, 0
    for seed in range(12):
        frame, contract = a_drifting_table(seed)
        target, split, choice, learned = tuned(frame, contract, algorithms=("linear",), size=1)
        errors = np.abs(
            target_values(frame, contract, target)[split.test]
            - compile_batch(learned.form).answer(frame[split.test.tolist()]).forecast
        )
        folds = plan_folds(frame, contract, target, split, rng=np.random.default_rng(1))
        controls = []
        for changed in ({"at": None}, {"at": None, "weight": 1.0}):
            others = [replace(fold, **changed) for fold in folds]
            table = FoldedTable(frame, contract, target, others, features=None, allow_leaks=False)
            controls.append(
                choose(table, {"linear": run_batch(table, "linear", [], size=1, seed=0)}, seed=0).half_width
            )
        inside += (errors <= choice.half_width).sum()
        fading += (errors <= controls[0]).sum()
        alike += (errors <= controls[1]).sum()
        judged += len(errors)
    least, _ = binomial_band(judged, 0.9)
    assert least <= inside < 0.93 * judged
    assert alike < fading < least, "the controls: all errors alike, and later ones that count more"


def test_an_interval_is_no_wider_for_time_where_errors_dont_grow_with_it() -> None:
    widened = []
    for seed in range(12):
        frame, contract = a_drifting_table(seed, rows=800, moving=0.0, noisier=0.0)
        target = describe_target(frame, contract)
        split = plan_split(frame, contract, target, calibrated_on_folds=True, rng=np.random.default_rng(0))
        folds = plan_folds(frame, contract, target, split, rng=np.random.default_rng(1))
        widths = []
        for planned in (folds, [replace(fold, at=None) for fold in folds]):
            table = FoldedTable(frame, contract, target, planned, features=None, allow_leaks=False)
            widths.append(choose(table, {"linear": run_batch(table, "linear", [], size=1, seed=0)}, seed=0).half_width)
        widened.append(widths[0] / widths[1])
    assert min(widened) == 1.0, "half of the series have errors that happen to fall"
    assert np.mean(widened) < 1.06


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), models=st.integers(1, 5))
def test_a_blend_is_no_worse_than_the_best_on_the_rows_that_chose_it(seed: int, models: int) -> None:
    rng = np.random.default_rng(seed)
    target = (rng.random(80) < 0.5).astype(float)
    outputs = [rng.normal(target[:, None] - 0.5, 1.5, (80, 1)) for _ in range(models)]
    weights = blend_weights(outputs, target, "binary")
    assert sum(weights) == pytest.approx(1.0)
    assert min(weights) >= 0.0
    losses = [row_losses(one, target, "binary").mean() for one in outputs]
    assert row_losses(Combination(weights)(outputs), target, "binary").mean() <= min(losses) + 1e-12


def test_a_gain_of_more_than_a_standard_error_is_enough_to_combine() -> None:
    gaps = np.random.default_rng(0).normal(size=400)
    gaps -= gaps.mean()
    error = gaps.std(ddof=1) / 20.0
    assert _beyond_an_error(_paired(gaps - 1.05 * error))
    assert not _beyond_an_error(_paired(gaps - 0.95 * error))
    assert not _beyond_an_error(_paired(gaps + 5.0 * error))


@pytest.mark.parametrize(
    ("gains", "taken"),
    [
        ({"linear": 0.0, "splines": 0.0, "boosting": 0.9, "extra_trees": 0.5}, "linear"),
        ({"linear": 0.0, "splines": 1.5, "boosting": 2.0, "extra_trees": 0.0}, "splines"),
        ({"linear": 0.0, "splines": 0.0, "boosting": 1.5, "extra_trees": 1.4}, "boosting"),
        ({"boosting": 0.1, "extra_trees": 0.9}, "extra_trees"),
        ({"boosting": 0.0}, "boosting"),
        ({"boosting": 0.0, "boosting tuned": 0.9}, "boosting"),
        ({"boosting": 0.0, "boosting tuned": 1.5}, "boosting tuned"),
        ({"linear": 0.0, "linear tuned": 2.0, "extra_trees": 2.3}, "linear tuned"),
    ],
)
def test_of_what_a_standard_error_can_t_tell_apart_the_simplest_is_taken(gains: dict[Any, float], taken: str) -> None:
    rng = np.random.default_rng(0)
    rows = rng.uniform(0.5, 1.5, 400)
    candidates: list[Any] = [Candidate(name.split()[0], {}, tuned=name.endswith("tuned")) for name in gains]
    # Each one's gain over those of gain 0, in standard errors of that difference.
    noises = [(noise - noise.mean()) / noise.std(ddof=1) for noise in rng.normal(size=(len(gains), 400))]
    singles = [
        _Judged(rows, rows - 0.01 * (gain / 20.0 + noise * (gain != 0.0)), {})
        for gain, noise in zip(gains.values(), noises, strict=True)
    ]
    means = [one.losses.mean() for one in singles]
    ahead = int(np.argmin(means))
    assert list(gains)[_simplest(candidates, singles, ahead)] == taken


def test_no_more_models_are_combined_than_a_form_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def even(outputs: Any, target: Any, task: Any) -> Combination:
        seen.append(len(outputs))
        return Combination([1.0 / len(outputs)] * len(outputs))

    monkeypatch.setattr(choosing, "MAX_MEMBERS", 2)
    monkeypatch.setattr(choosing, "COMBINATIONS", {"blend": even})
    monkeypatch.setattr(choosing, "_beyond_an_error", lambda gain: gain["difference"] < 1.0)
    frame, contract = a_mixed_table(400)
    _, _, choice, _ = tuned(frame, contract, algorithms=("linear", "splines", "extra_trees"), folds=2)
    assert len(choice.account["candidates"]) > 2
    assert set(seen) == {2}
    losses = {one["name"]: one["loss"] for one in choice.account["candidates"]}
    best = set(sorted(losses, key=losses.__getitem__)[:2])
    names = {f"{one['algorithm']} {'tuned' if one['tuned'] else 'by default'}" for one in choice.members}
    assert names <= best


def test_the_weights_of_some_stand_at_their_places_among_all() -> None:
    whole = choosing._of_all(Combination([0.25, 0.75], [0.5]), [1, 3], 5)
    assert (whole.weights, whole.intercepts) == ([0.0, 0.25, 0.0, 0.75, 0.0], [0.5])


def test_models_that_err_apart_are_blended_and_one_that_errs_like_another_is_not() -> None:
    rng = np.random.default_rng(0)
    target = rng.normal(size=600)
    apart = [(target + rng.normal(0.0, 1.0, 600)).reshape(-1, 1) for _ in range(2)]
    assert blend_weights(apart, target, "regression") == pytest.approx([0.5, 0.5], abs=0.15)
    parts = np.arange(600) % 5
    honest = row_losses(cross_fitted(apart, target, parts, "regression"), target, "regression").mean()
    assert honest == pytest.approx(0.5, abs=0.06), "of two independent errors of 1"
    assert blend_weights([apart[0], apart[0] + 0.5], target, "regression")[1] == 0.0


@pytest.mark.parametrize(("stretch", "kind"), [(1.0, "none"), (4.0, "platt")])
def test_calibration_is_taken_where_the_rows_speak_for_it(stretch: float, kind: str) -> None:
    rng = np.random.default_rng(0)
    odds = rng.normal(0.0, 1.0, (900, 1))
    target = (rng.random(900) < 1 / (1 + np.exp(-odds[:, 0]))).astype(float)
    chosen, shares, losses = choose_calibration(odds * stretch, target, np.arange(900) % 5, "binary")
    assert chosen["kind"] == kind
    assert losses[kind] <= losses["none"]
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    if kind == "platt":
        assert chosen["a"] == pytest.approx(0.25, rel=0.2)


def test_steps_that_no_curve_follows_are_calibrated_by_points() -> None:
    rng = np.random.default_rng(0)
    odds = rng.uniform(-3.0, 3.0, (4_000, 1))
    target = (rng.random(4_000) < np.where(odds[:, 0] < 1.0, 0.1, 0.6)).astype(float)
    chosen, _, losses = choose_calibration(odds, target, np.arange(4_000) % 5, "binary")
    assert chosen["kind"] == "isotonic"
    assert losses["isotonic"] < losses["platt"] < losses["none"]
    assert all(0.0 < share < 1.0 for share in chosen["y"])


def test_three_classes_that_are_too_sure_get_a_temperature() -> None:
    rng = np.random.default_rng(0)
    outputs = rng.normal(0.0, 1.0, (900, 3))
    shares = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    target = np.array([rng.choice(3, p=row) for row in shares]).astype(float)
    chosen, _, _ = choose_calibration(outputs * 5.0, target, np.arange(900) % 5, "multiclass")
    assert chosen["kind"] == "temperature"
    assert chosen["t"] == pytest.approx(5.0, rel=0.2)
