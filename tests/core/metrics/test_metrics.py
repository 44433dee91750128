from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from mcp_server.core.metrics import (
    Measure,
    binomial_band,
    calibration_by_chance,
    measures,
    reliability_table,
    wilson_interval,
)
from mcp_server.errors import BadSample


def named(found: list[Measure]) -> dict[str, float]:
    return {measure.name: measure.value for measure in found}


def a_binary_sample(rng: np.random.Generator, rows: int, *, ties: bool = False) -> tuple[Any, Any]:
    share = rng.uniform(0.02, 0.98, rows)
    if ties:
        share = share.round(1).clip(0.1, 0.9)
    return (rng.random(rows) < share).astype(int), share


def test_the_metrics_of_four_forecasts_by_hand() -> None:
    found = named(measures([1, 0, 1, 0], [0.9, 0.2, 0.4, 0.6], task="binary"))
    assert found["log_loss"] == pytest.approx(-(math.log(0.9) + math.log(0.8) + math.log(0.4) + math.log(0.4)) / 4)
    assert found["brier"] == pytest.approx((0.01 + 0.04 + 0.36 + 0.36) / 4)
    assert found["roc_auc"] == 0.75  # of four pairs only (0.4, 0.6) is in the wrong order
    assert found["accuracy"] == 0.5
    assert found["average_precision"] == pytest.approx((1.0 + 2 / 3) / 2)  # the positives are first and third
    # Four rows share one bin: 0.5 happened, 0.525 was forecast.
    assert found["calibration_error"] == pytest.approx(0.025)


def test_the_metrics_of_three_numbers_by_hand() -> None:
    found = named(measures([1.0, 2.0, 6.0], [2.0, 2.0, 4.0], task="regression"))
    assert found["rmse"] == pytest.approx(math.sqrt(5 / 3))
    assert found["mae"] == 1.0
    assert found["r2"] == pytest.approx(1 - 5 / 14)


@pytest.mark.parametrize("ties", [False, True])
def test_two_classes_agree_with_scikit_learn(ties: bool) -> None:
    target, share = a_binary_sample(np.random.default_rng(1), 500, ties=ties)
    found = named(measures(target, share, task="binary"))
    assert found["log_loss"] == pytest.approx(reference.log_loss(target, share))
    assert found["brier"] == pytest.approx(reference.brier_score_loss(target, share))
    assert found["roc_auc"] == pytest.approx(reference.roc_auc_score(target, share))
    assert found["average_precision"] == pytest.approx(reference.average_precision_score(target, share))
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(target, share > 0.5))


def test_three_classes_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(2)
    shares = rng.dirichlet([1.0, 2.0, 3.0], 400)
    target = np.array([rng.choice(3, p=row) for row in shares])
    found = named(measures(target, shares, task="multiclass"))
    assert found["log_loss"] == pytest.approx(reference.log_loss(target, shares))
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(target, shares.argmax(axis=1)))
    assert found["macro_roc_auc"] == pytest.approx(reference.roc_auc_score(target, shares, multi_class="ovr"))
    assert found["brier"] == pytest.approx(reference.brier_score_loss(target, shares, scale_by_half=False))


def test_the_influence_of_a_row_is_how_average_precision_moves_with_its_weight() -> None:
    target, share = a_binary_sample(np.random.default_rng(4), 60, ties=True)
    measure = next(one for one in measures(target, share, task="binary") if one.name == "average_precision")
    step = 1e-6
    moved = measure.at(np.ones((60, 60)) + step * (np.eye(60) - 1 / 60))
    assert measure.influence is not None
    np.testing.assert_allclose((moved - measure.value) / step * 60, measure.influence, atol=1e-3)


def test_a_binomial_band_agrees_with_scipy() -> None:
    from scipy.stats import binom

    for trials, share in ((1, 0.5), (20, 0.9), (88, 0.9), (5_000, 0.95)):
        assert binomial_band(trials, share) == (binom.ppf(0.025, trials, share), binom.ppf(0.975, trials, share))


