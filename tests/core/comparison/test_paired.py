from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from core.comparison.samples import games, prices
from mcp_server.core.comparison import compare_predictions, short_number
from mcp_server.core.metrics import log_losses
from mcp_server.errors import BadSample


def losses(target: Any, share: Any) -> Any:
    return log_losses(target, np.column_stack([1 - share, share]))


def test_a_candidate_that_knows_more_is_better_in_every_metric() -> None:
    rng = np.random.default_rng(0)
    target, worse, _ = games(rng, 2_000, noise=2.0)
    better = np.where(target == 1, 0.8, 0.2) * 0.5 + 0.25
    found = compare_predictions(target, better, worse, task="binary", rng=rng, resamples=300)
    assert {row.metric for row in found.differences} >= {"log_loss", "brier", "roc_auc", "accuracy"}
    for row in found.differences:
        if row.metric != "calibration_error":
            assert row.verdict == "better"
            assert row.difference > 0
    assert found.verdict == "better"
    assert "better by" in found.sentence


def test_changing_sides_changes_the_sign() -> None:
    target, first, second = games(np.random.default_rng(1), 500, noise=1.0)
    one = compare_predictions(target, first, second, task="binary", rng=np.random.default_rng(2))
    other = compare_predictions(target, second, first, task="binary", rng=np.random.default_rng(2))
    for there, back in zip(one.differences, other.differences, strict=True):
        assert there.difference == pytest.approx(-back.difference)
        assert there.low is not None
        assert back.high is not None
        assert there.low == pytest.approx(-back.high, abs=0.1 * abs(there.low - (there.high or 0)))


def test_the_interval_agrees_with_scipys_paired_bca() -> None:
    rng = np.random.default_rng(3)
    target, first, second = games(rng, 800)
    row = compare_predictions(target, first, second, task="binary", rng=rng, resamples=10_000).primary
    gaps = losses(target, second) - losses(target, first)
    theirs = stats.bootstrap(
        (gaps,), np.mean, n_resamples=10_000, method="BCa", rng=np.random.default_rng(4)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert row.difference == pytest.approx(gaps.mean())
    assert row.low == pytest.approx(theirs.low, abs=0.04 * width)
    assert row.high == pytest.approx(theirs.high, abs=0.04 * width)


def test_equal_models_are_seldom_told_apart() -> None:
    rng = np.random.default_rng(5)
    trials = 300
    wrong = Counter[str]()
    for _ in range(trials):
        target, first, second = games(rng, 250)
        for row in compare_predictions(target, first, second, task="binary", rng=rng, resamples=300).differences:
            wrong[row.metric] += row.verdict != "no detectable difference"
    # 5 % is 15 of 300; by chance 5 % gives over 24 once in a hundred.
    assert all(count <= 24 for count in wrong.values()), wrong
    assert sum(wrong.values()) / (len(wrong) * trials) <= 0.05, wrong


def test_a_difference_as_large_as_detectable_is_found_in_about_four_of_five_samples() -> None:
    rng = np.random.default_rng(6)
    target, first, second = games(rng, 400)
    gaps = losses(target, second) - losses(target, first)
    wanted = compare_predictions(target, first, second, task="binary", rng=rng).primary.detectable
    assert wanted is not None
    found = 0
    for _ in range(200):
        sample = gaps[rng.integers(0, len(gaps), len(gaps))] - gaps.mean() + wanted
        half = 1.96 * sample.std() / np.sqrt(len(sample))
        found += sample.mean() > half
    assert 0.7 <= found / 200 <= 0.9


def test_no_difference_is_never_called_equality() -> None:
    rng = np.random.default_rng(7)
    target, first, second = games(rng, 300)
    found = compare_predictions(target, first, second, task="binary", rng=rng)
    assert found.verdict == "no detectable difference"
    assert "no difference detected; this sample would show ± ." in found.sentence
    same = compare_predictions(target, first, first, task="binary", rng=rng)
    for row in [*found.differences, *same.differences]:
        assert "equal" not in row.sentence
    assert same.primary.detectable == 0.0


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32), rows=st.integers(20, 80), task=st.sampled_from(["binary", "multiclass", "regression"])
)
def test_an_interval_holds_its_difference(seed: int, rows: int, task: Any) -> None:
    rng = np.random.default_rng(seed)
    if task == "multiclass":
        target: Any = rng.integers(0, 3, rows)
        first, second = rng.dirichlet([1.0] * 3, rows), rng.dirichlet([1.0] * 3, rows)
    elif task == "binary":
        target, first, second = games(rng, rows)
    else:
        target, first, second = rng.normal(size=rows), rng.normal(size=rows), rng.normal(size=rows)
    found = compare_predictions(target, first, second, task=task, rng=rng, resamples=200)
    for row in found.differences:
        if row.low is not None and row.high is not None:
            assert row.low <= row.difference <= row.high
            assert (row.verdict == "better") == (row.low > 0)
            assert (row.verdict == "worse") == (row.high < 0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.1, 1.5))
def test_p_is_below_five_per_cent_where_the_interval_leaves_zero_out(seed: int, noise: float) -> None:
    target, first, second = games(np.random.default_rng(seed), 120, noise=noise)
    found = compare_predictions(target, first, second, task="binary", rng=np.random.default_rng(0), resamples=300)
    for row in found.differences:
        if row.p is not None:
            assert 0.0 <= row.p <= 1.0
            assert row.p <= 0.05 if row.verdict != "no detectable difference" else row.p >= 0.05


def test_p_is_near_that_of_scipys_paired_t_test_on_many_rows() -> None:
    target, first, second = games(np.random.default_rng(10), 3_000, noise=0.5)
    row = compare_predictions(target, first, second, task="binary", rng=np.random.default_rng(0)).primary
    wanted = stats.ttest_rel(losses(target, second), losses(target, first)).pvalue
    assert row.p == pytest.approx(wanted, rel=0.15, abs=0.01)


def test_p_of_two_root_mean_squares_is_that_of_their_squares() -> None:
    target, first, second = prices(np.random.default_rng(11), 60)
    row = compare_predictions(target, first, second, task="regression", rng=np.random.default_rng(0), resamples=100)
    wanted = stats.ttest_rel((target - first) ** 2, (target - second) ** 2).pvalue
    assert row.primary.p is not None
    assert row.primary.p >= wanted * (1 - 1e-9)


def test_a_difference_by_hand_in_the_targets_unit() -> None:
    target = np.arange(40.0)
    found = compare_predictions(target, target + 1.0, target + 3.0, task="regression", rng=np.random.default_rng(8))
    row = {row.metric: row for row in found.differences}["mae"]
    assert (row.first, row.second, row.difference) == (1.0, 3.0, 2.0)
    assert (row.low, row.high, row.verdict) == (2.0, 2.0, "better")


def test_one_model_in_two_notations_is_no_difference() -> None:
    rng = np.random.default_rng(0)
    target = rng.normal(50.0, 10.0, 100)
    forecast = target + rng.normal(size=100)
    found = compare_predictions(target, forecast * (1.0 + 4e-16) + 1e-14, forecast, task="regression", rng=rng)
    assert {row.verdict for row in found.differences} == {"no detectable difference"}
    assert "alike" in found.sentence


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(BadSample):
        compare_predictions([0, 1] * 5, [0.5] * 10, [0.4] * 10, task="binary", rng=np.random.default_rng(9))


@given(st.floats(1e-9, 1e9))
def test_a_short_number_is_near_its_number(value: float) -> None:
    assert float(short_number(value)) == pytest.approx(value, rel=0.15)
