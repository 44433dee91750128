from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mcp_server.core.metrics import estimate, interval, measures
from mcp_server.core.metrics.measure import MeanLoss
from mcp_server.core.metrics.resampling import resample_weights


def test_weights_count_as_many_rows_as_there_are() -> None:
    blocks = list(resample_weights(70_000, 7, np.random.default_rng(0)))
    assert len(blocks) > 1
    together = np.concatenate(blocks, axis=1)
    assert together.shape == (70_000, 7)
    assert (together.sum(axis=0) == 70_000).all()


def test_the_same_seed_gives_the_same_interval() -> None:
    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, 200)
    found = measures(target, rng.random(200), task="binary")
    first = estimate(found, rows=200, rng=np.random.default_rng(1))
    assert estimate(found, rows=200, rng=np.random.default_rng(1)) == first
    assert estimate(found, rows=200, rng=np.random.default_rng(2)) != first


def test_an_interval_agrees_with_scipys_bca() -> None:
    losses = np.random.default_rng(3).exponential(2.0, 150)
    ours = estimate([MeanLoss("loss", losses)], rows=150, rng=np.random.default_rng(4), resamples=20_000)["loss"]
    theirs = stats.bootstrap(
        (losses,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(5)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.03 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.03 * width)


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(6)
    held = 0
    for _ in range(300):
        losses = rng.gamma(4.0, size=120)
        found = estimate([MeanLoss("loss", losses)], rows=120, rng=rng, resamples=400)["loss"]
        held += found.low is not None and found.high is not None and found.low <= 4.0 <= found.high
    assert 0.92 <= held / 300 <= 0.98


def test_a_sample_too_large_to_resample_gets_the_normal_limit() -> None:
    rng = np.random.default_rng(7)
    losses = rng.exponential(1.0, 500_000)
    found = estimate([MeanLoss("loss", losses)], rows=500_000, rng=rng)["loss"]
    assert found.low is not None
    assert found.high is not None
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * losses.std() / np.sqrt(500_000), rel=1e-3)


def test_a_constant_has_no_spread() -> None:
    found = estimate([MeanLoss("loss", np.full(50, 0.1))], rows=50, rng=np.random.default_rng(8))["loss"]
    assert (found.low, found.high) == (found.value, found.value)


def test_a_metric_that_most_resamples_cannot_have_gets_no_interval() -> None:
    drawn = np.concatenate([np.full(200, np.nan), np.random.default_rng(9).random(800)])
    assert interval(0.5, drawn, np.array([-1.0, 1.0])).low is None


def test_the_interval_of_the_calibration_error_holds_it_and_is_not_negative() -> None:
    rng = np.random.default_rng(10)
    share = rng.uniform(0.1, 0.9, 400)
    target = (rng.random(400) < share).astype(int)
    found = estimate(measures(target, share, task="binary"), rows=400, rng=rng)["calibration_error"]
    assert found.low is not None
    assert found.high is not None
    assert 0.0 <= found.low <= found.value <= found.high