def test_forecasts_that_come_true_stay_below_what_chance_makes_of_the_calibration_error() -> None:
    rng = np.random.default_rng(5)
    below = 0
    for _ in range(100):
        target, share = a_binary_sample(rng, 400)
        found = named(measures(target, share, task="binary"))["calibration_error"]
        below += found <= calibration_by_chance(share, rng=rng, draws=200)
    assert 88 <= below <= 99, "19 of 20"
    sure = np.where(share > 0.5, 0.99, 0.01)
    assert named(measures(target, sure, task="binary"))["calibration_error"] > calibration_by_chance(sure, rng=rng)


def test_numbers_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    target = rng.normal(100, 20, 300)
    forecast = target + rng.normal(0, 5, 300)
    found = named(measures(target, forecast, task="regression"))
    assert found["rmse"] == pytest.approx(reference.root_mean_squared_error(target, forecast))
    assert found["mae"] == pytest.approx(reference.mean_absolute_error(target, forecast))
    assert found["r2"] == pytest.approx(reference.r2_score(target, forecast))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), rows=st.integers(6, 60), ties=st.booleans())
def test_weights_are_as_good_as_repeated_rows(seed: int, rows: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    target, share = a_binary_sample(rng, rows, ties=ties)
    picked = rng.integers(0, rows, rows)
    weights = np.bincount(picked, minlength=rows).astype(float)[:, None]
    for measure in measures(target, share, task="binary"):
        if measure.name == "calibration_error":
            continue  # its bins are those of the sample, not of the resample
        again = [m for m in measures(target[picked], share[picked], task="binary") if m.name == measure.name]
        expected = again[0].value if again else math.nan
        assert measure.at(weights)[0] == pytest.approx(expected, nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), rows=st.integers(5, 60))
def test_weights_are_as_good_as_repeated_rows_for_numbers(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    target = rng.normal(1000.0, 3.0, rows)
    forecast = target + rng.normal(size=rows)
    picked = rng.integers(0, rows, rows)
    weights = np.bincount(picked, minlength=rows).astype(float)[:, None]
    again = named(measures(target[picked], forecast[picked], task="regression"))
    for measure in measures(target, forecast, task="regression"):
        assert measure.at(weights)[0] == pytest.approx(again.get(measure.name, math.nan), rel=1e-6, nan_ok=True)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_influence_of_a_row_is_what_a_little_more_weight_changes(task: Any) -> None:
    rng = np.random.default_rng(4)
    rows = 40
    if task == "binary":
        target, forecast = a_binary_sample(rng, rows, ties=True)
    elif task == "multiclass":
        forecast = rng.dirichlet([1.0, 1.0, 1.0], rows)
        target = np.array([rng.choice(3, p=row) for row in forecast])
    else:
        target, forecast = rng.normal(size=rows), rng.normal(size=rows)
    for measure in measures(target, forecast, task=task):
        if measure.influence is None:
            continue
        assert measure.influence.sum() == pytest.approx(0.0, abs=1e-9)
        for row in range(0, rows, 7):
            little = 1e-6
            weights = np.full((rows, 1), 1.0 - little)
            weights[row] += little * rows
            change = (measure.at(weights)[0] - measure.value) / little
            assert change == pytest.approx(measure.influence[row], rel=1e-3, abs=1e-6), measure.name


@pytest.mark.parametrize(
    ("task", "good", "bad"),
    [
        ("binary", [0.1, 0.9, 0.2, 0.9], [0.9, 0.2, 0.9, 0.3]),
        ("multiclass", np.eye(2)[[0, 1, 0, 1]] * 0.8 + 0.1, np.eye(2)[[1, 0, 1, 0]] * 0.8 + 0.1),
        ("regression", [0.1, 0.9, 0.1, 0.9], [0.9, 0.1, 0.9, 0.1]),
    ],
)
def test_a_forecast_that_is_better_is_better_by_each_metric_in_the_direction_that_it_states(
    task: Any, good: Any, bad: Any
) -> None:
    better, worse = measures([0, 1, 0, 1], good, task=task), measures([0, 1, 0, 1], bad, task=task)
    assert [one.name for one in better] == [one.name for one in worse]
    for one, other in zip(better, worse, strict=True):
        assert (one.value > other.value) == one.higher_is_better, one.name
        assert one.value != other.value


@given(
    share=st.lists(st.sampled_from([0.1, 0.25, 0.5, 0.8, 0.9]), min_size=4, max_size=40),
    seed=st.integers(0, 1000),
)
def test_turning_the_classes_round_turns_the_area_round(share: list[float], seed: int) -> None:
    target = np.random.default_rng(seed).permutation(np.arange(len(share)) % 2)
    area = named(measures(target, share, task="binary"))["roc_auc"]
    turned = named(measures(1 - target, share, task="binary"))["roc_auc"]
    assert area + turned == pytest.approx(1.0)
    assert 0.0 <= area <= 1.0


def test_a_sample_of_one_class_has_no_area() -> None:
    found = named(measures([1, 1, 1], [0.5, 0.6, 0.7], task="binary"))
    assert "roc_auc" not in found
    assert "log_loss" in found


@pytest.mark.parametrize(
    ("target", "forecast", "task"),
    [
        ([1, 0], [0.5], "binary"),
        ([1, 0], [0.5, 1.5], "binary"),
        ([1, 0], [0.5, math.nan], "binary"),
        ([1, 2], [0.5, 0.5], "binary"),
        ([1, 0.5], [0.5, 0.5], "binary"),
        ([], [], "binary"),
        ([0, 1], [0.5, 0.5], "multiclass"),
        ([0, 1], [[0.5, 0.6], [0.5, 0.5]], "multiclass"),
        ([0, 3], [[0.2, 0.3, 0.5], [0.2, 0.3, 0.5]], "multiclass"),
        ([1.0, math.inf], [1.0, 2.0], "regression"),
        ([1.0, 2.0, 3.0], [1.0, 2.0], "regression"),
    ],
)
def test_an_unusable_sample_is_refused(target: Any, forecast: Any, task: Any) -> None:
    with pytest.raises(BadSample):
        measures(target, forecast, task=task)


# Reliability -------------------------------------------------------------------------------------------------------


def test_the_table_holds_every_row_and_keeps_equal_forecasts_together() -> None:
    target, share = a_binary_sample(np.random.default_rng(5), 1_000, ties=True)
    table = reliability_table(target == 1, share)
    assert sum(row.rows for row in table) == 1_000
    assert all(before.high < after.low for before, after in pairwise(table))
    assert all(row.observed_low <= row.observed <= row.observed_high for row in table)


def test_calibrated_forecasts_lie_within_their_bands_as_often_as_stated() -> None:
    rng = np.random.default_rng(6)
    inside, bins = 0, 0
    for _ in range(40):
        target, share = a_binary_sample(rng, 1_000)
        for row in reliability_table(target == 1, share):
            inside += row.observed_low <= row.forecast <= row.observed_high
            bins += 1
    assert 0.92 <= inside / bins <= 0.99


def test_the_calibration_error_of_shifted_forecasts_is_the_shift() -> None:
    rng = np.random.default_rng(7)
    share = rng.uniform(0.2, 0.6, 20_000)
    target = (rng.random(20_000) < share + 0.2).astype(int)
    assert named(measures(target, share, task="binary"))["calibration_error"] == pytest.approx(0.2, abs=0.02)


def test_wilsons_interval_of_eight_in_ten() -> None:
    # Newcombe (1998), Statistics in Medicine 17, table I: 81 of 263 gives 0.2553 to 0.3662 by method 3.
    assert wilson_interval(81, 263) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))


@given(trials=st.integers(1, 500), share=st.floats(0, 1))
def test_wilsons_interval_holds_the_share_and_stays_in_range(trials: int, share: float) -> None:
    successes = round(share * trials)
    low, high = wilson_interval(successes, trials)
    assert 0.0 <= low <= successes / trials <= high <= 1.0
